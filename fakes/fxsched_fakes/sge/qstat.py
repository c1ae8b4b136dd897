"""qstat: what waits, runs, and lately ended; with -j all about some jobs."""

from __future__ import annotations

import os
import pwd
import re
import time
from collections.abc import Callable, Mapping

from ..engine import Cluster
from ..frame import CommandError, Reply
from ..model import Job, State, Wait
from . import values
from .options import Table

TABLE = Table("qstat", "ext explain= f F= g= help j= l= ne pe= pri q= r s= t u= U= urg xml")

_XSD = 'xmlns:xsd="http://arc.liv.ac.uk/repos/darcs/sge/source/dist/util/resources/schemas/qstat/{0}.xsd"'
_HEAD = (
    "job-ID  prior   name       user         state submit/start at     queue                          slots"
    " ja-task-ID \n"
)
_RUNNING = 128


def run(cluster: Cluster, arguments: list[str], _: Mapping[str, str]) -> Reply:
    given, words = TABLE.parse(arguments)
    if words:
        raise CommandError(f'qstat: ERROR! invalid option argument "{words[0]}"\n', 1)
    options = {name: value[0] if value else "" for name, value in given}
    with cluster:
        values.look(cluster)
        if "j" in options:
            return _details(cluster, options["j"]) if "xml" in options else _described(cluster, options["j"])
        chosen = [job for job in cluster.jobs.values() if _is_chosen(job, options)]
        return Reply(_listed(chosen) if "xml" in options else _table(chosen))


def _is_chosen(job: Job, options: Mapping[str, str]) -> bool:
    users = options.get("u", "$user").replace("$user", pwd.getpwuid(os.getuid()).pw_name).split(",")
    if "*" not in users and job.user not in users:
        return False
    states = options.get("s", "a")
    waits = job.state == State.QUEUED or values.parked(job)
    tests: dict[str, Callable[[], bool]] = {
        "hu": lambda: job.state == State.QUEUED and job.held == Wait.HELD_BY_USER,
        "ho": lambda: job.state == State.QUEUED and job.held == Wait.HELD_BY_ADMIN,
        "hj": lambda: job.state == State.QUEUED and job.wait == Wait.DEPENDENCY,
        "h": lambda: waits and "h" in values.letters(job),
        "a": lambda: not values.over(job),
        "p": lambda: waits,
        "r": lambda: job.live,
        "s": lambda: job.state == State.SUSPENDED,
        "z": lambda: values.over(job),
    }
    if states in tests:
        return tests[states]()
    return any(tests[letter]() for letter in states if letter in tests)


def _order(jobs: list[Job]) -> tuple[list[Job], list[Job]]:
    """What runs, and what does not, as rows: all tasks of an array that wait are in one."""
    live = [job for job in jobs if job.live]
    waiting = sorted((job for job in jobs if not job.live and not values.over(job)), key=lambda job: bool(job.held))
    first = {(values.number(job), values.letters(job)): job for job in reversed(waiting)}
    rows = [job for job in waiting if first[values.number(job), values.letters(job)] is job]
    for row in rows:
        tasks = [values.task(job) for job in waiting if values.number(job) == values.number(row) and values.task(job)]
        if tasks:
            step = row.extra["tasks"].partition(":")[2]
            row.extra["shown"] = f"{tasks[0]}-{tasks[-1]}:{step}" if len(tasks) > 1 else tasks[0]
    return live, [*rows, *(job for job in jobs if values.over(job))]


def _priority(job: Job) -> str:
    return "0.00000" if job.held or values.over(job) else "0.55500"


def _listed(jobs: list[Job]) -> str:
    live, others = _order(jobs)
    return (
        f"<?xml version='1.0'?>\n<job_info  {_XSD.format('qstat')}>\n  <queue_info>\n{''.join(map(_row, live))}"
        f"  </queue_info>\n  <job_info>\n{''.join(map(_row, others))}  </job_info>\n</job_info>\n"
    )


