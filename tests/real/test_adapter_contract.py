"""The contract, held against a real Slurm, and what only a real one can show."""

from __future__ import annotations

import resource
from typing import TYPE_CHECKING, Any

import pytest

from fxsched.errors import OutcomeUnknown, SchedulerUnavailable, SubmitRejected
from fxsched.jobs import EndCause, JobId, JobState, Resources
from fxsched_slurm.reasons import NOT_LAUNCHED

from ..contract.adapter import QueueContract
from ..contract.site import until_text
from .site import RealSlurm
from .slurm_cluster import SlurmCluster

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from contextlib import AbstractContextManager
    from pathlib import Path

    from fxsched.adapter import Adapter

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def site(slurm: SlurmCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[RealSlurm]:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("SLURM_CONF", str(slurm.conf))
    site = RealSlurm(tmp_path, slurm)
    await site.clear()
    yield site
    await site.end_jobs()


class TestRealSlurm(QueueContract):
    @pytest.fixture
    def down(self, site: RealSlurm) -> Callable[[], AbstractContextManager[Adapter]]:
        return site.down


async def test_an_sbatch_that_is_killed_while_the_controller_hangs_has_made_a_job_all_the_same(
    site: RealSlurm,
) -> None:
    spec = site.spec()

    with site.hung(), pytest.raises(OutcomeUnknown):
        await site.connect(submit_deadline=1.0).submit(spec)

    assert len(await site.until_found(spec.token)) == 1


async def test_while_the_controller_is_dead_nothing_is_submitted_and_nothing_is_said_to_have_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A cluster of its own: what a killed controller had not saved comes back when it starts again.
    with SlurmCluster(tmp_path / "slurm", nodes=1) as slurm:
        monkeypatch.setenv("SLURM_CONF", str(slurm.conf))
        site = RealSlurm(tmp_path, slurm)
        id = await site.submit()
        await site.until(id, JobState.RUNNING)
        slurm.kill_controller()

        with pytest.raises(SchedulerUnavailable, match="Unable to contact slurm controller"):
            await site.adapter.submit(site.spec())
        with pytest.raises(SchedulerUnavailable):
            await site.connect(deadline=1.0).status(frozenset([id]))  # squeue itself gives up after 18 s


async def test_memory_cores_and_gpus_are_what_was_asked_for(site: RealSlurm) -> None:
    variables = "$SLURM_JOB_PARTITION $SLURM_CPUS_ON_NODE $SLURM_MEM_PER_NODE $SLURM_GPUS_ON_NODE $SLURM_JOB_NUM_NODES"
    needs = Resources(nodes=2, cores=3, memory=1025 * 1024**2 - 1, gpus=1, walltime=61)

    id = await site.submit(f"echo {variables} >{site.home}/got", resources=needs, queue="gpu")

    assert await until_text(site.home / "got") == "gpu 3 1025 1 2\n"
    assert site.slurm.run("squeue", "-h", "-t", "all", "-j", id, "-o", "%l").stdout == "2:00\n"


@pytest.mark.parametrize("exclusive", [False, True])
async def test_a_node_is_shared_unless_it_was_asked_for_alone(site: RealSlurm, exclusive: bool) -> None:
    id = await site.submit(f"echo $SLURM_CPUS_ON_NODE >{site.home}/cores", exclusive=exclusive)

    await site.ended(id)

    assert (site.home / "cores").read_text() == ("16\n" if exclusive else "1\n")


async def test_a_job_that_was_requeued_is_alive_and_its_new_time_of_submission_tells_nothing(site: RealSlurm) -> None:
    id = await site.submit(requeue=True)
    assert (await site.until(id, JobState.RUNNING)).submitted_at is not None

    assert site.slurm.run("scontrol", "requeue", id).returncode == 0

    status = await site.until(id, JobState.QUEUED)
    assert (status.cause, status.nodes, status.submitted_at) == (None, (), None)


async def test_a_session_does_not_run_again_unless_that_was_asked_for(site: RealSlurm) -> None:
    """Slurm requeues a job whose node fails if its Requeue is 1, which is the default."""
    ids = [await site.submit(requeue=requeue) for requeue in (False, True)]

    shown = [site.slurm.run("scontrol", "show", "job", id).stdout for id in ids]

    assert ["Requeue=1" in text for text in shown] == [False, True]


@pytest.mark.parametrize(
    ("text", "members", "expected"),
    [
        ("exit 3", {}, (3, None, "")),
        ("kill -9 $$", {}, (None, 9, "")),
        ("true", {"native": ("--output=/nosuch/x",)}, (None, None, NOT_LAUNCHED)),
    ],
    ids=["exit code", "signal", "not launched"],
)
async def test_what_a_signal_ended_is_told_from_what_was_never_launched(
    site: RealSlurm, text: str, members: dict[str, Any], expected: tuple[int | None, int | None, str]
) -> None:
    status = await site.ended(await site.submit(text, **members))

    assert status.cause is EndCause.FAILED
    assert (status.exit_code, status.signal, status.reason) == expected


async def test_a_job_that_was_renamed_keeps_its_time_of_submission(site: RealSlurm) -> None:
    spec = site.spec()
    id = await site.submit_spec(spec)
    before = await site.until(id, JobState.RUNNING)

    site.slurm.run("scontrol", "update", f"jobid={id}", "jobname=thesis")

    after = await site.status(id)
    assert (after.name, after.state) == ("thesis", JobState.RUNNING)
    assert after.submitted_at == before.submitted_at is not None


@pytest.mark.parametrize("words", [("--array=1-2",), (":", "--ntasks=1")], ids=["array", "parts"])
async def test_a_job_of_several_rows_goes_by_its_own_id(site: RealSlurm, words: tuple[str, ...]) -> None:
    """However it came to be: no option of ours makes one."""
    spec = site.spec()
    options = ("--parsable", "--output=/dev/null", f"--job-name={spec.job_name}", "--wrap=sleep 60")
    id = JobId(site.slurm.run("sbatch", *options, *words).stdout.strip())
    site.adopt(id)

    await site.until(id, JobState.RUNNING)
    assert await site.adapter.find(spec.token) == (id,)
    await site.adapter.cancel(id)
    assert (await site.ended(id)).cause is EndCause.CANCELLED


async def test_a_session_has_no_limits_of_the_process_that_submitted_it(site: RealSlurm) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (300, hard))
    try:
        await site.submit(f"ulimit -n >{site.home}/limit")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

    assert await until_text(site.home / "limit") != "300\n"


