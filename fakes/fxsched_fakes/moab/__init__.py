"""Moab's words on top of a resource manager's simulated cluster; with `extra={"flavour": "maui"}` those of Maui 3.5.

Maui was recorded; Moab was not: `--xml` follows what users of Moab have published. Jobs belong to the resource manager,
whose own commands stand beside these. Settings of `extra`, all optional:

    flavour    "maui": no --xml, one word for all holds, and a finished job is forgotten at once
    ids        "own": Moab gives jobs ids of its own, `Moab.24` for the resource manager's 17; else it takes its number
    purge      seconds for which Moab remembers a finished job (300)

A waiting job whose own `extra` has a text under `deferred` was put off by Moab for that reason.
"""

OVER = "slurm"

COMMANDS = {
    "msub": "msub:run",
    "showq": "showq:run",
    "checkjob": "checkjob:run",
    "mdiag": "checkjob:diagnose",
    "canceljob": "canceljob:run",
    "mjobctl": "canceljob:control",
}
