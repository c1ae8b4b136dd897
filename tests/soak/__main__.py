"""``python -m tests.soak [LAUNCHES] [--at-a-time N] [--seed N]``: exactly one session for each launch, come what may.

Every launch is a process of the installed ``fxsched-launch`` on a real Slurm of its own, whose controller is stopped
and killed at random meanwhile; some launchers are killed too. Afterwards ``fxsched reconcile --fix`` settles what was
left open. What was reported is then held against what the jobs themselves wrote, and against ``fxsched status``.

The exit status is 0 only if each launch that reported a session had exactly one, each that reported an error had none,
none had two, and the ledger and ``fxsched status`` tell the truth about all of them.

One thing is Slurm's own: a controller that is killed forgets what it accepted in its last seconds. A job that had been
reported as submitted, and had not begun, may be lost then. That is counted apart, and only believed if the controller's
own log shows it, and ``fxsched`` says of the job that it is gone and nothing is known of its end.
"""

from __future__ import annotations

import argparse
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import anyio

from fxsched.jobs import EndCause
from fxsched.records.ledger import Entry

from ..real.person import Person, until
from ..real.slurm_cluster import SlurmCluster
from .chaos import Administrator, Chaos
from .evidence import Sessions, count_in_logs, forgotten, sessions, start_script
from .launches import SETTINGS, WATCHED, Launch, Outcome, launch_all


