"""Jobs in Grid Engine, through its commands: qsub, qstat, qacct, qdel."""
