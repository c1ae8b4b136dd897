"""Grid Engine's words on top of the engine, as spoken by 8.1.9: one module per command or a few."""

COMMANDS = {
    "qsub": "qsub:run",
    "qstat": "qstat:run",
    "qacct": "qacct:run",
    "qdel": "qdel:run",
}
