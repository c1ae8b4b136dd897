"""Puts a simulated cluster's commands into a directory."""

from __future__ import annotations

import json
import os
import sys
from importlib import import_module
from pathlib import Path

from .engine import Cluster
from .model import Node, Queue, Settings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .server import CommandServer

_WRAPPER = """\
#!{python} -SEXutf8
import sys
sys.path.append({source!r})
from fxsched_fakes.frame import main
main({scheduler!r}, {command!r}, {state!r})
"""


def install(
    directory: str | os.PathLike[str],
    scheduler: str = "slurm",
    state: str | os.PathLike[str] | None = None,
    *,
    server: CommandServer | None = None,
    **settings: object,
) -> Cluster:
    """Sets up a cluster and writes its commands into `directory`, which goes on PATH; returns the cluster.

    Its state lies in `state`, by default beside the directory, with `.state` appended. `settings` are those of
    `model.Settings`, with plain dictionaries for nodes and queues; `nodes` may be a number: so many like the default
    ones. A wrapper names the state directory and this Python itself and reads no environment variable.

    A scheduler that leaves running jobs to a resource manager names one in its `OVER`, or is told another by `over`.
    Its commands and the resource manager's then belong to one cluster, which is the resource manager's.

    With a `server`, the commands run in it, and cost a fifth: for tests that call them by the thousand.
    """
    directory = Path(os.path.realpath(directory))
    place = Path(os.path.realpath(state if state is not None else f"{directory}.state"))
    directory.mkdir(parents=True, exist_ok=True)
    place.mkdir(parents=True, exist_ok=True, mode=0o700)
    over = str(settings.pop("over", getattr(import_module(f"fxsched_fakes.{scheduler}"), "OVER", "")))
    chosen = default_settings(over or scheduler)
    nodes = settings.pop("nodes", None)
    if isinstance(nodes, int):
        chosen = default_settings(over or scheduler, nodes)
    elif nodes is not None:
        settings["nodes"] = nodes
    (place / "cluster.json").write_text(json.dumps(chosen.as_json() | settings, indent=1))
    Settings.from_json(json.loads((place / "cluster.json").read_text()))
    source = str(Path(__file__).resolve().parent.parent)
    for name in filter(None, (over, scheduler)):
        for command in import_module(f"fxsched_fakes.{name}").COMMANDS:
            wrapper = _WRAPPER.format(
                python=sys.executable, source=source, scheduler=name, command=command, state=str(place)
            )
            if server is None:
                _write_program(directory / command, wrapper)
            else:
                ordinary = place / "commands" / command
                _write_program(ordinary, wrapper)
                _write_program(directory / command, server.stub(name, command, str(place), str(ordinary)))
    return Cluster(place)


def _write_program(path: Path, text: str) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)


def default_settings(scheduler: str = "slurm", nodes: int = 4) -> Settings:
    """A queue `debug` on the first half of the nodes, for an hour at most, and a queue `gpu` on the others.

    A scheduler's package may offer `default_settings(nodes)` of its own, or only another `REQUEUE_DELAY`.
    """
    package = import_module(f"fxsched_fakes.{scheduler}")
    own = getattr(package, "default_settings", None)
    if own is not None:
        settings: Settings = own(nodes)
        return settings
    half = max(1, nodes // 2)
    names = [f"n{number}" for number in range(1, nodes + 1)]
    queues = [
        Queue(name="debug", nodes=names[:half], max_time=3600, default_time=600, max_nodes=half, default=True, up=True)
    ]
    if names[half:]:
        queues.append(Queue(name="gpu", nodes=names[half:], max_time=86400, default_time=1800))
    return Settings(
        scheduler=scheduler,
        requeue_delay=getattr(package, "REQUEUE_DELAY", Settings.requeue_delay),
        nodes=[Node(name=name, cores=16, memory=64000, gpus=0 if name in names[:half] else 2) for name in names],
        queues=queues,
    )
