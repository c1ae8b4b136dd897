"""What is the same around every fake command: the count of its calls, the log, the faults, and the output at the end.

A command is a function `run(cluster, arguments, environment) -> Reply`. It opens its own transactions on the cluster.
Each scheduler's package offers `COMMANDS` (name → "module:function") and `troubles.trouble(kind, command, arguments)`;
and, where one command does everything, `call_name(command, arguments)`, which faults and the log of calls go by, and
`CALLS`, all that it may be.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Mapping
from importlib import import_module

from . import faults
from .engine import Cluster
from .model import State


class Reply:
    """What a command leaves behind."""

    def __init__(self, out: str = "", err: str = "", rc: int = 0) -> None:
        self.out = os.fsencode(out)
        self.err = os.fsencode(err)
        self.rc = rc


class CommandError(Exception):
    """Raised by a command that gives up; carries what it leaves behind."""

    def __init__(self, err: str, rc: int = 1, *, out: str = "") -> None:
        super().__init__(err)
        self.reply = Reply(out, err, rc)


Command = Callable[[Cluster, list[str], Mapping[str, str]], Reply]


def main(scheduler: str, command: str, directory: str) -> None:
    """Runs one fake command as this process; never returns."""
    try:
        reply = call(scheduler, command, directory, sys.argv[1:])
    except KeyboardInterrupt:
        os._exit(130)
    for stream, content in ((1, reply.out), (2, reply.err)):
        try:
            while content:
                content = content[os.write(stream, content) :]
        except OSError:
            continue  # nobody reads
    os._exit(reply.rc)


def call(scheduler: str, command: str, directory: str, arguments: list[str]) -> Reply:
    """Runs one fake command within this process, whose standard input, environment and time are the command's.

    One that hangs never returns from `time.sleep`.
    """
    call_name = getattr(import_module(f"fxsched_fakes.{scheduler}"), "call_name", None)
    name = call_name(command, arguments) if call_name else command
    fault = faults.next_call(directory, name)
    reply = _with_fault(Cluster(directory), scheduler, command, name, arguments, fault)
    faults.log(directory, name, arguments, reply.rc)
    return reply


def _with_fault(
    cluster: Cluster, scheduler: str, command: str, call: str, arguments: list[str], fault: faults.Fault | None
) -> Reply:
    package = f"fxsched_fakes.{scheduler}"
    module, _, function = import_module(package).COMMANDS[command].partition(":")
    command_itself: Command = getattr(import_module(f"{package}.{module}"), function)

    def run() -> Reply:
        try:
            return command_itself(cluster, arguments, os.environ)
        except CommandError as error:
            return error.reply

    if fault is None:
        return run()

    def trouble(kind: str) -> Reply:
        time.sleep(fault.delay)
        reply: Reply = import_module(f"{package}.troubles").trouble(kind, call, arguments)
        return reply

    def hang() -> None:
        faults.log(cluster.directory, call, arguments, None)
        while True:
            time.sleep(3600)

    match fault.kind:
        case "fail":
            reply = trouble("fail")
            return reply if fault.stderr is None and fault.rc is None else Reply("", fault.stderr or "", fault.rc or 1)
        case "hang":
            hang()
        case "down" | "munge":
            return trouble(fault.kind)
        case "garbage":
            return _garbage(fault)
        case "slow":
            time.sleep(fault.delay)
        case "forget":
            _forget(cluster)
    reply = run()
    match fault.kind:
        case "accept-then-time-out":
            return trouble("time-out")
        case "accept-then-hang":
            hang()
        case "half-line":
            body = reply.out.rstrip(b"\n")
            start = body.rfind(b"\n") + 1
            reply.out = body[: start + (len(body) - start) // 2]
        case "banner":
            banner = os.fsencode(fault.text)
            if fault.stream == "stdout":
                reply.out = banner + reply.out
            else:
                reply.err = banner + reply.err
        case "lose":
            with cluster:
                newest = cluster.jobs.get(cluster.next_id - 1)
                if newest is not None and reply.rc == 0:
                    cluster.lose(newest)
                    cluster.next_id = newest.id
    return reply


def _garbage(fault: faults.Fault) -> Reply:
    reply = Reply()
    reply.out = (
        b"\xff\xfe\x80 \x1b[31m<html>503|\t\xc3\x28 4294967295;\xf0\x9f\n"
        if not fault.text
        else os.fsencode(fault.text)
    )
    return reply


def _forget(cluster: Cluster) -> None:
    with cluster:
        for job in [job for job in cluster.jobs.values() if job.state == State.ENDED]:
            cluster.forget(job)
