"""bjobs: shows jobs, as rows, as paragraphs (-l), or in chosen columns (-o)."""

from __future__ import annotations

import fnmatch
import json
import os
import re
from collections.abc import Callable, Mapping

from ..engine import Cluster
from ..frame import CommandError, Reply
from ..model import Cause, Job, Settings, State
from .options import Options, parse
from .values import (
    column_time,
    end,
    end_reason,
    exit_code,
    hosts,
    long_time,
    modern,
    number,
    short_time,
    title,
    waits_for,
    with_year,
    word,
)

_LETTERS = "a d p r s w l h V A u= q= J= m= P= N= o= UF json"
_HEADER = "JOBID   USER    STAT  QUEUE      FROM_HOST   EXEC_HOST   JOB_NAME   SUBMIT_TIME\n"
_USAGE = """\
Usage: bjobs [-h] [-V] [-w |-l |-UF] [-a] [-d] [-p] [-s] [-r] [-o] [-json] [-A]
             [-m host_name] [-q queue_name] [-u user_name | -u all]
             [-P project_name] [-N host_spec]
             [-J name_spec] [jobId | "jobId[idxList]" ...]
"""
_BAD_FIELD = 99
_NONE = 254

_Column = Callable[[Job, Settings, Mapping[str, str]], str]


def run(cluster: Cluster, arguments: list[str], variables: Mapping[str, str]) -> Reply:
    with cluster:
        settings = cluster.settings
        jobs = dict(cluster.jobs)
    options, words = parse("bjobs", f"{_LETTERS} {'noheader' if modern(settings) else ''}", arguments, permute=True)
    if ("json" in options and "o" not in options) or ("o" in options and options.keys() & {"w", "l", "UF"}):
        raise CommandError(_USAGE, 255)
    for given in words:
        if not re.fullmatch(r"\d+(\[\d+\])?", given, re.ASCII):
            raise CommandError(f"{given}: Illegal job ID.\n", 255)
    words = [given for given in words if given != "0"]
    show = _form(options, settings, variables)
    known = {str(number(job)) for job in jobs.values()} | {title(job) for job in jobs.values()}
    unknown = [given for given in words if given not in known]
    chosen = [job for job in jobs.values() if _wanted(job, options, words)]
    err = "".join(f"Job <{given}> is not found\n" for given in unknown)
    if "json" in options:
        return Reply(_json(chosen, unknown, options, settings, variables), rc=255 if unknown else 0)
    if not chosen:
        return Reply(err=err or _nothing(options), rc=255 if unknown else _NONE)
    chosen.sort(key=lambda job: (job.state == State.ENDED, job.state == State.QUEUED, -job.id))
    return Reply(show(chosen), err, 255 if unknown else 0)


def _wanted(job: Job, options: Options, words: list[str]) -> bool:
    if words:
        return str(number(job)) in words or title(job) in words
    user = options.get("u")
    if user != "all" and (job.user != user if user else job.uid != os.getuid()):
        return False
    if "J" in options and not fnmatch.fnmatchcase(job.name, options["J"]):
        return False
    return "a" in options or job.state != State.ENDED


def _nothing(options: Options) -> str:
    if "J" in options:
        return f"Job <{options['J']}> is not found\n"
    return "No job found\n" if "a" in options else "No unfinished job found\n"


def _form(options: Options, settings: Settings, variables: Mapping[str, str]) -> Callable[[list[Job]], str]:
    if "o" in options:
        return _columns(options, settings, variables)
    if "l" in options or "UF" in options:
        line = f"{'-' * 78}\n"
        return lambda jobs: line.join(_paragraph(job, settings, variables) for job in jobs)
    wide = "w" in options
    return lambda jobs: _HEADER + "".join(_row(job, wide=wide) for job in jobs)


def _row(job: Job, *, wide: bool) -> str:
    where = hosts(job) if job.on else ["-" if wide else ""]
    at = short_time(job.submitted)
    if wide:
        start = f"{number(job):<7d} {job.user:7s} {word(job):5s} {job.queue:10s} {'vm':10s} {':'.join(where):>10s}"
        return f"{start} {job.name:10s} {at}\n"
    name = job.name if len(job.name) <= 10 else f"*{job.name[-9:]}"
    start = f"{number(job):<7d} {job.user:7.7s} {word(job):5s} {job.queue:10.10s} {'vm':11.11s} {where[0]:11.11s}"
    return f"{start} {name:10s} {at}\n" + "".join(f"{'':45s}{host:.11s}\n" for host in where[1:])


# --- paragraphs


def _paragraph(job: Job, settings: Settings, variables: Mapping[str, str]) -> str:
    def event(at: float, text: str) -> str:
        return fold(f"{long_time(at, settings, variables)}: {text}")

    def fold(text: str) -> str:
        return folded(text, indent(settings, variables)) if folds else f"{text}\n"

    folds = modern(settings) or "fold" in settings.extra  # as LSF before 9.1 did; volclava 2.2 prints whole lines
    text = "\n" + fold(heading(job, f"Status <{word(job)}>, Queue <{job.queue}>, "))
    text += event(job.submitted, f"Submitted from host <vm>{job.extra['hold']}, CWD <{job.extra['cwd']}>{files(job)};")
    text += limits(job)
    if job.state == State.QUEUED:
        text += f" PENDING REASONS:\n {waits_for(job, settings)};\n"
    elif job.on and job.started is not None:
        text += event(job.started, f"{started(job, settings)}, Execution Home </home>, Execution CWD <{job.workdir}>;")
    if word(job) == "USUSP":
        text += " SUSPENDING REASONS:\n The job was suspended by user;\n"
    if job.state == State.ENDED and job.ended is not None:
        text += event(job.ended, end(job) + ("." if "CPU time" in end(job) else ""))
        if end_reason(job, settings):
            text += event(job.ended, f"Completed <exit>; {end_reason(job, settings)}")
    if job.cause == Cause.MEMORY:
        text += f"\n MEMORY USAGE:\n MAX MEM: {int(job.extra['memory_limit']) // 1024} Mbytes;  AVG MEM: 6 Mbytes\n"
    return (
        f"{text}\n SCHEDULING PARAMETERS:\n"
        "           r15s   r1m  r15m   ut      pg    io   ls    it    tmp    swp    mem\n"
        " loadSched   -     -     -     -       -     -    -     -     -      -      -  \n"
        " loadStop    -     -     -     -       -     -    -     -     -      -      -  \n\n"
        " RESOURCE REQUIREMENT DETAILS:\n"
        " Combined: select[type == local] order[r15s:pg]\n"
        f" Effective: {'select[type == local] order[r15s:pg]' if job.on else '-'}\n\n"
    )