class Soak:
    """One run: launches, chaos, settlement, verdict."""

    def __init__(self, directory: Path, cluster: SlurmCluster, seed: int) -> None:
        self.proof = directory / "proof"
        self.proof.mkdir()
        self.cluster = cluster
        self.person = Person(directory / "home", cluster.env, settings=SETTINGS, start=start_script(self.proof))
        with self.person.config.open("a") as config:
            config.write(f"[profiles.watched]\nwait_for_start = {WATCHED}\n")
        self.chaos = Chaos(cluster, seed)
        self.seed = seed
        self.forgotten: Counter[str] = Counter()
        self.findings: Counter[str] = Counter()
        self.faults: list[str] = []

    async def launch(self, count: int, at_a_time: int) -> list[Launch]:
        """Launch under fire; afterwards the cluster is well again."""
        launches: list[Launch] = []

        async def launch_and_end() -> None:
            launches.extend(await launch_all(self.person, count, at_a_time, self.seed))
            self.chaos.end()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self.chaos.run)
            tasks.start_soon(launch_and_end)
        return launches

    def settle(self) -> None:
        """Settle what was left open, wait for the end of every job, and let ``fxsched status`` find it out."""
        # The clients of killed launchers, and what the controller still has to read, are on their way.
        until("end of all clients", lambda: not clients(self.cluster), 30, lambda: clients(self.cluster))
        # A loaded machine shows the controller's last words late; and a rest from asking may have been agreed on.
        for code in (None, 0):
            done = subprocess.run(
                self.person.command("fxsched", "reconcile", "--fix"),
                env=self.person.environment,
                cwd=self.person.home,
                capture_output=True,
                text=True,
                timeout=120,
            )
            self.findings.update(line.partition(":")[0] for line in done.stdout.splitlines())
            if done.returncode not in (0, code):
                self.faults.append(f"reconcile --fix: exit {done.returncode}: {done.stdout}{done.stderr}")
            if code == 0 and done.stdout:
                self.faults.append(f"a second reconcile still found something: {done.stdout}")
        Administrator(self.cluster).wait_for_the_end_of_all_jobs(120)
        deadline = time.monotonic() + 120
        while live := self.person.ledger.live("slurm"):
            if time.monotonic() > deadline:
                self.faults.append(f"{len(live)} entries stay live although no job is left, such as {live[0]}")
                break
            self.person.fxsched("status", *sorted({entry.job for entry in live if entry.job}), code=None)
            time.sleep(0.2)

    def judge(self, launches: list[Launch]) -> Counter[str]:
        """Hold what was reported against what happened; return the figures."""
        figures: Counter[str] = Counter()
        self.forgotten = forgotten((self.cluster.directory / "log" / "slurmctld.log").read_text(errors="replace"))
        entries: dict[str, list[Entry]] = {}
        for entry in self.person.entries():
            entries.setdefault(entry.name, []).append(entry)
        for launch in launches:
            found = sessions(self.proof, launch.name)
            figures[launch.outcome] += 1
            figures["sessions"] += bool(found.begun)
            figures["twins"] += found.twins
            figures["run again"] += found.run_again
            self._judge(launch, found, entries.get(launch.name, []), figures)
        return figures

    def _judge(self, launch: Launch, found: Sessions, entries: list[Entry], figures: Counter[str]) -> None:
        def fault(text: str) -> None:
            self.faults.append(f"{launch.name}: {text}\n  {launch}\n  {found}\n  {entries}\n{self._logged(entries)}")

        if found.twins:
            fault("it had two sessions")
        if len(entries) > 1:
            fault("it has two entries in the ledger")
        began = bool(found.begun)
        entry = entries[0] if entries else None
        if began and entry is None:
            fault("it had a session that the ledger does not know")
        if entry is not None and (entry.status is None or (began and entry.job != found.begun[0][1])):
            fault("the ledger is not right about its job")
        if began and len(found.ended) and entry and entry.status and entry.status.cause is not EndCause.COMPLETED:
            # The controller may take a session that it forgot for a failure while it ends.
            figures["ended well, and the cause given is another"] += 1
        match launch.outcome:
            case Outcome.DEFECT:
                fault("that is neither a session nor one clear error")
            case Outcome.ERROR if began or entry:
                fault("it reported an error, and there was a session or an entry")
            case Outcome.STARTED if not began:
                fault("it reported a session that there was not")
            case Outcome.QUEUED | Outcome.ENDED if not began:
                if self._lost(entry):
                    figures["lost"] += 1
                else:
                    fault("it reported a session, and there was none")
            case Outcome.UNSETTLED:
                figures["unsettled: no job" if entry is None else "unsettled: adopted"] += 1
                if entry is not None and not began:
                    if self._lost(entry):
                        figures["lost"] += 1
                    else:
                        fault("reconcile adopted a job that never began")
            case _:
                pass

    def _lost(self, entry: Entry | None) -> bool:
        """Whether the controller forgot the job, and ``fxsched`` says that nothing is known of its end."""
        if entry is None or entry.status is None or entry.status.cause is not EndCause.UNKNOWN or entry.job is None:
            return False
        self.forgotten[entry.job] -= 1  # an id may have been given, and forgotten, several times
        return self.forgotten[entry.job] >= 0

    def _logged(self, entries: list[Entry]) -> str:
        tokens = [entry.token for entry in entries]
        return "".join(f"    {line}\n" for line in self.person.log().splitlines() if any(t in line for t in tokens))


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
        run.settle()
        figures = run.judge(launches)
        twice = count_in_logs(run.person.state, "already has this session")
        refused = count_in_logs(run.person.state, "the session has ended already")
    for outcome in Outcome:
        print(f"{figures[outcome]:6} {outcome}")
    log = run.person.log()
    looked = set(re.findall(r" (\w{20}): .*; looking for the job", log))
    adopted = set(re.findall(r" (\w{20}): job \S+ was found", log))
    again = set(re.findall(r" (\w{20}): it made no job", log))
    ids = Counter(launch.job for launch in launches if launch.job)
    print(f"{figures['sessions']:6} sessions")
    print(f"{len(looked):6} submits whose outcome was not known at first")
    print(f"{len(adopted):6} of them: the job was found and adopted")
    print(f"{len(again):6} of them: there was no job, and it was submitted again")
    print(f"{figures['unsettled: adopted']:6} unsettled, and later adopted")
    print(f"{figures['unsettled: no job']:6} unsettled, and later found to have made no job")
    print(f"{run.findings.total():6} settled by reconcile ({dict(run.findings)}), the others by later launches")
    print(f"{twice:6} twins that found the lock taken, and ended")
    print(f"{refused:6} sessions that had ended, whose job Slurm ran again: refused")
    print(f"{figures['run again']:6} sessions cut off, whose job Slurm ran again")
    print(f"{sum(ids.values()) - len(ids):6} job ids that Slurm gave out again")
    print(f"{figures['lost']:6} lost by the controller's crash: accepted, then forgotten")
    print(f"{figures['twins']:6} sessions too many")
    print(f"{run.chaos.kills:6} times the controller was killed, {run.chaos.stops} times it was stopped")
    slowest = max(launch.seconds for launch in launches)
    print(
        f"{slowest:6.0f} s for the slowest launch, {under_fire:.0f} s for all, {time.monotonic() - begin:.0f} s in all"
    )
    for fault in run.faults[:20]:
        print(f"FAULT {fault}", file=sys.stderr)
    print("FAILED" if run.faults else "passed: exactly one session for each launch that reported one")
    return bool(run.faults)


if __name__ == "__main__":
    sys.exit(main())
