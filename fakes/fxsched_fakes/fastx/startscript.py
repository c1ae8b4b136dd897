"""The program behind `scripts/start` and `scripts/start-weblink` of a simulated FastX installation.

`installation.py` copies this file there, below a `#!` line. It runs on compute nodes, so it needs nothing but the
standard library. It accepts what FastX documents and nothing else, so that a launcher which calls it wrongly is told.

One session is one connection to the node (`weblink.py` describes what is said on it): the session ends when its command
exits, when the node closes the connection, or when this process gets SIGTERM, and then its command has ended too.

Where FastX documents nothing, this is our choice: `--cli` goes together with `--json=0` and with `start-weblink`; it
exits with the command's exit code, with 0 when the node ended the session, and with 143 after SIGTERM.
"""

import argparse
import base64
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

GRACE = 1.0  # seconds that a command has between TERM and KILL
WEBLINK_SCRIPT = "start-weblink"


class StartError(Exception):
    """The session cannot start; the text is for the person who asked for it."""


def main() -> int:
    script = Path(sys.argv[0])
    options = parse_options(script.name)
    try:
        stdin = b"" if options.json is None else read_all(options.json)
        start = start_from_options(options) if options.json is None else start_from_json(stdin)
        url, uri, primary = weblink_of(script)
        if not options.cli:
            return detached(lambda announce: Session(url, uri, primary, start, stdin).run(announce))
        return Session(url, uri, primary, start, stdin).run(lambda line: print(line, flush=True))
    except StartError as error:
        print(f"{script.name}: {error}", file=sys.stderr)
        return 1


def parse_options(script: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog=script, allow_abbrev=False)
    parser.add_argument("--json", type=int, metavar="FD", help="read the start object from this file descriptor")
    parser.add_argument("--command")
    parser.add_argument("--geometry")
    parser.add_argument("--name")
    parser.add_argument("--param", action="append", metavar="K=V")
    parser.add_argument("--cli", action="store_true", help="stay in the foreground until the session ends")
    options = parser.parse_args()
    by_option = [options.command, options.geometry, options.name, options.param]
    if options.json is None and options.command is None:
        parser.error("one of --json and --command is needed")
    if options.json is not None and any(value is not None for value in by_option):
        parser.error("--json takes the place of --command, --geometry, --name and --param")
    if not all("=" in param for param in options.param or []):
        parser.error("--param wants K=V")
    return options


def start_from_options(options: argparse.Namespace) -> dict[str, Any]:
    start = {"command": options.command, "geometry": options.geometry, "name": options.name}
    params = dict(param.split("=", 1) for param in options.param or [])
    return {key: value for key, value in start.items() if value is not None} | {"params": params}


def start_from_json(text: bytes) -> dict[str, Any]:
    try:
        start = json.loads(text)
    except ValueError as error:
        raise StartError(f"the start object is not JSON: {error}") from None
    if not isinstance(start, dict):
        raise StartError("the start object is not a JSON object")
    if not isinstance(start.get("command"), str):
        raise StartError("the start object has no command")
    return start


def read_all(descriptor: int) -> bytes:
    try:
        with open(descriptor, "rb") as stream:
            return stream.read()
    except OSError as error:
        raise StartError(f"cannot read file descriptor {descriptor}: {error}") from None


def weblink_of(script: Path) -> tuple[str, str, str]:
    """Where the node is: from the environment outside the FastX cluster, from a file of the installation inside."""
    if script.name != WEBLINK_SCRIPT:
        node = json.loads(script.with_name("node.json").read_bytes())
        return node["url"], node["uri"], node["primary"]
    for name in ("WEBLINK_URL", "WEBLINK_PRIMARY"):
        if not os.environ.get(name):
            raise StartError(f"{name} is not set in the environment")
    return os.environ["WEBLINK_URL"], os.environ.get("WEBLINK_URI", "/weblink"), os.environ["WEBLINK_PRIMARY"]


def detached(run: Callable[[Callable[[str], None]], int]) -> int:
    """Leave the session behind in a process of its own; print what it announces and return."""
    reader, writer = os.pipe()
    if os.fork() == 0:
        os.close(reader)
        leave_session_behind(run, writer)
    os.close(writer)
    with open(reader, encoding="utf-8") as pipe:
        line = pipe.read()
    if not line.startswith("{"):
        raise StartError(line or "the session ended before it had connected")
    print(line, flush=True)
    return 0


def leave_session_behind(run: Callable[[Callable[[str], None]], int], writer: int) -> NoReturn:
    os.setsid()
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in range(3):
        os.dup2(null, descriptor)

    def announce(line: str) -> None:
        os.write(writer, line.encode())
        os.close(writer)

    code = 1
    try:
        code = run(announce)
    except StartError as error:
        announce(str(error))
    finally:
        os._exit(code)


