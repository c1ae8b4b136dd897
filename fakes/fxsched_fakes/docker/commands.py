"""docker and podman: one verb after the other."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module

from ..engine import Cluster
from ..frame import CommandError, Reply

_VERBS = {
    "run": "run:run",
    "create": "run:create",
    "ps": "listing:ps",
    "inspect": "listing:inspect",
    "logs": "listing:logs",
    "--version": "listing:version",
    "stop": "ending:stop",
    "kill": "ending:kill",
    "pause": "ending:pause",
    "unpause": "ending:unpause",
    "rename": "ending:rename",
    "rm": "ending:rm",
}


def docker(cluster: Cluster, arguments: list[str], variables: Mapping[str, str]) -> Reply:
    return _run(cluster, "docker", arguments, variables)


def podman(cluster: Cluster, arguments: list[str], variables: Mapping[str, str]) -> Reply:
    return _run(cluster, "podman", arguments, variables)


def _run(cluster: Cluster, engine: str, arguments: list[str], variables: Mapping[str, str]) -> Reply:
    verb, *rest = arguments[1:] if arguments[:1] == ["container"] else arguments or [""]
    if verb not in _VERBS:
        raise CommandError(f"{engine}: '{verb}' is not a {engine} command.\nSee '{engine} --help'\n", 125)
    module, _, function = _VERBS[verb].partition(":")
    reply: Reply = getattr(import_module(f".{module}", __package__), function)(cluster, engine, rest, variables)
    return reply
