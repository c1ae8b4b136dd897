"""What a command costs on a host behind SSH: over one connection of asyncssh, and by the ssh binary through a master.

Both sides log in as the same user of a real sshd on the loopback interface, over connections that are open already.
Ours does more for each command: a clean environment, a deadline on the far side too, a reply that no rc file can spoil.
"""

from __future__ import annotations

import subprocess
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from secrets import token_hex
from typing import TYPE_CHECKING

import anyio
from tests.real.ssh_server import ME, Login, SshServer, missing_programs

from bench.table import Row, milliseconds, ratio
from fxsched.hosts.openssh import OpenSshHost
from fxsched.hosts.ssh import SshHost
from fxsched.hosts.target import SshTarget

if TYPE_CHECKING:
    from collections.abc import Sequence

RUNS = 61
WARM_UP = 5
AT_ONCE = 8
BURST = 80
AIM = 1.0
COMMAND = ("/bin/true",)


def missing() -> tuple[str, ...]:
    """What there is not, of OpenSSH and of shells."""
    return tuple(missing_programs())


def rows() -> list[Row]:
    """One command after another, and many, a few at once."""
    with tempfile.TemporaryDirectory(prefix="fxsched-bench-") as directory, ExitStack() as stack:
        place = Path(directory)
        place.chmod(0o755)
        server = stack.enter_context(SshServer(place / "server"))
        login = _login(place, stack)
        ssh = ["ssh", "-F", str(server.config), "-S", str(place / "master"), "-p", str(server.port), "-l", login]
        subprocess.run([*ssh, "-M", "-N", "-f", "127.0.0.1"], check=True, stderr=subprocess.DEVNULL)
        try:
            return anyio.run(_measure, SshTarget(login, "127.0.0.1", server.port), server, [*ssh, "-T", "127.0.0.1"])
        finally:
            subprocess.run([*ssh, "-O", "exit", "127.0.0.1"], check=False, stderr=subprocess.DEVNULL)


def _login(place: Path, stack: ExitStack) -> str:
    """Return whom to log in as: not root with its rc files, if we can make somebody without."""
    if ME != "root":
        return ME
    user = Login(f"fx{token_hex(4)}", "dash", place / "home", {})
    stack.callback(user.remove)
    return user.name


async def _measure(target: SshTarget, server: SshServer, ssh: Sequence[str]) -> list[Row]:
    config = str(server.config)
    async with SshHost(target, config_file=config) as ours, OpenSshHost(target, config_file=config) as binary:
        times: dict[str, list[float]] = {"asyncssh": [], "openssh": [], "peer": []}
        for number in range(WARM_UP + RUNS):
            taken = {"asyncssh": await _run(ours), "openssh": await _run(binary), "peer": _peer(ssh)}
            if number >= WARM_UP:
                for name, seconds in taken.items():
                    times[name].append(seconds)
        burst = await _burst(ours)
        peer = _peers(ssh)
    shown = milliseconds(times["peer"])
    return [
        Row(
            "a command over one asyncssh connection : ssh through a ControlMaster",
            milliseconds(times["asyncssh"]),
            shown,
            ratio(times["asyncssh"], times["peer"]),
            AIM,
        ),
        Row(
            '  of these with transport = "openssh"',
            milliseconds(times["openssh"]),
            shown,
            ratio(times["openssh"], times["peer"]),
        ),
        Row(
            f"  {BURST} commands, {AT_ONCE} at once : xargs -P {AT_ONCE} ssh",
            f"{BURST / burst:.0f}/s",
            f"{BURST / peer:.0f}/s",
            peer / burst,
            more_is_better=True,
        ),
    ]


async def _run(host: SshHost | OpenSshHost) -> float:
    begin = time.perf_counter()
    await host.run(COMMAND, deadline=60)
    return time.perf_counter() - begin


async def _burst(host: SshHost) -> float:
    begin = time.perf_counter()
    async with anyio.create_task_group() as tasks:
        for _ in range(BURST):
            tasks.start_soon(_run, host)
    return time.perf_counter() - begin


def _peer(ssh: Sequence[str]) -> float:
    begin = time.perf_counter()
    subprocess.run([*ssh, *COMMAND], check=True)
    return time.perf_counter() - begin


def _peers(ssh: Sequence[str]) -> float:
    begin = time.perf_counter()
    numbers = "\n".join(map(str, range(BURST))).encode()
    subprocess.run(["xargs", "-P", str(AT_ONCE), "-I{}", *ssh, *COMMAND], input=numbers, check=True)
    return time.perf_counter() - begin