def _row(job: Job) -> str:
    kind = "running" if job.live else "zombie" if values.over(job) else "pending"
    moment = "JAT_start_time" if job.live else "JB_submission_time"
    fields = {
        "JB_job_number": str(values.number(job)),
        "JAT_prio": _priority(job),
        "JB_name": values.escaped(job.name),
        "JB_owner": job.user,
        "state": values.letters(job),
        moment: values.iso(values.shown_time(job)),
        "queue_name": values.instance(job),
        "slots": str(values.slots(job)),
    } | ({"tasks": _tasks(job)} if values.task(job) else {})
    return f'    <job_list state="{kind}">\n{_elements(fields, 6)}    </job_list>\n'


def _tasks(job: Job) -> str:
    return values.task(job) if job.live else job.extra.get("shown", values.task(job))


def _elements(fields: Mapping[str, str], indent: int) -> str:
    return "".join(f"{' ' * indent}<{name}>{value}</{name}>\n" for name, value in fields.items())


def _table(jobs: list[Job]) -> str:
    live, others = _order(jobs)
    if not jobs:
        return ""
    lines = [_HEAD, f"{'-' * 113}\n"]
    for job in (*live, *others):
        at = time.strftime("%m/%d/%Y %H:%M:%S", time.localtime(values.shown_time(job)))
        name = os.fsdecode(os.fsencode(job.name)[:10])
        lines.append(
            f"{values.number(job):>7} {_priority(job)} {name:<10} {job.user[:12]:<12} {values.letters(job):<5} {at}"
            f" {values.instance(job)[:30]:<30} {values.slots(job):>5} {_tasks(job):<7}\n"
        )
    return "".join(lines)


def _known(cluster: Cluster, words: str) -> tuple[list[Job], list[str]]:
    found: list[Job] = []
    unknown = []
    for word, jobs in values.matching(cluster, words):
        alive = [job for job in jobs if not values.over(job)]
        found += [job for job in alive if job not in found]
        unknown += [] if alive else [word]
    return found, unknown


def _details(cluster: Cluster, words: str) -> Reply:
    jobs, unknown = _known(cluster, words)
    if not jobs:
        names = "".join(f"    <ST_name>{values.escaped(word)}</ST_name>\n" for word in unknown)
        return Reply(f"<?xml version='1.0'?>\n<unknown_jobs >\n{names}</unknown_jobs>\n")
    arrays: dict[int, list[Job]] = {}
    for job in jobs:
        arrays.setdefault(values.number(job), []).append(job)
    body = "".join(f"    <element>\n{_detail(tasks)}    </element>\n" for tasks in arrays.values())
    notes = "".join(_note(tasks[0]) for tasks in arrays.values() if values.note(tasks[0]))
    full = any(job.state == State.QUEUED and job.wait in (Wait.RESOURCES, Wait.PRIORITY) for job in jobs)
    general = (
        "      <SME_global_message_list>\n        <element>\n"
        "          <MES_message_number>37</MES_message_number>\n"
        "          <MES_message>queue instance &quot;debug@n1&quot; dropped because it is full</MES_message>\n"
        "        </element>\n        <element>\n          <MES_message_number>28</MES_message_number>\n"
        "          <MES_message>All queues dropped because of overload or full</MES_message>\n"
        "        </element>\n      </SME_global_message_list>\n"
    )
    return Reply(
        f"<?xml version='1.0'?>\n<detailed_job_info  {_XSD.format('detailed_job_info')}>\n  <djob_info>\n{body}"
        "  </djob_info>\n  <messages>\n    <element>\n"
        + (f"      <SME_message_list>\n{notes}      </SME_message_list>\n" if notes else "")
        + (general if full else "")
        + "    </element>\n  </messages>\n</detailed_job_info>\n"
    )


