"""Launchers that get a signal at their n-th step: ``python killed.py SIGNAL FIRST END STRIDE``, a request on stdin.

Every await of every task is a step. For each n of the range one process is forked, which saves it the time of the
imports and is a launcher otherwise. A line of JSON tells how each ended; after one that ended before its n-th step,
there are no more.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import tempfile
from contextlib import suppress
from typing import Any

from steps import Stepped

from fxsched.fastx import launcher

_launch = launcher._launch_or_stop


def main(number: int, first: int, end: int, stride: int) -> None:
    data = sys.stdin.buffer.read()
    for last in range(first, end, stride):
        with tempfile.TemporaryFile("w+") as output:
            pid = os.fork()
            if pid == 0:
                _be_launcher(data, output.fileno(), number, last)
            _, status = os.waitpid(pid, 0)
            output.seek(0)
            text, mark, _ = output.read().partition("\0")
        code = os.waitstatus_to_exitcode(status)
        print(json.dumps({"step": last, "code": code, "text": text.strip(), "reached": not mark}), flush=True)
        if mark:
            return


def _be_launcher(data: bytes, output: int, number: int, last: int) -> None:
    steps = 0

    def step() -> None:
        nonlocal steps
        steps += 1
        if steps == last:
            os.kill(os.getpid(), number)

    def stepped_task(loop: asyncio.AbstractEventLoop, coroutine: Any, **options: Any) -> asyncio.Task[Any]:
        return asyncio.Task(Stepped(coroutine, step), loop=loop, **options)

    async def launch_stepped(*arguments: Any) -> Any:
        asyncio.get_running_loop().set_task_factory(stepped_task)
        return await asyncio.get_running_loop().create_task(_launch(*arguments))

    setattr(launcher, _launch.__name__, launch_stepped)
    with tempfile.TemporaryFile() as request:
        request.write(data)
        request.seek(0)
        os.dup2(request.fileno(), 0)
    os.dup2(output, 1)
    code = 128 + signal.SIGINT  # as the interpreter itself ends by Ctrl-C, before the launcher listens
    with suppress(KeyboardInterrupt):
        code = launcher.main([])
    if steps < last:
        print("\0", end="")
    sys.stdout.flush()
    os._exit(code)


if __name__ == "__main__":
    first, end, stride = map(int, sys.argv[2:5])
    main(signal.Signals[sys.argv[1]], first, end, stride)
