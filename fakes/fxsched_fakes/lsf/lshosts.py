"""lshosts: what each host is, busy or not."""

from __future__ import annotations

from collections.abc import Mapping

from ..engine import Cluster
from ..frame import Reply
from .options import parse


def run(cluster: Cluster, arguments: list[str], _: Mapping[str, str]) -> Reply:
    parse("lshosts", "w l R= h V", arguments, permute=True)
    with cluster:
        nodes = cluster.settings.nodes
    head = f"{'HOST_NAME':25s} {'type':>10s} {'model':>11s} {'cpuf':>5s} {'ncpus':>5s} {'maxmem':>6s} {'maxswp':>6s}"
    rows = [f"{head} {'server':>6s} {'RESOURCES':>9s}"]
    for node in nodes:
        start = f"{node.name:25s} {'LINUX':>10s} {'PC6000':>11s} {116.1:5.1f} {node.cores:5d} {f'{node.memory}M':>6s}"
        rows.append(f"{start} {'0M':>6s} {'Yes':>6s} ()")
    return Reply("".join(f"{row}\n" for row in rows))
