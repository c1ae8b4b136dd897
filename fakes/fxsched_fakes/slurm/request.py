"""sbatch's options: the table, their values, and the job that they describe.

`describe` is pure but for the clock: option values in, a `Job` for the engine out, or the refusal that sbatch prints.
"""

from __future__ import annotations

import math
import time

from ..frame import CommandError
from ..model import Job, Node, Settings, Wait
from ..placement import limit_broken, possible
from .options import Table
from .values import INVALID_TIME, MINUTE, expand_nodes, read_memory, read_time_limit

TABLE = Table(
    "sbatch",
    "account=/A acctg-freq= array=/a batch= bb= bbf= begin=/b chdir=/D cluster= cluster-constraint= clusters=/M"
    " comment= constraint=/C container= contiguous core-spec=/S cores-per-socket= cpu-freq= cpus-per-gpu="
    " cpus-per-task=/c deadline= delay-boot= dependency=/d distribution=/m error=/e exclude=/x exclusive? export="
    " export-file= extra-node-info=/B get-user-env? gid= gpu-bind= gpu-freq= gpus=/G gpus-per-node= gpus-per-socket="
    " gpus-per-task= gres= gres-flags= help/h hint= hold/H ignore-pbs input=/i job-name=/J kill-on-invalid-dep="
    " licenses=/L mail-type= mail-user= mcs-label= mem= mem-bind= mem-per-cpu= mem-per-gpu= mincpus= network= nice?"
    " no-kill?/k no-requeue nodefile=/F nodelist=/w nodes=/N ntasks=/n ntasks-per-core= ntasks-per-gpu="
    " ntasks-per-node= ntasks-per-socket= open-mode= output=/o overcommit/O oversubscribe/s parsable partition=/p"
    " power= prefer= priority= profile= propagate? qos=/q quiet/Q reboot requeue reservation= signal="
    " sockets-per-node= spread-job switches= test-only thread-spec= threads-per-core= time=/t time-min= tmp= uid="
    " usage use-min-nodes verbose/v version/V wait/W wait-all-nodes= wckey= wrap=",
    rc=255,
)

# From the man page of sbatch 22.05, "INPUT ENVIRONMENT VARIABLES".
VARIABLES = {
    "SBATCH_ACCOUNT": "account", "SBATCH_CLUSTERS": "clusters", "SLURM_CLUSTERS": "clusters",
    "SBATCH_CONSTRAINT": "constraint", "SBATCH_ERROR": "error", "SBATCH_EXCLUSIVE": "exclusive",
    "SBATCH_EXPORT": "export", "SBATCH_GPUS": "gpus", "SBATCH_GPUS_PER_NODE": "gpus-per-node", "SBATCH_GRES": "gres",
    "SBATCH_INPUT": "input", "SBATCH_JOB_NAME": "job-name", "SBATCH_MEM_PER_CPU": "mem-per-cpu",
    "SBATCH_MEM_PER_NODE": "mem", "SBATCH_NO_REQUEUE": "no-requeue", "SBATCH_OUTPUT": "output",
    "SBATCH_PARTITION": "partition", "SBATCH_QOS": "qos", "SBATCH_REQUEUE": "requeue",
    "SBATCH_RESERVATION": "reservation", "SBATCH_TIMELIMIT": "time", "SBATCH_WAIT": "wait", "SBATCH_WCKEY": "wckey",
}  # fmt: skip

Options = dict[str, str | None]
_LENGTHS = {"job-name": 1024, "comment": 1024, "wckey": 1024, "account": 1024, "output": 4084, "chdir": 4095}
_COUNTS = ("ntasks", "cpus-per-task", "ntasks-per-node")
_SIZES = ("mem", "mem-per-cpu")
_UNITS = {"second": 1, "minute": 60, "hour": 3600, "day": 86400, "week": 604800}
TOO_LONG = "Pathname of a file, directory or other parameter too long"
NOT_AVAILABLE = "Requested node configuration is not available"


class RefusalError(CommandError):
    """The controller says no. With a job, it keeps that as FAILED; `burns_id` says whether it took an id for it."""

    def __init__(self, message: str, *, burns_id: bool, job: Job | None) -> None:
        super().__init__(message)
        self.burns_id, self.job = burns_id, job


def refused(reason: str, *, burns_id: bool = True, job: Job | None = None, before: str = "") -> RefusalError:
    lines = [*filter(None, [before]), f"Batch job submission failed: {reason}"]
    return RefusalError("".join(f"sbatch: error: {line}\n" for line in lines), burns_id=burns_id, job=job)


def array_tasks(options: Options) -> list[int]:
    """The tasks of --array, as in `0-3,5%2`; none for a job that is no array. The limit after % is not simulated."""
    text = options.get("array")
    if text is None:
        return []
    try:
        spans = [tuple(map(int, span.split("-"))) for span in text.partition("%")[0].split(",")]
    except ValueError:
        raise refused("Invalid job array specification", burns_id=False) from None
    return sorted({task for first, *last in spans for task in range(first, (last or [first])[0] + 1)})


