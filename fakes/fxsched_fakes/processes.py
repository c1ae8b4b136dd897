"""The processes of a job, found as a scheduler finds them: by session, by group, by ancestry, and by a mark in their
environment that nothing but this job of this cluster carries. Its runner adopts orphans, so that what clears its
environment and leaves its session is found too. Linux only: it reads /proc.
"""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress

MARK = "FXSCHED_FAKES_JOB"
RUNNER_MARK = "FXSCHED_FAKES_RUNNER"
_PR_SET_CHILD_SUBREAPER = 36
_SWEEPS = 50  # a fork bomb is not worth more


def start_time(pid: int) -> int | None:
    """When the process started, in clock ticks since boot; None for one that is gone or a zombie."""
    fields = _stat(pid)
    return None if fields is None or fields[0] in ("Z", "X") else int(fields[19])


def adopt_orphans() -> None:
    """Makes this process the parent of every descendant that loses its own."""
    with suppress(ImportError):  # a Python without libffi: then the mark, session and group must do
        import ctypes  # here, because it takes longer to load than everything else together

        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def of_job(mark: str, leader: int | None, runner: int | None) -> set[int]:
    """Process ids of everything that belongs to the job with this mark, whose script is the process `leader`.

    All descendants of `runner` belong to it, the runner itself does not, and neither do other jobs' runners: one
    becomes its child when a job submits a job, and when one that ends makes room for another.
    """
    wanted, not_wanted = os.fsencode(f"{MARK}={mark}"), os.fsencode(f"{RUNNER_MARK}=")
    found: set[int] = set()
    parents: dict[int, int] = {}
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        pid = int(entry)
        fields = _stat(pid)
        if fields is None or fields[0] in ("Z", "X"):
            continue
        parents[pid] = int(fields[1])
        if leader and leader in (pid, int(fields[2]), int(fields[3])):
            found.add(pid)
            continue
        try:
            with open(f"/proc/{pid}/environ", "rb") as file:
                environment = file.read().split(b"\0")
        except OSError:
            continue
        if wanted in environment:
            found.add(pid)
        elif any(pair.startswith(not_wanted) for pair in environment):
            del parents[pid]
    grown = True
    while grown:
        children = {pid for pid, parent in parents.items() if parent in found or parent == runner} - found
        found |= children
        grown = bool(children)
    return found


def send(mark: str, leader: int | None, runner: int | None, number: int) -> bool:
    """Sends the signal to the whole job; whether this very process is part of it, which is then left to the caller."""
    members = of_job(mark, leader, runner)
    for pid in members - {os.getpid()}:
        _kill(pid, number)
    return os.getpid() in members


def kill_all(mark: str, leader: int | None, runner: int | None) -> bool:
    """Kills the whole job, sweep after sweep until none is left; answers as `send` does."""
    for _ in range(_SWEEPS):
        members = of_job(mark, leader, runner)
        others = members - {os.getpid()}
        if not others:
            return bool(members)
        for pid in others:
            _kill(pid, signal.SIGKILL)
        time.sleep(0.001)
    return False


def _kill(pid: int, number: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)


def _stat(pid: int) -> list[str] | None:
    """The fields of /proc/PID/stat from the state on: the command name before it may hold anything."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].decode("ascii").split()
    except OSError:
        return None
