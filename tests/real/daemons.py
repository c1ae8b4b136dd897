"""The daemons of a scheduler in one directory, for tests: started, watched, and ended with all that they started."""

import os
import random
import signal
import socket
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Self

START_DEADLINE = 30.0


class DaemonsError(Exception):
    """The cluster did not do what it must; the text holds the ends of its logs."""


class Daemons(ABC):
    """`with` one of these, a cluster is there that takes jobs, and leaves no process behind.

    Args:
        directory: where all of its state is.
        env: what a client needs in its environment, and no more.
        mark: the variable in it by which this cluster's processes are known.
    """

    name: ClassVar[str]

    def __init__(self, directory: Path, env: Mapping[str, str], *, mark: str) -> None:
        self.directory = directory
        self.env = env
        self._mark = f"{mark}={env[mark]}".encode()
        self._daemons: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @abstractmethod
    def start(self) -> None:
        """Lay out the directory, start the daemons, and wait until jobs are taken."""

    def stop(self) -> None:
        """End all that is left, jobs too. A cluster that is down already is no error."""
        for daemon in self._daemons.values():
            daemon.send_signal(signal.SIGCONT)
        while processes := self.processes():
            for pid in processes:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.01)
        for daemon in self._daemons.values():
            daemon.wait()
        self._daemons.clear()

    def run(self, *argv: str, stdin: str = "", timeout: float = 30) -> subprocess.CompletedProcess[str]:
        """Run a client; its exit status is the caller's to judge."""
        return subprocess.run(
            argv,
            input=stdin,
            env=self.env,
            cwd=self.directory,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    def processes(self) -> frozenset[int]:
        """Every process of this cluster: daemons, job steps, jobs, and clients that run with its `env`; not our own."""
        found: set[int] = set()
        children: dict[int, list[int]] = {}
        for process in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):  # it ended meanwhile, or is somebody else's
                pid = int(process.name)
                state, parent = (process / "stat").read_text(errors="replace").rpartition(")")[2].split()[:2]
                if state in "ZX":
                    continue
                children.setdefault(int(parent), []).append(pid)
                if self._mark in (process / "environ").read_bytes().split(b"\0"):
                    found.add(pid)
        # A job may have cleared its environment; then it is known by its parents.
        new = found
        while new:
            new = {child for pid in new for child in children.get(pid, ())} - found
            found = found | new
        return frozenset(found - {os.getpid()})

    def _spawn(self, name: str, *argv: str, env: Mapping[str, str] | None = None) -> None:
        with open(self.directory / "log" / f"{name}.log", "ab") as output:
            self._daemons[name] = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=env or self.env,
                start_new_session=True,
            )

    def _until(self, what: str, condition: Callable[[], bool], timeout: float = START_DEADLINE) -> None:
        """No daemon tells when it is ready, so ask. Raises DaemonsError."""
        deadline = time.monotonic() + timeout
        while not condition():
            dead = [name for name, daemon in self._daemons.items() if daemon.poll() is not None]
            if dead or time.monotonic() > deadline:
                cause = f"{', '.join(dead)} ended" if dead else f"waited {timeout:g} s"
                raise DaemonsError(f"{self.name} in {self.directory}: no {what}: {cause}\n{self._tails()}")
            time.sleep(0.02)

    def _logs(self) -> Iterable[Path]:
        return sorted((self.directory / "log").iterdir())

    def _tails(self) -> str:
        files = [file for file in self._logs() if file.is_file() and file.stat().st_size]
        tails = {file: file.read_text(errors="replace").splitlines()[-10:] for file in files}
        return "\n".join("\n".join((f"--- {file.name}", *lines)) for file, lines in tails.items())


def free_ports(count: int) -> list[int]:
    """Random ports that nobody listens on, below those that the kernel gives to outgoing connections."""
    candidates = random.sample(range(20_000, 32_000), k=1000)
    free = (port for port in candidates if is_free(port))
    return [next(free) for _ in range(count)]


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
