"""sinfo: partitions and nodes."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ..engine import Cluster
from ..frame import Reply
from ..model import Node, Queue
from .clusters import check_cluster
from .options import Table
from .sbatch import VERSION
from .values import duration, expand_nodes, node_list

TABLE = Table(
    "sinfo",
    "all/a cluster= clusters=/M dead/d exact/e federation Format=/O format=/o help hide iterate=/i json list-reasons/R"
    " local long/l nodes=/n noconvert Node/N noheader/h partition=/p responding/r sort=/S states=/t summarize/s"
    " reservation/T usage verbose/v version/V yaml",
)
DEFAULT = "%9P %.5a %.10l %.6D %.6t %N"
BY_NODE = "%9N %.6D %.9P %6t"
_TITLES = {
    "P": "PARTITION", "R": "PARTITION", "a": "AVAIL", "l": "TIMELIMIT", "L": "DEFAULTTIME", "D": "NODES", "t": "STATE",
    "T": "STATE", "N": "NODELIST", "n": "HOSTNAMES", "c": "CPUS", "m": "MEMORY", "G": "GRES", "A": "NODES(A/I)",
    "F": "NODES(A/I/O/T)", "C": "CPUS(A/I/O/T)", "s": "JOB_SIZE",
}  # fmt: skip
_COMPACT = {"idle": "idle", "mixed": "mix", "allocated": "alloc", "drained": "drain", "draining": "drng"}


class Group:
    """Nodes of one partition that share a line, with the cores in use on each."""

    def __init__(self, queue: Queue, state: str, nodes: list[Node], used: dict[str, int]) -> None:
        self.queue, self.state, self.nodes, self.used = queue, state, nodes, used

    def show(self, letter: str) -> str:
        queue, nodes = self.queue, self.nodes
        busy = sum(1 for node in nodes if self.used[node.name])
        off = len(nodes) if self.state.startswith("drain") else 0
        cores, total = sum(self.used[node.name] for node in nodes), sum(node.cores for node in nodes)
        first = nodes[0] if nodes else Node()
        limit = queue.max_time if letter == "l" else queue.default_time
        values = {
            "P": queue.name + ("*" if queue.default else ""), "R": queue.name, "a": "up" if queue.up else "down",
            "l": "infinite" if limit is None else duration(limit), "L": "n/a" if limit is None else duration(limit),
            "D": str(len(nodes)), "t": _COMPACT.get(self.state, self.state), "T": self.state,
            "N": node_list([node.name for node in nodes]), "n": node_list([node.name for node in nodes]),
            "c": str(first.cores), "m": str(first.memory), "G": f"gpu:{first.gpus}" if first.gpus else "(null)",
            "A": f"{busy}/{len(nodes) - busy - off}", "F": f"{busy}/{len(nodes) - busy - off}/{off}/{len(nodes)}",
            "C": f"{cores}/{0 if off else total - cores}/{total - cores if off else 0}/{total}",
            "s": "1-infinite" if queue.max_nodes is None else f"1-{queue.max_nodes}",
        }  # fmt: skip
        return values.get(letter, "")


def run(cluster: Cluster, arguments: list[str], variables: Mapping[str, str]) -> Reply:
    given, _ = TABLE.parse(arguments)
    options = {name: value or "" for name, value in given}
    if "version" in options:
        return Reply(VERSION)
    pattern = options.get("format") or variables.get("SINFO_FORMAT") or (BY_NODE if "Node" in options else DEFAULT)
    with cluster:
        check_cluster(cluster.settings, "sinfo", options.get("clusters") or variables.get("SLURM_CLUSTERS"))
        groups = _groups(cluster, options, pattern)
    lines = [] if "noheader" in options else [_line(pattern, lambda letter: _TITLES.get(letter, ""))]
    lines += [_line(pattern, group.show) for group in groups]
    return Reply("".join(f"{line}\n" for line in lines))


def _groups(cluster: Cluster, options: dict[str, str], pattern: str) -> list[Group]:
    """One group per partition and, where the line shows the state, per state; with -N one per node."""
    used = {node.name: 0 for node in cluster.settings.nodes}
    for job in cluster.jobs.values():
        for name in job.on if job.live else ():
            used[name] = used.get(name, 0) + job.cores
    shows_state = any(part.lstrip(".0123456789")[:1] in ("t", "T") for part in pattern.split("%")[1:])
    queues = [*filter(None, options.get("partition", "").split(","))]
    wanted = expand_nodes(options.get("nodes", ""))
    groups: dict[tuple[str, str, str], Group] = {}
    for queue in cluster.settings.queues:
        for node in cluster.settings.nodes:
            if node.name not in queue.nodes or (queues and queue.name not in queues):
                continue
            if wanted and node.name not in wanted:
                continue
            state = _state(node, used[node.name], node.name in cluster.away)
            key = queue.name, state if shows_state else "", node.name if "Node" in options else ""
            groups.setdefault(key, Group(queue, state, [], used)).nodes.append(node)
    return list(groups.values())


def _state(node: Node, used: int, away: bool) -> str:
    if away:
        return "draining" if used else "drained"
    return "idle" if not used else "allocated" if used >= node.cores else "mixed"


def _line(pattern: str, show: Callable[[str], str]) -> str:
    text, *parts = pattern.split("%")
    for part in parts:
        right, part = part.startswith("."), part.removeprefix(".")
        digits = part[: len(part) - len(part.lstrip("0123456789"))]
        value = show(part[len(digits) : len(digits) + 1])
        if digits:
            value = value[: int(digits)]
            value = value.rjust(int(digits)) if right else value.ljust(int(digits))
        text += value + part[len(digits) + 1 :]
    return text
