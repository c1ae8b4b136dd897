"""qsub: takes a script, on stdin or in a file, and hands it to the server."""

from __future__ import annotations

import os
import pwd
import re
import shlex
from collections.abc import Mapping

from ..engine import Cluster
from ..frame import CommandError, Reply
from ..model import Job, Settings
from ..placement import limit_broken
from .dialect import Dialect
from .getopt import BadOptionError, parse
from .values import full_id, look_up

Options = dict[str, str]


def run(cluster: Cluster, arguments: list[str], variables: Mapping[str, str], dialect: Dialect) -> Reply:
    try:
        given, words = parse(dialect.letters["qsub"], arguments)
    except BadOptionError as error:
        raise dialect.misuse("qsub", f"qsub: {error}") from None
    if len(words) > 1:
        raise dialect.misuse("qsub")
    text = _read(words, dialect)
    inside = _directives(text, dict(given).get("C"), variables, dialect)
    options: Options = dict(inside) | dict(given)
    for letter, value in [*inside, *given]:
        _check(letter, value, dialect)
    name = options.get("N") or (os.path.basename(words[0]) if words and words[0] != "-" else "STDIN")
    if "N" not in options:
        _check("N", name, dialect)
    environment = _environment(options, variables)
    resources = [value for letter, value in [*inside, *given] if letter == "l"]
    with cluster:
        settings = cluster.settings
        job = Job(name=name, uid=os.getuid(), user=_user(), workdir=variables.get("HOME", "/"))
        job.extra = {
            "arguments": shlex.join(arguments) if dialect.torque else " ".join(arguments),
            "submit_dir": os.getcwd(),
            "host": os.uname().nodename,
            "join": options.get("j", "n"),
            "mail": options.get("m", "a"),
            "output": options.get("o", ""),
            "error": options.get("e", ""),
            "account": options.get("A", ""),
            "directory": options.get("d", ""),
            "created": str(cluster.now()),
        }
        job.requeueable = options.get("r", "y") == "y"
        _choose_queue(job, options.get("q", ""), settings, dialect)
        dialect.describe(job, resources, settings)
        _limits(job, settings, dialect)
        if "h" in options:
            cluster.hold(job)
        if "a" in options:
            job.begin = cluster.now() + 3600  # the fake takes any date for one that is an hour away
        _attributes(cluster, job, [value for letter, value in [*inside, *given] if letter == "W"], dialect)
        cluster.submit(job, text, environment)
        return Reply(f"{full_id(job, settings)}\n")


def _read(words: list[str], dialect: Dialect) -> bytes:
    if not words or words == ["-"]:
        with os.fdopen(0, "rb", closefd=False) as stdin:
            text = stdin.read()
    else:
        try:
            with open(words[0], "rb") as file:
                text = file.read()
        except IsADirectoryError:
            raise CommandError("qsub: script not a file\n") from None
        except OSError as error:
            message = (
                f"script file '{words[0]}' cannot be loaded - {error.strerror}"
                if dialect.torque
                else f"script file:: {error.strerror}"
            )
            raise CommandError(f"qsub: {message}\n") from None
    if b"\r\n" in text and not dialect.torque:
        raise CommandError("qsub: script contains cr, lf\n")
    return text if text.startswith(b"#!") else b"#!/bin/sh\n" + text


def _directives(
    text: bytes, prefix: str | None, variables: Mapping[str, str], dialect: Dialect
) -> list[tuple[str, str]]:
    """The options of the #PBS lines, which end with the first command."""
    prefix = variables.get("PBS_DPREFIX", "#PBS") if prefix is None else prefix
    found: list[tuple[str, str]] = []
    for line in os.fsdecode(text).split("\n"):
        if prefix and line.startswith(prefix):
            words = line.removeprefix(prefix)
            try:
                found += parse(dialect.letters["qsub"], shlex.split(words))[0]
            except BadOptionError as error:
                if dialect.torque:
                    raise dialect.misuse("qsub", f"qsub: {error}") from None
                raise CommandError(f"qsub: {error}\nqsub: directive error:{words} \n") from None
        elif line.strip() and not line.startswith((":", "#")):
            break
    return found


