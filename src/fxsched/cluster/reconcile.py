"""What the ledger and the scheduler do not agree on, after a crash of either, and how it is mended.

    unrecorded the job that has a session is not in its entry → the ledger gets the job's id
    unwanted   whoever waited for a session was told of an error, or of nothing, and yet there is a job
                                                             → it is cancelled
    ghost      a submit was cut off, and no job came of it   → the entry and the session's directory go
    twin       a session has a second live job               → it is cancelled
    orphaned   a live job of ours is not in the ledger       → the ledger gets an entry for it
    unclear    it could not be found out how one of these stands → nothing is done
    bad        a file in the ledger could not be read        → it was set aside, for a person to look at

Nothing is mended on a failed question, nor while the process that is submitting lives.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

import anyio
from msgspec import Struct
from msgspec.structs import replace

from fxsched.adapter import Ability
from fxsched.cluster.ends import OVER
from fxsched.cluster.evidence import shown_token
from fxsched.errors import FxschedError, HostError, SchedulerUnavailable
from fxsched.jobs import JobId, JobStatus, Token
from fxsched.records.files import now
from fxsched.records.ledger import Entry

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fxsched.cluster.cluster import Cluster

Jobs = dict[Token, tuple[JobId, ...]]


class Kind(StrEnum):
    """What is wrong."""

    UNRECORDED = "unrecorded"
    UNWANTED = "unwanted"
    GHOST = "ghost"
    TWIN = "twin"
    ORPHANED = "orphaned"
    UNCLEAR = "unclear"
    BAD = "bad"


class Finding(Struct, frozen=True, kw_only=True):
    """One disagreement."""

    kind: Kind
    cluster: str
    token: str
    job: JobId | None = None
    text: str
    mended: bool = False


async def reconcile(cluster: Cluster, *, fix: bool) -> list[Finding]:
    """Compare the ledger of one cluster with its scheduler.

    Args:
        cluster: which.
        fix: mend what is found. Without it nothing is changed.

    Raises:
        SchedulerUnavailable: it could not be asked; nothing is known, and nothing was mended.
    """
    with cluster.explained():
        return await _reconcile(cluster, fix=fix)


async def _reconcile(cluster: Cluster, *, fix: bool) -> list[Finding]:
    cut_off = cluster.ledger.cut_off(cluster.name, cluster.timing.over)
    if fix:
        await _forbid(cluster, cut_off)
    jobs = await _submissions(cluster, cut_off)
    findings = [*await _settle(cluster, cut_off, jobs, fix=fix)]
    settled = {entry.token for entry in cut_off}
    ids = frozenset(id for token, found in jobs.items() if token not in settled for id in found)
    statuses = await cluster.scheduler.status(ids) if ids else {}
    known = {entry.token: entry for entry in cluster.ledger.live(cluster.name)}
    for token, found in jobs.items():
        if token in settled:
            continue
        alive = [id for id in found if statuses[id].state not in OVER and shown_token(statuses[id]) in (None, token)]
        if not alive:
            continue
        if token in known:
            findings += await _claimed(cluster, known[token], alive, fix=fix)
        elif not cluster.ledger.knows(token):
            findings += await _orphaned(cluster, token, alive, statuses, fix=fix)
    findings += [
        Finding(kind=Kind.BAD, cluster=cluster.name, token=path.name, text=f"{path} could not be read; look at it")
        for path in cluster.ledger.bad()
    ]
    return findings


async def settle_cut_off(cluster: Cluster) -> list[Finding]:
    """Mend what earlier launches of this user left when they were killed. Cheap where there is nothing to mend."""
    cut_off = cluster.ledger.cut_off(cluster.name, cluster.timing.over)
    if not cut_off:
        return []
    await _forbid(cluster, cut_off)
    return await _settle(cluster, cut_off, await _submissions(cluster, cut_off), fix=True)


async def _forbid(cluster: Cluster, entries: list[Entry]) -> None:
    """Let no unwanted session start, before anybody is asked: that may fail, or take long."""
    for entry in entries:
        if entry.awaited or entry.unwanted:
            await cluster.submission.forbid(entry.token)


async def _submissions(cluster: Cluster, entries: list[Entry]) -> Jobs:
    """Return all jobs of ours by token, or, where the scheduler cannot list them, those of these entries."""
    if cluster.scheduler.can(Ability.LIST):
        return await cluster.scheduler.submissions()
    return {entry.token: await cluster.scheduler.find(entry.token) for entry in entries}


async def _settle(cluster: Cluster, entries: list[Entry], jobs: Jobs, *, fix: bool) -> list[Finding]:
    """Settle the submits that were cut off. That there is no job is believed when it was said twice."""
    findings = []
    missing = [entry for entry in entries if not jobs.get(entry.token)]
    if missing:
        await anyio.sleep(max(cluster.timing.settle_pause, cluster.scheduler.lag))
        jobs |= await _submissions(cluster, missing)
    left = {entry.token for entry in cluster.ledger.cut_off(cluster.name, cluster.timing.over)}
    for entry in entries:
        if entry.token not in left:
            continue  # another launch has settled it meanwhile
        try:
            findings += await _settle_one(cluster, entry, jobs.get(entry.token, ()), fix=fix)
        except (HostError, SchedulerUnavailable) as error:  # it must not stand in the way of those behind it
            findings.append(_unclear(cluster, entry, error))
    return findings


async def _settle_one(cluster: Cluster, entry: Entry, listed: tuple[JobId, ...], *, fix: bool) -> list[Finding]:
    found = await cluster.submission.ours(entry.token, listed) or await cluster.submission.began(entry.token)
    if entry.awaited or entry.unwanted:
        return await _unwanted(cluster, entry, found or ((entry.job,) if entry.job else ()), fix=fix)
    if found:
        text = f'the submit of "{entry.name}" was cut off, but its job exists'
        return await _give(cluster, entry, found, Kind.UNRECORDED, text, fix=fix)
    return [await _ghost(cluster, entry, fix=fix)]


def _unclear(cluster: Cluster, entry: Entry, error: FxschedError) -> Finding:
    text = f'how "{entry.name}" stands could not be found out: {error.what}'
    return Finding(kind=Kind.UNCLEAR, cluster=cluster.name, token=entry.token, job=entry.job, text=text)


async def _ghost(cluster: Cluster, entry: Entry, *, fix: bool) -> Finding:
    if fix:
        await cluster.submission.take_back(entry.token)
    return _finding(Kind.GHOST, entry, None, f'the submit of "{entry.name}" was cut off, and no job came of it', fix)


async def _unwanted(cluster: Cluster, entry: Entry, found: Sequence[JobId], *, fix: bool) -> list[Finding]:
    """End the jobs of a session that nobody heard of: FastX was told of an error, or of nothing."""
    if not found:
        return [await _ghost(cluster, entry, fix=fix)]
    job, *_ = found
    text, mended = f'nobody waits for "{entry.name}": its launch failed, or was cut off', False
    twins = await _end_twins(cluster, entry, job, found, fix=fix)
    if fix:
        entry = cluster.ledger.entry(entry.token) or entry  # another launch may have written down its cancel
        if entry.owner is not None or entry.job != job:
            cluster.ledger.write(replace(entry, owner=None, job=job))
        try:
            await cluster.cancel(job)
            mended = True
        except FxschedError as error:
            text += f". It could not be cancelled: {error.what}"
    return [_finding(Kind.UNWANTED, entry, job, text, mended), *twins]


async def _claimed(cluster: Cluster, entry: Entry, alive: list[JobId], *, fix: bool) -> list[Finding]:
    """Look at the living jobs of an entry that has been settled."""
    if entry.job is None or entry.owner is not None:
        return []  # its submit is going on
    if alive == [entry.job]:
        return []
    text = f"job {entry.job}, which the ledger has, does not have the session, but this one does"
    try:
        first = sorted(alive, key=lambda id: id != entry.job)  # unless one says that it has the session
        if await cluster.submission.choose(entry.token, first) == entry.job:
            return await _end_twins(cluster, entry, entry.job, alive, fix=fix)
    except HostError as error:
        return [_unclear(cluster, entry, error)]
    return await _give(cluster, entry, first, Kind.UNRECORDED, text, fix=fix)


async def _orphaned(
    cluster: Cluster, token: Token, alive: list[JobId], statuses: Mapping[JobId, JobStatus], *, fix: bool
) -> list[Finding]:
    status = statuses[alive[0]]
    name = status.name.removesuffix(f".{token}")
    entry = Entry(token=token, cluster=cluster.name, name=name, submitted_at=status.submitted_at or now())
    text = "it is a job of ours, but the ledger does not have it"
    return await _give(cluster, entry, alive, Kind.ORPHANED, text, fix=fix)


async def _give(
    cluster: Cluster, entry: Entry, found: Sequence[JobId], kind: Kind, text: str, *, fix: bool
) -> list[Finding]:
    """Give the entry the job that has its session, and end the others."""
    job = await cluster.submission.choose(entry.token, found)
    if fix:
        cluster.ledger.write(replace(entry, owner=None, job=job))
    twins = await _end_twins(cluster, entry, job, found, fix=fix)
    return [_finding(kind, entry, job, text, fix), *twins]


async def _end_twins(
    cluster: Cluster, entry: Entry, kept: JobId, found: Sequence[JobId], *, fix: bool
) -> list[Finding]:
    twins = frozenset(found) - {kept}
    ended: set[JobId] = set()
    if fix and twins:
        await cluster.submission.end_twins(entry.token, kept, found)
        statuses = await cluster.scheduler.status(twins)
        ended = {twin for twin in twins if statuses[twin].state in OVER}
    text = f"job {kept} has its session"
    return [_finding(Kind.TWIN, entry, twin, text, twin in ended) for twin in found if twin != kept]


def _finding(kind: Kind, entry: Entry, job: JobId | None, text: str, mended: bool) -> Finding:
    return Finding(kind=kind, cluster=entry.cluster, token=entry.token, job=job, text=text, mended=mended)
