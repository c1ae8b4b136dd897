"""What a launch does from end to end: a FastX node, the installed ``fxsched-launch``, a scheduler, a session."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import pytest

from fxsched.jobs import EndCause, JobState
from fxsched_fakes.fastx import SessionState

from .place import LAUNCHER, START
from .site import processes_with, until_text

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from fxsched_fakes.fastx import LaunchResult

    from .place import Place


class LaunchContract:
    """Subclass it and give it a fixture ``place``."""

    pytestmark = pytest.mark.anyio

    async def test_a_pending_session_starts_and_gets_its_start_object_as_it_was(self, place: Place) -> None:
        launch = await place.launch()
        report = await place.node.started(launch.session)

        assert (launch.exit_code, launch.stderr, launch.says_started) == (0, "", True)
        assert launch.session.state is SessionState.STARTED
        assert report.stdin == json.dumps(launch.session.start).encode()
        assert report.argv[1:] == ("--json=0", "--cli")
        assert (await place.site.status(await place.job())).state is JobState.RUNNING

    async def test_the_session_knows_its_weblink_and_nobody_else_knows_its_secret(self, place: Place) -> None:
        node, seen = place.node, set[str]()

        async def watch() -> None:
            while True:
                seen.update(line for line in command_lines() if node.primary in line)
                await anyio.sleep(0.005)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(watch)
            launch = await place.launch()
            report = await node.started(launch.session)
            tasks.cancel_scope.cancel()

        weblink = {name: value for name, value in report.environment.items() if name.startswith("WEBLINK_")}
        assert weblink == {"WEBLINK_URL": node.url, "WEBLINK_URI": node.uri, "WEBLINK_PRIMARY": node.primary}
        assert Path(report.argv[0]) == node.installation.start_weblink
        assert seen == set()
        assert node.primary not in launch.stdout
        shown = place.site.shown_to_everybody(await place.job())
        assert node.primary not in shown
        assert START["params"]["project"] not in shown

    async def test_a_session_inside_the_fastx_cluster_needs_no_weblink(self, place: Place) -> None:
        launch = await place.launch(weblink=False)
        report = await place.node.started(launch.session)

        assert launch.exit_code == 0
        assert Path(report.argv[0]) == place.node.installation.start
        assert not [name for name in report.environment if name.startswith("WEBLINK_")]

    async def test_a_start_script_that_returns_at_once_does_not_take_its_session_down(self, place: Place) -> None:
        place.configure('start_args = ["--json=0"]\nwait_for_session = "processes"')

        launch = await place.launch()
        await place.node.started(launch.session)
        job = await place.job()
        await anyio.sleep(0.5)  # a job that did not wait would have ended

        assert (launch.exit_code, launch.says_started) == (0, True)
        assert (await place.site.status(job)).state is JobState.RUNNING
        await place.node.terminate(launch.session)
        await place.node.ended(launch.session)
        assert (await place.site.ended(job)).cause is EndCause.COMPLETED

    async def test_a_start_script_that_fails_is_a_failure_with_its_cause_and_its_words(self, place: Place) -> None:
        place.configure(start_script="echo no licence is left; echo ask the desk >&2; exit 3")

        launch = await place.launch()

        assert launch.exit_code == 1
        assert "failed with exit code 3" in launch.stdout
        assert "no licence is left" in launch.stdout
        assert "ask the desk" in launch.stdout
        assert [session.state for session in place.node.sessions] == [SessionState.REMOVED]
        assert not launch.session.stray
        assert (await place.site.ended(await place.job())).cause is EndCause.FAILED

    async def test_the_job_ends_when_the_user_ends_the_session(self, place: Place) -> None:
        launch = await place.launch()
        await place.node.started(launch.session)

        await place.node.terminate(launch.session)
        await place.node.ended(launch.session)

        assert (await place.site.ended(await place.job())).cause is EndCause.COMPLETED
        assert left_of(place) == []

    async def test_the_session_ends_when_an_operator_cancels_the_job(self, place: Place) -> None:
        launch = await place.launch()
        await place.node.started(launch.session)

        said = await place.fxsched("cancel", "--json", await place.job())

        assert json.loads(said)["cause"] == "cancelled"
        await place.node.ended(launch.session)
        assert launch.session.state is SessionState.ENDED
        assert left_of(place) == []

    async def test_a_launcher_that_is_interrupted_leaves_no_job_and_no_session(self, place: Place) -> None:
        ready = place.node.home / "ready"
        place.configure("wait_for_start = 60", start_script=f"echo >{ready}; exec sleep 60")

        code = await interrupted(place, lambda: until_text(ready))

        assert code == 128 + signal.SIGTERM
        assert (await place.site.status(await place.job())).cause is EndCause.CANCELLED
        assert [session.state for session in place.node.sessions] == [SessionState.REMOVED]
        assert left_of(place) == []


class QueueLaunchContract(LaunchContract):
    """For a scheduler that lets jobs wait."""

    async def test_a_session_for_which_there_is_no_room_says_so_and_starts_later(self, place: Place) -> None:
        everything = await place.site.submit(**place.site.everything)
        await place.site.until(everything, JobState.RUNNING)
        place.configure(f"wait_for_start = {place.site.planning}")

        launch = await place.launch()

        assert (launch.exit_code, launch.says_started) == (0, False)
        assert "is queued: waiting for free nodes" in launch.stdout
        assert launch.session.state is SessionState.PENDING
        await place.site.adapter.cancel(everything)
        await place.node.started(launch.session)
        assert not launch.session.stray

    async def test_a_launcher_that_is_interrupted_while_its_job_waits_leaves_no_job(self, place: Place) -> None:
        place.configure(f"wait_for_start = 60\nnative = {json.dumps(place.site.held['native'])}")

        code = await interrupted(place, place.job)

        assert code == 128 + signal.SIGTERM
        assert (await place.site.status(await place.job())).cause is place.site.deleted_while_waiting


async def interrupted(place: Place, ready: Callable[[], Awaitable[object]]) -> int:
    """Launch, end the launcher with TERM when it is ``ready``, and return its exit code."""
    pid = place.node.home / "pid"
    launches: list[LaunchResult] = []

    async def launch() -> None:
        launches.append(await place.launch(launcher=["sh", "-c", f"echo $$ >{pid}; exec {LAUNCHER}"]))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(launch)
        await ready()
        os.kill(int(await until_text(pid)), signal.SIGTERM)
    return launches[0].exit_code


def left_of(place: Place) -> list[int]:
    """Return the processes of the place's sessions that still run."""
    return [pid for token in place.tokens() for pid in processes_with(f"FXSCHED_TOKEN={token}")]


def command_lines() -> Iterator[str]:
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/cmdline", errors="replace") as file:
                yield file.read()
        except OSError:
            continue
