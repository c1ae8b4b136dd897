"""What ``docker`` and ``podman`` print → ids, statuses, errors. Pure.

Sources: what Docker 20.10.24 (also with the client 28.2.2) and Podman 4.3.1 were seen to print.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final, NoReturn

import msgspec
from msgspec import Struct

from fxsched import reasons
from fxsched.errors import (
    CancelRefused,
    CommandNotFound,
    FxschedError,
    OutcomeUnknown,
    SchedulerUnavailable,
    SubmitRejected,
)
from fxsched.jobs import EndCause, JobId, JobState, JobStatus
from fxsched.kit import by_token

if TYPE_CHECKING:
    from collections.abc import Iterable

    from fxsched.hosts import CommandResult
    from fxsched.jobs import Token

INSPECT_FORMAT: Final = (
    '{{.Id}} {"created":{{json .Created}},"name":{{json .Name}},"labels":{{json .Config.Labels}},'
    '"state":{{json .State}}}'
)
"""A container's id, then the rest as one JSON object. Its environment is not asked for."""

NAMES_FORMAT: Final = "table {{.ID}}|{{.Names}}"
"""With a header, which tells a whole list from no list."""

CANCELLED: Final = ".cancelled"
"""A cancelled container is renamed to this ending: an engine remembers no other word about an end."""

_ID: Final = re.compile(r"[0-9a-f]{64}")
_HEADER: Final = re.compile(r"^CONTAINER ID\|NAMES\n", re.MULTILINE)
# Podman has quotation marks where it asks a service elsewhere (CONTAINER_HOST; pkg/domain/infra/tunnel/containers.go).
_UNKNOWN: Final = re.compile(r'no such container:? "?([0-9a-f]{64})\b|([0-9a-f]{64})\W+found: no such container', re.I)

# An engine's word → ours. A word that is not here is a live state.
_STATES: Final = {
    "created": JobState.QUEUED,
    "configured": JobState.QUEUED,  # Podman's word in some releases
    "initialized": JobState.QUEUED,  # Podman: with its namespaces, without its process
    "running": JobState.RUNNING,
    "restarting": JobState.RUNNING,
    "stopping": JobState.RUNNING,
    "removing": JobState.RUNNING,
    "paused": JobState.SUSPENDED,
    "stopped": JobState.ENDED,  # Podman: the process has ended, its mounts and namespaces are still there
    "exited": JobState.ENDED,
    "dead": JobState.ENDED,  # Docker: it could not be removed
}
_NEVER_STARTED: Final = timedelta(minutes=10)
"""A container is made and started in two steps, a moment apart, unless what started it was killed in between."""
_CLEANING: Final = timedelta(seconds=10)
"""Podman 4.3.1 clears a container away within a second after its process has ended, unless what does so was killed."""
_LATE: Final = timedelta(seconds=1)
"""An engine writes down a start a moment after it happened, so that the end at the walltime seems too early."""
_SIGNALLED: Final = (143, 137)
"""The exit codes that TERM and KILL leave."""

