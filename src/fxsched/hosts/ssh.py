"""A host behind SSH, over one connection of asyncssh that is made once and used for everything.

Reads ``~/.ssh/config`` and ``/etc/ssh/ssh_config`` (or one file in their place), the agent, keys, certificates, GSSAPI
where the package gssapi is installed, ``ProxyJump`` through any number of hops, and known hosts in all their forms.
Host keys are always checked, whatever those files say. Nobody is asked anything.
"""

from __future__ import annotations

import asyncio
import os
import shlex
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, Final, cast

import anyio
import asyncssh

from fxsched.errors import AuthenticationFailed, ConfigurationError, HostKeyRejected, HostUnreachable
from fxsched.hosts.exchange import KEEPALIVE, Channel, ChannelRefused, ConnectionGone, SshTransport
from fxsched.hosts.framing import COMMAND_LINE
from fxsched.hosts.target import SshTarget, parse_target
from fxsched.programs import open_regular

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Sequence
    from typing import Self

_MOST_HOPS: Final = 8
_OPENING: Final = 2.0
"""Seconds that a server has to answer about a channel that is not wanted any more."""
_CONFIGURATION: Final = ("~/.ssh/config", "/etc/ssh/ssh_config")
_KNOWN_HOSTS: Final = ("~/.ssh/known_hosts", "~/.ssh/known_hosts2")
_KNOWN_HOSTS_OF_ALL: Final = ("/etc/ssh/ssh_known_hosts", "/etc/ssh/ssh_known_hosts2")

# Nothing of a login but its connection: no variables, terminals, forwarding or commands of the user's configuration.
_PLAIN: Final[dict[str, Any]] = {
    "env": None,
    "send_env": None,
    "command": None,
    "request_pty": False,
    "agent_forwarding": False,
    "x11_forwarding": False,
    "encoding": None,
}


class SshHost(SshTransport):
    """Runs commands on ``target`` through asyncssh. An asynchronous context manager; it connects at the first command.

    It needs asyncio: asyncssh runs on nothing else.
    """

    _connection: asyncssh.SSHClientConnection | None = None

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self._hops: list[asyncssh.SSHClientConnection] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self._disconnect()

    def _connected(self) -> bool:
        return self._connection is not None and not self._connection.is_closed()

    def _disconnect(self) -> None:
        for connection in (self._connection, *reversed(self._hops)):
            if connection:
                connection.abort()
        self._connection, self._hops = None, []

    async def _connect(self) -> None:
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            raise ConfigurationError(
                f'{self.label}: transport = "asyncssh" needs asyncio, and this program runs on trio; '
                'write transport = "openssh"'
            ) from None
        self._disconnect()
        try:
            self._connection = await self._reach(self.target)
        finally:
            if not self._connection:
                self._disconnect()

    async def _reach(
        self, target: SshTarget, through: asyncssh.SSHClientConnection | None = None
    ) -> asyncssh.SSHClientConnection:
        """Connect to ``target``: by way of ``through``, or as its own configuration says."""
        options = self._options(target)
        if not through:
            for hop in _jumps(options.tunnel):
                if len(self._hops) == _MOST_HOPS:
                    raise ConfigurationError(
                        f"{self.label}: more than {_MOST_HOPS} hops; does a ProxyJump go in circles?"
                    )
                through = await self._reach(hop, through)
                self._hops.append(through)
        witness = _Witness()
        try:
            return await asyncssh.connect(
                target.host,
                target.port or (),
                options=options,
                config=None,
                tunnel=through,
                client_factory=lambda: witness,
                known_hosts=_known_hosts(_known_hosts_files(options)),
            )
        except asyncssh.HostKeyNotVerifiable as error:
            raise HostKeyRejected(_mending(target, options, witness.key, error.reason)) from None
        except asyncssh.PermissionDenied:
            raise AuthenticationFailed(_locked_out(target, options, witness)) from None
        except (OSError, ValueError, asyncssh.Error) as error:  # ValueError: no name that a resolver takes
            raise HostUnreachable(f"{target} cannot be reached: {_words(error)}") from None

    def _options(self, target: SshTarget) -> asyncssh.SSHClientConnectionOptions:
        usual = [os.path.expanduser(name) for name in _CONFIGURATION]
        if self.config_file and os.path.exists(self.config_file) and not _is_file(self.config_file):
            raise ConfigurationError(f"the SSH configuration for {target}, {self.config_file}, is no regular file")
        files = [self.config_file] if self.config_file else _readable(usual)
        given: dict[str, Any] = {
            "host": target.host,
            "port": target.port or (),
            "username": target.user or (),
            "config": files,
            "keepalive_interval": KEEPALIVE[0],
            "keepalive_count_max": KEEPALIVE[1],
            **_PLAIN,
        }
        try:
            config = asyncssh.SSHClientConnectionOptions(**given, client_keys=None).config
            # As for ssh, a key that is not there, or is encrypted, is one key less.
            return asyncssh.SSHClientConnectionOptions(
                **given,
                client_keys=_readable(config.get("IdentityFile")),
                client_certs=_readable(config.get("CertificateFile")),
                ignore_encrypted=True,
            )
        except (OSError, ValueError, asyncssh.Error) as error:
            raise ConfigurationError(
                f"the SSH configuration for {target} cannot be used: {error}. "
                'Mend it, or write transport = "openssh" if ssh itself can use it'
            ) from None

    @asynccontextmanager
    async def _open(self, channel: Channel) -> AsyncIterator[_Sender]:
        connection = self._connection
        if not connection:
            raise ConnectionGone("it was closed")
        opened: asyncssh.SSHClientChannel[bytes] | None = None
        trouble: Exception = ConnectionGone("it opens no channel")
        done = anyio.Event()
        to_its_end = anyio.CancelScope(shield=True)

        async def create() -> None:
            nonlocal opened, trouble
            with to_its_end:
                try:
                    opened, _ = await connection.create_session(lambda: _Session(channel), COMMAND_LINE)
                except Exception as error:  # kept out of the task group, which would wrap it
                    trouble = error
            done.set()

        try:
            # A caller who is cancelled waits a while for the server's answer: what it opened unheard would stay open.
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(create)
                try:
                    await done.wait()
                finally:
                    to_its_end.deadline = anyio.current_time() + _OPENING
            if not opened:
                raise _refusal(trouble, connection)
            yield _Sender(opened)
        finally:
            if opened:
                opened.abort()


