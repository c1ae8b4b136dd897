"""A cluster whose scheduler is in memory."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import anyio
import pytest

from fxsched.cluster import cluster as verbs
from fxsched.cluster import polling, submission
from fxsched.cluster.cluster import Cluster
from fxsched.hosts import LocalHost
from fxsched.records.ledger import Ledger

from .common import PATIENT, SHORT
from .memory_adapter import MemoryAdapter


@pytest.fixture
def adapter(host: LocalHost) -> MemoryAdapter:
    return MemoryAdapter(host)


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path / "state")


@pytest.fixture
def cluster(adapter: MemoryAdapter, ledger: Ledger) -> Cluster:
    return Cluster("hpc", adapter, ledger, timing=SHORT)


@pytest.fixture
def patient(adapter: MemoryAdapter, ledger: Ledger) -> Cluster:
    """A cluster that is not asked all the time."""
    return Cluster("hpc", adapter, ledger, timing=PATIENT)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Let time pass, for the cluster's records."""
    moment = [datetime(2026, 3, 1, 12, tzinfo=UTC)]
    for place in (verbs, polling, submission):
        monkeypatch.setattr(place, "now", lambda: moment[0])

    def pass_time(seconds: float) -> None:
        moment[0] += timedelta(seconds=seconds)

    return pass_time


@pytest.fixture
def in_the_pause(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], object]], None]:
    """Let something happen while the cluster waits between two answers, once."""
    sleep = anyio.sleep
    due: list[Callable[[], object]] = []

    async def sleep_and_let_happen(seconds: float) -> None:
        if due and seconds == SHORT.settle_pause:
            due.pop()()
        await sleep(seconds)

    monkeypatch.setattr(anyio, "sleep", sleep_and_let_happen)
    return due.append
