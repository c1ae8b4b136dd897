"""``python -m tests.soak [LAUNCHES] [--at-a-time N] [--seed N]``: one session or one error, come what may.

Every launch is a process of the installed ``fxsched-launch`` on a real Slurm of its own, whose controller is stopped
and killed at random meanwhile, whose nodes fail and whose jobs get other names; some launchers are killed too.
Afterwards ``fxsched reconcile --fix`` settles what was left open. What was reported is then held against what the
sessions themselves wrote, and against the ledger.

The exit status is 0 only if each launch that reported a session had exactly one, each that reported an error had none
afterwards, the job of each launcher that was killed before it had told of its session was cancelled or ended by itself,
no session began twice, none was told as ended while it lived, and the ledger tells the truth about all of them.

Some things are Slurm's own, and are counted apart; they are only believed if Slurm's logs or the ledger show them, and
no session began: a controller that is killed forgets what it accepted in its last seconds, and gives the id of such a
job again, which a node refuses to start where the former one still runs; and a node fails that was about to start one.
"""

from __future__ import annotations

import argparse
import json
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import anyio

from fxsched.cluster.reconcile import Kind
from fxsched.jobs import EndCause
from fxsched.records.ledger import Entry

from ..real.person import Person, until
from ..real.slurm_cluster import SlurmCluster
from .chaos import Administrator, Chaos
from .evidence import STAYS, Session, SlurmLogs, count_in_logs, let_end, sessions, start_script
from .launches import SETTINGS, WATCHED, Launch, Outcome, launch_all

GIVEN_UP = 76
"""The exit code of a job that finds that nobody waits for its session."""


class Soak:
    """One run: launches, chaos, settlement, verdict."""

    def __init__(self, directory: Path, cluster: SlurmCluster, seed: int) -> None:
        self.proof = directory / "proof"
        self.proof.mkdir()
        self.cluster = cluster
        self.person = Person(directory / "home", cluster.env, settings=SETTINGS, start=start_script(self.proof))
        with self.person.config.open("a") as config:
            config.write(f"[profiles.watched]\nwait_for_start = {WATCHED}\n")
        self.chaos = Chaos(cluster, self._told, seed)
        self.seed = seed
        self.findings: Counter[str] = Counter()
        self.faults: list[str] = []
        self.figures: Counter[str] = Counter()

    async def launch(self, count: int, at_a_time: int) -> list[Launch]:
        """Launch under fire; afterwards the cluster is well again."""
        launches: list[Launch] = []

        async def launch_and_end() -> None:
            launches.extend(await launch_all(self.person, count, at_a_time, self.seed, self._began, self._let_end))
            self.chaos.end()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self.chaos.run)
            tasks.start_soon(launch_and_end)
        return launches

    def settle(self, launches: list[Launch]) -> None:
        """Settle what was left open, wait for the end of every job, and let ``fxsched status`` find it out."""
        # The clients of killed launchers, and what the controller still has to read, are on their way.
        until("end of all clients", lambda: not clients(self.cluster), 30, lambda: clients(self.cluster))
        # A loaded machine shows the controller's last words late; and a rest from asking may have been agreed on.
        for code in (None, 0):
            done = self._fxsched("reconcile", "--fix")
            self.findings.update(line.partition(":")[0] for line in done.stdout.splitlines())
            if done.returncode not in (0, code):
                self.faults.append(f"reconcile --fix: exit {done.returncode}: {done.stdout}{done.stderr}")
            if code == 0 and done.stdout:
                self.faults.append(f"a second reconcile still found something: {done.stdout}")
        if self.findings[Kind.ORPHANED]:
            self.faults.append("reconcile took jobs for its own whose launches had been settled without them")
        wanted = {entry.name for entry in self.person.entries() if not entry.awaited}
        for launch in launches:
            if launch.outcome is Outcome.KILLED and launch.name in wanted:
                self._let_end(launch, heard=True)
        try:
            Administrator(self.cluster).wait_for_the_end_of_all_jobs(120)
        except TimeoutError as error:
            self.faults.append(f"not every job came to its end: {error}")
        deadline = time.monotonic() + 120
        while live := [entry for entry in self.person.ledger.live("slurm") if not self.died_without_a_word(entry)]:
            if time.monotonic() > deadline:
                self.faults.append(f"{len(live)} entries stay live although no job is left, such as {live[0]}")
                break
            self.person.fxsched("status", *sorted({entry.job for entry in live if entry.job}), code=None)
            time.sleep(0.2)

    def died_without_a_word(self, entry: Entry) -> bool:
        """Whether the session told of its start and was killed, and Slurm has forgotten it: it is given a day."""
        return entry.gone_at is not None and [session.end for session in sessions(self.proof, entry.name)] == [None]

    def judge(self, launches: list[Launch]) -> None:
        """Hold what was reported against what happened."""
        self.faults += self.chaos.faults
        logs = SlurmLogs(self.cluster.directory / "log")
        known = set(re.findall(r" (\w{20}): job \d+\n", self.person.log()))
        entries: dict[str, list[Entry]] = {}
        for entry in self.person.entries():
            entries.setdefault(entry.name, []).append(entry)
        for launch in launches:
            self.figures[launch.outcome] += 1
            _Verdict(self, launch, entries.get(launch.name, []), logs, known).give()

    def logged(self, entries: list[Entry]) -> str:
        """Return what was logged of some submissions."""
        tokens = [entry.token for entry in entries]
        return "".join(f"    {line}\n" for line in self.person.log().splitlines() if any(t in line for t in tokens))

    def _began(self, name: str) -> bool:
        return bool(sessions(self.proof, name))

    def _let_end(self, launch: Launch, *, heard: bool = False) -> None:
        if launch.name.endswith(STAYS) and (launch.heard or heard):
            let_end(self.proof, launch.name)

    def _told(self, jobs: Sequence[str]) -> dict[str, str]:
        done = self._fxsched("status", "--json", *jobs)
        answers = map(json.loads, done.stdout.splitlines())
        return {answer["id"]: answer["state"] for answer in answers}

    def _fxsched(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.person.command("fxsched", *arguments),
            env=self.person.environment,
            cwd=self.person.home,
            capture_output=True,
            text=True,
            timeout=180,
        )


