"""Commands as another user, on a sudo that leads to whoever runs the tests."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest

from fxsched.errors import CommandNotFound, HostUnreachable, OutcomeUnknown
from fxsched.hosts import CommandResult, LocalHost, become
from fxsched.hosts.become import SudoHost
from fxsched.hosts.opening import HostSettings, open_host
from fxsched.hosts.scripted import ScriptedHost

pytestmark = pytest.mark.anyio

FAKE_SUDO = """#!/bin/sh
# sudo -n -H -u LOGIN -- COMMAND: with the environment that sudo and its env_keep give
printf '%s\\n' "$*" >>"$HOME/sudo.log"
[ "$1 $2 $3 $5" = "-n -H -u --" ] || exit 64
case $4 in
eve) echo "sudo: a password is required" >&2; exit 1 ;;
nobody-knows) echo "sudo: unknown user nobody-knows" >&2; exit 1 ;;
esac
echo "sudo: unable to resolve host x: Name or service not known" >&2
home=$HOME.$4
login=$4
mkdir -p "$home"
[ "$login" != late ] || sleep 0.5
shift 5
env -i HOME="$home" USER="$login" LOGNAME="$login" SHELL=/bin/sh PATH="$PATH" SUDO_USER=fastx KEPT="a b" "$@"
exit "$?"  # it stays until the command ends, and does not pass on a KILL
"""


@pytest.fixture
def sudo(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A sudo on PATH; it writes down its command lines."""
    folder = tmp_path / "sudo"
    folder.mkdir()
    (folder / "sudo").write_text(FAKE_SUDO)
    (folder / "sudo").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return home / "sudo.log"


async def test_a_command_runs_as_the_other_user_and_leaves_what_it_leaves(sudo: Path, home: Path) -> None:
    host = SudoHost(LocalHost(), "ada")

    result = await host.run(
        ["/bin/sh", "-c", 'cat; echo "$HOME $USER"; echo err >&2; exit 3'], stdin=b"in\xff\n", deadline=20
    )

    assert result == CommandResult(3, f"in\xff\n{home}.ada ada\n".encode("latin-1"), b"err\n")
    assert (host.label, host.home) == ("this machine as ada", None)


async def test_the_command_line_of_sudo_tells_nothing(sudo: Path) -> None:
    host = SudoHost(LocalHost(), "ada")
    argv = ["/bin/sh", "-c", 'printf "%s " "$1" "$KEY" "$A"', "sh", "word-of-argv"]

    result = await host.run(
        argv, stdin=b"word-of-stdin", environment={"A": "word-of-env", "KEY": "hunter2"}, deadline=20
    )
    other = await host.run(["/bin/true"], deadline=20)

    assert (result.text, other.exit_code) == ("word-of-argv hunter2 word-of-env ", 0)
    first, second = sudo.read_text().splitlines()
    assert first == second
    assert "word-of" not in first


