"""Group commit: what many tasks want is made durable at once."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import anyio
import pytest

from fxsched.records.commits import MOST, GroupCommit

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

pytestmark = pytest.mark.anyio


class Log:
    """What was called, in order; ``gate`` holds the first commit back until it is opened."""

    def __init__(self, *, opened: bool = False) -> None:
        self.commits: list[list[str]] = []
        self.followed: list[str] = []
        self.undone: list[str] = []
        self.revoked: list[str] = []
        self.gate = threading.Event()
        self.begun = threading.Event()
        if opened:
            self.gate.set()

    def commit(self, items: Sequence[str]) -> list[Exception | None]:
        self.commits.append(sorted(items))
        self.begun.set()
        assert self.gate.wait(20)
        if "all fail" in items:
            raise OSError(5, "Input/output error")
        return [OSError(17, item) if item.startswith("refused") else None for item in items]

    def follow(self, item: str) -> Callable[[], None]:
        def follow() -> None:
            self.followed.append(item)
            if item.startswith("bad"):
                raise OSError(28, item)

        return follow

    def group(self) -> GroupCommit[str]:
        return GroupCommit(self.commit, self.revoked.append)

    async def run(self, commits: GroupCommit[str], item: str) -> None:
        await commits.run(item, self.follow(item), lambda: self.undone.append(item))


async def begun(log: Log) -> None:
    while not log.begun.is_set():
        await anyio.sleep(0.005)


async def test_one_task_is_committed_and_followed() -> None:
    log = Log(opened=True)

    await log.run(log.group(), "a")

    assert (log.commits, log.followed) == ([["a"]], ["a"])


async def test_tasks_that_come_while_it_is_at_work_are_committed_together() -> None:
    log = Log()
    commits = log.group()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(log.run, commits, "a")
        await begun(log)
        for name in ("b", "c"):
            tasks.start_soon(log.run, commits, name)
        await anyio.wait_all_tasks_blocked()
        log.gate.set()

    assert (log.commits, sorted(log.followed)) == ([["a"], ["b", "c"]], ["a", "b", "c"])


async def test_a_crowd_is_committed_in_portions() -> None:
    log = Log(opened=True)
    commits = log.group()
    names = [f"{number:03}" for number in range(3 * MOST)]
    async with anyio.create_task_group() as tasks:
        for name in names:
            tasks.start_soon(log.run, commits, name)

    assert sorted(log.followed) == sorted(name for turn in log.commits for name in turn) == names
    assert max(map(len, log.commits)) == MOST


@pytest.mark.parametrize(("item", "followed"), [("refused", ["a"]), ("bad", ["a", "bad"])])
async def test_an_error_concerns_its_own_task_only(item: str, followed: list[str]) -> None:
    log = Log(opened=True)
    commits = log.group()
    errors = []

    async def one(name: str) -> None:
        try:
            await log.run(commits, name)
        except OSError as error:
            errors.append(error.strerror)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(one, item)
        tasks.start_soon(one, "a")

    assert (errors, sorted(log.followed)) == ([item], followed)
    assert log.revoked == ([item] if item == "bad" else [])  # nothing half done is left


async def test_a_commit_that_fails_fails_every_task_of_its_turn_and_nothing_follows() -> None:
    log = Log(opened=True)

    with pytest.raises(OSError, match="Input/output error"):
        await log.run(log.group(), "all fail")

    assert log.followed == []


async def test_a_task_that_gives_up_does_not_keep_those_that_come_later() -> None:
    log = Log()
    commits = log.group()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(log.run, commits, "a")
        await begun(log)
        tasks.cancel_scope.cancel()
    log.gate.set()

    await log.run(commits, "b")

    assert "b" in log.followed
    with anyio.fail_after(20):
        while log.revoked != ["a"]:  # what its thread had begun is taken back
            await anyio.sleep(0.01)
    assert log.undone == ["a"]


async def test_of_a_task_that_gives_up_before_its_turn_nothing_is_done() -> None:
    log = Log()
    commits = log.group()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(log.run, commits, "a")
        await begun(log)
        with anyio.move_on_after(0.05):
            await log.run(commits, "gone")
        log.gate.set()

    await log.run(commits, "b")

    assert (log.commits, log.followed) == ([["a"], ["b"]], ["a", "b"])
