"""What a cluster promises whatever its scheduler's commands do: each fault of a simulated one, in each verb, has its
outcome.

The tables say what follows from the promises alone: a command that may have worked is followed up, one that certainly
did not is no reason to ask again, and a failed question is no answer. Where a scheduler's own words or habits make it
otherwise, its test class has the exception, and the reason for it.
"""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Final, NamedTuple

import pytest

from fxsched.cluster.cluster import Cluster
from fxsched.cluster.reconcile import reconcile
from fxsched.cluster.timing import Timing
from fxsched.errors import CancelUnverified, FxschedError, SchedulerUnavailable, SubmitRejected, SubmitUnsettled
from fxsched.jobs import JobSpec, JobState, Token, new_token
from fxsched.records.ledger import Ledger
from fxsched_fakes import faults

from .site import until

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterator, Mapping
    from pathlib import Path

    from ..adapters.fake_site import FakeSite

PATIENCE: Final = 15.0
COMMAND: Final = ("sh", "-c", "trap '' TERM; echo it has begun; exec sleep 60")
"""Where it runs at all, it takes a KILL to end it: so it is never just about to tell of its end."""
ADVICE: Final = re.compile(r"again|fxsched reconcile|fxsched cancel|administrator|see to", re.IGNORECASE)


class Submitted(NamedTuple):
    """What came of a submit."""

    error: type[FxschedError] | None
    alive: int
    """Jobs of the session that wait or run."""
    entries: int
    """Live entries in the ledger."""
    attempts: int
    """Submits that met the fault."""


class Asked(NamedTuple):
    """What came of a question about a job that waits."""

    error: type[FxschedError] | None


class Cancelled(NamedTuple):
    """What came of a cancel."""

    error: type[FxschedError] | None
    state: JobState | None
    """Of the job, where the cancel returned."""
    alive: int


Outcome = Submitted | Asked | Cancelled

ONE_JOB: Final = Submitted(None, alive=1, entries=1, attempts=1)
LOST: Final = Submitted(None, alive=0, entries=1, attempts=1)
REFUSED: Final = Submitted(SubmitRejected, alive=0, entries=0, attempts=1)
NOT_REACHED: Final = Submitted(SchedulerUnavailable, alive=0, entries=0, attempts=1)
NONE_MADE: Final = Submitted(SchedulerUnavailable, alive=0, entries=0, attempts=3)
UNSETTLED: Final = Submitted(SubmitUnsettled, alive=1, entries=1, attempts=1)

TRUE: Final = Asked(None)
NO_ANSWER: Final = Asked(SchedulerUnavailable)

ENDED: Final = Cancelled(None, JobState.ENDED, alive=0)
NOT_CANCELLED: Final = Cancelled(SchedulerUnavailable, None, alive=1)
UNVERIFIED: Final = Cancelled(CancelUnverified, None, alive=1)
UNSEEN: Final = Cancelled(CancelUnverified, None, alive=0)

ON_STDOUT: Final = "banner on stdout"
SILENCE: Final = "silence"
FAULTS: Final[Mapping[str, Mapping[str, object]]] = {
    ON_STDOUT: {"fault": "banner", "stream": "stdout"},
    SILENCE: {"fault": "garbage", "text": "\n"},
    **{kind: {"fault": kind, "delay": 0.0} for kind in faults.KINDS},
}

SUBMIT: Final[Mapping[str, Outcome]] = {
    "fail": NONE_MADE,  # an error inside the server may come after it has taken the job
    "hang": NONE_MADE,
    "garbage": NONE_MADE,
    SILENCE: NONE_MADE,
    "accept-then-hang": ONE_JOB,
    "accept-then-time-out": ONE_JOB,
    "half-line": ONE_JOB,
    "down": NOT_REACHED,
    "munge": NOT_REACHED,
    "banner": ONE_JOB,
    ON_STDOUT: ONE_JOB,
    "slow": ONE_JOB,
    "forget": ONE_JOB,
    "lose": LOST,
}
ASK: Final[Mapping[str, Outcome]] = {
    "fail": NO_ANSWER,
    "hang": NO_ANSWER,
    "garbage": NO_ANSWER,
    SILENCE: NO_ANSWER,
    "accept-then-hang": NO_ANSWER,
    "accept-then-time-out": NO_ANSWER,
    "half-line": NO_ANSWER,
    "down": NO_ANSWER,
    "munge": NO_ANSWER,
    "banner": TRUE,
    ON_STDOUT: TRUE,
    "slow": TRUE,
    "forget": TRUE,
    # "lose" takes the job itself: what is said of it then is true
}
SILENT: Final = tuple(kind for kind, answer in ASK.items() if answer == NO_ANSWER)
CANCEL: Final[Mapping[str, Outcome]] = {
    "fail": UNVERIFIED,  # as of a submit: it may have worked, so the end is watched for
    "hang": UNVERIFIED,
    "garbage": UNVERIFIED,
    SILENCE: UNVERIFIED,
    "accept-then-hang": ENDED,
    "accept-then-time-out": ENDED,
    "half-line": ENDED,
    "down": NOT_CANCELLED,
    "munge": NOT_CANCELLED,
    "banner": ENDED,
    ON_STDOUT: ENDED,
    "slow": ENDED,
    "forget": ENDED,
    "lose": ENDED,
}
CANCEL_ASKS: Final[Mapping[str, Outcome]] = {
    kind: ENDED if answer == TRUE else NOT_CANCELLED for kind, answer in ASK.items()
}
"""What comes of a cancel when a command that asks for the status has the fault."""


