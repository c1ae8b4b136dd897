"""A fake Moab, or Maui, over a fake resource manager in a temporary directory."""

from pathlib import Path
from xml.etree import ElementTree

from fxsched_fakes import install

from ..commands import command_server
from .fake_slurm import Slurm


class Moab(Slurm):
    """One simulated cluster. ``over`` names the resource manager, ``extra`` is the fake's own."""

    def __init__(self, directory: Path, over: str = "slurm", **settings: object) -> None:
        self.home = directory / "home"
        self.home.mkdir(parents=True)
        self.bin = directory / "bin"
        self.cluster = install(self.bin, "moab", directory / "state", server=command_server(), over=over, **settings)
        self.state = Path(self.cluster.directory)

    def msub(self, command: str, *options: str) -> str:
        """Submits a shell command; the job's id."""
        lines = self.out("msub", *options, stdin=f"#!/bin/sh\n{command}\n".encode()).split("\n")
        assert lines[0] == ""
        return lines[1]

    def xml(self, *argv: str) -> ElementTree.Element:
        return ElementTree.fromstring(self.out(*argv))

    def rows(self, *options: str) -> dict[str, list[str]]:
        """The ids in each list of showq."""
        lists = self.xml("showq", "--xml", *options).findall("queue")
        return {each.attrib["option"]: [job.attrib["JobID"] for job in each] for each in lists}
