"""ps, inspect and logs."""

from __future__ import annotations

import json
from collections.abc import Mapping

from ..engine import Cluster
from ..frame import CommandError, Reply
from ..model import Job
from . import containers
from .arguments import last, parse
from .template import render, table

_PS = {"--all": False, "-a": False, "--no-trunc": False, "--quiet": False, "-q": False, "--filter": True, "-f": True}
_PS |= {"--format": True}
_FORMAT = "table {{.ID}}  {{.Image}}  {{.Status}}  {{.Names}}"
_SHORT = 12


def ps(cluster: Cluster, engine: str, arguments: list[str], _: Mapping[str, str]) -> Reply:
    given, _words = parse(engine, "ps", arguments, _PS)
    filters = [*given.get("--filter", ()), *given.get("-f", ())]
    with cluster:
        now = cluster.now()
        found = [job for job in cluster.jobs.values() if all(_matches(job, text) for text in filters)]
    if not given.keys() & {"--all", "-a"}:
        found = [job for job in found if job.live]
    if engine == "docker":
        found.reverse()  # the newest first
    rows = [containers.row(job, now) for job in found]
    if "--no-trunc" not in given:
        rows = [row | {"ID": str(row["ID"])[:_SHORT]} for row in rows]
    quiet = given.keys() & {"--quiet", "-q"}
    return Reply(table("{{.ID}}" if quiet else last(given, "--format", _FORMAT), rows))


def _matches(job: Job, text: str) -> bool:
    kind, _, wanted = text.partition("=")
    if kind == "status":
        return containers.state_word(job) == wanted
    if kind == "label":
        name, equals, value = wanted.partition("=")
        found = containers.labels(job).get(name)
        return found is not None and (not equals or found == value)
    raise CommandError(f"Error: this fake has no filter {kind}\n", 125)


def inspect(cluster: Cluster, engine: str, arguments: list[str], _: Mapping[str, str]) -> Reply:
    given, names = parse(engine, "inspect", arguments, {"--format": True, "-f": True, "--type": True})
    template = last(given, "--format") or last(given, "-f")
    found, unknown = [], []
    with cluster:
        for name in names:
            try:
                found.append(containers.lookup(cluster, engine, name))
            except CommandError:
                unknown.append(name)
    shown = [containers.members(job, engine) for job in found]
    if template:
        text = "".join(render(template, members) + "\n" for members in shown)
    else:
        text = json.dumps(shown, indent=4) + "\n"
    if not unknown:
        return Reply(text)
    if engine == "docker":
        return Reply(text or "\n", "".join(f"Error: No such container: {name}\n" for name in unknown), 1)
    first, *others = (f"inspecting object: no such container {name}\n" for name in unknown)
    return Reply(text, "".join(f"error {line}" for line in others) + f"Error: {first}", 125)


def logs(cluster: Cluster, engine: str, arguments: list[str], _: Mapping[str, str]) -> Reply:
    _given, (name, *_rest) = parse(engine, "logs", arguments, {})
    with cluster:
        job = containers.lookup(cluster, engine, name)
    try:
        with open(f"{cluster.directory_of(job)}/log", errors="surrogateescape") as file:
            return Reply(file.read())
    except FileNotFoundError:
        return Reply()


def version(_cluster: Cluster, engine: str, _arguments: list[str], _: Mapping[str, str]) -> Reply:
    return Reply("podman version 4.3.1\n" if engine == "podman" else "Docker version 20.10.24+dfsg1, build 297e128\n")
