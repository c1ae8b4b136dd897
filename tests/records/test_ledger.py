"""The durable record of submissions."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NoReturn

import pytest
from msgspec.structs import replace

from fxsched.errors import LedgerError
from fxsched.jobs import EndCause, JobId, JobState, JobStatus, Token, new_token
from fxsched.records.files import now
from fxsched.records.ledger import KEEP_ENDED, REST, TRUST, Entry, Ledger, Owner, _ticks

BEGIN = datetime(2026, 3, 1, 12, tzinfo=UTC)
JOB = JobId("4217")


def an_entry(job: str | None = "4217", *, cluster: str = "hpc", hours: int = 0, token: Token | None = None) -> Entry:
    return Entry(
        token=token or new_token(),
        cluster=cluster,
        name="mine",
        submitted_at=BEGIN + timedelta(hours=hours),
        job=JobId(job) if job else None,
        status=None,
    )


def files(state: Path) -> list[str]:
    return sorted(str(path.relative_to(state)) for path in state.rglob("*") if not path.is_dir())


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path)


def test_an_entry_is_there_for_whoever_comes_next(ledger: Ledger, tmp_path: Path) -> None:
    entry = Entry(
        token=new_token(),
        cluster="hpc",
        name="Größe \n 1",
        submitted_at=BEGIN,
        job=JOB,
        cancelled_at=BEGIN,
        gone_at=BEGIN,
        status=JobStatus(id=JOB, state=JobState.ENDED, cause=EndCause.WALLTIME, nodes=("n1",), ended_at=BEGIN),
    )
    ledger.write(entry)
    assert list(Ledger(tmp_path).live("hpc")) == [entry]


def test_a_later_entry_takes_the_place_of_the_token_s_former_one(ledger: Ledger) -> None:
    token = new_token()
    ledger.write(an_entry(None, token=token))
    later = an_entry("4217", token=token)
    ledger.write(later)
    assert list(ledger.live("hpc")) == [later]


def test_a_ledger_that_was_never_written_is_empty(ledger: Ledger) -> None:
    assert list(ledger.live("hpc")) == []
    assert ledger.by_job("hpc", frozenset([JOB])) == {}
    assert ledger.old("hpc") == []


def test_an_entry_that_ends_is_no_longer_live_but_still_found(ledger: Ledger, tmp_path: Path) -> None:
    entry = an_entry()
    ledger.write(entry)
    ledger.end(entry)
    assert list(ledger.live("hpc")) == []
    assert ledger.by_job("hpc", frozenset([JOB])) == {JOB: entry}
    assert files(tmp_path) == [f"ledger/ended/{entry.token}.json"]


def test_a_forgotten_entry_is_nowhere(ledger: Ledger, tmp_path: Path) -> None:
    entry, other = an_entry(), an_entry()
    ledger.write(entry)
    ledger.write(other)
    ledger.forget(entry.token)
    ledger.forget(new_token())
    assert list(ledger.live("hpc")) == [other]
    assert files(tmp_path) == [f"ledger/live/{other.token}.json"]


def test_clusters_are_kept_apart(ledger: Ledger) -> None:
    here, there = an_entry(), an_entry(cluster="other")
    ledger.write(here)
    ledger.write(there)
    assert list(ledger.live("hpc")) == [here]
    assert ledger.by_job("other", frozenset([JOB])) == {JOB: there}


def test_jobs_are_looked_up_among_the_live_and_the_ended(ledger: Ledger) -> None:
    live, ended, pending = an_entry("1"), an_entry("2"), an_entry(None)
    ledger.write(live)
    ledger.write(pending)
    ledger.end(ended)
    wanted = frozenset(map(JobId, ["1", "2", "3"]))
    assert ledger.by_job("hpc", wanted) == {JobId("1"): live, JobId("2"): ended}


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_the_later_submission_counts_where_an_id_was_given_twice(ledger: Ledger, order: tuple[int, int]) -> None:
    # Names order the entries in the directory, so each order of names is tried.
    entries = [an_entry(hours=hours, token=Token(letter * 20)) for hours, letter in zip(order, "ab", strict=True)]
    for entry in entries:
        ledger.write(entry)
    assert ledger.by_job("hpc", frozenset([JOB])) == {JOB: max(entries, key=lambda entry: entry.submitted_at)}


def test_a_live_job_counts_before_an_ended_one_of_the_same_id(ledger: Ledger) -> None:
    ended, live = an_entry(hours=0), an_entry(hours=1)
    ledger.end(ended)
    ledger.write(live)
    assert ledger.by_job("hpc", frozenset([JOB])) == {JOB: live}


def test_what_ended_long_ago_is_purged(ledger: Ledger, tmp_path: Path) -> None:
    old, recent, elsewhere, live = an_entry(), an_entry(), an_entry(cluster="other"), an_entry()
    ledger.write(live)
    for entry in (old, recent, elsewhere):
        ledger.end(entry)
    for entry in (old, elsewhere):
        age(tmp_path / "ledger" / "ended" / f"{entry.token}.json", KEEP_ENDED + 60)
    age(tmp_path / "ledger" / "ended" / f"{recent.token}.json", KEEP_ENDED - 60)
    age(tmp_path / "ledger" / "live" / f"{live.token}.json", KEEP_ENDED + 60)
    assert ledger.old("hpc") == [old.token]
    ledger.purge(old.token)
    assert files(tmp_path) == sorted(
        [f"ledger/ended/{recent.token}.json", f"ledger/ended/{elsewhere.token}.json", f"ledger/live/{live.token}.json"]
    )


def age(path: Path, seconds: float) -> None:
    moment = path.stat().st_mtime - seconds
    os.utime(path, (moment, moment))


def test_only_the_owner_can_read_it(ledger: Ledger, tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        entry = an_entry()
        ledger.write(entry)
        ledger.end(an_entry())
    finally:
        os.umask(old)
    for folder in ("live", "ended"):
        path = tmp_path / "ledger" / folder
        assert stat.S_IMODE(path.stat().st_mode) == 0o700
        assert [stat.S_IMODE(file.stat().st_mode) for file in path.iterdir()] == [0o600]


def fail(*_: object) -> NoReturn:
    raise OSError(28, "No space left on device")


@pytest.mark.parametrize("step", ["fsync", "rename"])
def test_an_end_that_cannot_be_written_leaves_what_was_there(
    ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    entry = an_entry()
    ledger.write(entry)
    monkeypatch.setattr(os, step, fail)
    with pytest.raises(LedgerError, match="No space left on device"):
        ledger.end(entry)
    assert list(ledger.live("hpc")) == [entry]
    assert files(tmp_path) == [f"ledger/live/{entry.token}.json"]


def test_a_write_that_fails_leaves_what_was_there(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = an_entry(None)
    ledger.write(entry)
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", fail)
        with pytest.raises(LedgerError, match="No space left on device"):
            ledger.write(an_entry("4217", token=entry.token))
    assert list(ledger.live("hpc")) == [entry]


@pytest.mark.parametrize("torn", [b"", b"{", b'{"token": "aaaa', b"\0" * 40])
def test_a_line_that_a_power_cut_has_torn_counts_for_nothing(ledger: Ledger, tmp_path: Path, torn: bytes) -> None:
    entry = an_entry(None)
    ledger.write(entry)
    with (tmp_path / "ledger" / "live" / f"{entry.token}.json").open("ab") as file:
        file.write(b"\n" + torn)
    assert list(ledger.live("hpc")) == [entry]
    later = an_entry("4217", token=entry.token)
    ledger.write(later)
    assert list(ledger.live("hpc")) == [later]
    assert ledger.bad() == []


def test_entries_that_are_made_together_are_told_apart(ledger: Ledger, tmp_path: Path) -> None:
    entries = [an_entry(None) for _ in range(4)]
    first, second, third, fourth = entries
    assert ledger.create(entries) == [None] * 4
    known = replace(second, job=JOB)
    ledger.write(known)
    ledger.end(third)
    ledger.forget(fourth.token)

    for reader in (ledger, Ledger(tmp_path)):
        assert {entry.token: entry for entry in reader.live("hpc")} == {first.token: first, second.token: known}
        assert reader.by_job("hpc", frozenset([JOB])) == {JOB: known}
    assert files(tmp_path) == sorted(
        [f"ledger/ended/{third.token}.json", f"ledger/live/{first.token}.json", f"ledger/live/{second.token}.json"]
    )


def test_an_entry_that_is_damaged_harms_none_that_was_made_with_it(ledger: Ledger, tmp_path: Path) -> None:
    entry, damaged = an_entry(), an_entry()
    ledger.create([entry, damaged])
    file = tmp_path / f"ledger/live/{entry.token}.json"
    file.write_bytes(file.read_bytes().replace(b'{"token":"%s"' % damaged.token.encode(), b'{"token":"%s' % b"\0" * 20))

    assert Ledger(tmp_path).live("hpc") == [entry]
    assert [path.name.split(".")[1] for path in Ledger(tmp_path).bad()] == [damaged.token]


def test_a_token_that_has_an_entry_gets_no_other_and_keeps_nobody_from_theirs(ledger: Ledger, tmp_path: Path) -> None:
    live, ended, twice, new = (an_entry(None) for _ in range(4))
    ledger.create([live, ended])
    ledger.end(ended)

    refused = ledger.create([live, ended, twice, twice, new])

    assert [str(error)[:9] if error else "" for error in refused] == ["the token", "the token", "", "the token", ""]
    assert {entry.token for entry in Ledger(tmp_path).live("hpc")} == {live.token, twice.token, new.token}


@pytest.mark.parametrize("step", ["link", "unlink", "fsync"])
def test_entries_that_cannot_be_made_durable_are_not_there(
    ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    former = an_entry(None)
    ledger.create([former])
    function, calls = getattr(os, step), []

    def fail_the_second_time(*arguments: Any) -> object:
        calls.append(arguments)
        if len(calls) == 2:
            raise OSError(28, "No space left on device")
        return function(*arguments)

    monkeypatch.setattr(os, step, fail_the_second_time)
    if step == "unlink":
        calls.append(())  # there is one only
    with pytest.raises(LedgerError, match="No space left on device"):
        ledger.create([an_entry(None), former, an_entry(None)])

    assert Ledger(tmp_path).live("hpc") == [former]
    assert files(tmp_path) == [f"ledger/live/{former.token}.json"]


@pytest.mark.parametrize("obstacle", ["", "ledger", "ledger/live"])
def test_a_place_that_cannot_be_written_is_an_error_that_says_what_to_do(tmp_path: Path, obstacle: str) -> None:
    state = tmp_path / "state"
    path = state / obstacle
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("no directory")
    with pytest.raises(LedgerError, match=r"cannot be written \(.+\).+set FXSCHED_STATE to another directory"):
        Ledger(state).write(an_entry())


def test_a_place_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "ledger").mkdir()
    (tmp_path / "ledger" / "live").write_text("no directory")
    with pytest.raises(LedgerError, match="cannot be read"):
        list(Ledger(tmp_path).live("hpc"))


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b'{"token": 1}', b'{"token": "\xff"}', b"\0" * 100, b'{"x": ' + b"[" * 100_000]
)
def test_a_broken_entry_is_set_aside_and_harms_nobody(ledger: Ledger, tmp_path: Path, content: bytes) -> None:
    entry = an_entry()
    ledger.write(entry)
    ledger.end(an_entry("5"))
    broken = [tmp_path / "ledger" / folder / "aaaa.json" for folder in ("live", "ended")]
    for path in broken:
        path.write_bytes(content)
    age(broken[1], KEEP_ENDED + 60)
    assert list(ledger.live("hpc")) == [entry]
    assert ledger.by_job("hpc", frozenset([JOB, JobId("9")])) == {JOB: entry}
    assert ledger.old("hpc") == []
    assert [path.read_bytes() for path in ledger.bad()] == [content] * len(ledger.bad())
    assert len(ledger.bad()) == 2


def test_an_entry_of_any_size_is_read_whole(ledger: Ledger) -> None:
    entry = Entry(token=new_token(), cluster="hpc", name="x" * 200_000, submitted_at=BEGIN)
    ledger.write(entry)
    assert list(ledger.live("hpc")) == [entry]


def test_an_entry_that_is_being_written_is_not_seen(ledger: Ledger, tmp_path: Path) -> None:
    ledger.write(an_entry())
    (tmp_path / "ledger" / "live" / f".{new_token()}.123").write_text("{")
    assert len(list(ledger.live("hpc"))) == 1


def test_a_file_that_could_not_be_read_for_a_moment_is_read_when_it_can_be(
    ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = an_entry()
    ledger.write(entry)
    age(tmp_path / "ledger" / "live", 60)  # nothing has changed there for long

    def fail(_: object) -> NoReturn:
        raise OSError(116, "Stale file handle")

    with monkeypatch.context() as patch:
        patch.setattr("fxsched.records.ledger.open_regular", fail)
        assert ledger.live("hpc") == []
    assert ledger.live("hpc") == [entry]


def test_what_another_process_adds_to_an_entry_is_seen_at_once(ledger: Ledger, tmp_path: Path) -> None:
    entry = an_entry(None)
    ledger.write(entry)
    age(tmp_path / "ledger" / "live", 60)
    assert ledger.live("hpc") == [entry]
    later = an_entry("4217", token=entry.token)

    Ledger(tmp_path).write(later)

    assert ledger.live("hpc") == [later]


# ── who is submitting ─────────────────────────────────────────────────────────────────────────────────────────────


def test_the_present_process_lives_as_long_as_it_runs() -> None:
    assert Owner.me().lives()


def test_a_process_that_has_the_pid_of_one_that_ended_is_not_that_one() -> None:
    assert replace(Owner.me(), ticks="1").lives() is False


@pytest.mark.parametrize("ticks", ["", "1"])
def test_a_process_that_is_not_there_does_not_live(ticks: str) -> None:
    with subprocess.Popen(["true"]) as process:
        pass
    assert replace(Owner.me(), pid=process.pid, ticks=ticks).lives() is False


def test_of_a_process_on_another_host_nothing_is_known() -> None:
    assert replace(Owner.me(), host="elsewhere").lives() is None


def test_when_a_process_started_is_known_whatever_its_name(tmp_path: Path) -> None:
    program = tmp_path / "a) b (c"
    program.symlink_to(shutil.which("cat") or "")
    with subprocess.Popen([program], stdin=subprocess.PIPE) as later:
        assert 0 < int(_ticks(os.getpid())) <= int(_ticks(later.pid))


def test_a_submission_is_cut_off_when_its_process_has_ended(ledger: Ledger) -> None:
    entry = replace(an_entry(None), owner=Owner.me())
    assert not entry.unsettled(patience=0.0)
    assert replace(entry, owner=replace(Owner.me(), ticks="1")).unsettled(patience=1e9)
    assert replace(entry, owner=None).unsettled(patience=1e9)


def test_a_submission_on_another_host_is_cut_off_when_it_has_taken_too_long() -> None:
    entry = replace(an_entry(None), owner=replace(Owner.me(), host="elsewhere"), submitted_at=now())
    assert not entry.unsettled(patience=3600.0)
    assert replace(entry, submitted_at=now() - timedelta(hours=2)).unsettled(patience=3600.0)


@pytest.mark.parametrize("host", [os.uname().nodename, "elsewhere"])
def test_a_submission_that_has_its_job_is_settled(host: str) -> None:
    assert not replace(an_entry("4217"), owner=Owner(host=host, pid=1, ticks="1")).unsettled(patience=0.0)


# ── what a reader believes ────────────────────────────────────────────────────────────────────────────────────────


def test_a_session_named_after_another_s_token_is_not_taken_for_it(ledger: Ledger, tmp_path: Path) -> None:
    entry = an_entry()
    namesake = replace(an_entry("4218"), name=f"again {entry.token}")
    ledger.create([entry, namesake])

    reader = Ledger(tmp_path)
    assert reader.entry(entry.token) == entry
    assert {found.token: found for found in reader.live("hpc")} == {entry.token: entry, namesake.token: namesake}


def test_an_entry_is_found_by_its_token_wherever_it_stands(ledger: Ledger) -> None:
    live, ended = an_entry("1"), an_entry("2")
    ledger.create([live, ended])
    ledger.end(ended)

    assert (ledger.entry(live.token), ledger.entry(ended.token)) == (live, ended)
    assert ledger.knows(live.token)
    assert ledger.knows(ended.token)
    assert ledger.entry(token := new_token()) is None
    assert not ledger.knows(token)


def test_of_a_live_entry_that_cannot_be_read_nothing_is_said_though_it_had_ended_before(
    ledger: Ledger, tmp_path: Path
) -> None:
    entry = an_entry()
    ledger.end(entry)
    (tmp_path / "ledger/live").mkdir(mode=0o700)
    (tmp_path / f"ledger/live/{entry.token}.json").write_bytes(b"{")

    assert ledger.entry(entry.token) is None


def test_an_end_is_written_before_the_live_entry_goes(
    ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = an_entry()
    ledger.write(entry)
    unlink = Path.unlink

    def watched(path: Path, missing_ok: bool = False) -> None:
        assert Ledger(tmp_path).by_job("hpc", frozenset([JOB])) == {JOB: entry}
        unlink(path, missing_ok)

    monkeypatch.setattr(Path, "unlink", watched)
    ledger.end(entry)
    assert files(tmp_path) == [f"ledger/ended/{entry.token}.json"]


def test_what_is_added_to_an_entry_that_has_ended_is_lost(ledger: Ledger, tmp_path: Path) -> None:
    entry = an_entry()
    ledger.write(entry)
    ledger.end(entry)
    ledger.write(replace(entry, gone_at=BEGIN))
    assert files(tmp_path) == [f"ledger/ended/{entry.token}.json"]
    assert ledger.entry(entry.token) == entry


@pytest.mark.parametrize("bits", [0o770, 0o702])
def test_a_ledger_that_others_can_write_is_not_read(ledger: Ledger, tmp_path: Path, bits: int) -> None:
    state = tmp_path / "state"
    Ledger(state).write(an_entry())
    state.chmod(bits)
    with pytest.raises(LedgerError, match=r"others can write it.+set FXSCHED_STATE to another directory"):
        Ledger(state).live("hpc")


def test_a_ledger_of_somebody_else_is_not_read(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger.write(an_entry())
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    with pytest.raises(LedgerError, match=r"belongs to user .+set FXSCHED_STATE to another directory"):
        ledger.live("hpc")


def test_only_what_bears_the_name_of_an_entry_is_one(ledger: Ledger, tmp_path: Path) -> None:
    entry = an_entry()
    ledger.write(entry)
    for name in (f"{entry.token}.json~", f".{entry.token}.json"):
        (tmp_path / "ledger/live" / name).write_bytes(b"{")
    assert ledger.live("hpc") == [entry]
    assert ledger.bad() == []


# ── clocks that are coarse, or not ours ───────────────────────────────────────────────────────────────────────────


class Clock:
    """Our clock, and a file system's that ticks as the test lets it."""

    def __init__(self, state: Path, patch: pytest.MonkeyPatch) -> None:
        self.live = state / "ledger" / "live"
        self.now = self.tick = BEGIN.timestamp()
        patch.setattr(time, "time", lambda: self.now)

    def stamp(self) -> None:
        """Let everything there have been changed in the present tick."""
        for path in (*self.live.iterdir(), self.live):
            os.utime(path, (self.tick, self.tick))


