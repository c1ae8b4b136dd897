"""Launches that are killed, interrupted or cancelled, at every point: afterwards a session that is known, or none."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from fxsched.hosts import LocalHost

from .. import programs
from ..programs import FXSCHED
from .conftest import until
from .steps import Stepped

if TYPE_CHECKING:
    from fxsched.cluster.cluster import Job

    from .conftest import Site

KILLED = Path(__file__).with_name("killed.py")
CHUNK = 12
CHUNKS = 8
"""Together more than the steps of a launch: the last chunk finds the end."""


def interrupted_launches(site: Site, name: str, first: int, end: int, stride: int = 1) -> list[dict[str, Any]]:
    """Launch for each point of the range, with the signal at that point; return how the launches ended."""
    site.configure(wait_for_start=0.01)
    done = subprocess.run(
        [sys.executable, KILLED, name, str(first), str(end), str(stride)],
        input=site.request(),
        stdout=subprocess.PIPE,
        env=site.environment,
        timeout=100,
        check=True,
    )
    # What a killed launcher had started may be about to submit.
    until(lambda: not site.clients(), "the scheduler's clients stayed")
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_kill_9_at_every_await_loses_no_job_and_makes_no_twin(site: Site, chunk: int) -> None:
    first = 1 + chunk * CHUNK

    launches = interrupted_launches(site, "SIGKILL", first, first + CHUNK)
    site.fxsched("reconcile", "--fix")

    site.assert_exactly_once()
    assert site.fxsched("reconcile") == ""
    assert len(launches) == CHUNK or not launches[-1]["reached"]
    assert chunk < CHUNKS - 1 or not launches[-1]["reached"], "a launch has more steps than are tested"


def test_kill_9_before_the_submit_leaves_no_trace_after_reconcile(site: Site) -> None:
    site.plan("sbatch", "hang")
    launcher = site.launching()
    until(lambda: site.calls("sbatch"))
    launcher.kill()
    launcher.communicate()

    for pid in pids_of(site, "sbatch"):
        subprocess.run(["kill", "-9", pid], check=True)
    until(lambda: not site.clients())
    assert len(site.live_entries()) == 1
    assert site.fxsched("reconcile", "--fix").endswith("no job came of it; mended.\n")

    assert (site.live_entries(), site.sessions(), site.live_jobs()) == ({}, set(), {})


def test_kill_9_after_the_submit_leaves_no_session_once_the_user_launches_again(
    site: Site,
) -> None:
    site.plan("sbatch", "accept-then-hang", calls=[1])
    launcher = site.launching()
    until(lambda: site.calls("sbatch"))
    launcher.kill()
    launcher.communicate()
    assert [entry.job for entry in site.live_entries().values()] == [None]

    assert site.launch().returncode == 0

    site.assert_exactly_once()
    assert len(site.live_jobs()) == 1
    for pid in pids_of(site, "sbatch"):
        subprocess.run(["kill", "-9", pid], check=True)


@pytest.mark.parametrize(("name", "code"), [("SIGTERM", 143), ("SIGINT", 130)])
def test_a_launch_that_is_asked_to_end_leaves_no_session_or_has_told_of_it(site: Site, name: str, code: int) -> None:
    launches = interrupted_launches(site, name, 1 if name == "SIGTERM" else 4, CHUNK * CHUNKS, stride=8)

    told = [launch for launch in launches if launch["code"] == 0]
    # Before the launcher listens, the signal ends it as it ends any process, and nothing has been submitted.
    assert {launch["code"] for launch in launches if launch["code"]} <= {code, -getattr(signal, name)}
    assert all("my session" in launch["text"] for launch in told)
    assert len(site.live_jobs()) == len(told)
    site.assert_exactly_once()


@pytest.mark.parametrize(
    ("fault", "number", "code"), [("hang", signal.SIGTERM, 143), ("accept-then-hang", signal.SIGINT, 130)]
)
def test_a_signal_while_sbatch_hangs_leaves_no_job(site: Site, fault: str, number: int, code: int) -> None:
    site.plan("sbatch", fault, calls=[1])
    launcher = site.launching()
    until(lambda: site.calls("sbatch"))
    launcher.send_signal(number)
    for pid in pids_of(site, "sbatch"):
        os.kill(int(pid), signal.SIGKILL)  # as at its deadline

    out, _ = launcher.communicate()

    assert (launcher.returncode, out) == (code, "The launch was interrupted; no session was left behind.\n")
    assert (site.live_jobs(), site.live_entries(), site.clients()) == ({}, {}, [])


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_submit_that_is_asked_to_end_leaves_no_job_that_nobody_knows_of(site: Site, number: int, code: int) -> None:
    site.plan("sbatch", "accept-then-hang", calls=[1])
    submit = programs.Popen(
        [FXSCHED, "submit", "true"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=site.environment,
        cwd=site.home,
        text=True,
    )
    until(lambda: site.calls("sbatch"))
    submit.send_signal(number)
    for pid in pids_of(site, "sbatch"):
        os.kill(int(pid), signal.SIGKILL)  # as at its deadline

    out, err = submit.communicate()

    assert (submit.returncode, out) == (code, "")
    assert err.endswith("fxsched: interrupted; no job was left behind\n")
    assert (site.live_jobs(), site.live_entries(), site.clients()) == ({}, {}, [])


SIGNALLED = """
import os, signal
import anyio
from fxsched.cluster.cluster import Cluster
from fxsched.fastx import launcher
from fxsched_slurm.adapter import SlurmAdapter

