"""A real Grid Engine for tests: a qmaster and an execd on this host, all state in one directory.

It knows nothing of fxsched. Several can run side by side; each has its own ports. Debian's packages need no service.
"""

import os
import pwd
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from .daemons import Daemons, DaemonsError, free_ports

LIBRARY = Path("/usr/lib/gridengine")
SHARE = Path("/usr/share/gridengine")
PROGRAMS = ("qsub", "qstat", "qdel", "qacct", "qconf", "sge_qmaster", "sge_execd", "spoolinit", "spooldefaults")

_CONFIGURATION = {
    "min_uid": "0",
    "min_gid": "0",
    "load_report_time": "00:00:01",
    "shell_start_mode": "unix_behavior",
    "reporting_params": "accounting=true reporting=false accounting_flush_time=00:00:00 flush_time=00:00:01"
    " joblog=false sharelog=00:00:00",
}
_SCHEDULER = {
    "schedule_interval": "0:0:1",
    "flush_submit_sec": "1",
    "flush_finish_sec": "1",
    "schedd_job_info": "true",
    "job_load_adjustments": "NONE",
}
_ENVIRONMENT = {"slots": "999", "allocation_rule": "$pe_slots"}
_COMPLEXES = {
    "gpu": ("INT", "<=", "JOB", "0"),
    "exclusive": ("BOOL", "EXCL", "YES", "0"),
}


def missing_programs() -> tuple[str, ...]:
    return tuple(program for program in PROGRAMS if shutil.which(program, path=str(LIBRARY)) is None)


