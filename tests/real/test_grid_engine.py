"""A real Grid Engine: the contracts of an adapter and of a launch, and what only a real one can show."""

from __future__ import annotations

import os
import subprocess
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import anyio
import pytest

from fxsched.errors import OutcomeUnknown, SchedulerUnavailable, SubmitRejected
from fxsched.hosts import LocalHost
from fxsched.jobs import EndCause, JobId, JobSpec, JobState, Resources, new_token
from fxsched_fakes.fastx import SessionState
from fxsched_sge.adapter import GridEngineAdapter

from ..contract.adapter import QueueContract
from ..contract.launch import QueueLaunchContract
from ..contract.place import open_place
from ..contract.sge_words import GridEngineSite
from ..contract.site import until, until_dead, until_text
from .grid_engine_cluster import GridEngine, missing_programs

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from contextlib import AbstractContextManager

    from fxsched.adapter import Adapter
    from fxsched_fakes.fastx import LaunchResult

    from ..contract.place import Place

pytestmark = pytest.mark.anyio

OPTIONS = {"parallel_environment": "smp", "memory_resource": "h_vmem"}


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@contextmanager
def grid_engine(**settings: Any) -> Iterator[GridEngine]:
    """Run a Grid Engine for the length of the block: one host with four slots and two gpus."""
    if missing := missing_programs():
        names = ", ".join(missing)
        pytest.fail(f"Grid Engine is not installed (missing: {names}): run tests/real/install.sh grid-engine")
    # Not pytest's own temporary directory: only its user may enter that, and jobs are other users' too.
    with tempfile.TemporaryDirectory(prefix="sge-") as directory, GridEngine(Path(directory), **settings) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def sge() -> Iterator[GridEngine]:
    """Grid Engine as it comes: what is deleted is killed at once."""
    with grid_engine() as cluster:
        yield cluster


@pytest.fixture(scope="module")
def polite() -> Iterator[GridEngine]:
    """Grid Engine that ends jobs with TERM."""
    with grid_engine(terminate="SIGTERM") as cluster:
        yield cluster


class RealGridEngine(GridEngineSite):
    """The cluster of the module; the environment must lead to it."""

    everything: ClassVar[dict[str, Any]] = {"resources": Resources(cores=4)}

    def __init__(self, home: Path, sge: GridEngine) -> None:
        self.sge = sge
        super().__init__(home)

    def connect(self, **options: Any) -> GridEngineAdapter:
        return GridEngineAdapter(LocalHost(GridEngineAdapter.keeps), GridEngineAdapter.Options(**(OPTIONS | options)))

    def unused_ids(self, count: int) -> list[JobId]:
        return [JobId(str(number)) for number in range(900_000, 900_000 + count)]

    def shown_to_everybody(self, id: JobId) -> str:
        return self.sge.run("qstat", "-j", id).stdout + self.sge.run("qstat", "-xml", "-j", id).stdout

    @contextmanager
    def down(self) -> Iterator[Adapter]:
        """The qmaster hangs, and with it every command, for longer than we wait."""
        with self.sge.hung():
            yield self.connect(deadline=1.0)

    def state(self, id: JobId) -> str:
        """Return the letters that qstat shows for a job; nothing for one that it does not show."""
        rows = [line.split() for line in self.sge.run("qstat", "-s", "az").stdout.splitlines()[2:]]
        return next((row[4] for row in rows if row[0] == id), "")


@pytest.fixture
def enter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[GridEngine], RealGridEngine]:
    """Return a way into a cluster: a home, and an environment that leads there."""

    def enter(sge: GridEngine) -> RealGridEngine:
        home = tmp_path / "home"
        home.mkdir()
        for name, value in (sge.env | {"HOME": str(home)}).items():
            monkeypatch.setenv(name, value)
        return RealGridEngine(home, sge)

    return enter


@pytest.fixture
async def site(sge: GridEngine, enter: Callable[[GridEngine], RealGridEngine]) -> AsyncIterator[RealGridEngine]:
    site = enter(sge)
    yield site
    await site.end_jobs()


class TestAdapter(QueueContract):
    @pytest.fixture
    def down(self, site: RealGridEngine) -> Callable[[], AbstractContextManager[Adapter]]:
        return site.down


