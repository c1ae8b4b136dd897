"""A launcher of FastX's service user, a real sudo, and two real users for whom it acts."""

from __future__ import annotations

import json
import os
import pwd
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest

from fxsched.errors import HostUnreachable, OutcomeUnknown
from fxsched.hosts import LocalHost
from fxsched.hosts.become import SudoHost

from .person import PROGRAMS, until
from .test_secrets import SPY, holders

pytestmark = pytest.mark.skipif(os.getuid() != 0, reason="only root can make users and let one become another")

SUDOERS = """
{service} ALL = (%{group}, !root) NOPASSWD: /bin/sh
Defaults:{service} !requiretty
"""
"""The line of docs/hosts.md."""


class Service:
    """FastX's service user on a machine with two other users, all of them made for the test."""

    def __init__(self, place: Path, name: str) -> None:
        self.place = place
        self.group = f"fx-{name}-users"
        self.logins = {role: f"fx-{name}-{role}" for role in ("fastx", "ada", "bob", "eve")}
        self.sudoers = Path(f"/etc/sudoers.d/fx-{name}")
        self.environment = {"HOME": str(self.home("fastx")), "PATH": os.environ["PATH"]}

    def __enter__(self) -> Service:
        with ExitStack() as stack:
            run("groupadd", self.group)
            stack.callback(run, "groupdel", self.group)
            for role, login in self.logins.items():
                groups = ["--groups", self.group] if role in ("ada", "bob") else []
                run("useradd", "--create-home", "--home-dir", str(self.home(role)), "--shell=/bin/sh", *groups, login)
                # sudo tells root by mail whom it refused, and a process of that user may stay for a moment.
                stack.callback(until, f"userdel {login}", partial(deleted, login))
            self.sudoers.write_text(SUDOERS.format(service=self.logins["fastx"], group=self.group))
            stack.callback(self.sudoers.unlink)
            self.sudoers.chmod(0o440)
            run("visudo", "--check", "--quiet", "--file", str(self.sudoers))
            self.start_script('id -un >"$HOME/who"; pwd >>"$HOME/who"; echo \'{"result": 1}\'; exec sleep 600')
            self.configure('[clusters.here]\nbecome = "sudo"\noptions.grace = 1\n')
            stack.callback(self.end_sessions)
            self._made = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._made.close()

    def end_sessions(self) -> None:
        for role in ("ada", "bob"):
            for path in self.state(role).glob("ledger/live/*.json"):
                self.fxsched("cancel", "--login", self.logins[role], path.stem)

    def home(self, role: str) -> Path:
        return self.place / role

    def unlock(self, role: str) -> None:
        """Let a user log in by key: "*" is no password that anybody could type, and no locked account."""
        run("usermod", "--password", "*", self.logins[role])

    def account(self, role: str) -> pwd.struct_passwd:
        return pwd.getpwnam(self.logins[role])

    def state(self, role: str) -> Path:
        return self.home("fastx") / ".local/state/fxsched/users" / self.logins[role]

    def start_script(self, text: str) -> None:
        for name in ("start", "start-weblink"):
            script = self.place / "root" / "scripts" / name
            script.parent.mkdir(parents=True, exist_ok=True)
            script.write_text(f"#!/bin/sh\n{text}\n")
            script.chmod(0o755)

    def configure(self, text: str) -> None:
        path = self.place / "fxsched.toml"
        path.write_text(text)
        path.chmod(0o644)
        self.environment["FXSCHED_CONFIG"] = str(path)

    def as_service(self, *argv: str) -> list[str]:
        """Return a command line that runs as the service user.

        It may search every directory: the interpreter and the checkout may be below /root.
        """
        account = self.account("fastx")
        return [
            *("setpriv", f"--reuid={account.pw_uid}", f"--regid={account.pw_gid}", "--clear-groups"),
            *("--inh-caps=-all,+dac_read_search", "--ambient-caps=-all,+dac_read_search", *argv),
        ]

    def launch(self, role: str, **members: Any) -> subprocess.CompletedProcess[str]:
        account = self.account(role)
        request = {
            "uid": account.pw_uid,
            "gid": account.pw_gid,
            "login": account.pw_name,
            "homedir": account.pw_dir,
            "rootDir": str(self.place / "root"),
            "start": {"command": "xterm", "name": f"session of {role}"},
        }
        return self.run(str(PROGRAMS / "fxsched-launch"), input=json.dumps(request | members))

    def fxsched(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self.run(str(PROGRAMS / "fxsched"), *arguments)

    def run(self, *argv: str, **settings: Any) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.as_service(*argv),
            env=self.environment,
            cwd=self.home("fastx"),
            capture_output=True,
            text=True,
            timeout=60,
            **settings,
        )

    def entry(self, role: str) -> dict[str, Any]:
        [path] = self.state(role).glob("ledger/*/*.json")
        found: dict[str, Any] = json.loads(path.read_bytes().splitlines()[-1])
        return found

    def session(self, role: str) -> Path:
        return self.home(role) / ".local/state/fxsched/sessions" / self.entry(role)["token"]


def deleted(login: str) -> bool:
    return subprocess.run(["userdel", login], capture_output=True).returncode == 0


def run(*argv: str) -> None:
    subprocess.run(argv, check=True, capture_output=True)


