"""What both engines say when the daemon does not answer, breaks off, or fails."""

from __future__ import annotations

from ..frame import Reply

_SOCKET = "unix:///var/run/docker.sock"
_ADVICE = "See 'docker run --help'.\n"
_PODMAN = (
    "Cannot connect to Podman. Please verify your connection to the Linux system using `podman system connection list`,"
    " or try `podman machine init` and `podman machine start` to manage a new Linux VM\n"
    "Error: unable to connect to Podman socket: {}\n"
)
_PING = 'Get "http://d/v4.3.1/libpod/_ping": dial unix /run/podman/podman.sock: connect: connection refused'


def trouble(kind: str, command: str, _arguments: list[str]) -> Reply:
    """The reply of `command` when the daemon is "down", the connection breaks ("time-out"), it may not be used
    ("munge": there is no such service here, but a socket that is not for everyone), or it does "fail".
    """
    engine, _, verb = command.partition(" ")
    if engine == "podman":
        # Without a service there is nobody to break the connection but the signal that ends the command itself.
        match kind:
            case "time-out":
                return Reply(rc=137)
            case "fail":
                return Reply(err="Error: something broke\n", rc=125)
        return Reply(err=_PODMAN.format(_PING), rc=125)
    where = f'"http://%2Fvar%2Frun%2Fdocker.sock/v1.41/containers/{verb}"'
    text = {
        "down": f"Cannot connect to the Docker daemon at {_SOCKET}. Is the docker daemon running?",
        "time-out": f"error during connect: Post {where}: EOF",
        "munge": f"permission denied while trying to connect to the Docker daemon socket at {_SOCKET}: Post {where}: "
        "dial unix /var/run/docker.sock: connect: permission denied",
        "fail": "Error response from daemon: something broke",
    }[kind]
    if verb == "run":
        return Reply(err=f"docker: {text}.\n{_ADVICE}", rc=126 if kind == "munge" else 125)
    return Reply("\n" if verb == "inspect" else "", f"{text}\n", 1)
