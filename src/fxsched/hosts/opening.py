"""A cluster's settings of its hosts → one open ``Host``, for the length of an ``async with`` block.

The only place that knows all kinds of hosts. What speaks SSH is imported when a host needs it, and not before.
"""

from __future__ import annotations

import math
import os
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any, Final, Literal

import anyio
from msgspec import Struct
from msgspec.structs import replace

from fxsched.errors import ConfigurationError
from fxsched.hosts.local import LocalHost

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Sequence

    from fxsched.hosts.base import Host
    from fxsched.hosts.target import SshTarget

LOCAL: Final = "local"

Transport = Literal["asyncssh", "openssh"]
Become = Literal["sudo"]


class HostSettings(Struct, frozen=True, kw_only=True):
    """Which hosts a cluster has, how they are reached, and as whom."""

    hosts: tuple[str, ...] = (LOCAL,)
    """``"local"``, this machine, or ``ssh://[user@]host[:port]``."""
    transport: Transport = "asyncssh"
    """What speaks SSH: the library, or the ``ssh`` program with all that its configuration may say."""
    channels: int = 8
    """Commands at the same time over one connection."""
    connect_timeout: float = 15.0
    """Seconds."""
    ssh_config: str | None = None
    """A file in place of ``~/.ssh/config``."""
    become: Become | None = None
    """How to become ``account`` on a host that is reached as somebody else."""
    account: str | None = None
    """As whom commands run; None: as whom the host is reached."""


@asynccontextmanager
async def open_host(settings: HostSettings, *, keep: Sequence[str] = (), pool: bool = False) -> AsyncIterator[Host]:
    """Open the host of a cluster. Nothing is connected yet: the first command does that, or ``connect``.

    Args:
        settings: which and how.
        keep: variables that survive the cleaning of a command's environment.
        pool: whether several hosts are a ``Pool``; otherwise the first that answers is used.

    Raises:
        ConfigurationError: an address is none, or the same twice.
    """
    check_hosts(settings, pool=pool)
    async with AsyncExitStack() as stack:
        opened = {}
        for address in settings.hosts:
            host = await _open(address, settings, keep, stack)
            opened[_name(address)] = host
        if pool:
            from fxsched.hosts.pool import Pool

            yield Pool(opened)
        elif len(opened) > 1:
            from fxsched.hosts.failover import FailoverHost

            failover = FailoverHost(list(opened.values()))
            yield failover
        else:
            [only] = opened.values()
            yield only


@asynccontextmanager
async def beside(work: Callable[[], Coroutine[Any, Any, None]]) -> AsyncIterator[None]:
    """Do ``work`` beside the block, and drop it with the block's end."""
    failure: BaseException | None = None
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(work)
        try:
            yield
        except anyio.get_cancelled_exc_class():
            raise
        except BaseException as error:  # kept out of the task group, which would wrap it
            failure = error
        tasks.cancel_scope.cancel()
    if failure is not None:
        raise failure


def check_hosts(settings: HostSettings, *, pool: bool = False) -> None:
    """Raise ``ConfigurationError`` unless these hosts can be opened."""
    if not settings.hosts:
        raise ConfigurationError("hosts is empty: name at least one")
    seen: set[str] = set()
    if not pool and len({_user(address) for address in settings.hosts}) > 1:
        raise ConfigurationError("hosts are login nodes of one cluster, and need one and the same user")
    for address in settings.hosts:
        name = _name(address)
        if name in seen:
            raise ConfigurationError(f"hosts names {name} twice")
        seen.add(name)
        if address == LOCAL and settings.account and not settings.become:
            raise ConfigurationError(f'as {settings.account} on this machine: that needs become = "sudo"')
    if settings.channels < 1:
        raise ConfigurationError(f"channels is {settings.channels}, but must be at least 1")
    if not 0 < settings.connect_timeout < math.inf:
        raise ConfigurationError(f"connect_timeout is {settings.connect_timeout:g}, but must be more than 0 and finite")


async def _open(address: str, settings: HostSettings, keep: Sequence[str], stack: AsyncExitStack) -> Host:
    account = settings.account
    host: Host
    if address == LOCAL:
        host = LocalHost(keep)
        surroundings = {name: os.environ[name] for name in keep if name in os.environ}
    else:
        target = _target(address)
        if account and not settings.become:
            target = replace(target, user=account)
        host = await _open_ssh(target, settings, keep, stack)
        surroundings = {}
    if account and settings.become:
        from fxsched.hosts.become import SudoHost

        host = SudoHost(host, account, keep=keep, surroundings=surroundings)
    return host


async def _open_ssh(target: SshTarget, settings: HostSettings, keep: Sequence[str], stack: AsyncExitStack) -> Host:
    # One import each, and only where it is used: asyncssh alone takes longer to import than a launch should last.
    kind: type[SshHost | OpenSshHost]
    if settings.transport == "openssh":
        from fxsched.hosts.openssh import OpenSshHost

        kind = OpenSshHost
    else:
        from fxsched.hosts.ssh import SshHost

        kind = SshHost
    return await stack.enter_async_context(
        kind(
            target,
            keep=keep,
            channels=settings.channels,
            connect_timeout=settings.connect_timeout,
            config_file=settings.ssh_config,
        )
    )


def _target(address: str) -> SshTarget:
    from fxsched.hosts.target import parse_target

    return parse_target(address)


def has_user(address: str) -> bool:
    """Whether an address names a user."""
    return _user(address) is not None


def _user(address: str) -> str | None:
    return None if address == LOCAL else _target(address).user


def _name(address: str) -> str:
    """Return what a pool's job ids call the host: its address without scheme and user."""
    return LOCAL if address == LOCAL else str(replace(_target(address), user=None))
