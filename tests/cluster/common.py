"""What the tests of the cluster share: how patient it is, what goes wrong, and a look at what it keeps."""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from fxsched.cluster.timing import Timing
from fxsched.errors import OutcomeUnknown, SchedulerUnavailable
from fxsched.jobs import JobSpec, Token, new_token
from fxsched.records.ledger import Entry, Ledger

SHORT = Timing(launch=0.6, settle_pause=0.01, cancel=0.3, poll_interval=0.0, gone_after=0.0, settle_start=0.2)
PATIENT = replace(SHORT, poll_interval=10.0, gone_after=10.0)
NO_ANSWER = OutcomeUnknown("sbatch did not answer within 30 s")
DOWN = SchedulerUnavailable("slurmctld is down")
GONE_LONG_AGO = int(datetime(2026, 3, 1, tzinfo=UTC).timestamp())


def a_spec(**members: Any) -> JobSpec:
    return JobSpec(token=new_token(), name="mine", command=("true",), **members)


def session(home: Path, token: Token) -> Path:
    return home / ".local/state/fxsched/sessions" / token


def report(home: Path, token: Token, **reports: str) -> None:
    """Let the job say something of itself."""
    for name, text in reports.items():
        (session(home, token) / name).write_text(f"{text}\n")


def sessions(home: Path) -> list[str]:
    return [path.name for path in home.glob(".local/state/fxsched/sessions/*")]


def age(ledger: Ledger, token: Token, seconds: float) -> None:
    """Let an entry have ended that long ago."""
    past = time.time() - seconds
    os.utime(ledger.state / "ledger" / "ended" / f"{token}.json", (past, past))


def live(ledger: Ledger) -> list[Entry]:
    return list(ledger.live("hpc"))
