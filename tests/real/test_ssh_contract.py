"""The contracts of Slurm and of plain hosts once more, with a real sshd between us and them, over both transports."""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from fxsched.errors import FxschedError, SubmitUnsettled
from fxsched.hosts.openssh import OpenSshHost
from fxsched.hosts.ssh import SshHost
from fxsched.hosts.target import SshTarget
from fxsched.jobs import JobId, JobSpec, Token, new_token
from fxsched_process.adapter import ProcessAdapter
from fxsched_slurm.adapter import SlurmAdapter

from ..adapters.process_site import ThisMachine
from ..contract.adapter import AdapterContract, QueueContract
from .site import RealSlurm
from .ssh_server import ME, SshServer, missing_programs

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from contextlib import AbstractContextManager

    from fxsched.adapter import Adapter

    from .slurm_cluster import SlurmCluster

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
def server() -> Iterator[SshServer]:
    if missing := missing_programs():
        pytest.fail(f"not installed: {', '.join(missing)}; run tests/real/install.sh openssh")
    with tempfile.TemporaryDirectory(prefix="sshd-") as directory, SshServer(Path(directory)) as server:
        yield server


@pytest.fixture(params=[SshHost, OpenSshHost], ids=["asyncssh", "openssh"])
async def host(
    request: pytest.FixtureRequest, server: SshServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[SshHost]:
    """A host on which HOME is the test's directory, as on this side."""
    monkeypatch.setenv("HOME", str(tmp_path))
    variables = {"HOME": str(tmp_path), "PATH": os.environ["PATH"]}
    if "slurm" in request.fixturenames:
        conf = request.getfixturevalue("slurm").conf
        monkeypatch.setenv("SLURM_CONF", str(conf))
        variables["SLURM_CONF"] = str(conf)
    server.authorize(variables)
    target = SshTarget(ME, "127.0.0.1", server.port)
    async with request.param(target, keep=SlurmAdapter.keeps, config_file=str(server.config)) as host:
        yield host


class DistantMachine(ThisMachine):
    """Jobs as processes of a host behind SSH."""

    def __init__(self, home: Path, host: SshHost) -> None:
        self.host = host
        super().__init__(home)

    def connect(self, *, grace: int = 1) -> ProcessAdapter:
        return ProcessAdapter(self.host, ProcessAdapter.Options(grace=grace))


class DistantSlurm(RealSlurm):
    """A cluster whose commands run on a login node behind SSH."""

    def __init__(self, home: Path, slurm: SlurmCluster, host: SshHost) -> None:
        self.host = host
        super().__init__(home, slurm)

    def connect(self, **options: Any) -> SlurmAdapter:
        return SlurmAdapter(self.host, SlurmAdapter.Options(**options))


class TestProcessesOverSsh(AdapterContract):
    @pytest.fixture
    async def site(self, host: SshHost, tmp_path: Path) -> AsyncIterator[DistantMachine]:
        site = DistantMachine(tmp_path, host)
        yield site
        await site.end_jobs()


class TestSlurmOverSsh(QueueContract):
    @pytest.fixture
    async def site(self, slurm: SlurmCluster, host: SshHost, tmp_path: Path) -> AsyncIterator[DistantSlurm]:
        site = DistantSlurm(tmp_path, slurm, host)
        await site.clear()
        yield site
        await site.end_jobs()

    @pytest.fixture
    def down(self, site: DistantSlurm) -> Callable[[], AbstractContextManager[Adapter]]:
        return site.down


async def test_a_connection_that_is_cut_at_any_moment_of_a_submit_never_makes_two_jobs(
    server: SshServer, host: SshHost, tmp_path: Path
) -> None:
    site = DistantMachine(tmp_path, host)
    cluster = site.cluster()
    await host.connect()
    outcomes: list[tuple[list[JobId], list[JobId]]] = []
    unsettled = 0
    for milliseconds in range(0, 100, 8):
        spec = JobSpec(token=new_token(), command=("sleep", "60"))
        before = time.monotonic()
        async with anyio.create_task_group() as tasks:

            async def cut(moment: float = milliseconds / 1000) -> None:
                await anyio.sleep(moment)
                server.kill_sessions()

            tasks.start_soon(cut)
            try:
                made = [(await cluster.submit(spec)).id]
            except FxschedError as error:
                made = []
                unsettled += isinstance(error, SubmitUnsettled)
        assert time.monotonic() - before < 30
        found = list(await site.adapter.find(spec.token))
        site.adopt(*found)
        outcomes.append((made, found))
    await site.end_jobs()
    assert [made for made, _ in outcomes] == [found for _, found in outcomes]
    assert any(made for made, _ in outcomes)
    assert not unsettled


async def test_two_hundred_submits_at_once_are_two_hundred_jobs_over_one_connection(
    slurm: SlurmCluster, server: SshServer, host: SshHost, tmp_path: Path
) -> None:
    site = DistantSlurm(tmp_path, slurm, host)
    await site.clear()
    cluster = site.cluster()
    await host.connect()
    before = server.connections()
    jobs: dict[Token, JobId] = {}

    async def submit() -> None:
        job = await cluster.submit(JobSpec(token=new_token(), command=("true",), native=("--hold",)))
        jobs[job.token] = job.id

    async with anyio.create_task_group() as tasks:
        for _ in range(200):
            tasks.start_soon(submit)

    found = await site.adapter.submissions()
    assert {token: found.get(token) for token in jobs} == {token: (id,) for token, id in jobs.items()}
    assert len(jobs) == 200
    assert len(slurm.run("squeue", "--noheader").stdout.splitlines()) == 200
    assert server.connections() == before
    await site.clear()
