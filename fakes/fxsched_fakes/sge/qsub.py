"""qsub: takes a script from a file or from standard input."""

from __future__ import annotations

import grp
import os
import pwd
import re
import shlex
import sys
from collections.abc import Mapping

from ..engine import Cluster
from ..frame import CommandError, Reply
from ..model import Job, Settings, State
from .options import Table
from .request import describe, refused
from .values import number

TABLE = Table(
    "qsub",
    "a= A= ac= ar= b= binding= c= C= ckpt= clear cwd dc= display= dl= e= h hard hold_jid= i= j= jc= js= l= m= M="
    " masterq= N= notify now= o= P= p= pe== q= R= r= S= shell= soft sync= t= tc= terse v= V verify w= wd=",
)


def run(cluster: Cluster, arguments: list[str], variables: Mapping[str, str]) -> Reply:
    given, words = TABLE.parse(arguments, script=True)
    script, name = _script(words)
    prefix = next((value[0] for option, value in reversed(given) if option == "C"), "#$")
    given = [*_inside(script, prefix), *given]
    options: dict[str, list[str]] = {}
    requests: list[str] = []
    warnings = ""
    for option, value in given:
        if option == "l":
            requests += value[0].split(",")
        elif option == "clear":
            options, requests = {}, []
            continue
        elif option in options and option in ("sync", "b", "N", "q"):
            warnings += f'qsub: warning: "-{option}" option has already been set, overriding previous setting\n'
        options[option] = value
    with cluster:
        live = [job for job in cluster.jobs.values() if job.state != State.ENDED]
        if len(live) >= cluster.settings.max_jobs:
            raise refused("job rejected: only 20000 jobs are allowed per cluster")
        job = describe(options, requests, cluster.settings, name)
        _complete(job, options, variables, cluster.settings)
        job.arguments = words[1:]
        for element in _tasks(job, options):
            job = cluster.submit(element, script, _environment(options, variables))
            if "task" in job.extra:
                job.extra["array"] = str(job.id - int(job.extra["offset"]))
        access = "no_access" not in cluster.settings.extra
    shown = f"{number(job)}.{job.extra['tasks']}" if "tasks" in job.extra else str(job.id)
    said = f'Your job{"-array" if "tasks" in job.extra else ""} {shown} ("{job.name}") has been submitted\n'
    if not access:  # it is accepted all the same
        raise refused(f"warning: {job.user}'s job is not allowed to run in any queue\n{said.strip()}")
    answer = f"{shown}\n" if "terse" in options else said
    return Reply(answer, warnings)


def _tasks(job: Job, options: dict[str, list[str]]) -> list[Job]:
    """A job for each task of ``-t 1-9:2``. The array has the id of the first; the others' are not seen."""
    if "t" not in options:
        return [job]
    found = re.fullmatch(r"(\d+)(?:-(\d+)(?::(\d+))?)?", options["t"][0])
    if not found:
        text = options["t"][0]
        raise CommandError(
            f'qsub: Numerical value invalid!\nThe initial portion of string "{text}" contains no decimal number\n', 7
        )
    if not int(found[1]):
        raise refused("job rejected: 0 is an invalid task id")
    first, last, step = int(found[1]), int(found[2] or found[1]), int(found[3] or 1)
    tasks = f"{first}-{last}:{step}"
    return [
        Job.from_json(job.as_json() | {"extra": job.extra | {"task": str(task), "tasks": tasks, "offset": str(offset)}})
        for offset, task in enumerate(range(first, last + 1, step))
    ]


def _script(words: list[str]) -> tuple[bytes, str]:
    unreadable = "Unable to read script file because of error: "
    if not words:
        script = sys.stdin.buffer.read()
        if not script:
            raise CommandError(f"{unreadable}no input read from stdin\n", 4)
        return script, "STDIN"
    try:
        with open(words[0], "rb") as file:
            return file.read(), os.path.basename(words[0])
    except OSError as error:
        raise CommandError(f"{unreadable}error opening {words[0]}: {error.strerror}\n", 14) from None


def _inside(script: bytes, prefix: str) -> list[tuple[str, list[str]]]:
    """The options in lines of the script that begin with the prefix; none with an empty one."""
    if not prefix:
        return []
    words: list[str] = []
    for line in os.fsdecode(script).splitlines():
        if line.startswith(prefix):
            words += shlex.split(line.removeprefix(prefix))
    return TABLE.parse(words)[0]


def _complete(job: Job, options: dict[str, list[str]], variables: Mapping[str, str], settings: Settings) -> None:
    """What does not depend on the cluster: who submits, from where, and the file names."""
    job.uid = os.getuid()
    job.user = pwd.getpwuid(job.uid).pw_name
    home = variables.get("HOME") or pwd.getpwuid(job.uid).pw_dir
    job.extra |= {
        "gid": str(os.getgid()),
        "group": grp.getgrgid(os.getgid()).gr_name,
        "home": home,
        "from": os.getcwd(),
        "wd": options["wd"][0] if "wd" in options else os.getcwd() if "cwd" in options else home,
        "stdout": _path(options["o"][0]) if "o" in options else "",
        "stderr": _path(options["e"][0]) if "e" in options else "",
        "joined": "y" if options.get("j", ["n"])[0] in ("y", "yes") else "",
        "account": options.get("A", ["sge"])[0],
        "project": options.get("P", [""])[0],
        "name": settings.name,
    }


def _path(text: str) -> str:
    """The path of a list `[host:]path,…`, of which there must be one."""
    if "," in text:
        raise refused("ERROR! two files are specified for the same host")
    host, colon, path = text.partition(":")
    if colon and host:
        raise refused(f'can\'t resolve hostname "{host}"')
    return path if colon else text


def _environment(options: dict[str, list[str]], variables: Mapping[str, str]) -> dict[str, str]:
    """What travels with the job: -V everything, -v what it names; a comma in a value begins the next variable."""
    travels = dict(variables) if "V" in options else {}
    for part in filter(None, options.get("v", [""])[0].split(",")):
        name, equals, value = part.partition("=")
        travels[name] = value if equals else variables.get(name, "")
    return travels
