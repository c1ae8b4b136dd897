"""A real Podman whose containers, images and settings lie in a directory of its own."""

from __future__ import annotations

import io
import os
import resource
import shutil
import subprocess
import sys
import tarfile
from typing import TYPE_CHECKING, Any

from fxsched.hosts import LocalHost
from fxsched.jobs import JobId
from fxsched_docker.adapter import PodmanAdapter

from ..contract.container_words import ContainerSite

if TYPE_CHECKING:
    from pathlib import Path

PATH = f"{os.environ['PATH']}:/usr/sbin:/sbin"
IMAGE = "localhost/this-machine:1"
_PROGRAMS = ("podman", "runc", "catatonit")
_SYSTEM = ("bin", "lib", "lib32", "lib64", "libx32")


def missing_programs() -> list[str]:
    """Return what is not installed."""
    return [program for program in _PROGRAMS if not shutil.which(program, path=PATH)]


class Podman:
    """The engine. ``variables`` lead every podman to it.

    Its only image is empty but for the mount points and links that this machine's programs need: containers see those
    under ``/usr``, for reading.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.variables = {
            "CONTAINERS_CONF": str(directory / "containers.conf"),
            "CONTAINERS_STORAGE_CONF": str(directory / "storage.conf"),
        }
        (directory / "storage.conf").write_text(
            f'[storage]\ndriver = "vfs"\ngraphroot = "{directory}/root"\nrunroot = "{directory}/run"\n'
        )
        files, processes = (
            min(resource.getrlimit(what)[1], 1024) for what in (resource.RLIMIT_NOFILE, resource.RLIMIT_NPROC)
        )
        (directory / "containers.conf").write_text(
            # A root without all of root's rights may not raise limits, which Podman does by itself.
            f'[containers]\ndefault_ulimits = ["nofile={files}:{files}", "nproc={processes}:{processes}"]\n'
            f'[engine]\nruntime = "runc"\ncgroup_manager = "cgroupfs"\nevents_logger = "file"\n'
            f'init_path = "{shutil.which("catatonit", path=PATH)}"\n'
        )
        self.run("import", "-", IMAGE, stdin=_image())

    def run(self, *words: str, stdin: bytes | None = None) -> str:
        """Run a podman, which must work, and return what it printed."""
        done = subprocess.run(
            ["podman", *words],
            input=stdin,
            capture_output=True,
            env={"PATH": PATH, "HOME": str(self._directory), **self.variables},
            timeout=60,
        )
        assert done.returncode == 0, (words, done)
        return done.stdout.decode()

    def close(self) -> None:
        """End and remove all containers, and unmount what the engine has mounted."""
        self.run("rm", "--all", "--force", "--time=0")
        self.run("rmi", "--all", "--force")


class RealPodman(ContainerSite):
    """Podman on this machine. ``place`` is a directory that containers see for reading and writing, beside the home."""

    refusal = ({"native": ("--image=nosuch:1",)}, "nosuch:1: image not known")

    def __init__(self, home: Path, place: Path, podman: Podman) -> None:
        self.podman = podman
        self.options: dict[str, Any] = {
            "image": IMAGE,
            "network": "host",
            "grace": 2,
            "mounts": [*_mounts(), f"{place}:{place}"],
        }
        super().__init__(home)

    def connect(self, **options: Any) -> PodmanAdapter:
        mounts = {"mounts": tuple(self.options["mounts"])}
        return PodmanAdapter(LocalHost(PodmanAdapter.keeps), PodmanAdapter.Options(**self.options | mounts | options))

    def inspect(self, id: JobId, template: str) -> str:
        return self.podman.run("container", "inspect", f"--format={template}", id).strip()

    def shown_to_everybody(self, id: JobId) -> str:
        return self.podman.run("inspect", id) + self.podman.run("logs", id)

    def pids(self, id: JobId, text: str) -> list[int]:
        """In a container, processes have numbers of their own."""
        inside = text.split()
        return [pid for pid, name in _processes_of(id) if name in inside]


def _processes_of(id: JobId) -> list[tuple[int, str]]:
    """Return the processes in a container's control group: their numbers here, and inside."""
    found = []
    for entry in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{entry}/cgroup") as file:
                if id not in file.read():
                    continue
            with open(f"/proc/{entry}/status") as file:
                numbers = next(line for line in file if line.startswith("NSpid:")).split()[1:]
        except OSError:
            continue
        found.append((int(entry), numbers[-1]))
    return found


def _mounts() -> list[str]:
    """Return this machine's programs, and the Python that runs the tests, as mounts."""
    places = {"/usr", os.path.realpath(sys.base_prefix), os.path.realpath(sys.prefix)}
    places |= {f"/{name}" for name in _SYSTEM if os.path.isdir(f"/{name}") and not os.path.islink(f"/{name}")}
    return [f"{place}:{place}:ro" for place in sorted(places) if place == "/usr" or not place.startswith("/usr/")]


def _image() -> bytes:
    """Return a root file system in which this machine's programs run once they are mounted."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        for name in ("usr", "etc", "proc", "sys", "dev", "run", "root", "sbin", "tmp"):
            entry = tarfile.TarInfo(name)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o1777 if name == "tmp" else 0o755
            tar.addfile(entry)
        for name in _SYSTEM:
            if os.path.islink(f"/{name}"):
                entry = tarfile.TarInfo(name)
                entry.type, entry.linkname = tarfile.SYMTYPE, os.readlink(f"/{name}")
                tar.addfile(entry)
    return archive.getvalue()
