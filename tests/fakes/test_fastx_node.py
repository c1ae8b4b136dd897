"""The simulated FastX node keeps FastX's contract: it is what launchers are tested against."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import pytest

from fxsched_fakes.fastx import ABSENT, FastXNode, Session, SessionState

pytestmark = pytest.mark.anyio

# A launcher as small as can be: it runs the start script here, and hands the start object on.
LAUNCHER = """
import json, os, subprocess, sys
request = json.load(sys.stdin)
script, *arguments = sys.argv[1:]
weblink = request.get("weblink")
environment = os.environ | ({"WEBLINK_URL": weblink["url"], "WEBLINK_PRIMARY": weblink["primary"]} if weblink else {})
with open("job.out", "wb") as output:
    job = subprocess.Popen(
        [request["rootDir"] + "/scripts/" + script, "--json=0", *arguments],
        stdin=subprocess.PIPE, stdout=output, stderr=output, env=environment, start_new_session=True,
    )
    job.stdin.write(json.dumps(request["start"]).encode())
    job.stdin.close()
print("Submitted batch job 1")
"""
START = {"command": "exec sleep 600", "geometry": "1024x768", "name": "my session", "params": {"cores": "4"}}


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
async def node(tmp_path: Path, anyio_backend: str) -> AsyncIterator[FastXNode]:
    async with FastXNode(tmp_path / "node", home=tmp_path / "home") as node:
        yield node


@pytest.fixture
def launcher(tmp_path: Path) -> list[str]:
    script = tmp_path / "launcher.py"
    script.write_text(LAUNCHER)
    return [sys.executable, str(script), "start-weblink", "--cli"]


def python(code: str) -> list[str]:
    """A launcher that is one line of Python."""
    return [sys.executable, "-c", f"import os, sys; {code}"]


def command_processes(session: Session) -> list[int]:
    """Processes of the session's command; its start script does not carry this variable."""
    mark = f"FASTX_SESSION_ID={session.id}".encode()
    found = []
    for environ in Path("/proc").glob("[0-9]*/environ"):
        try:
            if mark in environ.read_bytes().split(b"\0"):
                found.append(int(environ.parent.name))
        except OSError:
            continue
    return found


