"""A real sshd for tests, on a port of the loopback interface, with keys and a configuration of its own.

It knows nothing of fxsched. Several can run side by side. ``MaxSessions`` and ``MaxStartups`` are at their defaults.
"""

import getpass
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

PATH = f"{os.environ.get('PATH', '/usr/bin:/bin')}:/usr/sbin:/sbin"
PROGRAMS = ("sshd", "ssh", "ssh-keygen", "ssh-agent", "ssh-add", "csh", "tcsh", "fish", "zsh", "dash")
START_DEADLINE = 20.0
ME = getpass.getuser()


def missing_programs() -> tuple[str, ...]:
    return tuple(program for program in PROGRAMS if shutil.which(program, path=PATH) is None)


def make_key(path: Path, *options: str) -> Path:
    """Make a pair of keys without a passphrase, PATH and PATH.pub."""
    keygen("-q", "-t", "ed25519", "-N", "", "-C", path.name, "-f", str(path), *options)
    return path


def keygen(*arguments: str) -> None:
    subprocess.run(["ssh-keygen", *arguments], check=True, capture_output=True, stdin=subprocess.DEVNULL)


class SshServer:
    """``with SshServer(directory) as server:`` answers, and leaves no process behind.

    The key ``client_key`` may log in as whoever runs the tests, and as root's tests' ``Login``s. ``extra`` are further
    lines of sshd_config; the first one of a keyword wins.
    """

    def __init__(self, directory: Path, *, extra: Sequence[str] = ()) -> None:
        self.directory = directory.resolve()
        self.directory.mkdir(exist_ok=True)
        self.directory.chmod(0o755)
        self.port = _free_port()
        self.host_key = make_key(self.directory / "host_key")
        self.client_key = make_key(self.directory / "client_key")
        self.ca = make_key(self.directory / "ca")
        self.keys = self.directory / "authorized_keys"
        """Whose keys may log in, as anybody."""
        self.log = self.directory / "log"
        self.known_hosts = self.directory / "known_hosts"
        self.config = self.directory / "ssh_config"
        """What a client reads in place of ~/.ssh/config; name the port and the user besides."""
        self._extra = tuple(extra)
        self._daemon: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.authorize()
        self.trust()
        self.configure()
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()

    def authorize(self, environment: Mapping[str, str] | None = None) -> None:
        """Let the client's key in, with these variables in its environment."""
        options = ",".join(f'environment="{name}={value}"' for name, value in (environment or {}).items())
        self.keys.write_text(f"{options} {self.client_key.with_suffix('.pub').read_text()}".lstrip())
        self.keys.chmod(0o644)

    def trust(self) -> None:
        """Make the server known to clients."""
        public = self.host_key.with_suffix(".pub").read_text()
        self.known_hosts.write_text(f"[127.0.0.1]:{self.port} {public}")

    def configure(self, *lines: str, key: Path | None = None) -> Path:
        """Write the clients' configuration; ``lines`` come first, and so win."""
        usual = [
            "Host *",
            f"UserKnownHostsFile {self.known_hosts}",
            "GlobalKnownHostsFile /dev/null",
            f"IdentityFile {key or self.client_key}",
            "IdentitiesOnly yes",
            "IdentityAgent none",
        ]
        self.config.write_text("\n".join([*lines, *usual]) + "\n")
        return self.config

    def start(self) -> None:
        """Start the server on its port, and wait until it answers."""
        configuration = self.directory / "sshd_config"
        lines = [
            *self._extra,
            "ListenAddress 127.0.0.1",
            f"Port {self.port}",
            f"HostKey {self.host_key}",
            f"PidFile {self.directory / 'pid'}",
            f"AuthorizedKeysFile {self.keys}",
            f"TrustedUserCAKeys {self.ca}.pub",
            "StrictModes no",
            "PermitRootLogin yes",
            "PermitUserEnvironment yes",
            "PasswordAuthentication no",
            "KbdInteractiveAuthentication no",
            "UsePAM no",
            "LogLevel VERBOSE",
        ]
        configuration.write_text("\n".join(lines) + "\n")
        if os.getuid() == 0:
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        with self.log.open("ab") as log:
            self._daemon = subprocess.Popen(
                [str(shutil.which("sshd", path=PATH)), "-D", "-e", "-f", str(configuration)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        _until("answer of sshd", self._answers, lambda: self.log.read_text()[-2000:])

    def kill(self) -> None:
        """As if its machine's network had gone for good: listener and sessions are killed, but not their commands."""
        self._signal(signal.SIGKILL)
        if self._daemon:
            self._daemon.wait()
            self._daemon = None

    def kill_sessions(self) -> None:
        """Cut every connection; the listener stays."""
        for pid in self.processes():
            if not self._daemon or pid != self._daemon.pid:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """While the block lasts, nothing of it answers, and nothing is closed."""
        self._signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._signal(signal.SIGCONT)

    def connections(self) -> int:
        """How many connections it has accepted so far."""
        return self.log.read_text().count("Accepted publickey")

    def processes(self) -> list[int]:
        """Return the server's own processes, not the commands that it started."""
        if not self._daemon:
            return []
        found = [self._daemon.pid]
        parents = {pid: parent for pid, (parent, name) in _processes().items() if name.startswith("sshd")}
        for pid in found:
            found += [child for child, parent in parents.items() if parent == pid]
        return found

    def _signal(self, number: signal.Signals) -> None:
        for pid in self.processes():
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def _answers(self) -> bool:
        assert self._daemon
        if self._daemon.poll() is not None:
            raise RuntimeError(f"sshd ended: {self.log.read_text()[-2000:]}")
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as probe:
                return probe.recv(4) == b"SSH-"
        except OSError:
            return False


class Login:
    """A real user of this machine, with a login shell and a home directory; made and removed by root."""

    def __init__(self, name: str, shell: str, home: Path, files: Mapping[str, str]) -> None:
        self.name, self.home = name, home
        home.mkdir()
        for file, text in files.items():
            path = home / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        program = str(shutil.which(shell, path=PATH))
        subprocess.run(
            [shutil.which("useradd", path=PATH) or "useradd", "-M", "-d", str(home), "-s", program, name],
            check=True,
            capture_output=True,
        )
        # "*" is no password that anybody could type; "!" would lock the account for keys too.
        subprocess.run([shutil.which("usermod", path=PATH) or "usermod", "-p", "*", name], check=True)
        subprocess.run(["chown", "-R", f"{name}:", str(home)], check=True)

    def remove(self) -> None:
        subprocess.run(
            [shutil.which("userdel", path=PATH) or "userdel", "-f", self.name], check=False, capture_output=True
        )


def _processes() -> dict[int, tuple[int, str]]:
    """Return the parent and the name of every process."""
    found = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            name, _, rest = path.read_text(errors="replace").partition("(")[2].rpartition(")")
            found[int(path.parent.name)] = int(rest.split()[1]), name
    return found


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _until(what: str, condition: Callable[[], object], shown: Callable[[], object]) -> None:
    deadline = time.monotonic() + START_DEADLINE
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {START_DEADLINE:g} s for {what}: {shown()}")
        time.sleep(0.02)
