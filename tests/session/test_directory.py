"""A session's own directory, on a real host."""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import anyio
import anyio.from_thread
import anyio.lowlevel
import anyio.to_thread
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fxsched.errors import HostUnreachable, LedgerError, OutcomeUnknown
from fxsched.hosts import CommandResult, LocalHost
from fxsched.hosts.scripted import Command, ScriptedHost
from fxsched.jobs import JobId, JobSpec, Secret, Token
from fxsched.records.files import write_new
from fxsched.session import directory, here
from fxsched.session.directory import Report, parse_report
from fxsched.session.scripts import render_command

TOKEN = Token("abcdefghij2345672345")


def a_spec(stdin: bytes = b'{"a": 1}\n') -> JobSpec:
    return JobSpec(token=TOKEN, command=("true",), stdin=stdin, secrets={"KEY": Secret("hunter2")})


def place(home: Path) -> Path:
    return home / ".local/state/fxsched/sessions" / TOKEN


@pytest.fixture(params=["files", "commands"])
def host(request: pytest.FixtureRequest, home: Path) -> LocalHost:
    """This machine: its home directory at hand as files, or reached by commands only, as on a login node."""
    host = LocalHost()
    if request.param == "commands":
        host.home = None
    return host


# ── its life ──────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.anyio
@pytest.mark.parametrize("stdin", [b"", b"{}", b"\0\xff\n" * 50_000], ids=["nothing", "little", "much"])
async def test_a_staged_session_holds_the_command_and_its_input(host: LocalHost, home: Path, stdin: bytes) -> None:
    spec = a_spec(stdin)
    assert await directory.stage(host, spec) == str(place(home))
    assert {path.name: path.read_bytes() for path in place(home).iterdir()} == {
        "command": render_command(spec),
        "stdin": stdin,
    }


@pytest.mark.anyio
async def test_only_its_owner_can_read_it(host: LocalHost, home: Path) -> None:
    old = os.umask(0)
    try:
        await directory.stage(host, a_spec())
    finally:
        os.umask(old)
    paths = [place(home), *place(home).iterdir()]
    assert [path for path in paths if stat.S_IMODE(path.stat().st_mode) & 0o077] == []


@pytest.mark.anyio
async def test_secrets_travel_on_no_command_line(home: Path) -> None:
    host = ScriptedHost(lambda command: CommandResult(0, b"/d", b""))
    await directory.stage(host, a_spec())
    assert "hunter2" not in repr(host.commands[0].argv)
    assert b"hunter2" in host.commands[0].stdin


@pytest.mark.anyio
async def test_any_home_will_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "it's $(a)\n`b` \udcff"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    assert await directory.stage(LocalHost(), a_spec()) == str(place(home))
    assert place(home).is_dir()


@pytest.mark.anyio
async def test_a_session_is_staged_once(host: LocalHost, home: Path) -> None:
    await directory.stage(host, a_spec(b"first"))
    with pytest.raises(HostUnreachable, match="File exists"):
        await directory.stage(host, a_spec(b"second"))
    assert (place(home) / "stdin").read_bytes() == b"first"


@pytest.mark.anyio
async def test_the_job_s_own_word_is_read(host: LocalHost, home: Path) -> None:
    await directory.stage(host, a_spec())
    write(home, started="4217 node1 1767225600\n", ended="3 1767225660\n", output="out\n", **{"job.log": "log\n"})
    assert await directory.read(host, TOKEN) == Report(
        job=JobId("4217"),
        node="node1",
        started_at=datetime(2026, 1, 1, tzinfo=UTC),
        exit_code=3,
        ended_at=datetime(2026, 1, 1, 0, 1, tzinfo=UTC),
        output=b"out\n",
        log=b"log\n",
    )


def write(home: Path, **files: str) -> None:
    for name, text in files.items():
        (place(home) / name).write_text(text)


@pytest.mark.anyio
async def test_a_session_that_has_not_run_or_is_not_known_has_an_empty_report(host: LocalHost, home: Path) -> None:
    assert await directory.read(host, TOKEN) == Report()
    await directory.stage(host, a_spec())
    assert await directory.read(host, TOKEN) == Report()


@pytest.mark.anyio
async def test_where_no_session_can_be_there_is_no_report(host: LocalHost, home: Path) -> None:
    (home / ".local").write_text("no directory")
    assert await directory.read(host, TOKEN) == Report()


