"""What OpenPBS and Torque have in common on top of the engine; `pbs` and `torque` are the two dialects of it."""
