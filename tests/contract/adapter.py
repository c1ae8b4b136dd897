"""The contract of ``fxsched.adapter.Adapter``."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from fxsched import reasons
from fxsched.errors import HostError, HostUnreachable, OutcomeUnknown, SchedulerUnavailable, SubmitRejected
from fxsched.hosts.scripted import ScriptedHost
from fxsched.jobs import EndCause, JobSpec, JobState, new_token

from .site import until, until_dead, until_text

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from fxsched.adapter import Adapter
    from fxsched.jobs import JobStatus

    from .site import Site

A_MOMENT = timedelta(seconds=2)
"""Schedulers round times to seconds, and their clock is not quite ours."""

ODD_NAMES = [
    pytest.param('-x it\'s "quoted" `id` $(id) $HOME ; & | < > %j,=:', id="shell"),
    pytest.param("line one\nline two\r\n\t\x1b[31m\x00 caf\udce9", id="control"),
    pytest.param("jöb-名前-🚀" * 1000, id="long"),
    pytest.param("", id="empty"),
]


class AdapterContract:
    """Subclass it and give it a fixture ``site``."""

    pytestmark = pytest.mark.anyio

    # ── submit and status ─────────────────────────────────────────────────────────────────────────────────────────

    async def test_submit_returns_an_id_that_status_knows_at_once(self, site: Site) -> None:
        id = await site.submit()

        assert (await site.status(id)).state in (JobState.QUEUED, JobState.RUNNING)

    async def test_a_job_that_runs_says_where_and_since_when(self, site: Site) -> None:
        before = datetime.now(UTC)

        status = await site.until(await site.submit(), JobState.RUNNING)

        assert len(status.nodes) == 1
        assert status.started_at is not None
        assert before - A_MOMENT < status.started_at < datetime.now(UTC) + A_MOMENT
        assert (status.cause, status.ended_at, status.exit_code) == (None, None, None)

    async def test_a_job_that_exits_with_zero_completed(self, site: Site) -> None:
        before = datetime.now(UTC)

        status = await site.ended(await site.submit("true"))

        assert status.cause is EndCause.COMPLETED
        assert len(status.nodes) == 1
        assert status.started_at is not None
        assert status.ended_at is not None
        assert before - A_MOMENT < status.started_at <= status.ended_at < datetime.now(UTC) + A_MOMENT

    async def test_a_job_that_exits_with_another_code_failed(self, site: Site) -> None:
        assert (await site.ended(await site.submit("exit 3"))).cause is EndCause.FAILED

    async def test_times_do_not_depend_on_the_time_zone_of_the_caller(
        self, site: Site, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("TZ", "Asia/Kathmandu")
        site.adapter = site.connect()

        status = await site.ended(await site.submit("true"))

        assert status.ended_at is not None
        assert abs(status.ended_at - datetime.now(UTC)) < timedelta(minutes=1)

    async def test_the_exit_code_is_known_to_the_cluster(self, site: Site) -> None:
        cluster = site.cluster()
        job = await cluster.submit(JobSpec(token=new_token(), command=("sh", "-c", "exit 3")))

        async def ask() -> JobStatus:
            return (await cluster.status([job.id], max_age=0))[job.id]

        status = await until(ask, lambda status: status.state is JobState.ENDED)

        assert (status.cause, status.exit_code) == (EndCause.FAILED, 3)

    async def test_the_script_reaches_the_job_as_it_is(self, site: Site) -> None:
        text = "'\"$HOME `id` \\ %j caf\xe9 \U0001f680\t|" + "x" * 100_000
        script = f"#!/bin/sh\ncat >{site.home}/copy <<'END'\n{text}\nEND\n".encode() + b": \xff\n"

        await site.ended(await site.submit(script=script))

        assert (site.home / "copy").read_text() == f"{text}\n"

    async def test_a_job_starts_in_its_directory_and_prints_into_its_output_whatever_their_names(
        self, site: Site
    ) -> None:
        directory = site.home / "a b'c\"%j %% $(id) é 🚀 -x"
        directory.mkdir()
        output = directory / "100% of %j.log"

        await site.ended(
            await site.submit("pwd; echo trouble >&2", working_directory=str(directory), output=str(output))
        )

        assert output.read_text() == f"{directory}\ntrouble\n"

    @pytest.mark.parametrize("name", ODD_NAMES)
    async def test_a_session_may_have_any_name(self, site: Site, name: str) -> None:
        spec = site.spec(f"echo done >{site.home}/done", name=name)

        id = await site.submit_spec(spec)

        assert await until_text(site.home / "done") == "done\n"
        assert await site.adapter.find(spec.token) == (id,)

    # ── many ids, unknown ids ─────────────────────────────────────────────────────────────────────────────────────

    async def test_an_id_that_no_job_has_is_gone(self, site: Site) -> None:
        [id] = site.unused_ids(1)

        assert (await site.status(id)).state is JobState.GONE

    async def test_no_job_at_all_is_an_answer_too(self, site: Site) -> None:
        assert await site.adapter.status(frozenset()) == {}

    @pytest.mark.parametrize("unknown", [1, 58])
    async def test_every_id_gets_an_answer_of_its_own(self, site: Site, unknown: int) -> None:
        ended = await site.submit("true")
        running = await site.submit()
        await site.ended(ended)
        await site.until(running, JobState.RUNNING)
        gone = site.unused_ids(unknown)

        statuses = await site.adapter.status(frozenset([ended, running, *gone]))

        states = {id: status.state for id, status in statuses.items()}
        assert states == {ended: JobState.ENDED, running: JobState.RUNNING} | dict.fromkeys(gone, JobState.GONE)
        assert all(status.id == id for id, status in statuses.items())

    # ── cancel ────────────────────────────────────────────────────────────────────────────────────────────────────

    async def test_a_running_job_that_is_cancelled_ends_with_all_its_processes(self, site: Site) -> None:
        id = await site.submit(f"sleep 61 & echo $! $$ >{site.home}/pids; wait")
        pids = site.pids(id, await until_text(site.home / "pids"))
        assert len(pids) == 2

        await site.adapter.cancel(id)

        assert (await site.ended(id)).cause is EndCause.CANCELLED
        await until_dead(*pids)

    async def test_cancelling_a_job_that_has_ended_changes_nothing(self, site: Site) -> None:
        id = await site.submit("true")
        before = await site.ended(id)

        await site.adapter.cancel(id)

        assert await site.status(id) == before

    async def test_cancelling_a_job_that_never_was_is_no_error(self, site: Site) -> None:
        [id] = site.unused_ids(1)

        await site.adapter.cancel(id)

        assert (await site.status(id)).state is JobState.GONE

    # ── find ──────────────────────────────────────────────────────────────────────────────────────────────────────

    async def test_a_job_is_found_by_its_token_from_the_submit_until_after_its_end(self, site: Site) -> None:
        spec = site.spec()
        id = await site.submit_spec(spec)
        assert await site.adapter.find(spec.token) == (id,)

        await site.until(id, JobState.RUNNING)
        assert await site.adapter.find(spec.token) == (id,)

        await site.adapter.cancel(id)
        await site.ended(id)
        assert await site.adapter.find(spec.token) == (id,)

    async def test_a_token_that_no_job_has_is_found_nowhere(self, site: Site) -> None:
        await site.submit()

        assert await site.adapter.find(new_token()) == ()

    async def test_jobs_of_one_name_are_told_apart_by_their_tokens(self, site: Site) -> None:
        specs = [site.spec(name="the same") for _ in range(2)]
        ids = [await site.submit_spec(spec) for spec in specs]

        assert [await site.adapter.find(spec.token) for spec in specs] == [(id,) for id in ids]

    # ── what goes wrong ───────────────────────────────────────────────────────────────────────────────────────────

    async def test_a_refused_submit_quotes_the_scheduler_and_leaves_no_job(self, site: Site) -> None:
        members, words = site.refusal
        spec = site.spec(**members)

        with pytest.raises(SubmitRejected, match=words):
            await site.adapter.submit(spec)

        assert await site.adapter.find(spec.token) == ()

    async def test_a_submit_without_an_answer_has_an_unknown_outcome_and_its_job_is_found(self, site: Site) -> None:
        spec = site.spec()

        with site.unanswered() as adapter, pytest.raises(OutcomeUnknown):
            await adapter.submit(spec)

        assert len(await site.until_found(spec.token)) == 1

    async def test_what_a_host_cannot_be_asked_is_no_answer(self, site: Site) -> None:
        for trouble in (HostUnreachable("no route"), OutcomeUnknown("no answer")):
            adapter = on_broken_host(site.adapter, trouble)

            with pytest.raises(SchedulerUnavailable, match=str(trouble)):
                await adapter.status(frozenset(site.unused_ids(1)))
            with pytest.raises(SchedulerUnavailable, match=str(trouble)):
                await adapter.find(new_token())

    async def test_a_submit_to_a_host_that_is_out_of_reach_certainly_made_no_job(self, site: Site) -> None:
        adapter = on_broken_host(site.adapter, HostUnreachable("no route"))

        with pytest.raises((HostError, SchedulerUnavailable), match="no route"):
            await adapter.submit(site.spec())


class QueueContract(AdapterContract):
    """For a scheduler that lets jobs wait. The fixture ``down`` makes it impossible to reach for a while."""

    async def test_a_held_job_is_held_and_says_by_whom(self, site: Site) -> None:
        status = await site.status(await site.submit(**site.held))

        assert (status.state, status.reason) == (JobState.HELD, reasons.HELD_BY_OWNER)
        assert (status.nodes, status.started_at, status.cause) == ((), None, None)

    async def test_a_job_for_which_there_is_no_room_is_queued_and_says_why(self, site: Site) -> None:
        await site.until(await site.submit(**site.everything), JobState.RUNNING)
        id = await site.submit(**site.everything)

        async def ask() -> JobStatus:
            return await site.status(id)

        status = await until(ask, lambda status: status.reason)  # there is none before the scheduler has looked at it

        assert (status.state, status.reason) == (JobState.QUEUED, site.no_room)

    async def test_a_waiting_job_that_is_cancelled_never_runs(self, site: Site) -> None:
        id = await site.submit(f"echo >{site.home}/ran", **site.held)

        await site.adapter.cancel(id)

        status = await site.ended(id)
        assert (status.cause, status.nodes) == (site.deleted_while_waiting, ())
        assert not (site.home / "ran").exists()

    async def test_a_scheduler_that_is_down_is_no_answer(
        self, site: Site, down: Callable[[], AbstractContextManager[Adapter]]
    ) -> None:
        id = await site.submit()

        with down() as adapter:
            with pytest.raises(SchedulerUnavailable):
                await adapter.status(frozenset([id]))
            with pytest.raises(SchedulerUnavailable):
                await adapter.find(new_token())

        await site.until(id, JobState.RUNNING)

    async def test_variables_of_the_caller_change_nothing(self, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
        for name, value in {"LC_ALL": "de_DE.UTF-8", **site.caller}.items():
            monkeypatch.setenv(name, value)
        site.adapter = site.connect()
        spec = site.spec()

        id = await site.submit_spec(spec)
        status = await site.until(id, JobState.RUNNING)
        assert status.started_at is not None
        assert await site.adapter.find(spec.token) == (id,)
        await site.adapter.cancel(id)

        assert (await site.ended(id)).cause is EndCause.CANCELLED


def on_broken_host(adapter: Adapter, trouble: Exception) -> Adapter:
    """Return the adapter on a host on which every command fails so."""

    def answer(_: object) -> Any:
        raise trouble

    return type(adapter)(ScriptedHost(answer), adapter.options)
