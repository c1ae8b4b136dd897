"""qsub's options: their values, and the job that they describe, or the refusal that qsub prints."""

from __future__ import annotations

import calendar
import time

from ..frame import CommandError
from ..model import Job, Queue, Settings, Wait

ENVIRONMENTS = {"smp": "$pe_slots", "mpi": "$fill_up"}
"""The parallel environments, with the rule by which each gives out slots."""

_COMPLEXES = frozenset({"h_rt", "s_rt", "h_vmem", "mem_free", "gpu", "exclusive", "hostname", "h", "arch"})
# In the order in which verify_str_key() of Grid Engine looks for them in a name; then the names that it keeps.
_FORBIDDEN = {
    "\n": "Return",
    "\t": "Tab",
    "\r": "Carriage return",
    "/": "Slash ('/')",
    ":": "Colon (':')",
    "@": "At ('@')",
    "\\": "Backslash ('\\')",
    "*": "Asterisk ('*')",
    "?": "Questionmark ('?')",
}
_KEPT = ("NONE", "ALL", "TEMPLATE")
_LONGEST_NAME = 512
_SIZES = {"": 1, "k": 1000, "K": 1024, "m": 1000**2, "M": 1024**2, "g": 1000**3, "G": 1024**3}


def refused(reason: str) -> CommandError:
    return CommandError(f"Unable to run job: {reason}\nExiting.\n", 1)


def describe(options: dict[str, list[str]], requests: list[str], settings: Settings, script_name: str) -> Job:
    """The job that these options ask for; raises `CommandError`."""
    job = Job(name=_name(options.get("N", [script_name])[0]), extra={})
    _read_queues(job, options, settings)
    if "P" in options:
        raise refused(f'job rejected: the requested project "{options["P"][0]}" does not exist')
    if "ar" in options:
        raise refused(f"the advance reservation id {options['ar'][0]} is invalid")
    wanted = _requests(requests)
    _read_slots(job, options, settings)
    if "h_rt" in wanted:
        job.walltime = _seconds("h_rt", wanted["h_rt"])
    else:
        queue = settings.queue(job.queue)
        job.walltime = queue.max_time if queue else None  # the queue's own h_rt holds for everybody
    soft = _seconds("s_rt", wanted["s_rt"]) if "s_rt" in wanted else None
    if soft is not None and (job.walltime is None or soft < job.walltime):
        job.walltime, job.extra["soft"] = soft, "s_rt"
    memory = wanted.get("h_vmem") or wanted.get("mem_free")
    if memory:
        job.memory = -(-_bytes(memory) // 1024**2) * job.cores
    job.gpus = int(wanted.get("gpu", "0"))
    job.exclusive = wanted.get("exclusive", "").lower() in ("true", "1")
    category = [f"-pe {' '.join(options['pe'])}"] if "pe" in options else []
    category += [f"-l {','.join(f'{name}={value}' for name, value in wanted.items())}"] if wanted else []
    job.extra["category"] = " ".join(category) or "NONE"
    job.requeueable = options.get("r", ["y" if "rerun" in settings.extra else "n"])[0] in ("y", "yes")
    job.extra["restart"] = options.get("r", [""])[0][:1]
    job.held = Wait.HELD_BY_USER if "h" in options else ""
    if "a" in options:
        job.begin = calendar.timegm(time.strptime(options["a"][0][:12], "%Y%m%d%H%M"))
    if "hold_jid" in options:
        job.after = [("any", int(word)) for word in options["hold_jid"][0].split(",") if word.isdigit()]
    return job


def _name(name: str) -> str:
    if not name:
        raise refused("job rejected cause there is no job_name in the request")
    if len(name) > _LONGEST_NAME:
        raise refused(f"job name too long, maximum allowed length is {_LONGEST_NAME} characters")
    for character, words in _FORBIDDEN.items():
        if character in name:
            raise refused(f"{words} not allowed in objectname")
    if name.upper() in _KEPT:
        raise refused(f'Keyword ("{name.upper()}") not allowed as objectname')
    if " " in name or not name.isascii():
        raise refused("Error reading answer list from qmaster")
    if name[0].isdigit():
        raise refused(f'denied: "{name}" is not a valid object name (cannot start with a digit)')
    return name


def _read_queues(job: Job, options: dict[str, list[str]], settings: Settings) -> None:
    default = settings.default_queue()
    asked = options["q"][0] if "q" in options else default.name if default else ""
    job.queues = asked.split(",")
    for name in job.queues:
        if settings.queue(name) is None:
            raise refused(f'Job was rejected because job requests unknown queue "{name}"')
    job.queue = job.queues[0]


def _read_slots(job: Job, options: dict[str, list[str]], settings: Settings) -> None:
    if "pe" not in options:
        return
    name, count = options["pe"]
    if name not in ENVIRONMENTS:
        raise refused(f'job rejected: the requested parallel environment "{name}" does not exist')
    slots = int(count)
    job.extra |= {"pe": name, "slots": count}
    most = max((node.cores for node in settings.nodes if node.name in _nodes(settings.queue(job.queue))), default=1)
    if ENVIRONMENTS[name] == "$pe_slots":
        job.cores = slots
    else:
        job.nodes = -(-slots // most)
        job.cores = -(-slots // job.nodes)


def _nodes(queue: Queue | None) -> list[str]:
    return queue.nodes if queue else []


def _requests(requests: list[str]) -> dict[str, str]:
    wanted: dict[str, str] = {}
    for request in requests:
        name, _, value = request.partition("=")
        if name not in _COMPLEXES:
            raise refused(f'unknown resource "{name}"')
        wanted[name] = value
    return wanted


def _seconds(name: str, text: str) -> int:
    parts = text.split(":")
    if len(parts) not in (1, 3) or not all(part.isdigit() for part in parts):
        raise refused(f'attribute "{name}" is not a time value')
    numbers = [int(part) for part in parts]
    return numbers[0] if len(numbers) == 1 else (numbers[0] * 60 + numbers[1]) * 60 + numbers[2]


def _bytes(text: str) -> int:
    digits, unit = (text[:-1], text[-1]) if text[-1:].isalpha() else (text, "")
    if not digits.isdigit() or unit not in _SIZES:
        raise refused('attribute "h_vmem" is not a memory value')
    return int(digits) * _SIZES[unit]
