"""Container engines on top of the engine of jobs: `docker` as spoken by 20.10.24, `podman` by 4.3.1, side by side.

Both commands see the same containers. There is no isolation: a "container" is a process of this machine.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..model import Settings

COMMANDS = {
    "docker": "commands:docker",
    "podman": "commands:podman",
}
VERBS = {
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
CALLS = frozenset(f"{command} {verb}" for command in COMMANDS for verb in VERBS)
FOR_EVER = 1e12
# Global options that take a value (docker(1), podman(1)); the others are switches.
_GLOBAL = frozenset(
    {"--config", "-c", "--context", "-H", "--host", "-l", "--log-level", "--tlscacert", "--tlscert", "--tlskey"}
    | {"--cgroup-manager", "--conmon", "--connection", "--events-backend", "--hooks-dir", "--identity", "--module"}
    | {"--network-config-dir", "--root", "--runroot", "--runtime", "--runtime-flag", "--storage-driver"}
    | {"--storage-opt", "--tmpdir", "--url", "--volumepath"}
)


def call_name(command: str, arguments: list[str]) -> str:
    """What a plan of faults calls this call: one command has many verbs, as in `docker run`, `docker inspect`."""
    words = words_of(arguments)
    return f"{command} {words[0]}" if words else command


def words_of(arguments: list[str]) -> list[str]:
    """The verb and what follows it, without the command's global options, which stand before it."""
    rest = list(arguments)
    while rest and rest[0].startswith("-") and rest[0] not in VERBS:
        name, equals, _ = rest.pop(0).partition("=")
        if name in _GLOBAL and not equals:
            del rest[:1]
    return rest[1:] if rest[:1] == ["container"] else rest


def default_settings(_nodes: int) -> Settings:
    """One node, this one, for any number of containers, which stay until they are removed."""
    import os

    from ..model import Node, Queue, Settings

    name = os.uname().nodename
    return Settings(
        scheduler="docker",
        nodes=[Node(name=name, cores=16, memory=64000, gpus=2)],
        queues=[Queue(name="engine", nodes=[name], default=True)],
        forget_after=FOR_EVER,
    )
