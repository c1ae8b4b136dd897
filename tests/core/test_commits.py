"""Group commit: what many tasks want is made durable at once."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import anyio
import pytest

from fxsched.commits import MOST, GroupCommit

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

pytestmark = pytest.mark.anyio


class Log:
    """What was called, in order; ``gate`` holds the first commit back until it is opened."""

    def __init__(self, *, opened: bool = False) -> None:
        self.commits: list[list[str]] = []
        self.followed: list[str] = []
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


async def begun(log: Log) -> None:
    while not log.begun.is_set():
        await anyio.sleep(0.005)


async def test_one_task_is_committed_and_followed() -> None:
    log = Log(opened=True)

    await GroupCommit(log.commit).run("a", log.follow("a"))

    assert (log.commits, log.followed) == ([["a"]], ["a"])


async def test_tasks_that_come_while_it_is_at_work_are_committed_together() -> None:
    log = Log()
    commits = GroupCommit(log.commit)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(commits.run, "a", log.follow("a"))
        await begun(log)
        for name in ("b", "c"):
            tasks.start_soon(commits.run, name, log.follow(name))
        await anyio.wait_all_tasks_blocked()
        log.gate.set()

    assert (log.commits, sorted(log.followed)) == ([["a"], ["b", "c"]], ["a", "b", "c"])


async def test_a_crowd_is_committed_in_portions() -> None:
    log = Log(opened=True)
    commits = GroupCommit(log.commit)
    names = [f"{number:03}" for number in range(3 * MOST)]
    async with anyio.create_task_group() as tasks:
        for name in names:
            tasks.start_soon(commits.run, name, log.follow(name))

    assert sorted(log.followed) == sorted(name for turn in log.commits for name in turn) == names
    assert max(map(len, log.commits)) == MOST


@pytest.mark.parametrize(("item", "followed"), [("refused", ["a"]), ("bad", ["a", "bad"])])
async def test_an_error_concerns_its_own_task_only(item: str, followed: list[str]) -> None:
    log = Log(opened=True)
    commits = GroupCommit(log.commit)
    errors = []

    async def one(name: str) -> None:
        try:
            await commits.run(name, log.follow(name))
        except OSError as error:
            errors.append(error.strerror)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(one, item)
        tasks.start_soon(one, "a")

    assert (errors, sorted(log.followed)) == ([item], followed)


async def test_a_commit_that_fails_fails_every_task_of_its_turn_and_nothing_follows() -> None:
    log = Log(opened=True)

    with pytest.raises(OSError, match="Input/output error"):
        await GroupCommit(log.commit).run("all fail", log.follow("all fail"))

    assert log.followed == []


async def test_a_task_that_gives_up_does_not_keep_those_that_come_later() -> None:
    log = Log()
    commits = GroupCommit(log.commit)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(commits.run, "a", log.follow("a"))
        await begun(log)
        tasks.cancel_scope.cancel()
    log.gate.set()

    await commits.run("b", log.follow("b"))

    assert "b" in log.followed


async def test_of_a_task_that_gives_up_before_its_turn_nothing_is_done() -> None:
    log = Log()
    commits = GroupCommit(log.commit)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(commits.run, "a", log.follow("a"))
        await begun(log)
        with anyio.move_on_after(0.05):
            await commits.run("gone", log.follow("gone"))
        log.gate.set()

    await commits.run("b", log.follow("b"))

    assert (log.commits, log.followed) == ([["a"], ["b"]], ["a", "b"])
