"""What the adapters for OpenPBS and Torque have in common: qsub, qselect and qdel, and their options."""

from __future__ import annotations

import re
from abc import abstractmethod
from typing import TYPE_CHECKING, ClassVar, Final

from msgspec import Struct
from msgspec.structs import replace

from fxsched.adapter import Ability, Adapter
from fxsched.errors import InvalidRequest
from fxsched.jobs import JobId
from fxsched.kit import by_token
from fxsched_pbs.replies import array_of, check_cancel, gone, owner_of, parse_selection, parse_submit
from fxsched_pbs.submission import job_name, job_script

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from fxsched.hosts import CommandResult
    from fxsched.jobs import JobSpec, JobStatus, Token
    from fxsched_pbs.records import Record
    from fxsched_pbs.replies import Dialect

_ID: Final = re.compile(
    r"\d{1,12}(\[\d{0,9}\])?(\.[A-Za-z0-9][A-Za-z0-9_.-]*)?(@[A-Za-z0-9][A-Za-z0-9_.-]*)?", re.ASCII
)
# Times without a zone are the reader's: so the reader's zone is set.
_READING: Final = {"TZ": "UTC"}


class PbsFamily(Adapter):
    """A server that qsub, qselect and qdel reach."""

    abilities = frozenset({Ability.LIST})

    job_id_variable = "PBS_JOBID"
    reserved = ("PBS_",)
    # The server itself takes the job, lists it, and keeps how it ended: what it has told, it can tell at once.
    lag = 0.0
    end_lag = 0.0

    class Options(Struct, frozen=True):
        """``[clusters.NAME.options]``, the same for both."""

        commands: dict[str, str] = {}
        """Paths of commands that are not on PATH, as in ``qsub = "/opt/pbs/bin/qsub"``."""
        native: tuple[str, ...] = ()
        """Further options of every qsub, before the profile's own."""
        deadline: float = 30.0
        """Seconds that a command may take. PBS's own never give up while the server hangs."""
        submit_deadline: float = 60.0
        """Seconds that qsub may take."""

    options: Options
    dialect: ClassVar[Dialect]

    async def submit(self, spec: JobSpec) -> JobId:
        """Run qsub with the script on standard input."""
        argv = self._command("qsub", *self._submission(replace(spec, native=(*self.options.native, *spec.native))))
        result = await self.host.run(argv, stdin=job_script(spec), deadline=self.options.submit_deadline)
        return parse_submit(self.dialect, result)

    async def cancel(self, id: JobId, token: Token | None = None) -> None:
        """Run qdel. It is given one job only: OpenPBS 23.06's server crashes over one it knows and one it does not."""
        await self._delete(id)

    async def find(self, token: Token) -> tuple[JobId, ...]:
        """Select the user's own jobs that bear the token's name."""
        return parse_selection(self.dialect, await self._select(token))

    async def _select(self, token: Token, *options: str) -> CommandResult:
        """Run qselect for a token. Behind an "@" it would look for a host, which may be part of a user's own name."""
        owner = (await self.owner()).partition("@")[0]
        return await self._ask("qselect", *options, "-u", owner, "-N", job_name(token))

    async def _own(self, records: Mapping[str, Record]) -> dict[Token, tuple[JobId, ...]]:
        """Return the user's own jobs among everybody's, by token. PBS lists nothing less in full."""
        owner = await self.owner()
        own = {id: record for id, record in records.items() if owner_of(record) == owner}
        return by_token((id, record.get("job_name", "")) for id, record in own.items())

    @abstractmethod
    def _submission(self, spec: JobSpec) -> list[str]:
        """Return qsub's options for the job."""

    @abstractmethod
    async def _look(self, id: JobId) -> JobStatus | None:
        """Ask for one job, with which the answer must deal; return None if there is none."""

    async def _alone(self, id: JobId) -> JobStatus:
        """Ask for one job, and where there is none for the array of that number."""
        array = array_of(id)
        status = await self._look(id) or (await self._look(array) if array else None)
        return replace(status, id=id) if status else gone(id)

    async def _delete(self, id: JobId, *options: str) -> None:
        self._check([id])
        argv = self._command("qdel", *options, id)
        check_cancel(self.dialect, id, await self.host.run(argv, deadline=self.options.deadline))

    async def _ask(self, command: str, *options: str) -> CommandResult:
        return await self.ask(self._command(command, *options), environment=_READING, deadline=self.options.deadline)

    def _check(self, ids: Iterable[JobId]) -> None:
        for id in ids:
            if not _ID.fullmatch(id):
                raise InvalidRequest(f"{id!r} is not a {self.name} job id")

    def _command(self, name: str, *options: str) -> list[str]:
        return [self.options.commands.get(name, name), *options]