_NOT_REACHED: Final = (
    "Cannot connect to the Docker daemon",
    "failed to connect to the docker API",  # the client 29
    "permission denied while trying to connect",
    "Cannot connect to Podman",
    "unable to connect to Podman",
    # The client's own settings (docker/cli, cli/command/cli.go and cli/context): nothing was sent.
    "unable to resolve docker endpoint",
    "unable to parse docker host",
    "is too new. Maximum supported API version is",
    "is too old. Minimum supported API version is",
)
# What Podman complains of before it can make anything, each from its set-up (libpod/runtime.go, pkg/rootless,
# containers/common pkg/config, containers/storage). `podman ps` says the same.
_NO_RUNTIME_DIRECTORY: Final = re.compile(
    r"creating tmpdir|temporary files directory|(?:mkdir|chmod|l?stat) /run/user/\d+|XDG_RUNTIME_DIR"
)
_NOT_SET_UP: Final = (
    "cannot find UID/GID for user",
    "no subuid ranges found",
    "no subgid ranges found",
    "newuidmap",
    "newgidmap",
    "cannot set up namespace",
    "cannot re-exec process",
    "invalid internal status",
    "containers.conf",
    "storage.conf",
    "database is locked",
)
# The registry did not answer, or will not now. That it has no such image, or keeps it from us, is a refusal.
_REGISTRY: Final = re.compile(r'https?://[^\s"]*/v2/|\bregistry\b|initializing source|pull rate limit', re.I)
_NOT_NOW: Final = re.compile(
    r"dial tcp|no such host|i/o timeout|connection (?:refused|reset)|network is unreachable|no route to host|"
    r"TLS handshake timeout|Client\.Timeout|context deadline exceeded|\bEOF\b|too ?many ?requests|"
    r"\b50[0234] |Internal Server Error|Bad Gateway|Service Unavailable|Gateway Time-?out",
    re.I,
)
_NO_ROOM: Final = ("no space left on device", "disk quota exceeded", "cannot allocate memory", "too many open files")
_OF_DAEMON: Final = "Error response from daemon: "
"""Begins what the daemon itself said: it has done with the request."""
# What Docker's client says before it asks the daemon for anything (docker/cli, cli/command/container/opts.go).
_OF_CLIENT: Final = (
    *("unknown flag", "unknown shorthand flag", "invalid argument", "flag needs an argument", "requires at least"),
    *("invalid reference format", "conflicting options", "Conflicting options", "invalid parameter"),
)
# The connection broke after the request had been sent.
_MAYBE_DONE: Final = (
    "error during connect",
    "EOF",
    "connection reset",
    "broken pipe",
    "context deadline",
    "Client.Timeout",
)
_NOT_ALIVE: Final = ("is not running", "can only kill running", "can only stop", "is not paused")
_NOISE: Final = re.compile(r"See '.* --help'\.?|Run '.* --help' for more information|Usage:.*")

NO_COMMAND: Final = 72
NO_PLACE: Final = 73
"""Exit codes of ``submit.sh``: nothing was made."""


class _State(Struct, frozen=True, rename="pascal"):
    status: str
    exit_code: int
    started_at: datetime
    finished_at: datetime
    error: str = ""
    oom: bool = msgspec.field(default=False, name="OOMKilled")


class Container(Struct, frozen=True):
    """A container as ``inspect`` shows it."""

    created: datetime
    name: str
    state: _State
    labels: dict[str, str] | None = None

    @property
    def job_name(self) -> str:
        """The job's name at its submit."""
        return (self.labels or {}).get("fxsched.job", "")

    @property
    def user(self) -> str:
        """The number of the user who submitted it."""
        return (self.labels or {}).get("fxsched.user", "")

    @property
    def never_started(self) -> bool:
        """Whether it was made and not started. Nobody but who made it ever would."""
        return _STATES.get(self.state.status) is JobState.QUEUED and not _time(self.state.started_at)

    @property
    def cancelled(self) -> bool:
        """Whether somebody asked for its end through :meth:`Adapter.cancel`."""
        return self.name.endswith(CANCELLED)


# ── run ───────────────────────────────────────────────────────────────────────────────────────────────────────────


class NotStarted(Exception):
    """``run`` failed, but may have made a container without starting it: see :func:`check_nothing_left`."""

    def __init__(self, error: FxschedError, *, final: bool) -> None:
        super().__init__(str(error))
        self.error = error
        """What it was, if nothing is left."""
        self.final = final
        """Whether a container that is not there now cannot come any more."""


def parse_submit(result: CommandResult, engine: str) -> JobId:
    """Return the id that ``run --detach`` printed on a line of its own, whatever else is printed around it.

    Raises:
        CommandNotFound, SchedulerUnavailable, OutcomeUnknown: as its words tell.
        NotStarted: it failed; but a container may have been made, and then not started.
    """
    id = _last_id(result.text)
    if not result.exit_code:
        if id is None:
            raise OutcomeUnknown(f"{engine} ended well, but printed no container's id: {_said(result)!r}")
        return id
    words = complaint_of(result)
    if result.exit_code == NO_COMMAND:
        raise CommandNotFound(words)
    if result.exit_code == NO_PLACE:
        raise SchedulerUnavailable(f"The job could not be handed to {engine}: {words}")
    if id is None and (trouble := not_reached(words, engine)):
        raise SchedulerUnavailable(f"{engine} cannot be reached: {trouble}. No job was submitted")
    if result.exit_code > 128:
        raise OutcomeUnknown(f"{engine} was killed by signal {result.exit_code - 128}")
    if "already in use" in words:
        raise OutcomeUnknown(f"{engine} has a container of this name already: {words}")
    final = engine == "Podman" or any(sign in words for sign in (_OF_DAEMON, *_OF_CLIENT))
    if (_REGISTRY.search(words) and _NOT_NOW.search(words)) or any(sign in words for sign in _NO_ROOM):
        later = SchedulerUnavailable(f"{engine} cannot start the job now: {words}. No job was submitted")
        raise NotStarted(later, final=final)
    if not_reached(words, engine) or (_OF_DAEMON not in words and any(sign in words for sign in _MAYBE_DONE)):
        raise OutcomeUnknown(f"{engine} did not confirm the job: {words}")
    raise NotStarted(SubmitRejected(f"{engine} refused the job: {words}"), final=final)


