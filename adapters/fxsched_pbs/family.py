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
from fxsched_pbs.replies import check_cancel, parse_selection, parse_submit
from fxsched_pbs.submission import job_name, job_script

if TYPE_CHECKING:
    from collections.abc import Iterable

    from fxsched.hosts import CommandResult
    from fxsched.jobs import JobSpec, Token
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
        """Select the jobs that bear the token's name."""
        return parse_selection(self.dialect, await self._ask("qselect", "-N", job_name(token)))

    @abstractmethod
    def _submission(self, spec: JobSpec) -> list[str]:
        """Return qsub's options for the job."""

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