def _detail(tasks: list[Job]) -> str:
    job = tasks[0]
    text = _elements(
        {
            "JB_job_number": str(values.number(job)),
            "JB_ar": "0",
            "JB_exec_file": f"job_scripts/{values.number(job)}",
            "JB_submission_time": str(int(job.submitted)),
            "JB_owner": job.user,
            "JB_uid": str(job.uid),
            "JB_group": job.extra["group"],
            "JB_gid": job.extra["gid"],
            "JB_account": job.extra["account"],
            "JB_merge_stderr": "true" if job.extra["joined"] else "false",
            "JB_notify": "false",
            "JB_job_name": values.escaped(job.name),
            "JB_script_file": "STDIN",
        },
        6,
    )
    placed = [task for task in tasks if task.live or values.parked(task)]
    if placed:
        text += f"      <JB_ja_tasks>\n{''.join(map(_task, placed))}      </JB_ja_tasks>\n"
    text += _elements({"JB_cwd": values.escaped(job.extra["wd"])}, 6)
    if job.after:
        jobs = "".join(f"          <JRE_job_number>{other}</JRE_job_number>\n" for _, other in job.after)
        text += (
            "      <JB_jid_predecessor_list>\n        <job_predecessors>\n"
            f"{jobs}        </job_predecessors>\n      </JB_jid_predecessor_list>\n"
        )
    first, last, step = re.fullmatch(r"(\d+)-(\d+):(\d+)", job.extra.get("tasks", "1-1:1")).groups()  # type: ignore[union-attr]
    return (
        text
        + _elements(
            {
                "JB_deadline": "0",
                "JB_execution_time": str(int(job.begin)) if job.begin > job.submitted else "0",
                "JB_checkpoint_attr": "0",
                "JB_checkpoint_interval": "0",
                "JB_reserve": "false",
                "JB_mail_options": "0",
                "JB_priority": "1024",
                "JB_restart": {"y": "1", "n": "2"}.get(job.extra.get("restart", ""), "0"),
                "JB_verify": "0",
            },
            6,
        )
        + "      <JB_ja_structure>\n        <task_id_range>\n"
        + _elements({"RN_min": first, "RN_max": last, "RN_step": step}, 10)
        + "        </task_id_range>\n      </JB_ja_structure>\n"
        + _elements({"JB_type": "0", "JB_ja_task_concurrency": "0"}, 6)
    )


def _task(job: Job) -> str:
    text = _elements({"JAT_status": str(_RUNNING if job.live else 0), "JAT_task_number": values.task(job) or "1"}, 10)
    if values.parked(job):
        message = values.escaped(values.stamped(job, values.error(job)[2]))
        text += (
            "          <JAT_message_list>\n            <ulong_sublist>\n              <QIM_type>1</QIM_type>\n"
            f"              <QIM_message>{message}</QIM_message>\n            </ulong_sublist>\n"
            "          </JAT_message_list>\n"
        )
    return f"        <ulong_sublist>\n{text}        </ulong_sublist>\n"


def _note(job: Job) -> str:
    return (
        "        <element>\n          <MES_job_number_list>\n            <ulong_sublist>\n"
        f"              <ULNG_value>{values.number(job)}</ULNG_value>\n            </ulong_sublist>\n"
        "          </MES_job_number_list>\n          <MES_message_number>0</MES_message_number>\n"
        f"          <MES_message>{values.escaped(values.note(job))}</MES_message>\n        </element>\n"
    )


def _described(cluster: Cluster, words: str) -> Reply:
    jobs, unknown = _known(cluster, words)
    if not jobs:
        raise CommandError(f"Following jobs do not exist: \n{chr(10).join(unknown)}\n")
    return Reply("".join(map(_description, jobs)))


def _description(job: Job) -> str:
    fields = {
        "job_number": str(values.number(job)),
        "exec_file": f"job_scripts/{values.number(job)}",
        "submission_time": values.long_date(job.submitted),
        "owner": job.user,
        "uid": str(job.uid),
        "group": job.extra["group"],
        "gid": job.extra["gid"],
        "sge_o_home": job.extra["home"],
        "sge_o_workdir": job.extra["from"],
        "account": job.extra["account"],
        "cwd": job.extra["wd"],
        "notify": "FALSE",
        "job_name": job.name,
        "jobshare": "0",
        "script_file": "STDIN",
        "job_type": "NONE",
    }
    if values.parked(job):
        fields["error reason          1"] = f"     {values.stamped(job, values.error(job)[2])}"
    if values.note(job):
        fields["scheduling info"] = values.note(job)
    return f"{'=' * 62}\n" + "".join(f"{name + ':':<28}{value}\n" for name, value in fields.items())
