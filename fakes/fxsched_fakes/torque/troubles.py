"""What Torque's commands say when the server, or trqauthd, which authenticates, does not answer.

A "time-out" is a connection that broke, as when the server is killed.
"""

from __future__ import annotations

from ..frame import Reply

_DOWN = "\nUnable to communicate with vm(127.0.0.1)\nCannot connect to specified server host 'vm'.\n"
_NO_TRQAUTHD = "socket_connect_unix failed: 15137\n"


def trouble(kind: str, command: str, arguments: list[str]) -> Reply:
    """The reply of `command` to a server that is "down", hangs up ("time-out"), to no "munge", or to a "fail"."""
    words = {"time-out": ("Batch protocol error", 185), "fail": ("PBS server internal error", 165)}
    if kind in words:
        text, rc = words[kind]
        if command == "qsub":
            text, rc = ("End of File", 67) if kind == "time-out" else (text, rc)  # seen of a server that was killed
            return Reply(err=f"qsub: submit error ({text})\n", rc=rc)
        id = f" {arguments[-1]}" if arguments and command == "qdel" else ""
        return Reply(err=f"{command}: {text}{id}\n", rc=rc)
    times = 3 if command == "qstat" else 1
    if kind == "down":
        last = f"{command}: cannot connect to server vm (errno=111) Connection refused\n"
        more = "qstat: Error (111 - Connection refused) \n" if command == "qstat" else ""
        return Reply(err=_DOWN * times + last + more, rc=111)
    last = f"{command}: cannot connect to server (null) (errno=15137) could not connect to trqauthd\n"
    more = "qstat: Error (15137 - could not connect to trqauthd) \n" if command == "qstat" else ""
    return Reply(err=_NO_TRQAUTHD * times + last + more, rc=33)
