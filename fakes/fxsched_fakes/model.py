"""What a simulated cluster consists of: nodes, queues, jobs, and how each is written down.

Nothing here knows a scheduler's words, and nothing here touches a process or a file. The classes are plain, because
importing `dataclasses` would double the start-up time of every fake command.
"""

from __future__ import annotations

from enum import StrEnum

TYPE_CHECKING = False  # typing's own costs every command its import
if TYPE_CHECKING:
    from typing import Any

FOREVER = float("inf")
Json = dict[str, object]


class State(StrEnum):
    """Where a job is in its life."""

    QUEUED = "queued"
    RUNNING = "running"
    SUSPENDED = "suspended"
    STOPPED = "stopped"
    ENDING = "ending"
    ENDED = "ended"


class Cause(StrEnum):
    """Why a job ended, or is about to."""

    COMPLETED = "completed"
    FAILED = "failed"
    LAUNCH = "launch"
    CANCELLED = "cancelled"
    WALLTIME = "walltime"
    MEMORY = "memory"
    NODE_FAILURE = "node failure"
    PREEMPTED = "preempted"
    REQUEUED = "requeued"
    IMPOSSIBLE = "impossible"
    DEPENDENCY = "dependency"


class Wait(StrEnum):
    """Why a queued job does not run."""

    NONE = ""
    HELD_BY_USER = "held by user"
    HELD_BY_ADMIN = "held by admin"
    HELD_REQUEUE = "held after requeue"
    BEGIN_TIME = "begin time"
    DEPENDENCY = "dependency"
    DEPENDENCY_NEVER = "dependency never satisfied"
    QUEUE_DOWN = "queue down"
    QUEUE_TIME = "queue time limit"
    QUEUE_NODES = "queue node limit"
    QUEUE_SIZE = "queue too small"
    NODES_AWAY = "nodes away"
    RESOURCES = "resources"
    PRIORITY = "priority"


class Record:
    """Named values with defaults, writable as JSON."""

    def __init__(self, **values: object) -> None:
        unknown = [name for name in values if name not in type(self).__annotations__]
        if unknown:
            raise TypeError(f"{type(self).__name__} has no {', '.join(unknown)}")
        self.__dict__.update(values)

    def as_json(self) -> Json:
        return dict(self.__dict__)


class Node(Record):
    """A machine. Memory in MiB."""

    name: str = ""
    cores: int = 16
    memory: int = 64000
    gpus: int = 0


class Queue(Record):
    """Where jobs wait: a partition, in Slurm's words. Times in seconds; None is no limit."""

    name: str = ""
    nodes: list[str] = []  # noqa: RUF012 - never changed in place
    max_time: int | None = None
    default_time: int | None = None
    max_nodes: int | None = None
    default: bool = False
    up: bool = True


class Settings(Record):
    """How a cluster is set up; written once, by the installation. Times in seconds, memory in MiB.

    `extra` belongs to the scheduler on top.
    """

    scheduler: str = "slurm"
    dialect: str = ""  # which form its commands have, where a scheduler has several
    name: str = "test"
    nodes: list[Node] = []  # noqa: RUF012
    queues: list[Queue] = []  # noqa: RUF012
    memory_per_core: int = 100
    forget_after: float = 300
    kill_wait: float = 2
    requeue_delay: float = 120
    enforce_limits: bool = False
    accounting: bool = False
    max_jobs: int = 20000
    extra: dict[str, str] = {}  # noqa: RUF012

    def node(self, name: str) -> Node | None:
        return next((node for node in self.nodes if node.name == name), None)

    def queue(self, name: str) -> Queue | None:
        return next((queue for queue in self.queues if queue.name == name), None)

    def default_queue(self) -> Queue | None:
        return next((queue for queue in self.queues if queue.default), None)

    def as_json(self) -> Json:
        values = dict(self.__dict__)
        values["nodes"] = [node.as_json() for node in self.nodes]
        values["queues"] = [queue.as_json() for queue in self.queues]
        return values

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Settings:
        settings = cls(**values)
        settings.nodes = [Node(**row) for row in values.get("nodes", ())]
        settings.queues = [Queue(**row) for row in values.get("queues", ())]
        return settings


class Job(Record):
    """One job. Cores, memory (MiB) and gpus are per node; times are seconds since the epoch, on the cluster's clock.

    `extra` belongs to the scheduler on top: whatever its commands must remember and show.
    """

    id: int = 0
    attempt: int = 0
    name: str = ""
    user: str = ""
    uid: int = 0
    queue: str = ""
    queues: list[str] = []  # noqa: RUF012 - alternatives, the first that fits is taken
    nodes: int = 1
    cores: int = 1
    memory: int = 0
    gpus: int = 0
    exclusive: bool = False
    wanted: list[str] = []  # noqa: RUF012
    excluded: list[str] = []  # noqa: RUF012
    walltime: int | None = None
    priority: int = 1
    begin: float = 0
    after: list[tuple[str, int]] = []  # noqa: RUF012 - ("ok" | "notok" | "any" | "start", job id)
    end_if_never: bool = False  # when its dependencies can no longer be met
    held: str = ""
    requeueable: bool = True
    workdir: str = "/"
    arguments: list[str] = []  # noqa: RUF012
    extra: dict[str, str] = {}  # noqa: RUF012

    state: State = State.QUEUED
    wait: Wait = Wait.NONE
    cause: Cause | None = None
    exit_code: int = 0
    signal: int = 0
    on: list[str] = []  # noqa: RUF012
    away: list[str] = []  # noqa: RUF012 - nodes that it waits for and that are drained
    submitted: float = 0
    expected: float | None = None
    started: float | None = None
    ended: float | None = None
    ended_by: int | None = None
    suspended: float | None = None
    suspended_for: float = 0
    kill_at: float | None = None
    hold_after: bool = False
    runner: tuple[int, int] | None = None  # process id and its start time, so that a reused id is not mistaken
    pid: int | None = None

    @property
    def live(self) -> bool:
        """It occupies its nodes."""
        return self.state not in (State.QUEUED, State.ENDED)

    @property
    def limit_at(self) -> float:
        """When its time is up."""
        if self.started is None or self.walltime is None:
            return FOREVER
        return self.started + self.walltime + self.suspended_for

    def ran_for(self, now: float) -> float:
        if self.started is None:
            return 0
        return max(0.0, (self.ended or self.suspended or now) - self.started - self.suspended_for)

    @classmethod
    def from_json(cls, values: dict[str, object]) -> Job:
        job = cls(**values)
        job.state, job.wait = State(job.state), Wait(job.wait)
        job.cause = None if job.cause is None else Cause(job.cause)
        return job
