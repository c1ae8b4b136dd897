"""The launches of a soak, and what they reported: each is an own process of the installed launcher."""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

import anyio

from ..real.person import Person

LAUNCH_TIMEOUT = 12.0
WATCHED = 5.0
"""Seconds that the fifth part of the launches waits to be told that the session has started."""
PATIENCE = LAUNCH_TIMEOUT + WATCHED + 60
"""Seconds for a whole launch, on a machine where fifty of them share two cores."""
SETTINGS = f"launch_timeout = {LAUNCH_TIMEOUT:g}\npoll_interval = 2"


class Outcome(StrEnum):
    """What a launch reported to FastX."""

    QUEUED = "submitted"
    STARTED = "seen to start"
    ENDED = "started or submitted, and ended at once"
    ERROR = "one clear error"
    UNSETTLED = "unsettled"
    KILLED = "killed launchers"
    DEFECT = "anything else"


@dataclass(frozen=True)
class Launch:
    """One launch."""

    name: str
    outcome: Outcome
    text: str
    at: datetime
    """When it ended."""
    seconds: float
    job: str | None = None


def names(count: int) -> Iterator[str]:
    """Give each launch its own."""
    return (f"soak-{number:05}" for number in range(count))


async def launch_all(person: Person, count: int, at_a_time: int, seed: int) -> list[Launch]:
    """Run all launches. One in twenty is killed on its way, with SIGKILL."""
    choice = random.Random(seed)
    limiter = anyio.CapacityLimiter(at_a_time)
    done: list[Launch] = []

    async def launch(name: str, killed_after: float | None, watched: bool) -> None:
        async with limiter:
            done.append(await _launch(person, name, killed_after, "watched" if watched else "default"))

    async with anyio.create_task_group() as tasks:
        for number, name in enumerate(names(count), start=1):
            killed_after = choice.uniform(0.0, 6.0) ** 2 / 6 if number % 20 == 0 else None
            tasks.start_soon(launch, name, killed_after, number % 5 == 1)
    return done


async def _launch(person: Person, name: str, killed_after: float | None, profile: str) -> Launch:
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

    async def kill_later(seconds: float) -> None:
        await anyio.sleep(seconds)
        with suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGKILL)  # Popen.send_signal would take the exit status from asyncio

    hung = True
    with anyio.move_on_after(PATIENCE):
        async with process, anyio.create_task_group() as tasks:
            assert process.stdin
            tasks.start_soon(read, "out", process.stdout)
            tasks.start_soon(read, "err", process.stderr)
            if killed_after is not None:
                tasks.start_soon(kill_later, killed_after)
            with suppress(anyio.BrokenResourceError):  # it was killed before it read
                await process.stdin.send(person.request(name))
            await process.stdin.aclose()
            await process.wait()
            hung = False
            tasks.cancel_scope.deadline = anyio.current_time() + 1
    out, err = (text.decode("utf-8", "replace").strip() for text in said.values())
    outcome = Outcome.DEFECT if hung or process.returncode is None else judged(process.returncode, out, err)
    job = re.search(r"\bjob (\d+)\b", out)
    return Launch(
        name=name,
        outcome=outcome,
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
    if code == 1 and err.startswith("fxsched-launch: SubmitUnsettled:"):
        return Outcome.UNSETTLED
    if code == 1 and err.startswith("fxsched-launch: SchedulerUnavailable:"):
        return Outcome.ERROR
    if code == 1 and not err and " ended: " in out:
        return Outcome.ENDED
    return Outcome.DEFECT
