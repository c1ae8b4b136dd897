"""scontrol: one job in full, and what may be done to it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Container, Mapping

from ..engine import Cluster
from ..frame import Reply
from ..model import Job, State
from .clusters import check_cluster
from .columns import View, cpus, dependencies, end, min_memory, nodes, priority, start
from .launch import file_paths
from .options import Table
from .sbatch import VERSION
from .values import duration, exit_status, expand_nodes, limit, node_list, reason, size, state_word

TABLE = Table(
    "scontrol",
    "all/a cluster= clusters=/M details/d federation/F future/f help/h hide local oneliner/o quiet/Q sibling uid=/u"
    " usage verbose/v version/V",
)
_UNKNOWN, _FINISHED = "Invalid job id specified", "Job has already finished"


class DeniedError(Exception):
    """A verb that does not apply to the job."""


def run(cluster: Cluster, arguments: list[str], variables: Mapping[str, str]) -> Reply:
    given, words = TABLE.parse(arguments)
    options = {name: value or "" for name, value in given}
    if "version" in options:
        return Reply(VERSION)
    if not words:
        return Reply("scontrol: \n")
    with cluster:
        check_cluster(cluster.settings, "scontrol", options.get("clusters") or variables.get("SLURM_CLUSTERS"))
    keyword, *rest = words
    if keyword == "ping":
        return Reply(f"Slurmctld(primary) at {os.uname().nodename} is UP\n")
    if keyword == "show":
        return _show(cluster, rest, options, variables)
    if keyword in _VERBS:
        if not rest:
            return Reply(err=f"too few arguments for keyword:{keyword}\n", rc=1)
        return _each(cluster, keyword, rest)
    if keyword == "update":
        return _update(cluster, rest)
    return Reply(err=f"invalid keyword: {keyword}\n", rc=1)


def _show(cluster: Cluster, words: list[str], options: Container[str], variables: Mapping[str, str]) -> Reply:
    entity, *names = words or [""]
    if entity in ("hostnames", "hostname"):
        return Reply("".join(f"{name}\n" for name in expand_nodes(",".join(names))))
    if entity in ("job", "jobs"):
        return _show_jobs(cluster, names, "oneliner" in options, View(0, variables))
    with cluster:
        settings, now = cluster.settings, cluster.now()
    if entity == "config":
        at = time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(now))
        values = {
            "AccountingStorageType": "accounting_storage/" + ("slurmdbd" if settings.accounting else "none"),
            "ClusterName": settings.name,
            "EnforcePartLimits": "ALL" if settings.enforce_limits else "NO",
            "KillWait": f"{settings.kill_wait:g} sec",
            "MaxJobCount": str(settings.max_jobs),
            "MinJobAge": f"{settings.forget_after:g} sec",
            "SLURM_VERSION": "22.05.8",
        }
        return Reply(f"Configuration data as of {at}\n" + "".join(f"{k:<24}= {v}\n" for k, v in values.items()))
    return Reply(err=f"invalid entity:{entity} for keyword:show \n", rc=1)


def _show_jobs(cluster: Cluster, names: list[str], one_line: bool, view: View) -> Reply:
    with cluster:
        jobs, view.now = list(cluster.jobs.values()), cluster.now()
    if names:
        if not names[0].isdigit():
            return Reply(err=f"scontrol_print_job error: {_UNKNOWN}\n", rc=1)
        jobs = [job for job in jobs if job.id == int(names[0])]
        if not jobs:
            return Reply(err=f"slurm_load_jobs error: {_UNKNOWN}\n", rc=1)
    elif not jobs:
        return Reply("No jobs in the system\n")
    lines = [_lines(job, view) for job in jobs]
    if one_line:
        return Reply("".join(" ".join(each) + " \n" for each in lines))
    return Reply("".join("\n   ".join(each) + "\n   \n\n" for each in lines))


def _lines(job: Job, view: View) -> list[str]:
    """The lines of `show job`, in the order of 22.05.8."""
    extra = job.extra
    count, cores = nodes(job), cpus(job)
    stdin, stdout, stderr = file_paths(job)
    waits = job.held or (job.state == State.QUEUED and job.after)
    eligible = None if waits and job.begin <= job.submitted else job.begin
    now = view.moment(job.submitted)
    per_node = "memory_per_node" in extra
    return [
        f"JobId={job.id} JobName={job.name}",
        f"UserId={job.user}({job.uid}) GroupId={extra.get('group')}({extra.get('gid')}) MCS_label=N/A",
        f"Priority={priority(job)} Nice=0 Account={extra.get('account', '(null)')} QOS={extra.get('qos', '(null)')}",
        f"JobState={state_word(job)} Reason={reason(job).replace(' ', '_')} Dependency={dependencies(job)}",
        f"Requeue={int(job.requeueable)} Restarts={job.attempt} BatchFlag=1 Reboot=0 ExitCode={exit_status(job)}",
        f"RunTime={duration(job.ran_for(view.now), padded=True)} TimeLimit={limit(job, padded=True)} TimeMin=N/A",
        f"SubmitTime={now} EligibleTime={view.moment(eligible, 'Unknown')}",
        f"AccrueTime={view.moment(eligible, 'Unknown')}",
        f"StartTime={view.moment(start(job), 'Unknown')} EndTime={view.moment(end(job), 'Unknown')} Deadline=N/A",
        f"SuspendTime={view.moment(job.suspended, 'None')} SecsPreSuspend=0 LastSchedEval={now} Scheduler=Main",
        f"Partition={job.queue if job.on else ','.join(job.queues)}"
        f" AllocNode:Sid={extra.get('submit_host', 'localhost')}:{os.getsid(0)}",
        f"ReqNodeList={node_list(job.wanted) or '(null)'} ExcNodeList={node_list(job.excluded) or '(null)'}",
        f"NodeList={node_list(job.on)}",
        *([f"BatchHost={job.on[0]}"] if job.on else []),
        f"NumNodes={count} NumCPUs={cores} NumTasks={extra.get('tasks', 'N/A')}"
        f" CPUs/Task={extra.get('cpus_per_task', '1')} ReqB:S:C:T=0:0:*:*",
        f"TRES=cpu={cores},mem={size(job.memory * count)},node={count},billing={cores}",
        "Socks/Node=* NtasksPerN:B:S:C=0:0:*:* CoreSpec=*",
        f"MinCPUsNode={extra.get('cpus_per_task', '1')} MinMemory{'Node' if per_node else 'CPU'}={min_memory(job)}"
        " MinTmpDiskNode=0",
        "Features=(null) DelayBoot=00:00:00",
        f"OverSubscribe={'NO' if job.exclusive else 'OK'} Contiguous=0 Licenses=(null) Network=(null)",
        f"Command={extra.get('command') or '(null)'}",
        f"WorkDir={job.workdir}",
        *([f"Comment={extra['comment']} "] if "comment" in extra else []),
        f"StdErr={stderr}",
        f"StdIn={stdin}",
        f"StdOut={stdout}",
        "Power=",
        *([f"TresPerNode={extra['gres']}"] if "gres" in extra else []),
    ]


# --- verbs


def _hold(cluster: Cluster, job: Job) -> None:
    if job.state == State.ENDED:
        raise DeniedError(_FINISHED)
    cluster.hold(job)


def _release(cluster: Cluster, job: Job) -> None:
    if job.state == State.ENDED:
        raise DeniedError(_FINISHED)
    cluster.release(job)


def _requeue(cluster: Cluster, job: Job, *, hold: bool = False) -> None:
    if job.state == State.QUEUED:
        raise DeniedError("Job is pending execution")
    if not job.requeueable:
        raise DeniedError("Requested operation is presently disabled")
    cluster.requeue(job, hold=hold)


def _requeue_held(cluster: Cluster, job: Job) -> None:
    _requeue(cluster, job, hold=True)


def _suspend(cluster: Cluster, job: Job) -> None:
    _must_run(job)
    if job.state == State.SUSPENDED:
        raise DeniedError("Job is already suspended")
    cluster.suspend(job)


def _resume(cluster: Cluster, job: Job) -> None:
    _must_run(job)
    if job.state != State.SUSPENDED:
        raise DeniedError("Job is not suspended")
    cluster.resume(job)


def _must_run(job: Job) -> None:
    if job.state == State.QUEUED:
        raise DeniedError("Job is pending execution")
    if job.state in (State.ENDED, State.ENDING):
        raise DeniedError("Job/step already completing or completed")


_VERBS: dict[str, Callable[[Cluster, Job], None]] = {
    "hold": _hold,
    "uhold": _hold,
    "release": _release,
    "requeue": _requeue,
    "requeuehold": _requeue_held,
    "suspend": _suspend,
    "resume": _resume,
}


def _each(cluster: Cluster, keyword: str, words: list[str]) -> Reply:
    errors = ""
    with cluster:
        for word in ",".join(words).split(","):
            job = cluster.jobs.get(int(word)) if word.isdigit() else None
            try:
                if job is None:
                    # 22.05.8 answers suspend and resume of an unknown job with this; the others name the id.
                    raise DeniedError("Unexpected message received" if keyword in ("suspend", "resume") else _UNKNOWN)
                if job.uid != os.getuid():
                    raise DeniedError("Access/permission denied")
                _VERBS[keyword](cluster, job)
            except DeniedError as error:
                errors += f"{error} for job {word}\n"
                if keyword in ("hold", "uhold", "release"):
                    errors += f"slurm_suspend error: {error}\n"
    return Reply(err=errors, rc=1 if errors else 0)


def _update(cluster: Cluster, words: list[str]) -> Reply:
    """`update jobid=N comment=… name=… timelimit=MINUTES`; other attributes are not simulated."""
    values = {name.lower(): value for name, _, value in (word.partition("=") for word in words)}
    word = values.pop("jobid", None)
    if word is None:
        return Reply(
            err="No valid entity in update command\nInput line must include"
            ' "NodeName", "PartitionName", "Reservation", "JobId", or "SlurmctldDebug"\n',
            rc=1,
        )
    with cluster:
        job = cluster.jobs.get(int(word)) if word.isdigit() else None
        if job is None:
            return Reply(err=f"{_UNKNOWN} for job {word}\n", rc=1)
        for name, value in values.items():
            if name == "comment":
                job.extra["comment"] = value
            elif name in ("name", "jobname"):
                job.name = value
            elif name == "timelimit" and value.isdigit():
                job.walltime = int(value) * 60
            else:
                return Reply(err=f"Update of this parameter is not supported: {name}={value}\nRequest aborted\n", rc=1)
    return Reply()