class Session:
    """One session: a connection to the node, and the command that lives as long as it."""

    def __init__(self, url: str, uri: str, primary: str, start: dict[str, Any], stdin: bytes) -> None:
        self.url, self.uri, self.primary = url, uri, primary
        self.start, self.stdin = start, stdin
        self.terminated = self.closed = False

    def run(self, announce: Callable[[str], None]) -> int:
        with self.connect() as link:
            wake = self.watch_signals()
            answer = self.greet(link)
            command = self.start_command(answer["result"])
            try:
                self.tell(link, {"started": {"pid": command.pid}})
                announce(json.dumps(answer))
                self.wait(link, wake, command)
            finally:
                end_group(command)
            code = self.exit_code(command)
            self.tell(link, {"ended": {"exit_code": code}})
        return code

    def connect(self) -> socket.socket:
        host, _, port = self.url.partition("//")[2].partition(":")
        try:
            return socket.create_connection((host, int(port)), timeout=30)
        except (OSError, ValueError) as error:
            raise StartError(f"cannot connect to {self.url}: {error}") from None

    def greet(self, link: socket.socket) -> dict[str, Any]:
        report = {
            "argv": sys.argv,
            "stdin": base64.b64encode(self.stdin).decode(),
            "environment": dict(os.environ),
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "cwd": os.getcwd(),
        }
        greeting = {"uri": self.uri, "primary": self.primary, "start": self.start, "report": report}
        try:
            link.sendall(json.dumps(greeting).encode() + b"\n")
            with link.makefile("rb") as lines:
                answer = json.loads(lines.readline())
        except (OSError, ValueError):
            raise StartError(f"{self.url} closed the connection") from None
        if "error" in answer:
            raise StartError(f"refused by {self.url}: {answer['error']['message']}")
        link.settimeout(None)
        return dict(answer)

    def tell(self, link: socket.socket, message: dict[str, Any]) -> None:
        with suppress(OSError):  # a node that is gone is noticed by `wait`
            link.sendall(json.dumps(message).encode() + b"\n")

    def start_command(self, result: dict[str, Any]) -> "subprocess.Popen[bytes]":
        directory = Path.home() / ".fastx_server" / result["id"]
        environment = {name: value for name, value in os.environ.items() if name != "WEBLINK_PRIMARY"} | {
            "FASTX_SESSION_ID": result["id"],
            "FASTX_SESSION_DIR": str(directory),
            "DISPLAY": result["display"],
            "XAUTHORITY": str(directory / "Xauthority"),
        }
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            (directory / "Xauthority").touch(mode=0o600)
            with open(directory / "session.log", "ab") as log:
                # FastX's `command` is a command line of the user's own, so a shell reads it.
                return subprocess.Popen(
                    ["/bin/sh", "-c", self.start["command"]],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    env=environment,
                    process_group=0,
                )
        except OSError as error:
            raise StartError(f"cannot run the session's command: {error}") from None

    def wait(self, link: socket.socket, wake: socket.socket, command: "subprocess.Popen[bytes]") -> None:
        """Until the command exits, the node closes the link, or a signal ends this process."""
        while command.poll() is None and not (self.terminated or self.closed):
            readable, _, _ = select.select([link, wake], [], [])
            if wake in readable:
                wake.recv(64)
            if link in readable:
                self.closed = is_closed(link)

    def exit_code(self, command: "subprocess.Popen[bytes]") -> int:
        if self.terminated:
            return 128 + signal.SIGTERM
        if self.closed:
            return 0
        code = command.wait()
        return code if code >= 0 else 128 - code

    def watch_signals(self) -> socket.socket:
        """A socket that becomes readable when a signal has arrived; TERM, INT and HUP end the session."""

        def terminate(*_: object) -> None:
            self.terminated = True

        read, write = socket.socketpair()
        write.setblocking(False)
        self.signals = write
        signal.set_wakeup_fd(write.fileno())
        signal.signal(signal.SIGCHLD, lambda *_: None)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, terminate)
        return read


def is_closed(link: socket.socket) -> bool:
    try:
        return link.recv(4096) == b""
    except OSError:
        return True


def end_group(command: "subprocess.Popen[bytes]") -> None:
    """End all that is left of the command's process group: TERM, and KILL for those who stay."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(command.pid, number)
        deadline = time.monotonic() + GRACE
        while command.poll() is None or group_lives(command.pid):
            if time.monotonic() > deadline:
                break
            time.sleep(0.005)
        else:
            return


def group_lives(group: int) -> bool:
    """Whether a process of the group is there that is not just a zombie: in a container, nobody may reap those."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            state, _, process_group = stat.read_text(errors="replace").rpartition(")")[2].split()[:3]
            if int(process_group) == group and state not in "ZX":
                return True
    return False


if __name__ == "__main__":
    sys.exit(main())
