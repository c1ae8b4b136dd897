"""Torque's words on top of the engine, as spoken by 6.1.3. `forget_after` is its keep_completed."""

COMMANDS = {
    "qsub": "commands:qsub",
    "qstat": "qstat:run",
    "qdel": "commands:qdel",
    "qselect": "commands:qselect",
    "qhold": "commands:qhold",
    "qrls": "commands:qrls",
}

REQUEUE_DELAY = 0
