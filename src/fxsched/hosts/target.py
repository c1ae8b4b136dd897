"""Where an SSH host is: ``ssh://[user@]host[:port]``. Pure."""

from __future__ import annotations

import re
from typing import Final

from msgspec import Struct

from fxsched.errors import ConfigurationError

_SCHEME: Final = "ssh://"
# Neither may begin with "-": the ssh binary would read it as an option.
_TARGET: Final = re.compile(
    r"(?:(?P<user>[^\s@:/?#\[\]-][^\s@:/?#\[\]]*)@)?"
    r"(?P<host>[A-Za-z0-9_][A-Za-z0-9._-]*|\[[0-9A-Fa-f:.]+(?:%[A-Za-z0-9._-]+)?\])"
    r"(?::(?P<port>[0-9]{1,5}))?/?"
)


class SshTarget(Struct, frozen=True):
    """A login on a machine. ``host`` may be a name that only ``~/.ssh/config`` knows."""

    user: str | None
    """The login name; None: what ``~/.ssh/config`` says, else that of the user who runs this."""
    host: str
    port: int | None
    """None: what ``~/.ssh/config`` says, else 22."""

    def __str__(self) -> str:
        """Return what messages call it: as it would be typed after ``ssh``, with the port if there is one."""
        user = f"{self.user}@" if self.user else ""
        host = f"[{self.host}]" if self.port and ":" in self.host else self.host
        return f"{user}{host}:{self.port}" if self.port else f"{user}{host}"


def parse_target(text: str) -> SshTarget:
    """Read ``ssh://[user@]host[:port]``; an IPv6 address stands in brackets.

    Raises:
        ConfigurationError: it is no such address. A password in it is refused: it would be readable in the file.
    """
    found = _TARGET.fullmatch(text.removeprefix(_SCHEME)) if text.startswith(_SCHEME) else None
    port = int(found["port"]) if found and found["port"] else None
    if not found or (port is not None and not 0 < port < 65536):
        shown = re.sub(r"(?<=:)[^@/]*(?=@)", "…", text)
        raise ConfigurationError(f"{shown!r} is no SSH host: write ssh://[user@]host[:port], without password or path")
    return SshTarget(found["user"], found["host"].strip("[]"), port)
