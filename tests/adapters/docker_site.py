"""Simulated container engines as sites for the contracts."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from fxsched.jobs import JobState
from fxsched_docker.adapter import DockerAdapter, EngineAdapter, PodmanAdapter
from fxsched_docker.submission import submit_program
from fxsched_fakes import State

from ..contract.container_words import ContainerSite
from ..contract.in_process import InProcessHost
from .fake_site import FakeSite

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fxsched.adapter import Adapter
    from fxsched.hosts import CommandResult
    from fxsched.jobs import JobId, Token

VERBS = ("run", "ps", "inspect", "rename", "stop", "rm")


def used(engine: str) -> dict[str, tuple[str, ...]]:
    """Return what each verb uses."""
    uses = {"submit": ("run",), "find": ("ps", "inspect"), "status": ("inspect",), "cancel": ("rename", "stop")}
    return {verb: tuple(f"{engine} {word}" for word in words) for verb, words in uses.items()}


class EngineHost(InProcessHost):
    """A host that does itself what ``submit.sh`` does before that becomes the engine's command."""

    async def run(self, argv: Sequence[str], *, stdin: bytes = b"", **settings: Any) -> CommandResult:
        if list(argv[:3]) == ["/bin/sh", "-c", submit_program()]:
            _, command, script, _, *words = argv[4:]
            Path(script).write_bytes(stdin)
            argv = [command, "run", f"--label=fxsched.user={os.getuid()}", "--env=HOME", *words]
        return await super().run(argv, stdin=stdin, **settings)


class FakeDocker(ContainerSite, FakeSite):
    """Docker as 20.10.24 speaks."""

    scheduler = "docker"
    sparing = EngineHost
    kind: ClassVar[type[EngineAdapter]] = DockerAdapter
    commands = tuple(f"docker {verb}" for verb in VERBS)
    verbs: ClassVar[Mapping[str, tuple[str, ...]]] = used("docker")
    drained = (JobState.RUNNING,)
    refusal = ({"native": ("--image=nosuch:1",)}, "No such image: nosuch:1")

    def options(self) -> dict[str, Any]:
        engine = self.kind.engine
        return {"image": "fastx:4", "grace": 1, "commands": {engine: str(self.bin / engine)}}

    def connect(self, **options: Any) -> Adapter:
        return self.kind(self.host(), self.kind.Options(**self.options() | options))

    def patient(self, seconds: float) -> Adapter:
        return self.connect(deadline=seconds, submit_deadline=seconds, grace=0)

    def drain(self) -> None:
        """An engine has no queue: what it makes, it starts."""

    def table(self) -> str:
        engine = self.kind.engine
        path = json.dumps(str(self.bin / engine))
        return (
            f'adapter = "{engine}"\noptions.image = "fastx:4"\noptions.grace = 1\n'
            f"options.commands = {{ {engine} = {path} }}"
        )

    def alive(self, token: Token) -> int:
        with self.simulation as simulation:
            return sum(token in job.name and job.state is not State.ENDED for job in simulation.jobs.values())

    def shown_to_everybody(self, id: JobId) -> str:
        with self.simulation as simulation:
            return json.dumps([job.as_json() for job in simulation.jobs.values() if job.extra["id"] == id])

    def close(self) -> None:
        """Remove every container, whatever a test has left."""
        with self.simulation as simulation:
            for job in list(simulation.jobs.values()):
                simulation.lose(job)


class FakePodman(FakeDocker):
    """Podman as 4.3.1 speaks."""

    kind = PodmanAdapter
    commands = tuple(f"podman {verb}" for verb in VERBS)
    verbs = used("podman")
    refusal = ({"native": ("--image=nosuch:1",)}, "nosuch:1: image not known")