class TestLaunches(QueueLaunchContract):
    """With TERM: Grid Engine kills what left a job's process group as well, but nothing of root's, who may run this."""

    @pytest.fixture
    async def place(
        self, polite: GridEngine, enter: Callable[[GridEngine], RealGridEngine], tmp_path: Path
    ) -> AsyncIterator[Place]:
        table = 'adapter = "sge"\n' + "\n".join(f'options.{name} = "{value}"' for name, value in OPTIONS.items())
        async with open_place(enter(polite), tmp_path / "fastx", table, **polite.env) as place:
            yield place

    async def test_a_qmaster_that_hangs_during_the_submit_gives_one_session(
        self, place: Place, polite: GridEngine
    ) -> None:
        launches: list[LaunchResult] = []

        async def start() -> None:
            launches.append(await place.launch())

        async with anyio.create_task_group() as tasks:
            with polite.hung():
                tasks.start_soon(start)
                await anyio.sleep(4)

        [launch] = launches

        await place.node.started(launch.session)
        assert launch.exit_code == 0
        assert [session.state for session in place.node.sessions] == [SessionState.STARTED]
        assert len(place.jobs()) == 1


# ── what goes wrong ───────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_qsub_that_is_killed_while_the_qmaster_hangs_has_an_unknown_outcome(site: RealGridEngine) -> None:
    spec = site.spec()

    with site.sge.hung(), pytest.raises(OutcomeUnknown):
        await site.connect(submit_deadline=1.0).submit(spec)

    site.adopt(*await site.adapter.find(spec.token))


async def test_while_the_qmaster_is_dead_nothing_is_submitted_and_nothing_is_said_to_have_ended(
    enter: Callable[[GridEngine], RealGridEngine],
) -> None:
    with grid_engine() as sge:
        site = enter(sge)
        id = await site.submit()
        await site.until(id, JobState.RUNNING)

        with sge.dead():
            with pytest.raises(SchedulerUnavailable, match="unable to send message to qmaster"):
                await site.adapter.submit(site.spec())
            with pytest.raises(SchedulerUnavailable, match="could not be asked"):
                await site.adapter.status(frozenset([id]))
            with pytest.raises(SchedulerUnavailable, match="Nothing was cancelled"):
                await site.adapter.cancel(id)

        assert (await site.status(id)).state is JobState.RUNNING


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ({"working_directory": "/nonexistent"}, "can't chdir to /nonexistent"),
        ({"output": "/nonexistent/log"}, "can't open output file"),
    ],
)
async def test_a_job_that_cannot_start_has_failed_with_the_reason_and_is_not_left_behind(
    site: RealGridEngine, members: dict[str, Any], words: str
) -> None:
    id = await site.submit(**members)

    status = await site.ended(id)

    assert status.cause is EndCause.FAILED
    assert words in status.reason
    assert site.state(id) in ("", "z")
    assert (await site.ended(id)).cause is EndCause.FAILED  # and the accounts say no other


@pytest.mark.parametrize("code", [99, 100])
async def test_an_exit_code_that_means_something_to_grid_engine_is_an_exit_code(
    site: RealGridEngine, code: int
) -> None:
    cluster = site.cluster()
    job = await cluster.submit(JobSpec(token=new_token(), command=("sh", "-c", f"exit {code}")))

    async def ask() -> Any:
        return (await cluster.status([job.id], max_age=0))[job.id]

    status = await until(ask, lambda status: status.state is JobState.ENDED)

    assert (status.cause, status.exit_code) == (EndCause.FAILED, code)
    assert site.state(job.id) in ("", "z")


async def test_a_job_over_its_time_ended_by_it(site: RealGridEngine) -> None:
    id = await site.submit(resources=Resources(walltime=2))

    assert (await site.ended(id)).cause is EndCause.WALLTIME


async def test_a_job_that_was_cancelled_while_it_waited_is_known_to_the_cluster(site: RealGridEngine) -> None:
    cluster = site.cluster()
    job = await cluster.submit(JobSpec(token=new_token(), command=("true",), native=("-h",)))

    done = await cluster.cancel(job.id)

    assert (done.status.state, done.status.cause) == (JobState.ENDED, EndCause.CANCELLED)


