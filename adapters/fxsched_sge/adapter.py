"""``sge``: jobs in Grid Engine, through its own commands, on any host that has them.

Written against Grid Engine 8.1.9 (Son of Grid Engine, as Debian has it); sources are its man pages and recorded output.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from fxsched.adapter import Ability, Adapter
from fxsched.errors import (
    HostError,
    InvalidRequest,
    OutcomeUnknown,
    PartlyUnavailable,
    SchedulerError,
    SchedulerUnavailable,
)
from fxsched.jobs import EndCause, JobId, JobState, JobStatus
from fxsched.kit import by_token, complaint_of, last_line, token_of
from fxsched_sge import accounts, replies
from fxsched_sge.submission import SiteResources, qsub_options, qsub_script

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from fxsched.hosts import CommandResult, Host
    from fxsched.jobs import JobSpec, Token

_ID: Final = re.compile(r"\d+", re.ASCII)
_USER: Final = re.compile(r"\S+")
# Times without a zone are the reader's: so the reader's zone is set.
_READING: Final = {"TZ": "UTC"}
_OURS: Final = f"*.{'[a-z2-7]' * 20}"
"""The names that our jobs have, as a pattern for qacct."""
FEW: Final = 4
"""Up to here, ended jobs are looked up in the accounts one by one; each time, qacct reads through all of them."""
EXPLAINED: Final = 40
"""Up to here, waiting jobs are asked for their reasons: that is some kilobytes for each."""
CHUNK: Final = 2000
"""Ids in one command line: well inside the limit of 128 KiB for one word."""


class GridEngineAdapter(Adapter):
    """Grid Engine through qsub, qstat, qacct and qdel."""

    name = "Grid Engine"
    abilities = frozenset({Ability.LIST})
    keeps = ("SGE_ROOT", "SGE_CELL", "SGE_ARCH", "SGE_QMASTER_PORT", "SGE_EXECD_PORT", "SGE_CLUSTER_NAME")
    job_id_variable = "JOB_ID"
    reserved = ("SGE_", "JOB_ID", "JOB_NAME", "JOB_SCRIPT", "PE_HOSTFILE", "NSLOTS", "NHOSTS", "NQUEUES", "RESTARTED")

    class Options(SiteResources, frozen=True, kw_only=True):
        """``[clusters.NAME.options]``; what resources are called stands in ``SiteResources``."""

        clear: bool = False
        """Whether to begin with ``-clear``: without the site's and the user's defaults for qsub (``sge_request``)."""
        accounting: bool | None = None
        """Whether to ask qacct how jobs ended; None: where it can read the accounts."""
        accounting_delay: float = 20.0
        """Seconds until an end is in the accounts: ``accounting_flush_time`` (else ``flush_time``, 15 s unless the site
        sets it) and a little more."""
        accounting_days: int = 30
        """How many days of accounts to look through where many ended jobs are asked for at once."""
        explain: bool = True
        """Whether to ask why jobs wait: one more command while there is one. It tells nothing where the scheduler is
        configured with ``schedd_job_info false``."""
        commands: dict[str, str] = {}  # noqa: RUF012 - msgspec copies it
        """Paths of commands that are not on PATH, as in ``qsub = "/opt/sge/bin/lx-amd64/qsub"``."""
        native: tuple[str, ...] = ()
        """Further options of every qsub, before the profile's own."""
        deadline: float = 30.0
        """Seconds that a command may take. Grid Engine's own wait for minutes while the qmaster hangs."""
        submit_deadline: float = 60.0
        """Seconds that qsub may take."""

    options: Options
    _user: str = ""

    def __init__(self, host: Host, options: Options) -> None:
        super().__init__(host, options)
        self.end_lag = 0.0 if options.accounting is False else options.accounting_delay

    async def submit(self, spec: JobSpec) -> JobId:
        """Run qsub with the script on standard input."""
        spec = replace(spec, native=(*self.options.native, *spec.native))
        argv = [self._program("qsub"), *qsub_options(spec, self.options, clear=self.options.clear)]
        result = await self.host.run(argv, stdin=qsub_script(spec), deadline=self.options.submit_deadline)
        return replies.parse_submit(result)

    async def status(self, ids: frozenset[JobId]) -> Mapping[JobId, JobStatus]:
        """List the user's own jobs, which include those that ended lately; then ask what the list leaves open.

        It hides jobs where the site's or the user's ``sge_qstat`` says so, and it has no reasons: ``qstat -j`` has
        both. How a job ended is in the accounts. One of ours that is parked for ever ("Eqw") is removed and has failed.
        """
        for id in ids:
            _check(id)
        if not ids:
            return {}
        listed = replies.parse_list(await self._list())
        found = {id: listed[id] for id in ids if id in listed}
        await self._look_closer(found, ids)
        over = [id for id in ids if id not in found or found[id].cause is EndCause.UNKNOWN]
        try:
            ends = await self._accounts(over)
        except SchedulerUnavailable as error:
            partly = PartlyUnavailable(str(error))
            partly.answers = {id: status for id, status in found.items() if id not in over}
            raise partly from error
        for id in over:
            if id in ends and _same_job(ends[id], found.get(id)):
                found[id] = ends[id]
        return {id: found.get(id) or JobStatus(id=id, state=JobState.GONE, source="qstat") for id in ids}

    async def cancel(self, id: JobId, token: Token | None = None) -> None:
        """Run qdel, for which a job that has ended or never was does not exist."""
        _check(id)
        replies.check_cancel(id, await self.host.run([self._program("qdel"), id], deadline=self.options.deadline))

    async def find(self, token: Token) -> tuple[JobId, ...]:
        """Look through the names of the user's own jobs; then, to be sure, for the one name; then in the accounts."""
        found = (await self.submissions()).get(token, ())
        if not found:
            known = await self._details([f"*.{token}"])
            found = by_token((detail.id, detail.name) for detail in known.values()).get(token, ())
        if not found:
            ends = await self._read(await self._qacct("-j", f"*.{token}"))
            found = by_token((end.id, end.name) for end in ends.values()).get(token, ())
        return found

    async def submissions(self) -> dict[Token, tuple[JobId, ...]]:
        """Look through the names of the user's own jobs, live and ended lately."""
        return replies.parse_names(await self._list())

    async def _look_closer(self, found: dict[JobId, JobStatus], ids: frozenset[JobId]) -> None:
        """Ask for what the list does not show, and why jobs wait or were parked.

        Of a job that runs, the list has no submit time: where its name is not ours any more, that tells whose it is.
        """
        waiting = [id for id, s in found.items() if s.state in (JobState.QUEUED, JobState.HELD)]
        parked = [id for id in waiting if replies.parked_status(found[id])]
        explained = waiting if self.options.explain and len(waiting) <= EXPLAINED else parked
        renamed = [id for id, s in found.items() if s.submitted_at is None and token_of(s.name) is None]
        wanted = sorted({*(ids - found.keys()), *explained, *renamed})
        known: dict[JobId, replies.Detail] = {}
        for begin in range(0, len(wanted), CHUNK):
            known |= await self._details(wanted[begin : begin + CHUNK])
        for id in parked:
            # By its name, not by its id alone: ids come again, and this one may be of the user's own work.
            if token_of(found[id].name):
                found[id] = await self._remove(found[id], known.get(id))
        user_holds: Iterable[JobId] = ()
        held = [id for id in explained if found[id].state is JobState.HELD and id not in parked]
        if any(not known[id].after_others for id in held if id in known):
            user_holds = replies.parse_list(await self._list("hu"))
        for id, detail in known.items():
            if id in ids and id not in found:
                found[id] = replies.status_from(detail)
            elif id in renamed:
                found[id] = replace(found[id], submitted_at=detail.submitted_at)
            elif id in explained and not found[id].reason:
                reason = replies.why_it_waits(found[id], detail, held_by_user=id in user_holds)
                found[id] = replace(found[id], reason=reason)

    async def _remove(self, status: JobStatus, detail: replies.Detail | None) -> JobStatus:
        """Delete a job that is parked. It has failed; were it left, an administrator might start it next week."""
        end = replies.ended_in_error(status, detail)
        try:
            await self.cancel(status.id)
        except (SchedulerError, HostError, OutcomeUnknown):
            return replace(status, reason=end.reason)  # still there: it must be asked for again
        return end

    async def _accounts(self, ids: list[JobId]) -> dict[JobId, JobStatus]:
        """Return how jobs ended, of those that the accounts know yet."""
        if len(ids) > FEW:
            text = await self._qacct("-d", str(self.options.accounting_days), "-j", _OURS)
        else:
            text = "\n".join([await self._qacct("-j", id) for id in ids])
        return await self._read(text)

    async def _read(self, text: str) -> dict[JobId, JobStatus]:
        """Return the ends of the user's own jobs: the books have everybody's."""
        owner = await self._me() if text.strip() else ""
        return accounts.parse_accounts(text, self.options.memory_per, owner=owner)

    async def _qacct(self, *options: str) -> str:
        """Return what qacct says; nothing where there are no accounts.

        Raises:
            SchedulerUnavailable: there are or must be accounts, and they could not be read this time.
        """
        if self.options.accounting is False:
            return ""
        try:
            return accounts.records(await self._ask("qacct", *options))
        except SchedulerUnavailable as error:
            if self.options.accounting or not accounts.has_no_accounts(error):
                raise
            return ""

    async def _list(self, states: str = "az") -> str:
        """Return the list of the user's own jobs: in all states, those that ended lately among them."""
        return replies.listing(await self._ask("qstat", "-xml", "-u", "$user", "-s", states))

    async def _details(self, which: Iterable[str]) -> dict[JobId, replies.Detail]:
        which = ",".join(which)
        if not which:
            return {}
        known = replies.parse_details(replies.details(await self._ask("qstat", "-xml", "-j", which)))
        owner = await self._me() if known else ""
        # It shows everybody's. Of one whose owner is not told, it is not known that it is somebody else's.
        return {id: detail for id, detail in known.items() if detail.owner in ("", owner)}

    async def _me(self) -> str:
        """Return what the user is called whose jobs these are: the one that the commands run as on the host."""
        if not self._user:
            result = await self.ask(["id", "-un"], deadline=self.options.deadline)
            found = last_line(_USER, result.text)
            if result.exit_code or not found:
                raise SchedulerUnavailable(f"whose jobs are ours could not be asked: {complaint_of(result)}")
            self._user = found[0]
        return self._user

    async def _ask(self, command: str, *options: str) -> CommandResult:
        argv = [self._program(command), *options]
        return await self.ask(argv, environment=_READING, deadline=self.options.deadline)

    def _program(self, name: str) -> str:
        return self.options.commands.get(name, name)


def _check(id: JobId) -> None:
    if not _ID.fullmatch(id):
        raise InvalidRequest(f"{id!r} is not a Grid Engine job id")


def _same_job(end: JobStatus, listed: JobStatus | None) -> bool:
    """Whether an account is of the job in the list: ids come again, and accounts are kept for years."""
    return listed is None or not listed.name or listed.name == end.name