def _refusal(trouble: Exception, connection: asyncssh.SSHClientConnection) -> Exception:
    """Return what a failure to open a channel means."""
    if isinstance(trouble, asyncssh.ChannelOpenError) and not connection.is_closed():
        return ChannelRefused(trouble.reason)
    if isinstance(trouble, OSError | asyncssh.Error):
        return ConnectionGone(_words(trouble))
    return trouble


class _Session(asyncssh.SSHClientSession[bytes]):
    """Hands on what comes on a channel."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    def data_received(self, data: bytes, datatype: int | None) -> None:
        self._channel.receive(data, 1 if datatype == asyncssh.EXTENDED_DATA_STDERR else 0)

    def connection_lost(self, exc: Exception | None) -> None:
        self._channel.close(_words(exc) if exc else "")


class _Sender:
    def __init__(self, channel: asyncssh.SSHClientChannel[bytes]) -> None:
        self._channel = channel

    async def send(self, data: bytes) -> None:
        with suppress(OSError, asyncssh.Error):  # it was closed meanwhile, and connection_lost says so
            self._channel.write(data)


class _Witness(asyncssh.SSHClient):
    """Sees what a server asks for and shows while we log in. It accepts nothing and answers nothing."""

    def __init__(self) -> None:
        self.key: asyncssh.SSHKey | None = None
        self.asks: list[str] = []

    def validate_host_public_key(self, host: str, addr: str, port: int, key: asyncssh.SSHKey) -> bool:  # noqa: ARG002
        self.key = key
        return False

    def password_auth_requested(self) -> str | None:
        self.asks.append("a password")
        return None

    def kbdint_auth_requested(self) -> str | None:
        self.asks.append("answers at the keyboard (a password or a code)")
        return None


def _jumps(tunnel: object) -> list[SshTarget]:
    """Read ``ProxyJump``: ``[user@]host[:port],…``; the first hop is the nearest to us."""
    hops = tunnel.split(",") if isinstance(tunnel, str) else []
    return [parse_target(hop if hop.startswith("ssh://") else f"ssh://{hop}") for hop in map(str.strip, hops) if hop]


def _known_hosts_files(options: asyncssh.SSHClientConnectionOptions) -> list[str]:
    """Return the files of known hosts. ``UserKnownHostsFile none`` means no file, never that all hosts are known."""
    config = options.config
    files = [
        *_readable(config.get("UserKnownHostsFile", _KNOWN_HOSTS)),
        *_readable(config.get("GlobalKnownHostsFile", _KNOWN_HOSTS_OF_ALL)),
    ]
    return files or [os.devnull]


def _known_hosts(files: Iterable[str]) -> asyncssh.SSHKnownHosts:
    """Read files of known hosts. As for ssh, a line that cannot be read makes no host known, and hinders no other.

    Raises:
        ConfigurationError: that line has a marker. It may revoke a key, which must not be let in by a slip of the pen.
    """
    known = asyncssh.import_known_hosts("")
    for file in files:
        with suppress(OSError):
            with open_regular(file) as opened:
                lines = opened.read().split(b"\n")
            for number, line in enumerate(lines, 1):
                # By words: asyncssh takes more characters for the end of a line than ssh does.
                words = line.decode("ascii", "backslashreplace").split()
                try:
                    known.load(_entry(words))
                except ValueError as error:
                    if words[0].startswith("@"):
                        raise ConfigurationError(
                            f"line {number} of {file} cannot be read, and may revoke a host's key: {error}. Mend it"
                        ) from None
    return known


def _entry(words: list[str]) -> str:
    """Return a line of known hosts as asyncssh reads it. Raises ValueError for what it would trip over or pass over."""
    if not words or words[0].startswith("#"):
        return ""
    names = 1 if words[0].startswith("@") else 0
    of_any_host = " ".join([*words[:names], "*", *words[names + 1 :]])
    if not any(asyncssh.match_known_hosts(asyncssh.import_known_hosts(of_any_host), "host", "", None)):
        raise ValueError("its key is none")
    return " ".join(words)


def _readable(files: object) -> list[str]:
    """Return those of some files in the configuration that can be read."""
    return [file for file in _expanded(files) if os.access(file, os.R_OK) and _is_file(file)]


def _is_file(path: str) -> bool:
    """Whether it can be read to its end: a pipe may have none, and everybody here would wait for it."""
    return os.path.isfile(path) or path == os.devnull


def _expanded(files: object) -> list[str]:
    return [os.path.expanduser(name) for name in cast("Sequence[str] | None", files) or ()]


def _mending(
    target: SshTarget, options: asyncssh.SSHClientConnectionOptions, key: asyncssh.SSHKey | None, words: str
) -> str:
    """Return what is wrong with a host's key, and the command that mends it."""
    name, port = options.host_key_alias or options.host, options.port
    odd_port = port if port != asyncssh.DEFAULT_PORT else None
    entry = f"[{name}]:{port}" if odd_port else name
    files = _known_hosts_files(options)
    if not key or "revoked" in words:
        return f"{target} does not prove to be itself: {words}. Known hosts are in {', '.join(files)}"
    public = b" ".join(key.export_public_key().split()[:2]).decode()
    file = (_expanded(options.config.get("UserKnownHostsFile", _KNOWN_HOSTS)) or files)[0]
    commands = [f"echo {shlex.quote(f'{entry} {public}')} >>{shlex.quote(file)}"]
    shown = f"It shows a key with the fingerprint {key.get_fingerprint()}"
    for known in files:
        if asyncssh.match_known_hosts(_known_hosts([known]), name, "", odd_port)[0]:
            commands.insert(0, f"ssh-keygen -R {shlex.quote(entry)} -f {shlex.quote(known)}")
    trouble = (
        f"{target} is not a known host"
        if len(commands) == 1
        else f"{target} has another key than the known one: it was installed anew, or somebody else answers for it"
    )
    return f"{trouble}. {shown}. If its administrators confirm this fingerprint: {' && '.join(commands)}"


def _locked_out(target: SshTarget, options: asyncssh.SSHClientConnectionOptions, witness: _Witness) -> str:
    asks = f"; it would take {' or '.join(dict.fromkeys(witness.asks))}, which needs a human" if witness.asks else ""
    return (
        f"{target} lets {options.username} in with none of our keys, certificates and tickets{asks}. "
        "What works without a human: a key without passphrase or in an agent, a certificate, or a Kerberos ticket"
    )


def _words(error: Exception) -> str:
    if isinstance(error, asyncssh.Error):
        return error.reason
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