def hit(*numbers):
    for number in numbers:
        os.kill(os.getpid(), number)

async def wait_for_start(*arguments, **settings):
    hit(signal.SIGTERM)
    await anyio.sleep_forever()

def hit_before(function):
    def hit_first(*arguments):
        if function is not set_signal or arguments[1] is signal.SIG_IGN:
            hit(signal.SIGHUP, signal.SIGTERM, signal.SIGINT)
        return function(*arguments)
    return hit_first

set_signal = signal.signal
Cluster.wait_for_start = wait_for_start
place, name = {place}, {name!r}
setattr(place, name, hit_before(getattr(place, name)))
launcher.main()
"""
"""A launcher that gets a signal while it waits for its job, and all signals once more at a later moment."""


def launch_signalled(site: Site, place: str, name: str) -> tuple[int, str]:
    """Launch; return the exit status and the answer."""
    site.configure(wait_for_start=60.0)
    done = subprocess.run(
        [sys.executable, "-c", SIGNALLED.format(place=place, name=name)],
        input=site.request(),
        capture_output=True,
        env=site.environment,
        timeout=60,
    )
    return done.returncode, done.stdout.decode()


@pytest.mark.parametrize(("place", "name"), [("SlurmAdapter", "cancel"), ("launcher.Outlet", "tell")])
def test_a_second_signal_does_not_keep_a_launch_from_finishing(site: Site, place: str, name: str) -> None:
    ended = launch_signalled(site, place, name)

    assert ended == (143, "The launch was interrupted; no session was left behind.\n")
    assert (site.live_jobs(), site.live_entries(), len(site.ended_tokens())) == ({}, {}, 1)


def test_a_launch_heeds_signals_until_nothing_is_left(site: Site) -> None:
    # When it begins to ignore them, there is a moment in which one would end it.
    launch_signalled(site, "signal", "signal")

    assert (site.live_jobs(), site.live_entries(), len(site.ended_tokens())) == ({}, {}, 1)


def test_a_signal_while_nothing_can_be_cancelled_says_that_a_job_is_left(site: Site, monkeypatch: Any) -> None:
    cluster = site.open(cancel=0.1)

    async def main() -> None:
        with anyio.CancelScope() as scope:
            submit = cluster.adapter.submit

            async def submit_and_break(spec: Any) -> Any:
                id = await submit(spec)
                site.plan("squeue", "down")
                scope.cancel()
                return id

            monkeypatch.setattr(cluster.adapter, "submit", submit_and_break)
            await cluster.submit(site.spec())

    with pytest.raises(Exception, match=r"cluster 'main'.*fxsched cancel 1"):
        anyio.run(main)
    site.assert_exactly_once()


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.parametrize("part", [0, 1])
def test_a_scope_cancelled_at_any_step_leaves_no_job_or_returns_one(site: Site, backend: str, part: int) -> None:
    async def submit(last: int) -> tuple[Job | None, int]:
        steps = 0

        def step() -> None:
            nonlocal steps
            steps += 1
            if steps == last:
                scope.cancel()

        job: Job | None = None
        with anyio.CancelScope() as scope:
            job = await Stepped(site.open(LocalHost()).submit(site.spec()), step)
        return job, steps

    kept = []
    for last in range(1 + part, 1000, 2):
        job, steps = anyio.run(submit, last, backend=backend)
        if job:
            kept.append(job.id)
        if steps < last:
            break

    assert sorted(site.live_jobs()) == sorted(kept)
    assert kept, "the last one is not cancelled"
    site.assert_exactly_once()


def pids_of(site: Site, command: str) -> list[str]:
    """Return the process ids of one of the scheduler's clients."""
    wanted = f"{site.bin / command}\0".encode()
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if wanted in path.read_bytes():
                found.append(path.parent.name)
        except OSError:
            continue
    return found