def check_values(options: Options) -> None:
    """Refuses malformed values of the command line; sbatch does so before it reads the script."""
    _read_times(Job(extra={}), options, 0)
    for name in _COUNTS:
        _number(options, name)
    for name in _SIZES:
        _memory(options, name)
    if "nodes" in options:
        _node_count(options)


def describe(options: Options, settings: Settings, now: float) -> Job:
    """The job that these options ask for; raises `CommandError`."""
    job = Job(name=options.get("job-name") or "", workdir=options.get("chdir") or "/", extra={})
    _read_times(job, options, now)
    tasks, cpus, per_node = (_number(options, name) for name in _COUNTS)
    memory, memory_per_cpu = (_memory(options, name) for name in _SIZES)
    cpus = cpus or 1
    nodes = _node_count(options)
    if nodes == 0:
        raise refused("Node count specification invalid")
    for name, limit in _LENGTHS.items():
        if len((options.get(name) or "").encode(errors="surrogateescape")) > limit:
            raise refused(TOO_LONG, burns_id=False)
    _read_queues(job, options, settings)
    if options.get("reservation"):
        raise refused("Requested reservation is invalid")
    if options.get("licenses"):
        raise refused("Invalid license specification", burns_id=False)
    if options.get("constraint"):
        raise refused("Invalid feature specification")
    if "nice" in options and (options["nice"] or "100").startswith("-"):
        raise refused("Invalid --nice value")
    _read_dependencies(job, options)
    for option, target in (("nodelist", "wanted"), ("exclude", "excluded")):
        names = expand_nodes(options.get(option) or "")
        if not all(map(settings.node, names)):
            raise refused("Invalid node name specified", burns_id=False)
        setattr(job, target, names)

    biggest = max(_nodes_of(job, settings), key=lambda node: node.cores)
    if tasks is None:
        tasks = (nodes or 1) * (per_node or 1)
    needed = -(-tasks // per_node) if per_node else -(-tasks * cpus // biggest.cores) if cpus <= biggest.cores else 1
    job.nodes = max(nodes or needed, len(job.wanted), 1)
    job.cores = -(-tasks // job.nodes) * cpus
    job.exclusive = "exclusive" in options and options["exclusive"] != "user"
    if job.exclusive:
        job.cores = max(job.cores, biggest.cores)
    if memory is not None:
        job.memory = memory or biggest.memory
        job.extra["memory_per_node"] = str(memory)
    else:
        per_cpu = settings.memory_per_core if memory_per_cpu is None else memory_per_cpu
        job.memory = per_cpu * job.cores
        job.extra["memory_per_cpu"] = str(per_cpu)
    _read_gpus(job, options)
    job.extra["cpus"] = str(tasks * cpus)
    job.extra["tasks"] = str(tasks)
    each = -(-tasks // job.nodes)
    job.extra["tasks_per_node"] = f"{each}(x{job.nodes})" if job.nodes > 1 else str(each)
    if options.get("ntasks") or options.get("ntasks-per-node"):
        job.extra["ntasks"] = str(tasks)
    if options.get("cpus-per-task"):
        job.extra["cpus_per_task"] = str(cpus)
    if per_node:
        job.extra["ntasks_per_node"] = str(per_node)
    if options.get("open-mode"):
        job.extra["open_mode"] = (options["open-mode"] or "")[0]
    for name in ("account", "qos", "comment", "wckey"):
        if name in options and (name != "qos" or settings.accounting):  # without slurmdbd there is no QOS
            job.extra[name] = options[name] or ""
    job.held = Wait.HELD_BY_USER if "hold" in options else ""
    _check_limits(job, settings)
    return job


def _check_limits(job: Job, settings: Settings) -> None:
    """Over a partition's limits a job waits for ever, unless EnforcePartLimits; what no node has is refused."""
    queues = [queue for queue in map(settings.queue, job.queues) if queue is not None]
    broken = [limit_broken(settings, queue, job) for queue in queues]
    if settings.enforce_limits:
        for limit in broken:
            if limit in (Wait.QUEUE_NODES, Wait.QUEUE_SIZE):
                raise refused("Node count specification invalid")
            if limit == Wait.QUEUE_TIME:
                raise refused("Requested time limit is invalid (missing or exceeds some limit)")
    if any(limit in (Wait.QUEUE_NODES, Wait.QUEUE_TIME, Wait.QUEUE_SIZE) for limit in broken):
        return
    if not any(possible(settings, queue, job) for queue in queues):
        nodes = _nodes_of(job, settings)
        before = ""
        if all(job.memory > node.memory for node in nodes):
            before = "Memory specification can not be satisfied"
        elif all(job.cores > node.cores for node in nodes):
            before = "CPU count per node can not be satisfied"
        raise refused(NOT_AVAILABLE, job=job, before=before)


def _nodes_of(job: Job, settings: Settings) -> list[Node]:
    names = {name for queue in map(settings.queue, job.queues) if queue for name in queue.nodes}
    return [node for node in settings.nodes if node.name in names]


def _read_queues(job: Job, options: Options, settings: Settings) -> None:
    default = settings.default_queue()
    asked = options.get("partition")
    if asked is None and default is not None:
        asked = default.name
    job.queues = (asked or "").split(",")
    for name in job.queues:
        if settings.queue(name) is None:
            raise refused(
                "Invalid partition name specified",
                burns_id=False,
                before=f"invalid partition specified: {name or '(null)'}",
            )
    job.queue = job.queues[0]
    queue = settings.queue(job.queue)
    if queue is not None and "time" not in options:
        job.walltime = queue.default_time if queue.default_time is not None else queue.max_time


def _read_times(job: Job, options: Options, now: float) -> None:
    if "time" in options:
        try:
            minutes = read_time_limit(options["time"] or "")
        except ValueError:
            raise CommandError("sbatch: error: Invalid --time specification\n", 255) from None
        if minutes == INVALID_TIME:
            job.extra["invalid_time"] = "yes"
            minutes = None
        job.walltime = None if minutes is None else minutes * MINUTE
    if options.get("begin"):
        text = options["begin"] or ""
        try:
            job.begin = _read_moment(text, now)
        except ValueError:
            position = 4 if text.startswith("now+") else 0
            raise CommandError(
                f"Invalid time specification (pos={position}): {text}\nsbatch: error: Invalid --begin specification\n",
                255,
            ) from None


def _read_moment(text: str, now: float) -> float:
    if text.startswith("now"):
        if text == "now":
            return now
        number = text.removeprefix("now+").rstrip("abcdefghijklmnopqrstuvwxyz")
        unit = text.removeprefix(f"now+{number}").removesuffix("s") or "second"
        if unit not in _UNITS:
            raise ValueError(text)
        return now + int(number) * _UNITS[unit]
    for pattern in ("%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M", "%Y-%m-%d"):
        try:
            return time.mktime(time.strptime(text, pattern))
        except ValueError:
            continue
    hours, minutes, *seconds = map(int, text.split(":"))
    if not (0 <= hours < 24 and 0 <= minutes < 60):
        raise ValueError(text)
    today = time.localtime(now)
    at = time.mktime((*today[:3], hours, minutes, sum(seconds), 0, 0, -1))
    return at if at > now else at + 86400


def _read_dependencies(job: Job, options: Options) -> None:
    kinds = {"after": "start", "afterok": "ok", "afternotok": "notok", "afterany": "any"}
    job.after = []
    for part in filter(None, (options.get("dependency") or "").split(",")):
        kind, *ids = part.split(":")
        if kind == "singleton" and not ids:
            continue
        if kind not in kinds or not ids or not all(identifier.isdigit() for identifier in ids):
            raise refused("Job dependency problem")
        job.after += [(kinds[kind], int(identifier)) for identifier in ids]
    job.end_if_never = options.get("kill-on-invalid-dep") == "yes"
    if job.after:
        job.extra["dependency"] = options["dependency"] or ""


def _read_gpus(job: Job, options: Options) -> None:
    for name in ("gres", "gpus-per-node", "gpus"):
        text = options.get(name)
        if not text:
            continue
        kind, _, count = text.rpartition(":") if name == "gres" else ("gpu", "", text.rpartition(":")[2])
        if name == "gres" and not kind:
            kind, count = count, "1"
        if kind.partition(":")[0] != "gpu":
            raise CommandError("sbatch: error: Invalid generic resource (gres) specification\n")
        if not count.isdigit():
            raise refused(NOT_AVAILABLE, job=job)
        job.gpus = int(count) if name != "gpus" else math.ceil(int(count) / job.nodes)
        job.extra["gres"] = f"gres:gpu:{count}"


def _number(options: Options, name: str) -> int | None:
    text = options.get(name)
    if text is None:
        return None
    if not (text.isascii() and text.isdigit()) or int(text) == 0:
        raise CommandError(f'sbatch: error: Invalid numeric value "{text}" for --{name}.\n')
    return int(text)


def _node_count(options: Options) -> int | None:
    text = options.get("nodes")
    if text is None:
        return None
    least = text.partition("-")[0]
    if not (least.isascii() and least.isdigit()):
        raise CommandError(f'sbatch: error: "{text}" is not a valid node count\n', 255)
    return int(least)


def _memory(options: Options, name: str) -> int | None:
    text = options.get(name)
    if text is None:
        return None
    try:
        return read_memory(text)
    except ValueError:
        raise CommandError(f"sbatch: error: Invalid --{name} specification\n", 255) from None
