"""This machine. Commands are argument vectors in their own process group; no shell reads them."""

from __future__ import annotations

import os
import signal
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

import anyio

from fxsched.errors import CommandNotFound, HostUnreachable, OutcomeUnknown
from fxsched.hosts.base import NO_SECRETS, NOTHING, CommandResult

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from anyio.abc import ByteReceiveStream, ByteSendStream, Process

    from fxsched.jobs import Secret

# Who and where the user is. Everything else could change what a command prints, or what it does.
IDENTITY: Final = ("HOME", "USER", "LOGNAME", "SHELL", "PATH", "TZ", "TMPDIR", "LD_LIBRARY_PATH", "KRB5CCNAME")
DEFAULT_PATH: Final = "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin"
LINGER: Final = 1.0
"""Seconds that output may still come after a command's end. OpenPBS 23.06: qsub leaves a process behind that holds
its output open for about a minute."""


class LocalHost:
    """Runs commands here. ``keep`` names the variables that survive the cleaning of the environment."""

    label = "this machine"

    def __init__(self, keep: Iterable[str] = ()) -> None:
        self._base = {"PATH": DEFAULT_PATH}
        self._base.update({name: os.environ[name] for name in (*IDENTITY, *keep) if name in os.environ})
        self._base["LC_ALL"] = "C"
        self.home: Path | None = Path(self._base.get("HOME") or os.path.expanduser("~"))
        self._base["HOME"] = str(self.home)

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
        revealed = {name: secret.reveal() for name, secret in secrets.items()}
        process = await _start(argv, self._base | dict(environment) | revealed)
        try:
            with anyio.fail_after(deadline):
                result = await _communicate(process, stdin)
        except TimeoutError:
            raise OutcomeUnknown(f"{argv[0]} did not answer within {deadline:g} s on {self.label}") from None
        finally:
            await _end(process)
        return result


async def _start(argv: Sequence[str], environment: Mapping[str, str]) -> Process:
    """Start ``argv`` as the leader of its own session, so that all of it can be ended together."""
    try:
        with anyio.CancelScope(shield=True):
            process = await anyio.open_process(
                list(argv), stdin=subprocess.PIPE, env=environment, start_new_session=True
            )
    except (FileNotFoundError, PermissionError, NotADirectoryError) as error:
        raise CommandNotFound(f"{argv[0]} cannot be run on this machine: {error.strerror}") from None
    except (OSError, ValueError) as error:
        raise HostUnreachable(f"{argv[0]} could not be started on this machine: {error}") from None
    return process


async def _communicate(process: Process, stdin: bytes) -> CommandResult:
    """Feed the process and collect what it prints, until it has ended."""
    stdout, stderr = bytearray(), bytearray()
    async with anyio.create_task_group() as feeding:
        feeding.start_soon(_feed, process.stdin, stdin)
        async with anyio.create_task_group() as draining:
            draining.start_soon(_drain, process.stdout, stdout)
            draining.start_soon(_drain, process.stderr, stderr)
            code = await process.wait()
            draining.cancel_scope.deadline = anyio.current_time() + LINGER
        feeding.cancel_scope.cancel()
    return CommandResult(code if code >= 0 else 128 - code, bytes(stdout), bytes(stderr))


async def _feed(stream: ByteSendStream | None, data: bytes) -> None:
    """Write standard input. A command that ends without reading it all has its reasons."""
    if stream is None:
        return
    try:
        async with stream:
            if data:
                await stream.send(data)
    except (anyio.BrokenResourceError, anyio.ClosedResourceError):
        pass


async def _drain(stream: ByteReceiveStream | None, into: bytearray) -> None:
    if stream is not None:
        async for chunk in stream:
            into += chunk


async def _end(process: Process) -> None:
    """Leave nothing of the command behind if it was interrupted; close its pipes in any case."""
    with anyio.CancelScope(shield=True):
        if process.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
        await process.aclose()
