"""A FastX node, the installed launcher, a real sshd, and behind it a real Slurm or a pool of hosts."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import anyio
import pytest

from fxsched.errors import CommandNotFound
from fxsched.hosts import LocalHost
from fxsched.hosts.opening import HostSettings, open_host
from fxsched.hosts.pool import Pool
from fxsched.jobs import JobId, new_token
from fxsched_fakes.fastx import SessionState
from fxsched_process.pool import PoolAdapter

from ..contract.launch import LaunchContract, QueueLaunchContract
from ..contract.place import FXSCHED, open_place
from ..contract.site import Site, until
from .site import RealSlurm
from .ssh_server import SshServer, missing_programs
from .test_become import Service

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from ..contract.place import Place
    from .slurm_cluster import SlurmCluster

TRANSPORTS = ("asyncssh", "openssh")


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
def servers() -> Iterator[list[SshServer]]:
    """Two machines with an sshd."""
    if missing := missing_programs():
        pytest.fail(f"OpenSSH is not complete (missing: {', '.join(missing)}): run tests/real/install.sh openssh")
    with (
        tempfile.TemporaryDirectory(prefix="sshd-") as directory,
        SshServer(Path(directory, "1")) as first,
        SshServer(Path(directory, "2")) as second,
    ):
        Path(directory).chmod(0o755)  # sshd reads the keys of a user as that user
        first.known_hosts.write_text(f"{first.known_hosts.read_text()}{second.known_hosts.read_text()}")
        yield [first, second]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    return home


def reached(servers: list[SshServer], transport: str, home: Path, **environment: str) -> str:
    """Let the first server's key into all servers, with that home; return what says so in a cluster's table."""
    first = servers[0]
    for server in servers:
        server.authorize({"HOME": str(home)} | environment)
        if server is not first:
            key = first.client_key.with_suffix(".pub").read_text()
            server.keys.write_text(server.keys.read_text().partition("ssh-ed25519")[0] + key)
    return f'transport = "{transport}"\nssh_config = "{first.config}"\n'


def address(server: SshServer) -> str:
    return f"ssh://127.0.0.1:{server.port}"


# ── Slurm behind a login node ─────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
async def slurm_site(
    slurm: SlurmCluster, home: Path, monkeypatch: pytest.MonkeyPatch, anyio_backend: object
) -> RealSlurm:
    monkeypatch.setenv("SLURM_CONF", str(slurm.conf))
    site = RealSlurm(home, slurm)
    await site.clear()
    return site


def slurm_table(servers: list[SshServer], transport: str, site: RealSlurm, hosts: list[str]) -> str:
    ways = reached(servers, transport, site.home, SLURM_CONF=str(site.slurm.conf), PATH=site.slurm.env["PATH"])
    return f'adapter = "slurm"\nhosts = {json.dumps(hosts)}\n{ways}'


@pytest.mark.parametrize("transport", TRANSPORTS)
class TestSlurmBehindALoginNode(QueueLaunchContract):
    @pytest.fixture
    async def place(
        self, servers: list[SshServer], slurm_site: RealSlurm, tmp_path: Path, transport: str
    ) -> AsyncIterator[Place]:
        table = slurm_table(servers, transport, slurm_site, [address(servers[0])])
        async with open_place(slurm_site, tmp_path / "fastx", table) as place:
            yield place

    async def test_a_launch_connects_once(self, place: Place, servers: list[SshServer], transport: str) -> None:
        before = servers[0].connections()

        launch = await place.launch()

        await place.node.started(launch.session)
        assert servers[0].connections() - before == 1

    async def test_a_connection_that_is_lost_during_the_submit_gives_one_session(
        self, place: Place, slurm: SlurmCluster, servers: list[SshServer]
    ) -> None:
        async def cut() -> None:
            await until(sbatches, bool)
            servers[0].kill_sessions()
            slurm.continue_controller()

        slurm.pause_controller()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(cut)
            launch = await place.launch()

        await place.node.started(launch.session)
        assert launch.exit_code == 0
        assert [session.state for session in place.node.sessions] == [SessionState.STARTED]
        [token] = place.tokens()
        names = slurm.run("squeue", "-h", "-t", "all", "-o", "%j").stdout.split()
        live = slurm.run("squeue", "-h", "-t", "pending,running", "-o", "%j").stdout.split()
        assert [name.endswith(token) for name in live].count(True) == 1
        assert [name.endswith(token) for name in names].count(True) == 1


async def sbatches() -> list[str]:
    """Return the sbatch commands that run."""
    return subprocess.run(["pgrep", "-x", "sbatch"], capture_output=True, text=True).stdout.split()


@pytest.mark.anyio
@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_login_node_that_hangs_delays_a_launch_by_a_moment(
    servers: list[SshServer], slurm_site: RealSlurm, tmp_path: Path, transport: str
) -> None:
    table = slurm_table(servers, transport, slurm_site, [address(servers[1]), address(servers[0])])
    async with open_place(slurm_site, tmp_path / "fastx", table + "connect_timeout = 50\n") as place:
        with servers[1].paused():
            begin = time.monotonic()
            launch = await place.launch()
            await place.node.started(launch.session)

    assert launch.exit_code == 0
    assert time.monotonic() - begin < 40


@pytest.mark.anyio
@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_an_unknown_host_key_gives_no_session_and_the_command_that_mends_it(
    servers: list[SshServer], slurm_site: RealSlurm, tmp_path: Path, transport: str
) -> None:
    table = slurm_table(servers, transport, slurm_site, [address(servers[0])])
    known = servers[0].known_hosts.read_text()
    servers[0].known_hosts.write_text("")
    try:
        async with open_place(slurm_site, tmp_path / "fastx", table) as place:
            launch = await place.launch()
    finally:
        servers[0].known_hosts.write_text(known)

    assert launch.exit_code == 1
    assert "is not a known host" in launch.stdout
    assert "If its administrators confirm" in launch.stdout
    assert "Try again later" not in launch.stdout
    assert (place.tokens(), launch.session.state) == ([], SessionState.REMOVED)


# ── a pool of hosts ───────────────────────────────────────────────────────────────────────────────────────────────


class SshPool(Site):
    """The hosts of the servers, looked at from where they are."""

    def __init__(self, home: Path, servers: list[SshServer]) -> None:
        self.names = [f"127.0.0.1:{server.port}" for server in servers]
        super().__init__(home)

    def connect(self, **options: Any) -> PoolAdapter:
        members = {name: LocalHost() for name in self.names}
        return PoolAdapter(Pool(members), PoolAdapter.Options(**({"grace": 1} | options)))

    def unused_ids(self, count: int) -> list[JobId]:
        return [JobId(f"{new_token()}@{self.names[0]}") for _ in range(count)]


@pytest.mark.parametrize("transport", TRANSPORTS)
class TestPool(LaunchContract):
    @pytest.fixture
    async def place(self, servers: list[SshServer], home: Path, tmp_path: Path, transport: str) -> AsyncIterator[Place]:
        site = SshPool(home, servers)
        hosts = json.dumps([address(server) for server in servers])
        table = f'adapter = "ssh"\nhosts = {hosts}\noptions.grace = 1\n{reached(servers, transport, home)}'
        async with open_place(site, tmp_path / "fastx", table) as place:
            yield place

    async def test_a_session_outlives_the_connection(self, place: Place, servers: list[SshServer]) -> None:
        launch = await place.launch()
        await place.node.started(launch.session)

        for server in servers:
            server.kill_sessions()
        await anyio.sleep(0.5)

        status = json.loads(await place.fxsched("status", "--json", await place.job()))
        assert status["state"] == "running"

    async def test_while_one_host_is_down_sessions_start_on_the_other(
        self, place: Place, servers: list[SshServer]
    ) -> None:
        servers[0].kill()
        try:
            launch = await place.launch()
            await place.node.started(launch.session)
            job = await place.job()
            [lost] = place.site.unused_ids(1)
            done = await anyio.run_process(
                [FXSCHED, "status", "--json", "--cluster", "main", job, lost],
                env=os.environ | {"FXSCHED_CONFIG": str(place.node.installation.config / "fxsched.toml")},
                check=False,
            )
        finally:
            servers[0].start()

        assert launch.exit_code == 0
        assert job.endswith(f"@127.0.0.1:{servers[1].port}")
        assert done.returncode == 75
        said = {answer["id"]: answer for answer in map(json.loads, done.stdout.splitlines())}
        assert (said[job]["state"], "unavailable" in said[job]) == ("running", False)
        assert said[lost]["state"] is None
        assert f"127.0.0.1:{servers[0].port} could not be asked" in said[lost]["unavailable"]


# ── as somebody else, behind a login node ─────────────────────────────────────────────────────────────────────────


@pytest.mark.anyio
@pytest.mark.skipif(os.getuid() != 0, reason="only root can make users and let one become another")
@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_sudo_behind_ssh_leads_to_the_user_and_home(
    servers: list[SshServer], home: Path, transport: Literal["asyncssh", "openssh"]
) -> None:
    reached(servers, transport, home)
    with tempfile.TemporaryDirectory(prefix="become-") as directory:
        Path(directory).chmod(0o755)
        with Service(Path(directory), secrets.token_hex(3)) as service:
            settings = HostSettings(
                hosts=(f"ssh://{service.logins['fastx']}@127.0.0.1:{servers[0].port}",),
                transport=transport,
                ssh_config=str(servers[0].config),
                become="sudo",
                account=service.logins["ada"],
            )
            servers[0].authorize()
            service.unlock("fastx")
            async with open_host(settings) as host:
                result = await host.run(
                    ["/bin/sh", "-c", 'id -un; echo "$HOME $KEY"; cat; exit 7'],
                    stdin=b"in\n",
                    environment={"KEY": "hunter2"},
                    deadline=20,
                )
                with pytest.raises(CommandNotFound, match=f"as {service.logins['ada']}"):
                    await host.run(["no-such-program"], deadline=20)
            await anyio.sleep(0.1)  # the connection is closed in passing, and a user who has one cannot be removed

            assert (result.exit_code, result.stderr) == (7, b"")
            assert result.text == f"{service.logins['ada']}\n{service.home('ada')} hunter2\nin\n"
