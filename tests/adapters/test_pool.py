"""Jobs as processes of several hosts: the contract, and what a pool adds to it."""

from __future__ import annotations

import os
from collections import Counter
from typing import TYPE_CHECKING

import anyio
import pytest

from fxsched.cluster.cluster import Cluster
from fxsched.cluster.reconcile import Kind, reconcile
from fxsched.cluster.timing import Timing
from fxsched.errors import (
    HostUnreachable,
    InvalidRequest,
    OutcomeUnknown,
    PartlyUnavailable,
    SchedulerUnavailable,
)
from fxsched.hosts import CommandResult
from fxsched.hosts.scripted import Command, ScriptedHost
from fxsched.jobs import EndCause, JobId, JobSpec, JobState, new_token
from fxsched.records.ledger import Ledger
from fxsched_process import pool
from fxsched_process.replies import Burden, parse_burden

from ..contract.adapter import AdapterContract
from ..contract.site import until_text
from .pool_site import NAMES, ThesePools

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(params=["a home for each", "one home"])
async def site(home: Path, request: pytest.FixtureRequest, anyio_backend: object) -> AsyncIterator[ThesePools]:
    site = ThesePools(home, shared=request.param == "one home")
    yield site
    await site.end_jobs()


def host_of(id: JobId) -> str:
    return id.partition("@")[2]


def spec(text: str = "exec sleep 60") -> JobSpec:
    return JobSpec(token=new_token(), command=("sh", "-c", text))


class TestPool(AdapterContract):
    """The contract, on two hosts."""


# ── where a new session goes ──────────────────────────────────────────────────────────────────────────────────────


def answering(**hosts: str | Exception) -> dict[str, ScriptedHost]:
    """Return hosts that say how much there is to do there."""

    def host(said: str | Exception) -> ScriptedHost:
        def answer(command: Command) -> CommandResult:
            if isinstance(said, Exception):
                raise said
            if "burden" in command.argv:
                return CommandResult(0, f"burden {said}\n".encode(), b"")
            return CommandResult(0, b"", b"")

        return ScriptedHost(answer)

    return {name: host(said) for name, said in hosts.items()}


@pytest.mark.parametrize(
    ("choice", "chosen"), [("sessions", {"few"}), ("load", {"idle"}), ("rotation", {"long_ago"}), (None, {"few"})]
)
async def test_a_new_session_goes_where_the_choice_says(site: ThesePools, choice: str | None, chosen: set[str]) -> None:
    hosts = answering(few="1 8.0 4 900", idle="3 1.0 4 800", long_ago="2 2.5 4 700", busy="7 30.0 16 950")
    adapter = site.made_of(hosts, **({"choice": choice} if choice else {}))

    assert {host_of(await adapter.submit(site.spec())) for _ in range(5)} == chosen


async def test_hosts_that_are_alike_get_sessions_in_turn_by_chance(site: ThesePools) -> None:
    adapter = site.made_of(answering(a="0 0.0 4 0", b="0 0.0 4 0"))

    assert len({host_of(await adapter.submit(site.spec())) for _ in range(40)}) == 2


async def test_a_host_that_is_down_gets_no_session(site: ThesePools) -> None:
    adapter = site.made_of(answering(down=HostUnreachable("no route"), up="9 9.0 1 9"))

    assert host_of(await adapter.submit(site.spec())) == "up"


async def test_a_host_that_hangs_delays_a_launch_by_the_patience_only(site: ThesePools) -> None:
    class Hanging(ScriptedHost):
        async def run(self, *arguments: object, **settings: object) -> CommandResult:
            await anyio.sleep_forever()
            raise AssertionError

    hosts = answering(up="9 9.0 1 9") | {"hangs": Hanging(lambda command: CommandResult(0, b"", b""))}
    adapter = site.made_of(hosts, patience=0.05)

    with anyio.fail_after(5):
        assert host_of(await adapter.submit(site.spec())) == "up"


async def test_where_no_host_answers_nothing_is_submitted(site: ThesePools) -> None:
    hosts = answering(a=HostUnreachable("no route to a"), b=OutcomeUnknown("b hangs"))

    with pytest.raises(SchedulerUnavailable, match=r"no host of the pool answers: .*no route to a; .*b hangs"):
        await site.made_of(hosts).submit(site.spec())


