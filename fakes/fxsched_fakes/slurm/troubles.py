"""What Slurm 22.05.8's commands say when the controller, munge or the database does not answer."""

from __future__ import annotations

from ..frame import Reply
from .scancel import TABLE as SCANCEL

_DOWN = "Unable to contact slurm controller (connect failure)"
_TIME_OUT = "Socket timed out on send/recv operation"
_MUNGE = "Protocol authentication error"
_REQUESTS = {
    "sbatch": "REQUEST_SUBMIT_BATCH_JOB",
    "squeue": "REQUEST_JOB_INFO",
    "scancel": "REQUEST_KILL_JOB",
    "scontrol": "REQUEST_JOB_INFO_SINGLE",
    "sinfo": "REQUEST_PARTITION_INFO",
}
_SCANCEL_RC = {_DOWN: 8, _TIME_OUT: 140, _MUNGE: 1}


def trouble(kind: str, command: str, arguments: list[str]) -> Reply:
    """The reply of `command` to a controller that is "down", that does "time-out", to no "munge", or to a "fail"."""
    if command == "sacct":
        return _sacct(kind)
    if kind == "fail":
        return _wrapped(command, "Unexpected message received", arguments, "", 1)
    reason = {"down": _DOWN, "time-out": _TIME_OUT, "munge": _MUNGE}[kind]
    before = ""
    if kind == "munge":
        before = (
            f"{command}: error: If munged is up, restart with --num-threads=10\n"
            f'{command}: error: Munge encode failed: Failed to access "/run/munge/munge.socket.2": No such file or'
            " directory (Did you start munged?)\n"
            f"{command}: error: slurm_send_node_msg: auth_g_create: {_REQUESTS[command]} has authentication error\n"
        )
    return _wrapped(command, reason, arguments, before, _SCANCEL_RC[reason])


def _wrapped(command: str, reason: str, arguments: list[str], before: str, scancel_rc: int) -> Reply:
    match command:
        case "sbatch":
            return Reply(err=f"{before}sbatch: error: Batch job submission failed: {reason}\n", rc=1)
        case "scancel":
            _, words = SCANCEL.parse(arguments)
            lines = (f"scancel: error: Kill job error on job id {word}: {reason}\n" for word in words)
            return Reply(err=before + "".join(lines), rc=scancel_rc)
        case "sinfo":
            return Reply(err=f"{before}slurm_load_partitions: {reason}\n", rc=1)
        case "scontrol" if arguments[:1] == ["ping"]:
            return Reply("Slurmctld(primary) at vm is DOWN\n", before, 1)
    return Reply(err=f"{before}slurm_load_jobs error: {reason}\n", rc=1)


def _sacct(kind: str) -> Reply:
    cause = "No response to persist_init" if kind == "time-out" else "Connection refused"
    last = "Resource temporarily unavailable" if kind == "time-out" else "Connection refused"
    opened = "slurm_persist_conn_open" if kind == "time-out" else "slurm_persist_conn_open_without_init"
    where = "" if kind == "time-out" else "failed to open persistent connection to host:127.0.0.1:6819: "
    return Reply(
        err=f"sacct: error: {opened}: {where}{cause}\nsacct: error: Sending PersistInit msg: {last}\n"
        f"sacct: error: Problem talking to the database: {last}\n",
        rc=1,
    )
