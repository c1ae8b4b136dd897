"""Commands as another user, through sudo. It is the same on this machine and behind a connection."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from fxsched.errors import HostUnreachable, OutcomeUnknown
from fxsched.hosts.base import NO_SECRETS, NOTHING, connect
from fxsched.hosts.framing import Frame

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fxsched.hosts.base import CommandResult, Host
    from fxsched.jobs import Secret

SUDO: Final = ("sudo", "-n", "-H", "-u")
"""Never asks for a password; with the home directory of the user that it leads to (sudo(8))."""
_MARGIN: Final = 2.0
"""Seconds after the deadline in which a command that is being ended may still be seen to end: only it, not we, may
end what runs as somebody else."""


class SudoHost:
    """Another host, as the user ``login``.

    sudo's command line, which its log and the process table show, is the same for every command: argument vector,
    environment, secrets and standard input travel in a frame (``framing``).

    Args:
        host: where, reached as a user whom sudo lets become ``login``.
        login: as whom.
        surroundings: variables that every command gets: sudo keeps hardly any.
    """

    home = None

    def __init__(self, host: Host, login: str, *, surroundings: Mapping[str, str] = NOTHING) -> None:
        self._host = host
        self._login = login
        self._surroundings = surroundings

    @property
    def label(self) -> str:
        """What messages call it."""
        return f"{self._host.label} as {self._login}"

    async def connect(self) -> None:
        """Open the way to the host."""
        await connect(self._host)

    async def run(
        self,
        argv: Sequence[str],
        *,
        stdin: bytes = b"",
        environment: Mapping[str, str] = NOTHING,
        secrets: Mapping[str, Secret] = NO_SECRETS,
        deadline: float,
    ) -> CommandResult:
        """Run ``argv``; see ``Host.run``."""
        variables = {**self._surroundings, **environment}
        frame = Frame(argv, stdin, variables, secrets, deadline=deadline, label=self.label)
        result = await self._host.run(
            (*SUDO, self._login, "--", *frame.command), stdin=frame.stdin, deadline=deadline + _MARGIN
        )
        reply = frame.reply(result.stdout, result.stderr)
        if reply is not None:
            return reply
        if frame.begun(result.stdout) is None:
            said = " ".join(result.complaint.split()) or f"exit code {result.exit_code}"
            raise HostUnreachable(
                f"sudo did not let fxsched become {self._login} on {self._host.label}: {said}. The sudoers line that "
                "it needs stands in fxsched's manual, docs/hosts.md"
            )
        raise OutcomeUnknown(f"{argv[0]} did not answer within {deadline:g} s on {self.label}")
