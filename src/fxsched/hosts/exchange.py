"""What every host behind SSH does with a framed command, whoever carries the bytes: asyncssh or the ssh binary.

    nothing sent            HostUnreachable: no connection, no channel, or no answer to the opening line
    sent, and no answer     the command is ended on the far side, or has reached its own end there; then OutcomeUnknown
    answered                the result

Commands run a few at a time. A server that goes on refusing one more channel (``MaxSessions``) halves that number, and
the command waits for its turn; after a while without a refusal it may grow again.
"""

from __future__ import annotations

import logging
import time
from abc import ABC, abstractmethod
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final, Protocol

import anyio

from fxsched.errors import FxschedError, HostUnreachable
from fxsched.hosts.base import LIMIT, NOTHING, CommandResult, check_deadline, unanswered
from fxsched.hosts.framing import Frame
from fxsched.hosts.local import LINGER

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
    from contextlib import AbstractAsyncContextManager

    from fxsched.errors import OutcomeUnknown
    from fxsched.hosts.target import SshTarget

_log = logging.getLogger("fxsched.hosts")

PAUSE: Final = 0.3
"""Seconds between two attempts."""
ATTEMPTS: Final = 3
"""How often a command is tried again for which a connection turned out to be dead."""
ENDING: Final = 5.0
"""Seconds to end a command whose caller was cancelled or has run out of time."""
RECOVERY: Final = 60.0
"""Seconds without a refused channel after which there may be twice as many."""
KEEPALIVE: Final = (5, 3)
"""Seconds between signs of life, and how many may stay away before a connection counts as lost."""


class ChannelRefused(Exception):
    """The server lets in no further channel; ``why`` in its own words."""


class ConnectionGone(Exception):
    """The connection turned out to be dead before anything was sent; there is a new one to be had, perhaps."""


