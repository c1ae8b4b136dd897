"""qstat: a table, everything as text, everything as JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

from ..engine import Cluster
from ..frame import Reply
from ..model import Job, Settings, State
from ..pbs_family.getopt import BadOptionError, parse
from ..pbs_family.qselect import NO_HISTORY
from ..pbs_family.values import duration, full_id, look_up
from .attributes import Attributes, attributes
from .dialect import DIALECT, state

VERSION = "23.06.06"
UNKNOWN_JOB, FINISHED, UNKNOWN_QUEUE = 153, 35, 170


def run(cluster: Cluster, arguments: list[str], _: Mapping[str, str]) -> Reply:
    try:
        given, words = parse(DIALECT.letters["qstat"], arguments, permute=True)
    except BadOptionError as error:
        raise DIALECT.misuse("qstat", f"qstat: {error}") from None
    options = dict(given)
    if options.get("F", "json") != "json":
        raise DIALECT.misuse("qstat")
    if "F" in options and "f" not in options:
        raise DIALECT.misuse("qstat", "qstat: conflicting options.")
    with cluster:
        jobs, errors, rc = _chosen(cluster, words, history="x" in options)
        settings, now = cluster.settings, cluster.now()
        if "F" in options:
            return Reply(as_json(jobs, settings, now), errors, rc)
        if "f" in options:
            return Reply("".join(_as_text(job, settings) for job in jobs), errors, rc)
        return Reply(_table(jobs, settings, now), errors, rc)


def _chosen(cluster: Cluster, words: list[str], *, history: bool) -> tuple[list[Job], str, int]:
    """The jobs to show, what is said on stderr, and the exit code, which is that of the last id that failed."""
    settings = cluster.settings
    if history and not settings.forget_after:
        return [], "".join(f"qstat: {NO_HISTORY}{f' {word}' if word else ''}\n" for word in words or [""]), 0
    chosen: list[Job] = []
    errors, rc = "", 0
    for word in words or [""]:
        queue = settings.queue(word.partition("@")[0]) if word else None
        if not word or queue:
            chosen += [
                job
                for job in cluster.jobs.values()
                if (history or job.state != State.ENDED) and queue in (None, settings.queue(job.queue))
            ]
            continue
        if not word.strip()[:1].isdigit():
            errors, rc = f"{errors}qstat: Unknown queue destination {word}\n", UNKNOWN_QUEUE
            continue
        server = word.partition("@")[2]
        if server and server != settings.name:
            errors += f"Unknown Host.\nqstat: cannot connect to server {settings.name} (errno=15008)\n"
            rc = 255
            continue
        try:
            job = look_up(cluster, word)
        except ValueError:
            errors, rc = f"{errors}qstat: illegally formed job identifier: {word}\n", 1
            continue
        id = word if "." in word else f"{word}.{settings.name}"
        if job is None or (job.state == State.ENDED and not settings.forget_after):
            errors, rc = f"{errors}qstat: Unknown Job Id {id}\n", UNKNOWN_JOB
        elif job.state == State.ENDED and not history:
            errors += f"qstat: {id} Job has finished, use -x or -H to obtain historical job information\n"
            rc = FINISHED
        else:
            chosen.append(job)
    return chosen, errors, rc


def as_json(jobs: list[Job], settings: Settings, now: float) -> str:
    """The document of 23.06.06, with the numbers and the backslashes that make it none."""
    members = [f'"timestamp":{int(now)}', f'"pbs_version":"{VERSION}"', f'"pbs_server":"{settings.name}"']
    if jobs:
        each = [f'"{full_id(job, settings)}":{_object(attributes(job, settings), 2)}' for job in jobs]
        members.append(f'"Jobs":{_braced(each, 1)}')
    return _braced(members, 0)


def _object(values: Attributes, depth: int) -> str:
    return _braced([f"{json.dumps(name)}:{_value(value, depth + 1)}" for name, value in values.items()], depth)


def _value(value: object, depth: int) -> str:
    """What C reads as a number stands bare, even inf and nan, unless it begins with a zero; backslashes stay single."""
    if isinstance(value, dict):
        return _object(value, depth)
    text = str(value)
    try:
        float(text)
    except ValueError:
        return json.dumps(text, ensure_ascii=False).replace("\\\\", "\\")
    return json.dumps(text) if re.match(r"-?0\d|.*[_ ]", text) else text


def _braced(members: list[str], depth: int) -> str:
    indent = "    " * (depth + 1)
    body = ",\n".join(indent + member for member in members)
    end = "\n" if depth == 0 else ""
    return f"{{\n{body}\n{'    ' * depth}}}{end}"


def _as_text(job: Job, settings: Settings) -> str:
    lines = [f"Job Id: {full_id(job, settings)}\n"]
    for name, value in attributes(job, settings).items():
        if name == "Variable_List" and isinstance(value, dict):
            joined = ",".join(f"{key}={text}" for key, text in value.items())
            lines.append(_wrapped(f"    Variable_List = {joined}"))
        elif isinstance(value, dict):
            lines += [f"    {name}.{key} = {text}\n" for key, text in value.items()]
        else:
            lines.append(_wrapped(f"    {name} = {value}"))
    return "".join(lines) + "\n"


def _wrapped(line: str) -> str:
    """Lines are broken at commas before column 80, and go on behind a tab."""
    lines: list[str] = []
    width = 79
    while len(line) > width:
        cut = line.rfind(",", 0, width) + 1
        if cut <= 0:
            break
        lines.append(line[:cut])
        line, width = line[cut:], 71
    return "\n\t".join([*lines, line]) + "\n"


def _table(jobs: list[Job], settings: Settings, now: float) -> str:
    if not jobs:
        return ""
    lines = [
        "Job id            Name             User              Time Use S Queue\n",
        "----------------  ---------------- ----------------  -------- - -----\n",
    ]
    for job in jobs:
        used = duration(job.ran_for(now)) if job.on else "0"
        name = job.name if len(job.name) <= 15 else f"{job.name[:15]}*"
        lines.append(f"{full_id(job, settings):<17} {name:<16} {job.user:<16} {used:>9} {state(job)} {job.queue:<16}\n")
    return "".join(lines)
