"""Jobs in Slurm, through its commands: sbatch, squeue, scancel, and sacct where there is accounting."""
