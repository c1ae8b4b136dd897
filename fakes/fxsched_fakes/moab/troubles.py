"""What Moab's commands say when the server does not answer: recorded on Maui 3.5, but for the time-out, which Moab's
users have published."""

from __future__ import annotations

from ..frame import Reply

_SERVICE = "ERROR:    cannot request service (status)\n"
_WORDS = {
    "down": f"ERROR:    cannot send request to server vm:42559 (server may not be running)\n{_SERVICE}",
    "time-out": "ERROR:  client timed out after 30 seconds (hostname:port=vm:42559)\n",
    "munge": _SERVICE,
    "fail": _SERVICE,
}


def trouble(kind: str, _: str, __: list[str]) -> Reply:
    """The reply of any command to a server that is "down", that does "time-out", to no "munge", or to a "fail"."""
    return Reply(err=_WORDS[kind], rc=1)
