"""sbatch: takes a script and hands it to the cluster."""

from __future__ import annotations

import grp
import os
import pwd
import time
from collections.abc import Mapping

from ..engine import Cluster
from ..frame import CommandError, Reply
from ..model import Cause, Job, State
from . import environment, script
from .clusters import check_cluster
from .request import TABLE, VARIABLES, Options, RefusalError, array_tasks, check_values, describe
from .values import moment, node_list

VERSION = "slurm-wlm 22.05.8\n"


def run(cluster: Cluster, arguments: list[str], variables: Mapping[str, str]) -> Reply:
    given, words = TABLE.parse(arguments, permute=False)
    own: Options = dict(given)
    if "version" in own:
        return Reply(VERSION)
    check_values(own)
    if "wrap" in own:
        if words:
            raise CommandError("sbatch: error: Script arguments not permitted with --wrap option\n")
        text, words = script.wrapped(own["wrap"] or ""), []
        name = "wrap"
    else:
        words = [script.found(word, variables.get("PATH", "")) for word in words[:1]] + words[1:]
        text = script.read(words[0] if words else None)
        name = os.path.basename(words[0]) if words else "sbatch"
    inside, _ = TABLE.parse(script.options(text))
    options: Options = {option: variables[key] for key, option in VARIABLES.items() if key in variables}
    options |= dict(inside) | own
    options.setdefault("job-name", name)
    options["chdir"] = os.path.join(os.getcwd(), options.get("chdir") or "").rstrip("/") or "/"
    if "uid" in options and os.getuid() != 0:
        raise CommandError("sbatch: error: --uid only permitted by root user\n", 255)
    exported, complaint = environment.exported(options.get("export"), variables)
    if options.get("export-file"):
        try:
            exported = environment.from_file(options["export-file"] or "")
        except OSError:
            message = f"sbatch: error: Could not open user environment file {options['export-file']}\n"
            raise CommandError(message) from None

    with cluster:
        check_cluster(cluster.settings, "sbatch", options.get("clusters"))
        if len([job for job in cluster.jobs.values() if job.state != State.ENDED]) >= cluster.settings.max_jobs:
            # The real one retries for 120 s before it says so.
            message = "Slurm temporarily unable to accept job, sleeping and retrying\nsbatch: error: "
            message += "Batch job submission failed: Resource temporarily unavailable\n"
            return Reply(err=f"sbatch: error: {message}", rc=1)
        try:
            job = describe(options, cluster.settings, cluster.now())
        except RefusalError as refusal:
            _remember_refused(cluster, refusal)
            raise
        _complete(job, options, words)
        if "test-only" in options:
            return Reply(err=_prospect(cluster, job))
        cluster.submit(job, text, exported)
        _become_array(cluster, job, array_tasks(options), text, exported)
        where = cluster.settings.name if options.get("clusters") else ""
    answer = _answer(job, where, parsable="parsable" in options)
    if "wait" not in options:
        return Reply(answer, complaint)
    ended = _wait(cluster, job.id)
    return Reply(answer, complaint, ended.exit_code if ended and not ended.signal else 1)


def _become_array(cluster: Cluster, first: Job, tasks: list[int], text: bytes, exported: dict[str, str]) -> None:
    """One job for each task; the first one's id is the array's, whose tasks squeue calls `7_0`, `7_1`."""
    jobs = [first] + [Job.from_json(first.as_json() | {"extra": dict(first.extra)}) for _ in tasks[1:]]
    for job, task in zip(jobs, tasks, strict=False):
        job.extra |= {"array": str(first.id), "task": str(task)}
        if job is not first:
            cluster.submit(job, text, exported)


def _complete(job: Job, options: Options, words: list[str]) -> None:
    """What does not depend on the cluster: who submits, from where, and the file names."""
    job.uid = os.getuid()
    job.user = _user_name(job.uid)
    job.requeueable = "no-requeue" not in options
    job.arguments = words[1:]
    umask = os.umask(0)
    os.umask(umask)
    job.extra |= {
        "gid": str(os.getgid()),
        "group": _group_name(os.getgid()),
        "umask": f"{umask:o}",
        "submit_dir": os.getcwd(),
        "submit_host": os.uname().nodename,
        "command": os.path.join(os.getcwd(), words[0]) if words else "",
        "stdin": options.get("input") or "",
        "stdout": options.get("output") or "",
        "stderr": options.get("error") or "",
    }


def _remember_refused(cluster: Cluster, refusal: RefusalError) -> None:
    if refusal.burns_id:
        identifier = cluster.take_id()
        if refusal.job is not None:
            job = refusal.job
            _complete(job, {}, [])
            job.id, job.state, job.cause, job.nodes = identifier, State.ENDED, Cause.IMPOSSIBLE, 1
            job.submitted = job.started = job.ended = cluster.now()
            cluster.jobs[identifier] = job


def _answer(job: Job, where: str, *, parsable: bool) -> str:
    if parsable:
        return f"{job.id};{where}\n" if where else f"{job.id}\n"
    return f"Submitted batch job {job.id}" + (f" on cluster {where}\n" if where else "\n")


def _prospect(cluster: Cluster, job: Job) -> str:
    queue = cluster.settings.queue(job.queue)
    nodes = node_list(queue.nodes[: job.nodes] if queue else [])
    at = moment(cluster.now(), {})
    return (
        f"sbatch: Job {cluster.take_id()} to start at {at} using {job.extra['cpus']} processors on nodes {nodes}"
        f" in partition {job.queue}\n"
    )


def _wait(cluster: Cluster, identifier: int) -> Job | None:
    while True:
        with cluster:
            job = cluster.jobs.get(identifier)
        if job is None or job.state == State.ENDED:
            return job
        time.sleep(0.02)


def _group_name(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)


def _user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
