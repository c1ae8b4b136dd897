"""qstat: a table, everything as text, everything as XML, one document for each id."""

from __future__ import annotations

from collections.abc import Mapping

from ..engine import Cluster
from ..frame import Reply
from ..model import Job, Settings
from ..pbs_family.getopt import BadOptionError, parse
from ..pbs_family.values import duration, full_id, look_up, moment, shown_id
from .attributes import Attributes, attributes
from .dialect import DIALECT, state

UNKNOWN_JOB, UNKNOWN_QUEUE = 153, 172


def run(cluster: Cluster, arguments: list[str], _: Mapping[str, str]) -> Reply:
    try:
        given, words = parse(DIALECT.letters["qstat"], arguments, permute=True)
    except BadOptionError as error:
        raise DIALECT.misuse("qstat", f"qstat: {error}") from None
    options = dict(given)
    out, errors, rc = "", "", 0
    with cluster:
        settings, now = cluster.settings, cluster.now()
        tables: list[Job] = []
        for word in words or [""]:
            jobs, complaint, number = _chosen(cluster, word)
            errors, rc = errors + complaint, number or rc
            if "x" in options:
                out += _as_xml(jobs, settings)
            elif "f" in options:
                out += "".join(_as_text(job, settings, wrap="1" not in options) for job in jobs)
            else:
                tables += jobs
        out += _table(tables, settings, now)
    return Reply(out + ("\n" if "f" in options and "x" not in options and out else ""), errors, rc)


def _chosen(cluster: Cluster, word: str) -> tuple[list[Job], str, int]:
    """The jobs that one word means, what is said on stderr, and the exit code."""
    settings = cluster.settings
    queue = settings.queue(word.partition("@")[0]) if word else None
    if not word or queue:
        return [job for job in cluster.jobs.values() if queue in (None, settings.queue(job.queue))], "", 0
    if not word[:1].isdigit():
        return [], f"qstat: Unknown queue destination {word}\n", UNKNOWN_QUEUE
    try:
        job = look_up(cluster, word)
    except ValueError:
        job = None
    if job is None:
        return [], f"qstat: Unknown Job Id Error {shown_id(word, settings)}\n", UNKNOWN_JOB
    return [job], "", 0


def _as_xml(jobs: list[Job], settings: Settings) -> str:
    if not jobs:
        return ""
    each = "".join(f"<Job>{_elements(attributes(job, settings, str_of_time=_epoch))}</Job>" for job in jobs)
    return f'<?xml version="1.0"?>\n<Data>{each}</Data>\n'


def _elements(values: Attributes) -> str:
    return "".join(
        f"<{name}>{_elements(value) if isinstance(value, dict) else _escaped(str(value))}</{name}>"
        for name, value in values.items()
    )


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace('"', "&quot;")


def _epoch(at: float) -> str:
    return str(int(at))


def _as_text(job: Job, settings: Settings, *, wrap: bool) -> str:
    values = attributes(job, settings, str_of_time=moment)
    lines = [f"Job Id: {values.pop('Job_Id')}\n"]
    for name, value in values.items():
        members = value.items() if isinstance(value, dict) else [("", value)]
        for member, text in members:
            line = f"    {name}{f'.{member}' if member else ''} = {text}"
            lines.append(_wrapped(line) if wrap else f"{line}\n")
    return "".join(lines) + "\n"


def _wrapped(line: str) -> str:
    """Lines are broken at commas, else anywhere, before column 80, and go on behind a tab."""
    lines: list[str] = []
    width = 79
    while len(line) > width:
        cut = line.rfind(",", 0, width) + 1 or width
        lines.append(line[:cut])
        line, width = line[cut:], 71
    return "\n\t".join([*lines, line]) + "\n"


def _table(jobs: list[Job], settings: Settings, now: float) -> str:
    if not jobs:
        return ""
    lines = [
        "Job ID                    Name             User            Time Use S Queue\n",
        "------------------------- ---------------- --------------- -------- - -----\n",
    ]
    for job in jobs:
        used = duration(job.ran_for(now)) if job.on else "0"
        name = job.name if len(job.name) <= 16 else f"...{job.name[-13:]}"
        lines.append(f"{full_id(job, settings):<26} {name:<16} {job.user:<15} {used:>8} {state(job)} {job.queue:<15}\n")
    return "".join(lines)