def limits(job: Job) -> str:
    """The memory limit, in KB."""
    limit = job.extra["memory_limit"]
    return f"\n MEMLIMIT\n {int(limit):6d} K\n" if limit else ""


def heading(job: Job, middle: str = "") -> str:
    name = f", Job Name <{job.name}>" if job.extra["named"] else ""
    return (
        f"Job <{title(job)}>{name}, User <{job.user}>, Project <{job.extra['project']}>, {middle}"
        f"Command <{job.extra['command'][:300]}>"
    )


def started(job: Job, settings: Settings, verb: str = "Started", link: str = "on") -> str:
    slots = hosts(job)
    names = " ".join(f"<{name}>" for name in slots)
    if modern(settings):
        return f"{verb} {len(slots)} Task(s) on Host(s) {names}, Allocated {len(slots)} Slot(s) on Host(s) {names}"
    return f"{verb} {link} {f'{len(slots)} Hosts/Processors ' if len(slots) > 1 else ''}{names}"


def files(job: Job) -> str:
    text = f", Output File <{job.extra['stdout']}>"
    if job.extra["stderr"]:
        text += f", Error File <{job.extra['stderr']}>"
    return text + (f", {job.nodes * job.cores} Processors Requested" if job.nodes * job.cores > 1 else "")


def indent(settings: Settings, variables: Mapping[str, str]) -> int:
    """How many blanks stand before the rest of a folded line: as many as the time before it takes."""
    return 26 if with_year(settings, variables) else 21


def folded(text: str, blanks: int) -> str:
    """A line as prtLine() of LSF folds it: after 79 characters, wherever that cuts; a blank there is swallowed."""
    lines, rest = [text[:79]], f"{text[79:]}\n"
    while len(text) >= 79 and rest:
        rest = rest.removeprefix(" ")
        lines.append(" " * blanks + rest[: 79 - blanks])
        rest = rest[79 - blanks :]
    return "\n".join(lines) if len(text) >= 79 else f"{text}\n"


# --- columns


def _columns(options: Options, settings: Settings, variables: Mapping[str, str]) -> Callable[[list[Job]], str]:
    names = options["o"].upper() if not modern(settings) else options["o"]
    delimiter = " "
    if modern(settings):
        found = re.search(r"delimiter='(.)'", names)
        if found:
            delimiter, names = found[1], names.replace(found[0], "")
    fields, known = _fields(names, settings)

    def show(jobs: list[Job]) -> str:
        rows = [[known[field](job, settings, variables) for field in fields] for job in jobs]
        head = [] if "noheader" in options else [fields]
        return "".join(delimiter.join(row) + "\n" for row in head + rows)

    return show


def _json(
    jobs: list[Job], unknown: list[str], options: Options, settings: Settings, variables: Mapping[str, str]
) -> str:
    fields, known = _fields(options["o"], settings)
    records = [{field: known[field](job, settings, variables) for field in fields} for job in jobs]
    records += [{"JOBID": word, "ERROR": f"Job <{word}> is not found"} for word in unknown]
    return json.dumps({"COMMAND": "bjobs", "JOBS": len(records), "RECORDS": records}, indent="\t") + "\n"


def _fields(names: str, settings: Settings) -> tuple[list[str], dict[str, _Column]]:
    fields = names.upper().split()
    known = _COMMON | (_ADDED if modern(settings) else {})
    for field in fields:
        if field not in known:
            raise CommandError(f"<{field}> in the format string is not a valid field name.\n", _BAD_FIELD)
    return fields, known


_COMMON: dict[str, _Column] = {
    "JOBID": lambda job, *_: str(number(job)),
    "USER": lambda job, *_: job.user,
    "STAT": lambda job, *_: word(job),
    "QUEUE": lambda job, *_: job.queue,
    "JOB_NAME": lambda job, *_: job.name,
    "EXEC_HOST": lambda job, *_: _exec_hosts(job),
    "SUBMIT_TIME": lambda job, settings, variables: column_time(job.submitted, settings, variables),
    "START_TIME": lambda job, settings, variables: column_time(job.started if job.on else None, settings, variables),
    "FINISH_TIME": lambda job, settings, variables: column_time(job.ended, settings, variables),
}
_ADDED: dict[str, _Column] = {
    "EXIT_CODE": lambda job, *_: str(exit_code(job) or "-") if job.state == State.ENDED else "-",
    "EXIT_REASON": lambda job, settings, _: end_reason(job, settings).rstrip(".") or "-",
    "PEND_REASON": lambda job, settings, _: f"{waits_for(job, settings)};" if job.state == State.QUEUED else "-",
}


def _exec_hosts(job: Job) -> str:
    if job.cores == 1:
        return ":".join(job.on) or "-"
    return ":".join(f"{job.cores}*{name}" for name in job.on) or "-"
