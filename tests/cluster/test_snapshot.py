"""The snapshot that all who ask share: one question for everybody, and nothing believed that may not be true."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import anyio
import pytest

from fxsched.cluster import polling
from fxsched.cluster.polling import FORGET, Poller
from fxsched.errors import InvalidRequest, SchedulerUnavailable
from fxsched.hosts import LocalHost
from fxsched.jobs import JobId, JobState, JobStatus

from .memory_adapter import MemoryAdapter

pytestmark = pytest.mark.anyio

ONE, TWO, THREE = map(JobId, "123")
INTERVAL = 60.0
BEGIN = datetime(2026, 3, 1, 12, tzinfo=UTC)


class Scheduler(MemoryAdapter):
    """Each answer takes until everybody else waits."""

    async def status(self, ids: frozenset[JobId]) -> Mapping[JobId, JobStatus]:
        await anyio.wait_all_tasks_blocked()
        return await super().status(ids)


@pytest.fixture
def scheduler(host: LocalHost) -> Scheduler:
    scheduler = Scheduler(host)
    for id in (ONE, TWO, THREE):
        scheduler.put(id, JobState.RUNNING)
    return scheduler


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "poll"


@pytest.fixture
def poller(scheduler: Scheduler, place: Path) -> Poller:
    return Poller(scheduler, place, "main", interval=INTERVAL)


@pytest.fixture
def other(scheduler: Scheduler, place: Path) -> Poller:
    """As in another process: it knows of the first one's answers by the snapshot alone."""
    return Poller(scheduler, place, "main", interval=INTERVAL)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[timedelta], None]:
    """Let time pass."""
    moment = [BEGIN]
    monkeypatch.setattr(polling, "now", lambda: moment[0])

    def pass_time(duration: timedelta) -> None:
        moment[0] += duration

    return pass_time


# ── one question for everybody ────────────────────────────────────────────────────────────────────────────────────


async def ask_together(*pollers: Poller) -> None:
    async with anyio.create_task_group() as tasks:
        for poller in pollers:
            tasks.start_soon(poller.status, [ONE])


async def test_many_callers_at_once_make_one_question(scheduler: Scheduler, poller: Poller, other: Poller) -> None:
    await ask_together(*[poller, other] * 10)

    assert scheduler.asked("status") == [{ONE}]


async def test_the_callers_of_one_process_make_one_question_where_there_are_no_locks_on_files(
    scheduler: Scheduler, poller: Poller, place: Path
) -> None:
    (place / "main.lock").mkdir(parents=True)
    place.chmod(0o700)

    await ask_together(*[poller] * 20)

    assert scheduler.asked("status") == [{ONE}]


ANOTHER = """
import sys
from pathlib import Path
import anyio
from fxsched.cluster.polling import Poller
from fxsched.jobs import JobId, JobState, JobStatus

class Scheduler:
    async def status(self, ids):
        print("asked", flush=True)
        sys.stdin.readline()
        return {id: JobStatus(id=id, state=JobState.SUSPENDED) for id in ids}

anyio.run(Poller(Scheduler(), Path(sys.argv[1]), "main", interval=60.0).status, [JobId("1")])
"""
"""A process that asks, tells that it does, and gets its answer when it is given a line."""


async def test_who_comes_while_another_process_asks_waits_for_its_answer(
    scheduler: Scheduler, poller: Poller, place: Path
) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", ANOTHER, place], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as another:
        assert another.stdin is not None
        assert another.stdout is not None
        assert another.stdout.readline() == "asked\n"
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(poller.status, [ONE])
            await anyio.wait_all_tasks_blocked()
            another.stdin.write("\n")
            another.stdin.flush()

    assert scheduler.asked("status") == []
    assert poller.last_known([ONE])[ONE].state is JobState.SUSPENDED
    assert another.returncode == 0


