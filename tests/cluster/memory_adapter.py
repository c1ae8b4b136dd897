"""A scheduler in memory: what happens when the cluster talks to it is written down, and goes wrong as planned."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Awaitable, Callable, Mapping
from copy import copy
from typing import Any

import anyio
from msgspec import Struct
from msgspec.structs import replace

from fxsched.adapter import Adapter
from fxsched.errors import SchedulerUnavailable
from fxsched.hosts import Host
from fxsched.jobs import EndCause, JobId, JobSpec, JobState, JobStatus, Token


class Trouble(Struct, frozen=True):
    """What the next call of a verb does in place of its work: make some jobs, perhaps, and then raise."""

    error: Exception
    jobs: int = 0


class MemoryAdapter(Adapter):
    """Jobs are entries of a dictionary; they stand as the test puts them."""

    name = "Memory"
    job_id_variable = "MEMORY_JOB"
    unset = ("MEMORY_UNWANTED",)
    reserved = ("MEMORY_",)

    def __init__(self, host: Host, options: Any = None) -> None:
        super().__init__(host, options)
        self.jobs: dict[JobId, JobStatus] = {}
        self.tokens: dict[JobId, Token] = {}
        self.specs: list[JobSpec] = []
        self.calls: list[tuple[str, Any]] = []
        self.plans: dict[str, deque[Trouble | None]] = defaultdict(deque)
        self.during_submit: Callable[[], Awaitable[None]] | None = None
        self.cancel_works = True

    def plan(self, verb: str, *troubles: Trouble | Exception | None) -> None:
        """Let the next calls of ``verb`` go wrong, one after the other; None is a call that goes well."""
        self.plans[verb].extend(Trouble(each) if isinstance(each, Exception) else each for each in troubles)

    def asked(self, verb: str) -> list[Any]:
        """Return what ``verb`` was called with."""
        return [argument for name, argument in self.calls if name == verb]

    def put(self, id: str, state: JobState, **members: Any) -> None:
        """Let a job stand in that state; an end has some cause."""
        if state is JobState.ENDED:
            members.setdefault("cause", EndCause.UNKNOWN)
        self.jobs[JobId(id)] = JobStatus(id=JobId(id), state=state, source="memory", **members)

    async def submit(self, spec: JobSpec) -> JobId:
        self.specs.append(spec)
        self.calls.append(("submit", spec.token))
        if self.during_submit:
            await self.during_submit()
        trouble = self._next("submit")
        made = [self._make(spec.token) for _ in range(trouble.jobs if trouble else 1)]
        if trouble:
            raise copy(trouble.error)
        return made[0]

    async def status(self, ids: frozenset[JobId]) -> Mapping[JobId, JobStatus]:
        self._meet("status", ids)
        return {id: self.jobs.get(id) or JobStatus(id=id, state=JobState.GONE, source="memory") for id in ids}

    async def cancel(self, id: JobId, token: Token | None = None) -> None:
        self._meet("cancel", id)
        if id in self.jobs and self.cancel_works:
            self.jobs[id] = replace(self.jobs[id], state=JobState.ENDED, cause=EndCause.CANCELLED)

    async def find(self, token: Token) -> tuple[JobId, ...]:
        self._meet("find", token)
        return tuple(id for id, own in self.tokens.items() if own == token)

    def _make(self, token: Token) -> JobId:
        id = JobId(str(len(self.jobs) + 1))
        self.put(id, JobState.QUEUED)
        self.tokens[id] = token
        return id

    def _meet(self, verb: str, argument: Any) -> None:
        self.calls.append((verb, argument))
        trouble = self._next(verb)
        if trouble:
            raise copy(trouble.error)  # a scheduler says the same again, but in another error

    def _next(self, verb: str) -> Trouble | None:
        return self.plans[verb].popleft() if self.plans[verb] else None


class PartsAdapter(MemoryAdapter):
    """A scheduler of several parts: that of a job is what stands before the dot of its id."""

    hangs: frozenset[str] = frozenset()
    down: frozenset[str] = frozenset()

    def part(self, id: JobId) -> str:
        return id.partition(".")[0]

    async def status(self, ids: frozenset[JobId]) -> Mapping[JobId, JobStatus]:
        [part] = {self.part(id) for id in ids}
        if part in self.hangs:
            await anyio.sleep_forever()
        if part in self.down:
            raise SchedulerUnavailable(f"no route to {part}")
        return await super().status(ids)
