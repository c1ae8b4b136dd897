"""sacct: what accounting remembers. Off by default, as in a cluster without slurmdbd."""

from __future__ import annotations

import os
import pwd
import re
import time
from collections.abc import Callable, Mapping

from ..engine import Cluster
from ..frame import CommandError, Reply
from ..model import Cause, Job, State
from .columns import cpus, nodes
from .options import Table
from .sbatch import VERSION
from .values import duration, exit_status, is_meant, limit, moment, node_list, reason, shown_id, state_word

TABLE = Table(
    "sacct",
    "accounts=/A allusers/a allocations/X brief/b cluster= clusters=/M completion/c constraints=/C delimiter="
    " duplicates/D endtime=/E flags=/F format=/o gid=/g group=/g help/h helpformat/e jobs=/j json local/L long/l name="
    " ncpus=/I nnodes=/i nodelist=/N noconvert noheader/n parsable/p parsable2/P partition=/r qos=/q starttime=/S"
    " state=/s submit-line truncate/T uid=/u usage/U user=/u units= use-local-uid verbose/v version/V wckeys=/W"
    " where yaml",
    hint=False,
)
_UNITS = {"second": 1, "minute": 60, "hour": 3600, "day": 86400, "week": 7 * 86400}
_RELATIVE = re.compile(rf"now(?:([+-])(\d+)(?:({'|'.join(_UNITS)})s?)?)?")
_DEFAULT = "jobid,jobname,partition,account,alloccpus,state,exitcode"


class Row:
    """A job, or the batch step inside it."""

    def __init__(self, job: Job, cluster: str, now: float, environment: Mapping[str, str], *, batch: bool) -> None:
        self.job, self.cluster, self.now, self.environment, self.batch = job, cluster, now, environment, batch

    def moment(self, at: float | None) -> str:
        return moment(at, self.environment, "Unknown")


def _of_job(show: Callable[[Job], str]) -> Callable[[Row], str]:
    """A field that steps leave empty."""
    return lambda row: "" if row.batch else show(row.job)


def _state(row: Row) -> str:
    word = state_word(row.job)
    if word == "COMPLETING":
        return "RUNNING"
    if word == "CANCELLED" and not row.batch and row.job.ended_by is not None:
        return f"CANCELLED by {row.job.ended_by}"
    if row.batch and word in ("CANCELLED", "TIMEOUT"):  # the step says how its script ended
        return "CANCELLED" if row.job.signal else "FAILED" if row.job.exit_code else "COMPLETED"
    return word


def _exit(row: Row) -> str:
    if not row.batch and row.job.cause in (Cause.CANCELLED, Cause.WALLTIME):
        return "0:0"  # 22.05.8: only the step has the signal
    return exit_status(row.job)


def _elapsed(row: Row) -> str:
    return duration(row.job.ran_for(row.now), padded=True)


FIELDS: dict[str, tuple[str, int, Callable[[Row], str]]] = {
    "jobid": ("JobID", -12, lambda row: f"{shown_id(row.job)}.batch" if row.batch else shown_id(row.job)),
    "jobidraw": ("JobIDRaw", -12, lambda row: f"{row.job.id}.batch" if row.batch else str(row.job.id)),
    "jobname": ("JobName", 10, lambda row: "batch" if row.batch else row.job.name),
    "partition": ("Partition", 10, _of_job(lambda job: job.queue)),
    "account": ("Account", 10, lambda row: row.job.extra.get("account", "")),
    "alloccpus": ("AllocCPUS", 10, lambda row: cpus(row.job) if row.job.on else "0"),
    "ncpus": ("NCPUS", 10, lambda row: cpus(row.job)),
    "nnodes": ("NNodes", 8, lambda row: str(nodes(row.job))),
    "state": ("State", 10, _state),
    "exitcode": ("ExitCode", 8, _exit),
    "derivedexitcode": ("DerivedExitCode", 15, _of_job(lambda _: "0:0")),
    "reason": ("Reason", 22, _of_job(lambda job: reason(job) if job.state == State.QUEUED else "None")),
    "submit": ("Submit", 19, lambda row: row.moment(row.job.started if row.batch else row.job.submitted)),
    "start": ("Start", 19, lambda row: row.moment(row.job.started)),
    "end": ("End", 19, lambda row: row.moment(row.job.ended if row.job.state == State.ENDED else None)),
    "elapsed": ("Elapsed", 10, _elapsed),
    "timelimit": ("Timelimit", 10, _of_job(lambda job: limit(job, padded=True))),
    "user": ("User", 9, _of_job(lambda job: job.user)),
    "uid": ("UID", 6, _of_job(lambda job: str(job.uid))),
    "comment": ("Comment", 14, _of_job(lambda job: job.extra.get("comment", ""))),
    "nodelist": ("NodeList", 15, lambda row: node_list(row.job.on) or "None assigned"),
    "qos": ("QOS", 10, _of_job(lambda job: job.extra.get("qos", "normal"))),
    "workdir": ("WorkDir", 10, _of_job(lambda job: job.workdir)),
    "cluster": ("Cluster", 10, lambda row: row.cluster),
    "reqmem": ("ReqMem", 10, _of_job(lambda job: f"{job.memory * job.nodes}M")),
}