@pytest.mark.parametrize("sentence", ["You must give an account with -A", ""])
async def test_a_submit_plugin_of_the_site_refuses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sentence: str
) -> None:
    tell = f'slurm.log_user("{sentence}")' if sentence else ""
    directory = tmp_path / "slurm"
    directory.mkdir()
    (directory / "job_submit.lua").write_text(f"""\
function slurm_job_submit(job, parts, uid) {tell} return slurm.ERROR end
function slurm_job_modify(job, old, parts, uid) return slurm.SUCCESS end
""")
    with SlurmCluster(directory, nodes=1, extra=["JobSubmitPlugins=lua"]) as slurm:
        monkeypatch.setenv("SLURM_CONF", str(slurm.conf))
        site = RealSlurm(tmp_path, slurm)

        with pytest.raises(SubmitRejected, match=sentence or "gave no reason"):
            await site.adapter.submit(site.spec())


async def test_a_suspended_job_is_suspended_and_goes_on(site: RealSlurm) -> None:
    id = await site.submit()
    await site.until(id, JobState.RUNNING)

    site.slurm.run("scontrol", "suspend", id)
    await site.until(id, JobState.SUSPENDED)
    site.slurm.run("scontrol", "resume", id)

    await site.until(id, JobState.RUNNING)


async def test_a_job_that_ignores_the_cancel_ends_all_the_same(site: RealSlurm) -> None:
    id = await site.submit(f"trap '' TERM; echo >{site.home}/ready; while :; do sleep 1; done")
    await until_text(site.home / "ready")

    await site.adapter.cancel(id)

    assert (await site.ended(id)).cause is EndCause.CANCELLED