@pytest.fixture
def service() -> Iterator[Service]:
    if not shutil.which("sudo"):
        pytest.fail("sudo is not installed: run tests/real/install.sh sudo")
    with tempfile.TemporaryDirectory(prefix="become-") as directory:
        Path(directory).chmod(0o755)
        with Service(Path(directory), secrets.token_hex(3)) as service:
            yield service


def test_each_session_runs_as_its_own_user_in_their_own_home(service: Service) -> None:
    results = {role: service.launch(role) for role in ("ada", "bob")}

    for role, result in results.items():
        assert (result.returncode, result.stdout, result.stderr) == (0, '{"result": 1}\n', ""), role
        assert (service.home(role) / "who").read_text() == f"{service.logins[role]}\n{service.home(role)}\n"
        uid = service.account(role).pw_uid
        for path in (service.session(role), *service.session(role).iterdir()):
            assert path.stat().st_uid == uid, path
        assert service.session(role).stat().st_mode & 0o077 == 0
        for path in (service.state(role), *service.state(role).rglob("*")):
            assert (path.stat().st_uid, path.stat().st_mode & 0o077) == (service.account("fastx").pw_uid, 0), path


def test_status_and_cancel_reach_the_user_s_own_session_and_no_other(service: Service) -> None:
    service.launch("ada")
    service.launch("bob")
    ada, bob = service.entry("ada")["job"], service.entry("bob")["job"]

    ended = service.fxsched("cancel", "--json", "--login", service.logins["ada"], ada)

    assert json.loads(ended.stdout)["cause"] == "cancelled"
    status = service.fxsched("status", "--json", "--login", service.logins["bob"], bob)
    assert json.loads(status.stdout)["state"] == "running"
    other = service.fxsched("status", "--json", "--login", service.logins["bob"], ada)
    assert json.loads(other.stdout)["state"] == "gone"


def test_a_secret_is_in_the_user_s_file_and_on_nobody_s_command_line(service: Service) -> None:
    secret = f"primary-{secrets.token_hex(16)}"
    (service.place / "secret").write_text(secret)
    spy = subprocess.Popen(
        ["sh", "-c", SPY, "spy", str(service.place)], stdout=subprocess.PIPE, text=True, user="nobody"
    )
    assert spy.stdout
    assert spy.stdout.readline() == "ready\n"

    result = service.launch("ada", weblink={"url": "https://fastx.example.com:3300", "primary": secret})

    (service.place / "stop").touch()
    assert (spy.wait(timeout=30), spy.stdout.read()) == (0, "")
    spy.stdout.close()
    (service.place / "secret").unlink()
    assert result.returncode == 0
    assert holders(secret, service.place) == {str(service.session("ada") / "command")}


def test_whom_sudo_does_not_allow_gets_no_session(service: Service) -> None:
    result = service.launch("eve")

    assert result.returncode == 1
    assert f"sudo did not let fxsched become {service.logins['eve']}" in result.stdout
    assert "docs/hosts.md" in result.stdout
    assert not list(service.state("eve").glob("ledger/*/*.json"))


def test_a_login_with_somebody_else_s_number_gets_no_session(service: Service) -> None:
    result = service.launch("ada", uid=service.account("bob").pw_uid)

    assert result.returncode == 1
    assert "must agree on who somebody is" in result.stdout


def test_root_is_never_acted_for(service: Service) -> None:
    for members in ({"login": "root"}, {"uid": 0}, {"login": "root", "uid": 0}):
        assert "never acts for root" in service.launch("ada", **members).stdout


PROGRAM = """
import sys, anyio
from fxsched.hosts import LocalHost
from fxsched.hosts.become import SudoHost

async def main():
    host = SudoHost(LocalHost(), sys.argv[1])
    with anyio.move_on_after(float(sys.argv[3])):
        try:
            command = 'echo $$ >"$HOME/pid"; sleep 30; echo >"$HOME/after"'
            await host.run(["/bin/sh", "-c", command], deadline=float(sys.argv[2]))
        except Exception as error:
            print(type(error).__name__, error)

anyio.run(main)
"""


@pytest.mark.parametrize(("deadline", "patience"), [(1.0, 60.0), (60.0, 0.5)], ids=["deadline", "cancelled"])
def test_a_command_of_somebody_else_ends_when_nobody_waits_for_it_any_more(
    service: Service, deadline: float, patience: float
) -> None:
    python = str(PROGRAMS / "python")

    done = service.run(python, "-c", PROGRAM, service.logins["ada"], str(deadline), str(patience))

    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("OutcomeUnknown /bin/sh did not answer") == (patience > deadline)
    pid = int((service.home("ada") / "pid").read_text())
    until("the end of the command", lambda: not Path(f"/proc/{pid}").exists(), 10)
    assert not (service.home("ada") / "after").exists()


def test_what_root_cannot_be_asked_for_certainly_did_not_run(service: Service) -> None:
    async def ask(login: str) -> None:
        await SudoHost(LocalHost(), login).run(["/bin/true"], deadline=20)

    with pytest.raises(HostUnreachable, match="unknown user"):
        anyio.run(ask, "no-such-user-here")
    with pytest.raises(OutcomeUnknown):
        anyio.run(slow, service.logins["ada"])


async def slow(login: str) -> None:
    await SudoHost(LocalHost(), login).run(["/bin/sleep", "9"], deadline=0.5)
