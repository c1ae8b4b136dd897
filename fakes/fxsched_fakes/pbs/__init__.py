"""OpenPBS's words on top of the engine, as spoken by 23.06.06. No history is kept where `forget_after` is 0."""

COMMANDS = {
    "qsub": "commands:qsub",
    "qstat": "qstat:run",
    "qdel": "commands:qdel",
    "qselect": "commands:qselect",
    "qhold": "commands:qhold",
    "qrls": "commands:qrls",
}

REQUEUE_DELAY = 0
