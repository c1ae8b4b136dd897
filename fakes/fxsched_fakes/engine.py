"""The cluster itself: every change happens in one short transaction on a state directory, without a daemon.

    with Cluster(directory) as cluster:
        cluster.submit(job, script, environment)

Entering takes the lock, loads the state and brings the simulation up to now; leaving does so again, saves, and
unlocks, also when an error leaves it: what was started or noticed meanwhile has happened. Nobody sleeps inside. Between
commands each running job has a `runner` process that waits for its end or its time limit and then opens a transaction
of its own. Knows nothing of any scheduler: those stand on top, in packages of their own.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import sys
import time
from types import TracebackType

from . import files, processes
from .model import FOREVER, Cause, Job, Settings, State, Wait
from .placement import place


class Cluster:
    """A simulated cluster whose whole state lies in one directory."""

    settings: Settings
    jobs: dict[int, Job]
    away: list[str]  # drained nodes
    next_id: int
    clock_offset: float

    def __init__(self, directory: str | os.PathLike[str]) -> None:
        self.directory = os.path.realpath(directory)

    # --- the transaction

    def __enter__(self) -> Cluster:
        self._lock = os.open(f"{self.directory}/lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        self._own_signals: list[int] = []
        self._load()
        self.advance()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        try:
            self.advance()
            self._save()
        finally:
            os.close(self._lock)
        for number in self._own_signals:
            os.kill(os.getpid(), number)

    def _load(self) -> None:
        with open(f"{self.directory}/cluster.json") as file:
            self.settings = Settings.from_json(json.load(file))
        try:
            with open(f"{self.directory}/state.json") as file:
                self._saved = file.read()
        except FileNotFoundError:
            self._saved = "{}"
        state = json.loads(self._saved)
        self.jobs = {job.id: job for job in map(Job.from_json, state.get("jobs", ()))}
        self.away = state.get("away", [])
        self.next_id = state.get("next_id", 1)
        self.clock_offset = state.get("clock_offset", 0.0)

    def save_settings(self) -> None:
        """Makes changed settings last, inside a transaction."""
        files.replace(f"{self.directory}/cluster.json", json.dumps(self.settings.as_json(), indent=1))

    def _save(self) -> None:
        state = {
            "next_id": self.next_id,
            "clock_offset": self.clock_offset,
            "away": self.away,
            "jobs": [job.as_json() for job in self.jobs.values()],
        }
        text = json.dumps(state)
        if text != self._saved:
            files.replace(f"{self.directory}/state.json", text)

    # --- time

    def now(self) -> float:
        return time.time() + self.clock_offset

    def advance(self) -> None:
        """Notices what ended, ends what is over its time, forgets what is old, starts what fits."""
        now = self.now()
        for job in list(self.jobs.values()):
            if job.live:
                self._look_after(job, now)
            elif job.state == State.ENDED and job.ended is not None and now >= job.ended + self.settings.forget_after:
                self.forget(job)
        for job, nodes in place(self.settings, self.jobs, self.away, now):
            self._start(job, nodes)
        for job in self.jobs.values():
            if job.state == State.QUEUED and job.wait == Wait.DEPENDENCY_NEVER and job.end_if_never:
                self._end_queued(job, Cause.DEPENDENCY)

    def _look_after(self, job: Job, now: float) -> None:
        try:
            with open(f"{self.directory_of(job)}/exit.{job.attempt}") as file:
                code, number, at = file.read().split()
        except FileNotFoundError:
            if self._living_runner(job) is None:
                self.end(job, Cause.NODE_FAILURE)
            elif job.state == State.ENDING and job.kill_at is not None and now >= job.kill_at:
                self._kill_all(job)
            elif job.state == State.RUNNING and now >= job.limit_at:
                self._begin_end(job, Cause.WALLTIME)
            return
        self._finish(job, int(code), int(number), float(at) + self.clock_offset)

    # --- verbs

    def submit(self, job: Job, script: bytes, environment: dict[str, str]) -> Job:
        """Takes the job in under the next id; it may run before this transaction is over."""
        job.id = self.take_id()
        job.submitted = self.now()
        job.begin = max(job.begin, job.submitted)
        self.jobs[job.id] = job
        directory = self.directory_of(job)
        files.remove(directory)  # left by a lost job with the same id
        os.makedirs(directory, 0o700)
        files.write(f"{directory}/script", script, 0o700)
        pairs = (os.fsencode(f"{name}={value}") for name, value in environment.items())
        files.write(f"{directory}/environment", b"\0".join(pairs), 0o600)
        return job

    def take_id(self) -> int:
        self.next_id += 1
        return self.next_id - 1

    def cancel(self, job: Job, by: int) -> None:
        """Ends a job in whatever state; nothing happens to one that has ended."""
        if job.state == State.ENDED:
            return
        job.ended_by = by
        if job.state == State.QUEUED:
            self._end_queued(job, Cause.CANCELLED)
        elif job.state == State.ENDING:
            if job.cause == Cause.REQUEUED:
                job.cause = Cause.CANCELLED
        else:
            self._begin_end(job, Cause.CANCELLED)

    def signal(self, job: Job, number: int, *, script_only: bool = False) -> None:
        """Sends a signal to a running job, with the effect on its state that STOP and CONT have."""
        if number == signal.SIGSTOP:
            job.state = State.STOPPED
        elif number == signal.SIGCONT and job.state == State.STOPPED:
            job.state = State.RUNNING
        if script_only and job.pid:
            os.kill(job.pid, number)
        else:
            self._send(job, number)

    def hold(self, job: Job, *, by_admin: bool = False) -> None:
        job.held = Wait.HELD_BY_ADMIN if by_admin else Wait.HELD_BY_USER

    def release(self, job: Job) -> None:
        job.held, job.hold_after = "", False

    def suspend(self, job: Job) -> None:
        job.state, job.suspended = State.SUSPENDED, self.now()
        self._send(job, signal.SIGSTOP)

    def resume(self, job: Job) -> None:
        job.suspended_for += self.now() - (job.suspended or self.now())
        job.state, job.suspended = State.RUNNING, None
        self._send(job, signal.SIGCONT)
        self._wake(job)

    def requeue(self, job: Job, *, hold: bool = False) -> None:
        """Ends it if it runs, and queues it again under the same id."""
        job.hold_after = hold
        if job.state == State.ENDED:
            self._back_to_queue(job)
        elif job.live:
            self._begin_end(job, Cause.REQUEUED)

    def end(self, job: Job, cause: Cause) -> None:
        """Ends it at once, as a failing node, the kernel's memory killer or a more important job would."""
        self._kill_all(job)
        job.cause, job.kill_at = cause, None
        self._finish(job, 0, 0, self.now())

    def lose_node(self, job: Job) -> None:
        """Its node fails: it is queued again if it may be, else it has ended."""
        self.end(job, Cause.REQUEUED if job.requeueable else Cause.NODE_FAILURE)

    def forget(self, job: Job) -> None:
        """Drops an ended job from memory; with accounting on, its record is kept."""
        if self.settings.accounting:
            with open(f"{self.directory}/accounting.jsonl", "a") as file:
                file.write(json.dumps(job.as_json()) + "\n")
        self.lose(job)

    def lose(self, job: Job) -> None:
        """Drops a job without a trace, processes and all."""
        if job.live:
            self._kill_all(job)
        files.remove(self.directory_of(job))
        del self.jobs[job.id]

    def drain(self, node: str) -> None:
        """Nothing new starts there; what runs goes on."""
        self.away = sorted({*self.away, node})

    def undrain(self, node: str) -> None:
        self.away = [name for name in self.away if name != node]

    def set_queue(self, name: str, *, up: bool) -> None:
        queue = self.settings.queue(name)
        if queue is None:
            raise ValueError(f"no queue is called {name}")
        queue.up = up
        self.save_settings()

    def set_clock(self, ahead: float) -> None:
        """Sets the cluster's clock that many seconds before the machine's."""
        self.clock_offset = ahead
        for job in self.jobs.values():
            self._wake(job)

    def forgotten(self) -> list[Job]:
        """The records that accounting kept of jobs no longer in memory."""
        try:
            with open(f"{self.directory}/accounting.jsonl") as file:
                return [Job.from_json(json.loads(line)) for line in file]
        except FileNotFoundError:
            return []

    # --- for the runner

    def directory_of(self, job: Job) -> str:
        return f"{self.directory}/jobs/{job.id}"

    def mark_of(self, job: Job) -> str:
        return f"{job.id}.{job.attempt}@{self.directory}"

    def environment_of(self, job: Job) -> dict[str, str]:
        """The environment it was submitted with."""
        with open(f"{self.directory_of(job)}/environment", "rb") as file:
            pairs = os.fsdecode(file.read()).split("\0")
        return dict(pair.split("=", 1) for pair in pairs if pair)

    def next_event(self, job: Job) -> float:
        """When the runner of this job must look again if nothing wakes it, on the cluster's clock."""
        if job.state == State.ENDING:
            return job.kill_at or FOREVER
        return job.limit_at if job.state == State.RUNNING else FOREVER

    # --- life of a job

    def _start(self, job: Job, nodes: list[str]) -> None:
        job.state, job.wait, job.on, job.started, job.expected = State.RUNNING, Wait.NONE, nodes, self.now(), None
        job.ended = job.cause = job.pid = job.kill_at = None
        job.exit_code = job.signal = 0
        # sys.executable -S -E: the runner needs the standard library and this package, and starts in half the time.
        pid = os.posix_spawn(
            sys.executable,
            [
                sys.executable,
                "-S",
                "-E",
                f"{os.path.dirname(__file__)}/runner.py",
                self.directory,
                str(job.id),
                str(job.attempt),
            ],
            {"PATH": os.defpath, "LC_ALL": "C.UTF-8", processes.RUNNER_MARK: self.directory},
            setsid=True,
            setsigmask=[signal.SIGCHLD, signal.SIGUSR1],
            setsigdef=[signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGHUP],
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0),
                (
                    os.POSIX_SPAWN_OPEN,
                    2,
                    f"{self.directory}/runners.log",
                    os.O_WRONLY | os.O_CREAT | os.O_APPEND,
                    0o600,
                ),
            ],
        )
        job.runner = (pid, processes.start_time(pid) or 0)

    def _end_queued(self, job: Job, cause: Cause) -> None:
        job.state, job.cause = State.ENDED, cause
        job.started = job.ended = self.now()

    def _begin_end(self, job: Job, cause: Cause) -> None:
        if job.state in (State.SUSPENDED, State.STOPPED):
            self._send(job, signal.SIGCONT)
        job.state, job.cause, job.kill_at = State.ENDING, cause, self.now() + self.settings.kill_wait
        job.ended = min(self.now(), job.limit_at) if cause == Cause.WALLTIME else self.now()
        self._send(job, signal.SIGTERM)
        self._wake(job)

    def _finish(self, job: Job, code: int, number: int, at: float) -> None:
        self._kill_all(job)
        job.exit_code, job.signal = code, number
        if job.cause == Cause.REQUEUED:
            self._back_to_queue(job)
            return
        if job.cause is None:
            job.cause = Cause.LAUNCH if code < 0 else Cause.FAILED if code or number else Cause.COMPLETED
            job.ended = at
        job.state, job.ended, job.runner, job.pid = State.ENDED, job.ended or at, None, None

    def _back_to_queue(self, job: Job) -> None:
        job.attempt += 1
        job.state, job.cause, job.on, job.runner, job.pid = State.QUEUED, None, [], None, None
        job.ended = job.started = job.suspended = job.kill_at = None
        job.suspended_for, job.submitted = 0, self.now()
        job.begin = job.submitted + self.settings.requeue_delay
        job.held = Wait.HELD_REQUEUE if job.hold_after else job.held

    def _send(self, job: Job, number: int) -> None:
        if job.pid and processes.send(self.mark_of(job), job.pid, self._living_runner(job), number):
            self._own_signals.append(number)

    def _kill_all(self, job: Job) -> None:
        if job.pid and processes.kill_all(self.mark_of(job), job.pid, self._living_runner(job)):
            self._own_signals.append(signal.SIGKILL)

    def _wake(self, job: Job) -> None:
        if runner := self._living_runner(job):
            os.kill(runner, signal.SIGUSR1)

    @staticmethod
    def _living_runner(job: Job) -> int | None:
        if job.runner and processes.start_time(job.runner[0]) == job.runner[1]:
            return job.runner[0]
        return None
