"""scancel: ends jobs, or signals them."""

from __future__ import annotations

import os
import pwd
import signal
from collections.abc import Mapping

from ..engine import Cluster
from ..frame import CommandError, Reply
from ..model import Job, State
from .clusters import check_cluster
from .options import Table
from .sbatch import VERSION
from .values import STATES, is_meant, shown_id, state_word

TABLE = Table(
    "scancel",
    "account=/A batch/b ctld cluster= clusters=/M full/f help hurry/H interactive/i jobname=/n me name=/n nodelist=/w"
    " partition=/p qos=/q quiet/Q reservation=/R sibling= signal=/s state=/t usage user=/u verbose/v version/V"
    " wckey=",
)

VARIABLES = {
    "SLURM_CLUSTERS": "clusters", "SCANCEL_ACCOUNT": "account", "SCANCEL_NAME": "name",
    "SCANCEL_PARTITION": "partition", "SCANCEL_QOS": "qos", "SCANCEL_STATE": "state", "SCANCEL_USER": "user",
    "SCANCEL_WCKEY": "wckey",
}  # fmt: skip
_SWITCHES = ("BATCH", "FULL", "INTERACTIVE", "VERBOSE")
_DENIED, _NOT_ALTERABLE = 210, 228
_FILTERS = ("account", "jobname", "name", "nodelist", "partition", "qos", "reservation", "state", "user", "wckey", "me")


def run(cluster: Cluster, arguments: list[str], variables: Mapping[str, str]) -> Reply:
    given, words = TABLE.parse(arguments)
    options = {option: variables[key] for key, option in VARIABLES.items() if key in variables}
    options |= {name: value or "" for name, value in given}
    complaints = _switches(options, variables)
    if "version" in options:
        return Reply(VERSION)
    number = _signal(options["signal"]) if options.get("signal") else None
    ids = _ids(words)
    filters = {name: value for name, value in options.items() if name in _FILTERS}
    if not ids and not filters:
        raise CommandError("scancel: error: No job identification provided\n")
    uid = _uid(filters.get("user"))
    state = _state(filters.get("state"))
    with cluster:
        check_cluster(cluster.settings, "scancel", options.get("clusters"))
        chosen = _choose(cluster, ids, filters, uid, state)
        reply = _act(cluster, chosen, number, verbose="verbose" in options, batch="batch" in options)
    reply.err = complaints.encode() + reply.err
    return reply


def _switches(options: dict[str, str], variables: Mapping[str, str]) -> str:
    complaints = ""
    for word in _SWITCHES:
        value = variables.get(f"SCANCEL_{word}")
        if value is None:
            continue
        if value.lower().startswith("t"):
            options.setdefault(word.lower(), "")
        elif not value.lower().startswith("f"):
            complaints += f"scancel: error: Unrecognized SCANCEL_{word} value: {value}\n"
    return complaints


def _ids(words: list[str]) -> list[str]:
    """The ids, with the task of an array, or without a step."""
    ids = []
    for word in words:
        for part in word.split(",") if "[" not in word else [word]:
            number, _, task = part.partition(".")[0].partition("_")
            if not (number.isascii() and number.isdigit()):
                raise CommandError(f"scancel: error: Invalid job id {part}\n")
            ids.append(f"{number}_{task}" if task else number)
    return ids


def _signal(name: str) -> int:
    text = name.upper().removeprefix("SIG")
    if text.isdigit():
        return int(text)
    try:
        return int(signal.Signals[f"SIG{text}"])
    except KeyError:
        raise CommandError(f"Unknown job signal: {name}\n") from None


def _uid(user: str | None) -> int | None:
    if not user:
        return None
    try:
        return int(user) if user.isdigit() else pwd.getpwnam(user).pw_uid
    except KeyError:
        raise CommandError(f"scancel: error: Invalid user name: {user}\n") from None


def _state(text: str | None) -> str | None:
    for name in ("PENDING", "RUNNING", "SUSPENDED"):
        if text and text.upper() in (name, STATES[name]):
            return name
    if text:
        raise CommandError(
            f"Invalid job state specified: {text}\nValid job states are PENDING, RUNNING, and SUSPENDED\n"
        )
    return None


def _choose(
    cluster: Cluster, ids: list[str], filters: dict[str, str], uid: int | None, state: str | None
) -> list[tuple[str, Job | None]]:
    """The jobs to end; unknown ids stay in the list, for -v to speak of."""
    if not filters:
        return [pair for word in ids for pair in _meant(cluster, word)]
    chosen: list[tuple[str, Job | None]] = []
    for job in cluster.jobs.values():
        own = "me" in filters or ("user" not in filters and not ids)
        if (
            (ids and not any(is_meant(job, word) for word in ids))
            or job.state == State.ENDED
            or (own and job.uid != os.getuid())
            or (uid is not None and job.uid != uid)
            or (state is not None and state_word(job) != state)
            or (filters.get("partition") and filters["partition"] != job.queue)
        ):
            continue
        name = filters.get("name") or filters.get("jobname")
        if name and name != job.name:
            continue
        if any(filters.get(word) and filters[word] != job.extra.get(word) for word in ("account", "qos", "wckey")):
            continue
        chosen.append((shown_id(job), job))
    return chosen


def _meant(cluster: Cluster, word: str) -> list[tuple[str, Job | None]]:
    jobs: list[tuple[str, Job | None]] = [(word, job) for job in cluster.jobs.values() if is_meant(job, word)]
    return jobs or [(word, None)]


def _act(
    cluster: Cluster, chosen: list[tuple[str, Job | None]], number: int | None, *, verbose: bool, batch: bool
) -> Reply:
    errors, rc = "", 0

    def complain(identifier: str, reason: str) -> None:
        nonlocal errors
        errors += f"scancel: error: Kill job error on job id {identifier}: {reason}\n"

    for identifier, job in chosen:
        if verbose:
            errors += f"scancel: {'Terminating' if number is None else f'Signal {number} to'} job {identifier}\n"
        if job is None:
            if verbose or batch or number is not None:
                complain(identifier, "Invalid job id specified")
            if batch or number is not None:
                rc = 1
        elif job.state == State.ENDED:
            if verbose:
                complain(identifier, "Job/step already completing or completed")
            elif number is not None:
                complain(identifier, "Invalid job id specified")
                rc = 1
        elif job.uid != os.getuid():
            complain(identifier, "Access/permission denied")
            rc = _DENIED
        elif number is None or (number == signal.SIGKILL and not batch):
            cluster.cancel(job, os.getuid())
        elif job.state == State.QUEUED:
            complain(identifier, "Job can not be altered now, try again later")
            rc = _NOT_ALTERABLE
        else:
            cluster.signal(job, number, script_only=batch)
    return Reply(err=errors, rc=rc)
