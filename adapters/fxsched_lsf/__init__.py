"""Jobs in LSF and its relatives, through their commands: bsub, bjobs, bkill, and bhist for what bjobs has forgotten."""
