"""What Grid Engine 8.1.9's commands say when the qmaster does not answer, or not to this host."""

from __future__ import annotations

from ..frame import Reply

_PORT = 'using port 6444 on host "vm"'
_SEND = f"unable to send message to qmaster {_PORT}: got send error"
_BEFORE = {
    "down": "error: commlib error: got select error (Connection refused)\n",
    "munge": 'error: commlib error: access denied (client IP resolved to host name "")\n',
    "fail": 'error: commlib error: got read error (closing "vm/qmaster/1")\n',
    "time-out": "",
}
_RECEIVE = "failed receiving gdi request response for mid=1 (got syncron message receive timeout error)."


def trouble(kind: str, command: str, _: list[str]) -> Reply:
    """The reply of `command` to a qmaster that is "down", that does "time-out", that turns the host away ("munge"), or
    that ends the connection ("fail").
    """
    if command == "qacct":  # asks no qmaster: it reads a file
        return Reply(err="/default/common/accounting: Input/output error\n", rc=1)
    last = _RECEIVE if kind == "time-out" else _SEND
    if command == "qsub":
        return Reply(err=f"{_BEFORE[kind]}Unable to run job: {last}\nExiting.\n", rc=1)
    if command == "qdel":
        return Reply(f"{last}\n", _BEFORE[kind], 1)
    return Reply(err=f"{_BEFORE[kind]}error: {last}\n", rc=1)
