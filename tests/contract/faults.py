"""What a cluster promises whatever its scheduler's commands do: each fault of a simulated one, in each verb."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from fxsched.cluster.cluster import Cluster
from fxsched.cluster.timing import Timing
from fxsched.errors import CancelUnverified, FxschedError, SchedulerUnavailable, SubmitUnsettled
from fxsched.jobs import JobSpec, JobState, new_token
from fxsched.records.ledger import Ledger
from fxsched_fakes.faults import KINDS

if TYPE_CHECKING:
    from ..adapters.fake_site import FakeSite

PATIENCE = 15.0
HANGING = ("hang", "accept-then-hang")
ADVICE = re.compile(r"again|fxsched reconcile|fxsched cancel|administrator|see to", re.IGNORECASE)


class FaultContract:
    """Subclass it and give it a fixture ``site``. Its nodes are drained: where jobs can wait, they do, and cost
    nothing."""

    pytestmark = pytest.mark.anyio

    @pytest.fixture(autouse=True)
    def drained(self, site: FakeSite) -> None:
        site.drain()

    @pytest.mark.parametrize("kind", sorted(KINDS))
    async def test_a_submit_that_goes_wrong_makes_one_job_or_none_and_says_which(
        self, site: FakeSite, kind: str
    ) -> None:
        cluster = open_cluster(site, patience(kind))
        token = new_token()
        error = None

        with site.faults(fault(site.commands[0], kind)):
            try:
                await cluster.submit(JobSpec(token=token, name="my session", command=("sleep", "60")))
            except FxschedError as raised:
                error = raised

        if error is None:
            assert kind == "lose" or site.alive(token) == 1
        else:
            assert_clear(error)
            assert site.alive(token) == 0 or isinstance(error, SubmitUnsettled)
        known = [entry.token for entry in cluster.ledger.live(cluster.name)]
        assert known == ([token] if error is None or isinstance(error, SubmitUnsettled) else [])

    @pytest.mark.parametrize("kind", sorted(KINDS - {"lose"}))
    async def test_a_status_never_reports_a_live_job_as_ended(self, site: FakeSite, kind: str) -> None:
        job = await open_cluster(site).submit(JobSpec(token=new_token(), command=("sleep", "60")))
        cluster = open_cluster(site, patience(kind))

        for command in site.commands[1:]:
            with site.faults(fault(command, kind)):
                for _ in range(2):
                    try:
                        status = (await cluster.status([job.id], max_age=0))[job.id]
                    except SchedulerUnavailable as error:
                        assert_clear(error)
                    else:
                        assert status.state in site.drained

        assert [entry.job for entry in cluster.ledger.live(cluster.name)] == [job.id]

    @pytest.mark.parametrize("kind", sorted(KINDS - {"lose", "forget"}))
    async def test_a_cancel_is_true_or_says_what_is_left_to_do(self, site: FakeSite, kind: str) -> None:
        patient, cluster = open_cluster(site), open_cluster(site, patience(kind), cancel=1.0)

        for command in site.commands[1:]:
            job = await patient.submit(JobSpec(token=new_token(), command=("sleep", "60")))
            try:
                with site.faults(fault(command, kind)):
                    done = await cluster.cancel(job.id)
            except (SchedulerUnavailable, CancelUnverified) as error:
                assert_clear(error)
                done = await patient.cancel(job.id)

            assert done.status.state in (JobState.ENDED, JobState.GONE)
            assert site.alive(job.token) == 0


def fault(command: str, kind: str) -> dict[str, object]:
    return {"command": command, "fault": kind, "delay": 0.05 if kind == "slow" else 0.0}


def patience(kind: str) -> float:
    """Return how long a command may take: for one that hangs, not longer than needed."""
    return 0.4 if kind in HANGING else PATIENCE


def open_cluster(site: FakeSite, patience: float = PATIENCE, **timing: float) -> Cluster:
    """Return the cluster, with so much patience for each command."""
    usual = {"launch": PATIENCE, "settle_pause": 0.0, "cancel": PATIENCE, "poll_interval": 0.0, "gone_after": 0.0}
    return Cluster("main", site.patient(patience), Ledger(site.home / "state"), timing=Timing(**(usual | timing)))


def assert_clear(error: Exception) -> None:
    """The text names the cluster and says what to do."""
    assert "cluster 'main'" in str(error), error
    assert ADVICE.search(str(error)), error
