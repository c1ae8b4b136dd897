"""A host behind SSH, through the ``ssh`` binary: for sites whose access works no other way.

Everything of ssh_config(5) works, since ssh itself reads it. A master connection that the user has opened (with a code
from a telephone, perhaps) is used; where there is none, we open our own, and close it at the end. Every command is one
session of that connection. Nobody is asked anything, and the host's key is always checked; that of a jump host, to
which ssh connects by an ssh of its own, as the user's configuration says.
"""

from __future__ import annotations

import math
import os
import re
import shlex
import shutil
import tempfile
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import TYPE_CHECKING, Final

import anyio

from fxsched.errors import (
    AuthenticationFailed,
    CommandNotFound,
    ConfigurationError,
    FxschedError,
    HostError,
    HostKeyRejected,
    HostUnreachable,
    OutcomeUnknown,
)
from fxsched.hosts.base import quoted
from fxsched.hosts.exchange import KEEPALIVE, Channel, ChannelRefused, ConnectionGone, Sender, SshTransport
from fxsched.hosts.framing import COMMAND_LINE
from fxsched.hosts.local import IDENTITY, LocalHost, end_process, no_start, start_process

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from typing import Any, Self

_PERSIST: Final = 60
"""Seconds after which our master connection ends by itself if we were killed and could not close it."""
_LOCALHOST_TOO: Final = "NoHostAuthenticationForLocalhost=no"
_OPTIONS: Final = (
    *("StrictHostKeyChecking=yes", _LOCALHOST_TOO, "UpdateHostKeys=no"),
    *("BatchMode=yes", "NumberOfPasswordPrompts=0"),
    *("RequestTTY=no", "RemoteCommand=none", "PermitLocalCommand=no", "ClearAllForwardings=yes", "ForwardAgent=no"),
    *("ForwardX11=no", "LogLevel=ERROR"),
    *(f"ServerAliveInterval={KEEPALIVE[0]}", f"ServerAliveCountMax={KEEPALIVE[1]}"),
)
_HUMAN: Final = {"password": "a password", "keyboard-interactive": "answers at the keyboard (a password or a code)"}
_CHUNK: Final = 1 << 16
_PLACE: Final = "/tmp"  # noqa: S108 - a directory of our own is made in it
_MOMENT: Final = 0.2
"""Seconds before our own deadline at which ssh is given up, so that what it said is not lost."""
_AGENTS: Final = ("SSH_AUTH_SOCK", "XDG_RUNTIME_DIR")
# ssh that finds no master, or is refused a session by it, would connect anew: a login for each command, and a human for
# it perhaps. A proxy that fails keeps it from that.
_IN_SESSION: Final = ("-o", "ControlMaster=no", "-o", "ProxyCommand=false")


