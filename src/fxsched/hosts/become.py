"""Commands as another user, through sudo. It is the same on this machine and behind a connection."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import anyio

from fxsched.errors import FxschedError, HostUnreachable, OutcomeUnknown
from fxsched.hosts.base import NOTHING, check_deadline, connect, quoted, rephrased, unanswered
from fxsched.hosts.framing import Frame

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from fxsched.hosts.base import CommandResult, Host

SUDO: Final = ("sudo", "-n", "-H", "-u")
"""Never asks for a password; with the home directory of the user that it leads to (sudo(8))."""
_MARGIN: Final = 2.0
"""Seconds after the deadline in which a command, which has the same, may still be seen to end."""
_ENDING: Final = 5.0
"""Seconds to end a command that nobody waits for any more."""
_PAUSE: Final = 0.1
"""Seconds between two searches for it."""


class SudoHost:
    """Another host, as the user ``login``.

    sudo's command line, which its log and the process table show, is the same for every command: argument vector,
    environment and standard input travel in a frame (``framing``). Who started a command may not end it, only
    ``login`` may: when nobody waits for it any more, another command finds and ends it, and only then are we done.

    Args:
        host: where, reached as a user whom sudo lets become ``login``.
        login: as whom.
        keep: names of variables that commands get as they come through sudo: sudoers' ``env_keep`` says which do.
        surroundings: variables that every command gets: sudo keeps hardly any.
    """

    home = None

    def __init__(
        self, host: Host, login: str, *, keep: Iterable[str] = (), surroundings: Mapping[str, str] = NOTHING
    ) -> None:
        self._host = host
        self._login = login
        self._keep = tuple(keep)
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
        deadline: float,
    ) -> CommandResult:
        """Run ``argv``; see ``Host.run``."""
        check_deadline(deadline, argv, self.label)
        variables = {**self._surroundings, **environment}
        frame = Frame(argv, stdin, variables, self._keep, deadline=deadline, label=self.label)
        outcome = await self._outcome(frame, deadline + _MARGIN)
        if isinstance(outcome, OutcomeUnknown):
            with anyio.move_on_after(_ENDING, shield=True):
                await self._end(frame)
            raise rephrased(outcome, *_heard(frame, *outcome.printed))
        if isinstance(outcome, Exception):
            raise outcome
        reply = frame.reply(outcome.stdout, outcome.stderr)
        if reply is not None:
            return reply
        if frame.begun(outcome.stdout) is None:
            said = quoted(outcome.stderr) or quoted(outcome.stdout) or f"exit code {outcome.exit_code}"
            raise HostUnreachable(
                f"sudo did not let fxsched become {self._login} on {self._host.label}: {said}. The sudoers line that "
                "it needs stands in fxsched's manual, docs/hosts.md"
            )
        with anyio.move_on_after(_ENDING, shield=True):
            await self._found(frame)  # it ended by its deadline, or goes on without a sudo that was killed
        words = frame.said(outcome.stdout), frame.said(outcome.stderr)
        raise unanswered(f"{argv[0]} did not answer within {deadline:g} s on {self.label}", *words)

    async def _outcome(self, frame: Frame, deadline: float) -> CommandResult | Exception:
        """Run the frame through sudo. If the caller is cancelled, it is let go when the command has been ended."""
        outcome: CommandResult | Exception = OutcomeUnknown(f"{frame.argv[0]} was not waited for on {self.label}")
        over = anyio.Event()
        life = anyio.CancelScope(shield=True)

        async def work() -> None:
            nonlocal outcome
            with life:
                try:
                    outcome = await self._through_sudo(frame, deadline)
                except Exception as error:  # kept out of the task group, which would wrap it
                    outcome = error
            over.set()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(work)
            try:
                await over.wait()
            finally:
                if not over.is_set():
                    with anyio.move_on_after(_ENDING, shield=True):
                        await self._let_go(frame, over, life)
                    life.cancel()
        return outcome

    async def _let_go(self, frame: Frame, over: anyio.Event, life: anyio.CancelScope) -> None:
        """End a command whose ``life`` here goes on until it is ``over``."""
        with anyio.move_on_after(_ENDING / 2):
            await self._end(frame, over)
            await over.wait()
            return
        life.cancel()  # commands such as this may have taken all of the host's channels
        await over.wait()
        await self._end(frame)

    async def _through_sudo(self, frame: Frame, deadline: float) -> CommandResult:
        command = (*SUDO, self._login, "--", *frame.command)
        return await self._host.run(command, stdin=frame.stdin, deadline=deadline)

    async def _end(self, frame: Frame, over: anyio.Event | None = None) -> None:
        """End a command, unless it is over. It may not have begun yet, so it is looked for until it is found."""
        while not (over and over.is_set()) and not await self._found(frame):  # noqa: ASYNC110 - no event tells of it
            await anyio.sleep(_PAUSE)

    async def _found(self, frame: Frame) -> bool:
        """End a command; False if none was found."""
        search = Frame(frame.search, deadline=_ENDING, label=self.label)
        try:
            result = await self._through_sudo(search, _ENDING)
            reply = search.reply(result.stdout, result.stderr)
        except FxschedError:
            return False
        return reply is not None and reply.exit_code == 0


def _heard(frame: Frame, stdout: bytes, stderr: bytes) -> tuple[bytes, bytes]:
    """Return what a command printed out of what came through sudo; until it begins, sudo itself is who speaks."""
    if frame.begun(stdout) is None:
        return stdout, stderr
    return frame.said(stdout), frame.said(stderr)
