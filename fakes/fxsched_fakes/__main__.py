"""`python -m fxsched_fakes install DIR` sets a cluster up; `… control STATE VERB` does what no user can do to it."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from .engine import Cluster
from .installation import install
from .model import Cause

_ENDS = {"node-fail": Cause.NODE_FAILURE, "oom": Cause.MEMORY, "preempt": Cause.PREEMPTED}

SCHEDULERS = ("docker", "lsf", "moab", "pbs", "sge", "slurm", "torque")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m fxsched_fakes", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)

    setup = commands.add_parser("install", help="write the commands of a simulated cluster into DIR")
    setup.add_argument("directory", metavar="DIR")
    setup.add_argument("--scheduler", default="slurm", choices=SCHEDULERS)
    setup.add_argument("--state", help="where the cluster's state lies (default: DIR.state)")
    setup.add_argument("--config", help="JSON file with settings, as in cluster.json of a state directory")
    setup.add_argument("--nodes", type=int, help="how many nodes (default: 4)")
    setup.add_argument("--set", action="append", default=[], metavar="NAME=JSON", help="one setting, repeatable")

    control = commands.add_parser("control", help="make something happen in the cluster of a state directory")
    control.add_argument("state", metavar="STATE")
    verbs = control.add_subparsers(dest="verb", required=True)
    for verb in (*_ENDS, "hold-admin"):
        verbs.add_parser(verb).add_argument("job", type=int)
    for verb in ("drain", "resume"):
        verbs.add_parser(verb).add_argument("node")
    for verb in ("queue-down", "queue-up"):
        verbs.add_parser(verb).add_argument("queue")
    clock = verbs.add_parser("set-clock", help="set the cluster's clock SECONDS before the machine's")
    clock.add_argument("seconds", type=float)
    owner = verbs.add_parser("chown", help="make the job another user's")
    owner.add_argument("job", type=int)
    owner.add_argument("user")
    owner.add_argument("uid", type=int)

    options = parser.parse_args(arguments)
    if options.command == "install":
        return _install(options)
    with Cluster(options.state) as cluster:
        return _control(cluster, options)


def _install(options: argparse.Namespace) -> int:
    settings: dict[str, Any] = {}
    if options.config:
        with open(options.config) as file:
            settings |= json.load(file)
    if options.nodes:
        settings["nodes"] = options.nodes
    for pair in options.set:
        name, _, value = pair.partition("=")
        settings[name] = json.loads(value)
    settings.pop("scheduler", None)
    print(install(options.directory, options.scheduler, options.state, **settings).directory)
    return 0


def _control(cluster: Cluster, options: argparse.Namespace) -> int:
    if hasattr(options, "job") and options.job not in cluster.jobs:
        print(f"no job {options.job}", file=sys.stderr)
        return 1
    match options.verb:
        case "drain":
            cluster.drain(options.node)
        case "resume":
            cluster.undrain(options.node)
        case "queue-down" | "queue-up":
            cluster.set_queue(options.queue, up=options.verb == "queue-up")
        case "set-clock":
            cluster.set_clock(options.seconds)
        case "hold-admin":
            cluster.hold(cluster.jobs[options.job], by_admin=True)
        case "chown":
            job = cluster.jobs[options.job]
            job.user, job.uid = options.user, options.uid
        case verb:
            cluster.end(cluster.jobs[options.job], _ENDS[verb])
    return 0


if __name__ == "__main__":
    sys.exit(main())