class _Verdict:
    """On one launch."""

    def __init__(self, soak: Soak, launch: Launch, entries: list[Entry], logs: SlurmLogs, known: set[str]) -> None:
        self._soak = soak
        self._figures = soak.figures
        self._launch = launch
        self._entries = entries
        self._entry = entries[0] if entries else None
        self._logs = logs
        self._known = known
        """The tokens of the launches that had come to know of their job."""
        self._sessions: list[Session] = sessions(soak.proof, launch.name)

    def give(self) -> None:
        """Count what there was, and note each fault."""
        self._figures["sessions"] += bool(self._sessions)
        self._hold_against_the_ledger()
        launch = self._launch
        if launch.outcome is Outcome.DEFECT:
            self._fault("that is neither a session nor one clear error")
        elif launch.heard:
            self._reported()
        elif launch.outcome is Outcome.ENDED:
            if any(session.begin > launch.at.timestamp() for session in self._sessions):
                self._fault("it reported the end of its session, which began afterwards")
            self._figures["its session had run"] += bool(self._sessions)
            if not self._sessions:
                self._reported()
        elif launch.outcome is Outcome.KILLED:
            self._killed()
        else:
            if self._sessions:
                self._fault("it reported an error, and there was a session")
            self._late()

    def _hold_against_the_ledger(self) -> None:
        entry = self._entry
        if len(self._sessions) > 1:
            self._figures["sessions too many"] += len(self._sessions) - 1
            self._fault("its session began more than once")
        if len(self._entries) > 1:
            self._fault("it has two entries in the ledger")
        if self._sessions and entry is None:
            self._fault("it had a session that the ledger does not know")
        if entry is None:
            return
        if entry.status is None:
            if entry.job and self._soak.died_without_a_word(entry) and self._logs.forgot(entry.job):
                self._figures["cut off: forgotten by Slurm, and given a day"] += 1
            else:
                self._fault("the ledger does not know its end")
        elif self._sessions:
            session = self._sessions[0]
            if entry.job != session.job:
                self._fault("the ledger is not right about its job")
            if session.end and entry.status.observed_at and entry.status.observed_at.timestamp() < session.end:
                self._fault("it was told as ended while it lived")
            if session.end and entry.status.cause is not EndCause.COMPLETED:
                # The controller may take a session that it forgot for a failure while it ends.
                self._figures["ended well, and the cause given is another"] += 1
            if not session.end:
                self._figures[f"cut off: {entry.status.cause}"] += 1

    def _reported(self) -> None:
        if not self._sessions:
            if why := self._not_run():
                self._figures[why] += 1
            else:
                self._fault("it reported a session, and there was none")
        self._figures["not begun"] += not self._sessions

    def _killed(self) -> None:
        entry = self._entry
        if entry is not None and not entry.awaited:
            self._figures["killed between noting that FastX hears and telling it"] += 1
        elif self._sessions:
            self._figures["killed: its session had begun"] += 1
            if self._sessions[0].token not in self._known:
                self._fault("its launcher was killed before it knew of a job, and there was a session")
            elif self._sessions[0].end or entry is None:
                self._fault("its launcher was killed, and its session was not cancelled")
            else:
                self._late()
        else:
            self._late()

    def _late(self) -> None:
        """Count what became of the job of which FastX did not hear."""
        entry = self._entry
        if entry is None or entry.status is None:
            self._figures["late: no job"] += 1
        elif entry.status.exit_code == GIVEN_UP:
            self._figures["late: ended by itself"] += 1
        elif entry.cancelled_at is not None:
            self._figures["late: cancelled"] += 1
        elif why := self._not_run():
            self._figures[why] += 1
            self._figures["late: not run"] += 1
        else:
            self._fault("nobody waits for its session, and its job was not cancelled and did not end by itself")

    def _not_run(self) -> str:
        """Return why Slurm did not run the job, or not to its end, as far as that is its own doing."""
        entry = self._entry
        if entry is None or entry.status is None or entry.job is None:
            return ""
        if entry.status.cause is EndCause.NODE_FAILURE:
            return "its node failed"
        if entry.status.cause is EndCause.UNKNOWN and self._logs.forgot(entry.job):
            return "lost"
        if entry.status.cause is EndCause.CANCELLED and self._logs.refused(entry.job):
            return "refused"
        # So it also ends one that its node could not launch; our script's first step, the lock, is not there then.
        if entry.status.cause is EndCause.FAILED and not (self._soak.person.session(entry.token) / "lock").exists():
            return "refused"
        return ""

    def _fault(self, text: str) -> None:
        entries = self._entries
        shown = f"{self._launch}\n  {self._sessions}\n  {entries}\n{self._soak.logged(entries)}"
        self._soak.faults.append(f"{self._launch.name}: {text}\n  {shown}")