class Case(NamedTuple):
    """A command, what is wrong with it, and what comes of it."""

    command: str
    kind: str
    outcome: Outcome

    @property
    def plan(self) -> dict[str, object]:
        return {"command": self.command, **FAULTS[self.kind]}


class FaultContract:
    """Subclass it and give it a ``kind``. Its nodes are drained: jobs wait, and cost nothing."""

    pytestmark = pytest.mark.anyio

    kind: ClassVar[type[FakeSite]]
    settings: ClassVar[Mapping[str, Any]] = {}
    """Of the simulated scheduler."""
    exceptions: ClassVar[Mapping[tuple[str, str], Mapping[str, Outcome | None]]] = {}
    """Verb and command → kind of fault → the outcome that this scheduler dictates; None where it is no fault here."""
    unseen: ClassVar[Outcome] = UNSEEN
    """What comes of a cancel after which nobody can be asked."""
    in_processes: ClassVar[bool] = False
    """Whether each command is a process of its own, as in reality, and one that hangs takes its whole deadline."""

    @pytest.fixture
    def site(self, home: Path) -> Iterator[FakeSite]:
        site = self.kind(home, **self.settings)
        if not self.in_processes:
            site.spare_processes()
        site.drain()
        with site.simulation as simulation:
            simulation.next_id = 4217  # an id that can be cut in half
        yield site
        with site.simulation as simulation:
            for job in list(simulation.jobs.values()):
                simulation.lose(job)

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Give a test that has a verb among its arguments each case of that verb."""
        for verb in self.kind.verbs.keys() & set(metafunc.fixturenames):
            cases = list(self._cases(verb))
            metafunc.parametrize(verb, cases, ids=[f"{case.command}-{case.kind}" for case in cases])

    def _cases(self, verb: str) -> Iterator[Case]:
        table = {"submit": SUBMIT, "find": ASK, "status": ASK, "cancel": CANCEL}[verb]
        uses = dict.fromkeys(self.kind.verbs[verb], table)
        if verb == "cancel":
            uses |= dict.fromkeys(self.kind.verbs["status"], CANCEL_ASKS)
        for command, outcomes in uses.items():
            exceptions = self.exceptions.get((verb, command), {})
            assert not exceptions.items() & outcomes.items(), "an exception is what the table says anyway"
            for kind, came in {**outcomes, **exceptions}.items():
                if came:
                    yield Case(command, kind, came)

    async def test_a_submit_makes_one_job_or_none_and_says_which(self, site: FakeSite, submit: Case) -> None:
        cluster = self.open(site, submit.kind)
        token = new_token()

        with site.faults(submit.plan):
            job, error = await outcome(cluster.submit(spec(token)))

        entries = cluster.ledger.live(cluster.name)
        came = Submitted(error, site.alive(token), len(entries), site.met(submit.command))
        assert came == submit.outcome
        if job:
            assert [entry.job for entry in entries] == [job.id]
            assert await cluster.adapter.find(token) == (job.id,) * came.alive

    async def test_a_submit_that_is_refused_makes_none(self, site: FakeSite) -> None:
        cluster = self.open(site)
        token = new_token()
        members, words = site.refusal

        with pytest.raises(SubmitRejected, match=re.escape(words)) as refused:
            await cluster.submit(spec(token, **members))

        calls = faults.calls(site.simulation.directory, site.commands[0])
        came = Submitted(refused.type, site.alive(token), len(cluster.ledger.live(cluster.name)), len(calls))
        assert came == REFUSED

    async def test_a_job_is_found_by_its_token_or_the_look_up_fails(self, site: FakeSite, find: Case) -> None:
        job = await self.open(site).submit(spec(new_token()))

        with site.faults(find.plan):
            found, error = await outcome(self.open(site, find.kind).adapter.find(job.token), explained=False)

        assert Asked(error) == find.outcome
        assert found in (None, (job.id,))

    async def test_a_submit_that_is_never_confirmed_nor_looked_up_is_unsettled(self, site: FakeSite) -> None:
        [submit], [find, *_] = site.verbs["submit"], site.verbs["find"]
        cluster = self.open(site, launch=4.0 if self.in_processes else 1.0)
        token = new_token()

        with site.faults({"command": submit, "fault": "accept-then-time-out"}, {"command": find, "fault": "down"}):
            _, error = await outcome(cluster.submit(spec(token)))

        entries = cluster.ledger.live(cluster.name)
        assert Submitted(error, site.alive(token), len(entries), site.met(submit)) == UNSETTLED
        await reconcile(cluster, fix=True)
        [entry] = cluster.ledger.live(cluster.name)
        assert (entry.job,) == await cluster.adapter.find(token)

    async def test_a_status_tells_the_truth_or_nothing(self, site: FakeSite, status: Case) -> None:
        job = await self.open(site).submit(spec(new_token()))
        cluster = self.open(site, status.kind)

        for _ in range(2):
            with site.faults(status.plan):
                answer, error = await outcome(cluster.status([job.id], max_age=0))

            assert Asked(error) == status.outcome
            assert answer is None or answer[job.id].state in site.drained

        assert [entry.job for entry in cluster.ledger.live(cluster.name)] == [job.id]

    async def test_a_cancel_is_true_or_says_what_is_left_to_do(self, site: FakeSite, cancel: Case) -> None:
        if cancel.command in site.running:
            site.undrain()
        patient = self.open(site)
        job = await patient.submit(spec(new_token()))
        if cancel.command in site.running:
            await until(partial(patient.report, job.token), lambda report: report.output)

        patience = 0.15 if cancel.outcome == UNVERIFIED else 1.6  # harder means are used after half of it
        with site.faults(cancel.plan):
            done, error = await outcome(self.open(site, cancel.kind, cancel=patience).cancel(job.id))

        assert Cancelled(error, done and done.status.state, site.alive(job.token)) == cancel.outcome
        again = await patient.cancel(job.id)
        assert again.status.state in (JobState.ENDED, JobState.GONE)
        assert site.alive(job.token) == 0

    async def test_a_cancel_whose_end_cannot_be_seen_is_not_verified(self, site: FakeSite) -> None:
        cluster = self.open(site, cancel=0.0)
        job = await cluster.submit(spec(new_token()))
        command = site.verbs["status"][0]
        calls = [0]
        for _ in range(2):  # the first question may also find out what there is to ask
            await cluster.status([job.id], max_age=0)
            calls.append(len(faults.calls(site.simulation.directory, command)))
        afterwards = f"{2 * calls[2] - calls[1] + 1}-"  # the cancel asks once before it acts

        with site.faults({"command": command, "fault": "down", "calls": afterwards}):
            _, error = await outcome(cluster.cancel(job.id))

        assert Cancelled(error, None, site.alive(job.token)) == self.unseen

    def open(self, site: FakeSite, kind: str = "", **timing: float) -> Cluster:
        """Return the cluster, with little patience where a command is to hang."""
        hangs = kind in ("hang", "accept-then-hang")
        usual = {"launch": PATIENCE, "settle_pause": 0.0, "cancel": PATIENCE, "poll_interval": 0.0, "gone_after": 0.0}
        adapter = site.patient(1.0 if hangs else PATIENCE)
        return Cluster("main", adapter, Ledger(site.home / "state"), timing=Timing(**(usual | timing)))


def spec(token: Token, **members: Any) -> JobSpec:
    return JobSpec(**{"token": token, "name": "my session", "command": COMMAND} | members)


async def outcome(action: Awaitable[Any], *, explained: bool = True) -> tuple[Any, type[FxschedError] | None]:
    """Return the result, or else the kind of error; its text must name the cluster and say what to do."""
    try:
        return await action, None
    except FxschedError as raised:
        error = raised
    if explained:
        assert_clear(error)
    return None, type(error)


def assert_clear(error: Exception | str) -> None:
    """The text names the cluster and says what to do."""
    text = str(error)
    assert "cluster 'main'" in text, text
    assert ADVICE.search(text), text
