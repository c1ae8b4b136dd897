"""showq: all jobs, in the lists in which Moab has them. The text is Maui's; `--xml` is Moab's."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

from ..engine import Cluster
from ..frame import CommandError, Reply
from ..model import Job
from .values import (
    attributes,
    clock,
    date,
    document,
    element,
    is_maui,
    moab_id,
    processors,
    queue_of,
    remembered,
    state_word,
)

_LISTS = {"-r": "active", "-i": "eligible", "-b": "blocked", "-c": "completed"}


def run(cluster: Cluster, arguments: list[str], _: Mapping[str, str]) -> Reply:
    with cluster:
        maui = is_maui(cluster.settings)
        chosen = [_LISTS[word] for word in arguments if word in _LISTS] or ["active", "eligible", "blocked"]
        if maui and len(chosen) == 1:
            raise CommandError("ERROR:    'showq' failed\nERROR:  not authorized to run this command\n\n")
        jobs = [job for job in remembered(cluster) if _wanted(job, arguments)]
        if "--xml" in arguments and not maui:
            return Reply(_xml(cluster, jobs, chosen))
        return Reply(_text(cluster, jobs, maui=maui))


def _wanted(job: Job, arguments: list[str]) -> bool:
    """Whether it meets all of -w user=…, -w class=…, -w acct=… and -u."""
    for option, value in pairwise(arguments):
        name, _, text = value.partition("=") if option == "-w" else ("user", "", value) if option == "-u" else ("",) * 3
        own = {"user": job.user, "class": job.queue, "acct": job.extra.get("account", "")}
        if name in own and own[name] != text:
            return False
    return True


def _xml(cluster: Cluster, jobs: list[Job], chosen: list[str]) -> str:
    nodes = cluster.settings.nodes
    used = {name for job in cluster.jobs.values() if job.live for name in job.on}
    whole = element(
        "cluster",
        {"LocalActiveNodes": len(used), "LocalConfigNodes": len(nodes), "time": int(cluster.now())},
    )
    lists = []
    for name in chosen:
        rows = [element("job", attributes(cluster, job)) for job in jobs if queue_of(job) == name]
        purge = {"purgetime": cluster.settings.extra.get("purge", "300")} if name == "completed" else {}
        lists.append(element("queue", {"count": len(rows), "option": name, **purge}, "".join(rows)))
    return document(["<Object>queue</Object>", whole, *lists])


def _text(cluster: Cluster, jobs: list[Job], *, maui: bool) -> str:
    now = cluster.now()
    lists = {name: [job for job in jobs if queue_of(job) == name] for name in ("active", "eligible", "blocked")}

    def line(job: Job, span: float, at: float | None) -> str:
        head = f"{moab_id(job, cluster.settings):<16}{job.user:>11}{state_word(job, maui=maui):>11}"
        return f"{head}{processors(job):>6}{clock(span):>12}  {date(at)}\n"

    def waiting(name: str) -> str:
        head = "JOBNAME            USERNAME      STATE  PROC     WCLIMIT            QUEUETIME\n\n"
        return head + "".join(line(job, job.walltime or 0, job.submitted) for job in lists[name])

    active = lists["active"]
    used = sum(processors(job) for job in active), len({name for job in active for name in job.on})
    there = sum(node.cores for node in cluster.settings.nodes), len(cluster.settings.nodes)
    share = [f"({100 * part / whole:.2f}%)" for part, whole in zip(used, there, strict=True)]
    counts = {name: len(rows) for name, rows in lists.items()}
    return (
        "ACTIVE JOBS--------------------\n"
        "JOBNAME            USERNAME      STATE  PROC   REMAINING            STARTTIME\n\n"
        + "".join(line(job, max(0.0, job.limit_at - now) if job.walltime else 0, job.started) for job in active)
        + f"\n{counts['active']:>6} Active Jobs  {used[0]:>6} of {there[0]:>4} Processors Active {share[0]}\n"
        + f"{used[1]:>26} of {there[1]:>4} Nodes Active      {share[1]}\n\n"
        + "IDLE JOBS----------------------\n"
        + f"{waiting('eligible')}\n{counts['eligible']} Idle Jobs\n\n"
        + "BLOCKED JOBS----------------\n"
        + f"{waiting('blocked')}\nTotal Jobs: {sum(counts.values())}   Active Jobs: {counts['active']}   "
        + f"Idle Jobs: {counts['eligible']}   Blocked Jobs: {counts['blocked']}\n"
    )
