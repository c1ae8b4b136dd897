"""What OpenPBS's commands say when the server does not answer, hangs up, or cannot authenticate.

A hung server hangs them for ever: a "time-out" is a connection that broke, as when the server is killed.
"""

from __future__ import annotations

import time

from ..frame import Reply
from .qstat import VERSION

_HANGS_UP, _DOWN, _MUNGE, _FAILS = 183, 162, 159, 163


def trouble(kind: str, command: str, arguments: list[str]) -> Reply:
    """The reply of `command` to a server that is "down", hangs up ("time-out"), to no "munge", or to a "fail"."""
    id = f" {arguments[-1]}" if command == "qdel" and arguments else ""
    out = _document() if command == "qstat" and "json" in arguments else ""
    match kind:
        case "time-out":
            return Reply(out, f"{command}: End of File{id}\n", _HANGS_UP)
        case "fail":
            return Reply(out, f"{command}: PBS server internal error{id}\n", _FAILS)
    first, number, rc = ("Connection refused", 15010, _DOWN) if kind == "down" else ("No Permission.", 15007, _MUNGE)
    if command == "qdel":
        return Reply(err=f"{first}\nCouldn't connect to cluster: vm\n", rc=rc)
    rc = 255 if command == "qstat" else rc
    return Reply(out, f"{first}\n{command}: cannot connect to server vm (errno={number})\n", rc)


def _document() -> str:
    """What qstat prints although it has nothing to say."""
    return f'{{\n    "timestamp":{int(time.time())},\n    "pbs_version":"{VERSION}",\n    "pbs_server":"vm"\n}}\n'