async def test_the_burden_of_a_host_counts_its_sessions(site: ThesePools) -> None:
    ids = [await site.submit() for _ in range(4)]

    used = Counter(host_of(id) for id in ids)

    # This machine is both hosts: each sees all sessions of the machine, and so the choice is by chance here.
    adapter = site.connect(choice="rotation")
    for name in NAMES:
        burden = await adapter._machines[name].burden()
        assert burden.sessions >= 4
        assert burden.cores >= 1
        assert (burden.latest > 0) or not used[name]


async def test_the_latest_job_of_a_host_is_the_one_that_began_last_whichever_ended_last(site: ThesePools) -> None:
    jobs = site.home / ".local" / "state" / "fxsched" / "processes"
    here = os.uname().nodename
    for name, host, began, changed in [("a", here, 100, 9), ("b", here, 300, 7), ("c", "elsewhere", 500, 8)]:
        (jobs / name).mkdir(parents=True)
        (jobs / name / "process").write_text(f"1 1 {host} boot {began}\n")
        os.utime(jobs / name, (changed, changed))

    burden = await site.connect()._machines[NAMES[0]].burden()

    assert burden.latest == 300


@pytest.mark.parametrize("text", ["", "burden", "burden 1 2 3", "burden x 1.0 4 0", "welcome to node1"])
def test_what_is_no_burden_is_no_answer(text: str) -> None:
    with pytest.raises(SchedulerUnavailable, match="node1 did not say"):
        parse_burden(text, "node1")


def test_a_burden_is_found_between_other_lines() -> None:
    assert parse_burden("hello\nburden 1 0.25 0 17\nbye\n", "x") == Burden(1, 0.25, 1, 17)


# ── which host a job is on ────────────────────────────────────────────────────────────────────────────────────────


async def test_a_session_lies_on_the_host_of_its_job(site: ThesePools) -> None:
    cluster = Cluster("main", site.adapter, Ledger(site.home / "state"))
    job = await cluster.submit(spec("echo said; exit 3"))
    site.adopt(job.id)
    await site.ended(job.id)

    other = Cluster("main", site.connect(), Ledger(site.home / "state"))
    status = (await other.status([job.id], max_age=0))[job.id]

    assert (status.cause, status.exit_code) == (EndCause.FAILED, 3)
    assert (await other.adapter.host_of(job.token, job.id)).label == host_of(job.id)
    assert (await other.report(job.token)).output == b"said\n"


async def test_where_a_home_cannot_be_seen_a_session_may_be(site: ThesePools) -> None:
    sessions = site.home / ".local" / "state" / "fxsched" / "sessions"
    sessions.parent.mkdir(parents=True)
    sessions.symlink_to("nowhere")

    with pytest.raises(HostUnreachable, match="could not be found out"):
        await site.connect().host_of(new_token())


async def test_a_host_whose_home_cannot_be_seen_gets_no_session(site: ThesePools) -> None:
    site.machines[NAMES[1]].reachable = False
    (site.home / ".local").symlink_to("nowhere")

    with pytest.raises(SchedulerUnavailable, match="no host of the pool answers"):
        await site.adapter.submit(site.spec())

    (site.home / ".local").unlink()


async def test_an_operator_elsewhere_finds_and_ends_a_job_by_its_id_alone(site: ThesePools) -> None:
    id = await site.submit()
    for machine in site.machines.values():
        machine.commands.clear()

    await site.connect().cancel(id)

    assert (await site.ended(id)).cause is EndCause.CANCELLED
    other = next(name for name in NAMES if name != host_of(id))
    assert site.machines[other].commands == []


async def test_a_job_is_killed_on_its_host_without_a_warning(site: ThesePools) -> None:
    id = await site.submit("trap 'echo bye' TERM; echo ready; while :; do sleep 0.1; done")
    await until_text(site.home / "job.log")

    await site.connect().kill(id)

    assert (await site.ended(id)).cause is EndCause.CANCELLED
    assert "bye" not in (site.home / "job.log").read_text()


async def test_a_submit_that_is_repeated_goes_to_the_same_host(site: ThesePools) -> None:
    for _ in range(4):
        each = site.spec()
        first = await site.submit_spec(each)
        assert await site.adapter.submit(each) == first
        assert await site.connect().find(each.token) == (first,)