def _check(letter: str, value: str, dialect: Dialect) -> None:
    illegal = {
        "N": r"[\x21-\x7e]*" if dialect.torque else r"[A-Za-z0-9_.+-]+",
        "o": r"[\x20-\x7e]+",
        "e": r"[\x20-\x7e]+",
        "l": r"(?!=).*",
        "p": r"-?(\d{1,3}|10[01]\d|102[0-4])",
        "r": r"[yn]",
        "j": r"oe|eo|n",
    }
    if letter == "N" and len(value) > (256 if dialect.torque else 230):
        if dialect.torque:
            raise dialect.misuse("qsub", "qsub: illegal -N value")
        raise CommandError("qsub: Job name is too long \n", 2)
    if letter in illegal and not re.fullmatch(illegal[letter], value, re.ASCII | re.DOTALL):
        raise dialect.misuse("qsub", f"qsub: illegal -{letter} value")


def _environment(options: Options, variables: Mapping[str, str]) -> dict[str, str]:
    """The variables that travel with the job: none without -v or -V."""
    chosen = dict(variables) if "V" in options else {}
    for part in re.split(r"(?<!\\),", options["v"].removesuffix(",")) if options.get("v") else ():
        name, equals, value = part.replace("\\,", ",").partition("=")
        if not name or "'" in part or '"' in part or (not equals and name not in variables):
            raise CommandError("qsub: cannot send environment with the job\n")
        chosen[name] = value if equals else variables[name]
    kept = {name: variables[name] for name in ("HOME", "LANG", "PATH", "SHELL") if name in variables}
    originals = {f"PBS_O_{name}": value for name, value in kept.items()}
    return {"PATH": "/usr/local/bin:/usr/bin:/bin", "SHELL": "/bin/sh", "USER": _user(), "LOGNAME": _user()} | {
        **kept,
        **originals,
        **chosen,
        "PBS_O_LOGNAME": _user(),
    }


def _choose_queue(job: Job, name: str, settings: Settings, dialect: Dialect) -> None:
    name, at, server = name.partition("@")
    if at and server != settings.name:
        raise CommandError("Unknown Host.\nqsub: cannot connect to server vm (errno=15008)\n", 160)
    queue = settings.queue(name) if name else settings.default_queue()
    if queue is None:
        why = "Unknown queue MSG=requested queue not found" if dialect.torque else "Unknown queue"
        raise dialect.refusal("unknown queue", why)
    job.queue, job.queues = queue.name, [queue.name]
    job.walltime = queue.default_time


def _limits(job: Job, settings: Settings, dialect: Dialect) -> None:
    queue = settings.queue(job.queue)
    if queue and queue.up and limit_broken(settings, queue, job):
        why = "Job violates queue and/or server resource limits"
        if dialect.torque:
            why = "Job exceeds queue resource limits MSG=cannot satisfy queue max walltime requirement"
        raise dialect.refusal("limits", why)


def _attributes(cluster: Cluster, job: Job, values: list[str], dialect: Dialect) -> None:
    """-W depend=afterok:ID, umask=022, x=…"""
    for part in filter(None, (part for value in values for part in value.split(","))):
        name, equals, value = part.partition("=")
        if name == "depend":
            kind, colon, other = value.partition(":")
            kinds = {"afterok": "ok", "afternotok": "notok", "afterany": "any", "after": "start"}
            if kind not in kinds or not colon:
                raise dialect.misuse("qsub", "qsub: illegal -W value")
            try:
                found = look_up(cluster, other)
            except ValueError:
                found = None
            if found is not None:
                job.after = [(kinds[kind], found.id)]
                job.end_if_never = True
            job.extra["dependency"] = f"{value}@{cluster.settings.name}"
        elif not equals or name not in ("umask", "x", "block", "group_list"):
            raise CommandError("qsub: Error (15002) submitting job\n", 154)
        else:
            job.extra[name] = value


def _user() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())