def clients(cluster: SlurmCluster) -> list[str]:
    """Return the commands of Slurm's that still run."""
    found = []
    for pid in cluster.processes():
        try:
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if re.fullmatch(rb"(.*/)?(sbatch|squeue|scancel|sacct)", words[0]):
            found.append(b" ".join(words).decode())
    return found


def main() -> int:
    """Run the soak, print its figures, and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak")
    parser.add_argument("launches", type=int, nargs="?", default=1000)
    parser.add_argument("--at-a-time", type=int, default=50)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--keep", type=Path, help="an empty directory for everything, which stays")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the cluster is taken down
    with tempfile.TemporaryDirectory(prefix="soak-") as temporary:
        return soak(arguments.keep or Path(temporary), arguments.launches, arguments.at_a_time, arguments.seed)


def soak(directory: Path, count: int, at_a_time: int, seed: int) -> int:
    """See ``main``."""
    extra = ["MessageTimeout=5", "MaxJobCount=20000"]
    print(f"{count} launches, {at_a_time} at a time, seed {seed}", flush=True)
    begin = time.monotonic()
    with SlurmCluster(directory / "slurm", extra=extra) as cluster:
        run = Soak(directory, cluster, seed)
        launches = anyio.run(run.launch, count, at_a_time)
        under_fire = time.monotonic() - begin
        run.settle(launches)
        run.judge(launches)
    _print_figures(run, launches)
    slowest = max(launch.seconds for launch in launches)
    print(
        f"{slowest:6.0f} s for the slowest launch, {under_fire:.0f} s for all, {time.monotonic() - begin:.0f} s in all"
    )
    for fault in run.faults[:20]:
        print(f"FAULT {fault}", file=sys.stderr)
    print("FAILED" if run.faults else "passed: exactly one session for each launch that reported one, and else none")
    return bool(run.faults)


def _print_figures(run: Soak, launches: list[Launch]) -> None:
    figures, chaos, log = run.figures, run.chaos, run.person.log()
    looked = set(re.findall(r" (\w{20}): .*; looking for the job", log))
    adopted = set(re.findall(r" (\w{20}): job \S+ was found", log))
    again = set(re.findall(r" (\w{20}): it made no job", log))
    unwanted = set(re.findall(r" (\w{20}): unwanted:", log))
    ids = Counter(launch.job for launch in launches if launch.job)
    renamed = [entry for entry in run.person.entries() if entry.job in chaos.renamed]
    lines: list[tuple[int, object]] = [(figures[outcome], outcome) for outcome in Outcome]
    lines += [
        (sum(launch.heard for launch in launches), "launches that told of a session"),
        (figures["sessions"], "sessions"),
        (figures["not begun"], "sessions that were told of, and did not begin, all for one of these reasons:"),
        (figures["lost"], "jobs lost by the controller's crash: accepted, then forgotten"),
        (figures["refused"], "jobs that a node refused or could not launch, where our script never began"),
        (figures["its node failed"], "jobs whose node failed"),
        (figures["its session had run"], "sessions that had run when their launch reported the end"),
        (
            figures["killed: its session had begun"],
            "sessions of launchers that were killed before they told, all ended",
        ),
        (figures["late: no job"], "errors and killed launchers that left no job"),
        (figures["late: cancelled"], "late jobs that were cancelled"),
        (figures["late: ended by itself"], f"late jobs that ended by themselves, with exit code {GIVEN_UP}"),
        (figures["late: not run"], "late jobs that Slurm did not run"),
    ]
    between = "killed between noting that FastX hears and telling it"
    lines += [
        (figures[between], between),
        (len(looked), "submits whose outcome was not known at first"),
        (len(adopted), "of them: the job was found and adopted"),
        (len(again), "of them: there was no job, and it was submitted again"),
        (len(unwanted), "unwanted jobs found by later launches"),
        (run.findings.total(), f"settled by reconcile ({dict(run.findings)})"),
        (count_in_logs(run.person.state, "already has this session"), "twins that found the lock taken, and ended"),
        (count_in_logs(run.person.state, "the session has "), "second runs of one job: refused"),
        (sum(ids.values()) - len(ids), "job ids that Slurm gave out again"),
        (len(renamed), "jobs that got another name"),
        (figures["ended well, and the cause given is another"], "sessions that ended well, and the cause is another"),
        (chaos.stops, "times the controller was stopped"),
        (chaos.freezes, "times it was stopped for longer than a launch waits"),
        (chaos.kills, "times it was killed"),
        (chaos.nodes_down, "times a node with jobs failed"),
        (figures["sessions too many"], "sessions too many"),
        (len(run.faults), "faults"),
    ]
    lines += [(number, name) for name, number in sorted(figures.items()) if str(name).startswith("cut off: ")]
    for number, name in lines:
        print(f"{number:6} {name}")


if __name__ == "__main__":
    sys.exit(main())
