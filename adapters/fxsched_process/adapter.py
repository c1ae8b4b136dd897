"""``local``: a job is a process of the host, with a session of its own and a supervisor that writes down its end.

There is no queue and nothing to be asked for but a walltime. A job outlives the launcher and the connection; its state
is on disk. Everything happens in ``jobs.sh``, run through ``Host.run`` with POSIX sh, and so works on any host.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Final

from msgspec import Meta, Struct

from fxsched.adapter import Ability, Adapter
from fxsched.errors import CancelRefused, OutcomeUnknown, SchedulerUnavailable, SubmitRejected
from fxsched.jobs import JobId, Token
from fxsched.kit import refuse
from fxsched_process.replies import parse_status

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fxsched.hosts import CommandResult
    from fxsched.jobs import JobSpec, JobStatus


_NOT_GRANTED: Final = (
    *("queue", "account", "qos", "reservation", "constraint", "exclusive", "native"),
    *("nodes", "cores", "memory", "gpus"),
)


_ID: Final = re.compile(r"[a-z2-7]{20}(?:@\S+)?")
# Exit statuses of jobs.sh.
_REFUSED: Final = 1
_UNSEEN: Final = 74
_ELSEWHERE: Final = 77


@cache
def _program() -> str:
    return Path(__file__).with_name("jobs.sh").read_text()


class ProcessAdapter(Adapter):
    """Jobs as processes of the host."""

    name = "this host"
    abilities = frozenset({Ability.LIST})
    job_id_variable = "FXSCHED_JOB"
    reserved = ("FXSCHED_JOB",)
    inherits_environment = True

    class Options(Struct, frozen=True):
        """``[clusters.NAME.options]``."""

        grace: Annotated[int, Meta(ge=0)] = 5
        """Seconds between TERM and KILL when a job is cancelled or its walltime is over."""
        deadline: float = 30.0
        """Seconds that a command may take."""

    options: Options
    _SPARE: ClassVar[int] = 15

    async def submit(self, spec: JobSpec) -> JobId:
        """Start the supervisor. The token makes the id: a second submit of the same one finds the job there."""
        refuse(spec, *_NOT_GRANTED, whose="a host without a scheduler")
        id = self.id_of(spec.token)
        result = await self.host.run(
            self._command(
                "submit",
                id,
                str(spec.resources.walltime or 0),
                str(self.options.grace),
                spec.working_directory or "/",
                spec.output or "/dev/null",
                _program(),
            ),
            stdin=spec.script,
            deadline=self.options.deadline,
        )
        if result.exit_code == _REFUSED:
            raise SubmitRejected(f"the job could not be started on {self.host.label}: {result.complaint}")
        self._check(result, "the job could not be started")
        return id

    def id_of(self, token: Token) -> JobId:
        """Return the id of the job that a token makes; it begins with the token."""
        return JobId(token)

    async def status(self, ids: frozenset[JobId]) -> Mapping[JobId, JobStatus]:
        """Look each job's supervisor up in ``/proc``. A pid alone proves nothing: start time and boot must match."""
        result = await self.ask(self._command("status", *sorted(ids)), deadline=self.options.deadline)
        found = parse_status(result.text)
        if result.exit_code or ids - found.keys():
            raise SchedulerUnavailable(f"the jobs on {self.host.label} could not be looked up: {result.complaint}")
        return found

    async def cancel(self, id: JobId, token: Token | None = None) -> None:
        """End the job's members: TERM, then KILL after the grace time."""
        await self._end(id, "TERM", "KILL")

    async def kill(self, id: JobId, token: Token | None = None) -> None:
        """End the job's members by KILL, at once: where the machine is slow, TERM and its grace time took too long."""
        await self._end(id, "KILL")

    async def _end(self, id: JobId, *signals: str) -> None:
        grace = self.options.grace
        result = await self.host.run(
            self._command("cancel", id, str(grace), *signals), deadline=2 * grace + self._SPARE
        )
        if result.exit_code == _ELSEWHERE:
            raise CancelRefused(f"job {id} could not be cancelled on {self.host.label}: {result.complaint}")
        self._check(result, f"job {id} could not be cancelled")

    def _check(self, result: CommandResult, trouble: str) -> None:
        """Raise unless the program did what it was to do."""
        if result.exit_code == _UNSEEN:
            raise SchedulerUnavailable(f"{trouble} on {self.host.label}: {result.complaint}")
        if result.exit_code:
            said = result.complaint or "it said nothing"
            raise OutcomeUnknown(f"perhaps {trouble} on {self.host.label}: exit code {result.exit_code}, {said}")

    async def find(self, token: Token) -> tuple[JobId, ...]:
        """Look for the job's directory. A submit that was cut off before its job had begun has none that counts."""
        return _by_token(await self._answer("find_job", token)).get(token, ())

    async def submissions(self) -> dict[Token, tuple[JobId, ...]]:
        """List the jobs' directories: they are named by the ids."""
        return _by_token(await self._answer("list"))

    async def _answer(self, *arguments: str) -> str:
        """Return what the program says; it must not fail."""
        result = await self.ask(self._command(*arguments), deadline=self.options.deadline)
        if result.exit_code:
            raise SchedulerUnavailable(f"the jobs on {self.host.label} could not be looked up: {result.complaint}")
        return result.text

    @staticmethod
    def _command(*arguments: str) -> list[str]:
        return ["/bin/sh", "-c", _program(), "fxsched", *arguments]


def _by_token(text: str) -> dict[Token, tuple[JobId, ...]]:
    """Return the ids in a list of directories, by the tokens that they begin with."""
    found: dict[Token, tuple[JobId, ...]] = {}
    for id in filter(_ID.fullmatch, text.split("\n")):
        token = Token(id.partition("@")[0])
        found[token] = (*found.get(token, ()), JobId(id))
    return found
