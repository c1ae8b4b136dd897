"""A scheduler of several parts: one that is down, or hangs, hides no other."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import anyio
import pytest

from fxsched.cluster.polling import PartPollers
from fxsched.cluster.scheduler import Scheduler
from fxsched.errors import InvalidRequest, PartlyUnavailable, SchedulerUnavailable
from fxsched.hosts import LocalHost
from fxsched.jobs import JobId, JobState, JobStatus

from .memory_adapter import PartsAdapter

pytestmark = pytest.mark.anyio

A1, A2, B1, C1 = map(JobId, ("a.1", "a.2", "b.1", "c.1"))


@pytest.fixture
def adapter(home: Path) -> PartsAdapter:
    adapter = PartsAdapter(LocalHost())
    for id in (A1, A2, B1, C1):
        adapter.put(id, JobState.RUNNING)
    return adapter


@pytest.fixture
def pollers(adapter: PartsAdapter, tmp_path: Path) -> PartPollers:
    return PartPollers(Scheduler(adapter), tmp_path / "poll", "main", interval=5.0, patience=0.05)


async def test_each_part_is_asked_once_about_its_own_jobs(adapter: PartsAdapter, pollers: PartPollers) -> None:
    answers = await pollers.status([A1, A2, B1])

    assert answers.keys() == {A1, A2, B1}
    assert sorted(map(sorted, adapter.asked("status"))) == [[A1, A2], [B1]]


async def test_company_is_asked_for_in_its_own_part_only(adapter: PartsAdapter, pollers: PartPollers) -> None:
    adapter.down = frozenset("c")

    answers = await pollers.status([A1], company=lambda: [A2, B1, C1])

    assert answers.keys() == {A1, A2}
    assert adapter.asked("status") == [frozenset([A1, A2])]


async def test_whoever_is_company_is_looked_up_once(pollers: PartPollers) -> None:
    looked = []

    def company() -> list[JobId]:
        looked.append(1)
        return [A2, C1]

    assert (await pollers.status([A1, B1], company=company)).keys() == {A1, A2, B1}
    assert len(looked) == 1


async def test_a_part_of_another_cluster_is_another_part(
    adapter: PartsAdapter, pollers: PartPollers, tmp_path: Path
) -> None:
    await pollers.status([A1])

    await PartPollers(Scheduler(adapter), tmp_path / "poll", "other", interval=5.0).status([A1])

    assert len(adapter.asked("status")) == 2


async def test_a_part_that_is_down_makes_only_its_own_jobs_unknown(adapter: PartsAdapter, pollers: PartPollers) -> None:
    adapter.down = frozenset("b")

    with pytest.raises(PartlyUnavailable, match="no route to b") as caught:
        await pollers.status([A1, B1, C1])

    assert caught.value.answers.keys() == {A1, C1}


async def test_a_part_that_hangs_holds_up_the_others_for_a_moment_only(
    adapter: PartsAdapter, pollers: PartPollers
) -> None:
    adapter.hangs = frozenset("b")

    with anyio.fail_after(10), pytest.raises(PartlyUnavailable, match="b did not answer in time") as caught:
        await pollers.status([A1, B1])

    assert caught.value.answers.keys() == {A1}


async def test_a_part_that_is_down_is_left_alone_and_the_others_are_asked(
    adapter: PartsAdapter, pollers: PartPollers
) -> None:
    adapter.down = frozenset("b")
    for _ in range(2):
        with pytest.raises(PartlyUnavailable):
            await pollers.status([A1, B1])

    with pytest.raises(SchedulerUnavailable, match="left alone"):
        await pollers.status([B1])
    assert (await pollers.status([A2], max_age=0))[A2].state is JobState.RUNNING


async def test_where_all_parts_are_down_there_is_no_answer(adapter: PartsAdapter, pollers: PartPollers) -> None:
    adapter.down = frozenset("ab")

    with pytest.raises(SchedulerUnavailable, match=r"no route to [ab]") as caught:
        await pollers.status([A1, B1])
    assert not isinstance(caught.value, PartlyUnavailable)


async def test_a_request_that_is_wrong_is_told_as_such(adapter: PartsAdapter, pollers: PartPollers) -> None:
    adapter.plan("status", InvalidRequest("no id"), InvalidRequest("no id"))

    with pytest.raises(InvalidRequest):
        await pollers.status([A1, B1])


async def test_a_request_that_one_part_finds_wrong_is_told_as_such_though_another_answers(
    adapter: PartsAdapter, pollers: PartPollers
) -> None:
    adapter.plan("status", InvalidRequest("no id"))

    with pytest.raises(InvalidRequest):
        await pollers.status([A1, B1])


async def test_a_slow_part_is_waited_for_while_no_other_has_answered(
    adapter: PartsAdapter, pollers: PartPollers, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask = adapter.status

    async def slowly(ids: frozenset[JobId]) -> Mapping[JobId, JobStatus]:
        if A1 in ids:
            await anyio.sleep(0.3)  # longer than what is slow is waited for beside an answer
        return await ask(ids)

    monkeypatch.setattr(adapter, "status", slowly)
    adapter.down = frozenset("b")

    with pytest.raises(PartlyUnavailable, match="no route to b") as caught:
        await pollers.status([A1, B1])
    assert caught.value.answers.keys() == {A1}


async def test_what_was_last_known_is_remembered_for_each_part_whatever_its_name(
    adapter: PartsAdapter, pollers: PartPollers, tmp_path: Path
) -> None:
    odd = JobId("../rack 1/n1.1")
    adapter.put(odd, JobState.RUNNING)
    adapter.part = lambda id: id.rpartition(".")[0]  # type: ignore[method-assign]
    await pollers.status([A1, B1, odd])

    again = PartPollers(Scheduler(adapter), tmp_path / "poll", "main", interval=5.0)

    assert again.last_known([A1, B1, C1, odd]).keys() == {A1, B1, odd}
    assert len([path for path in (tmp_path / "poll").iterdir() if path.is_file()]) == 6  # a snapshot and a lock each
