"""A simulated Moab, over a simulated resource manager, as a site for the contracts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from fxsched.jobs import JobId, Resources, new_token
from fxsched_moab.adapter import MoabAdapter

from ..contract.site import Site
from .fake_site import FakeSite
from .pbs_site import FakeTorque
from .slurm_site import FakeSlurm

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from fxsched.adapter import Adapter

OWN_COMMANDS = ("msub", "showq", "canceljob", "checkjob")


class FakeMoab(FakeSite):
    """Moab over a resource manager, whose own fake is ``below``: two nodes in queue "debug", two with GPUs in "gpu"."""

    scheduler = "moab"
    kind = MoabAdapter
    below: ClassVar[type[FakeSite]]
    own: ClassVar[dict[str, Any]] = {}
    """Further options of the adapter."""
    extra: ClassVar[dict[str, str]] = {}
    """Settings of the fake, as ``fxsched_fakes.moab`` has them."""

    held: ClassVar[dict[str, Any]] = {"native": ("-h",)}
    everything: ClassVar[dict[str, Any]] = {"exclusive": True, "resources": Resources(nodes=2)}

    def __init__(self, home: Path, **settings: Any) -> None:
        self.bin = home.parent / "bin"
        self.simulation = self.install("moab", over=self.below.scheduler, extra=self.extra, **settings)
        Site.__init__(self, home)

    def connect(self, **options: Any) -> Adapter:
        def paths(names: tuple[str, ...]) -> dict[str, str]:
            return {name: str(self.bin / name) for name in names}

        patience = {name: options[name] for name in self.below.patience if name in options}
        own = {
            "resource_manager": self.below.scheduler,
            "resource_manager_options": {"commands": paths(self.below.commands), **patience},
            "commands": paths(OWN_COMMANDS),
        }
        return self.kind(self.host(), MoabAdapter.Options(**own | self.own | options))

    def simulated(self) -> Sequence[str]:
        return (self.scheduler, self.below.scheduler)

    def table(self) -> str:
        def paths(names: tuple[str, ...]) -> str:
            return ", ".join(f'{name} = "{self.bin / name}"' for name in names)

        own = "\n".join(f"options.{name} = {value!r}" for name, value in self.own.items())
        return (
            f'adapter = "moab"\noptions.resource_manager = "{self.below.scheduler}"\n{own}\n'
            f"options.commands = {{ {paths(OWN_COMMANDS)} }}\n"
            f"options.resource_manager_options.commands = {{ {paths(self.below.commands)} }}"
        )

    def unused_ids(self, count: int) -> list[JobId]:
        return [JobId(f"{id}:{new_token()}") for id in super().unused_ids(count)]


class MoabOverSlurm(FakeMoab):
    """Moab that takes over Slurm's numbers for its own ids."""

    below = FakeSlurm
    commands = ("msub", "showq", "canceljob", "squeue", "sacct", "scancel")
    verbs: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "submit": ("msub",),
        "find": ("squeue", "showq"),
        "status": ("squeue", "showq"),
        "cancel": ("canceljob",),
    }
    refusal = ({"queue": "nosuch"}, "invalid partition specified: nosuch")
    caller: ClassVar[dict[str, str]] = FakeSlurm.caller


class MoabWithItsOwnIds(MoabOverSlurm):
    """Moab that gives jobs ids of its own."""

    extra: ClassVar[dict[str, str]] = {"ids": "own"}


class MauiOverSlurm(MoabOverSlurm):
    """Maui, which takes no jobs: the resource manager does."""

    commands = ("sbatch", "checkjob", "squeue", "sacct", "scancel")
    verbs: ClassVar[Mapping[str, tuple[str, ...]]] = FakeSlurm.verbs | {"status": ("squeue", "checkjob")}
    own: ClassVar[dict[str, Any]] = {"submit": "resource_manager"}
    extra: ClassVar[dict[str, str]] = {"flavour": "maui"}
    held: ClassVar[dict[str, Any]] = FakeSlurm.held
    everything: ClassVar[dict[str, Any]] = FakeSlurm.everything

    def unused_ids(self, count: int) -> list[JobId]:
        return FakeSite.unused_ids(self, count)


class MoabOverTorque(FakeMoab):
    """Moab that takes over Torque's numbers for its own ids."""

    below = FakeTorque
    commands = ("msub", "showq", "canceljob", "qstat", "qselect", "qdel")
    verbs: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "submit": ("msub",),
        "find": ("qstat", "showq"),
        "status": ("qstat", "showq"),
        "cancel": ("canceljob",),
    }
    refusal = ({"queue": "nosuch"}, "Unknown queue")
    caller: ClassVar[dict[str, str]] = FakeTorque.caller


class MoabOverTorqueWithItsOwnIds(MoabOverTorque):
    """Moab that gives jobs ids of its own."""

    extra: ClassVar[dict[str, str]] = {"ids": "own"}


class MauiOverTorque(MoabOverTorque):
    """Maui, which takes no jobs: Torque does."""

    commands = ("qsub", "checkjob", "qstat", "qselect", "qdel")
    verbs: ClassVar[Mapping[str, tuple[str, ...]]] = FakeTorque.verbs | {"status": ("qstat", "checkjob")}
    own: ClassVar[dict[str, Any]] = {"submit": "resource_manager"}
    extra: ClassVar[dict[str, str]] = {"flavour": "maui"}
    server = FakeTorque.server
    unused_ids = FakeTorque.unused_ids
