"""What really happened, as the sessions and Slurm's logs tell. Each session writes into its launch's own file:

begin TOKEN JOB PID TIME
end TOKEN JOB PID TIME
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

_LINES = re.compile(
    r"(?P<start>slurmctld version .* started)|Recovered JobId=(?P<recovered>\d+) A"
    r"|_slurm_rpc_submit_batch_job: JobId=(?P<accepted>\d+) "
)
_REFUSED = re.compile(r"Could not launch job (\d+) and not able to requeue it")

START = r"""
name=$(sed -n 's/.*"name": *"\(soak-[0-9]*[a-z]*\)".*/\1/p')
proof=@PROOF@/$name
note() { echo "$1 $FXSCHED_TOKEN $SLURM_JOB_ID $$ $(date +%s.%N)" >>"$proof"; }
note begin
case $name in
    *@STAYS@) until [ -e "$proof.over" ]; do sleep 0.5; done ;;
    *[15]) sleep 15 ;;
    *[37]) sleep 3 ;;
    *) sleep 0.3 ;;
esac
note end
"""
"""FastX's start script. All nodes are this one machine, so that one file has the sessions on any of them."""
STAYS = "stays"
"""What ends the name of a launch whose session does not end by itself before :func:`let_end`."""


@dataclass
class Session:
    """One run of the start script."""

    token: str
    job: str
    begin: float
    """In seconds since 1970."""
    end: float | None = None
    """None if it was cut off."""


def start_script(proof: Path) -> str:
    """Return the start script whose sessions write into the directory ``proof``."""
    return START.replace("@PROOF@", str(proof)).replace("@STAYS@", STAYS)


def let_end(proof: Path, launch: str) -> None:
    """Let the session of a launch end that otherwise stays."""
    (proof / f"{launch}.over").touch()


def sessions(proof: Path, launch: str) -> list[Session]:
    """Return what the sessions of a launch wrote: it should be one at most."""
    found: dict[tuple[str, str, str], Session] = {}
    path = proof / launch
    for line in path.read_text().splitlines() if path.exists() else ():
        word, token, job, pid, time = line.split()
        if word == "begin":
            found[token, job, pid] = Session(token, job, float(time))
        else:
            found[token, job, pid].end = float(time)
    return list(found.values())


class SlurmLogs:
    """What Slurm's own logs say of jobs that did not come to run. An id may have been given, and be told of, again."""

    def __init__(self, directory: Path) -> None:
        self._forgotten = forgotten((directory / "slurmctld.log").read_text(errors="replace"))
        nodes = "".join(log.read_text(errors="replace") for log in sorted(directory.glob("slurmd-*.log")))
        self._refused = Counter(_REFUSED.findall(nodes))

    def forgot(self, job: str) -> bool:
        """Whether the controller forgot one more job of this id."""
        self._forgotten[job] -= 1
        return self._forgotten[job] >= 0

    def refused(self, job: str) -> bool:
        """Whether a node refused one more job of this id, because the former job of that id still ran there."""
        self._refused[job] -= 1
        return self._refused[job] >= 0


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