def run(cluster: Cluster, arguments: list[str], variables: Mapping[str, str]) -> Reply:
    given, words = TABLE.parse(arguments)
    options = {name: value or "" for name, value in given}
    if words:
        raise CommandError(f"sacct: error: Unknown arguments:\nsacct: error:  {words[0]}\n")
    if "version" in options:
        return Reply(VERSION)
    with cluster:
        if not cluster.settings.accounting:
            raise CommandError("Slurm accounting storage is disabled\n")
        jobs = [*cluster.forgotten(), *cluster.jobs.values()]
        now, name = cluster.now(), cluster.settings.name
    rows = []
    for job in _select(jobs, options, now):
        rows.append(Row(job, name, now, variables, batch=False))
        if job.on and "allocations" not in options:
            rows.append(Row(job, name, now, variables, batch=True))
    return Reply(_table(rows, options, variables.get("SACCT_FORMAT")))


def _select(jobs: list[Job], options: dict[str, str], now: float) -> list[Job]:
    since = _moment(options["starttime"], now) if "starttime" in options else None
    if "jobs" in options:
        ids = set()
        for word in options["jobs"].split(","):
            if not word.partition(".")[0].partition("_")[0].isdigit():
                raise CommandError(f"sacct: fatal: Bad job/step specified: {word}\n")
            ids.add(word.partition(".")[0])
        jobs = [job for job in jobs if any(is_meant(job, word) for word in ids)]
    else:
        # Without ids: own jobs since midnight, unless told otherwise.
        users = options.get("user") or options.get("uid")
        if "allusers" not in options:
            uids = {os.getuid()} if not users else set(map(_uid, users.split(",")))
            jobs = [job for job in jobs if job.uid in uids]
        if since is None:
            since = time.mktime((*time.localtime(now)[:3], 0, 0, 0, 0, 0, -1))
    if since is not None:
        jobs = [job for job in jobs if job.ended is None or job.ended >= since]
    if "endtime" in options:
        until = _moment(options["endtime"], now)
        jobs = [job for job in jobs if job.submitted <= until]
    if options.get("name"):
        jobs = [job for job in jobs if job.name in options["name"].split(",")]
    return sorted(jobs, key=lambda job: (job.id, job.submitted))


def _table(rows: list[Row], options: dict[str, str], preferred: str | None) -> str:
    fields, widths = [], []
    for word in (options.get("format") or preferred or _DEFAULT).split(","):
        name, _, width = word.partition("%")
        if name.lower() not in FIELDS:
            raise CommandError(f'sacct: error: Invalid field requested: "{name}"\n')
        fields.append(FIELDS[name.lower()])
        widths.append(int(width) if width else fields[-1][1])
    lines = [[show(row) for _, _, show in fields] for row in rows]
    titles = [title for title, _, _ in fields]
    if "parsable" in options or "parsable2" in options:
        mark = options.get("delimiter", "|")
        end = mark if "parsable" in options else ""
        head = [] if "noheader" in options else [titles]
        return "".join(mark.join(line) + end + "\n" for line in [*head, *lines])
    head = [] if "noheader" in options else [titles, ["-" * abs(width) for width in widths]]
    return "".join(
        "".join(_cell(*pair) + " " for pair in zip(line, widths, strict=True)) + "\n" for line in head + lines
    )


def _cell(text: str, width: int) -> str:
    """Cut to the width, with + for what is missing: `CANCELLED by 0` reads `CANCELLED+`."""
    if len(text) > abs(width):
        text = text[: abs(width) - 1] + "+"
    return text.ljust(-width) if width < 0 else text.rjust(width)


def _uid(user: str) -> int:
    try:
        return int(user) if user.isdigit() else pwd.getpwnam(user).pw_uid
    except KeyError:
        raise CommandError(f"sacct: error: Invalid user id: {user}\n") from None


def _moment(text: str, now: float) -> float:
    if relative := _RELATIVE.fullmatch(text):
        sign, count, unit = relative.groups()
        return now + int(f"{sign or '+'}{count or 0}") * _UNITS[unit or "second"]
    for pattern in ("%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M", "%Y-%m-%d"):
        try:
            return time.mktime(time.strptime(text, pattern))
        except ValueError:
            continue
    raise CommandError(f"Invalid time specification (pos=0): {text}\n")
