"""An adapter that breaks its contract: doubt comes of it, never an end, a second job or a traceback."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import anyio
import pytest

from fxsched.cluster.cluster import Cluster
from fxsched.cluster.scheduler import Scheduler
from fxsched.cluster.timing import Timing
from fxsched.errors import (
    CancelUnverified,
    FxschedError,
    HostUnreachable,
    OutcomeUnknown,
    PartlyUnavailable,
    SchedulerUnavailable,
    SubmitRejected,
    SubmitUnsettled,
)
from fxsched.hosts import LocalHost
from fxsched.jobs import EndCause, JobId, JobSpec, JobState, JobStatus, new_token
from fxsched.records.ledger import Ledger

from .memory_adapter import MemoryAdapter

pytestmark = pytest.mark.anyio

ONE = JobId("1")
TWO = JobId("2")


class Odd(MemoryAdapter):
    """Answers, or raises, what it is told to in place of what would be right."""

    answers: dict[str, Any]

    def __init__(self, host: LocalHost, **answers: Any) -> None:
        super().__init__(host)
        self.answers = answers

    def _answer(self, verb: str) -> Any:
        answer = self.answers[verb]
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def submit(self, spec: JobSpec) -> JobId:
        self.calls.append(("submit", spec.token))
        return self._answer("submit") if "submit" in self.answers else await super().submit(spec)

    async def status(self, ids: frozenset[JobId]) -> Any:
        return self._answer("status") if "status" in self.answers else await super().status(ids)

    async def cancel(self, id: JobId, token: Any = None) -> None:
        return self._answer("cancel") if "cancel" in self.answers else await super().cancel(id, token)

    async def find(self, token: Any) -> Any:
        return self._answer("find") if "find" in self.answers else await super().find(token)

    async def host_of(self, token: Any, job: JobId | None = None) -> Any:
        return self._answer("host_of") if "host_of" in self.answers else await super().host_of(token, job)


def running(id: str, **members: Any) -> JobStatus:
    return JobStatus(id=JobId(id), state=JobState.RUNNING, **members)


def cluster_of(adapter: Odd, tmp_path: Path) -> Cluster:
    timing = Timing(launch=0.6, settle_pause=0.01, cancel=0.2, poll_interval=0.0, gone_after=0.0)
    return Cluster("hpc", adapter, Ledger(tmp_path / "state"), timing=timing)


@pytest.mark.parametrize(
    "answer",
    [None, "", 7, "4217\n", "42 17", ("1",), KeyError("id"), OSError(24, "Too many open files"), ValueError()],
    ids=repr,
)
async def test_a_submit_that_breaks_the_contract_may_have_made_a_job(
    host: LocalHost, tmp_path: Path, answer: object
) -> None:
    adapter = Odd(host, submit=answer, find=SchedulerUnavailable("down"))
    cluster = cluster_of(adapter, tmp_path)

    with pytest.raises(SubmitUnsettled, match=r"the adapter .*test_scheduler\.Odd"):
        await cluster.submit(JobSpec(token=new_token(), command=("true",)))

    assert len(adapter.asked("submit")) == 1
    (entry,) = cluster.ledger.live("hpc")
    assert (entry.owner, entry.unsettled(0.0)) == (None, True)  # and whoever comes next may settle it


async def test_an_error_of_ours_passes_as_it_is_also_one_with_a_signature_of_its_own(
    host: LocalHost, tmp_path: Path
) -> None:
    class OverQuota(SubmitRejected):
        def __init__(self, used: int, limit: int) -> None:
            super().__init__(f"{used} of {limit} are in use")
            self.used = used

    cluster = cluster_of(Odd(host, submit=OverQuota(7, 5)), tmp_path)

    with pytest.raises(OverQuota, match=r"^cluster 'hpc': 7 of 5 are in use\. Ask for something else") as caught:
        await cluster.submit(JobSpec(token=new_token(), command=("true",)))

    assert (caught.value.used, list(cluster.ledger.live("hpc"))) == (7, [])


@pytest.mark.parametrize(
    "answer",
    [
        None,
        [],
        {},
        {TWO: running("2")},
        {ONE: running("2")},
        {ONE: None},
        {ONE: {"id": "1", "state": "running"}},
        {ONE: JobStatus(id=ONE, state=JobState.ENDED)},
        {ONE: running("1", cause=EndCause.COMPLETED)},
        {ONE: running("1", name=None)},
        {ONE: running("1", exit_code="1")},
        {ONE: running("1", nodes="n1")},
        {ONE: running("1", submitted_at="2026-03-01")},
        {ONE: JobStatus(id=ONE, state="frob")},  # type: ignore[arg-type]
        {ONE: running("1", started_at=datetime(2026, 3, 1))},  # a time without a zone is the point
        KeyError("1"),
        OSError(24, "Too many open files"),
        HostUnreachable("no way"),
        OutcomeUnknown("squeue did not answer"),
    ],
    ids=repr,
)
async def test_a_status_that_breaks_the_contract_is_no_answer(host: LocalHost, answer: object) -> None:
    with pytest.raises(SchedulerUnavailable):
        await Scheduler(Odd(host, status=answer)).status(frozenset([ONE]))


async def test_one_answer_that_cannot_be_hides_no_other(host: LocalHost, tmp_path: Path) -> None:
    adapter = Odd(host, status={ONE: running("1"), TWO: JobStatus(id=TWO, state=JobState.ENDED)})
    cluster = cluster_of(adapter, tmp_path)

    with pytest.raises(PartlyUnavailable, match="gave no answer, or one that cannot be, for 2") as caught:
        await cluster.status([ONE, TWO], max_age=0)
    assert {id: status.state for id, status in caught.value.answers.items()} == {ONE: JobState.RUNNING}
    assert (await cluster.status([ONE], max_age=60))[ONE].state is JobState.RUNNING  # and nothing is left alone


async def test_more_answers_than_questions_are_dropped(host: LocalHost) -> None:
    adapter = Odd(host, status={ONE: running("1"), TWO: running("2")})
    assert (await Scheduler(adapter).status(frozenset([ONE]))).keys() == {ONE}


@pytest.mark.parametrize(("code", "expected"), [(-9, (None, 9)), (-1000, (None, None)), (137, (137, None))])
async def test_a_negative_exit_code_is_a_signal_or_nothing(
    host: LocalHost, code: int, expected: tuple[int | None, int | None]
) -> None:
    ended = JobStatus(id=ONE, state=JobState.ENDED, cause=EndCause.FAILED, exit_code=code)
    status = (await Scheduler(Odd(host, status={ONE: ended})).status(frozenset([ONE])))[ONE]
    assert (status.exit_code, status.signal) == expected


@pytest.mark.parametrize("answer", [None, "1", {"1"}, [7], ("a b",), KeyError("x"), OSError(24, "many")], ids=repr)
async def test_a_find_that_breaks_the_contract_is_no_answer(host: LocalHost, answer: object) -> None:
    with pytest.raises(SchedulerUnavailable):
        await Scheduler(Odd(host, find=answer)).find(new_token())


async def test_a_cancel_that_fails_in_an_unheard_of_way_may_have_worked(host: LocalHost, tmp_path: Path) -> None:
    adapter = Odd(host, cancel=RuntimeError("a bug"))
    cluster = cluster_of(adapter, tmp_path)
    job = await cluster.submit(JobSpec(token=new_token(), command=("true",)))

    with pytest.raises(CancelUnverified):
        await cluster.cancel(job.id)

    adapter.put("1", JobState.ENDED, cause=EndCause.CANCELLED)
    assert (await cluster.status([job.id]))[job.id].cause is EndCause.CANCELLED


async def test_a_place_that_cannot_be_told_is_out_of_reach(host: LocalHost) -> None:
    with pytest.raises(HostUnreachable, match="KeyError"):
        await Scheduler(Odd(host, host_of=KeyError("x"))).host_of(new_token())


@pytest.mark.parametrize("verb", ["status", "find", "cancel", "host_of"])
async def test_no_call_of_an_adapter_is_waited_for_for_ever(host: LocalHost, verb: str) -> None:
    class Hanging(MemoryAdapter):
        async def status(self, ids: frozenset[JobId]) -> Any:
            await anyio.sleep_forever()

        async def find(self, token: Any) -> Any:
            await anyio.sleep_forever()

        async def cancel(self, id: JobId, token: Any = None) -> None:
            await anyio.sleep_forever()

        async def host_of(self, token: Any, job: JobId | None = None) -> Any:
            await anyio.sleep_forever()

    scheduler = Scheduler(Hanging(host), patience=0.01)
    calls = {
        "status": lambda: scheduler.status(frozenset([ONE])),
        "find": lambda: scheduler.find(new_token()),
        "cancel": lambda: scheduler.cancel(ONE, None),
        "host_of": lambda: scheduler.host_of(new_token()),
    }
    with pytest.raises(FxschedError, match=r"within 0\.01 s"):
        await calls[verb]()


@pytest.mark.parametrize(("lag", "expected"), [(3, 3.0), (-1, 0.0), (float("nan"), 0.0), ("soon", 0.0), (None, 0.0)])
async def test_a_lag_that_is_no_number_of_seconds_is_none(host: LocalHost, lag: Any, expected: float) -> None:
    adapter = Odd(host)
    adapter.lag = adapter.end_lag = lag
    assert (Scheduler(adapter).lag, Scheduler(adapter).end_lag) == (expected, expected)
