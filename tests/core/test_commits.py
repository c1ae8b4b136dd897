"""Group commit: what many tasks prepare is made durable once."""

from __future__ import annotations

import threading

import anyio
import pytest

from fxsched.commits import GroupCommit

pytestmark = pytest.mark.anyio


class Log:
    """What was called, in order; ``gate`` holds the first sync back until it is opened."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.gate = threading.Event()
        self.begun = threading.Event()

    def sync(self) -> None:
        self.calls.append("sync")
        self.begun.set()
        assert self.gate.wait(20)

    def step(self, name: str) -> None:
        self.calls.append(name)
        if name.startswith("bad"):
            raise OSError(28, name)


async def begun(log: Log) -> None:
    while not log.begun.is_set():
        await anyio.sleep(0.005)


async def test_one_task_prepares_syncs_and_follows() -> None:
    log = Log()
    log.gate.set()

    await GroupCommit(log.sync).run(lambda: log.step("a"), lambda: log.step("b"))

    assert log.calls == ["a", "sync", "b"]


async def test_tasks_that_come_while_it_is_at_work_share_the_next_sync() -> None:
    log = Log()
    commits = GroupCommit(log.sync)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(commits.run, lambda: log.step("a"), lambda: log.step("A"))
        await begun(log)
        for name in ("b", "c"):
            tasks.start_soon(commits.run, lambda n=name: log.step(n), lambda n=name: log.step(n.upper()))
        await anyio.wait_all_tasks_blocked()
        log.gate.set()

    assert log.calls[:3] == ["a", "sync", "A"]
    assert (sorted(log.calls[3:5]), log.calls[5], sorted(log.calls[6:])) == (["b", "c"], "sync", ["B", "C"])


@pytest.mark.parametrize("bad", ["prepare", "follow"])
async def test_an_error_concerns_its_own_task_only(bad: str) -> None:
    log = Log()
    log.gate.set()
    commits = GroupCommit(log.sync)
    errors = []

    async def one(prepare: str, follow: str) -> None:
        try:
            await commits.run(lambda: log.step(prepare), lambda: log.step(follow))
        except OSError as error:
            errors.append(error.strerror)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(one, *(("bad", "never") if bad == "prepare" else ("fine", "bad")))
        tasks.start_soon(one, "a", "A")

    assert errors == ["bad"]
    assert "never" not in log.calls
    assert "A" in log.calls


async def test_a_sync_that_fails_fails_every_task_of_its_turn_and_nothing_follows() -> None:
    calls: list[str] = []

    def sync() -> None:
        raise OSError(5, "Input/output error")

    with pytest.raises(OSError, match="Input/output error"):
        await GroupCommit(sync).run(lambda: calls.append("a"), lambda: calls.append("A"))

    assert calls == ["a"]


async def test_a_task_that_gives_up_does_not_keep_those_that_come_later() -> None:
    log = Log()
    commits = GroupCommit(log.sync)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(commits.run, lambda: log.step("a"), lambda: log.step("A"))
        await begun(log)
        tasks.cancel_scope.cancel()
    log.gate.set()

    await commits.run(lambda: log.step("b"), lambda: log.step("B"))

    assert "B" in log.calls


async def test_of_a_task_that_gives_up_before_its_turn_nothing_is_called() -> None:
    log = Log()
    commits = GroupCommit(log.sync)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(commits.run, lambda: log.step("a"), lambda: log.step("A"))
        await begun(log)
        with anyio.move_on_after(0.05):
            await commits.run(lambda: log.step("gone"), lambda: log.step("GONE"))
        log.gate.set()

    await commits.run(lambda: log.step("b"), lambda: log.step("B"))

    assert log.calls == ["a", "sync", "A", "b", "sync", "B"]
