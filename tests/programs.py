"""Our programs, started by the hundred: each is forked from a parent that has imported them, and otherwise a fresh one.

An interpreter's start and the imports cost five times what a short command does, and only the tests that start an
installed program are about them. A forked one gets the words, standard streams, environment, directory and umask of
whoever asks, and signals as any program finds them; it ends as its program ends. There is nothing else to inherit: its
parent never ran a program, an event loop or a thread, and has nothing open.

``run`` and ``Popen`` are those of ``subprocess``, for ``fxsched`` and ``fxsched-launch``.
"""

from __future__ import annotations

import atexit
import gc
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from functools import cache, partial
from importlib import import_module
from io import TextIOWrapper
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import NoReturn

LAUNCHER = Path(sys.executable).with_name("fxsched-launch")
FXSCHED = Path(sys.executable).with_name("fxsched")
"""The installed programs. ``subprocess`` starts them where a test is about an interpreter's start, its locale, streams
that are closed, or what /proc shows of a process."""

_MAINS = {LAUNCHER.name: "fxsched.fastx.launcher", FXSCHED.name: "fxsched.cli"}
_ALSO_IMPORTED = (
    *("anyio._backends._asyncio", "argparse", "importlib.metadata", "jinja2", "pwd", "tomllib"),
    *("fxsched.cluster.opening", "fxsched.fastx.dryrun", "fxsched.settings.template"),
    *("fxsched_process.adapter", "fxsched_slurm.adapter", "fxsched_lsf.adapter", "fxsched_pbs.pbs"),
    *("fxsched_sge.adapter", "fxsched_docker.adapter", "fxsched_command.adapter", "fxsched_moab.adapter"),
)
_NOTHING: Mapping[str, float] = MappingProxyType({})
_LARGEST = 1 << 17
"""Bytes of the largest order to the parent."""


def run(
    argv: Sequence[str | Path],
    *,
    input: Any = None,  # noqa: A002 - as subprocess has it
    timeout: float = 60,
    **settings: Any,
) -> subprocess.CompletedProcess[Any]:
    """Run a program to its end, and return its exit status and what it said."""
    if input is not None:
        settings["stdin"] = subprocess.PIPE
    with Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **settings) as process:
        try:
            stdout, stderr = process.communicate(input, timeout)
        except BaseException:
            process.kill()
            raise
    return subprocess.CompletedProcess(argv, process.returncode, stdout, stderr)


def end_all(home: Path) -> None:
    """Kill all that runs in this home directory, or in one beneath it, and all that is started meanwhile."""
    while left := [pid for pid in map(int, filter(str.isdigit, os.listdir("/proc"))) if _runs_below(pid, home)]:
        for pid in left:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def _runs_below(pid: int, home: Path) -> bool:
    try:
        environment = Path(f"/proc/{pid}/environ").read_bytes()  # of a zombie it is empty
    except OSError:  # it has just ended, or is somebody else's
        return False
    return b"\0HOME=" + bytes(home) + b"/" in b"\0" + environment.replace(b"\0", b"/\0")


class Popen(subprocess.Popen[Any]):
    """A program that runs. Pipes and all else are the base class's; only its start and the news of its end are not.

    ``timing`` has other values for what a ``Timing`` has by default, where no setting says how patient a cluster is.
    """

    def __init__(self, argv: Sequence[str | Path], *, timing: Mapping[str, float] = _NOTHING, **settings: Any) -> None:
        self._timing = timing
        super().__init__(argv, **settings)

    # fmt: off
    def _execute_child(  # type: ignore[no-untyped-def] # as the base class calls it
        self, args, _executable, _preexec, _close, _pass, cwd, env, _startupinfo, _flags, _shell, p2cread, p2cwrite,
        c2pread, c2pwrite, errread, errwrite, _restore, _gid, _gids, _uid, _umask, new_session, _group,
    ):
        # fmt: on
        os.umask(umask := os.umask(0))
        order = {
            "argv": [os.fsdecode(word) for word in args],
            "directory": os.path.abspath(cwd or "."),
            "environment": _environment(os.environ if env is None else env),
            "umask": umask,
            "timing": dict(self._timing),
            "new_session": bool(new_session),
        }
        streams = [given if given >= 0 else own for own, given in enumerate((p2cread, c2pwrite, errwrite))]
        reader, writer = os.pipe()
        self._news = os.fdopen(reader, "rb", buffering=0)
        try:
            socket.send_fds(_parent(os.getpid()), [json.dumps(order).encode()], [*streams, writer])
        finally:
            os.close(writer)
        for ours, its in ((p2cwrite, p2cread), (c2pread, c2pwrite), (errread, errwrite)):
            if ours >= 0:
                os.close(its)
        self._closed_child_pipe_fds = True
        self.pid = self._number()
        self._child_created = True

    def _wait(self, timeout: float | None) -> int:
        if self.returncode is None:
            with selectors.DefaultSelector() as selector:
                selector.register(self._news, selectors.EVENT_READ)
                if not selector.select(timeout):
                    raise subprocess.TimeoutExpired(self.args, timeout or 0)
            self.returncode = self._number()
            self._news.close()
        return self.returncode

    def _internal_poll(self, *_: Any, **__: Any) -> int | None:
        try:
            return self._wait(0)
        except subprocess.TimeoutExpired:
            return None

    def _number(self) -> int:
        number = self._news.read(4)
        assert len(number) == 4, f"{self.args!r} was not started, or its parent has ended"
        return int.from_bytes(number, signed=True)


