"""Jobs in OpenPBS and PBS Professional (`pbs`), and in Torque (`torque`): one family, two dialects."""
