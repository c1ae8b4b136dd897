"""Jobs in LSF, through its commands: bsub, bjobs, bhist, bkill."""
