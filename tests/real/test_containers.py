"""The contracts, held against a real Podman, and what only a real one can show."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from fxsched.errors import OutcomeUnknown, SubmitRejected
from fxsched.jobs import EndCause, JobId, JobSpec, JobState, Resources, Secret, Token, new_token

from ..contract.adapter import AdapterContract
from ..contract.launch import LaunchContract
from ..contract.place import open_place
from ..contract.site import until_text
from .podman import Podman, RealPodman, missing_programs

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from ..contract.place import Place

pytestmark = pytest.mark.anyio

MIB = 1024**2


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
def podman() -> Iterator[Podman]:
    if missing := missing_programs():
        pytest.fail(f"Podman is not installed (missing: {', '.join(missing)}): run tests/real/install.sh podman")
    with tempfile.TemporaryDirectory(prefix="podman-") as directory:
        podman = Podman(Path(directory))
        try:
            yield podman
        finally:
            podman.close()


@pytest.fixture
def engine(podman: Podman, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RealPodman:
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    for name, value in podman.variables.items():
        monkeypatch.setenv(name, value)
    return RealPodman(home, tmp_path, podman)


@pytest.fixture
async def site(engine: RealPodman) -> AsyncIterator[RealPodman]:
    yield engine
    await engine.end_jobs()


class TestRealPodman(AdapterContract):
    pass


class TestLaunchesInRealContainers(LaunchContract):
    @pytest.fixture
    async def place(self, tmp_path: Path, engine: RealPodman) -> AsyncIterator[Place]:
        options = "\n".join(f"options.{name} = {value!r}" for name, value in engine.options.items())
        async with open_place(
            engine, tmp_path / "fastx", f'adapter = "podman"\n{options}', **engine.podman.variables
        ) as place:
            yield place


async def test_the_job_is_the_user_in_the_user_s_home(site: RealPodman) -> None:
    id = await site.submit(f'id -u; id -g; id -G; echo "$HOME" >{site.home}/where')

    await site.ended(id)

    groups = " ".join(map(str, dict.fromkeys([os.getgid(), *os.getgroups()])))
    assert (site.home / "job.log").read_text() == f"{os.getuid()}\n{os.getgid()}\n{groups}\n"
    assert (site.home / "where").read_text() == f"{site.home}\n"


async def test_cores_and_memory_are_limited(site: RealPodman) -> None:
    id = await site.submit(resources=Resources(cores=2, memory=64 * MIB + 1))

    # Podman counts memory in bytes, and the processor in billionths.
    assert site.inspect(id, "{{.HostConfig.NanoCpus}} {{.HostConfig.Memory}}") == f"2000000000 {64 * MIB + 1}"


async def test_a_job_whose_walltime_is_over_ends_and_says_so(site: RealPodman) -> None:
    status = await site.ended(await site.submit("exec sleep 60", resources=Resources(walltime=1)))

    assert status.cause is EndCause.WALLTIME


async def test_a_job_that_ignores_the_end_of_its_walltime_ends_all_the_same(site: RealPodman) -> None:
    status = await site.ended(
        await site.submit("trap '' TERM; while :; do sleep 1; done", resources=Resources(walltime=1))
    )

    assert (status.cause, status.exit_code) == (EndCause.WALLTIME, 137)


@pytest.mark.parametrize("end", ["cancel", "kill"])
async def test_a_job_that_ignores_the_cancel_ends_all_the_same(site: RealPodman, end: str) -> None:
    id = await site.submit(f"trap '' TERM; echo >{site.home}/ready; while :; do sleep 1; done")
    await until_text(site.home / "ready")

    await getattr(site.adapter, end)(id)

    status = await site.ended(id)
    assert (status.cause, status.exit_code, status.signal) == (EndCause.CANCELLED, 137, 9)


async def test_a_paused_job_is_suspended_goes_on_and_can_be_cancelled(site: RealPodman) -> None:
    id = await site.submit()
    site.podman.run("pause", id)
    assert (await site.status(id)).state is JobState.SUSPENDED
    site.podman.run("unpause", id)
    assert (await site.status(id)).state is JobState.RUNNING
    site.podman.run("pause", id)

    await site.adapter.cancel(id)

    assert (await site.ended(id)).cause is EndCause.CANCELLED


async def test_a_second_container_for_a_token_is_refused_and_the_first_is_found(site: RealPodman) -> None:
    spec = site.spec()
    id = await site.submit_spec(spec)

    with pytest.raises(OutcomeUnknown, match="already"):
        await site.adapter.submit(spec)

    assert await site.adapter.find(spec.token) == (id,)
    assert (await site.status(id)).state is JobState.RUNNING


async def test_what_could_not_be_started_is_removed(site: RealPodman) -> None:
    spec = site.spec(native=("--device=nvidia.com/gpu=nosuch",))

    with pytest.raises(SubmitRejected, match=r"nvidia\.com/gpu=nosuch"):
        await site.adapter.submit(spec)

    assert await site.adapter.find(spec.token) == ()


def made_only(site: RealPodman) -> tuple[Token, JobId]:
    """Leave what a submit leaves that is given up between making a container and starting it."""
    token = new_token()
    words = (f"fxsched.token={token}", f"fxsched.job=x.{token}", f"fxsched.user={os.getuid()}")
    id = site.podman.run("create", f"--name=x.{token}", *(f"--label={word}" for word in words), *_RUN).strip()
    return token, JobId(id)


async def test_a_container_that_was_made_but_not_started_waits_and_is_removed_by_a_cancel(site: RealPodman) -> None:
    _, id = made_only(site)
    status = await site.status(id)
    assert (status.state, status.reason) == (JobState.QUEUED, "Its container is made, but not started.")

    await site.adapter.cancel(id)

    assert (await site.status(id)).state is JobState.GONE


async def test_a_container_that_nobody_will_start_is_removed_by_who_looks_for_it(site: RealPodman) -> None:
    token, id = made_only(site)

    assert await site.adapter.find(token) == ()

    assert (await site.status(id)).state is JobState.GONE


_RUN = ("localhost/this-machine:1", "/bin/true")


async def test_the_user_s_containers_are_listed_by_their_tokens(site: RealPodman) -> None:
    spec = site.spec()
    id = await site.submit_spec(spec)
    site.podman.run("create", *_RUN)

    found = await site.adapter.submissions()

    assert found[spec.token] == (id,)
    assert all(len(token) == 20 for token in found)


async def test_the_engine_shows_no_secret(site: RealPodman) -> None:
    spec = JobSpec(
        token=new_token(),
        command=("sleep", "60"),
        stdin=b"in-the-start-object",
        environment={"PLAIN": "in-the-environment"},
        secrets={"WEBLINK_PRIMARY": Secret("in-the-secret")},
    )

    job = await site.cluster().submit(spec)
    site.adopt(job.id)

    shown = site.shown_to_everybody(job.id)
    assert spec.token in shown
    assert not [word for word in ("start-object", "in-the-environment", "in-the-secret") if word in shown]
