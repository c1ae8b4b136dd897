"""A launcher that FastX runs as its service user: it acts for whom the request names, and mixes nobody up.

sudo is a double that leads to a home directory of the login's own; tests/real has the real one.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import pytest

from .. import programs

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path

    from .conftest import User

ADA, BOB = 987654, 987655
SUDO = """#!/bin/sh
printf '%s\\n' "$*" >>"@HOMES@/log"
[ "$1 $2 $3 $5" = "-n -H -u --" ] || exit 64
login=$4
shift 5
exec env -i HOME="@HOMES@/$login" USER="$login" LOGNAME="$login" PATH="$PATH" "$@"
"""
CONFIG = """
[clusters.here]
become = "sudo"
options.grace = 1
"""


class Service:
    """FastX's service user, and the homes of those for whom it acts."""

    def __init__(self, user: User, homes: Path) -> None:
        self.user = user
        self.homes = homes
        self.state = user.state
        folder = homes.parent / "bin"
        folder.mkdir()
        (folder / "sudo").write_text(SUDO.replace("@HOMES@", str(homes)))
        (folder / "sudo").chmod(0o755)
        for login in ("ada", "bob", "shared"):
            (homes / login).mkdir(parents=True)
        user.environment["PATH"] = f"{folder}:{os.environ['PATH']}"
        self.configure(CONFIG)

    def configure(self, text: str) -> None:
        self.user.environment["FXSCHED_CONFIG"] = str(self.user.config(text))

    def launch(self, login: str = "ada", uid: int = ADA, **members: Any) -> subprocess.CompletedProcess[str]:
        return self.user.launch(login=login, uid=uid, homedir=f"/no/such/home/{login}", **members)

    def fxsched(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return programs.run([programs.FXSCHED, *arguments], env=self.user.environment, text=True)

    def entries(self, account: str) -> list[dict[str, Any]]:
        paths = self.state.glob(f"users/{account}/ledger/*/*.json")
        return [json.loads(path.read_bytes().splitlines()[-1]) for path in paths]

    def sessions(self, account: str) -> list[str]:
        return [path.name for path in (self.homes / account).glob(".local/state/fxsched/sessions/*")]


@pytest.fixture
def service(user: User, tmp_path: Path) -> Service:
    return Service(user, tmp_path / "homes")


def test_a_session_is_the_user_s_and_the_record_of_it_is_the_service_s(service: Service) -> None:
    service.user.start_script('pwd >"$HOME/where"; echo "$USER" >>"$HOME/where"; echo \'{"result": 1}\'; sleep 60')

    result = service.launch()

    assert (result.returncode, result.stdout, result.stderr) == (0, '{"result": 1}\n', "")
    [entry] = service.entries("ada")
    assert service.sessions("ada") == [entry["token"]]
    assert (service.homes / "ada/where").read_text() == f"{service.homes}/ada\nada\n"
    assert not list(service.state.glob("ledger/*/*"))
    assert not list(service.user.home.glob(".local/state/fxsched/sessions/*"))
    assert "ada, profile default" in (service.state / "launch.log").read_text()


def test_two_users_requests_are_never_mixed(service: Service) -> None:
    assert service.launch("ada", ADA).returncode == service.launch("bob", BOB).returncode == 0

    [ada], [bob] = service.entries("ada"), service.entries("bob")
    assert (service.sessions("ada"), service.sessions("bob")) == ([ada["token"]], [bob["token"]])
    status = json.loads(service.fxsched("status", "--json", "--login", "ada", ada["job"]).stdout)
    assert (status["id"], status["state"]) == (ada["job"], "running")
    assert json.loads(service.fxsched("status", "--json", "--login", "bob", ada["job"]).stdout)["state"] == "gone"
    assert service.fxsched("cancel", "--login", "bob", bob["job"]).returncode == 0
    assert json.loads(service.fxsched("status", "--json", "--login", "ada", ada["job"]).stdout)["state"] == "running"


def test_no_secret_and_nothing_of_the_request_is_on_sudo_s_command_line(service: Service) -> None:
    service.user.root.joinpath("scripts/start-weblink").write_text("#!/bin/sh\necho '{\"result\": 1}'; sleep 60\n")
    service.user.root.joinpath("scripts/start-weblink").chmod(0o755)

    assert service.launch(weblink={"url": "https://head:3320", "primary": "S3CRET"}).returncode == 0

    lines = set((service.homes / "log").read_text().splitlines())
    assert len(lines) == 1
    assert "S3CRET" not in str(lines)


def test_the_service_s_own_variables_stay_its_own(service: Service) -> None:
    service.user.environment |= {"FASTX_X": "passed on", "SERVICE_KEY": "private", "KRB5CCNAME": "private"}
    service.user.start_script('env >"$HOME/environment"; echo \'{"result": 1}\'; sleep 60')

    service.launch()

    seen = (service.homes / "ada/environment").read_text()
    assert "FASTX_X=passed on" in seen
    assert "private" not in seen


def test_all_users_of_one_account_share_its_record(service: Service) -> None:
    service.configure('[clusters.here]\nbecome = "sudo"\nlogin = "shared"\noptions.grace = 1\n')

    service.launch("ada", ADA)
    service.launch("bob", BOB)

    assert len(service.entries("shared")) == len(service.sessions("shared")) == 2
    assert service.fxsched("reconcile").stdout == ""


def test_a_launch_that_was_killed_is_settled_by_reconcile_for_everybody(service: Service) -> None:
    service.launch()
    [path] = service.state.glob("users/ada/ledger/live/*.json")
    entry = json.loads(path.read_bytes().splitlines()[-1])
    job = entry.pop("job")
    path.write_text(json.dumps(entry))

    done = service.fxsched("reconcile", "--fix")

    assert (done.returncode, done.stdout.startswith(f"unrecorded: here, job {job}, ")) == (0, True)
    assert [each["job"] for each in service.entries("ada")] == [job]


# ── what is refused ───────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ("", "LAUNCH_AS_CURRENT_USER"),
        ('host = "ssh://login1"', 'unless become = "sudo" or login in [clusters.here] says how'),
        ('host = "ssh://service@login1"', 'unless become = "sudo" or login in [clusters.here] says how'),
        ('become = "sudo"\nlogin = { bob = "bob" }', "ada has no account on clusters.here"),
        ('become = "sudo"\nlogin = { ada = "root" }', "root's account"),
    ],
)
def test_somebody_else_s_request_needs_settings_that_cover_it(service: Service, settings: str, words: str) -> None:
    service.configure(f"[clusters.here]\n{settings}\n")

    assert_refused(service, service.launch(), words)


@pytest.mark.parametrize(
    ("login", "uid", "words"),
    [
        ("root", ADA, "the launcher never acts for root"),
        ("daemon", ADA, f"says that daemon is user {ADA}, but here that is user 1"),
        ("-s", ADA, "'-s' cannot be the name of an account"),
        ("#0", ADA, "'#0' cannot be the name of an account"),
        ("../bob", ADA, "'../bob' cannot be the name of an account"),
        ("ada bob", ADA, "'ada bob' cannot be the name of an account"),
    ],
)
def test_a_login_that_is_nobody_s_or_somebody_else_s_is_refused(
    service: Service, login: str, uid: int, words: str
) -> None:
    assert_refused(service, service.launch(login, uid), words)


def assert_refused(service: Service, result: subprocess.CompletedProcess[str], words: str) -> None:
    assert result.returncode == 1
    assert result.stdout.startswith("The session could not be started: ")
    assert words in result.stdout
    assert not (service.homes / "log").exists()
    assert not list(service.state.glob("**/*.json"))
