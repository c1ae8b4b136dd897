"""Submits, questions, cancels, kills, crashes, time and faults in any order: the promises hold throughout."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections import defaultdict
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any, NoReturn
from unittest import mock

import anyio
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from trio.testing import MockClock

from fxsched.cluster.cluster import Cluster, Job
from fxsched.cluster.reconcile import reconcile
from fxsched.cluster.timing import Timing
from fxsched.errors import FxschedError, SubmitUnsettled
from fxsched.jobs import JobId, JobSpec, JobState, Token
from fxsched.records.ledger import Ledger, Owner
from fxsched.session import here
from fxsched_fakes import Cause, State, faults, install
from fxsched_slurm.adapter import SlurmAdapter

from ..contract.faults import assert_clear
from ..contract.in_process import InProcessHost, KilledError

Trouble = Sequence[Mapping[str, object]]
TOKEN = re.compile(r"\.([a-z2-7]{20})$")
DEAD = Owner(host=os.uname().nodename, pid=0, ticks="")
"""Whoever submits here may be killed; the test itself lives on."""

pick = st.integers(0, 1000)
killed = st.none() | st.integers(1, 8)
kinds = ["accept-then-hang", "accept-then-time-out", "down", "fail", "garbage", "half-line", "hang"]


def plan(*faulty: Mapping[str, object] | None) -> Trouble:
    return [fault for fault in faulty if fault]


def faulty(command: str) -> st.SearchStrategy[Mapping[str, object] | None]:
    return st.none() | st.fixed_dictionaries(
        {
            "command": st.just(command),
            "fault": st.sampled_from(kinds),
            "calls": st.sampled_from(["all", [1], "2-"]),
            "delay": st.just(0.0),
        }
    )


trouble = st.builds(plan, faulty("sbatch"), faulty("squeue"), faulty("scancel"))


class Promises(RuleBasedStateMachine):
    """One user, one cluster; each verb is a process of its own, with nothing but the files in common."""

    @initialize(launches=st.lists(st.tuples(trouble, killed), min_size=2, max_size=5))
    def set_up(self, launches: list[tuple[Trouble, int | None]]) -> None:
        memory = "/dev/shm"  # where a thousand fsyncs cost nothing
        self.directory = Path(tempfile.mkdtemp(dir=memory if os.access(memory, os.W_OK) else None))
        self.fake = install(self.directory / "bin", "slurm", nodes=2)
        with self.fake as fake:
            fake.next_id = 4217  # long enough to be cut in half
            fake.drain("n1")
            fake.drain("n2")
        self.host = InProcessHost(self.fake, self.directory, "slurm")
        self.state = self.directory / ".local" / "state" / "fxsched"
        self.submitted = 0
        self.unwanted: set[str] = set()
        """Tokens of sessions of which nobody has heard: they were told as errors, or their launch was killed."""
        self.owner = mock.patch.object(Owner, "me", return_value=DEAD)
        self.owner.start()
        for launch in launches:
            self._submit("a", *launch)

    def teardown(self) -> None:
        if hasattr(self, "owner"):
            self.owner.stop()
            shutil.rmtree(self.directory)

    # ── what is true

    def live(self) -> dict[str, list[JobId]]:
        """Return the ids of our live jobs, by token, whatever they are called now."""
        found: defaultdict[str, list[JobId]] = defaultdict(list)
        with self.fake as fake:
            for job in fake.jobs.values():
                token = job.extra.get("token") or (TOKEN.search(job.name) or ("", ""))[1]
                if job.state != State.ENDED and token:
                    found[token].append(JobId(str(job.id)))
        return dict(found)

    def renamed(self) -> set[str]:
        """Return the tokens of our live jobs whose names have lost them."""
        with self.fake as fake:
            return {
                job.extra["token"] for job in fake.jobs.values() if job.state != State.ENDED and "token" in job.extra
            }

    def may_start(self, token: str) -> bool:
        """Whether a job with this token that starts now finds that its session is wanted."""
        place = self.directory / ".local" / "state" / "fxsched" / "sessions" / token
        return (place / "command").exists() and not {"unsettled", "unwanted"} & {path.name for path in place.iterdir()}

    def live_names(self) -> dict[JobId, str]:
        """Return the name of every live job, ours or not, by its id."""
        with self.fake as fake:
            return {JobId(str(job.id)): job.name for job in fake.jobs.values() if job.state != State.ENDED}

    def ledger(self) -> Ledger:
        return Ledger(self.state)

    def ids(self) -> list[JobId]:
        """Return the ids that the ledger has, of live and of ended jobs."""
        ended = list(self.state.glob("ledger/ended/*.json"))
        known = {entry.job for entry in self.ledger().live("main") if entry.job}
        for path in ended:
            found = re.search(rb'"job":"(\d+)"', path.read_bytes())
            if found:
                known.add(JobId(found[1].decode()))
        return sorted(known)

    # ── what is done

    def run(
        self, verb: Callable[[Cluster], Coroutine[Any, Any, Any]], trouble: Trouble = (), killed: int | None = None
    ) -> Any:
        """Run a verb in a process of its own, which may be killed; return its result, its error, or None."""
        (Path(self.fake.directory) / "calls.json").unlink(missing_ok=True)
        faults.plan(self.fake.directory, trouble)
        timing = Timing(poll_interval=0.0, gone_after=0.0)
        options = SlurmAdapter.Options(accounting=False)
        cluster = Cluster("main", SlurmAdapter(self.host, options), self.ledger(), timing=timing)
        self.host.kill_after(killed)
        try:
            with mock.patch("anyio.to_thread.run_sync", _in_no_thread):  # or the clock would not wait for it
                return anyio.run(
                    verb, cluster, backend="trio", backend_options={"clock": MockClock(autojump_threshold=0)}
                )
        except FxschedError as error:
            assert_clear(error)
            return error
        except KilledError:
            return None
        finally:
            self.host.kill_after(None)
            faults.plan(self.fake.directory, [])

    @rule(trouble=trouble, killed=killed, name=st.sampled_from(["a", "x.y", "ü | 7\n"]))
    def submit(self, trouble: Trouble, killed: int | None, name: str) -> None:
        self._submit(name, trouble, killed)

    @rule(trouble=trouble, killed=killed)
    def launch(self, trouble: Trouble, killed: int | None) -> None:
        """Submit for somebody who waits, and counts on it that there is no session unless they hear of one."""

        async def launched(cluster: Cluster) -> Job:
            job = await cluster.submit(spec, awaited=True)
            await cluster.heard(job)
            return job

        spec = JobSpec(token=self._new_token(), name="a", command=("true",))
        outcome = self.run(launched, trouble, killed)
        if not isinstance(outcome, Job):
            self.unwanted.add(spec.token)
        if isinstance(outcome, FxschedError):
            assert not self.may_start(spec.token)

    def _submit(self, name: str, trouble: Trouble, killed: int | None) -> None:
        token = self._new_token()
        spec = JobSpec(token=token, name=name, command=("true",))

        outcome = self.run(lambda cluster: cluster.submit(spec), trouble, killed)

        jobs, entries = self.live().get(token), {entry.token: entry for entry in self.ledger().live("main")}
        if isinstance(outcome, Job):
            assert jobs == [outcome.id]
            assert entries[token].job == outcome.id
        elif isinstance(outcome, SubmitUnsettled):
            assert entries[token].job is None
        elif outcome is not None:
            assert jobs is None
            assert token not in entries

    def _new_token(self) -> Token:
        self.submitted += 1
        return Token(f"{self.submitted:020d}".replace("0", "a").replace("1", "b").replace("8", "c").replace("9", "d"))

    @precondition(lambda self: self.ids())
    @rule(choice=pick, trouble=trouble, home=st.booleans())
    def status(self, choice: int, trouble: Trouble, home: bool) -> None:
        id = self.ids()[choice % len(self.ids())]
        entry = self.ledger().by_job("main", frozenset([id]))[id]
        alive = id in self.live().get(entry.token, [])

        with nullcontext() if home else mock.patch.object(here, "read", _stale):
            answer = self.run(partial(_status, id), trouble)

        if isinstance(answer, FxschedError):
            return
        if answer.state in (JobState.ENDED, JobState.GONE):
            assert not alive
        elif not alive:  # only an id that came again may be taken for a job that nobody had ever seen
            assert entry.accepted_at is None
            assert id in self.live_names()

    @precondition(lambda self: self.ids())
    @rule(choice=pick, trouble=trouble, killed=killed)
    def cancel(self, choice: int, trouble: Trouble, killed: int | None) -> None:
        id = self.ids()[choice % len(self.ids())]
        token = self.ledger().by_job("main", frozenset([id]))[id].token
        before, ours = self.live_names(), self.live().get(token, [])

        outcome = self.run(lambda cluster: cluster.cancel(id), trouble, killed)

        gone = [other for other in before if other not in self.live_names()]
        assert all(other in ours for other in gone), "a cancel ended somebody else's job"
        if outcome is not None and not isinstance(outcome, FxschedError):
            assert token not in self.live()

    @rule(fix=st.booleans(), trouble=trouble, killed=killed)
    def reconcile(self, fix: bool, trouble: Trouble, killed: int | None) -> None:
        before = self.live_names()
        unwanted = {id for token, ids in self.live().items() if token in self.unwanted for id in ids}

        outcome = self.run(partial(reconcile, fix=fix), trouble, killed)

        gone = before.keys() - self.live_names().keys()
        assert gone <= (unwanted if fix else set()), "there are no twins here: only what is unwanted is cancelled"
        if fix and isinstance(outcome, list) and all(found.mended for found in outcome):
            entries = {entry.token: entry.job for entry in self.ledger().live("main")}
            known = {token: ids for token, ids in self.live().items() if token not in self.renamed()}
            assert all(entries.get(Token(token)) == ids[0] for token, ids in known.items())
            assert not known.keys() & self.unwanted
            assert None not in entries.values()
            assert self.run(partial(reconcile, fix=False)) == []

    # ── what happens

    @precondition(lambda self: self.live_names())
    @rule(choice=pick, cause=st.sampled_from([Cause.COMPLETED, Cause.NODE_FAILURE, Cause.MEMORY, Cause.PREEMPTED]))
    def a_job_ends(self, choice: int, cause: Cause) -> None:
        with self.fake as fake:
            jobs = [job for job in fake.jobs.values() if job.state != State.ENDED]
            fake.end(jobs[choice % len(jobs)], cause)

    @precondition(lambda self: self.live_names())
    @rule(choice=pick)
    def a_job_is_renamed(self, choice: int) -> None:
        with self.fake as fake:
            jobs = [job for job in fake.jobs.values() if job.state != State.ENDED]
            job = jobs[choice % len(jobs)]
            if token := TOKEN.search(job.name):
                job.extra["token"], job.name = token[1], "thesis"

    @rule()
    def ended_jobs_are_forgotten(self) -> None:
        with self.fake as fake:
            for job in [job for job in fake.jobs.values() if job.state == State.ENDED]:
                fake.forget(job)

    @rule(newest=st.integers(1, 3), others=st.integers(0, 3))
    def the_controller_crashes_and_gives_ids_again(self, newest: int, others: int) -> None:
        with self.fake as fake:
            for id in sorted(fake.jobs)[-newest:]:
                fake.lose(fake.jobs[id])
                fake.next_id = min(fake.next_id, id)
            fake.set_clock(fake.clock_offset + 2)  # no controller is back within the second
        for _ in range(others):
            anyio.run(partial(self.host.run, ["sbatch", "-J", "other", "--wrap", "true"], deadline=9.0))

    @rule(seconds=st.sampled_from([1, 299, 4000]))
    def time_passes(self, seconds: int) -> None:
        with self.fake as fake:
            fake.set_clock(fake.clock_offset + seconds)

    # ── what always holds

    @invariant()
    def a_token_has_one_live_job_at_most(self) -> None:
        if hasattr(self, "fake"):
            assert all(len(ids) == 1 for ids in self.live().values())

    @invariant()
    def no_live_job_is_recorded_as_ended(self) -> None:
        if hasattr(self, "fake"):
            ended = {path.stem for path in self.state.glob("ledger/ended/*.json")}
            assert not ended & self.live().keys()

    @invariant()
    def no_session_comes_after_an_error_was_told(self) -> None:
        if hasattr(self, "fake"):
            [wanted] = [{entry.token for entry in self.ledger().live("main") if not entry.awaited}]
            assert not self.unwanted & wanted

    @invariant()
    def no_file_of_the_ledger_is_bad(self) -> None:
        if hasattr(self, "fake"):
            assert self.ledger().bad() == []


def _stale(_: Path) -> NoReturn:
    raise OSError(116, "Stale file handle")


async def _in_no_thread(function: Callable[..., Any], *arguments: Any, **_: Any) -> Any:
    return function(*arguments)


async def _status(id: JobId, cluster: Cluster) -> Any:
    return (await cluster.status([id], max_age=0))[id]


TestPromises = pytest.mark.timeout(600)(Promises.TestCase)
TestPromises.settings = settings(max_examples=3 * settings.default.max_examples, stateful_step_count=30)
