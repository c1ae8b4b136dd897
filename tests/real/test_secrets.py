"""What another user of a real Slurm cluster can find out about a session: never its secrets."""

from __future__ import annotations

import hashlib
import os
import pwd
import secrets
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from fxsched.session import directory

from .person import Person, until
from .slurm_cluster import SlurmCluster

pytestmark = pytest.mark.skipif(os.getuid() != 0, reason="only root can act as two other users")

START = r"""
printf %s "$WEBLINK_PRIMARY" | sha256sum >"$HOME/digest"
umask >"$HOME/mask"
exec sleep 600
"""

SPY = r"""
echo ready
while [ ! -e "$1/stop" ]; do
    found=$(grep -lasF -f "$1/secret" /proc/[0-9]*/cmdline /proc/[0-9]*/environ)
    [ -z "$found" ] || { echo "$found"; exit 1; }
done
"""
"""Looks for the secret wherever a process shows something to this user. It is on no command line here."""


@contextmanager
def user(name: str) -> Iterator[pwd.struct_passwd]:
    """Make a user for the length of the block."""
    login = f"fxsched-{name}-{secrets.token_hex(3)}"
    subprocess.run(["useradd", "--no-create-home", "--shell=/bin/sh", login], check=True, capture_output=True)
    try:
        yield pwd.getpwnam(login)
    finally:
        subprocess.run(["userdel", login], check=True, capture_output=True)


class Eve:
    """Another user, who knows where to look."""

    def __init__(self, place: Path, slurm: SlurmCluster, account: pwd.struct_passwd) -> None:
        self.place = place
        self.account = account
        self._environment = {**slurm.env, "HOME": "/nonexistent"}

    def run(self, *argv: str) -> subprocess.CompletedProcess[str]:
        """Run a command as Eve."""
        with self.start(argv) as process:
            out, err = process.communicate(timeout=30)
        return subprocess.CompletedProcess(argv, process.returncode, out, err)

    def start(self, argv: Sequence[str]) -> subprocess.Popen[str]:
        """Start a command as Eve."""
        return subprocess.Popen(
            argv,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            env=self._environment,
            cwd="/",
            user=self.account.pw_uid,
            group=self.account.pw_gid,
            extra_groups=[],
        )

    @contextmanager
    def spying(self) -> Iterator[subprocess.Popen[str]]:
        """Watch all processes for the length of the block; ``spy.returncode`` is 1 if the secret was seen."""
        with self.start(["sh", "-c", SPY, "spy", str(self.place)]) as spy:
            assert spy.stdout
            assert spy.stdout.readline() == "ready\n"
            try:
                yield spy
            finally:
                (self.place / "stop").touch()
                spy.wait(timeout=30)
                (self.place / "stop").unlink()


@pytest.fixture
def secret() -> str:
    """FastX's bearer token of one session."""
    return f"primary-{secrets.token_hex(16)}"


@pytest.fixture
def place(secret: str) -> Iterator[Path]:
    """A directory that everybody may enter."""
    with tempfile.TemporaryDirectory(prefix="secrets-") as directory:
        Path(directory).chmod(0o755)
        Path(directory, "secret").write_text(secret)
        yield Path(directory)


@pytest.fixture
def eve(place: Path, slurm: SlurmCluster) -> Iterator[Eve]:
    """The user from whom it is kept."""
    with user("eve") as account:
        yield Eve(place, slurm, account)


@pytest.fixture
def ada(place: Path, slurm: SlurmCluster) -> Iterator[Person]:
    """The user whose session it is, in a home that others may enter, but not list."""
    with user("ada") as account:
        person = Person(place / "ada", slurm.env, settings="poll_interval = 0.5", wait=20)
        with person.config.open("a") as config:
            config.write('[profiles.refused]\nqueue = "nosuch"\n')
        weblink = person.home / "fastx" / "scripts" / "start-weblink"
        weblink.write_text(f"#!/bin/sh\n{START}")
        weblink.chmod(0o755)
        for path in (person.home, *person.home.rglob("*")):
            os.chown(path, account.pw_uid, account.pw_gid)
        person.home.chmod(0o711)
        person.uid, person.gid = account.pw_uid, account.pw_gid
        # Ada must reach the interpreter and the checkout wherever they are, be it below /root: she may search every
        # directory, and do nothing else that is not hers.
        person.prefix = (
            *("setpriv", f"--reuid={account.pw_uid}", f"--regid={account.pw_gid}", "--clear-groups"),
            *("--inh-caps=-all,+dac_read_search", "--ambient-caps=-all,+dac_read_search"),
        )
        yield person
        slurm.run("scancel", f"--user={account.pw_name}")
        until("end of Ada's jobs", lambda: not slurm.run("squeue", "--noheader", f"--user={account.pw_name}").stdout)


def request(secret: str) -> dict[str, object]:
    return {"weblink": {"url": "https://fastx.example.com:3300", "uri": "/weblink", "primary": secret}}


