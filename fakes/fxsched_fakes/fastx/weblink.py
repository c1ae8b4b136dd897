"""The node's end of a weblink: how a session's start script and the simulated node talk.

FastX's own protocol is not public; this one is ours. It is JSON lines over TCP:

    script → node   {"uri": "/weblink", "primary": SECRET, "start": {…}, "report": {"argv": …, "stdin": BASE64, …}}
    node → script   {"result": {"id": …, "host": …, "display": …}}   or   {"error": {"name": …, "message": …}}
    script → node   {"started": {"pid": …}}     the command runs
    script → node   {"ended": {"exit_code": 0}}

The connection's life is the session's life. The node ends a session by closing its sending side; the script then ends
the command, says so, and closes too.
"""

import base64
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from anyio import BrokenResourceError, ClosedResourceError, EndOfStream, IncompleteRead
from anyio.abc import SocketStream
from anyio.streams.buffered import BufferedByteReceiveStream

MAX_LINE = 64 * 1024 * 1024


@dataclass(frozen=True)
class Report:
    """What a start script got, and where it runs."""

    argv: tuple[str, ...]
    stdin: bytes
    start: Mapping[str, Any]
    environment: Mapping[str, str]
    host: str
    pid: int
    cwd: str


@dataclass(frozen=True)
class Refusal:
    """A start script that the node sent away."""

    reason: str
    greeting: Mapping[str, Any]


class BadGreetingError(Exception):
    """What connected is not one of our start scripts."""


class Connection:
    """A start script's connection, as the node sees it."""

    def __init__(self, stream: SocketStream) -> None:
        self._stream = stream
        self._lines = BufferedByteReceiveStream(stream)

    async def greeting(self) -> dict[str, Any]:
        """The script's first line. Raises BadGreetingError."""
        greeting = await self._receive()
        if greeting is None or not {"uri", "primary", "start", "report"} <= greeting.keys():
            raise BadGreetingError
        return greeting

    async def accept(self, session_id: str, host: str, display: str) -> None:
        await self._send({"result": {"id": session_id, "host": host, "display": display}})

    async def refuse(self, message: str) -> None:
        await self._send({"error": {"name": "WeblinkError", "message": message}})

    async def started(self) -> bool:
        """Wait until the session's command runs; False if the connection was lost before."""
        return "started" in (await self._receive() or {})

    async def end(self) -> int | None:
        """Wait until the session has ended; its exit code, or None if the connection was lost."""
        farewell = await self._receive()
        code = (farewell or {}).get("ended", {}).get("exit_code")
        return code if isinstance(code, int) else None

    async def terminate(self) -> None:
        """Ask the script to end its session."""
        with suppress(OSError, BrokenResourceError, ClosedResourceError):  # the script may be faster
            await self._stream.send_eof()

    async def _send(self, message: Mapping[str, Any]) -> None:
        with suppress(BrokenResourceError):  # a script that has gone is noticed at the next read
            await self._stream.send(json.dumps(message).encode() + b"\n")

    async def _receive(self) -> dict[str, Any] | None:
        try:
            message = json.loads(await self._lines.receive_until(b"\n", MAX_LINE))
        except (ValueError, EndOfStream, IncompleteRead, BrokenResourceError):
            return None
        return message if isinstance(message, dict) else None


def report_of(greeting: Mapping[str, Any]) -> Report:
    report = greeting["report"]
    return Report(
        argv=tuple(report["argv"]),
        stdin=base64.b64decode(report["stdin"]),
        start=greeting["start"],
        environment=report["environment"],
        host=report["host"],
        pid=report["pid"],
        cwd=report["cwd"],
    )