class Channel:
    """One framed command on its way: what has come of its reply so far."""

    def __init__(self, frame: Frame) -> None:
        self.frame = frame
        self.output = bytearray(), bytearray()
        """Standard output and standard error."""
        self.sent = False
        """Whether any of the command may have arrived there."""
        self.closed = False
        self.reason = ""
        """Why it was closed, as the end of a sentence; empty if that is not known."""
        self._ended = [False, False]
        self._changed = anyio.Event()

    def receive(self, data: bytes, stream: int) -> None:
        """Take what came on standard output (0) or standard error (1)."""
        output = self.output[stream]
        if len(output) > LIMIT:
            return
        start = max(0, len(output) - 128)  # a mark may come in pieces
        output += data
        self._ended[stream] = self._ended[stream] or self.frame.ended(output, start)
        if len(output) > LIMIT:
            self.close(f"it printed more than {LIMIT} bytes")
        self._changed.set()

    def close(self, why: object = "") -> None:
        """Nothing more will come."""
        self.closed = True
        if why and not self.reason:
            self.reason = f" ({why})"
        self._changed.set()

    def ready(self) -> bool:
        """Whether the far side waits for the command."""
        return self.frame.begun(self.output[0]) is not None

    def ended(self) -> bool:
        """Whether the command has ended."""
        return all(self._ended)

    def unanswered(self, text: str) -> OutcomeUnknown:
        """Return the error for a command that did not answer, with what it had printed."""
        return unanswered(text, *map(self.frame.said, self.output))

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until the condition holds, or the channel is closed."""
        while not (condition() or self.closed):
            self._changed = anyio.Event()
            await self._changed.wait()


class Sender(Protocol):
    """The way to the far side of a channel."""

    async def send(self, data: bytes) -> None:
        """Hand over some bytes. A channel that is closed meanwhile swallows them."""


class Slots:
    """How many channels may be open at once: a limit that gives way to the server's."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._limiter = anyio.CapacityLimiter(most)
        self._changed_at = 0.0

    @property
    def limit(self) -> int:
        """How many there may be at the moment."""
        return int(self._limiter.total_tokens)

    @asynccontextmanager
    async def one(self) -> AsyncIterator[None]:
        """Have a slot for the block."""
        if self.limit < self._most and time.monotonic() - self._changed_at > RECOVERY:
            self._set(2 * self.limit)
        async with self._limiter:
            yield

    def refused(self, since: float) -> bool:
        """Halve the limit, unless that was done after the time ``since``, for another refusal of the same moment."""
        if self._changed_at > since:
            return False
        self._set(min(self.limit, int(self._limiter.borrowed_tokens)) // 2)
        return True

    def _set(self, limit: int) -> None:
        self._changed_at = time.monotonic()
        self._limiter.total_tokens = max(1, min(limit, self._most))


class SshTransport(ABC):
    """A host behind SSH. Subclasses connect and open channels; the rest is here.

    Args:
        target: who and where.
        keep: names of variables of the far login that commands get.
        channels: how many commands may run there at once.
        connect_timeout: seconds to connect and log in, through all hops.
        config_file: read instead of ``~/.ssh/config`` and ``/etc/ssh/ssh_config``, as with ``ssh -F``.
    """

    home = None

    def __init__(
        self,
        target: SshTarget,
        *,
        keep: Iterable[str] = (),
        channels: int = 8,
        connect_timeout: float = 15.0,
        config_file: str | None = None,
    ) -> None:
        self.target = target
        self.label = str(target)
        self.keep = tuple(keep)
        self.connect_timeout = connect_timeout
        self.config_file = config_file
        self.slots = Slots(channels)
        self._connecting = anyio.Lock()
        self._attempts = 0
        self._failure: FxschedError | None = None

    @abstractmethod
    def _connected(self) -> bool:
        """Whether there is a connection, as far as anybody knows."""

    @abstractmethod
    async def _connect(self) -> None:
        """Make the connection. Raises a HostError, or a ConfigurationError."""

    @abstractmethod
    def _open(self, channel: Channel) -> AbstractAsyncContextManager[Sender]:
        """Open a channel for the block. Raises ChannelRefused, ConnectionGone or a HostError."""

    async def connect(self) -> None:
        """Connect unless connected: early, so that a later command need not wait for it.

        Raises:
            HostUnreachable: no connection within ``connect_timeout``.
            HostKeyRejected: it may be another machine.
            AuthenticationFailed: it lets us in with nothing that needs no human.
            ConfigurationError: the SSH configuration, or this event loop, cannot be used.
        """
        attempt = self._attempts
        async with self._connecting:
            if self._connected():
                return
            if self._attempts != attempt and self._failure:
                raise type(self._failure)(str(self._failure))  # it was being tried while we waited
            self._failure = None
            try:
                with anyio.fail_after(self.connect_timeout):
                    await self._connect()
            except TimeoutError:
                self._failure = HostUnreachable(
                    f"{self.label} cannot be reached: no connection within {self.connect_timeout:g} s"
                )
            except FxschedError as error:
                self._failure = error
            finally:
                self._attempts += 1
            if self._failure:
                raise self._failure

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
        channel: Channel | None = None
        refusal = ""
        gone = 0
        try:
            with anyio.fail_after(deadline) as scope:
                while True:
                    async with self.slots.one():
                        begin = time.monotonic()
                        left = scope.deadline - anyio.current_time()
                        frame = Frame(argv, stdin, environment, self.keep, deadline=left, label=self.label)
                        channel = Channel(frame)
                        try:
                            await self._exchange(channel)
                            break
                        except ChannelRefused as error:
                            # sshd 9.2 counts a session that has just ended until it has read all that came with its
                            # end: a first refusal may be of that kind.
                            once, refusal = not refusal, f": it refuses a session ({error})"
                            if not once and self.slots.refused(begin):
                                _log.info("%s%s; at most %d at once now", self.label, refusal, self.slots.limit)
                        except ConnectionGone as error:
                            gone += 1
                            if gone > ATTEMPTS:
                                raise HostUnreachable(
                                    f"{self.label} closes every connection{channel.reason}: {error}"
                                ) from None
                    await anyio.sleep(PAUSE)
                if result := frame.reply(*channel.output):
                    return result
                # The far command may not know that nobody listens. Nothing is decided while it may still do its work.
                while not await self._ended(channel):  # noqa: ASYNC110 - no event tells of it
                    await anyio.sleep(PAUSE)
        except TimeoutError:
            if not channel or not channel.sent:
                said = _noise(channel) if channel else ""
                raise HostUnreachable(
                    f"{self.label} did not take {argv[0]} within {deadline:g} s{refusal}; nothing was sent"
                    f"{said and f'. Its login shell said: {said}'}"
                ) from None
            if not channel.closed:
                await self._end(channel)
                raise channel.unanswered(f"{argv[0]} did not answer within {deadline:g} s on {self.label}") from None
        except BaseException:
            if channel and channel.sent:
                await self._end(channel)
            raise
        raise channel.unanswered(f"the connection to {self.label} was lost before {argv[0]} answered{channel.reason}")

    async def _exchange(self, channel: Channel) -> None:
        """Send the command, and wait for its reply or for the end of the channel."""
        frame = channel.frame
        await self.connect()
        async with self._open(channel) as sender:
            await sender.send(frame.opening)
            await channel.until(channel.ready)
            if not channel.ready():
                if not self._connected():
                    raise ConnectionGone("it was lost before a command was sent")
                raise self._not_ready(channel)
            channel.sent = True
            await sender.send(frame.rest)
            await channel.until(channel.ended)
            with anyio.move_on_after(LINGER):  # what it left running may still print
                await channel.until(lambda: False)

    def _not_ready(self, channel: Channel) -> Exception:
        """Return what to raise when a channel was closed before the far side was ready."""
        words = _noise(channel) or "nothing"
        return HostUnreachable(f"{self.label} started no /bin/sh for us{channel.reason}; its login shell said: {words}")

    async def _end(self, channel: Channel) -> None:
        """End what may still run of a command whose caller does not wait for it any more."""
        if not channel.ended():
            with anyio.move_on_after(ENDING, shield=True):
                await self._ended(channel)

    async def _ended(self, channel: Channel) -> bool:
        """End what may still run of a command. True if nothing does."""
        begun = channel.frame.begun(channel.output[0])
        if not begun:
            return True
        frame = Frame(channel.frame.ending(*begun), deadline=ENDING, label=self.label)
        ending = Channel(frame)
        try:
            with anyio.move_on_after(ENDING):
                await self.connect()
                async with self._open(ending) as sender:
                    await sender.send(frame.stdin)
                    await ending.until(ending.ended)
            result = frame.reply(*ending.output)
        except (FxschedError, ChannelRefused, ConnectionGone) as error:
            _log.info("%s: a command may still be running there: %s", self.label, error)
            return False
        return result is not None and result.exit_code == 0


def _noise(channel: Channel) -> str:
    """Return what a login shell said before it was ready, for a message: a question, perhaps, that nobody answers."""
    return next(filter(None, map(channel.frame.noise, reversed(channel.output))), "")
