"""``ssh``: jobs as processes of one host or of several, each reached by itself; new ones go where there is least to do.

A job's id is its token and its host, ``TOKEN@HOST``: whoever has the id knows whom to ask. It also names the job's
directory, so that hosts may share a home directory or have one each.
"""

from __future__ import annotations

import random
import re
from typing import TYPE_CHECKING, ClassVar, Final, Literal, TypeVar

import anyio

from fxsched.adapter import Ability, Adapter
from fxsched.errors import (
    FxschedError,
    HostError,
    HostUnreachable,
    InvalidRequest,
    OutcomeUnknown,
    SchedulerUnavailable,
)
from fxsched.hosts.pool import Pool
from fxsched.jobs import JobId, Token
from fxsched_process.adapter import ProcessAdapter
from fxsched_process.replies import parse_burden

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping

    from fxsched.hosts import Host
    from fxsched.jobs import JobSpec, JobStatus
    from fxsched_process.replies import Burden

T = TypeVar("T")

_ID: Final = re.compile(r"([a-z2-7]{20})(?:@(\S+))?")
_REMEMBERED: Final = 10_000
"""Of how many sessions it is known where they were sent: far more than are ever on their way at once."""


class PoolAdapter(Adapter):
    """Jobs as processes of the hosts of a pool."""

    name = "the pool"
    abilities = frozenset({Ability.LIST})
    pools = True
    job_id_variable = ProcessAdapter.job_id_variable
    reserved = ProcessAdapter.reserved

    class Options(ProcessAdapter.Options, frozen=True):
        """``[clusters.NAME.options]``."""

        choice: Literal["sessions", "load", "rotation"] = "sessions"
        """Which host gets a new session: the one with the fewest of our sessions, with the least load for each core,
        or which has gone without a new one of the user's for the longest time."""
        patience: float = 3.0
        """Seconds that further hosts have to answer which could have a session, once one of them has."""

    options: Options
    _BURDENS: ClassVar[dict[str, Callable[[Burden], float]]] = {
        "sessions": lambda burden: burden.sessions,
        "load": lambda burden: burden.load / burden.cores,
        "rotation": lambda burden: burden.latest,
    }

    def __init__(self, host: Host, options: Options) -> None:
        super().__init__(host, options)
        # What is no pool stands for whichever host an id names: a test double, or the host of a dry run.
        members = host.members if isinstance(host, Pool) else {"": host}
        self._machines = {name: _Machine(member, options, name) for name, member in members.items()}
        self._sent: dict[Token, str] = {}

    # ── where ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def part(self, id: JobId) -> str:
        """Return the job's host."""
        found = _ID.fullmatch(id)
        return (found[2] or "") if found else ""

    async def host_for(self, token: Token) -> Host:
        """Choose the host that has least to do of those that answer. From here on the session is that host's."""
        return self._machines[await self._send(token)].host

    async def host_of(self, token: Token, job: JobId | None = None) -> Host:
        """Return the host that the id names, or that we chose; else ask all of them."""
        if job is not None:
            return self._machine(job).host
        if token in self._sent:
            return self._machines[self._sent[token]].host
        found, troubles = await self._of_each(self._machines, lambda machine: machine.has(token))
        for name, there in found.items():
            if there:
                return self._machines[name].host
        if troubles:
            raise HostUnreachable(f"where session {token} is could not be found out: {_text(troubles)}")
        return next(iter(self._machines.values())).host

    async def _send(self, token: Token) -> str:
        """Choose a host for a session. What was chosen longest ago is forgotten: its job's id tells it."""
        self._sent[token] = chosen = await self._choose()
        while len(self._sent) > _REMEMBERED:
            del self._sent[next(iter(self._sent))]
        return chosen

    async def _choose(self) -> str:
        if len(self._machines) == 1:
            return next(iter(self._machines))
        burdens, troubles = await self._of_each(
            self._machines, lambda machine: machine.burden(), patience=self.options.patience
        )
        if not burdens:
            raise SchedulerUnavailable(f"no host of the pool answers: {_text(troubles)}")
        weigh = self._BURDENS[self.options.choice]
        least = min(map(weigh, burdens.values()))
        return random.choice([name for name, burden in burdens.items() if weigh(burden) == least])  # noqa: S311

    def _machine(self, id: JobId) -> _Machine:
        """Return the machine that has the job.

        Raises:
            InvalidRequest: this is no id of ours.
            HostUnreachable: it was on a host that is not in the pool.
        """
        found = _ID.fullmatch(id)
        if not found:
            raise InvalidRequest(f"{id!r} is no job of a pool: their ids look like TOKEN@HOST")
        if "" in self._machines:
            return self._machines[""]
        if found[2] not in self._machines:
            raise HostUnreachable(f"job {id} is on a host that is not among the cluster's hosts: {found[2]}")
        return self._machines[found[2]]

    # ── the verbs ─────────────────────────────────────────────────────────────────────────────────────────────────

    async def submit(self, spec: JobSpec) -> JobId:
        """Start the job on its host. A second submit of the same token goes to the same one."""
        place = self._sent[spec.token] if spec.token in self._sent else await self._send(spec.token)
        return await self._machines[place].submit(spec)

    async def status(self, ids: frozenset[JobId]) -> Mapping[JobId, JobStatus]:
        """Ask each host about its own jobs, all at the same time."""
        groups: dict[str, set[JobId]] = {}
        for id in ids:
            try:
                groups.setdefault(self._machine(id).place, set()).add(id)
            except HostUnreachable as error:
                raise SchedulerUnavailable(str(error)) from error
        asked = {place: frozenset(group) for place, group in groups.items()}
        answers, troubles = await self._of_each(asked, lambda machine: machine.status(asked[machine.place]))
        if troubles:
            raise SchedulerUnavailable(_text(troubles))
        return {id: status for found in answers.values() for id, status in found.items()}

    async def cancel(self, id: JobId, token: Token | None = None) -> None:
        """End the job's members, on its host."""
        await self._machine(id).cancel(id, token)

    async def kill(self, id: JobId, token: Token | None = None) -> None:
        """End the job's members by KILL, on its host."""
        await self._machine(id).kill(id, token)

    async def find(self, token: Token) -> tuple[JobId, ...]:
        """Look for the job's directory: on the host that it was sent to, or, where we do not know, on all of them."""
        names = [self._sent[token]] if token in self._sent else list(self._machines)
        answers, troubles = await self._of_each(names, lambda machine: machine.find(token))
        found = dict.fromkeys(id for ids in answers.values() for id in ids)
        if troubles and not found:
            raise SchedulerUnavailable(_text(troubles))
        return tuple(found)

    async def submissions(self) -> dict[Token, tuple[JobId, ...]]:
        """List the jobs' directories on all hosts."""
        answers, troubles = await self._of_each(self._machines, lambda machine: machine.submissions())
        if troubles:
            raise SchedulerUnavailable(_text(troubles))
        found: dict[Token, dict[JobId, None]] = {}
        for jobs in answers.values():
            for token, ids in jobs.items():
                found.setdefault(token, {}).update(dict.fromkeys(ids))
        return {token: tuple(ids) for token, ids in found.items()}

    async def _of_each(
        self, names: Iterable[str], ask: Callable[[_Machine], Awaitable[T]], *, patience: float | None = None
    ) -> tuple[dict[str, T], list[FxschedError]]:
        """Ask several machines at the same time; return what they said, and what was wrong with the others.

        With ``patience``, those that have not answered so many seconds after the first one count as silent.
        """
        answers: dict[str, T] = {}
        troubles: list[FxschedError] = []

        async def one(name: str) -> None:
            try:
                answers[name] = await ask(self._machines[name])
            except FxschedError as error:  # kept out of the task group, which would wrap it
                troubles.append(error)
                return
            if patience is not None:
                tasks.cancel_scope.deadline = min(tasks.cancel_scope.deadline, anyio.current_time() + patience)

        async with anyio.create_task_group() as tasks:
            for name in names:
                tasks.start_soon(one, name)
        for error in troubles:
            if not isinstance(error, SchedulerUnavailable | HostError | OutcomeUnknown):
                raise error
        return answers, troubles


class _Machine(ProcessAdapter):
    """One host of the pool. The ids of its jobs tell its name."""

    def __init__(self, host: Host, options: PoolAdapter.Options, place: str) -> None:
        super().__init__(host, options)
        self.place = place
        self.name = place or "the host"

    def id_of(self, token: Token) -> JobId:
        return JobId(f"{token}@{self.place}" if self.place else token)

    async def burden(self) -> Burden:
        """Return how much there is to do on this host."""
        return parse_burden(await self._answer("burden"), self.host.label)

    async def has(self, token: Token) -> bool:
        """Whether a session's directory is there."""
        return await self._answer("session", token) == "yes\n"


def _text(troubles: Iterable[FxschedError]) -> str:
    return "; ".join(dict.fromkeys(map(str, troubles)))
