"""``torque``: jobs in Torque, through its own commands, on any host that has them.

Written against Torque 6.1.3; sources are its man pages, its source, and recorded output.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fxsched_pbs.family import PbsFamily
from fxsched_pbs.records import read_xml
from fxsched_pbs.replies import TORQUE, check_answer, gone, no_answer, parse_status, record_of, says_unknown
from fxsched_pbs.submission import torque_options

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fxsched.hosts import CommandResult
    from fxsched.jobs import JobId, JobSpec, JobStatus, Token
    from fxsched_pbs.records import Record


class TorqueAdapter(PbsFamily):
    """Torque through qsub, qstat, qselect and qdel."""

    name = "Torque"
    keeps = ("PBS_DEFAULT",)
    dialect = TORQUE

    async def status(self, ids: frozenset[JobId]) -> Mapping[JobId, JobStatus]:
        """Ask for the one job, or list all: each id more is a request of its own to the server.

        What has ended stays listed for ``keep_completed`` seconds.
        """
        self._check(ids)
        if len(ids) == 1:
            return {id: await self._alone(id) for id in ids}
        if not ids:
            return {}
        listed = await self._list()
        found = {id: status for id in ids if (status := parse_status(TORQUE, id, record_of(id, listed)))}
        for id in ids - found.keys():
            # A list tells of its own server's jobs only.
            found[id] = (await self._look(id) if "@" in id else None) or gone(id)
        return found

    async def submissions(self) -> dict[Token, tuple[JobId, ...]]:
        """List everybody's jobs; ours are told by their owner and their names."""
        return await self._own(await self._list())

    def _submission(self, spec: JobSpec) -> list[str]:
        return torque_options(spec)

    async def _look(self, id: JobId) -> JobStatus | None:
        result = await self._ask("qstat", "-x", id)
        if says_unknown(id, result):
            return None
        status = parse_status(TORQUE, id, record_of(id, _records(result), alone=True))
        if status is None:
            raise no_answer(TORQUE, f"qstat says nothing of job {id}: {result.text[-200:]!r}")
        return status

    async def _list(self) -> dict[str, Record]:
        """List everybody's jobs. Nothing at all is printed where there are none."""
        result = await self._ask("qstat", "-x")
        return _records(result) if result.exit_code or result.stdout else {}


def _records(result: CommandResult) -> dict[str, Record]:
    check_answer(TORQUE, result)
    try:
        return read_xml(result.text)
    except ValueError as error:
        raise no_answer(TORQUE, f"qstat's reply cannot be read, {error}: {result.text[-200:]!r}") from error
