"""Settings become an open cluster, or one clear error."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, NoReturn

import anyio
import pytest

from fxsched.cluster import opening
from fxsched.cluster.cluster import Cluster, Job
from fxsched.cluster.opening import open_cluster
from fxsched.errors import ConfigurationError, HostUnreachable, SchedulerUnavailable
from fxsched.hosts.opening import HostSettings
from fxsched.hosts.scripted import Command, ScriptedHost
from fxsched.records.ledger import KEEP_ENDED, Ledger
from fxsched.session import here

from .common import SHORT, Gated, a_spec, age, end_one, private, sessions
from .memory_adapter import MemoryAdapter

pytestmark = pytest.mark.anyio


async def test_a_cluster_is_opened_by_its_adapter_s_name(tmp_path: Path, home: Path) -> None:
    async with open_cluster("here", state=tmp_path, options={"grace": 2}) as opened:
        assert (opened.name, type(opened.adapter).__name__, opened.adapter.options.grace) == (
            "here",
            "ProcessAdapter",
            2,
        )


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({"adapter": "slrum"}, "there is no adapter 'slrum'; did you mean 'slurm'?"),
        ({"options": {"grase": 2}}, "clusters.here.options.grase is not a setting; did you mean 'grace'?"),
        ({"options": {"grace": "2"}}, "clusters.here.options.grace: expected `int`, got `str`"),
        ({"host": "login1"}, "clusters.here: 'login1' is no SSH host: write ssh://[user@]host[:port]"),
        ({"host": HostSettings(hosts=("ssh://a", "ssh://a:22", "ssh://b@a"))}, "clusters.here: hosts are login nodes"),
        ({"host": HostSettings(hosts=("ssh://a", "ssh://a"))}, "clusters.here: hosts names a twice"),
        ({"host": HostSettings(hosts=())}, "clusters.here: hosts is empty"),
        ({"host": HostSettings(account="ada")}, "clusters.here: as ada on this machine: that needs become"),
        ({"host": HostSettings(channels=0)}, "clusters.here: channels is 0, but must be at least 1"),
        ({"host": HostSettings(connect_timeout=0)}, "clusters.here: connect_timeout is 0, but must be more than 0"),
    ],
)
async def test_a_cluster_that_cannot_be_opened_is_a_wrong_configuration(
    tmp_path: Path, arguments: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        async with open_cluster("here", state=tmp_path, **arguments):
            pass
    assert str(caught.value).startswith(complaint)


async def test_a_host_that_cannot_be_connected_ahead_is_told_of_by_the_first_command(ledger: Ledger) -> None:
    class Away(ScriptedHost):
        async def connect(self) -> None:
            raise HostUnreachable("no way")

    def no_way(_: Command) -> NoReturn:
        raise HostUnreachable("no way")

    cluster = Cluster("hpc", MemoryAdapter(Away(no_way)), ledger)
    await cluster.connect()
    with pytest.raises(HostUnreachable, match="no way"):
        await cluster.submit(a_spec())


# ── while it is open, and at its end ──────────────────────────────────────────────────────────────────────────────


Opening = Callable[[], AbstractAsyncContextManager[Cluster]]


@pytest.fixture
def opened(tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> Opening:
    """Open a cluster whose scheduler is in memory."""
    monkeypatch.setattr(opening, "load_adapter", lambda _: MemoryAdapter)
    return lambda: open_cluster("hpc", state=tmp_path / "state", adapter="memory", timing=SHORT)


@pytest.fixture
def discard(monkeypatch: pytest.MonkeyPatch) -> Iterator[Gated]:
    """A home that hangs when private files are removed from it for the first time."""
    gated = Gated(here.discard)
    monkeypatch.setattr(here, "discard", gated)
    yield gated
    gated.gate.set()


async def gone(home: Path, job: Job) -> None:
    with anyio.fail_after(20):
        while private(home, job.token):
            await anyio.sleep(0.005)


async def test_while_a_cluster_is_open_every_session_is_tidied_up_after_by_itself(opened: Opening, home: Path) -> None:
    async with opened() as cluster:
        for _ in range(3):
            job = await end_one(cluster)
            assert private(home, job.token)  # the answer came first
            await gone(home, job)


@pytest.mark.parametrize("at", ["its files", "old ones"])
async def test_a_session_that_ends_while_another_is_tidied_up_after_is_not_forgotten(
    opened: Opening, home: Path, monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    place, name = (here, "discard") if at == "its files" else (Ledger, "old")
    first = Gated(getattr(place, name))
    monkeypatch.setattr(place, name, lambda *arguments: first(*arguments) or [])
    async with opened() as cluster:
        await end_one(cluster)
        await first.is_hanging()
        job = await end_one(cluster)
        first.gate.set()
        await gone(home, job)


@pytest.mark.parametrize("kind", [None, ValueError, SchedulerUnavailable, KeyboardInterrupt, SystemExit])
async def test_at_the_block_s_end_what_is_due_is_done_and_an_exception_comes_out_as_itself(
    opened: Opening, home: Path, discard: Gated, kind: type[BaseException] | None
) -> None:
    error = kind("of the block") if kind else None
    caught: BaseException | None = None
    try:
        async with opened() as cluster:
            job = await end_one(cluster)
            await discard.is_hanging()  # what goes on beside the block is dropped, and done once more
            if error:
                raise error
    except BaseException as raised:
        caught = raised
    assert caught is error
    assert not private(home, job.token)


async def test_at_the_end_of_a_block_that_is_cancelled_what_is_due_is_done(
    opened: Opening, home: Path, discard: Gated
) -> None:
    with anyio.CancelScope() as scope:
        async with opened() as cluster:
            job = await end_one(cluster)
            await discard.is_hanging()
            scope.cancel()
            await anyio.sleep_forever()
    assert scope.cancelled_caught
    assert not private(home, job.token)


@pytest.mark.parametrize("hangs", ["home", "state directory"])
async def test_what_hangs_holds_up_the_block_s_end_for_a_moment_only_and_stays_due(
    opened: Opening, home: Path, monkeypatch: pytest.MonkeyPatch, hangs: str
) -> None:
    place, name = (here, "discard") if hangs == "home" else (Ledger, "old")
    beside, after = (Gated(getattr(place, name)) for _ in range(2))
    waiting = [after, beside]
    with monkeypatch.context() as patch:
        patch.setattr(opening, "PATIENCE", 0.1)
        async with opened() as cluster:
            old = await end_one(cluster)
            await gone(home, old)
            age(cluster.ledger, old.token, KEEP_ENDED + 60)
            patch.setattr(place, name, lambda *arguments: waiting.pop()(*arguments) or [])
            job = await end_one(cluster)
            await beside.is_hanging()
    assert (after.begun.is_set(), beside.over, after.over) == (True, False, False)

    beside.gate.set()
    after.gate.set()
    await cluster.tidying.tidy()
    assert not private(home, job.token)
    assert sessions(home) == [job.token]


async def test_a_ledger_that_cannot_be_read_any_more_is_no_trouble_at_the_block_s_end(
    opened: Opening, home: Path, tmp_path: Path
) -> None:
    async with opened() as cluster:
        job = await end_one(cluster)
        (tmp_path / "state").chmod(0o777)
    assert not private(home, job.token)