def _environment(environment: Mapping[Any, Any]) -> dict[str, str]:
    variables = {os.fsdecode(name): os.fsdecode(value) for name, value in environment.items()}
    locale = next(filter(None, map(variables.get, ("LC_ALL", "LC_CTYPE", "LANG"))), "")
    early = [name for name in variables if name.startswith("PYTHON")]
    assert locale.endswith("UTF-8"), f"an interpreter would start otherwise with the locale {locale!r}"
    assert not early, f"only an interpreter that starts heeds {early}"
    return variables


@cache
def _parent(_: int) -> socket.socket:
    """Return how to reach the parent that this process has: one for each worker of pytest."""
    ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with its:
        process = subprocess.Popen(
            [sys.executable, "-P", __file__, str(its.fileno())],
            env={"PATH": os.environ["PATH"], "LANG": "C.UTF-8"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            pass_fds=[its.fileno()],
        )

    def end() -> None:
        ours.close()
        process.wait()

    atexit.register(end)
    return ours


# ── in the parent ─────────────────────────────────────────────────────────────────────────────────────────────────


def main(control: socket.socket) -> None:
    """Fork a program for each order, and tell whoever ordered it of its end, until nobody is left to order any."""
    for name in (*_MAINS.values(), *_ALSO_IMPORTED):
        import_module(name)
    gc.freeze()  # or the collector would write to, and so copy, all that the children share with their parent
    order = _next_program(control)
    if order:
        _be_program(**order)


def _next_program(control: socket.socket) -> dict[str, Any] | None:
    """Serve; return a program's order in the process that is to be it, None in the parent when all is done."""
    with control, selectors.DefaultSelector() as selector:
        selector.register(control, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.fileobj is not control:
                    selector.unregister(key.fileobj)
                    _tell_of_end(key.fd, *key.data)
                    continue
                data, descriptors, _, _ = socket.recv_fds(control, _LARGEST, 4)
                if not data:
                    return None
                pid = os.fork()
                if pid == 0:
                    return {**json.loads(data), "descriptors": descriptors}
                *streams, news = descriptors
                for descriptor in streams:
                    os.close(descriptor)
                selector.register(os.pidfd_open(pid), selectors.EVENT_READ, (pid, news))


def _tell_of_end(descriptor: int, pid: int, news: int) -> None:
    end = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    assert end is not None
    code = end.si_status if end.si_code == os.CLD_EXITED else -end.si_status
    with suppress(BrokenPipeError):  # nobody waits for it
        os.write(news, code.to_bytes(4, signed=True))
    os.waitpid(pid, 0)  # not before: its number is its own while somebody may send it a signal
    os.close(news)
    os.close(descriptor)


def _be_program(
    argv: list[str],
    directory: str,
    environment: dict[str, str],
    umask: int,
    timing: dict[str, float],
    new_session: bool,
    descriptors: list[int],
) -> NoReturn:
    *streams, news = descriptors
    for own, given in enumerate(streams):
        os.dup2(given, own)
    if new_session:
        os.setsid()
    os.chdir(directory)
    os.umask(umask)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = argv
    sys.stdin = _stream(0, "r", "surrogateescape")
    sys.stdout = _stream(1, "w", "surrogateescape")
    sys.stderr = _stream(2, "w", "backslashreplace")
    sys.stderr.reconfigure(line_buffering=True)
    config = import_module("fxsched.settings.config")
    config.Timing = partial(config.Timing, **timing)  # type: ignore[attr-defined] # it imports the name
    os.write(news, os.getpid().to_bytes(4, signed=True))
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))
    sys.exit(import_module(_MAINS[os.path.basename(argv[0])]).main())


def _stream(descriptor: int, mode: str, errors: str) -> TextIOWrapper:
    """Open a standard stream as an interpreter does that starts with a UTF-8 locale."""
    return TextIOWrapper(open(descriptor, f"{mode}b", closefd=False), encoding="utf-8", errors=errors, newline="\n")


if __name__ == "__main__":
    main(socket.socket(fileno=int(sys.argv[1])))
