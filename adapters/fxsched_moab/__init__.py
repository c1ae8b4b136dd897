"""Jobs in Moab and Maui, over Torque or Slurm, through its commands: msub, showq, checkjob, canceljob."""