@pytest.fixture
def clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(tmp_path, monkeypatch)


@pytest.mark.parametrize("since", [-5.0, 0.0, REST / 2])
def test_a_folder_that_changes_twice_in_one_tick_is_read_again(
    ledger: Ledger, tmp_path: Path, clock: Clock, since: float
) -> None:
    """At whatever moment it was read: a server's clock may be ahead of ours, too."""
    entry, writer = an_entry(None), Ledger(tmp_path)
    writer.write(entry)
    clock.stamp()
    clock.now += since
    assert ledger.live("hpc") == [entry]

    known, other = replace(entry, job=JOB), an_entry("4218")
    writer.write(known)
    writer.write(other)
    clock.stamp()

    assert {found.token: found for found in ledger.live("hpc")} == {entry.token: known, other.token: other}


@pytest.mark.parametrize("behind", [1.0, 3600.0])
def test_a_folder_is_read_again_after_a_while_whatever_its_time(
    ledger: Ledger, tmp_path: Path, clock: Clock, behind: float
) -> None:
    """A server's clock may be so far behind ours that what has just been changed seems to have rested."""
    entry, writer = an_entry(None), Ledger(tmp_path)
    writer.write(entry)
    clock.stamp()
    clock.now += behind
    assert ledger.live("hpc") == [entry]

    known = replace(entry, job=JOB)
    writer.write(known)
    clock.stamp()
    clock.now += TRUST

    assert ledger.live("hpc") == [known]


