"""squeue: what is queued, running, and lately ended."""

from __future__ import annotations

import os
import pwd
import time
from collections.abc import Mapping

from ..engine import Cluster
from ..frame import CommandError, Reply
from ..model import Job, State
from .clusters import check_cluster
from .columns import View, by_letters, by_names, priority, start
from .options import Table
from .sbatch import VERSION
from .values import STATES, is_meant, node_list, state_word

TABLE = Table(
    "squeue",
    "account=/A all/a array/r array-unique cluster= clusters=/M federation format=/o Format=/O help hide iterate=/i"
    " job?/j jobs?/j json licenses=/L local long/l me name=/n noconvert noheader/h nodelist=/w partition=/p"
    " priority/P qos=/q reservation=/R sibling sort=/S start states=/t step?/s steps?/s usage user=/u users=/u"
    " verbose/v version/V yaml",
)

# From the man page of squeue 22.05, "ENVIRONMENT VARIABLES". They filter even where ids are given.
VARIABLES = {
    "SLURM_CLUSTERS": "clusters", "SQUEUE_ACCOUNT": "account", "SQUEUE_FORMAT": "format", "SQUEUE_FORMAT2": "Format",
    "SQUEUE_LICENSES": "licenses", "SQUEUE_NAMES": "name", "SQUEUE_PARTITION": "partition", "SQUEUE_QOS": "qos",
    "SQUEUE_STATES": "states", "SQUEUE_USERS": "user",
}  # fmt: skip

USAGE = """\
Usage: squeue [-A account] [--clusters names] [-i seconds] [--job jobid]
              [-n name] [-o format] [-p partitions] [--qos qos]
              [--reservation reservation] [--sort fields] [--start]
              [--step step_id] [-t states] [-u user_name] [--usage]
              [-L licenses] [-w nodes] [--federation] [--local] [--sibling]
\t      [-ahjlrsv]
"""
DEFAULT = "%.18i %.9P %.8j %.8u %.2t %.10M %.6D %R"
LONG = "%.18i %.9P %.8j %.8u %.8T %.10M %.9l %.6D %R"
START = "%.18i %.9P %.8j %.8u %.2t %.19S %.6D %20Y %R"
UNKNOWN_ID = "slurm_load_jobs error: Invalid job id specified\n"


def run(cluster: Cluster, arguments: list[str], variables: Mapping[str, str]) -> Reply:
    given, words = TABLE.parse(arguments)
    options = {option: variables[key] for key, option in VARIABLES.items() if key in variables}
    own = {name: value or "" for name, value in given}
    if own.keys() & {"format", "Format", "long", "start"}:
        options = {name: value for name, value in options.items() if name not in ("format", "Format")}
    options |= own
    if "version" in own:
        return Reply(VERSION)
    ids = _ids(options, words, given)
    with cluster:
        check_cluster(cluster.settings, "squeue", options.get("clusters"))
        jobs, now = list(cluster.jobs.values()), cluster.now()
    return _answer(_select(jobs, ids, options), options, View(now, variables), cluster.settings.name)


def _ids(options: dict[str, str], words: list[str], given: list[tuple[str, str | None]]) -> list[str] | None:
    """The ids asked for. -j takes its argument only when glued to it, else the first other word is taken (22.05.8)."""
    text = options.get("job") or options.get("jobs")
    if any(name in ("job", "jobs") for name, _ in given) and not text and words:
        text, words = words[0], words[1:]
    elif not any(name in ("job", "jobs") for name, _ in given):
        text = None
    if words:
        raise CommandError(f"squeue: error: Unrecognized option: {words[0]}\n", out=USAGE)
    if text is None:
        return None
    ids = []
    for word in filter(None, text.split(",")):
        number, _, task = (word.split() or [word])[0].partition("_")
        if not (number.isascii() and number.isdigit()) or int(number) == 0:
            raise CommandError(f"squeue: error: Invalid job id: {word}\n")
        ids.append(f"{int(number)}_{task}" if task else str(int(number)))
    return ids


