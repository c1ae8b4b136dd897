"""The contracts, held against the simulated Grid Engine: the adapter's, and that of a launch from end to end."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from fxsched.jobs import EndCause, JobSpec, JobState, new_token
from fxsched_fakes.fastx import SessionState

from ..contract.adapter import QueueContract
from ..contract.launch import QueueLaunchContract
from ..contract.place import open_place
from .sge_site import FakeGridEngine

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from contextlib import AbstractContextManager
    from pathlib import Path

    from fxsched.adapter import Adapter

    from ..contract.place import Place


@pytest.mark.usefixtures("either_way")
class TestFakeGridEngine(QueueContract):
    @pytest.fixture
    async def site(self, home: Path, anyio_backend: object) -> AsyncIterator[FakeGridEngine]:
        site = FakeGridEngine(home)
        yield site
        await site.end_jobs()

    @pytest.fixture
    def down(self, site: FakeGridEngine) -> Callable[[], AbstractContextManager[Adapter]]:
        return site.down

    async def test_that_a_job_was_cancelled_before_it_ran_is_known_to_the_cluster(self, site: FakeGridEngine) -> None:
        cluster = site.cluster()
        job = await cluster.submit(JobSpec(token=new_token(), command=("true",), native=("-h",)))

        done = await cluster.cancel(job.id)

        assert (done.status.state, done.status.cause) == (JobState.ENDED, EndCause.CANCELLED)


class TestLaunches(QueueLaunchContract):
    @pytest.fixture
    def sge(self, home: Path) -> FakeGridEngine:
        return FakeGridEngine(home)

    @pytest.fixture
    async def place(self, tmp_path: Path, sge: FakeGridEngine) -> AsyncIterator[Place]:
        async with open_place(sge, tmp_path / "fastx", sge.table()) as place:
            yield place

    async def test_a_submit_that_was_not_confirmed_gives_one_session(self, place: Place, sge: FakeGridEngine) -> None:
        with sge.faults({"command": "qsub", "fault": "accept-then-time-out"}):
            launch = await place.launch()

        await place.node.started(launch.session)
        assert (launch.exit_code, launch.says_started) == (0, True)
        assert [session.state for session in place.node.sessions] == [SessionState.STARTED]
        assert sge.submissions() == 1

    async def test_a_qmaster_that_is_down_is_one_clear_error_and_no_session(
        self, place: Place, sge: FakeGridEngine
    ) -> None:
        with sge.down():
            launch = await place.launch()

        assert launch.exit_code == 1
        assert "unable to send message to qmaster" in launch.stdout
        assert launch.session.state is SessionState.REMOVED
        assert (sge.submissions(), place.tokens()) == (0, [])
