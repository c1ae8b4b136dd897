"""A real Slurm cluster for tests: munged, slurmctld and some slurmds on the loopback interface, state in one directory.

It knows nothing of fxsched. Several clusters can run side by side; each has its own ports, munge key and socket.
"""

import os
import pwd
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from .daemons import Daemons, DaemonsError, free_ports

PROGRAMS = ("sbatch", "squeue", "scancel", "scontrol", "sinfo", "slurmctld", "slurmd", "munged")
PATH = f"{os.environ.get('PATH', '/usr/bin:/bin')}:/usr/sbin:/sbin"


def missing_programs() -> tuple[str, ...]:
    return tuple(program for program in PROGRAMS if shutil.which(program, path=PATH) is None)


class SlurmCluster(Daemons):
    """`with SlurmCluster(directory) as cluster:` has all nodes idle, and leaves no process behind.

    Nodes are n1, n2, …; the first half is partition "debug", the second half partition "gpu" with two GPUs each.
    As root, it runs jobs of every user, who must be able to reach `directory`; otherwise only the caller's.
    `extra` are further lines of slurm.conf; the last one of a keyword wins.
    """

    name = "Slurm"

    def __init__(
        self,
        directory: Path,
        *,
        nodes: int = 4,
        cpus: int = 16,
        memory_mb: int = 64_000,
        min_job_age: int = 300,
        extra: Sequence[str] = (),
    ) -> None:
        directory = directory.resolve()
        self.conf = directory / "slurm.conf"
        super().__init__(directory, {"SLURM_CONF": str(self.conf), "PATH": PATH, "LC_ALL": "C"}, mark="SLURM_CONF")
        self._socket = self.directory / "run" / "munge.socket"
        self._nodes = [f"n{number + 1}" for number in range(nodes)]
        self._gpu_nodes = self._nodes[-(nodes // 2) :] if nodes > 1 else []
        self._cpus, self._memory_mb = cpus, memory_mb
        self._min_job_age = min_job_age
        self._extra = tuple(extra)

    def start(self) -> None:
        for name in ("run", "log", "state", *(f"spool/{node}" for node in self._nodes)):
            (self.directory / name).mkdir(parents=True, exist_ok=True)
        self.directory.chmod(0o755)
        self._write_configuration()
        self._start_munge()
        self.start_controller()
        # Only now: a slurmd that finds no controller sleeps a whole second before it tries again.
        for node in self._nodes:
            self._spawn(f"slurmd-{node}", "slurmd", "-D", "-N", node, "-f", str(self.conf))
        self._until("set of idle nodes", self._all_idle)

    def stop(self) -> None:
        """End all jobs as Slurm does it, if it can, then all that is left."""
        for daemon in self._daemons.values():
            daemon.send_signal(signal.SIGCONT)
        running = {name for name, daemon in self._daemons.items() if daemon.poll() is None}
        if {"munged", "slurmctld"} <= running:
            with suppress(DaemonsError, subprocess.TimeoutExpired):
                self._end_jobs()
        super().stop()

    def pause_controller(self) -> None:
        """Hang the controller: clients connect and get no answer."""
        self._daemons["slurmctld"].send_signal(signal.SIGSTOP)

    def continue_controller(self) -> None:
        self._daemons["slurmctld"].send_signal(signal.SIGCONT)

    def kill_controller(self) -> None:
        """As if its machine had lost power; what it had not saved is lost."""
        controller = self._daemons.pop("slurmctld")
        os.killpg(controller.pid, signal.SIGKILL)
        controller.wait()

    def start_controller(self) -> None:
        """Start the controller from its saved state, and wait until it answers."""
        self._spawn("slurmctld", "slurmctld", "-D", "-i", "-f", str(self.conf))
        self._until("answer of slurmctld", lambda: self.run("scontrol", "ping").returncode == 0)

    def pause_munge(self) -> None:
        """Hang authentication: every client hangs with it."""
        self._daemons["munged"].send_signal(signal.SIGSTOP)

    def continue_munge(self) -> None:
        self._daemons["munged"].send_signal(signal.SIGCONT)

    def _start_munge(self) -> None:
        run = self.directory / "run"
        key = run / "munge.key"
        key.write_bytes(os.urandom(1024))
        key.chmod(0o600)
        self._spawn(
            "munged",
            *("munged", "--foreground", "--force", f"--key-file={key}", f"--socket={self._socket}"),
            *(f"--pid-file={run}/munged.pid", f"--seed-file={run}/munged.seed"),
        )
        self._until("socket of munged", self._socket.exists)

    def _all_idle(self) -> bool:
        idle = self.run("sinfo", "--noheader", "--Node", "--states=idle", "--format=%N").stdout.split()
        return set(idle) == set(self._nodes)

    def _end_jobs(self) -> None:
        jobs = self.run("squeue", "--noheader", "--array", "--format=%A", timeout=5).stdout.split()
        if jobs:
            self.run("scancel", *sorted(set(jobs)), timeout=5)
        self._until("end of all jobs", lambda: not self.run("squeue", "--noheader", timeout=5).stdout, 3)

    def _write_configuration(self) -> None:
        self.conf.write_text("\n".join(self._configuration()) + "\n")
        gpus = [self.directory / "gpu0", self.directory / "gpu1"]  # any file will do as a device
        for gpu in gpus:
            gpu.touch()
        gres = (f"NodeName={node} Name=gpu File={self.directory}/gpu[0-1]\n" for node in self._gpu_nodes)
        (self.directory / "gres.conf").write_text("".join(gres))

    def _configuration(self) -> Iterator[str]:
        here, user = self.directory, pwd.getpwuid(os.getuid()).pw_name
        controller_port, *node_ports = free_ports(1 + len(self._nodes))
        yield "ClusterName=test"
        yield f"SlurmctldHost={socket.gethostname().partition('.')[0]}(127.0.0.1)"
        yield f"SlurmctldPort={controller_port}"
        yield "CommunicationParameters=NoInAddrAny,NoCtldInAddrAny"
        yield f"SlurmUser={user}"
        yield f"SlurmdUser={user}"
        yield "AuthType=auth/munge"
        yield f"AuthInfo=socket={self._socket}"
        yield "CredType=cred/munge"
        yield f"StateSaveLocation={here}/state"
        yield f"SlurmdSpoolDir={here}/spool/%n"
        yield f"SlurmctldPidFile={here}/run/slurmctld.pid"
        yield f"SlurmdPidFile={here}/run/slurmd-%n.pid"
        yield "ProctrackType=proctrack/linuxproc"
        yield "TaskPlugin=task/none"
        yield "MpiDefault=none"
        yield "SwitchType=switch/none"
        yield "ReturnToService=2"
        yield "SlurmdParameters=config_overrides"  # nodes have what we say, not what this machine has
        yield "SelectType=select/cons_tres"
        yield "SelectTypeParameters=CR_CPU_Memory"
        yield "DefMemPerCPU=100"
        yield "SchedulerType=sched/backfill"
        yield "SchedulerParameters=batch_sched_delay=0,bf_interval=1"
        yield "AccountingStorageType=accounting_storage/none"
        yield "MailProg=/bin/true"
        yield f"MinJobAge={self._min_job_age}"
        yield "KillWait=2"
        yield "GresTypes=gpu"
        yield from self._extra
        for node, port in zip(self._nodes, node_ports, strict=True):
            gres = "Gres=gpu:2" if node in self._gpu_nodes else ""
            size = f"CPUs={self._cpus} RealMemory={self._memory_mb} {gres}"
            yield f"NodeName={node} NodeHostname={node} NodeAddr=127.0.0.1 Port={port} {size}"
        debug_nodes = [node for node in self._nodes if node not in self._gpu_nodes]
        yield f"PartitionName=debug Nodes={','.join(debug_nodes)} Default=YES MaxTime=60 DefaultTime=10"
        if self._gpu_nodes:
            yield f"PartitionName=gpu Nodes={','.join(self._gpu_nodes)} MaxTime=1-0 DefaultTime=30"