def check_nothing_left(result: CommandResult, failure: NotStarted) -> NoReturn:
    """Raise what the ``rm`` of a container that was not started makes certain.

    Raises:
        FxschedError: the failure's own, if the container was removed, or there was none and none can come any more.
        OutcomeUnknown: there may be one after all.
    """
    if not result.exit_code or (failure.final and is_unknown(result)):
        raise failure.error
    raise OutcomeUnknown(f"{failure.error}. Whether it left a container is not certain: {complaint_of(result)}")


def is_unknown(result: CommandResult) -> bool:
    """Whether a command failed because there is no such container."""
    return "no such container" in complaint_of(result).lower()


def is_running(result: CommandResult) -> bool:
    """Whether an ``rm`` failed because the container runs."""
    return bool(re.search(r"cannot remove .* running|is running|running or paused containers", complaint_of(result)))


def not_reached(words: str, engine: str) -> str:
    """Return the words again, with a hint, if they say that the engine was asked for nothing; "" if they do not."""
    words = words.removesuffix(".")
    if any(sign in words for sign in _NOT_REACHED):
        return words
    if engine == "Podman" and _NO_RUNTIME_DIRECTORY.search(words):
        return (
            f"{words} (nobody made the user's runtime directory, /run/user/UID: loginctl enable-linger USER, as root)"
        )
    return words if engine == "Podman" and any(sign in words for sign in _NOT_SET_UP) else ""


def _last_id(text: str) -> JobId | None:
    whole = text.split("\n")[:-1]  # half an id is another container's
    return next((JobId(line.strip()) for line in reversed(whole) if _ID.fullmatch(line.strip())), None)


# ── inspect ───────────────────────────────────────────────────────────────────────────────────────────────────────


def parse_inspect(ids: Iterable[JobId], result: CommandResult, engine: str) -> dict[JobId, Container | None]:
    """Return the container of each id in ``inspect --format=INSPECT_FORMAT``; None for one that the engine denies.

    An id is left out if its row cannot be read.

    Raises:
        SchedulerUnavailable: the engine told neither one thing nor the other of some id.
    """
    found: dict[JobId, Container | None] = {}
    denied = {JobId(a or b) for a, b in _UNKNOWN.findall(result.stderr.decode("utf-8", "replace"))}
    spoilt = set()
    for line in result.text.split("\n")[:-1]:
        id, _, rest = line.partition(" ")
        if _ID.fullmatch(id):
            try:
                found[JobId(id)] = msgspec.json.decode(rest.encode(), type=Container)
            except msgspec.MsgspecError:
                spoilt.add(JobId(id))
    wanted = set(ids)
    silent = wanted - found.keys() - spoilt - denied
    if silent:
        words = complaint_of(result) if result.exit_code else f"inspect told nothing of {min(silent)}"
        raise SchedulerUnavailable(f"{engine} could not be asked: {not_reached(words, engine) or words}")
    return {id: found[id] for id in wanted & found.keys()} | dict.fromkeys(wanted & denied - found.keys())