async def run_script(
    node: FastXNode, *argv: str, stdin: bytes = b"", env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[bytes]:
    """Run a start script by hand, as a job would."""
    environment = {"PATH": os.environ["PATH"], "HOME": str(node.home), **(env or {})}
    with anyio.fail_after(20):
        return await anyio.run_process(
            [node.installation.scripts / argv[0], *argv[1:]], input=stdin, env=environment, check=False
        )


async def test_launched_session_is_pending_until_it_connects(node: FastXNode, launcher: list[str]) -> None:
    result = await node.launch(START, python("print('Submitted batch job 1')"))
    assert (result.exit_code, result.stdout, result.stderr) == (0, "Submitted batch job 1\n", "")
    assert result.session.state is SessionState.PENDING
    assert node.sessions == (result.session,)


async def test_session_connects_back_over_its_weblink(node: FastXNode, launcher: list[str]) -> None:
    result = await node.launch(START, launcher)
    report = await node.started(result.session)
    assert result.session.state is SessionState.STARTED
    assert not result.session.stray
    assert report.argv == (str(node.installation.start_weblink), "--json=0", "--cli")
    assert report.host == socket.gethostname()
    assert report.cwd == str(node.installation.var)
    assert Path(f"/proc/{report.pid}").exists()


async def test_report_holds_the_bytes_that_the_start_script_read(node: FastXNode, launcher: list[str]) -> None:
    start = START | {"unknown": {"ünï": ["\u2028", None, 1.5, "$(id)`'\"\n"]}}
    result = await node.launch(start, launcher)
    report = await node.started(result.session)
    assert report.stdin == json.dumps(result.session.start).encode()
    assert report.start == result.session.start == start | {"sessionId": result.session.id}


async def test_report_holds_the_environment_of_the_start_script(node: FastXNode, launcher: list[str]) -> None:
    env = {"LANG": "C", "FASTX_SERVICE": ABSENT, "FXSCHED_TOKEN": "t-1"}
    environment = (await node.started((await node.launch(START, launcher, env=env)).session)).environment
    assert environment["FX_ROOT_DIR"] == str(node.installation.root)
    assert environment["WEBLINK_PRIMARY"] == node.primary
    assert environment["LANG"] == "C"
    assert environment["FXSCHED_TOKEN"] == "t-1"
    assert "FASTX_SERVICE" not in environment


async def test_start_inside_the_cluster_needs_no_weblink(node: FastXNode, launcher: list[str]) -> None:
    launcher[-2] = "start"
    result = await node.launch(START, launcher, weblink=False)
    report = await node.started(result.session)
    assert report.argv[0] == str(node.installation.start)
    assert "WEBLINK_URL" not in report.environment


async def test_launcher_gets_the_documented_request(node: FastXNode) -> None:
    result = await node.launch(START, python("sys.stdout.write(sys.stdin.read())"))
    request = json.loads(result.stdout)
    assert request["start"] == result.session.start
    assert request["rootDir"] == str(node.installation.root)
    assert request["homedir"] == str(node.home)
    assert (request["uid"], request["gid"]) == (os.getuid(), os.getgid())
    assert request["defaultStartScript"] == "$FX_ROOT_DIR/scripts/start"
    login = request["login"]
    weblink = {"logLevel": "debug", "url": node.url, "uri": "/weblink", "primary": node.primary, "login": login}
    assert request["weblink"] == weblink


async def test_members_of_the_request_can_be_changed_and_left_out(node: FastXNode) -> None:
    changes = {"uid": "no number", "login": ABSENT}
    result = await node.launch(START, python("sys.stdout.write(sys.stdin.read())"), weblink=False, request=changes)
    request = json.loads(result.stdout)
    assert request["uid"] == "no number"
    assert not {"login", "weblink"} & request.keys()


async def test_stdin_can_be_anything(node: FastXNode) -> None:
    result = await node.launch(START, python("print(sys.stdin.buffer.read())"), raw_stdin=b"\xff{")
    assert result.stdout == "b'\\xff{'\n"


async def test_home_of_the_environment_is_home_of_the_request(node: FastXNode, tmp_path: Path) -> None:
    env = {"HOME": str(tmp_path)}
    result = await node.launch(START, python("sys.stdout.write(sys.stdin.read())"), env=env)
    assert json.loads(result.stdout)["homedir"] == str(tmp_path)


async def test_failed_launcher_removes_the_session(node: FastXNode) -> None:
    result = await node.launch(START, python("sys.exit('no such queue')"))
    assert (result.exit_code, result.stderr) == (1, "no such queue\n")
    assert result.session.state is SessionState.REMOVED


async def test_launcher_that_reads_nothing_is_no_error(node: FastXNode) -> None:
    result = await node.launch(START, python("os.close(0)"), raw_stdin=b" " * 2**20)
    assert result.exit_code == 0


async def test_launcher_that_hangs_is_killed_and_its_session_removed(node: FastXNode) -> None:
    with pytest.raises(TimeoutError, match="/bin/sleep had not exited"):
        await node.launch(START, ["/bin/sleep", "600"], timeout=0.1)
    assert node.sessions[0].state is SessionState.REMOVED


@pytest.mark.parametrize(
    ("stdout", "state"),
    [
        ('{"result": {"id": 1}}', SessionState.STARTED),
        ('queued\n  {\n  "result": null}\nbye', SessionState.STARTED),
        ('{"id": {"result": 1}}', SessionState.PENDING),
        ('say {"result": 1}', SessionState.PENDING),
        ("{result}", SessionState.PENDING),
    ],
)
async def test_result_member_in_the_output_means_started(node: FastXNode, stdout: str, state: SessionState) -> None:
    result = await node.launch(START, python(f"print({stdout!r})"))
    assert result.session.state is state


async def test_session_that_connects_after_its_launcher_failed_is_stray(node: FastXNode, launcher: list[str]) -> None:
    Path(launcher[1]).write_text(LAUNCHER + "sys.exit(1)")
    result = await node.launch(START, launcher)
    await node.started(result.session)
    assert result.session.stray


async def test_second_session_of_one_launch_is_refused(node: FastXNode, launcher: list[str]) -> None:
    session = (await node.launch(START, launcher)).session
    await node.started(session)
    twin = await run_script(node, "start", "--json=0", "--cli", stdin=json.dumps(session.start).encode())
    assert twin.returncode == 1
    assert [refusal.reason for refusal in node.refusals] == [f"session {session.id} has connected before"]


async def test_terminated_session_has_ended_with_its_command(node: FastXNode, launcher: list[str]) -> None:
    session = (await node.launch(START | {"command": "sleep 600 & sleep 600"}, launcher)).session
    await node.started(session)
    await node.terminate(session)
    assert await node.ended(session) == 0
    assert session.state is SessionState.ENDED
    assert command_processes(session) == []


async def test_command_that_ignores_term_is_killed(node: FastXNode, launcher: list[str], tmp_path: Path) -> None:
    os.mkfifo(ready := tmp_path / "ready")
    command = f"trap '' TERM; echo yes > {ready}; sleep 600; sleep 600"
    session = (await node.launch(START | {"command": command}, launcher)).session
    assert await anyio.Path(ready).read_text() == "yes\n"
    await node.terminate(session)
    assert await node.ended(session) == 0
    assert command_processes(session) == []


async def test_session_ends_with_its_command_and_hands_its_exit_code_on(node: FastXNode, launcher: list[str]) -> None:
    session = (await node.launch(START | {"command": "sleep 600 & exit 7"}, launcher)).session
    await node.started(session)
    assert await node.ended(session) == 7
    assert command_processes(session) == []


async def test_term_to_the_start_script_ends_the_session(node: FastXNode, launcher: list[str]) -> None:
    session = (await node.launch(START, launcher)).session
    os.kill((await node.started(session)).pid, signal.SIGTERM)
    assert await node.ended(session) == 128 + signal.SIGTERM
    assert command_processes(session) == []


async def test_killed_start_script_ends_the_session_without_exit_code(node: FastXNode, launcher: list[str]) -> None:
    session = (await node.launch(START, launcher)).session
    os.kill((await node.started(session)).pid, signal.SIGKILL)
    assert await node.ended(session) is None
    for pid in command_processes(session):
        os.kill(pid, signal.SIGKILL)


async def test_terminated_pending_session_is_only_forgotten(node: FastXNode) -> None:
    session = (await node.launch(START, ["true"])).session
    await node.terminate(session)
    assert session.state is SessionState.REMOVED


async def test_sessions_end_with_their_node(tmp_path: Path, launcher: list[str]) -> None:
    async with FastXNode(tmp_path / "node", home=tmp_path / "home") as node:
        session = (await node.launch(START, launcher)).session
        await node.started(session)
    assert session.state is SessionState.ENDED
    assert command_processes(session) == []


async def test_waiting_in_vain_tells_what_is_known(node: FastXNode) -> None:
    session = (await node.launch(START, python("print('Submitted batch job 1')"))).session
    with pytest.raises(TimeoutError, match=r"has not connected after 0.01 s; its launcher said 'Submitted batch job 1"):
        await node.started(session, timeout=0.01)


async def test_session_sees_what_fastx_sets(node: FastXNode) -> None:
    seen = '"$FASTX_SESSION_ID|$FASTX_SESSION_DIR|$XAUTHORITY|$DISPLAY|$WEBLINK_PRIMARY"'
    done = await run_script(node, "start", "--cli", "--command", f'echo {seen} > "$FASTX_SESSION_DIR/seen"')
    result = json.loads(done.stdout)["result"]
    directory = node.home / ".fastx_server" / result["id"]
    expected = f"{result['id']}|{directory}|{directory}/Xauthority|{result['display']}|\n"
    assert (directory / "seen").read_text() == expected


async def test_without_cli_the_session_is_left_behind(node: FastXNode) -> None:
    stdin = json.dumps(START).encode()
    done = await run_script(node, "start", "--json=0", stdin=stdin, env={"FXSCHED_TOKEN": "t-1"})
    (session,) = node.sessions
    assert json.loads(done.stdout)["result"]["id"] == session.id
    assert session.report is not None
    assert session.report.stdin == stdin
    assert b"FXSCHED_TOKEN=t-1" in Path(f"/proc/{session.report.pid}/environ").read_bytes().split(b"\0")
    await node.terminate(session)
    assert await node.ended(session) == 0


async def test_start_object_can_be_given_by_options(node: FastXNode) -> None:
    options = ["--command", "exit 3", "--geometry", "rootless", "--name", "n", "--param", "a=1", "--param", "b=x=y"]
    done = await run_script(node, "start", "--cli", *options)
    assert done.returncode == 3
    (session,) = node.sessions
    params = {"a": "1", "b": "x=y"}
    assert session.start == {"command": "exit 3", "geometry": "rootless", "name": "n", "params": params}
    assert session.stray


@pytest.mark.parametrize("missing", ["WEBLINK_URL", "WEBLINK_PRIMARY"])
async def test_start_weblink_names_the_variable_that_it_lacks(node: FastXNode, missing: str) -> None:
    weblink = {"WEBLINK_URL": node.url, "WEBLINK_PRIMARY": node.primary}
    del weblink[missing]
    done = await run_script(node, "start-weblink", "--command", "true", env=weblink)
    assert (done.returncode, done.stdout) == (1, b"")
    assert done.stderr.decode() == f"start-weblink: {missing} is not set in the environment\n"


@pytest.mark.parametrize(
    ("change", "reason"),
    [({"WEBLINK_PRIMARY": "guess"}, "wrong WEBLINK_PRIMARY"), ({"WEBLINK_URI": "/other"}, "nothing at /other")],
)
async def test_wrong_weblink_is_refused_and_recorded(node: FastXNode, change: dict[str, str], reason: str) -> None:
    weblink = {"WEBLINK_URL": node.url, "WEBLINK_PRIMARY": node.primary} | change
    done = await run_script(node, "start-weblink", "--command", "true", env=weblink)
    assert (done.returncode, done.stdout) == (1, b"")
    assert reason in done.stderr.decode()
    assert [refusal.reason for refusal in node.refusals] == [reason]
    assert node.sessions == ()


async def test_stranger_on_the_weblink_is_refused_and_recorded(node: FastXNode) -> None:
    port = int(node.url.rpartition(":")[2])
    async with await anyio.connect_tcp("127.0.0.1", port) as stream:
        await stream.send(b"GET / HTTP/1.1\r\n")
        assert b"not a start script's greeting" in await stream.receive()
    assert len(node.refusals) == 1


@pytest.mark.parametrize("stdin", [b"", b"[]", b'{"command": "true"} x', b"\xff", b"{}"])
async def test_bad_start_object_is_an_error(node: FastXNode, stdin: bytes) -> None:
    done = await run_script(node, "start", "--json=0", stdin=stdin)
    assert (done.returncode, done.stdout) == (1, b"")
    assert done.stderr.startswith(b"start: the start object ")
    assert node.sessions == ()


@pytest.mark.parametrize("options", [["--bogus"], [], ["--json=0", "--name", "n"], ["--command", "x", "--param", "a"]])
async def test_wrong_options_are_a_usage_error(node: FastXNode, options: list[str]) -> None:
    done = await run_script(node, "start-weblink", *options)
    assert done.returncode == 2
    assert done.stderr.startswith(b"usage: start-weblink ")
