"""Several login nodes: one that is down costs a moment, once; what was sent is never sent again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import anyio
import pytest

from fxsched.errors import (
    CommandNotFound,
    ConfigurationError,
    FxschedError,
    HostKeyRejected,
    HostUnreachable,
    OutcomeUnknown,
)
from fxsched.hosts import CommandResult
from fxsched.hosts.failover import FailoverHost

pytestmark = pytest.mark.anyio


class Node:
    """A login node. ``trouble`` is what connecting and commands raise; ``slow``: the seconds that connecting takes."""

    home = None

    def __init__(self, label: str, trouble: FxschedError | None = None, *, slow: float = 0.0) -> None:
        self.label = label
        self.trouble = trouble
        self.slow = slow
        self.in_command: FxschedError | None = None
        self.connects = 0
        self.ran: list[str] = []

    async def connect(self) -> None:
        self.connects += 1
        await anyio.sleep(self.slow)
        if self.trouble:
            raise self.trouble

    async def run(self, argv: Sequence[str], **settings: Any) -> CommandResult:
        if self.trouble:
            raise self.trouble
        self.ran.append(argv[0])
        if self.in_command:
            raise self.in_command
        return CommandResult(0, self.label.encode(), b"")


def down(label: str) -> Node:
    return Node(label, HostUnreachable(f"no route to {label}"))


async def said(host: FailoverHost, command: str = "squeue", deadline: float = 20.0) -> str:
    return (await host.run([command], deadline=deadline)).text


async def test_the_first_that_answers_runs_everything() -> None:
    nodes = [down("a"), Node("b"), Node("c")]
    host = FailoverHost(nodes)

    assert [await said(host) for _ in range(3)] == ["b"] * 3
    assert (host.label, [node.connects for node in nodes]) == ("b", [1, 1, 0])


async def test_a_host_that_hangs_costs_its_head_start_once() -> None:
    nodes = [Node("a", slow=3600), Node("b")]
    host = FailoverHost(nodes, head_start=0.01)

    with anyio.fail_after(10):
        assert [await said(host) for _ in range(3)] == ["b"] * 3
    assert [node.connects for node in nodes] == [1, 1]


async def test_a_slow_host_that_connects_first_all_the_same_is_used() -> None:
    host = FailoverHost([Node("a", slow=0.1), Node("b", slow=3600)], head_start=0.01)

    with anyio.fail_after(10):
        assert await said(host) == "a"


async def test_many_commands_at_once_are_one_search() -> None:
    nodes = [down("a"), Node("b", slow=0.01)]
    host = FailoverHost(nodes)

    async with anyio.create_task_group() as tasks:
        for _ in range(50):
            tasks.start_soon(said, host)

    assert [node.connects for node in nodes] == [1, 1]
    assert len(nodes[1].ran) == 50


async def test_a_command_of_which_nothing_was_sent_goes_to_the_next_host() -> None:
    nodes = [Node("a"), Node("b")]
    host = FailoverHost(nodes)
    assert await said(host) == "a"
    nodes[0].trouble = HostUnreachable("the connection was lost, and there is no new one")

    assert await said(host, "sbatch") == "b"
    nodes[0].trouble = None
    assert await said(host) == "b"


async def test_a_command_that_was_sent_and_not_answered_is_never_repeated_on_another_host() -> None:
    nodes = [Node("a"), Node("b")]
    nodes[0].in_command = OutcomeUnknown("the connection was lost")

    with pytest.raises(OutcomeUnknown, match="the connection was lost"):
        await said(FailoverHost(nodes), "sbatch")

    assert [node.ran for node in nodes] == [["sbatch"], []]


async def test_a_program_that_is_missing_on_one_host_is_not_looked_for_on_another() -> None:
    nodes = [Node("a"), Node("b")]
    nodes[0].in_command = CommandNotFound("no sbatch on a")

    with pytest.raises(CommandNotFound):
        await said(FailoverHost(nodes), "sbatch")
    assert nodes[1].ran == []


async def test_where_no_host_answers_all_troubles_are_told() -> None:
    host = FailoverHost([down("a"), down("b")])

    with pytest.raises(HostUnreachable, match="no route to a; no route to b"):
        await said(host)


async def test_a_trouble_that_all_hosts_share_keeps_its_kind() -> None:
    host = FailoverHost([Node("a", HostKeyRejected("key of a")), Node("b", HostKeyRejected("key of b"))])

    with pytest.raises(HostKeyRejected, match="key of a; key of b"):
        await said(host)


async def test_a_configuration_that_is_wrong_is_told_as_such() -> None:
    host = FailoverHost([Node("a", ConfigurationError("asyncssh needs asyncio")), Node("b")])

    with pytest.raises(ConfigurationError, match="asyncssh needs asyncio"):
        await said(host)


async def test_hosts_that_come_back_are_used_again() -> None:
    nodes = [down("a"), down("b")]
    host = FailoverHost(nodes)
    with pytest.raises(HostUnreachable):
        await said(host)

    nodes[1].trouble = None

    assert await said(host) == "b"


async def test_a_host_is_tried_again_after_a_rest() -> None:
    nodes = [down("a"), Node("b")]
    host = FailoverHost(nodes, rest=0.05)
    assert await said(host) == "b"
    nodes[0].trouble, nodes[1].trouble = None, HostUnreachable("no route to b")
    await anyio.sleep(0.06)

    assert await said(host) == "a"


async def test_the_deadline_holds_for_connecting_too() -> None:
    host = FailoverHost([Node("a", slow=3600), Node("b", slow=3600)], head_start=0.01)

    with anyio.fail_after(10), pytest.raises(HostUnreachable, match="a or b did not answer in time; nothing was sent"):
        await said(host, deadline=0.1)


async def test_an_early_connect_is_the_search_itself() -> None:
    nodes = [down("a"), Node("b")]
    host = FailoverHost(nodes)

    await host.connect()

    assert (host.label, await said(host), nodes[0].connects) == ("b", "b", 1)