@pytest.mark.skipif(os.getuid() != 0, reason="only a cluster of root marks the processes of a job")
async def test_what_left_a_job_s_process_group_is_killed_with_it_unless_it_is_root_s(sge: GridEngine) -> None:
    nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    place = sge.directory / "nobody"
    place.mkdir()
    place.chmod(0o777)
    qsub = [*nobody, "qsub", "-terse", "-S", "/bin/sh", "-wd", "/", "-o", ":/dev/null", "-j", "y"]
    script = f"setsid sleep 61 & echo $! >{place}/pid; wait\n"
    id = subprocess.run(qsub, input=script, env=sge.env, capture_output=True, text=True, check=True).stdout.strip()
    pid = int(await until_text(place / "pid"))

    subprocess.run([*nobody, "qdel", id], env=sge.env, capture_output=True, check=True)

    await until_dead(pid)


async def test_a_job_that_is_ended_with_term_was_cancelled(
    polite: GridEngine, enter: Callable[[GridEngine], RealGridEngine]
) -> None:
    site = enter(polite)
    plain = await site.submit()
    cluster = site.cluster()
    job = await cluster.submit(JobSpec(token=new_token(), command=("sleep", "60")))
    await site.until(plain, JobState.RUNNING)
    await until(lambda: cluster.report(job.token), lambda report: report.started)  # it is ready for the signal then

    await site.adapter.cancel(plain)
    done = await cluster.cancel(job.id)

    assert (await site.ended(plain)).cause is EndCause.CANCELLED
    assert (done.status.cause, done.status.exit_code) == (EndCause.CANCELLED, 143)


# ── states ────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_holds_tell_who_holds(site: RealGridEngine) -> None:
    first = await site.submit(native=("-h",))
    second = await site.submit(native=("-hold_jid", first))
    by_admin = await site.submit(native=("-h",))
    site.sge.run("qhold", "-h", "o", by_admin)
    site.sge.run("qrls", "-h", "u", by_admin)

    statuses = await site.adapter.status(frozenset([first, second, by_admin]))

    assert {statuses[id].state for id in (first, second, by_admin)} == {JobState.HELD}
    assert [statuses[id].reason for id in (first, second, by_admin)] == [
        "Held by its owner until it is released.",
        "Waiting for another job to end.",
        "Held by an administrator.",
    ]


async def test_a_suspended_job_is_suspended_and_goes_on(site: RealGridEngine) -> None:
    id = await site.submit()
    await site.until(id, JobState.RUNNING)

    site.sge.run("qmod", "-sj", id)
    await site.until(id, JobState.SUSPENDED)
    site.sge.run("qmod", "-usj", id)

    await site.until(id, JobState.RUNNING)


async def test_a_list_that_is_made_shorter_by_the_site_hides_no_job(site: RealGridEngine) -> None:
    id = await site.submit()
    await site.until(id, JobState.RUNNING)
    defaults = site.sge.root / "default" / "common" / "sge_qstat"
    defaults.write_text("-q off.q\n")
    try:
        status = await site.status(id)
    finally:
        defaults.unlink()

    assert status.state is JobState.RUNNING


# ── what is asked for ─────────────────────────────────────────────────────────────────────────────────────────────


async def test_slots_memory_time_and_gpus_are_what_was_asked_for(site: RealGridEngine) -> None:
    needs = Resources(cores=3, memory=3 * 1024**3 - 1, gpus=1, walltime=61)

    id = await site.submit(f"echo $NSLOTS $PE >{site.home}/got; ulimit -v >>{site.home}/got", resources=needs)

    await site.ended(id)
    assert (site.home / "got").read_text() == f"3 smp\n{3 * 1024**2}\n"
    account = site.sge.run("qacct", "-j", id).stdout
    assert "-l gpu=1,h_rt=61,h_vmem=1024M" in account
    assert "-pe smp 3" in account


async def test_a_host_for_one_job_alone_is_for_one_job_alone(site: RealGridEngine) -> None:
    await site.until(await site.submit(exclusive=True), JobState.RUNNING)

    second = await site.submit()

    async def ask() -> Any:
        return await site.status(second)

    assert (await until(ask, lambda status: status.reason)).state is JobState.QUEUED


@pytest.mark.parametrize("member", ["queue", "account", "reservation"])
async def test_a_value_that_looks_like_an_option_is_none(site: RealGridEngine, member: str) -> None:
    with pytest.raises(SubmitRejected):
        await site.adapter.submit(site.spec(**{member: "-h"}))


async def test_options_in_the_script_count_for_nothing(site: RealGridEngine) -> None:
    id = await site.submit(f"#$ -h\n#$ -q nosuch.q\necho done >{site.home}/done")

    await site.ended(id)

    assert (site.home / "done").read_text() == "done\n"