def test_a_folder_that_rests_is_not_read_again_and_again(
    ledger: Ledger, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = an_entry()
    ledger.write(entry)
    clock.stamp()
    clock.now += 1.0
    assert ledger.live("hpc") == [entry]
    monkeypatch.setattr(os, "scandir", fail)
    clock.now += TRUST - 0.001
    assert ledger.live("hpc") == [entry]
    clock.now += 0.001
    with pytest.raises(LedgerError, match="cannot be read"):
        ledger.live("hpc")


def test_an_ended_entry_that_is_written_again_in_the_same_tick_is_read_again(
    ledger: Ledger, tmp_path: Path, clock: Clock
) -> None:
    clock.live = tmp_path / "ledger" / "ended"
    first = an_entry("4217")
    second = replace(first, job=JobId("4218"))
    wanted = frozenset([JobId("4217"), JobId("4218")])
    for entry in (first, second):
        Ledger(tmp_path).end(entry)
        clock.stamp()
        assert ledger.by_job("hpc", wanted) == {entry.job: entry}


def test_an_entry_that_a_person_mends_in_its_place_is_read_again(ledger: Ledger, tmp_path: Path, clock: Clock) -> None:
    entry = an_entry("4217")
    ledger.write(entry)
    clock.stamp()
    clock.now += 1.0
    assert ledger.live("hpc") == [entry]

    file = tmp_path / f"ledger/live/{entry.token}.json"
    file.write_bytes(file.read_bytes().replace(b"4217", b"4218"))
    clock.now += TRUST

    assert ledger.live("hpc") == [replace(entry, job=JobId("4218"))]