class GridEngine(Daemons):
    """`with GridEngine(directory) as sge:` has a host that takes jobs, and leaves no process behind.

    There are two queues, "all.q" and "off.q", which is disabled, of one host with `slots` slots, `gpus` gpus and room
    for exclusive jobs; and one parallel environment, "smp". As root, it runs jobs of every user; otherwise only the
    caller's. `terminate` is the queues' terminate_method: a signal, or NONE for KILL.
    """

    name = "Grid Engine"

    def __init__(self, directory: Path, *, slots: int = 4, gpus: int = 2, terminate: str = "NONE") -> None:
        directory = directory.resolve()
        self._slots, self._gpus, self._terminate = slots, gpus, terminate
        self.root = directory / "root"
        self.host = socket.gethostname().partition(".")[0]
        qmaster, execd = free_ports(2)
        architecture = subprocess.run(
            [SHARE / "util" / "arch"], env={"SGE_ROOT": "/"}, capture_output=True, text=True, check=True
        ).stdout.strip()
        env = {
            "SGE_ROOT": str(self.root),
            "SGE_CELL": "default",
            "SGE_ARCH": architecture,
            "SGE_QMASTER_PORT": str(qmaster),
            "SGE_EXECD_PORT": str(execd),
            "SGE_CLUSTER_NAME": "test",
            "PATH": f"{LIBRARY}:/usr/bin:/bin",
            "LC_ALL": "C.UTF-8",
        }
        super().__init__(directory, env, mark="SGE_ROOT")

    def start(self) -> None:
        self._lay_out()
        self._spool()
        self._start_daemon("qmaster")
        self._until("answer of the qmaster", lambda: self.run("qconf", "-sh").returncode == 0)
        self.configure("-ah", self.host)
        self.configure("-as", self.host)
        self._configure_from("-Msconf", _SCHEDULER, self.configure("-ssconf"))
        self._start_daemon("execd")
        self._until("execd", lambda: self.run("qconf", "-se", self.host).returncode == 0)
        self.configure(
            "-rattr", "exechost", "complex_values", f"gpu={self._gpus},exclusive=true,slots={self._slots}", self.host
        )
        self._configure_from("-Ap", {"pe_name": "smp"} | _ENVIRONMENT, self._template("-ap", "smp"))
        for name, state in (("all.q", "default"), ("off.q", "disabled")):
            values = {
                "qname": name,
                "hostlist": self.host,
                "slots": str(self._slots),
                "pe_list": "smp",
                "initial_state": state,
                "load_thresholds": "NONE",
                "terminate_method": self._terminate,
                "tmpdir": "/tmp",
            }
            self._configure_from("-Aq", values, self._template("-aq", name))
        self._until("host that takes jobs", self._takes_jobs)

    def configure(self, *options: str) -> str:
        """Run qconf, which must work; return what it printed."""
        done = self.run("qconf", *options)
        if done.returncode:
            raise DaemonsError(f"qconf {' '.join(options)}: {done.stderr or done.stdout}")
        return done.stdout

    @contextmanager
    def hung(self) -> Iterator[None]:
        """The qmaster hangs for the length of the block: clients connect and get no answer."""
        self._daemons["qmaster"].send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._daemons["qmaster"].send_signal(signal.SIGCONT)

    @contextmanager
    def dead(self) -> Iterator[None]:
        """The qmaster is killed, and started again from its saved state after the block."""
        qmaster = self._daemons.pop("qmaster")
        qmaster.kill()
        qmaster.wait()
        try:
            yield
        finally:
            self._start_daemon("qmaster")
            self._until("answer of the qmaster", lambda: self.run("qstat").returncode == 0)

    # ── how it is set up ──────────────────────────────────────────────────────────────────────────────────────────

    def _lay_out(self) -> None:
        """Make a root of its own around the installed programs, and the files that no qconf writes."""
        common = self.root / "default" / "common"
        for path in (common, *(self.directory / name for name in ("log", "spool", "execd", "qmaster/job_scripts"))):
            path.mkdir(parents=True, exist_ok=True)
        self.directory.chmod(0o755)
        architecture = self.env["SGE_ARCH"]
        for name in ("bin", "lib", "utilbin"):
            (self.root / name).mkdir(exist_ok=True)
            (self.root / name / architecture).symlink_to(LIBRARY)
        (self.root / "util").symlink_to(SHARE / "util")
        (common / "act_qmaster").write_text(f"{self.host}\n")
        (common / "cluster_name").write_text("test\n")
        # The address 127.0.0.1 has another name first, which must be this host's too.
        (common / "host_aliases").write_text(f"{self.host} localhost localhost.localdomain\n")
        me = pwd.getpwuid(os.getuid()).pw_name
        bootstrap = {
            "admin_user": "none" if me == "root" else me,
            "default_domain": "none",
            "ignore_fqdn": "true",
            "spooling_method": "berkeleydb",
            "spooling_lib": "libspoolb",
            "spooling_params": str(self.directory / "spool"),
            "binary_path": str(LIBRARY),
            "qmaster_spool_dir": str(self.directory / "qmaster"),
            "security_mode": "none",
            "listener_threads": "2",
            "worker_threads": "2",
            "scheduler_threads": "1",
        }
        (common / "bootstrap").write_text("".join(f"{name} {value}\n" for name, value in bootstrap.items()))

    def _spool(self) -> None:
        """Fill the database with a configuration, the usual complexes and two of our own."""
        configuration = self.directory / "configuration"
        text = (SHARE / "default-configuration").read_text()
        values = _CONFIGURATION | {"execd_spool_dir": str(self.directory / "execd")}
        configuration.write_text(_with(text, values))
        complexes = self.directory / "centry"
        shutil.copytree(SHARE / "util" / "resources" / "centry", complexes)
        for name, (kind, relation, consumable, default) in _COMPLEXES.items():
            fields = {"name": name, "shortcut": name, "type": kind, "relop": relation, "requestable": "YES"}
            fields |= {"consumable": consumable, "default": default, "urgency": "0"}
            (complexes / name).write_text("".join(f"{field} {value}\n" for field, value in fields.items()))
        database = str(self.directory / "spool")
        resources = SHARE / "util" / "resources"
        for argv in (
            ("spoolinit", "berkeleydb", "libspoolb", database, "init"),
            ("spooldefaults", "configuration", str(configuration)),
            ("spooldefaults", "complexes", str(complexes)),
            ("spooldefaults", "usersets", str(resources / "usersets")),
            ("spooldefaults", "managers", "root", pwd.getpwuid(os.getuid()).pw_name),
        ):
            done = self.run(*argv)
            if done.returncode:
                raise DaemonsError(f"{' '.join(argv)}: {done.stdout}{done.stderr}")

    def _template(self, *options: str) -> str:
        """What qconf offers to an editor: there is no option that prints it."""
        shown = subprocess.run(
            [LIBRARY / "qconf", *options],
            env={**self.env, "EDITOR": "/bin/cat"},
            cwd=self.directory,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        return shown.stdout

    def _configure_from(self, option: str, values: Mapping[str, str], text: str) -> None:
        file = self.directory / "request"
        file.write_text(_with(text, values))
        self.configure(option, str(file))

    def _takes_jobs(self) -> bool:
        shown = self.run("qstat", "-f").stdout.splitlines()
        return any(line.startswith("all.q@") and len(line.split()) == 5 and "-NA-" not in line for line in shown)

    def _start_daemon(self, name: str) -> None:
        self._spawn(name, str(LIBRARY / f"sge_{name}"), env={**self.env, "SGE_ND": "1"})  # stay in the foreground

    def _logs(self) -> Iterable[Path]:
        return (*super()._logs(), *self.directory.glob("*/messages"), *Path("/tmp").glob("sge_*"))


def _with(text: str, values: Mapping[str, str]) -> str:
    """Return a configuration ("name value" in each line) with these values in place of its own."""
    kept = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    kept = [line for line in kept if line.split()[0] not in values]
    return "".join(f"{line}\n" for line in (*kept, *(f"{name} {value}" for name, value in values.items())))