def holders(secret: str, *places: Path) -> set[str]:
    """Return the files that hold the secret, looked for with root's eyes."""
    done = subprocess.run(["grep", "-rlaF", "-e", secret, *places], capture_output=True, text=True, check=False)
    return set(done.stdout.splitlines())


def session_processes(token: str) -> list[Path]:
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if f"FXSCHED_TOKEN={token}".encode() in (process / "environ").read_bytes().split(b"\0"):
                found.append(process)
        except OSError:
            continue
    return found


def test_the_spy_finds_a_secret_on_a_command_line(eve: Eve, secret: str) -> None:
    with eve.spying() as spy, subprocess.Popen([sys.executable, "-c", "input()", secret], stdin=subprocess.PIPE):
        spy.wait(timeout=30)
    assert spy.returncode == 1


def test_another_user_finds_no_secret_of_a_session(
    slurm: SlurmCluster, ada: Person, eve: Eve, secret: str, place: Path
) -> None:
    with eve.spying() as spy:
        done = ada.launch(**request(secret))
        said = [done.stdout, done.stderr, ada.fxsched("reconcile"), ada.fxsched("status", str(ada.only_entry().job))]
    assert spy.returncode == 0, spy.stdout and spy.stdout.read()
    entry = ada.only_entry()
    job = str(entry.job)

    # The session has it, and runs as Ada.
    assert (ada.home / "digest").read_text().split()[0] == hashlib.sha256(secret.encode()).hexdigest()
    assert (ada.home / "mask").read_text() == "0022\n"
    assert ada.report(entry.token).started
    processes = session_processes(entry.token)
    assert any(secret.encode() in (process / "environ").read_bytes() for process in processes)
    assert {process.stat().st_uid for process in processes} == {ada.uid}

    # The scheduler shows the job to everybody, and nothing that matters.
    shown = [
        eve.run("squeue", "--states=all", "--format=%all"),
        eve.run("scontrol", "-dd", "show", "job", job),
        eve.run("sacct", "--allusers", "--format=ALL", f"--jobs={job}"),
        eve.run("scontrol", "write", "batch_script", job, "-"),
        slurm.run("scontrol", "write", "batch_script", job, "-"),
    ]
    assert job in shown[0].stdout
    assert f"JobId={job} " in shown[1].stdout
    assert (shown[3].stdout, shown[3].stderr) == ("", "job script retrieval failed: Invalid user id\n")
    assert shown[4].stdout.startswith("#!/bin/sh\n# fxsched: one session.")
    said += [part for result in shown for part in (result.stdout, result.stderr)]

    # What others can reach of processes and files holds nothing, and says so.
    files = [path for path in ada.session(entry.token).iterdir() if path.is_file()]
    assert {"command", "stdin", "lock", "started", "output", "job.log"} <= {path.name for path in files}
    private = [*files, *ada.state.rglob("*.json"), ada.state / "launch.log", *(p / "environ" for p in processes)]
    for path in private:
        refused = eve.run("cat", str(path))
        assert (refused.returncode, refused.stdout) == (1, ""), path
        assert "Permission denied" in refused.stderr
    for path in (ada.state, *ada.state.rglob("*")):
        if path.name != directory.LOG:  # Slurm makes that one, with the user's own mask
            assert path.lstat().st_mode & 0o077 == 0, path
        assert path.lstat().st_uid == ada.uid, path
    assert eve.run("ls", str(ada.session(entry.token))).returncode != 0

    # Neither does anything at rest but the one file of the session, which goes with it.
    assert holders(secret, ada.home, slurm.directory) == {str(ada.session(entry.token) / "command")}
    said.append(ada.fxsched("cancel", job))
    until("end of the session", lambda: not session_processes(entry.token))
    said.append(ada.fxsched("status", job))
    assert holders(secret, ada.home, slurm.directory) == set()
    assert not any(secret in text for text in said)


def test_a_refused_launch_leaves_no_secret(slurm: SlurmCluster, ada: Person, eve: Eve, secret: str) -> None:
    command = ada.command("fxsched-launch", "--profile=refused")
    with eve.spying() as spy:
        done = subprocess.run(
            command,
            input=ada.request(**request(secret)),
            env=ada.environment,
            cwd=ada.home,
            capture_output=True,
            timeout=60,
            check=False,
        )
        described = subprocess.run(
            [*command, "--dry-run"],
            input=ada.request(**request(secret)),
            env=ada.environment,
            cwd=ada.home,
            capture_output=True,
            timeout=60,
            check=True,
        )
    assert spy.returncode == 0
    assert done.returncode == 1
    assert b"invalid partition specified: nosuch" in done.stdout
    assert b"start-weblink" in described.stdout
    for text in (done.stdout, done.stderr, described.stdout, described.stderr):
        assert secret.encode() not in text
    assert holders(secret, ada.home, slurm.directory) == set()
    assert ada.entries() == []