async def test_the_environment_is_clean(sudo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SQUEUE_FORMAT", "x")
    monkeypatch.setenv("SLURM_CONF", "/etc/a b/slurm.conf")
    settings = HostSettings(become="sudo", account="ada")

    async with open_host(settings, keep=("SLURM_CONF", "NOT_SET")) as host:
        result = await host.run(["/usr/bin/env", "-0"], environment={"A": "1"}, deadline=20)

    seen = dict(line.split("=", 1) for line in result.text.split("\0")[:-1])
    assert (seen["LC_ALL"], seen["A"], seen["SLURM_CONF"], seen["USER"]) == ("C", "1", "/etc/a b/slurm.conf", "ada")
    assert not {"SQUEUE_FORMAT", "SUDO_USER", "NOT_SET", "KEPT"} & seen.keys()


async def test_what_the_scheduler_needs_comes_through_sudo_if_sudoers_lets_it(sudo: Path) -> None:
    seen = []
    for keep in (("KEPT",), ()):
        async with open_host(HostSettings(become="sudo", account="ada"), keep=keep) as host:
            seen.append((await host.run(["/bin/sh", "-c", "echo $KEPT"], deadline=20)).text)

    assert seen == ["a b\n", "\n"]


@pytest.mark.parametrize(
    ("login", "words"), [("eve", "a password is required"), ("nobody-knows", "unknown user nobody-knows")]
)
async def test_what_sudo_does_not_allow_certainly_did_not_run(sudo: Path, login: str, words: str) -> None:
    with pytest.raises(HostUnreachable, match=f"did not let fxsched become {login} .*{words}.*docs/hosts.md"):
        await SudoHost(LocalHost(), login).run(["/bin/touch", "/nonexistent"], deadline=20)


async def test_a_machine_without_sudo_says_so(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(CommandNotFound, match="sudo cannot be run on this machine"):
        await SudoHost(LocalHost(), "ada").run(["/bin/true"], deadline=20)


async def test_a_program_that_the_other_user_has_not_is_named(sudo: Path) -> None:
    with pytest.raises(CommandNotFound, match="no-such-program cannot be run on this machine as ada"):
        await SudoHost(LocalHost(), "ada").run(["no-such-program"], deadline=20)


async def test_the_deadline_ends_the_command(sudo: Path, home: Path) -> None:
    with pytest.raises(OutcomeUnknown, match=r"/bin/sh did not answer within 1 s on this machine as ada"):
        await SudoHost(LocalHost(), "ada").run(["/bin/sh", "-c", 'sleep 2; echo still here >"$HOME/after"'], deadline=1)
    assert not (Path(f"{home}.ada") / "after").exists()


SLOW = ["/bin/sh", "-c", 'echo $$ >"$HOME/new"; mv "$HOME/new" "$HOME/pid"; sleep 60; echo submitted']


class CutHost:
    """This machine, behind a connection that is lost as soon as there is a certain file."""

    label = "login1"
    home = None

    def __init__(self, file: Path) -> None:
        self._host = LocalHost()
        self._file = file

    async def run(self, argv: Sequence[str], **settings: Any) -> CommandResult:
        if self._file.exists():
            return await self._host.run(argv, **settings)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(partial(self._host.run, argv, **settings))
            await there(self._file)
            tasks.cancel_scope.cancel()
        raise OutcomeUnknown("the connection to login1 was lost")


async def there(path: Path) -> None:
    with anyio.fail_after(20):
        while not path.exists():
            await anyio.sleep(0.01)


async def ended(path: Path) -> bool:
    """Whether a command has ended whose pid stands in a file; a kill takes effect in a moment."""
    stat = Path(f"/proc/{path.read_text().strip()}/stat")
    for _ in range(200):
        try:
            if stat.read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except (FileNotFoundError, ProcessLookupError):
            return True
        await anyio.sleep(0.01)
    return False


async def test_a_caller_that_is_cancelled_is_let_go_when_the_command_is_ended(sudo: Path, home: Path) -> None:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(partial(SudoHost(LocalHost(), "ada").run, SLOW, deadline=60))
        await there(Path(f"{home}.ada/pid"))
        tasks.cancel_scope.cancel()

    assert await ended(Path(f"{home}.ada/pid"))


async def test_a_lost_connection_ends_the_command(sudo: Path, home: Path) -> None:
    with pytest.raises(OutcomeUnknown, match="the connection to login1 was lost"):
        await SudoHost(CutHost(Path(f"{home}.ada/pid")), "ada").run(SLOW, deadline=60)

    assert await ended(Path(f"{home}.ada/pid"))


async def test_a_command_that_sudo_has_not_begun_yet_is_ended_too(
    sudo: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    killpg = os.killpg

    def only_ask(group: int, number: int) -> None:
        if number:
            raise PermissionError  # sudo belongs to root
        killpg(group, number)

    monkeypatch.setattr(os, "killpg", only_ask)
    with anyio.move_on_after(0.2):
        await SudoHost(LocalHost(), "late").run(SLOW, deadline=60)

    await anyio.sleep(1)
    pid = Path(f"{home}.late/pid")
    assert not pid.exists() or await ended(pid)


async def test_what_cannot_be_ended_does_not_keep_us(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def hang(*_: object, **__: object) -> CommandResult:
        await anyio.sleep_forever()
        raise AssertionError

    monkeypatch.setattr(become, "_ENDING", 0.2)
    host = LocalHost()
    monkeypatch.setattr(host, "run", hang)
    with anyio.fail_after(20), anyio.move_on_after(0.1) as scope:
        await SudoHost(host, "ada").run(SLOW, deadline=60)
    assert scope.cancelled_caught


async def test_an_answer_that_is_cut_short_is_none() -> None:
    def answer(command: object) -> CommandResult:
        stdin = command.stdin.decode()  # type: ignore[attr-defined]
        halves = [word for word in stdin.split("\n", 1)[0].replace("'", " ").split() if len(word) == 16]
        mark = "".join(halves[:2])
        return CommandResult(137, f"{mark} begin 123 n1\nhalf an ans".encode(), f"{mark} begin\n".encode())

    with pytest.raises(OutcomeUnknown, match="sbatch did not answer"):
        await SudoHost(ScriptedHost(answer), "ada").run(["sbatch"], deadline=5)


async def test_two_accounts_are_two_hosts(sudo: Path, home: Path) -> None:
    seen = {}
    for login in ("ada", "bob"):
        async with open_host(HostSettings(become="sudo", account=login)) as host:
            seen[login] = (await host.run(["/bin/sh", "-c", "echo $HOME"], deadline=20)).text.strip()

    assert json.dumps(seen) == json.dumps({"ada": f"{home}.ada", "bob": f"{home}.bob"})
