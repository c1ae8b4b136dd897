"""The settings of both adapters."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct


class EngineOptions(Struct, frozen=True):
    """``[clusters.NAME.options]``."""

    image: str = ""
    """What containers are made of, unless a profile's native words name another: ``--image=NAME``."""
    mounts: tuple[str, ...] = ()
    """What is mounted besides the home directory, in the engine's form: ``/data:/data:ro``."""
    fastx: str = "/usr/lib/fastx"
    """FastX's files on the host, mounted at the same path for reading, if they are there; empty: the image has its
    own."""
    network: str | None = None
    """The containers' network, for ``--network``; None: the engine's default."""
    hostname: str | None = None
    """The containers' host name; None: the engine's default, which is the container's short id."""
    pull: Literal["never", "missing", "always"] = "never"
    """Whether a submit may fetch an image, which takes longer than people wait."""
    limits: bool = True
    """Whether the engine may limit cores and memory. Rootless engines need cgroups v2 with delegation for it."""
    grace: Annotated[int, Meta(ge=0)] = 10
    """Seconds between TERM and KILL when a job is cancelled or its walltime is over. The job script takes up to 5."""
    commands: dict[str, str] = {}
    """The path of the engine's command, if it is not on PATH, as in ``podman = "/opt/bin/podman"``."""
    native: tuple[str, ...] = ()
    """Further options of every ``run``, before the profile's own."""
    deadline: float = 30.0
    """Seconds that a command may take; a stop may take the grace time more."""
    submit_deadline: float = 60.0
    """Seconds that ``run`` may take."""
