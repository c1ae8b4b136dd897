"""What really happened, as the jobs and the controller's log tell. Each session writes into its launch's own file:

begin TOKEN JOB PID
end TOKEN JOB PID
overlap TOKEN JOB PID      it began while another session of the launch was alive
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

_LINES = re.compile(
    r"(?P<start>slurmctld version .* started)|Recovered JobId=(?P<recovered>\d+) A"
    r"|_slurm_rpc_submit_batch_job: JobId=(?P<accepted>\d+) "
)

START = r"""
name=$(sed -n 's/.*"name": *"\(soak-[0-9]*\)".*/\1/p')
proof=@PROOF@/$name
me="$FXSCHED_TOKEN $SLURM_JOB_ID $$"
if [ -e "$proof" ]; then
    while read -r word _ _ pid; do
        [ "$word" = begin ] && kill -0 "$pid" 2>/dev/null && echo "overlap $me" >>"$proof"
    done <"$proof"
fi
echo "begin $me" >>"$proof"
case $name in
    *[37]) sleep 3 ;;
    *) sleep 0.3 ;;
esac
echo "end $me" >>"$proof"
"""
"""FastX's start script. All nodes are this one machine, so that it can see a twin on any of them."""


@dataclass
class Sessions:
    """The sessions of one launch."""

    begun: list[tuple[str, str]] = field(default_factory=list)
    """Token and job of each."""
    ended: list[tuple[str, str]] = field(default_factory=list)
    overlapping: int = 0

    @property
    def twins(self) -> int:
        """How many sessions there were too many.

        Slurm may run a job again that its crash cut off before its end, as it does with a requeued one: that is
        the same job once more, and no twin.
        """
        jobs = list(dict.fromkeys(self.begun))
        again = sum(max(0, self.ended.count(job) - 1) for job in jobs)
        return max(0, len(jobs) - 1) + again + self.overlapping

    @property
    def run_again(self) -> int:
        """How often Slurm began a job anew that had not come to its end."""
        return len(self.begun) - len(set(self.begun))


def start_script(proof: Path) -> str:
    """Return the start script whose sessions write into the directory ``proof``."""
    return START.replace("@PROOF@", str(proof))


def sessions(proof: Path, launch: str) -> Sessions:
    """Return what the sessions of a launch wrote."""
    found = Sessions()
    path = proof / launch
    for line in path.read_text().splitlines() if path.exists() else ():
        word, token, job, _ = line.split()
        match word:
            case "begin":
                found.begun.append((token, job))
            case "end":
                found.ended.append((token, job))
            case _:
                found.overlapping += 1
    return found


def forgotten(log: str) -> Counter[str]:
    """Return how often the controller forgot each job: it had it when it was killed, and not when it was back.

    Its log tells which jobs it accepts and, at its start, which ones it finds in its saved state.
    """
    found: Counter[str] = Counter()
    before: set[str] = set()
    now: set[str] = set()
    recovering = False
    for line in _LINES.finditer(log):
        if line["start"]:
            if recovering:
                found.update(before - now)
            before, now, recovering = now, set(), True
        elif line["recovered"]:
            now.add(line["recovered"])
        else:
            if recovering:
                found.update(before - now)
                recovering = False
            now.add(line["accepted"])
    if recovering:
        found.update(before - now)
    return found


def count_in_logs(state: Path, words: str) -> int:
    """Return in how many sessions' logs there are these words."""
    return sum(words in log.read_text(errors="replace") for log in state.glob("sessions/*/job.log"))