def _select(jobs: list[Job], ids: list[str] | None, options: dict[str, str]) -> list[Job]:
    if ids is not None:
        # One unknown id is an error, of several the unknown ones are left out: one is a request of its own (22.05.8).
        if len(ids) == 1 and "_" not in ids[0] and not any(is_meant(job, ids[0]) for job in jobs):
            raise CommandError(UNKNOWN_ID)
        jobs = [job for job in jobs if any(is_meant(job, word) for word in ids)]
    states = _states(options.get("states"))
    jobs = [job for job in jobs if (job.state != State.ENDED if states is None else state_word(job) in states)]
    if "me" in options:
        jobs = [job for job in jobs if job.uid == os.getuid()]
    users = options.get("user") or options.get("users")
    if users:
        uids = _uids(users)
        jobs = [job for job in jobs if job.uid in uids]
    for option, values in (
        ("name", lambda job: [job.name]),
        ("partition", lambda job: job.queues),
        ("account", lambda job: [job.extra.get("account", "")]),
        ("qos", lambda job: [job.extra.get("qos", "")]),
        ("licenses", lambda _: []),
        ("reservation", lambda _: []),
        ("nodelist", lambda job: job.on),
    ):
        if options.get(option) or (option == "name" and option in options):  # -n '' finds nothing (22.05.8)
            wanted = set(filter(None, options[option].split(",")))
            jobs = [job for job in jobs if wanted & set(values(job))]
    return jobs


def _states(text: str | None) -> set[str] | None:
    """The states of -t in full; None for those that squeue shows by default."""
    if not text:
        return None
    if text.lower() == "all":
        return set(STATES)
    chosen = set()
    for word in text.upper().split(","):
        match = [name for name, compact in STATES.items() if word in (name, compact)]
        if not match:
            raise CommandError(
                f"squeue: error: Invalid job state specified: {word}\n"
                f"squeue: error: Valid job states include: {','.join(STATES)}\n\n"
            )
        chosen.add(match[0])
    return chosen


def _uids(text: str) -> set[int]:
    uids = set()
    for word in text.split(","):
        try:
            uids.add(int(word) if word.isdigit() else pwd.getpwnam(word).pw_uid)
        except KeyError:
            raise CommandError(f"squeue: error: Invalid user: {word}\n\n", 0) from None
    return uids


def _answer(jobs: list[Job], options: dict[str, str], view: View, cluster: str) -> Reply:
    complaints, before = "", ""
    if options.get("Format"):
        columns, complaints = by_names(options["Format"])
    elif options.get("format"):
        columns = by_letters(options["format"])
    elif "start" in options:
        columns = by_letters(START)
        jobs = [job for job in jobs if job.state == State.QUEUED]
    elif "long" in options:
        columns = by_letters(LONG)
        before = time.strftime("%a %b %d %H:%M:%S %Y\n", time.localtime(view.now))
    else:
        columns = by_letters(DEFAULT)
    if "noheader" in options:
        before = ""
    jobs.sort(key=lambda job: (job.queue, STATES[state_word(job)], -priority(job), _tie(job)))
    if "start" in options:
        jobs.sort(key=lambda job: start(job) or float("inf"))
    if "array" not in options:
        jobs = _together(jobs, view)
    lines = ["".join(column.cell(column.show(job, view)) for column in columns) for job in jobs]
    if "noheader" not in options:
        if options.get("clusters"):
            before = f"CLUSTER: {cluster}\n{before}"
        lines.insert(0, "".join(column.cell(column.title) for column in columns))
    return Reply(before + "".join(f"{line}\n" for line in lines), complaints)


def _together(jobs: list[Job], view: View) -> list[Job]:
    """The jobs of which each needs a line: the tasks of an array that wait share the first one's."""
    waiting: dict[str, list[Job]] = {}
    for job in jobs:
        if "task" in job.extra and not job.on:
            waiting.setdefault(f"{job.extra['array']} {state_word(job)}", []).append(job)
    rest: set[int] = set()
    for first, *others in waiting.values():
        tasks = node_list([job.extra["task"] for job in (first, *others)])
        view.together[first.id] = tasks.strip("[]")
        rest |= {job.id for job in others}
    return [job for job in jobs if job.id not in rest]


def _tie(job: Job) -> int:
    """22.05.8 lists held jobs (priority 0) newest first."""
    return -job.id if job.state == State.QUEUED else job.id
