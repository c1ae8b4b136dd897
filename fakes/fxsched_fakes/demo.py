"""`python -m fxsched_fakes.demo`: one FastX session through fxsched, for real, on this machine, with no cluster.

A simulated FastX node runs the installed `fxsched-launch`, which starts the session as a plain process of this host.
Everything, the user's home included, lies in a temporary directory. The exit status is 0 only if all went as it should.
"""

import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anyio

from fxsched_fakes.fastx import FastXNode, SessionState

START = {
    "command": "sleep 600",
    "geometry": "1024x768",
    "name": "demo session",
    "params": {"project": "rosetta & friends"},
}
PATIENCE = 10.0  # seconds, for each step


class DemoError(Exception):
    """Something is not as it should be."""


def main() -> int:
    began = time.monotonic()

    def say(text: str) -> None:
        print(f"{time.monotonic() - began:5.2f} s  {text}", flush=True)

    try:
        with tempfile.TemporaryDirectory(prefix="fxsched-demo-") as directory:
            anyio.run(Demo(Path(directory), say).run)
    except (DemoError, TimeoutError) as error:
        say(f"This is not as it should be: {error}")
        return 1
    say("All is as it should be.")
    return 0


class Demo:
    def __init__(self, directory: Path, say: Callable[[str], None]) -> None:
        self.directory = directory
        self.home = directory / "home"
        self.say = say

    async def run(self) -> None:
        async with FastXNode(self.directory / "fastx", home=self.home) as node:
            self.say(f"A FastX node listens for weblinks at {node.url}.")
            self.say(f'A user asks for "{START["name"]}", which runs: {START["command"]}')
            self.say("FastX runs fxsched-launch. The session is pending.")
            launched = await node.launch(START, [program("fxsched-launch")], timeout=PATIENCE)
            session = launched.session
            for line in (launched.stdout + launched.stderr).splitlines():
                self.say(f"    FastX shows to the user: {line}")
            expect(launched.exit_code == 0, f"fxsched-launch exited with {launched.exit_code}")

            report = await node.started(session, PATIENCE)
            self.say(f"The session connected back over its weblink, from {report.host}, process {report.pid}.")
            expect(session.state is SessionState.STARTED, f"the session is {session.state}")
            expect(report.start == session.start, f"the start object was changed into {report.start}")
            self.say("It has started, with its start object intact. fxsched knows it too:")
            token = report.environment.get("FXSCHED_TOKEN", "")
            expect(bool(token), "the session does not carry FXSCHED_TOKEN")
            self.show(await self.status_when("running", token))

            self.say("The user ends the session in FastX.")
            await node.terminate(session)
            await node.ended(session, PATIENCE)
            self.say("It has ended, and so has its job:")
            self.show(await self.status_when("ended", token))
            left = list(processes_with(token))
            expect(not left, f"processes are left: {left}")
            self.say("No process of it is left.")

    def show(self, status: dict[str, Any]) -> None:
        for name, value in ((name, value) for name, value in status.items() if value):
            self.say(f"    {name}: {value}")

    async def status_when(self, state: str, token: str) -> dict[str, Any]:
        """Ask until the job is in this state; it gets there in its own time."""
        status: dict[str, Any] = {}
        with anyio.move_on_after(PATIENCE):
            while status.get("state") != state:
                status = await self.status(token)
        expect(status.get("state") == state, f"the job is not {state}: {status}")
        return status

    async def status(self, token: str) -> dict[str, Any]:
        # An answer may be as old as the poll interval, which spares schedulers; here nobody needs sparing.
        config = self.home / "impatient.toml"
        config.write_text("[clusters.local]\npoll_interval = 0.01\n")
        environment = {
            "PATH": "/usr/bin:/bin",
            "HOME": str(self.home),
            "LANG": "C.UTF-8",
            "FXSCHED_CONFIG": str(config),
        }
        done = await anyio.run_process([program("fxsched"), "status", "--json", token], env=environment, check=False)
        expect(done.returncode == 0, f"fxsched status failed: {done.stderr.decode()}")
        return dict(json.loads(done.stdout))


def expect(condition: bool, otherwise: str) -> None:
    if not condition:
        raise DemoError(otherwise)


def program(name: str) -> str:
    """A program of the environment that we run in."""
    path = Path(sys.executable).with_name(name)
    expect(path.exists(), f"there is no {path}; fxsched has to be installed beside fxsched-fakes")
    return str(path)


def processes_with(token: str) -> Iterator[int]:
    for environ in Path("/proc").glob("[0-9]*/environ"):
        try:
            if f"FXSCHED_TOKEN={token}".encode() in environ.read_bytes().split(b"\0"):
                yield int(environ.parent.name)
        except OSError:
            continue  # it has just ended, or is somebody else's


if __name__ == "__main__":
    sys.exit(main())