async def test_who_waits_for_another_s_answer_looks_for_it_again_and_again(
    poller: Poller, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.mkdir(mode=0o700)
    pauses: list[float] = []
    with (place / "main.lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)

        async def sleep(pause: float) -> None:
            pauses.append(pause)
            if len(pauses) == 50:
                fcntl.flock(held, fcntl.LOCK_UN)

        monkeypatch.setattr("anyio.sleep", sleep)
        await poller.status([ONE])

    assert len(pauses) == 50
    assert pauses[0] < 0.01
    assert max(pauses) <= 0.2


async def test_where_a_file_system_has_no_locks_everybody_asks_at_once(
    scheduler: Scheduler, poller: Poller, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unsupported(*_: object) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr("fcntl.flock", unsupported)
    monkeypatch.setattr("anyio.sleep", None)  # nobody waits for a lock that there is not

    assert (await poller.status([ONE]))[ONE].state is JobState.RUNNING
    assert scheduler.asked("status") == [{ONE}]


async def test_only_who_has_no_fresh_answer_is_asked_for(scheduler: Scheduler, poller: Poller, other: Poller) -> None:
    await poller.status([ONE])

    assert (await other.status([ONE, TWO])).keys() == {ONE, TWO}

    assert scheduler.asked("status") == [{ONE}, {TWO}]


async def test_the_user_s_other_jobs_are_asked_for_in_the_same_question(
    scheduler: Scheduler, poller: Poller, other: Poller
) -> None:
    await poller.status([ONE], company=lambda: [TWO])

    assert (await other.status([TWO])).keys() == {TWO}

    assert scheduler.asked("status") == [{ONE, TWO}]


async def test_company_that_is_no_id_of_this_scheduler_is_left_out(scheduler: Scheduler, poller: Poller) -> None:
    scheduler.plan("status", InvalidRequest("'1.pbs' is not a Slurm job id"))

    assert (await poller.status([ONE], company=lambda: [JobId("1.pbs")])).keys() == {ONE}


async def test_a_wrong_id_is_said_to_be_wrong_once(scheduler: Scheduler, poller: Poller) -> None:
    scheduler.plan("status", InvalidRequest("'x' is not a Slurm job id"))

    with pytest.raises(InvalidRequest):
        await poller.status([JobId("x")])

    assert scheduler.asked("status") == [{"x"}]


# ── how long it is believed ───────────────────────────────────────────────────────────────────────────────────────


async def test_an_answer_serves_for_less_than_the_interval(
    scheduler: Scheduler, poller: Poller, clock: Callable[[timedelta], None]
) -> None:
    await poller.status([ONE])
    clock(timedelta(seconds=INTERVAL - 0.001))
    await poller.status([ONE])
    assert len(scheduler.asked("status")) == 1

    clock(timedelta(seconds=0.001))
    await poller.status([ONE])
    assert len(scheduler.asked("status")) == 2


async def test_an_answer_from_before_the_clock_was_set_back_is_asked_for_again(
    scheduler: Scheduler, poller: Poller, clock: Callable[[timedelta], None]
) -> None:
    await poller.status([ONE])
    clock(timedelta(seconds=-1))

    await poller.status([ONE])

    assert len(scheduler.asked("status")) == 2


async def test_an_answer_that_nobody_renews_is_forgotten(
    scheduler: Scheduler, poller: Poller, other: Poller, clock: Callable[[timedelta], None]
) -> None:
    await poller.status([ONE])
    clock(FORGET / 2)
    await poller.status([TWO])
    assert other.last_known([ONE, TWO, THREE]).keys() == {ONE, TWO}

    clock(FORGET / 2)
    await poller.status([THREE])
    assert other.last_known([ONE, TWO, THREE]).keys() == {TWO, THREE}


async def test_what_was_last_known_stays_while_the_scheduler_is_left_alone(
    scheduler: Scheduler, poller: Poller, other: Poller
) -> None:
    await poller.status([ONE])
    scheduler.plan("status", SchedulerUnavailable("slurmctld is down"))

    with pytest.raises(SchedulerUnavailable):
        await poller.status([TWO])

    assert other.last_known([ONE])[ONE].state is JobState.RUNNING
    assert (await other.status([ONE])).keys() == {ONE}


async def test_who_must_know_asks_though_the_scheduler_is_left_alone(scheduler: Scheduler, poller: Poller) -> None:
    scheduler.plan("status", SchedulerUnavailable("slurmctld is down"))
    with pytest.raises(SchedulerUnavailable):
        await poller.status([ONE])

    assert (await poller.status([ONE], max_age=0)).keys() == {ONE}


async def test_an_answer_that_another_process_has_got_takes_the_place_of_the_one_that_was_read(
    scheduler: Scheduler, poller: Poller, other: Poller
) -> None:
    await poller.status([ONE])
    assert other.last_known([ONE])[ONE].state is JobState.RUNNING
    scheduler.put(ONE, JobState.SUSPENDED)

    await poller.status([ONE], max_age=0)

    assert other.last_known([ONE])[ONE].state is JobState.SUSPENDED


async def test_a_snapshot_that_nobody_has_written_since_is_not_read_again(
    poller: Poller, other: Poller, monkeypatch: pytest.MonkeyPatch
) -> None:
    await poller.status([ONE])
    assert other.last_known([ONE]).keys() == {ONE}
    monkeypatch.setattr(Path, "read_bytes", None)

    assert poller.last_known([ONE]).keys() == other.last_known([ONE]).keys() == {ONE}


# ── what is not believed ──────────────────────────────────────────────────────────────────────────────────────────


async def test_a_snapshot_of_which_half_is_another_s_is_not_believed(
    scheduler: Scheduler, poller: Poller, other: Poller, place: Path
) -> None:
    """A reader may come while it is overwritten, and what it finds may be JSON nevertheless."""
    await poller.status([ONE])
    snapshot = place / "main.json"
    snapshot.write_bytes(snapshot.read_bytes().replace(b'"running"', b'"ended"'))

    assert other.last_known([ONE]) == {}
    assert (await other.status([ONE]))[ONE].state is JobState.RUNNING
    assert len(scheduler.asked("status")) == 2


@pytest.mark.parametrize("mode", [0o770, 0o707, 0o1777])
async def test_a_snapshot_where_others_can_write_is_not_believed(
    scheduler: Scheduler, poller: Poller, other: Poller, place: Path, mode: int
) -> None:
    await poller.status([ONE])
    place.chmod(mode)

    assert other.last_known([ONE]) == {}
    assert (await other.status([ONE]))[ONE].state is JobState.RUNNING
    assert len(scheduler.asked("status")) == 2


async def test_a_snapshot_in_somebody_else_s_directory_is_neither_believed_nor_written(
    scheduler: Scheduler, poller: Poller, other: Poller, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await poller.status([ONE])
    before = (place / "main.json").read_bytes()
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)

    assert other.last_known([ONE]) == {}
    assert (await other.status([ONE]))[ONE].state is JobState.RUNNING
    assert len(scheduler.asked("status")) == 2
    assert (place / "main.json").read_bytes() == before


@pytest.mark.parametrize("name", ["main.json", "main.lock"])
async def test_a_link_in_its_place_leads_nowhere(poller: Poller, place: Path, tmp_path: Path, name: str) -> None:
    place.mkdir(mode=0o700)
    (place / name).symlink_to(tmp_path / "precious")

    assert (await poller.status([ONE]))[ONE].state is JobState.RUNNING

    assert not (tmp_path / "precious").exists()


async def test_a_shorter_snapshot_takes_the_place_of_a_longer_one(
    scheduler: Scheduler, poller: Poller, other: Poller, clock: Callable[[timedelta], None]
) -> None:
    await poller.status([ONE, TWO, THREE])
    clock(FORGET)

    await poller.status([ONE])

    assert other.last_known([ONE, TWO, THREE]).keys() == {ONE}


# ── rests ─────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_each_question_in_a_row_that_fails_makes_the_rest_twice_as_long(
    scheduler: Scheduler, poller: Poller, monkeypatch: pytest.MonkeyPatch, clock: Callable[[timedelta], None]
) -> None:
    monkeypatch.setattr("random.uniform", lambda least, most: (least + most) / 2)
    rests = []
    for _ in range(4):
        scheduler.plan("status", SchedulerUnavailable("slurmctld is down"))
        with pytest.raises(SchedulerUnavailable):
            await poller.status([ONE], max_age=0)
        until = poller.read().rest_until
        assert until is not None
        rests.append((until - BEGIN).total_seconds())

    assert rests == [0.875 * rest for rest in (INTERVAL, 2 * INTERVAL, 4 * INTERVAL, polling.LONGEST_REST)]


async def test_a_rest_ends_by_itself(
    scheduler: Scheduler, poller: Poller, other: Poller, clock: Callable[[timedelta], None]
) -> None:
    scheduler.plan("status", SchedulerUnavailable("slurmctld is down"))
    for each in (poller, other):
        with pytest.raises(SchedulerUnavailable, match="slurmctld is down"):
            await each.status([ONE])
    assert len(scheduler.asked("status")) == 1

    clock(timedelta(seconds=INTERVAL))

    assert (await other.status([ONE])).keys() == {ONE}
