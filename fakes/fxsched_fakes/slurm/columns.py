"""The columns of squeue: what each letter of -o and each name of -O shows, and how a line is laid out."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping

from ..model import Cause, Job, State, Wait
from .launch import file_paths
from .values import STATES, duration, exit_status, limit, moment, node_list, reason, shown_id, size, state_word

FIRST_PRIORITY = 4294901760


class View:
    """Whose eyes a job is seen with: the cluster's time, the caller's environment."""

    def __init__(self, now: float, environment: Mapping[str, str]) -> None:
        self.now = now
        self.environment = environment
        self.together: dict[int, str] = {}  # the tasks that are shown in one line with the job of this id

    def shown_id(self, job: Job) -> str:
        """`7`, `7_1`, or `7_[1-3]` for those that wait."""
        return f"{job.extra['array']}_[{self.together[job.id]}]" if job.id in self.together else shown_id(job)

    def moment(self, at: float | None, absent: str = "N/A") -> str:
        return moment(at, self.environment, absent)


Show = Callable[[Job, View], str]


def priority(job: Job) -> int:
    return 0 if job.held else FIRST_PRIORITY - job.id


def start(job: Job) -> float | None:
    """When it started or is expected to; while BeginTime holds it back, that time."""
    if job.started is not None:
        return job.started
    return job.begin if job.begin > job.submitted else job.expected


def end(job: Job) -> float | None:
    at = start(job)
    if job.ended is not None or at is None or job.walltime is None:
        return job.ended
    return at + job.walltime + job.suspended_for


def left(job: Job, now: float) -> str:
    if job.walltime is None:
        return limit(job)
    rest = job.walltime - job.ran_for(now)
    return "INVALID" if rest < 0 else duration(-(-rest // 1))


def place(job: Job) -> str:
    """Where it runs, else why not: 22.05.8 shows the reason for ended jobs only where there is a telling one."""
    words = state_word(job)
    if words in ("PENDING", "FAILED", "TIMEOUT", "OUT_OF_MEMORY", "NODE_FAIL", "DEADLINE"):
        return f"({reason(job)})"
    return node_list(job.on)


def nodes(job: Job) -> int:
    return len(job.on) or job.nodes


def cpus(job: Job) -> str:
    """Those asked for; an exclusive job has all of its nodes once it has them."""
    return str(job.cores * len(job.on)) if job.exclusive and job.on else job.extra.get("cpus", "1")


def wait_status(job: Job) -> str:
    """The exit status as wait(2) has it: this one column of 22.05.8 shows it raw."""
    if job.cause == Cause.LAUNCH:
        return "4021"  # what 22.05.8 has for 0:53
    code, _, number = exit_status(job).partition(":")
    return str(int(code) * 256 + int(number))


def dependencies(job: Job) -> str:
    """Those that are left, as 22.05.8 shows them."""
    if job.state != State.QUEUED or not job.after:
        return "(null)"
    never = "failed" if job.wait == Wait.DEPENDENCY_NEVER else "unfulfilled"
    return ",".join(f"{part}({never})" for part in job.extra["dependency"].split(","))


def _extra(name: str, absent: str = "(null)") -> Show:
    return lambda job, _: job.extra.get(name, absent)


def _always(text: str) -> Show:
    return lambda _, __: text


LETTERS: dict[str, tuple[str, Show]] = {
    "i": ("JOBID", lambda job, view: view.shown_id(job)),
    "A": ("JOBID", lambda job, _: str(job.id)),
    "F": ("ARRAY_JOB_ID", lambda job, _: job.extra.get("array", str(job.id))),
    "K": ("ARRAY_TASK_ID", lambda job, view: view.shown_id(job).partition("_")[2].strip("[]") or "N/A"),
    "a": ("ACCOUNT", _extra("account")),
    "B": ("EXEC_HOST", lambda job, _: job.on[0] if job.on else "n/a"),
    "c": ("MIN_CPUS", _extra("cpus_per_task", "1")),
    "C": ("CPUS", lambda job, _: cpus(job)),
    "d": ("MIN_TMP_DISK", _always("0")),
    "D": ("NODES", lambda job, _: str(nodes(job))),
    "e": ("END_TIME", lambda job, view: view.moment(end(job))),
    "E": (
        "DEPENDENCY",
        lambda job, _: dependencies(job),
    ),
    "f": ("FEATURES", _always("(null)")),
    "g": ("GROUP", _extra("group")),
    "G": ("GROUP", _extra("gid", "0")),
    "h": ("OVER_SUBSCRIBE", lambda job, _: "NO" if job.exclusive else "OK"),
    "j": ("NAME", lambda job, _: job.name),
    "k": ("COMMENT", _extra("comment")),
    "l": ("TIME_LIMIT", lambda job, _: limit(job)),
    "L": ("TIME_LEFT", lambda job, view: left(job, view.now)),
    "m": ("MIN_MEMORY", lambda job, _: min_memory(job)),
    "M": ("TIME", lambda job, view: duration(job.ran_for(view.now))),
    "n": ("REQ_NODES", lambda job, _: node_list(job.wanted)),
    "N": ("NODELIST", lambda job, _: node_list(job.on)),
    "o": ("COMMAND", lambda job, _: job.extra.get("command") or "(null)"),
    "p": ("PRIORITY", lambda job, _: f"{priority(job) / 2**32:.14f}"),
    "P": ("PARTITION", lambda job, _: job.queue if job.on else ",".join(job.queues)),
    "q": ("QOS", _extra("qos")),
    "Q": ("PRIORITY", lambda job, _: str(priority(job))),
    "r": ("REASON", lambda job, _: reason(job)),
    "R": ("NODELIST(REASON)", lambda job, _: place(job)),
    "S": ("START_TIME", lambda job, view: view.moment(start(job))),
    "t": ("ST", lambda job, _: STATES[state_word(job)]),
    "T": ("STATE", lambda job, _: state_word(job)),
    "u": ("USER", lambda job, _: job.user),
    "U": ("UID", lambda job, _: str(job.uid)),
    "v": ("RESERVATION", _always("(null)")),
    "V": ("SUBMIT_TIME", lambda job, view: view.moment(job.submitted)),
    "w": ("WCKEY", _extra("wckey")),
    "W": ("LICENSES", _always("(null)")),
    "x": ("EXC_NODES", lambda job, _: node_list(job.excluded)),
    "y": ("NICE", _always("0")),
    "Y": ("SCHEDNODES", _always("(null)")),
    "z": ("S:C:T", _always("*:*:*")),
    "Z": ("WORK_DIR", lambda job, _: job.workdir),
}

NAMES: dict[str, tuple[str, Show]] = {
    "jobid": LETTERS["A"], "jobarrayid": LETTERS["i"], "arrayjobid": LETTERS["F"], "arraytaskid": LETTERS["K"],
    "account": LETTERS["a"], "batchhost": LETTERS["B"], "mincpus": LETTERS["c"], "numcpus": LETTERS["C"],
    "numnodes": LETTERS["D"], "endtime": LETTERS["e"], "dependency": LETTERS["E"], "feature": LETTERS["f"],
    "groupid": LETTERS["G"], "name": LETTERS["j"], "comment": LETTERS["k"], "timelimit": LETTERS["l"],
    "timeleft": LETTERS["L"], "minmemory": LETTERS["m"], "timeused": LETTERS["M"], "reqnodes": LETTERS["n"],
    "nodelist": LETTERS["N"], "command": LETTERS["o"], "priority": LETTERS["p"], "partition": LETTERS["P"],
    "qos": LETTERS["q"], "prioritylong": LETTERS["Q"], "reason": LETTERS["r"], "reasonlist": LETTERS["R"],
    "starttime": LETTERS["S"], "statecompact": LETTERS["t"], "state": LETTERS["T"], "username": LETTERS["u"],
    "userid": LETTERS["U"], "reservation": LETTERS["v"], "submittime": LETTERS["V"], "wckey": LETTERS["w"],
    "licenses": LETTERS["W"], "nice": LETTERS["y"], "schednodes": LETTERS["Y"],
    "workdir": LETTERS["Z"],
    "exit_code": ("EXIT_CODE", lambda job, _: wait_status(job)),
    "restartcnt": ("RESTART_COUNT", lambda job, _: str(job.attempt)),
    "stdin": ("STDIN", lambda job, _: file_paths(job)[0]),
    "stdout": ("STDOUT", lambda job, _: file_paths(job)[1]),
    "stderr": ("STDERR", lambda job, _: file_paths(job)[2]),
    "gres": ("TRES_PER_NODE", _extra("gres", "N/A")), "tres-per-node": ("TRES_PER_NODE", _extra("gres", "N/A")),
    "pendingtime": ("PENDING_TIME", lambda job, view: str(int((job.started or view.now) - job.submitted))),
}  # fmt: skip


def min_memory(job: Job) -> str:
    per = job.extra.get("memory_per_cpu")
    return size(int(job.extra.get("memory_per_node", "0") if per is None else per))


class Column:
    """One column of a line: what it shows, how wide, and the text up to the next."""

    def __init__(self, title: str, show: Show, width: int = 0, *, right: bool = False, suffix: str = "") -> None:
        self.title, self.show, self.width, self.right, self.suffix = title, show, width, right, suffix

    def cell(self, text: str) -> str:
        if self.width:
            content = os.fsencode(text)[: self.width]  # bytes, as the C library counts: a character may be cut in two
            content = content.rjust(self.width) if self.right else content.ljust(self.width)
            text = os.fsdecode(content)
        return text + self.suffix


def by_letters(pattern: str) -> list[Column]:
    """The columns of -o: `%[.][width]letter` and text in between."""
    text, *parts = pattern.split("%")
    columns = [Column("", _always(""), suffix=text)] if text else []
    for part in parts:
        right, part = part.startswith("."), part.removeprefix(".")
        digits = part[: len(part) - len(part.lstrip("0123456789"))]
        letter, suffix = part[len(digits) : len(digits) + 1], part[len(digits) + 1 :]
        if letter in LETTERS:
            columns.append(Column(*LETTERS[letter], int(digits or 0), right=right, suffix=suffix))
        elif suffix or not columns:
            columns.append(Column("", _always(""), suffix=suffix))
    return columns


def by_names(names: str) -> tuple[list[Column], str]:
    """The columns of -O, `Name[:[.][width][suffix]]` with a comma between, and what squeue says of unknown ones."""
    columns, complaints = [], ""
    for part in names.split(","):
        name, _, layout = part.partition(":")
        if name.lower() not in NAMES:
            complaints += f"squeue: error: Invalid job format specification: {name}\n"
            continue
        right, layout = layout.startswith("."), layout.removeprefix(".")
        digits = layout[: len(layout) - len(layout.lstrip("0123456789"))]
        suffix = layout[len(digits) :]
        # 20 wide by default; a text behind the colon is a suffix, and the column as wide as its content (22.05.8)
        width = int(digits) if digits else 0 if ":" in part else 20
        columns.append(Column(*NAMES[name.lower()], width, right=right, suffix=suffix))
    return columns, complaints
