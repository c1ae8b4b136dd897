"""What Torque tells of a job in full, in its order."""

from __future__ import annotations

from collections.abc import Callable

from ..model import Cause, Job, Settings, State, Wait
from ..pbs_family.values import duration, full_id, hold_types
from .dialect import exit_status, state

Attributes = dict[str, object]


def attributes(job: Job, settings: Settings, *, str_of_time: Callable[[float], str]) -> Attributes:
    """Times are seconds since the epoch in XML, and the caller's in text."""
    extra = job.extra
    host, directory = extra["host"], extra["submit_dir"]
    paths = {
        kind: f"{host}:{extra[kind] or f'{directory}/{job.name}.{letter}{job.id}'}"
        for kind, letter in (("error", "e"), ("output", "o"))
    }
    values: Attributes = {
        "Job_Id": full_id(job, settings),
        "Job_Name": job.name,
        "Job_Owner": f"{job.user}@{host}",
    }
    if job.on:
        used = (job.ended or job.started or 0) - (job.started or 0)
        values["resources_used"] = {"cput": "00:00:00", "vmem": "0kb", "walltime": duration(used), "mem": "0kb"}
    values |= {
        "job_state": state(job),
        "queue": job.queue,
        "server": settings.name,
        "Checkpoint": "u",
        "ctime": str_of_time(float(extra["created"])),
    }
    if extra.get("dependency"):
        values["depend"] = extra["dependency"]
    values["Error_Path"] = paths["error"]
    if job.on:
        cores = "0" if job.cores == 1 else f"0-{job.cores - 1}"
        values["exec_host"] = "+".join(f"{node}/{cores}" for node in job.on)
    values |= {
        "Hold_Types": hold_types(job),
        "Join_Path": extra["join"],
        "Keep_Files": "n",
        "Mail_Points": extra["mail"],
        "mtime": str_of_time(job.ended or job.started or job.submitted),
        "Output_Path": paths["output"],
        "Priority": 0,
        "qtime": str_of_time(job.submitted),
        "Rerunable": str(job.requeueable),
        "Resource_List": _resources(job),
        "Variable_List": f"PBS_O_QUEUE={job.queue},PBS_O_LOGNAME={job.user},PBS_O_WORKDIR={directory}",
        "euser": job.user,
        "egroup": job.user,
        "queue_type": "E",
    }
    if note := _comment(job):
        values["comment"] = note
    if not job.held:
        values["etime"] = str_of_time(job.submitted)
    status = exit_status(job)
    if status is not None:
        values["exit_status"] = status
    values["submit_args"] = extra["arguments"]
    if job.on and job.started is not None:
        values |= {"start_time": str_of_time(job.started), "start_count": job.attempt + 1}
    values["fault_tolerant"] = "False"
    if job.state == State.ENDED and job.on and job.ended is not None:
        values["comp_time"] = str_of_time(job.ended)
    return values | {"job_radix": 0, "submit_host": host, "init_work_dir": directory, "request_version": 1}


def _resources(job: Job) -> dict[str, object]:
    pairs = (part.partition("=") for part in job.extra["resources"].split(","))
    values: dict[str, object] = {name: value for name, _, value in pairs}
    if job.walltime is not None:
        values["walltime"] = duration(job.walltime)
    return values | {"nodect": job.nodes}


def _comment(job: Job) -> str:
    """What pbs_sched notes. Maui and Moab would note nothing."""
    if job.cause == Cause.DEPENDENCY:
        return "Job deleted as result of dependency on a job that did not end as required"
    if job.state == State.QUEUED and not job.held:
        match job.wait:
            case Wait.QUEUE_DOWN:
                return "Not Running: Queue not started."
            case Wait.RESOURCES | Wait.NODES_AWAY:
                return "Not Running: Not enough of the right type of nodes are available"
            case Wait.PRIORITY:
                return "Not Running: Draining system to allow starving job to run"
        return ""
    return "Job started" if job.on else ""
