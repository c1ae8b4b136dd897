"""The process beside each running job: starts its script, waits for its end and for its time limit, and says so.

Started by the engine as `runner.py DIRECTORY JOB ATTEMPT`, in a session of its own, with SIGCHLD and SIGUSR1 blocked
(so that neither is lost before it listens). It outlives the command that started it, and it is no part of the job:
nothing that is done to a job's processes reaches it. What a job finds in its environment is up to the scheduler on top,
whose package offers `launch.prepare(cluster, job) -> Launch`.
"""

from __future__ import annotations

import os
import signal
import sys

if __name__ == "__main__":
    sys.path[0] = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

import time
from importlib import import_module

from fxsched_fakes.engine import Cluster
from fxsched_fakes.model import FOREVER, Job, State
from fxsched_fakes.processes import MARK, adopt_orphans

LAUNCH_FAILED = -1
_ALL_SIGNALS = {signal.SIGCHLD, signal.SIGUSR1}


class Launch:
    """What a script is started with."""

    def __init__(
        self, argv: list[str], environment: dict[str, str], workdir: str, files: tuple[str, str, str], umask: int
    ) -> None:
        self.argv = argv
        self.environment = environment
        self.workdir = workdir
        self.umask = umask
        self.files = files  # stdin, stdout, stderr; the same name twice is one open file


def main(directory: str, job_id: int, attempt: int) -> None:
    os.closerange(3, 4096)
    adopt_orphans()
    child = None
    with Cluster(directory) as cluster:
        job = cluster.jobs.get(job_id)
        if job is None or job.attempt != attempt or not job.live:
            return
        if job.state == State.RUNNING:
            child = job.pid = _start(cluster, job)
    if child is None:
        _report(directory, job, 0, signal.SIGTERM)
    while job.live and job.attempt == attempt:
        if child is not None:
            child = _reap(directory, job, child)
        with Cluster(directory) as cluster:
            found = cluster.jobs.get(job_id)
            if found is None:
                return
            job, wait = found, cluster.next_event(found) - cluster.now()
        if job.live and job.attempt == attempt:
            _sleep(wait)


def _sleep(seconds: float) -> None:
    if seconds == FOREVER:
        signal.sigwaitinfo(_ALL_SIGNALS)
    elif seconds > 0:
        signal.sigtimedwait(_ALL_SIGNALS, seconds)


def _reap(directory: str, job: Job, child: int) -> int | None:
    pid = status = 0
    while pid != child:
        pid, status = os.waitpid(-1, os.WNOHANG)  # adopted orphans, too
        if pid == 0:
            return child
    code = os.waitstatus_to_exitcode(status)
    if code == _EXIT_LAUNCH_FAILED and os.path.exists(f"{directory}/jobs/{job.id}/launch_failed.{job.attempt}"):
        _report(directory, job, LAUNCH_FAILED, 0)
    else:
        _report(directory, job, max(code, 0), max(-code, 0))
    return None


def _report(directory: str, job: Job, code: int, number: int) -> None:
    path = f"{directory}/jobs/{job.id}/exit.{job.attempt}"
    try:
        with open(f"{path}.new", "w") as file:
            file.write(f"{code} {int(number)} {time.time()}")
        os.rename(f"{path}.new", path)
    except FileNotFoundError:
        pass  # the job was lost, directory and all


# --- in the child

_EXIT_LAUNCH_FAILED = 253


def _start(cluster: Cluster, job: Job) -> int:
    launch = import_module(f"fxsched_fakes.{cluster.settings.scheduler}.launch").prepare(cluster, job)
    launch.environment[MARK] = cluster.mark_of(job)
    pid = os.fork()
    if pid:
        return pid
    try:
        os.setsid()
        _become(launch)
    except OSError as error:
        with open(f"{cluster.directory_of(job)}/launch_failed.{job.attempt}", "w") as file:
            file.write(str(error))
    finally:
        os._exit(_EXIT_LAUNCH_FAILED)


def _become(launch: Launch) -> None:
    for number in range(1, signal.NSIG):
        if number not in (signal.SIGKILL, signal.SIGSTOP):
            try:
                signal.signal(number, signal.SIG_DFL)
            except (OSError, ValueError):  # 32 and 33 belong to the C library
                continue
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    os.umask(launch.umask)
    os.chdir(launch.workdir)
    stdin, stdout, stderr = launch.files
    writing = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND
    os.dup2(os.open(stdin, os.O_RDONLY), 0)
    os.dup2(os.open(stdout, writing, 0o666), 1)
    os.dup2(1 if stderr == stdout else os.open(stderr, writing, 0o666), 2)
    os.closerange(3, 4096)
    try:
        os.execve(launch.argv[0], launch.argv, launch.environment)
    except OSError:
        os._exit(2)  # as slurmstepd 22.05.8 does for an interpreter that does not exist


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
