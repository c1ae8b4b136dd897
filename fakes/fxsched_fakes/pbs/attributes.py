"""What OpenPBS tells of a job in full, in its order."""

from __future__ import annotations

from ..model import Cause, Job, Settings, State, Wait
from ..pbs_family.values import duration, hold_types, moment
from ..placement import possible
from .dialect import exit_status, state, substate

Attributes = dict[str, object]


def attributes(job: Job, settings: Settings) -> Attributes:
    extra = job.extra
    host, directory = extra["host"], extra["submit_dir"]
    ended = job.state == State.ENDED
    paths = {
        kind: f"{host}:{extra[kind] or f'{directory}/{job.name}.{letter}{job.id}'}"
        for kind, letter in (("error", "e"), ("output", "o"))
    }
    values: Attributes = {"Job_Name": job.name, "Job_Owner": f"{job.user}@{host}"}
    if job.on:
        values["resources_used"] = {
            "cpupercent": 0,
            "cput": "00:00:00",
            "mem": "0kb",
            "ncpus": job.cores,
            "vmem": "0kb",
            "walltime": duration((job.ended or job.started or 0) - (job.started or 0)),
        }
    values |= {
        "job_state": state(job),
        "queue": job.queue,
        "server": settings.name,
        "Checkpoint": "u",
        "ctime": moment(float(extra["created"])),
    }
    if extra.get("dependency"):
        values["depend"] = extra["dependency"]
    values["Error_Path"] = paths["error"]
    if job.on:
        values["exec_host"] = "+".join(f"{node}/0{f'*{job.cores}' if job.cores > 1 else ''}" for node in job.on)
        values["exec_vnode"] = _vnodes(job)
    changed = job.ended or job.started or job.submitted
    values |= {
        "Hold_Types": hold_types(job),
        "Join_Path": extra["join"],
        "Keep_Files": "n",
        "Mail_Points": extra["mail"],
        "mtime": moment(changed),
        "Output_Path": paths["output"],
        "Priority": 0,
        "qtime": moment(job.submitted),
        "Rerunable": str(job.requeueable),
        "Resource_List": _resources(job),
    }
    if job.on and job.started is not None:
        values["stime"] = moment(job.started)
        if ended and job.ended is not None:
            values["obittime"] = moment(job.ended)
        values["jobdir"] = job.workdir
    values |= {"substate": substate(job), "Variable_List": _variables(job)}
    if note := comment(job, settings):
        values["comment"] = note
    if not job.held:
        values["etime"] = moment(job.submitted)
    if extra.get("account"):
        values["Account_Name"] = extra["account"]
    if job.on:
        values["run_count"] = job.attempt + 1
    status = exit_status(job)
    if status is not None:
        values["Exit_status"] = status
    values["Submit_arguments"] = extra["arguments"]
    if ended and job.ended is not None:
        values["history_timestamp"] = int(job.ended)
    if job.expected is not None:
        values["estimated"] = {"start_time": moment(job.expected)}
    return values | {"project": "_pbs_project_default", "Submit_Host": host}


def comment(job: Job, settings: Settings) -> str:
    if job.state == State.QUEUED and not job.held:
        return _waiting(job, settings)
    if not job.on or job.started is None:
        return ""
    began = moment(job.started)
    text = f"Job run at {began[:10]} at {began[11:16]} on {_vnodes(job)}"
    if job.state != State.ENDED:
        return text
    match job.cause:
        case Cause.CANCELLED | Cause.PREEMPTED:
            return f"{text} and terminated by {job.user}@{job.extra['host']}"
        case Cause.WALLTIME:
            return f"{text} and exceeded resource walltime"
        case Cause.COMPLETED:
            return f"{text} and finished"
    return f"{text} and failed"


def _waiting(job: Job, settings: Settings) -> str:
    queue = settings.queue(job.queue)
    match job.wait:
        case Wait.QUEUE_DOWN:
            return "Not Running: Queue not started."
        case Wait.NODES_AWAY if queue and not possible(settings, queue, job):
            return f"Can Never Run: Insufficient amount of resource: ncpus (R: {job.cores} A: 0 T: 0)"
        case Wait.RESOURCES | Wait.NODES_AWAY:
            return "Not Running: Not enough free nodes available"
        case Wait.PRIORITY:
            return "Not Running: Job would conflict with reservation or top job"
    return ""


def _vnodes(job: Job) -> str:
    return "+".join(f"({node}:ncpus={job.cores})" for node in job.on)


def _resources(job: Job) -> dict[str, object]:
    values: dict[str, object] = {}
    if job.memory:
        values["mem"] = f"{job.memory * job.nodes}mb"
    values |= {"ncpus": job.cores * job.nodes, "nodect": job.nodes, "place": job.extra["place"] or "pack"}
    values["select"] = job.extra["select"]
    if job.walltime is not None:
        values["walltime"] = duration(job.walltime)
    return values


def _variables(job: Job) -> dict[str, object]:
    return {
        "PBS_O_LOGNAME": job.user,
        "PBS_O_WORKDIR": job.extra["submit_dir"],
        "PBS_O_SYSTEM": "Linux",
        "PBS_O_QUEUE": job.queue,
        "PBS_O_HOST": job.extra["host"],
    }
