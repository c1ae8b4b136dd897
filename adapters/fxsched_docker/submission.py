"""``JobSpec`` → the words of ``docker run`` and ``podman run``. Pure.

Sources: docker-run(1) of Docker 20.10 and 28, podman-run(1) of Podman 4.3, and what they were seen to do.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

from fxsched.errors import SubmitRejected
from fxsched.kit import refuse

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fxsched.jobs import JobSpec
    from fxsched_docker.options import EngineOptions

_NOT_GRANTED: Final = ("queue", "account", "qos", "reservation", "constraint", "exclusive", "nodes")

IMAGE_WORD: Final = "--image="
"""Among the native words: the profile's image. No engine has such an option."""

# These would break what this adapter promises: one container for one token, which is found after its end.
_OWN: Final = frozenset(
    {"--attach", "--cidfile", "--detach", "--entrypoint", "--interactive", "--name", "--replace", "--restart", "--rm"}
    | {"--rmi", "--tty"}
)
# Short options join: -dit, -Pd, -a stdin. Those before it take no value.
_OWN_SHORT: Final = re.compile(r"-[Pq]*[adit]")
_OWN_LABEL: Final = re.compile(r"(?:--label[= ]|-l=?)fxsched\.")


def container_name(spec: JobSpec) -> str:
    """Return the job's name as an engine takes it: it has no "+". The token keeps it unique, so a twin is refused."""
    return spec.job_name.replace("+", "_")


def script_path(spec: JobSpec) -> str:
    """Return where the job script lies: in the job's directory, which is in the user's home, on both sides."""
    return f"{(spec.working_directory or '/tmp').rstrip('/')}/{spec.token}.sh"  # noqa: S108 - the job has none of its own


def run_words(spec: JobSpec, engine: str, options: EngineOptions) -> list[str]:
    """Return what follows ``run``, but for what only the host knows (``submit.sh``).

    Every value is joined to its option by "=", so that none can be taken for another option. The profile's native words
    come last, where they win. What the container runs is ``job.sh``, with the job script as a file: it may be of any
    size and hold any byte.

    Raises:
        SubmitRejected: the spec asks for what a container engine cannot grant, or names no image.
    """
    refuse(spec, *_NOT_GRANTED, whose="a container engine")
    if not options.limits:
        refuse(spec, "cores", "memory", whose="a container engine without limits")
    native, image = _native(spec.native, options.image)
    needs = spec.resources
    words = [
        "--detach",
        "--init",
        "--restart=no",
        f"--pull={options.pull}",
        f"--stop-timeout={options.grace}",
        f"--name={container_name(spec)}",
        f"--label=fxsched.token={spec.token}",
        f"--label=fxsched.job={spec.job_name}",
        f"--label=fxsched.walltime={needs.walltime or 0}",
        "--entrypoint=/bin/sh",
    ]
    if spec.working_directory:
        words.append(f"--workdir={spec.working_directory}")
    if options.network:
        words.append(f"--network={options.network}")
    if options.hostname:
        words.append(f"--hostname={options.hostname}")
    if options.limits:
        words.append(f"--cpus={needs.cores}")
    if needs.memory:
        words.append(f"--memory={needs.memory}b")
    if needs.gpus:
        words += _gpus(engine, needs.gpus)
    words += [f"--volume={mount}" for mount in options.mounts]
    job = ["-c", job_program(), "fxsched", script_path(spec), spec.output or "/dev/null"]
    return [*words, *native, image, *job, str(needs.walltime or 0), str(options.grace)]


def _native(words: Sequence[str], image: str) -> tuple[list[str], str]:
    """Return the native words and the image, which one of them may name."""
    options = []
    for word in words:
        if word.startswith(IMAGE_WORD):
            image = word.removeprefix(IMAGE_WORD)
        elif not re.match(r"-[^\W\d_]|--[^\W_]", word):
            raise SubmitRejected(
                f"native has {word!r}, which would be taken for the image: begin each word with an option, and join "
                'its value by "=", as in "--volume=/data:/data:ro"'
            )
        elif word.partition("=")[0] in _OWN or _OWN_SHORT.match(word) or _OWN_LABEL.match(word):
            raise SubmitRejected(f"native has {word!r}, but that is for fxsched to say: remove it")
        else:
            options.append(word)
    if not image or image.startswith("-"):
        raise SubmitRejected(
            f"{f'{image!r} is no image' if image else 'no image is named'}: set options.image of the cluster, or "
            'native = ["--image=NAME"] of the profile'
        )
    return options, image


def _gpus(engine: str, count: int) -> list[str]:
    """Docker counts GPUs, Podman has each by its name in the container device interface (CDI)."""
    if engine == "docker":
        return [f"--gpus={count}"]
    return [f"--device=nvidia.com/gpu={number}" for number in range(count)]


@cache
def submit_program() -> str:
    """Return what runs on the host to submit a job."""
    return Path(__file__).with_name("submit.sh").read_text()


@cache
def job_program() -> str:
    """Return what runs in the container."""
    return Path(__file__).with_name("job.sh").read_text()