def status_of(id: JobId, container: Container, engine: str, now: datetime) -> JobStatus:
    """Return what a container is for us."""
    state = container.state
    ours, reason, cause = _STATES.get(state.status, JobState.RUNNING), "", None
    started, ended = _time(state.started_at), _time(state.finished_at)
    if ours is JobState.QUEUED and started:
        ours = JobState.ENDED  # after a reboot, some releases of Podman show what had run as if it were just made
    if ours is JobState.QUEUED:
        reason = "Its container is made, but not started."
        if state.error or now - container.created > _NEVER_STARTED:
            ours, cause = JobState.ENDED, EndCause.REJECTED
            reason = reasons.said(engine, state.error) or "Its container was made, but never started."
    if state.status == "stopped" and ended and now - ended < _CLEANING:
        ours = JobState.RUNNING
    code = state.exit_code if ours is JobState.ENDED and started and ended else None
    if ours is JobState.ENDED and started:
        cause = _cause(container, started, ended)
        reason = "" if ended else f"{engine} did not see its end; its host may have been restarted."
    if ours is not JobState.ENDED:
        ended = None
    elif started and ended:
        started = min(started, ended)  # Podman 4.3.1 notes the start of a very short job after its end
    labels = container.labels or {}
    return JobStatus(
        id=id,
        state=ours,
        name=container.job_name,
        native_state=state.status,
        reason=reason,
        cause=cause,
        exit_code=code,
        signal=code - 128 if code and 128 < code < 193 else None,
        nodes=(labels["fxsched.node"],) if started and labels.get("fxsched.node") else (),
        submitted_at=_time(container.created),
        started_at=started,
        ended_at=ended,
        source="inspect",
    )


def _cause(container: Container, started: datetime, ended: datetime | None) -> EndCause:
    """An engine knows the exit code and whether memory ran out; the rest is in labels and in the name.

    Of an end without a time it knows nothing: it was not there, and the exit code 0 that it shows is no exit code.
    """
    state = container.state
    if container.cancelled:
        return EndCause.CANCELLED
    if not ended:
        return EndCause.UNKNOWN
    walltime = (container.labels or {}).get("fxsched.walltime", "")
    if re.fullmatch("[1-9][0-9]{0,9}", walltime):
        late = _LATE if state.exit_code in _SIGNALLED else timedelta()
        if ended - started + late >= timedelta(seconds=int(walltime)):
            return EndCause.WALLTIME
    if state.oom and state.exit_code:
        return EndCause.MEMORY
    return EndCause.FAILED if state.exit_code else EndCause.COMPLETED


def _time(moment: datetime) -> datetime | None:
    """The year 1 stands for never."""
    return moment.astimezone(UTC) if moment.year > 1 else None


# ── ps ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def parse_names(result: CommandResult, engine: str) -> dict[Token, tuple[JobId, ...]]:
    """Return the ids in ``ps --format=NAMES_FORMAT``, by the token in the container's name.

    Raises:
        SchedulerUnavailable: the command failed, or printed no whole list. Only that says that a job is *not* there.
    """
    if result.exit_code:
        words = complaint_of(result)
        raise SchedulerUnavailable(f"{engine} could not be asked: {not_reached(words, engine) or words}")
    if not _HEADER.search(result.text) or not result.text.endswith("\n"):
        end = result.text.strip()[-200:]
        raise SchedulerUnavailable(f"{engine} could not be asked: ps printed no whole list, but ends in {end!r}")
    rows = (line.partition("|") for line in result.text.splitlines())
    return by_token((id, name.removesuffix(CANCELLED)) for id, _, name in rows if _ID.fullmatch(id))


# ── stop, kill, rename, rm ────────────────────────────────────────────────────────────────────────────────────────


def check_end(id: JobId, result: CommandResult, engine: str) -> None:
    """Raise unless a command that ends a container worked, or had nothing left to end.

    Raises:
        CancelRefused, SchedulerUnavailable, OutcomeUnknown: as its words tell.
    """
    if not result.exit_code:
        return
    words = complaint_of(result)
    if is_unknown(result) or any(sign in words for sign in _NOT_ALIVE):
        return
    if trouble := not_reached(words, engine):
        raise SchedulerUnavailable(f"{engine} cannot be reached: {trouble}. Nothing was cancelled")
    if "denied" in words:
        raise CancelRefused(f"{engine} refused to cancel job {id}: {words}")
    raise OutcomeUnknown(f"{engine} did not confirm that it ends job {id}: {words}")


def _said(result: CommandResult) -> str:
    """Return what a command printed on both streams, for a message."""
    return " ".join((result.text + result.stderr.decode("utf-8", "replace")).split())[:300]


def complaint_of(result: CommandResult) -> str:
    """Return what a command complained of, on one line, without its prefixes and without its advice to ask for help."""
    lines = (re.sub(r"^(?:docker: |Error: )+", "", line.strip()) for line in result.complaint.splitlines())
    return " ".join(line for line in lines if line and not _NOISE.fullmatch(line)) or f"exit code {result.exit_code}"
