"""One polite poll per cluster and interval, whatever the number of those who ask, and whatever lies in the way."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import msgspec
import pytest

from fxsched.cluster import polling
from fxsched.cluster.polling import LONGEST_REST, Poller, Snapshot
from fxsched.errors import SchedulerUnavailable
from fxsched.hosts import LocalHost
from fxsched.jobs import JobId, JobState, JobStatus

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .conftest import Site

HERD = Path(__file__).with_name("herd.py")
ONE = JobId("1")


class Asked:
    """An adapter that only counts how often, and for what, it is asked."""

    def __init__(self, *, fails: bool = False) -> None:
        self.questions: list[frozenset[JobId]] = []
        self.fails = fails

    async def status(self, ids: frozenset[JobId]) -> Mapping[JobId, JobStatus]:
        self.questions.append(ids)
        await anyio.sleep(0)
        if self.fails:
            raise SchedulerUnavailable("it is down")
        return {id: JobStatus(id=id, state=JobState.RUNNING) for id in ids}


def poller(adapter: Asked, directory: Path, interval: float = 60.0) -> Poller:
    return Poller(adapter, directory / "poll", "main", interval=interval)  # type: ignore[arg-type]


# ── everybody together


def test_a_hundred_processes_that_ask_at_once_cause_one_squeue(site: Site) -> None:
    site.configure(poll_interval=60.0)
    id = site.launched()

    done = subprocess.run(
        [sys.executable, HERD, "100", "status", id],
        env=site.environment,
        stdout=subprocess.PIPE,
        text=True,
        timeout=100,
        check=True,
    )

    assert done.stdout.split() == ["0"] * 100
    assert site.calls("squeue") == 1


def test_the_callers_of_one_process_share_one_command(tmp_path: Path) -> None:
    adapter = Asked()
    shared = poller(adapter, tmp_path)

    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            for _ in range(100):
                tasks.start_soon(shared.status, [ONE])

    anyio.run(main)

    assert adapter.questions == [{ONE}]


def test_one_question_is_about_all_live_jobs_of_the_user(site: Site) -> None:
    first, second = site.launched(), site.launched()
    site.configure(poll_interval=60.0)

    assert "is queued" in site.fxsched("status", first)
    assert "is queued" in site.fxsched("status", second)

    assert site.calls("squeue") == 1


def test_another_process_finds_a_fresh_answer_and_asks_nobody(tmp_path: Path) -> None:
    anyio.run(poller(Asked(), tmp_path).status, [ONE])
    other = Asked()

    answer = anyio.run(poller(other, tmp_path).status, [ONE])

    assert (answer[ONE].state, other.questions) == (JobState.RUNNING, [])


def test_an_answer_is_as_old_as_the_interval_at_most(tmp_path: Path) -> None:
    adapter = Asked()
    anyio.run(poller(adapter, tmp_path).status, [ONE])

    anyio.run(poller(adapter, tmp_path, interval=0.0).status, [ONE])

    assert len(adapter.questions) == 2


def test_ended_jobs_are_never_asked_for_again(site: Site) -> None:
    cluster = site.open()
    job = anyio.run(cluster.submit, site.spec())
    anyio.run(cluster.cancel, job.id)
    asked = site.calls("squeue")

    for _ in range(3):
        status = anyio.run(partial(site.open().status, [job.id], max_age=0))[job.id]

    assert status.state is JobState.ENDED
    assert site.calls("squeue") == asked


# ── who cannot be asked


def test_a_scheduler_that_cannot_be_asked_is_left_alone(site: Site) -> None:
    site.configure(poll_interval=60.0)
    id = site.launched()
    site.plan("squeue", "down", delay=0.0)

    for _ in range(3):
        said = site.fxsched("status", id, code=75)

    assert "it is left alone until" in said
    assert site.calls("squeue") == 1


def test_the_last_known_status_is_shown_with_its_age_and_the_trouble(site: Site) -> None:
    site.configure(poll_interval=0.001)
    id = site.launched()
    site.fxsched("status", id)
    site.plan("squeue", "down", delay=0.0)

    shown = json.loads(site.fxsched("status", "--json", id, code=75))

    seen = datetime.fromisoformat(shown["observed_at"])
    assert datetime.now(UTC) - timedelta(minutes=1) < seen < datetime.now(UTC)
    assert (shown["state"], "Unable to contact" in shown["unavailable"]) == ("queued", True)
    assert "is queued" in (text := site.fxsched("status", id, code=75))
    assert f"That was at {seen.astimezone():%H:%M:%S}; now it could not be asked for" in text


def test_of_a_job_never_seen_it_is_said_that_nothing_is_known(site: Site) -> None:
    id = site.launched()
    site.plan("squeue", "down", delay=0.0)

    assert json.loads(site.fxsched("status", "--json", id, code=75))["state"] is None
    assert "nothing is known of it" in site.fxsched("status", id, code=75)


def test_its_rests_grow_up_to_a_limit_and_are_never_quite_the_same(tmp_path: Path) -> None:
    adapter = Asked(fails=True)
    resting = poller(adapter, tmp_path, interval=10.0)
    rests = []
    for _ in range(8):
        before = datetime.now(UTC)
        with pytest.raises(SchedulerUnavailable):
            anyio.run(partial(resting.status, [ONE], max_age=0))
        snapshot = resting.read()
        assert snapshot.rest_until is not None
        rests.append((snapshot.rest_until - before).total_seconds())

    for number, rest in enumerate(rests):
        longest = min(10.0 * 2**number, LONGEST_REST)
        assert 0.75 * longest <= rest <= longest + 5.0
    assert len({round(rest, 3) for rest in rests[-3:]}) == 3


def test_one_answer_ends_the_rest_and_the_count(tmp_path: Path) -> None:
    adapter = Asked(fails=True)
    resting = poller(adapter, tmp_path)
    for _ in range(3):
        with pytest.raises(SchedulerUnavailable):
            anyio.run(partial(resting.status, [ONE], max_age=0))
    adapter.fails = False

    anyio.run(partial(resting.status, [ONE], max_age=0))

    assert (resting.read().failures, resting.read().rest_until) == (0, None)


def test_a_rest_from_before_the_clock_was_set_back_does_not_last_for_ever(tmp_path: Path) -> None:
    adapter = Asked()
    asking = poller(adapter, tmp_path)
    asking._write(Snapshot(failures=1, rest_until=datetime.now(UTC) + timedelta(days=400), trouble="it was down"))

    assert anyio.run(asking.status, [ONE])[ONE].state is JobState.RUNNING


# ── what may lie in the way

DAMAGED = {
    "nothing": b"",
    "half": b'{"statuses": {"1": {"id": "1", "sta',
    "other JSON": b"[1, 2]",
    "not UTF-8": b'{"trouble": "\xff"}',
    "deep": b"[" * 100_000,
    "a time without a zone": b'{"statuses":{"1":{"id":"1","state":"ended","observed_at":"2024-01-01T00:00:00"}}}',
    "an unknown state": b'{"statuses":{"1":{"id":"1","state":"lost"}}}',
    "the future": msgspec.json.encode(
        Snapshot(statuses={ONE: JobStatus(id=ONE, state=JobState.ENDED, observed_at=datetime(2999, 1, 1, tzinfo=UTC))})
    ),
}


ENDED = msgspec.json.encode(
    Snapshot(statuses={ONE: JobStatus(id=ONE, state=JobState.ENDED, observed_at=datetime.now(UTC))})
)
TORN = {
    "no sum": ENDED,
    "half": polling._sum(ENDED) + ENDED[:-20],
    "of two": polling._sum(ENDED) + ENDED.replace(b"ended", b"queue"),
}


@pytest.mark.parametrize(
    "content", [*(polling._sum(c) + c for c in DAMAGED.values()), *TORN.values(), b""], ids=[*DAMAGED, *TORN, "empty"]
)
def test_a_damaged_snapshot_is_as_good_as_none(tmp_path: Path, content: bytes) -> None:
    adapter = Asked()
    asking = poller(adapter, tmp_path)
    (tmp_path / "poll").mkdir(mode=0o700)
    (tmp_path / "poll" / "main.json").write_bytes(content)

    assert anyio.run(asking.status, [ONE])[ONE].state is JobState.RUNNING
    assert anyio.run(asking.status, [ONE])[ONE].state is JobState.RUNNING
    assert len(adapter.questions) == 1


@pytest.mark.parametrize("obstacle", ["file", "link", "everybody's"])
def test_without_a_place_for_the_snapshot_everybody_asks(tmp_path: Path, obstacle: str) -> None:
    place = tmp_path / "poll"
    if obstacle == "file":
        place.write_text("")
    elif obstacle == "link":
        (tmp_path / "elsewhere").mkdir(mode=0o700)
        place.symlink_to(tmp_path / "elsewhere")
    else:
        place.mkdir()
        place.chmod(0o777)
    adapter = Asked()

    for _ in range(2):
        assert anyio.run(poller(adapter, tmp_path).status, [ONE])[ONE].state is JobState.RUNNING

    assert len(adapter.questions) == 2
    assert not list(tmp_path.glob("elsewhere/*.json"))


def test_a_full_disk_is_no_reason_not_to_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr("os.fsync", full)
    monkeypatch.setattr("fxsched.cluster.polling.overwrite", full)

    assert anyio.run(poller(Asked(), tmp_path).status, [ONE])[ONE].state is JobState.RUNNING


def test_a_cluster_that_hangs_does_not_delay_another(site: Site, tmp_path: Path) -> None:
    hanging, lively = site.open(LocalHost()), poller(Asked(), tmp_path / "other")
    job = anyio.run(hanging.submit, site.spec())
    site.plan("squeue", "hang")

    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(hanging.status, [job.id])
            while not site.calls("squeue"):
                await anyio.sleep(0.01)
            assert (await lively.status([ONE]))[ONE].state is JobState.RUNNING
            tasks.cancel_scope.cancel()

    anyio.run(main)

    assert site.clients() == []
