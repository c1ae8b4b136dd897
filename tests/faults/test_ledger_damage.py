"""Full disks, read-only homes, concurrent writers, damaged files, jumping clocks, and directories that are not ours."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import pytest

from fxsched.cluster.reconcile import reconcile
from fxsched.errors import LedgerError
from fxsched.jobs import EndCause, JobId, JobState, Token, new_token
from fxsched.records.files import append_line
from fxsched.records.ledger import Entry, Ledger

if TYPE_CHECKING:
    from .conftest import Site

NOBODY = 65534
WRITERS = 8

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory to somebody else")


class Disk:
    """A disk that can be full."""

    def __init__(self, patch: pytest.MonkeyPatch, error: int = errno.ENOSPC) -> None:
        self._patch = patch
        self._error = error

    def fills(self, *, after: int = 0) -> None:
        """From now on, or after so many more files, nothing can be written durably."""
        left = after

        def until_full(write: Callable[..., None]) -> Callable[..., None]:
            def written(*arguments: object) -> None:
                nonlocal left
                left -= 1
                if left < 0:
                    raise OSError(self._error, os.strerror(self._error))
                write(*arguments)

            return written

        self._patch.setattr("os.fsync", until_full(os.fsync))
        self._patch.setattr("fxsched.records.ledger.append_line", until_full(append_line))

    def empties(self) -> None:
        self._patch.undo()


@pytest.fixture
def disk(site: Site) -> Iterator[Disk]:
    with pytest.MonkeyPatch.context() as patch:
        yield Disk(patch)


def entry(token: Token, **members: object) -> Entry:
    return Entry(token=token, cluster="main", name="x", submitted_at=datetime.now(UTC), **members)  # type: ignore[arg-type]


# ── disks


def test_with_a_full_disk_nothing_is_submitted(site: Site, disk: Disk) -> None:
    disk.fills()

    with pytest.raises(LedgerError, match=r"No space left on device.*Nothing is submitted.*see to free space"):
        anyio.run(site.open().submit, site.spec())

    assert (site.live_jobs(), site.live_entries(), site.sessions()) == ({}, {}, set())


def test_a_disk_that_fills_during_the_submit_loses_no_job(site: Site, disk: Disk) -> None:
    disk.fills(after=2)  # the entry, and its directory

    job = anyio.run(site.open().submit, site.spec())

    assert list(site.live_jobs()) == [job.id]
    assert [entry.job for entry in site.live_entries().values()] == [None]
    disk.empties()
    path = site.state / "ledger" / "live" / f"{job.token}.json"
    path.write_text(
        json.dumps(json.loads(path.read_text()) | {"owner": {"host": os.uname().nodename, "pid": 0, "ticks": ""}})
    )
    anyio.run(partial(reconcile, site.open(), fix=True))
    site.assert_exactly_once()


def test_with_a_full_disk_a_status_is_told_and_a_cancel_works(site: Site, disk: Disk) -> None:
    cluster = site.open()
    job = anyio.run(cluster.submit, site.spec())
    disk.fills()

    assert anyio.run(cluster.status, [job.id])[job.id].state is JobState.QUEUED
    assert anyio.run(cluster.cancel, job.id).status.state is JobState.ENDED
    assert site.live_jobs() == {}
    disk.empties()
    assert anyio.run(cluster.status, [job.id])[job.id].cause is EndCause.CANCELLED
    assert site.live_entries() == {}


def test_a_home_that_cannot_be_written_gives_one_clear_error(site: Site) -> None:
    site.environment["FXSCHED_STATE"] = "/proc/fxsched"

    done = site.launch()

    assert done.returncode == 1
    assert done.stdout.startswith("The session could not be started: the ledger in /proc")
    assert "set FXSCHED_STATE to another directory" in done.stdout
    assert site.live_jobs() == {}


@pytest.mark.parametrize("error", [errno.EROFS, errno.EDQUOT, errno.EIO])
def test_whatever_the_disk_says_is_in_the_error(site: Site, monkeypatch: pytest.MonkeyPatch, error: int) -> None:
    Disk(monkeypatch, error).fills()

    with pytest.raises(LedgerError, match=os.strerror(error)):
        anyio.run(site.open().submit, site.spec())


# ── writers


def test_writers_of_one_entry_leave_a_whole_one(tmp_path: Path) -> None:
    token = new_token()
    program = (
        "import sys; from pathlib import Path; from datetime import UTC, datetime\n"
        "from fxsched.records.ledger import Entry, Ledger\n"
        "ledger = Ledger(Path(sys.argv[1]))\n"
        "for n in range(30):\n"
        "    ledger.write(Entry(token=sys.argv[2], cluster='main', name='x' * n * 100,"
        " submitted_at=datetime.now(UTC), job=sys.argv[3]))\n"
        "    assert ledger.live('main')\n"
    )

    writers = [
        subprocess.Popen([sys.executable, "-c", program, tmp_path / "state", token, str(n)]) for n in range(WRITERS)
    ]

    assert [writer.wait() for writer in writers] == [0] * WRITERS
    ledger = Ledger(tmp_path / "state")
    assert ([entry.token for entry in ledger.live("main")], ledger.bad()) == ([token], [])
    assert len(list(tmp_path.glob("state/ledger/live/*"))) == 1


def test_an_end_that_somebody_else_has_recorded_is_not_undone(tmp_path: Path) -> None:
    ledger, token = Ledger(tmp_path / "state"), new_token()
    ledger.write(entry(token, job=JobId("1")))
    ledger.end(entry(token, job=JobId("1")))

    ledger.write(entry(token, job=JobId("1")))

    assert ledger.live("main") == []


# ── damage

DAMAGED = {
    "nothing": b"",
    "half": b'{"token": "aaaaaaaaaaaaaaaaaaaa", "clus',
    "zeros": b"\0" * 512,
    "not UTF-8": b'{"name": "\xff\xfe"}',
    "deep": b"[" * 100_000,
    "no entry": b"{}",
    "another type": b'{"token":"a","cluster":"main","name":"x","submitted_at":"2024-01-01T00:00:00Z","job":7}',
    "a time without a zone": b'{"token":"a","cluster":"main","name":"x","submitted_at":"2024-01-01T00:00:00"}',
}


@pytest.mark.parametrize("content", DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_entry_is_set_aside_and_the_others_are_read(tmp_path: Path, content: bytes) -> None:
    ledger, token = Ledger(tmp_path / "state"), new_token()
    ledger.write(entry(token))
    damaged = tmp_path / "state" / "ledger" / "live" / "aaaaaaaaaaaaaaaaaaaa.json"
    damaged.write_bytes(content)

    assert [found.token for found in ledger.live("main")] == [token]

    assert not damaged.exists()
    (kept,) = ledger.bad()
    assert "aaaaaaaaaaaaaaaaaaaa.json" in kept.name
    assert kept.read_bytes() == content


def test_damage_is_reported_by_reconcile_and_harms_neither_a_launch_nor_a_status(site: Site) -> None:
    id = site.launched()
    (site.state / "ledger" / "live" / "bad.json").write_text("{")

    assert "is queued" in site.fxsched("status", id)
    assert site.launch().returncode == 0

    said = site.fxsched("reconcile", "--fix")
    assert said.startswith("bad: main, ")
    assert "bad.json" in said
    assert "could not be read; look at it" in said
    site.assert_exactly_once()


def test_a_live_job_whose_entry_was_damaged_gets_a_new_one(site: Site) -> None:
    site.launched()
    (path,) = (site.state / "ledger" / "live").iterdir()
    path.write_bytes(path.read_bytes()[:40])

    assert "orphaned: main, job 1" in site.fxsched("reconcile", "--fix")

    site.assert_exactly_once()


def test_what_is_no_file_is_passed_over(tmp_path: Path) -> None:
    ledger, token = Ledger(tmp_path / "state"), new_token()
    ledger.write(entry(token))
    live = tmp_path / "state" / "ledger" / "live"
    (live / "directory.json").mkdir()
    (live / "dangling.json").symlink_to("/nosuch")
    (live / f".{token}.json.0123456789ab").write_text("what a killed writer left")

    assert [found.token for found in ledger.live("main")] == [token]
    assert ledger.bad() == []


# ── clocks


@pytest.mark.parametrize("jump", [timedelta(days=-400), timedelta(days=400)])
def test_a_clock_that_jumps_ends_no_live_job_and_hides_no_end(
    site: Site, monkeypatch: pytest.MonkeyPatch, jump: timedelta
) -> None:
    cluster = site.open(poll_interval=0.0, gone_after=0.0)
    job = anyio.run(cluster.submit, site.spec())
    anyio.run(cluster.status, [job.id])
    for module in ("cluster.cluster", "cluster.polling", "cluster.submission", "cluster.reconcile", "records.ledger"):
        monkeypatch.setattr(f"fxsched.{module}.now", lambda: datetime.now(UTC) + jump)

    assert anyio.run(cluster.status, [job.id])[job.id].state is JobState.QUEUED
    with site.fake as fake:
        fake.lose(fake.jobs[int(job.id)])
    for _ in range(2):
        status = anyio.run(cluster.status, [job.id])[job.id]

    assert status.state is JobState.ENDED


def test_a_first_gone_from_before_the_clock_was_set_back_does_not_keep_an_entry_for_ever(site: Site) -> None:
    cluster = site.open()
    job = anyio.run(cluster.submit, site.spec())
    with site.fake as fake:
        fake.lose(fake.jobs[int(job.id)])
    site.ledger.write(entry(job.token, job=job.id, gone_at=datetime.now(UTC) + timedelta(days=400)))

    states = [anyio.run(cluster.status, [job.id])[job.id].state for _ in range(2)]

    assert states == [JobState.GONE, JobState.ENDED]


# ── directories


def refused(site: Site) -> str:
    """Launch, which must be refused without a trace; return what the user is told."""
    done = site.launch()
    assert done.returncode == 1, done
    assert site.live_jobs() == {}
    assert "set FXSCHED_STATE to another directory" in done.stdout
    return done.stdout


def test_a_state_directory_that_is_a_link_is_refused(site: Site, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    site.state.parent.mkdir(parents=True)
    site.state.symlink_to(tmp_path / "elsewhere")

    assert "only a link" in refused(site)
    assert list((tmp_path / "elsewhere").iterdir()) == []


@pytest.mark.parametrize("mode", [0o777, 0o1777, 0o770])
def test_a_state_directory_that_others_can_write_is_refused(site: Site, mode: int) -> None:
    site.state.mkdir(parents=True)
    site.state.chmod(mode)

    assert f"{site.state} cannot be" in (said := refused(site))
    assert "others can write it" in said


@needs_root
@pytest.mark.parametrize("deeper", ["", "ledger/live"])
def test_a_state_directory_of_somebody_else_is_refused(site: Site, deeper: str) -> None:
    place = site.state / deeper
    place.mkdir(parents=True, mode=0o700)
    if deeper:
        site.state.chmod(0o700)
    os.chown(place, NOBODY, NOBODY)

    assert f"belongs to user {NOBODY}" in refused(site)


@needs_root
def test_a_home_of_somebody_else_is_refused(site: Site) -> None:
    os.chown(site.home, NOBODY, NOBODY)

    assert f"the home directory {site.home} belongs to user {NOBODY}" in refused(site)
    assert not (site.home / ".local").exists()


@needs_root
def test_a_place_for_sessions_of_somebody_else_is_refused(site: Site) -> None:
    sessions = site.state / "sessions"
    sessions.mkdir(parents=True, mode=0o700)
    site.state.chmod(0o700)
    os.chown(sessions, NOBODY, NOBODY)

    done = site.launch()

    assert (done.returncode, site.live_jobs(), site.live_entries()) == (1, {}, {})
    assert "belongs to" in done.stdout
    assert list(sessions.iterdir()) == []


def test_a_log_that_is_a_link_is_not_written(site: Site, tmp_path: Path) -> None:
    site.state.mkdir(parents=True, mode=0o700)
    site.state.chmod(0o700)
    (tmp_path / "precious").write_text("")
    (site.state / "launch.log").symlink_to(tmp_path / "precious")

    assert site.launch().returncode == 0

    assert (tmp_path / "precious").read_text() == ""


@pytest.mark.parametrize("place", ["/nosuch", "/proc", "relative"])
def test_a_hostile_tmpdir_changes_nothing(site: Site, place: str) -> None:
    site.environment["TMPDIR"] = place

    assert site.launch().returncode == 0

    site.assert_exactly_once()


def test_a_home_that_is_none_is_one_clear_error(site: Site) -> None:
    site.environment["HOME"] = "/proc"

    assert "/proc" in refused(site)


def test_all_that_is_written_is_readable_by_its_owner_only(site: Site) -> None:
    old = os.umask(0)
    try:
        site.launched()
    finally:
        os.umask(old)

    modes = {path: path.stat().st_mode & 0o777 for path in (site.state, *site.state.rglob("*"))}
    assert len(modes) > 6
    assert [path for path, mode in modes.items() if mode & 0o077] == []