class OpenSshHost(SshTransport):
    """Runs commands on ``target`` through ``ssh``. An asynchronous context manager; it connects when it must."""

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self._here = LocalHost(_AGENTS)
        self._environment = {name: os.environ[name] for name in (*IDENTITY, *_AGENTS) if name in os.environ}
        self._environment["LC_ALL"] = "C"
        self._own: str | None = None
        """The directory of our own master's socket."""
        self._socket: str | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        with anyio.CancelScope(shield=True):
            await self._disconnect()

    def _connected(self) -> bool:
        return self._socket is not None and os.path.exists(self._socket)

    async def _disconnect(self) -> None:
        if self._own:
            if self._connected():
                with suppress(FxschedError):
                    await self._ssh("-O", "exit")
            shutil.rmtree(self._own, ignore_errors=True)
        self._own = self._socket = None

    async def _connect(self) -> None:
        await self._disconnect()
        self._socket = await self._users_socket()
        if self._socket:
            return
        # Not in TMPDIR, which may be a long path: a socket's has 107 characters at most, and ssh adds some.
        try:
            self._own = tempfile.mkdtemp(prefix="fxsched-ssh-", dir=_PLACE)
        except OSError as error:
            raise HostUnreachable(
                f"{self.label} cannot be reached: the socket of its connection cannot be made in {_PLACE} of this "
                f"machine: {error.strerror}"
            ) from error
        self._socket = os.path.join(self._own, "master")
        master = ("-M", "-N", "-f", "-o", f"ControlPersist={_PERSIST}")
        options = ("-o", f"ConnectTimeout={math.ceil(self.connect_timeout) + 1}")  # ours comes first
        connected = False
        try:
            code, words = await self._ssh(*master, *options)
            if code:
                raise self._trouble(words)
            connected = True
        finally:
            if not connected:
                shutil.rmtree(self._own, ignore_errors=True)
                self._own = self._socket = None

    async def _users_socket(self) -> str | None:
        """Return the socket of the user's own master connection, if there is one that lives."""
        code, words = await self._ssh("-G")
        if code:
            raise ConfigurationError(f"the SSH configuration for {self.label} cannot be used: {words}")
        found = re.search(r"^controlpath (.+)$", words, re.MULTILINE)
        if not found or found[1] == "none" or not os.path.exists(found[1]):
            return None
        self._socket = found[1]
        code, _ = await self._ssh("-O", "check")
        return None if code else found[1]

    def _command(self, *options: str) -> list[str]:
        target = self.target
        command = ["ssh", "-T"]
        if self.config_file:
            command += ["-F", self.config_file]
        for option in _OPTIONS:
            command += ["-o", option]
        if self._socket:
            command += ["-S", self._socket]
        if target.port:
            command += ["-p", str(target.port)]
        if target.user:
            command += ["-l", target.user]
        return [*command, *options, "--", target.host]

    async def _ssh(self, *options: str) -> tuple[int, str]:
        """Run ssh itself; its exit code, and what it said."""
        left = anyio.current_effective_deadline() - anyio.current_time() - _MOMENT
        deadline = max(_MOMENT, min(left, self.connect_timeout))
        try:
            result = await self._here.run(self._command(*options), deadline=deadline)
        except CommandNotFound as error:
            raise ConfigurationError(f'{self.label}: transport = "openssh" needs the program ssh: {error}') from None
        except OutcomeUnknown as error:
            said = quoted(*error.printed)
            raise HostUnreachable(
                f"{self.label} cannot be reached: no connection within {self.connect_timeout:g} s"
                f"{said and f'. ssh said: {said}'}"
            ) from None
        return result.exit_code, (result.text + result.stderr.decode("utf-8", "replace")).strip()

    def _trouble(self, words: str) -> HostError:
        """Return the error that ssh means."""
        by_hand = shlex.join(self._by_hand())
        if re.search("host key|HOST IDENTIFICATION|known by any other names", words, re.IGNORECASE):
            if "HAS CHANGED" in words:
                words = re.sub("(?m)^@.*\n", "", words)
                removals = re.findall(r"ssh-keygen -f .* -R .*", words)
                remove = f"{removals[0].strip()} && " if removals else ""
                return HostKeyRejected(
                    f"{self.label} has another key than the known one: it was installed anew, or somebody else answers "
                    f"for it. If its administrators confirm the fingerprint: {remove}{by_hand}. ssh said: {words}"
                )
            return HostKeyRejected(
                f"{self.label} is not a known host. If its administrators confirm the fingerprint that this shows: "
                f"{by_hand}. ssh said: {words}"
            )
        if denied := re.search(r"Permission denied \(([^)]*)\)|Too many authentication failures", words):
            ways = denied[1] or ""
            human = [_HUMAN[way] for way in ways.split(",") if way in _HUMAN]
            asks = f"; it would take {' or '.join(human)}, which needs a human" if human else ""
            return AuthenticationFailed(
                f"{self.label} lets us in with none of our keys, certificates and tickets{asks}. "
                "What works without a human: a key without passphrase or in an agent, a certificate, a Kerberos "
                f"ticket, or a master connection that somebody has opened. ssh said: {words}"
            )
        return HostUnreachable(f"{self.label} cannot be reached: {words or 'ssh said nothing'}")

    def _by_hand(self) -> list[str]:
        """Return what a human types to be asked about the host's key."""
        command = ["ssh", *(("-F", self.config_file) if self.config_file else ())]
        command += ["-o", "StrictHostKeyChecking=ask", "-o", _LOCALHOST_TOO]
        command += ["-p", str(self.target.port)] if self.target.port else []
        command += ["-l", self.target.user] if self.target.user else []
        return [*command, self.target.host, "true"]

    @asynccontextmanager
    async def _open(self, channel: Channel) -> AsyncIterator[Sender]:
        command = [*self._command(*_IN_SESSION), COMMAND_LINE]
        trouble: Exception | None = None
        with _pipe() as stdin, _pipe() as stdout, _pipe() as stderr:
            process = start_process(command, self._environment, stdin.reader, stdout.writer, stderr.writer)
            for pipe, ours in ((stdin, stdin.writer), (stdout, stdout.reader), (stderr, stderr.reader)):
                pipe.keep(ours)
            try:
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(_follow, stdout.reader, stderr.reader, channel)
                    try:
                        yield _Sender(stdin.writer)
                    except Exception as error:  # out of the task group as it is, and in no exception group
                        trouble = error
                    tasks.cancel_scope.cancel()
            finally:
                await end_process(process)
        if trouble:
            raise trouble

    def _not_ready(self, channel: Channel) -> Exception:
        words = channel.frame.noise(channel.output[1])
        if "refused by peer" in words:
            return ChannelRefused("session open refused")
        if "Control socket connect" in words and self._socket:  # a master that was killed leaves its socket behind
            with suppress(OSError):
                os.unlink(self._socket)
            return ConnectionGone("the master connection was lost")
        return super()._not_ready(channel)


class _Pipe:
    """A pipe of which we keep one end."""

    def __init__(self) -> None:
        try:
            self.reader, self.writer = os.pipe()
        except OSError as error:
            raise no_start(error) from error
        self._open = [self.reader, self.writer]

    def keep(self, end: int) -> None:
        """Close the other end; what we do with ours never blocks."""
        self._open = [end]
        os.close(self.reader if end == self.writer else self.writer)
        os.set_blocking(end, False)

    def close(self) -> None:
        for end in self._open:
            os.close(end)


@contextmanager
def _pipe() -> Iterator[_Pipe]:
    pipe = _Pipe()
    try:
        yield pipe
    finally:
        pipe.close()


class _Sender:
    def __init__(self, pipe: int) -> None:
        self._pipe = pipe

    async def send(self, data: bytes) -> None:
        rest = memoryview(data)
        with suppress(BrokenPipeError):  # it has ended meanwhile
            while rest:
                await anyio.wait_writable(self._pipe)
                rest = rest[os.write(self._pipe, rest) :]


async def _follow(stdout: int, stderr: int, channel: Channel) -> None:
    """Hand on what ssh prints, until its end."""

    async def read(pipe: int, stream: int) -> None:
        data = b"-"
        while data:
            await anyio.wait_readable(pipe)
            data = os.read(pipe, _CHUNK)
            channel.receive(data, stream)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(read, stdout, 0)
        tasks.start_soon(read, stderr, 1)
    channel.close()
