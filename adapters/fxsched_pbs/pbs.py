"""``pbs``: jobs in OpenPBS and PBS Professional, through their own commands, on any host that has them.

Written against OpenPBS 23.06.06; sources are its man pages, its source, and recorded output.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from fxsched_pbs.family import PbsFamily
from fxsched_pbs.records import read_json, read_text
from fxsched_pbs.replies import (
    NO_HISTORY,
    OPENPBS,
    check_answer,
    gone,
    no_answer,
    parse_selection,
    parse_status,
    record_of,
    says_unknown,
)
from fxsched_pbs.submission import openpbs_options

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fxsched.hosts import CommandResult
    from fxsched.jobs import JobId, JobSpec, JobStatus, Token
    from fxsched_pbs.records import Record

FEW: Final = 4
"""So many jobs that have ended are asked for one by one. Each is a connection from a privileged port, of which a
machine has few: one qstat with 1,000 ids took 127 s (23.06), and one for everything, history and all, 0.06 s."""
_NO_SUCH_FORM: Final = b"invalid option"


class PbsAdapter(PbsFamily):
    """OpenPBS and PBS Professional through qsub, qstat, qselect and qdel."""

    name = "PBS"
    keeps = ("PBS_CONF_FILE", "PBS_SERVER")
    dialect = OPENPBS
    _json = True
    _history = True

    async def status(self, ids: frozenset[JobId]) -> Mapping[JobId, JobStatus]:
        """Ask for the one job, or list all that live; what is not among them is asked for by itself.

        So a poll is one qstat, and each end costs one more. A list with history holds everybody's jobs of two weeks.
        """
        self._check(ids)
        if len(ids) == 1:
            return {id: await self._alone(id) for id in ids}
        if not ids:
            return {}
        found = _listed(ids, await self._list(history=False))
        many = len(ids - found.keys()) > FEW
        if many and self._history:
            found |= _listed(ids - found.keys(), await self._list(history=True))
        for id in ids - found.keys():
            # A list tells of its own server's jobs only, and of their arrays.
            alone = not many or "@" in id
            found[id] = (await self._look(id) if alone else None) or gone(id)
        return found

    async def find(self, token: Token) -> tuple[JobId, ...]:
        """Select the jobs that bear the token's name, among those that have ended too where PBS remembers them."""
        if self._history:
            result = await self._select(token, "-x")
            if NO_HISTORY not in result.stderr:
                return parse_selection(OPENPBS, result)
            self._history = False
        return await super().find(token)

    async def submissions(self) -> dict[Token, tuple[JobId, ...]]:
        """List everybody's jobs; ours are told by their owner and their names."""
        return await self._own(await self._list(history=True))

    async def kill(self, id: JobId, token: Token | None = None) -> None:
        """Let PBS delete the job without waiting for its node."""
        await self._delete(id, "-W", "force")

    def _submission(self, spec: JobSpec) -> list[str]:
        return openpbs_options(spec)

    async def _look(self, id: JobId) -> JobStatus | None:
        result, records = await self._qstat(id, history=True)
        if says_unknown(id, result):
            return None
        check_answer(OPENPBS, result)
        status = parse_status(OPENPBS, id, record_of(id, records, alone=True))
        if status is None:
            raise no_answer(OPENPBS, f"qstat says nothing of job {id}, which may be hidden from you")
        return status

    async def _list(self, *, history: bool) -> dict[str, Record]:
        result, records = await self._qstat(history=history)
        check_answer(OPENPBS, result)
        return records

    async def _qstat(self, *ids: str, history: bool) -> tuple[CommandResult, dict[str, Record]]:
        """Run qstat in the form that can be read, and with history where there is any; return what the jobs say.

        Raises:
            SchedulerUnavailable: it could not be run, or printed something else.
        """
        for _ in range(3):
            past = ["-x"] if history and self._history else []
            form = ["-F", "json"] if self._json else []
            result = await self._ask("qstat", *past, "-f", *form, *ids)
            if past and NO_HISTORY in result.stderr:
                self._history = False
            elif form and result.exit_code and _NO_SUCH_FORM in result.stderr:
                self._json = False
            elif result.exit_code:
                break
            else:
                return result, await self._read(result, past, ids)
        return result, {}

    async def _read(self, result: CommandResult, past: list[str], ids: tuple[str, ...]) -> dict[str, Record]:
        """Return the jobs of a reply; of a JSON that cannot be read, ask for the text form.

        One user's job can spoil everybody's JSON. It cannot be the reason where there is no job, so text without any
        is no answer then.
        """
        if not self._json:
            return _text(result)
        try:
            return read_json(result.text)
        except ValueError:
            again = await self._ask("qstat", *past, "-f", *ids)
            check_answer(OPENPBS, again)
            try:
                return read_text(again.text)
            except ValueError as error:
                raise no_answer(OPENPBS, f"qstat's reply cannot be read, {error}: {result.text[-200:]!r}") from error


def _listed(ids: frozenset[JobId], records: Mapping[str, Record]) -> dict[JobId, JobStatus]:
    return {id: status for id in ids if (status := parse_status(OPENPBS, id, record_of(id, records)))}


def _text(result: CommandResult) -> dict[str, Record]:
    """Return the jobs in the text form where there is no other; nothing at all says that there is none."""
    try:
        return read_text(result.text) if result.stdout else {}
    except ValueError as error:
        raise no_answer(OPENPBS, f"qstat's reply cannot be read, {error}: {result.text[-200:]!r}") from error
