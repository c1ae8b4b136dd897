"""How the simulated node runs a launcher, and what it reads from its output."""

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import anyio
from anyio.abc import AnyByteReceiveStream, AnyByteSendStream


async def run(argv: Sequence[str], *, stdin: bytes, environment: Mapping[str, str], cwd: Path) -> tuple[int, str, str]:
    """Run a command until it has exited and closed its output; exit code, stdout, stderr. Killed when cancelled."""
    output: dict[str, bytes] = {}

    async def feed(stream: AnyByteSendStream) -> None:
        async with stream:
            with suppress(anyio.BrokenResourceError):  # it need not read all
                await stream.send(stdin)

    async def collect(name: str, stream: AnyByteReceiveStream) -> None:
        output[name] = b"".join([chunk async for chunk in stream])

    async with await anyio.open_process(argv, env=environment, cwd=cwd, start_new_session=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(feed, process.stdin)
            tasks.start_soon(collect, "stdout", process.stdout)
            tasks.start_soon(collect, "stderr", process.stderr)
        exit_code = await process.wait()
    return exit_code, output["stdout"].decode(errors="replace"), output["stderr"].decode(errors="replace")


def says_started(stdout: str) -> bool:
    """Whether there is a JSON object with a `result` member in a launcher's output, alone or on lines of its own."""
    decoder = json.JSONDecoder()
    position = 0
    for line in stdout.splitlines(keepends=True):
        indent = len(line) - len(line.lstrip())
        if line[indent : indent + 1] == "{":
            try:
                value, _ = decoder.raw_decode(stdout, position + indent)
            except ValueError:
                value = None
            if isinstance(value, dict) and "result" in value:
                return True
        position += len(line)
    return False
