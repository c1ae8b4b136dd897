"""Where commands run: this machine, and the test double."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NoReturn

import anyio
import pytest

from fxsched.errors import CommandNotFound, FxschedError, HostUnreachable, OutcomeUnknown
from fxsched.hosts import CommandResult, LocalHost, local
from fxsched.hosts.local import DEFAULT_PATH, start_process
from fxsched.hosts.scripted import Command, ScriptedHost

pytestmark = pytest.mark.anyio


def sh(text: str, *arguments: str) -> list[str]:
    return ["/bin/sh", "-c", text, "sh", *arguments]


async def environment_on(host: LocalHost, **arguments: object) -> dict[str, str]:
    result = await host.run(["/usr/bin/env", "-0"], deadline=20, **arguments)  # type: ignore[arg-type]
    return dict(line.split("=", 1) for line in result.text.split("\0")[:-1])


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


async def until_dead(*pids: int) -> None:
    """Wait for the kernel to carry out a kill; a test that never sees it times out."""
    with anyio.fail_after(20):
        while any(map(alive, pids)):
            await anyio.sleep(0.01)


async def pids_in(path: Path, count: int) -> list[int]:
    """Wait until a command has written down that many of its processes."""
    with anyio.fail_after(20):
        while not path.exists() or len(path.read_text().split("\n")) <= count:
            await anyio.sleep(0.01)
    return [int(line) for line in path.read_text().split()]


# A command that writes down its own pid and that of a child, and stays.
FAMILY = 'sleep 300 & echo $! >>"$1"; echo $$ >>"$1"; wait'


# ── a command's surroundings ──────────────────────────────────────────────────────────────────────────────────────


async def test_a_command_gets_a_clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SQUEUE_FORMAT", "SLURM_TIME_FORMAT", "LANG", "LC_TIME", "DISPLAY", "PYTHONPATH"):
        monkeypatch.setenv(name, "x")
    monkeypatch.setenv("HOME", "/home/ada")
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")
    seen = await environment_on(LocalHost())
    assert (seen["HOME"], seen["LC_ALL"], seen["PATH"]) == ("/home/ada", "C", os.environ["PATH"])
    assert seen.keys() <= {*local.IDENTITY, "LC_ALL"}


async def test_what_the_scheduler_needs_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_CONF", "/etc/slurm.conf")
    seen = await environment_on(LocalHost(keep=("SLURM_CONF", "NOT_SET")))
    assert (seen["SLURM_CONF"], "NOT_SET" in seen) == ("/etc/slurm.conf", False)


async def test_without_a_path_there_is_a_usual_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PATH")
    assert (await environment_on(LocalHost()))["PATH"] == DEFAULT_PATH


async def test_the_variables_of_a_command_reach_it_and_no_other() -> None:
    host = LocalHost()
    seen = await environment_on(host, environment={"A": "a b\n", "KEY": "hunter2"})
    assert (seen["A"], seen["KEY"]) == ("a b\n", "hunter2")
    assert not {"A", "KEY"} & (await environment_on(host)).keys()


async def test_no_shell_reads_the_words() -> None:
    words = ["a b", "$HOME", "`id`", "'\"\n", "*", ""]
    result = await LocalHost().run(["/usr/bin/printf", "%s|", *words], deadline=20)
    assert result.stdout == "".join(f"{word}|" for word in words).encode()


async def test_a_python_built_for_old_systems_runs_commands_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "memfd_create")
    monkeypatch.delattr(os, "pidfd_open")
    data = os.urandom(3_000_000)
    result = await LocalHost().run(sh("cat; exit 3"), stdin=data, deadline=60)
    assert (result.stdout == data, result.exit_code) == (True, 3)
    with pytest.raises(OutcomeUnknown):
        await LocalHost().run(["/bin/sleep", "300"], deadline=0.1)


# ── what it leaves behind ─────────────────────────────────────────────────────────────────────────────────────────


async def test_output_and_exit_code_are_returned_apart() -> None:
    result = await LocalHost().run(sh("echo out; echo err >&2; exit 3"), deadline=20)
    assert result == CommandResult(3, b"out\n", b"err\n")


async def test_a_signal_counts_as_the_shell_counts_it() -> None:
    assert (await LocalHost().run(sh("kill -KILL $$"), deadline=20)).exit_code == 137


async def test_much_input_and_output_pass_through() -> None:
    data = os.urandom(1_000_000)
    result = await LocalHost().run(["/bin/cat"], stdin=data, deadline=60)
    assert result.stdout == data


async def test_both_outputs_may_be_larger_than_any_pipe() -> None:
    program = "head -c 5000000 /dev/zero; head -c 4000000 /dev/zero | tr '\\0' x >&2; echo end"
    result = await LocalHost().run(sh(program), deadline=60)
    assert (len(result.stdout), result.stdout[-4:]) == (5_000_004, b"end\n")
    assert result.stderr == b"x" * 4_000_000


async def test_an_output_that_is_opened_anew_loses_nothing() -> None:
    program = "echo job 12; echo note >/dev/stdout; echo late; echo error >&2; echo x >/dev/stderr; echo y >&2"
    result = await LocalHost().run(sh(program), deadline=20)
    assert result == CommandResult(0, b"job 12\nnote\nlate\n", b"error\nx\ny\n")


async def test_a_command_need_not_read_its_input() -> None:
    result = await LocalHost().run(["/bin/true"], stdin=b"x" * 1_000_000, deadline=20)
    assert result == CommandResult(0, b"", b"")


async def test_a_command_without_input_finds_its_end() -> None:
    assert (await LocalHost().run(["/bin/cat"], deadline=20)).exit_code == 0


def test_text_that_is_not_utf_8_spoils_only_itself() -> None:
    assert CommandResult(0, b"a\xffb\nc", b"").text == "a\ufffdb\nc"


def test_a_complaint_is_what_was_said_on_either_output() -> None:
    assert CommandResult(1, b"out", b" err\n").complaint == "err"
    assert CommandResult(1, b" out\n", b"\n").complaint == "out"


@pytest.mark.parametrize("word", ["no-such-program", "/nonexistent/program", "/etc/passwd", "/etc/passwd/x", "/"])
async def test_a_program_that_is_not_there_is_named(word: str) -> None:
    with pytest.raises(CommandNotFound, match=f"^{word} cannot be run on this machine: "):
        await LocalHost().run([word], deadline=20)


@pytest.mark.parametrize("argv", [["/bin/echo", "a\0b"], ["/bin/echo", "x" * 5_000_000]], ids=["NUL", "too long"])
async def test_a_command_that_cannot_be_started_was_certainly_not_run(argv: list[str]) -> None:
    with pytest.raises(HostUnreachable, match="/bin/echo could not be started on this machine"):
        await LocalHost().run(argv, deadline=20)


@pytest.mark.parametrize(
    ("argv", "secret"),
    [
        (["/nonexistent"], "hunter2"),
        (["/bin/true"], "hunter2\0"),
        (["/bin/true"], "hunter2" * 1_000_000),
        (["/bin/true"], "hunter2\ud800"),
        (["/bin/sleep", "300"], "hunter2"),
    ],
    ids=["not found", "NUL", "too long", "no text", "no answer"],
)
async def test_no_error_holds_a_secret(argv: list[str], secret: str) -> None:
    with pytest.raises(FxschedError) as caught:
        await LocalHost().run(argv, environment={"KEY": secret}, deadline=0.1)
    assert "hunter2" not in "".join(traceback.format_exception(caught.value))


# A program whose parent ignores SIGCHLD; sys.argv: the event loop, and whether it begins to do so itself later.
HEIR = "import os, signal, sys; signal.signal(signal.SIGCHLD, signal.SIG_IGN); os.execv(sys.executable, sys.argv[1:])"
PROGRAM = """
import signal, sys, anyio
from fxsched.errors import OutcomeUnknown
from fxsched.hosts import LocalHost