@pytest.mark.anyio
async def test_of_long_output_the_end_is_read(host: LocalHost, home: Path) -> None:
    await directory.stage(host, a_spec())
    write(home, output="a" * 100_000 + "the end\n", **{"job.log": "b" * 100_000 + "as well"})
    report = await directory.read(host, TOKEN)
    assert (len(report.output), report.output[-8:]) == (65536, b"the end\n")
    assert (len(report.log), report.log[-7:]) == (65536, b"as well")


@pytest.mark.anyio
async def test_output_that_looks_like_a_report_is_output(host: LocalHost, home: Path) -> None:
    await directory.stage(host, a_spec())
    forged = "started 1 n 1\nended 0 1\njob.log 9\n\n"
    write(home, output=forged, **{"job.log": forged})
    assert await directory.read(host, TOKEN) == Report(output=forged.encode(), log=forged.encode())


@pytest.mark.anyio
async def test_what_is_private_is_discarded_and_the_rest_stays(host: LocalHost, home: Path) -> None:
    await directory.stage(host, a_spec())
    write(home, started="4217 node1 1767225600\n", output="out\n")
    await directory.discard(host, TOKEN)
    assert {path.name for path in place(home).iterdir()} == {"started", "output"}
    assert (await directory.read(host, TOKEN)).started


@pytest.mark.anyio
async def test_a_removed_session_is_gone_with_all_its_files(host: LocalHost, home: Path) -> None:
    await directory.stage(host, a_spec())
    write(home, output="out\n")
    await directory.remove(host, TOKEN)
    assert list(place(home).parent.iterdir()) == []
    await directory.remove(host, TOKEN)


@pytest.mark.anyio
async def test_a_home_that_cannot_be_written_is_an_error_with_its_words(host: LocalHost, home: Path) -> None:
    (home / ".local").write_text("no directory")
    with pytest.raises(HostUnreachable, match=r"the session's directory cannot be used on this machine: .+\.local"):
        await directory.stage(host, a_spec())


@pytest.mark.anyio
async def test_a_host_without_a_home_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HOME")
    host = LocalHost()
    host.home = None
    del host._base["HOME"]
    with pytest.raises(HostUnreachable, match="HOME: is not set"):
        await directory.stage(host, a_spec())


@pytest.mark.anyio
async def test_a_home_that_hangs_is_an_error_and_nothing_was_submitted() -> None:
    def hang(command: Command) -> CommandResult:
        raise OutcomeUnknown("sh did not answer")

    with pytest.raises(HostUnreachable, match="the home directory on a scripted host does not answer: sh did not"):
        await directory.stage(ScriptedHost(hang), a_spec())


