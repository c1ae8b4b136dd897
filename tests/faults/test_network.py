"""The network as one more thing that breaks: cut before, during and after each command of a launch, for a while or for
good. There is one job, or one clear error and none; and what could not be settled then is settled later."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Any, Literal

import pytest
from msgspec.structs import replace

from fxsched.cluster.cluster import Cluster
from fxsched.cluster.reconcile import reconcile
from fxsched.cluster.timing import Timing
from fxsched.errors import FxschedError, HostUnreachable, OutcomeUnknown, SubmitUnsettled
from fxsched.hosts.failover import FailoverHost
from fxsched.hosts.pool import Pool
from fxsched.jobs import JobSpec, JobState, new_token
from fxsched.records.ledger import Ledger
from fxsched_fakes import State
from fxsched_process.pool import PoolAdapter

from .. import programs
from ..adapters.pool_site import ThesePools
from ..adapters.slurm_site import FakeSlurm
from ..contract.faults import assert_clear

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

    from fxsched.hosts import CommandResult, Host

pytestmark = pytest.mark.anyio

Moment = Literal["before", "during", "after"]
FOR_GOOD = 10**6
MOMENTS = ("before", "during", "after")
COMMANDS = (0, 1, 2, 3)
"""Which command is the first to be cut: one stages the session, one submits, the others look for the job."""


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    return home


class CutHost:
    """A far host whose network is cut at one command, and stays down for some more.

    before: nothing of the command is sent. during: it begins, and is ended in the middle, or where it has none, before
    it has done anything. after: it does all of its work, and the answer is lost. While the network is down, nothing is
    sent.
    """

    home = None

    def __init__(self, host: Host, moment: Moment, command: int, *, outage: int = 0, label: str = "login1") -> None:
        self.label = label
        self._host = host
        self._moment = moment
        self._cut_at = command
        self._up_at = command + outage
        self.commands: list[str] = []

    async def connect(self) -> None:
        if self._cut_at < len(self.commands) <= self._up_at:
            raise HostUnreachable(f"no route to {self.label}")

    async def run(self, argv: Sequence[str], *, deadline: float, **settings: Any) -> CommandResult:
        number = len(self.commands)
        self.commands.append(argv[0].rpartition("/")[2])
        if self._cut_at < number <= self._up_at or (number == self._cut_at and self._moment == "before"):
            raise HostUnreachable(f"no route to {self.label}")
        if number != self._cut_at:
            return await self._host.run(argv, deadline=deadline, **settings)
        if self._moment == "after":
            await self._host.run(argv, deadline=deadline, **settings)
        elif half := half_of(argv):
            assert (await self._host.run(half, deadline=deadline, **settings)).exit_code == 128 + signal.SIGKILL
        raise OutcomeUnknown(f"the connection to {self.label} was lost: {argv[0]} may have run")


HALVES = {'mkdir "$d" || exit\n': "", '"$d cannot be made" >&2\n        exit 1\n    fi\n': "submit"}
"""With what the first half of a program of sh ends, and its verb, if it has several."""


def half_of(argv: Sequence[str]) -> Sequence[str] | None:
    """Return a command that does one half of what this one does, and kills itself there; None where it has no middle.

    The halves: a session's directory, or a job's own, has been made, and nothing is in it.
    """
    if argv[0] == "/bin/sh":
        shell, option, program, *words = argv
        for first, verb in HALVES.items():
            if first in program and verb in (words[1], ""):
                return (shell, option, program.replace(first, f"{first}kill -s KILL 0\n"), *words)
    return None


PATIENT = Timing(launch=20.0, settle_pause=0.05, cancel=15.0, poll_interval=0.0, gone_after=0.0)


def timing(outage: int) -> Timing:
    """Return how patient a cluster is: not for long, where nothing will answer."""
    return replace(PATIENT, launch=0.5) if outage == FOR_GOOD else PATIENT


async def submit(cluster: Cluster) -> FxschedError | None:
    """Submit a job; return the error, if that is what came of it."""
    try:
        await cluster.submit(JobSpec(token=new_token(), name="my session", command=("sleep", "60")))
    except FxschedError as error:
        return error
    return None


# ── Slurm behind a network ────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
async def slurm(home: Path) -> AsyncIterator[FakeSlurm]:
    site = FakeSlurm(home)
    site.drain()
    yield site
    await site.end_jobs()


def on(site: FakeSlurm, host: Host, outage: int = 0) -> Cluster:
    adapter = type(site.adapter)(host, site.adapter.options)
    return Cluster("main", adapter, Ledger(site.home / "state"), timing=timing(outage))


def living(site: FakeSlurm, cluster: Cluster) -> tuple[int, int]:
    """Return how many jobs live, and how many of them the ledger knows."""
    with site.simulation as simulation:
        names = [job.name for job in simulation.jobs.values() if job.state is not State.ENDED]
    known = {entry.token for entry in cluster.ledger.live("main") if entry.job}
    return len(names), sum(name.rpartition(".")[2] in known for name in names)


@pytest.mark.parametrize("outage", [0, 2, FOR_GOOD])
@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("moment", MOMENTS)
async def test_a_cut_makes_one_job_or_none_and_the_error_says_which(
    slurm: FakeSlurm, moment: Moment, command: int, outage: int
) -> None:
    host = CutHost(slurm.adapter.host, moment, command, outage=outage)
    cluster = on(slurm, host, outage)

    error = await submit(cluster)

    if error is None:
        assert living(slurm, cluster) == (1, 1)
        return
    assert_clear(error)
    if not isinstance(error, SubmitUnsettled):
        assert (slurm.submissions(), cluster.ledger.live("main")) == (0, [])
        return
    # The network is back, and the next launch, or an operator, settles it.
    again = on(slurm, slurm.adapter.host)
    await reconcile(again, fix=True)
    jobs, known = living(slurm, again)
    assert jobs == known <= 1
    assert slurm.submissions() <= 1
    assert len(again.ledger.live("main")) == jobs


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("moment", MOMENTS)
async def test_with_a_second_login_node_there_is_one_job_though_the_first_dies_for_good(
    slurm: FakeSlurm, moment: Moment, command: int
) -> None:
    first = CutHost(slurm.adapter.host, moment, command, outage=FOR_GOOD)
    second = CutHost(slurm.adapter.host, moment, FOR_GOOD, label="login2")
    cluster = on(slurm, FailoverHost([first, second], head_start=0.05))

    error = await submit(cluster)

    if error is not None:
        assert (command, moment in ("during", "after")) == (0, True)  # the session's directory may be half there
        assert (slurm.submissions(), cluster.ledger.live("main")) == (0, [])
        return
    assert living(slurm, cluster) == (1, 1)
    assert slurm.submissions() == 1


async def test_a_submit_that_was_cut_is_never_sent_by_the_other_node_unless_there_is_certainly_no_job(
    slurm: FakeSlurm,
) -> None:
    first = CutHost(slurm.adapter.host, "after", 1, outage=FOR_GOOD)
    second = CutHost(slurm.adapter.host, "after", FOR_GOOD, label="login2")

    assert await submit(on(slurm, FailoverHost([first, second], head_start=0.05))) is None

    assert first.commands.count("sbatch") == 1
    assert "sbatch" not in second.commands


# ── a pool behind a network ───────────────────────────────────────────────────────────────────────────────────────


SUBMIT = 2
"""Which command submits, behind the question how busy the host is and the staging."""


@pytest.mark.parametrize("outage", [0, FOR_GOOD])
@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("moment", MOMENTS)
async def test_a_session_of_a_pool_is_on_one_host_or_on_none(
    home: Path, moment: Moment, command: int, outage: int
) -> None:
    site = ThesePools(home, shared=False)
    hosts = {
        name: CutHost(machine, moment, command, outage=outage, label=name) for name, machine in site.machines.items()
    }
    adapter = PoolAdapter(Pool(hosts), site.adapter.options)
    cluster = Cluster("main", adapter, Ledger(home / "state"), timing=timing(outage))

    try:
        error = await submit(cluster)

        again = Cluster("main", site.adapter, Ledger(home / "state"), timing=PATIENT)
        if isinstance(error, SubmitUnsettled):
            await reconcile(again, fix=True)
        jobs = await site.adapter.submissions()
        statuses = await site.adapter.status(frozenset(id for ids in jobs.values() for id in ids))
        alive = [id for id, status in statuses.items() if status.state is not JobState.ENDED]
        assert [entry.job for entry in again.ledger.live("main")] == alive
        assert len(alive) <= 1
        assert error is None or isinstance(error, SubmitUnsettled) or alive == []
        # What was looked for after its submit had been ended in the middle has begun, or never will.
        assert not [id for id in alive if statuses[id].native_state == "starting"]
    finally:
        programs.end_all(home.parent)