async def test_a_session_whose_host_is_remembered_no_more_is_found_by_asking_all(
    site: ThesePools, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "_REMEMBERED", 2)
    specs = [site.spec() for _ in range(5)]
    ids = [await site.submit_spec(each) for each in specs]

    assert list(site.adapter._sent) == [each.token for each in specs[-2:]]
    assert [await site.adapter.find(each.token) for each in specs] == [(id,) for id in ids]


async def test_an_id_of_another_kind_is_no_job_of_a_pool(site: ThesePools) -> None:
    with pytest.raises(InvalidRequest, match="'4217' is no job of a pool"):
        await site.adapter.status(frozenset([JobId("4217")]))


async def test_a_job_on_a_host_that_has_left_the_pool_cannot_be_asked_about(site: ThesePools) -> None:
    id = JobId(f"{new_token()}@node9")

    with pytest.raises(SchedulerUnavailable, match="not among the cluster's hosts: node9"):
        await site.adapter.status(frozenset([id]))


# ── a host that is down ───────────────────────────────────────────────────────────────────────────────────────────


async def one_on_each(cluster: Cluster, site: ThesePools) -> dict[str, JobId]:
    found: dict[str, JobId] = {}
    while len(found) < 2:
        job = await cluster.submit(spec())
        site.adopt(job.id)
        found[host_of(job.id)] = job.id
    return found


async def test_a_host_that_is_down_makes_only_its_own_jobs_unknown(site: ThesePools) -> None:
    cluster = Cluster("main", site.adapter, Ledger(site.home / "state"), timing=Timing(poll_interval=5.0))
    jobs = await one_on_each(cluster, site)
    site.machines[NAMES[1]].reachable = False
    try:
        with pytest.raises(PartlyUnavailable, match="no route to node2") as caught:
            await cluster.status(jobs.values(), max_age=0)
        assert {id: status.state for id, status in caught.value.answers.items()} == {jobs[NAMES[0]]: JobState.RUNNING}
        assert (await cluster.status([jobs[NAMES[0]]]))[jobs[NAMES[0]]].state is JobState.RUNNING
        with pytest.raises(SchedulerUnavailable, match=r"no route to node2.*left alone"):
            await cluster.status([jobs[NAMES[1]]])
        assert len(cluster.ledger.live("main")) >= 2
    finally:
        site.machines[NAMES[1]].reachable = True
    assert (await cluster.status(jobs.values(), max_age=0)).keys() == set(jobs.values())


async def test_that_a_session_is_nowhere_is_not_said_while_a_host_is_down(home: Path) -> None:
    site = ThesePools(home, shared=False)
    site.machines[NAMES[1]].reachable = False

    with pytest.raises(SchedulerUnavailable, match="no route"):
        await site.adapter.find(new_token())
    with pytest.raises(HostUnreachable, match="no route"):
        await site.adapter.host_of(new_token())
    with pytest.raises(SchedulerUnavailable, match="no route"):
        await site.adapter.submissions()


async def test_a_submit_without_an_answer_is_looked_up_where_it_was_sent_though_another_host_is_down(
    home: Path,
) -> None:
    site = ThesePools(home, shared=False)
    each = site.spec()
    chosen = host_of(await site.submit_spec(each))
    site.machines[next(name for name in NAMES if name != chosen)].reachable = False

    found = await site.adapter.find(each.token)
    for machine in site.machines.values():
        machine.reachable = True
    await site.end_jobs()

    assert [host_of(id) for id in found] == [chosen]


async def test_a_launch_that_was_killed_is_settled_wherever_its_job_is(site: ThesePools) -> None:
    ledger = Ledger(site.home / "state")
    cluster = Cluster("main", site.adapter, ledger, timing=Timing(settle_pause=0.0))
    job = await cluster.submit(spec())
    site.adopt(job.id)
    [entry] = ledger.live("main")
    ledger.forget(job.token)
    ledger.create([type(entry)(token=entry.token, cluster="main", name="x", submitted_at=entry.submitted_at)])

    other = Cluster("main", site.connect(), ledger, timing=Timing(settle_pause=0.0))
    findings = await reconcile(other, fix=True)

    assert [(found.kind, found.job) for found in findings] == [(Kind.UNRECORDED, job.id)]
