"""The launches of a soak, and what they reported: each is an own process of the installed launcher."""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from functools import partial

import anyio

from ..real.person import Person
from .evidence import STAYS

LAUNCH_TIMEOUT = 12.0
WATCHED = 5.0
"""Seconds that the fifth part of the launches waits to be told that the session has started."""
PATIENCE = 2 * LAUNCH_TIMEOUT + WATCHED + 120
"""Seconds for a whole launch, a lookup and a withdrawal too, on a machine where fifty of them share two cores."""
KILLED_WITHIN = 6.0
SETTINGS = f"launch_timeout = {LAUNCH_TIMEOUT:g}\npoll_interval = 2"


class Outcome(StrEnum):
    """What a launch reported to FastX."""

    QUEUED = "submitted"
    STARTED = "seen to start"
    ENDED = "error: its session has ended"
    UNAVAILABLE = "error: there is no job"
    UNSETTLED = "error: it is not known whether there is a job"
    UNVERIFIED = "error: there is a job that could not be cancelled"
    KILLED = "launchers that were killed"
    DEFECT = "anything else"


_ERRORS = {
    "SchedulerUnavailable": Outcome.UNAVAILABLE,
    "SubmitUnsettled": Outcome.UNSETTLED,
    "CancelUnverified": Outcome.UNVERIFIED,
}
_ERROR = re.compile(r"fxsched-launch: (\w+):")


@dataclass(frozen=True)
class Launch:
    """One launch."""

    name: str
    outcome: Outcome
    heard: bool
    """Whether FastX was told of a session, be it that the launcher was killed afterwards."""
    text: str
    at: datetime
    """When it ended."""
    seconds: float
    job: str | None = None


def names(count: int) -> Iterator[str]:
    """Give each launch its own. One in twenty is to be killed: its session stays, so that it has to be cancelled."""
    return (f"soak-{number:05}{STAYS if number % 20 == 0 else ''}" for number in range(1, count + 1))


async def launch_all(
    person: Person, count: int, at_a_time: int, seed: int, began: Callable[[str], bool], done: Callable[[Launch], None]
) -> list[Launch]:
    """Run all launches. One in twenty is killed on its way, with SIGKILL; half of these while they watch the session.

    Args:
        person: who launches.
        count: how many times.
        at_a_time: how many at the same time.
        seed: decides when launchers are killed.
        began: tells whether the session of a launch has begun.
        done: hears of each launch that has ended.
    """
    choice = random.Random(seed)
    limiter = anyio.CapacityLimiter(at_a_time)
    launches: list[Launch] = []

    async def when_to_kill(name: str, after: float, watched: bool) -> None:
        while watched and not began(name):
            await anyio.sleep(0.1)
        await anyio.sleep(after)

    async def launch(name: str, killed_after: float | None, watched: bool) -> None:
        async with limiter:
            kill = None if killed_after is None else partial(when_to_kill, name, killed_after, watched)
            ended = await _launch(person, name, "watched" if watched else "default", kill)
        launches.append(ended)
        done(ended)

    async with anyio.create_task_group() as tasks:
        for number, name in enumerate(names(count), start=1):
            killed_after = choice.uniform(0.0, KILLED_WITHIN) ** 2 / KILLED_WITHIN if name.endswith(STAYS) else None
            tasks.start_soon(launch, name, killed_after, number % 5 == 1 or number % 40 == 0)
    return launches


async def _launch(person: Person, name: str, profile: str, kill: Callable[[], Awaitable[None]] | None) -> Launch:
    begin = anyio.current_time()
    process = await anyio.open_process(
        person.command("fxsched-launch", "--profile", profile),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=person.environment,
        cwd=person.home,
    )
    said: dict[str, bytes] = {"out": b"", "err": b""}

    async def read(which: str, stream: anyio.abc.ByteReceiveStream | None) -> None:
        assert stream
        async for chunk in stream:
            said[which] += chunk

    async def kill_later(when: Callable[[], Awaitable[None]]) -> None:
        await when()
        with suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGKILL)  # Popen.send_signal would take the exit status from asyncio

    hung = True
    with anyio.move_on_after(PATIENCE):
        async with process, anyio.create_task_group() as tasks:
            assert process.stdin
            tasks.start_soon(read, "out", process.stdout)
            tasks.start_soon(read, "err", process.stderr)
            if kill is not None:
                tasks.start_soon(kill_later, kill)
            with suppress(anyio.BrokenResourceError):  # it was killed before it read
                await process.stdin.send(person.request(name))
            await process.stdin.aclose()
            await process.wait()
            hung = False
            tasks.cancel_scope.deadline = anyio.current_time() + 1
    out, err = (text.decode("utf-8", "replace").strip() for text in said.values())
    outcome = Outcome.DEFECT if hung or process.returncode is None else judged(process.returncode, out, err)
    job = re.search(r"\bjob (\d+)\b", out)
    failed = "could not be started" in out or " ended: " in out
    return Launch(
        name=name,
        outcome=outcome,
        heard=outcome in (Outcome.QUEUED, Outcome.STARTED) or (outcome is Outcome.KILLED and out != "" and not failed),
        text=f"{out}\n{err}" if not hung else f"it hung for more than {PATIENCE:g} s",
        at=datetime.now(UTC),
        seconds=anyio.current_time() - begin,
        job=job[1] if job and process.returncode == 0 else None,
    )


def judged(code: int, out: str, err: str) -> Outcome:
    """Return what the launcher's last words mean to FastX."""
    if code == -signal.SIGKILL:
        return Outcome.KILLED
    if code == 0:
        return Outcome.STARTED if "has started" in out else Outcome.QUEUED
    if code == 1 and (error := _ERROR.match(err)):
        return _ERRORS.get(error[1], Outcome.DEFECT)
    if code == 1 and not err and " ended: " in out:
        return Outcome.ENDED
    return Outcome.DEFECT