host = LocalHost()
if sys.argv[2] == "later":
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
try:
    print(anyio.run(lambda: host.run(["/bin/false"], deadline=20), backend=sys.argv[1]).exit_code)
except OutcomeUnknown as error:
    print(error)
"""


@pytest.mark.parametrize(
    ("since", "answer"), [("start", "1\n"), ("later", "/bin/false ended on this machine, and nobody knows how: ")]
)
def test_a_failure_is_no_success_where_sigchld_is_ignored(anyio_backend: str, since: str, answer: str) -> None:
    program = [sys.executable, "-c", PROGRAM, anyio_backend, since]
    done = subprocess.run([sys.executable, "-c", HEIR, *program], capture_output=True, text=True, check=True)
    assert done.stdout.startswith(answer)


# ── its end ───────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("first", ["", "trap '' TERM INT HUP; "], ids=["usual", "ignores TERM"])
async def test_the_deadline_ends_the_whole_process_group(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first: str
) -> None:
    path = tmp_path / "pids"
    scopes: dict[float, anyio.CancelScope] = {}
    fail_after = anyio.fail_after

    @contextmanager
    def known(seconds: float) -> Iterator[None]:
        with fail_after(seconds) as scope:
            scopes[seconds] = scope
            yield

    async def run() -> None:
        with pytest.raises(OutcomeUnknown, match=r"/bin/sh did not answer within 60 s on this machine"):
            await LocalHost().run(sh(first + FAMILY, str(path)), deadline=60)

    monkeypatch.setattr(anyio, "fail_after", known)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run)
        pids = await pids_in(path, 2)
        scopes[60].deadline = anyio.current_time()  # it has come
    await until_dead(*pids)


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[subprocess.Popen[bytes]]]:
    """The processes of commands; what still runs at the end of the test is ended."""
    processes: list[subprocess.Popen[bytes]] = []

    def start(*arguments: Any) -> subprocess.Popen[bytes]:
        processes.append(start_process(*arguments))
        return processes[-1]

    monkeypatch.setattr(local, "start_process", start)
    yield processes
    for process in processes:
        process.kill()
        process.wait()


async def test_a_command_that_no_signal_ends_does_not_keep_us(
    started: list[subprocess.Popen[bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "ENDING", 0.1)
    monkeypatch.setattr(os, "killpg", lambda *_: None)  # as with a file server that hangs
    with pytest.raises(OutcomeUnknown):
        await LocalHost().run(["/bin/sleep", "300"], deadline=0.1)
    assert started[0].poll() is None


async def test_a_command_that_we_may_not_end_gets_no_input_any_more(
    started: list[subprocess.Popen[bytes]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbid(*_: int) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "killpg", forbid)  # as behind sudo
    waits = 'until [ -e "$1/go" ]; do sleep 0.01; done; cat >"$1/read"'
    with pytest.raises(OutcomeUnknown):
        await LocalHost().run(sh(waits, str(tmp_path)), stdin=b"sbatch", deadline=0.1)
    (tmp_path / "go").touch()
    assert started[0].wait(timeout=20) == 0
    assert (tmp_path / "read").read_bytes() == b""


async def test_a_cancelled_caller_leaves_no_process(tmp_path: Path) -> None:
    path = tmp_path / "pids"
    pids: list[int] = []
    async with anyio.create_task_group() as tasks:

        async def run() -> None:
            await LocalHost().run(sh(FAMILY, str(path)), deadline=60)

        tasks.start_soon(run)
        pids += await pids_in(path, 2)
        assert all(map(alive, pids))
        tasks.cancel_scope.cancel()
    await until_dead(*pids)


async def test_a_caller_that_is_cancelled_already_starts_nothing_that_stays(tmp_path: Path) -> None:
    path = tmp_path / "pids"
    with anyio.CancelScope() as scope:
        scope.cancel()
        await LocalHost().run(sh(FAMILY, str(path)), deadline=60)
    if path.exists():
        await until_dead(*map(int, path.read_text().split()))


@pytest.mark.parametrize("program", ["exec sleep 300", "while sleep 0.001; do echo; done"], ids=["silent", "printing"])
async def test_a_process_that_holds_the_output_open_does_not_delay_the_answer(
    program: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "LINGER", 0.1)
    path = tmp_path / "pids"
    result = await LocalHost().run(sh(f'echo 4217; ( {program} ) & echo $! >"$1"', str(path)), deadline=60)
    holder = int(path.read_text())
    try:
        assert result.text.rstrip("\n") == "4217"
        assert program.startswith("while") or alive(holder)
    finally:
        with suppress(ProcessLookupError):
            os.kill(holder, 9)


async def test_a_process_that_has_no_descriptor_left_starts_no_command(monkeypatch: pytest.MonkeyPatch) -> None:
    def none_left() -> NoReturn:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(os, "pipe", none_left)
    with pytest.raises(HostUnreachable, match="no command can be started on this machine: Too many open files"):
        await LocalHost().run(["true"], deadline=20)


async def test_no_command_leaves_a_descriptor_open() -> None:
    host = LocalHost()
    await host.run(["/bin/true"], deadline=20)
    before = os.listdir("/proc/self/fd")

    await host.run(["/bin/cat"], stdin=b"x", deadline=20)
    with pytest.raises(OutcomeUnknown):
        await host.run(["/bin/sleep", "300"], stdin=b"x", deadline=0.1)
    with anyio.move_on_after(0.1):
        await host.run(["/bin/sleep", "300"], stdin=b"x", deadline=60)
    for argv in (["no-such-program"], ["/bin/echo", "a\0b"]):
        with pytest.raises(FxschedError):
            await host.run(argv, stdin=b"x", deadline=20)

    assert os.listdir("/proc/self/fd") == before


async def test_output_that_comes_just_after_the_end_still_counts() -> None:
    # The child speaks when its parent, whose pid is $$, has gone.
    late = "( while grep -qs 'State:.[RSD]' /proc/$$/status; do :; done; echo late ) & exit 0"
    assert await LocalHost().run(sh(late), deadline=60) == CommandResult(0, b"late\n", b"")


# ── the test double ───────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_scripted_host_answers_and_remembers() -> None:
    host = ScriptedHost(lambda command: CommandResult(0, command.argv[1].encode(), b""))
    result = await host.run(["echo", "hi"], stdin=b"in", environment={"A": "a"}, deadline=5)
    assert result.text == "hi"
    assert host.commands == [Command(("echo", "hi"), b"in", {"A": "a"}, 5)]


async def test_a_scripted_host_fails_as_it_is_told() -> None:
    def fail(command: Command) -> CommandResult:
        raise HostUnreachable(f"no way to run {command.argv[0]}")

    host = ScriptedHost(fail)
    with pytest.raises(HostUnreachable, match="no way to run squeue"):
        await host.run(["squeue"], deadline=5)
    assert len(host.commands) == 1
