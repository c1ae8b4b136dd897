"""What LSF's commands say when the server or LIM does not answer; for ever, unless LSB_NTRIES is set."""

from __future__ import annotations

import os
import time

from ..frame import Reply

_LIBRARY = "Failed in an LSF library call: "
_REASONS = {
    "down": "Connection refused by server",
    "time-out": f"{_LIBRARY}Communication time out",
    "munge": f"{_LIBRARY}External authentication failed",
    "fail": "Master batch daemon internal error",
}
_STILL = b"batch system daemon not responding ... still trying\n"


def trouble(kind: str, command: str, arguments: list[str]) -> Reply:
    """The reply of `command` to a server that is "down", that does "time-out", that knows no user, or that "fail"s."""
    while kind in ("down", "time-out") and "LSB_NTRIES" not in os.environ:
        os.write(2, _STILL)
        time.sleep(10)
    reason = _REASONS[kind]
    if command == "bsub":
        return Reply(err=f"{reason}. Job not submitted.\n", rc=255)
    if command in ("bkill", "bstop", "bresume"):
        ids = [word for word in arguments if word.isdecimal()]
        return Reply(err="".join(f"Job <{id}>: {reason}\n" for id in ids), rc=255)
    return Reply(err=f"{reason}\n", rc=255)