@pytest.mark.anyio
async def test_files_that_do_not_answer_are_out_of_reach(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ended = threading.Event()
    monkeypatch.setattr(here, "read", lambda _: ended.wait(20))
    monkeypatch.setattr(directory, "DEADLINE", 0.01)
    try:
        with pytest.raises(HostUnreachable, match=r"the home directory on this machine does not answer within 0\.01 s"):
            await directory.read(LocalHost(), TOKEN)
    finally:
        ended.set()


@pytest.mark.anyio
async def test_who_gives_up_reading_does_not_wait_for_a_home_that_hangs(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, ended = anyio.Event(), threading.Event()
    answered = []

    def hang(_: Path) -> bytes:
        anyio.from_thread.run_sync(begun.set)
        answered.append(ended.wait(20))
        return b""

    monkeypatch.setattr(here, "read", hang)
    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(directory.read, LocalHost(), TOKEN)
            await begun.wait()
            tasks.cancel_scope.cancel()
        assert answered == []
    finally:
        ended.set()


# ── what comes between ────────────────────────────────────────────────────────────────────────────────────────────


def sessions(home: Path) -> Path:
    return place(home).parent


@pytest.mark.anyio
async def test_a_place_for_sessions_that_is_a_link_is_refused(host: LocalHost, home: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    sessions(home).parent.mkdir(parents=True)
    sessions(home).symlink_to(tmp_path / "elsewhere")

    with pytest.raises(HostUnreachable, match="link"):
        await directory.stage(host, a_spec())

    assert list((tmp_path / "elsewhere").iterdir()) == []


@pytest.mark.anyio
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory to somebody else")
async def test_a_place_for_sessions_of_somebody_else_is_refused(host: LocalHost, home: Path) -> None:
    sessions(home).mkdir(parents=True, mode=0o700)
    os.chown(sessions(home), 65534, 65534)

    with pytest.raises(HostUnreachable, match="belongs to"):
        await directory.stage(host, a_spec())

    assert list(sessions(home).iterdir()) == []


@pytest.mark.anyio
@pytest.mark.parametrize("stdin", [b"", b"{}"], ids=["of the command", "of its input"])
async def test_a_disk_that_fills_meanwhile_leaves_nothing(
    host: LocalHost, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stdin: bytes
) -> None:
    def full(path: str, data: bytes) -> None:
        Path(path).write_bytes(data[:1])
        if data != b"{}":
            raise OSError(28, "No space left on device", path)

    monkeypatch.setattr(here, "write_new", full)
    program = tmp_path / "bin" / ("head" if stdin else "cat")
    program.parent.mkdir()
    program.write_text("#!/bin/sh\nprintf x\necho 'No space left on device' >&2\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    if host.home is None:
        host = LocalHost()
        host.home = None

    with pytest.raises(HostUnreachable, match="No space left on device"):
        await directory.stage(host, a_spec(stdin))

    assert list(sessions(home).iterdir()) == []


class Silent(LocalHost):
    """A host that does what it is asked, but whose first answer does not come."""

    def __init__(self, instead: Callable[[], Awaitable[None]]) -> None:
        super().__init__()
        self.home = None
        self.instead: Callable[[], Awaitable[None]] | None = instead
        self.seen: list[bool] = []

    async def run(self, argv: Sequence[str], **options: Any) -> CommandResult:
        result = await super().run(argv, **options)
        instead, self.instead = self.instead, None
        if instead:
            self.seen.append(bool(list(Path.home().rglob("command"))))
            await instead()
        return result


@pytest.mark.anyio
async def test_a_session_that_may_have_been_written_is_taken_back(home: Path) -> None:
    async def lost() -> None:
        raise OutcomeUnknown("the connection was lost")

    host = Silent(lost)
    with pytest.raises(HostUnreachable, match="the connection was lost"):
        await directory.stage(host, a_spec())

    assert host.seen == [True]
    assert list(sessions(home).iterdir()) == []


@pytest.mark.anyio
async def test_a_caller_that_is_cancelled_meanwhile_leaves_nothing(home: Path) -> None:
    with anyio.CancelScope() as scope:

        async def cancel() -> None:
            scope.cancel()
            await anyio.lowlevel.checkpoint()

        host = Silent(cancel)
        await directory.stage(host, a_spec())

    assert (scope.cancelled_caught, host.seen) == (True, [True])
    assert list(sessions(home).iterdir()) == []


@pytest.mark.anyio
async def test_why_it_could_not_be_written_counts_and_not_why_it_could_not_be_taken_back() -> None:
    answers = iter(["the connection was lost", "no route to host"])

    def hang(command: Command) -> CommandResult:
        raise OutcomeUnknown(next(answers))

    with pytest.raises(HostUnreachable, match="the connection was lost"):
        await directory.stage(ScriptedHost(hang), a_spec())
    assert list(answers) == []


@pytest.mark.anyio
async def test_what_must_come_before_comes_before(host: LocalHost, home: Path) -> None:
    seen = []

    async def after(write: Callable[[], None], undo: Callable[[], None]) -> None:
        seen.append(place(home).exists())
        write()

    await directory.stage(host, a_spec(), after=after)

    assert seen == [False]
    assert (place(home) / "command").exists()


@pytest.mark.anyio
async def test_who_is_cancelled_goes_when_all_is_written(home: Path) -> None:
    """What is written after that, nobody would take away."""
    begun, go = anyio.Event(), threading.Event()
    events = []

    async def after(write: Callable[[], None], undo: Callable[[], None]) -> None:
        def slowly() -> None:
            anyio.from_thread.run_sync(begun.set)
            go.wait(20)
            write()
            events.append("written")

        await anyio.to_thread.run_sync(slowly, abandon_on_cancel=True)

    async def caller() -> None:
        with scope:
            try:
                await directory.stage(LocalHost(), a_spec(), after=after)
            finally:
                events.append("gone")

    scope = anyio.CancelScope()
    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(caller)
            await begun.wait()
            scope.cancel()
            await anyio.wait_all_tasks_blocked()
            go.set()
    finally:
        go.set()

    assert events == ["written", "gone"]


@pytest.mark.anyio
async def test_nothing_is_written_where_what_must_come_before_fails(host: LocalHost, home: Path) -> None:
    async def after(write: Callable[[], None], undo: Callable[[], None]) -> None:
        raise LedgerError("the ledger cannot be written")

    with pytest.raises(LedgerError):
        await directory.stage(host, a_spec(), after=after)

    assert not sessions(home).exists()


@pytest.mark.anyio
async def test_the_command_comes_last(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The job waits for it, and then reads its input."""
    events = []

    def watched(path: str, data: bytes) -> None:
        events.append(Path(path).name)
        write_new(path, data)

    monkeypatch.setattr(here, "write_new", watched)
    await directory.stage(LocalHost(), a_spec())

    assert events == ["stdin", "command"]


@pytest.mark.anyio
@pytest.mark.parametrize("put", [Path.mkdir, os.mkfifo], ids=["directory", "pipe"])
async def test_a_report_that_cannot_be_read_is_not_taken_for_none(
    host: LocalHost, home: Path, put: Callable[[Path], None]
) -> None:
    await directory.stage(host, a_spec())
    put(place(home) / "ended")

    with pytest.raises(HostUnreachable, match="ended: it is no regular file"):
        await directory.read(host, TOKEN)


@pytest.mark.anyio
async def test_a_directory_that_cannot_be_seen_is_not_taken_for_none(host: LocalHost, home: Path) -> None:
    place(home).parent.mkdir(parents=True)
    place(home).symlink_to(place(home))

    with pytest.raises(HostUnreachable, match="Too many levels of symbolic links"):
        await directory.read(host, TOKEN)


# ── nobody may be waiting ─────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.anyio
async def test_an_unsettled_session_says_until_when_it_may_be_settled(host: LocalHost, home: Path) -> None:
    await directory.stage(host, a_spec(), until=1_800_000_000)
    unsettled = place(home) / "unsettled"
    assert (unsettled.read_text(), stat.S_IMODE(unsettled.stat().st_mode)) == ("1800000000\n", 0o600)

    await directory.settle(host, TOKEN)
    assert not unsettled.exists()
    await directory.settle(host, TOKEN)


@pytest.mark.anyio
@pytest.mark.parametrize("until", [None, 1_800_000_000])
async def test_a_session_is_forbidden_for_good(host: LocalHost, home: Path, until: int | None) -> None:
    await directory.stage(host, a_spec(), until=until)
    await directory.forbid(host, TOKEN)
    assert (place(home) / "unwanted").exists()
    await directory.forbid(host, TOKEN)
    await directory.settle(host, TOKEN)  # late, from a home that hung
    assert (place(home) / "unwanted").exists()


@pytest.mark.anyio
async def test_a_session_that_is_not_there_is_not_made_to_forbid_it(host: LocalHost, home: Path) -> None:
    await directory.forbid(host, TOKEN)
    assert not place(home).exists()


@pytest.mark.anyio
async def test_what_is_discarded_twice_is_discarded(host: LocalHost, home: Path) -> None:
    await directory.stage(host, a_spec())
    for _ in range(2):
        await directory.discard(host, TOKEN)
    assert list(place(home).iterdir()) == []


# ── reading its report ────────────────────────────────────────────────────────────────────────────────────────────

WHOLE = b"started 4217 n1 1767225600\nended 0 1767225660\noutput 4\nout\njob.log 0\n"


def test_a_report_that_is_cut_short_tells_what_is_whole() -> None:
    whole = parse_report(WHOLE)
    for end in range(len(WHOLE)):
        part = parse_report(WHOLE[:end])
        assert part.node in ("", "n1")
        assert part.exit_code in (None, 0)
        assert whole.output.startswith(part.output)
    assert parse_report(b"started 4217 n1") == parse_report(b"ended 0") == Report()


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"\n\n",
        b"started",
        b"started 4217 n1 soon",
        b"started 4217 n1 -5",
        b"started 4217 n1 " + b"9" * 12,
        b"started 4217 n1 " + b"9" * 5000,
        b"ended 0",
        b"ended x 1767225660",
        b"ended -1 1767225660",
        b"ended " + b"9" * 5000 + b" 1767225660",
        b"output x",
        b"output " + b"9" * 5000,
        b"\xff\xfe\0",
        b"ended \xb2 \xb2",
    ],
)
def test_a_line_that_is_no_report_tells_nothing_and_spoils_nothing(line: bytes) -> None:
    assert parse_report(line + b"\n" + WHOLE) == parse_report(WHOLE)


@given(
    st.one_of(
        st.binary(), st.lists(st.sampled_from([b"started", b"ended", b"output", b" ", b"\n", b"7", b"n"])).map(b"".join)
    )
)
def test_any_bytes_are_a_report(text: bytes) -> None:
    assert isinstance(parse_report(text), Report)
