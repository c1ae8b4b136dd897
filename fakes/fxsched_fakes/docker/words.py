"""What both engines say, each in its own words: recorded on Docker 20.10.24 and on Podman 4.3.1."""

from __future__ import annotations

from ..frame import CommandError

_PODMAN_UNKNOWN = 'Error: no container with name or ID "{name}" found: no such container\n'
_DAEMON = "Error response from daemon: "

# (exit code, text) by occasion
_DOCKER = {
    "unknown": (1, f"{_DAEMON}No such container: {{name}}\n"),
    "kill-unknown": (1, f"{_DAEMON}Cannot kill container: {{name}}: No such container: {{name}}\n"),
    "rename-unknown": (
        1,
        f"{_DAEMON}No such container: {{name}}\nError: failed to rename container named {{name}}\n",
    ),
    "rm-unknown": (1, "Error: No such container: {name}\n"),
    "flag": (125, "unknown flag: {flag}\nSee 'docker {verb} --help'.\n"),
    "taken": (
        125,
        f'docker: {_DAEMON}Conflict. The container name "/{{name}}" is already in use by container "{{id}}". You have '
        "to remove (or rename) that container to be able to reuse that name.\nSee 'docker run --help'.\n",
    ),
    "name": (
        125,
        f"docker: {_DAEMON}Invalid container name ({{name}}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed.\n"
        "See 'docker run --help'.\n",
    ),
    "image": (125, f"docker: {_DAEMON}No such image: {{image}}.\nSee 'docker run --help'.\n"),
    "source": (
        125,
        f'docker: {_DAEMON}invalid mount config for type "bind": bind source path does not exist: {{path}}.\n'
        "See 'docker run --help'.\n",
    ),
    "workdir": (
        125,
        f"docker: {_DAEMON}the working directory '{{path}}' is invalid, it needs to be an absolute path.\n"
        "See 'docker run --help'.\n",
    ),
    "memory": (125, f"docker: {_DAEMON}Minimum memory limit allowed is 6MB.\nSee 'docker run --help'.\n"),
    "cpus": (
        125,
        f"docker: {_DAEMON}Range of CPUs is from 0.01 to {{cores}}.00, as there are only {{cores}} CPUs available.\n"
        "See 'docker run --help'.\n",
    ),
    "gpus": (125, f'docker: {_DAEMON}could not select device driver "" with capabilities: [[gpu]].\n'),
    "not-running": (1, f"{_DAEMON}Cannot kill container: {{name}}: Container {{id}} is not running\n"),
    "not-paused": (1, f"{_DAEMON}Container {{id}} is not paused\n"),
    "running": (
        1,
        f"{_DAEMON}You cannot remove a running container {{id}}. Stop the container before attempting removal or force "
        "remove\n",
    ),
    "same-name": (
        1,
        f"{_DAEMON}Renaming a container with the same name as its current name\n"
        "Error: failed to rename container named {id}\n",
    ),
    "rename-taken": (
        1,
        f'{_DAEMON}Error when allocating new name: Conflict. The container name "/{{name}}" is already in use by '
        'container "{other}". You have to remove (or rename) that container to be able to reuse that name.\n'
        "Error: failed to rename container named {id}\n",
    ),
}
_PODMAN = {
    "unknown": (125, _PODMAN_UNKNOWN),
    "kill-unknown": (125, _PODMAN_UNKNOWN),
    "rename-unknown": (125, _PODMAN_UNKNOWN),
    "rm-unknown": (1, _PODMAN_UNKNOWN),
    "flag": (125, "Error: unknown flag: {flag}\nSee 'podman {verb} --help'\n"),
    "taken": (
        125,
        'Error: creating container storage: the container name "{name}" is already in use by {id}. You have to remove '
        "that container to be able to reuse that name: that name is already in use\n",
    ),
    "name": (125, "Error: names must match [a-zA-Z0-9][a-zA-Z0-9_.-]*: invalid argument\n"),
    "image": (125, "Error: {image}: image not known\n"),
    "source": (125, "Error: statfs {path}: no such file or directory\n"),
    "workdir": (126, 'Error: workdir "{path}" does not exist on container {id}\n'),
    "gpus": (126, "Error: setting up CDI devices: unresolvable CDI devices {device}\n"),
    "not-running": (
        125,
        "Error: can only kill running containers. {id} is in state {state}: container state improper\n",
    ),
    "not-paused": (125, 'Error: "{id}" is not paused, can\'t unpause: container state improper\n'),
    "stop-paused": (
        125,
        "Error: container {id} is running or paused, refusing to clean up: container state improper\n",
    ),
    "running": (
        2,
        "Error: cannot remove container {id} as it is running - running or paused containers cannot be removed without "
        "force: container state improper\n",
    ),
    "rename-taken": (
        125,
        "Error: renaming container {id}: name {name} already in use, cannot rename container {id}: container already "
        "exists\n",
    ),
}
_WORDS = {"docker": _DOCKER, "podman": _PODMAN}


def error(engine: str, occasion: str, *, out: str = "", **values: object) -> CommandError:
    """What this engine says then."""
    rc, text = _WORDS[engine][occasion]
    return CommandError(text.format(**values), rc, out=out)


def objects_to(engine: str, occasion: str) -> bool:
    """Whether this engine makes an error of it at all."""
    return occasion in _WORDS[engine]
