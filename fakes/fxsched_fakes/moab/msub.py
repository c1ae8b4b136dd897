"""msub: takes a script, and hands it down to the resource manager at once."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module

from ..engine import Cluster
from ..frame import CommandError, Reply
from .request import Request
from .values import document, element, moab_id


def run(cluster: Cluster, arguments: list[str], variables: Mapping[str, str]) -> Reply:
    request = Request(arguments)
    with cluster:
        settings = cluster.settings
    below = import_module(f"fxsched_fakes.moab.over_{settings.scheduler}")
    try:
        reply: Reply = below.submit(cluster, request, variables)
    except CommandError as error:
        reply = error.reply
    if reply.rc:
        # Not recorded: that Moab quotes the resource manager is what its users report.
        words = " ".join(reply.err.decode(errors="surrogateescape").split())
        return Reply(err=f"ERROR:    cannot submit job, msg: '{words}'\n", rc=1)
    number = int(reply.out.split(b"\n")[0].split(b";")[0].split(b".")[0])
    with cluster:
        job = cluster.jobs.get(number)
    id = moab_id(job, settings) if job else str(number)
    return Reply(document([element("job", {"JobID": id})]) if "--xml" in request.flags else f"\n{id}\n")
