"""docker and podman: one verb after the other."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module

from ..engine import Cluster
from ..frame import CommandError, Reply
from . import VERBS, words_of


def docker(cluster: Cluster, arguments: list[str], variables: Mapping[str, str]) -> Reply:
    return _run(cluster, "docker", arguments, variables)


def podman(cluster: Cluster, arguments: list[str], variables: Mapping[str, str]) -> Reply:
    return _run(cluster, "podman", arguments, variables)


def _run(cluster: Cluster, engine: str, arguments: list[str], variables: Mapping[str, str]) -> Reply:
    verb, *rest = words_of(arguments) or [""]
    if verb not in VERBS:
        raise CommandError(f"{engine}: '{verb}' is not a {engine} command.\nSee '{engine} --help'\n", 125)
    module, _, function = VERBS[verb].partition(":")
    reply: Reply = getattr(import_module(f".{module}", __package__), function)(cluster, engine, rest, variables)
    return reply
