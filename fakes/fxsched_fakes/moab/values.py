"""How Moab and Maui call jobs, and write their states, times and lists."""

from __future__ import annotations

import time
from collections.abc import Iterable
from importlib import import_module

from ..engine import Cluster
from ..model import Cause, Job, Settings, State, Wait

FIRST_OF_ITS_OWN = 7  # how far Moab's own numbers are ahead of the resource manager's

_HOLDS = {Wait.HELD_BY_USER: "UserHold", Wait.HELD_BY_ADMIN: "SystemHold", Wait.HELD_REQUEUE: "SystemHold"}
_BLOCKS = {
    Wait.BEGIN_TIME: "ReleaseDate",
    Wait.DEPENDENCY: "Depend",
    Wait.DEPENDENCY_NEVER: "Depend",
    Wait.QUEUE_DOWN: "ActivePolicy:job {id} cannot run in class {queue}",
    Wait.QUEUE_TIME: "ActivePolicy:job {id} violates active HARD MAX.WCLIMIT limit of class {queue}",
    Wait.QUEUE_NODES: "ActivePolicy:job {id} violates active HARD MAX.NODE limit of class {queue}",
    Wait.QUEUE_SIZE: "ActivePolicy:job {id} violates active HARD MAX.PROC limit of class {queue}",
}


def is_maui(settings: Settings) -> bool:
    return settings.extra.get("flavour") == "maui"


def moab_id(job: Job, settings: Settings) -> str:
    return f"Moab.{job.id + FIRST_OF_ITS_OWN}" if settings.extra.get("ids") == "own" else str(job.id)


def manager_id(job: Job, settings: Settings) -> str:
    text: str = import_module(f"fxsched_fakes.moab.over_{settings.scheduler}").manager_id(job, settings)
    return text


def remembered(cluster: Cluster) -> list[Job]:
    """The jobs that Moab has in memory, those that ended lately among them."""
    default = "0" if is_maui(cluster.settings) else "300"
    since = cluster.now() - float(cluster.settings.extra.get("purge", default))
    return [job for job in cluster.jobs.values() if job.state != State.ENDED or (job.ended or 0) > since]


def found(cluster: Cluster, word: str) -> Job | None:
    """The job that a user means; 3.5 takes the resource manager's whole id, too."""
    for job in remembered(cluster):
        if word in (moab_id(job, cluster.settings), manager_id(job, cluster.settings)):
            return job
    return None


def queue_of(job: Job) -> str:
    """The list of showq that it stands in."""
    if job.state == State.ENDED:
        return "completed"
    if job.live:
        return "active"
    return "blocked" if job.wait in _HOLDS or job.wait in _BLOCKS or deferred(job) else "eligible"


def deferred(job: Job) -> str:
    """Why Moab has put a job off that it could not start, as in `RMFailure  (cannot start job)`."""
    return job.extra.get("deferred", "")


def state_word(job: Job, *, maui: bool = False) -> str:
    if job.state == State.ENDED:
        return "Removed" if job.cause in (Cause.CANCELLED, Cause.WALLTIME) else "Completed"
    if job.state in (State.SUSPENDED, State.STOPPED):
        return "Suspended"
    if job.live:
        return "Running"
    held = _HOLDS.get(job.wait, "Deferred" if deferred(job) and not maui else "Idle")
    return "Hold" if maui and held != "Idle" else held


def block(job: Job, settings: Settings) -> str:
    """Why a job is blocked that nobody holds."""
    return _BLOCKS.get(job.wait, "").format(id=moab_id(job, settings), queue=job.queue)


def completion_code(job: Job) -> str:
    if state_word(job) == "Removed":
        return "CNCLD"
    return str(128 + job.signal if job.signal else job.exit_code)


def processors(job: Job) -> int:
    return (len(job.on) or job.nodes) * job.cores


def clock(seconds: float) -> str:
    """`00:59:30`, `1:00:00`, `1:00:00:00`, as 3.5 writes them."""
    sign, whole = ("-", int(-seconds)) if seconds < 0 else ("", int(seconds))
    days, rest = divmod(whole, 86400)
    hours, minutes, last = rest // 3600, rest // 60 % 60, rest % 60
    if days:
        return f"{sign}{days}:{hours:02}:{minutes:02}:{last:02}"
    return f"{sign}{hours}:{minutes:02}:{last:02}" if hours else f"{sign}00:{minutes:02}:{last:02}"


def date(at: float | None) -> str:
    return time.strftime("%a %b %d %H:%M:%S", time.localtime(at))


def element(name: str, values: dict[str, object], inside: str = "") -> str:
    """One element of XML, with its attributes in order."""
    words = (f'{key}="{_escaped(str(value))}"' for key, value in sorted(values.items()))
    return f"<{name} {' '.join(words)}" + (f">{inside}</{name}>" if inside else "/>")


def document(parts: Iterable[str]) -> str:
    return f"<Data>{''.join(parts)}</Data>\n"


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace('"', "&quot;")


def attributes(cluster: Cluster, job: Job) -> dict[str, object]:
    """What `showq --xml` has of every job."""
    settings = cluster.settings
    values: dict[str, object] = {
        "Class": job.queue,
        "DRMJID": manager_id(job, settings),
        "EEDuration": int((job.started or cluster.now()) - job.submitted),
        "GJID": moab_id(job, settings),
        "JobID": moab_id(job, settings),
        "JobName": job.name,
        "ReqAWDuration": int(job.walltime or 0),
        "ReqProcs": processors(job),
        "StartTime": int(job.started or 0) if job.on else 0,
        "State": state_word(job),
        "SubmissionTime": int(job.submitted),
        "SuspendDuration": int(job.suspended_for),
        "User": job.user,
    }
    if job.on:
        values |= {"MasterHost": job.on[0], "AWDuration": int(job.ran_for(cluster.now()))}
    if queue_of(job) == "eligible" and job.expected:
        values["RsvStartTime"] = int(job.expected)
    if block(job, settings):
        values["BlockReason"] = block(job, settings)
    if job.state == State.ENDED:
        values |= {"CompletionCode": completion_code(job), "CompletionTime": int(job.ended or 0)}
    return values
