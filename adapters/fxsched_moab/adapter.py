"""``moab``: jobs that Moab or Maui schedules, and that Torque, Slurm or another resource manager runs.

Moab decides when a job starts; the resource manager knows how it runs and how it ended. So the resource manager is
asked first, through its own adapter, and Moab only about jobs that wait or that the resource manager does not know
(yet, or any more). Moab itself could not be run: this is written against its documentation, published output of its
commands, and recorded output of Maui 3.5.
"""

from __future__ import annotations

from collections import defaultdict
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, Literal

from msgspec import Struct
from msgspec.structs import replace

from fxsched.adapter import Ability, Adapter
from fxsched.errors import CancelRefused, ConfigurationError, OutcomeUnknown, SchedulerUnavailable
from fxsched.jobs import JobId, JobState, JobStatus, Token
from fxsched.kit import token_of
from fxsched.registry import load_adapter
from fxsched.strict import convert_options
from fxsched_moab.ids import job_id, number, split_id
from fxsched_moab.replies import check_cancel, explained, is_forbidden, listing, parse_submit
from fxsched_moab.rows import Row, parse_showq, row_of, status_of, waiting
from fxsched_moab.submission import job_script, msub_options

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from fxsched.hosts import Host
    from fxsched.jobs import JobSpec

_WAITS: Final = (JobState.QUEUED, JobState.HELD)
_OVER: Final = (JobState.ENDED, JobState.GONE)
FEW: Final = 8
"""Maui's checkjob takes one id and 0.1 s: of more waiting jobs, only so many are told why they wait."""
PATIENCE: Final = 5.0
"""Seconds that it may take to learn why a job waits, when the resource manager has said that it does."""


class MoabAdapter(Adapter):
    """Moab through msub, showq and canceljob, or Maui through checkjob; and the resource manager below."""

    name = "Moab"
    # A host keeps them before it is known which resource manager there is.
    keeps = ("MOABHOMEDIR", "MAUIHOMEDIR", "PBS_DEFAULT", "PBS_SERVER", "PBS_CONF_FILE", "SLURM_CONF", "SLURM_JWT")

    class Options(Struct, frozen=True):
        """``[clusters.NAME.options]``."""

        resource_manager: str = "torque"
        """The adapter for what runs the jobs: ``torque``, ``slurm``, …"""
        resource_manager_options: dict[str, Any] = {}
        """That adapter's own settings, as in its own ``[clusters.NAME.options]``."""
        submit: Literal["msub", "resource_manager"] = "msub"
        """Who takes jobs. Maui has no msub: there, the resource manager does, and Maui only says why a job waits."""
        commands: dict[str, str] = {}
        """Paths of commands that are not on PATH, as in ``msub = "/opt/moab/bin/msub"``."""
        native: tuple[str, ...] = ()
        """Further options of every msub (or of the resource manager's submit), before the profile's own."""
        deadline: float = 45.0
        """Seconds that a command of Moab's may take. They give up by themselves after 30 s."""
        submit_deadline: float = 90.0
        """Seconds that msub may take: it may wait for the resource manager to take the job."""

    options: Options

    def __init__(self, host: Host, options: Any) -> None:
        super().__init__(host, options)
        kind = load_adapter(options.resource_manager)
        if issubclass(kind, MoabAdapter):
            raise ConfigurationError(
                f"options.resource_manager is {options.resource_manager!r}, but must name what runs Moab's jobs: "
                '"torque" or "slurm"'
            )
        settings = convert_options(options.resource_manager_options, kind.Options, "options.resource_manager_options")
        self._manager = kind(host, settings)
        self.abilities = self._manager.abilities & {Ability.LIST}
        self.lag = self._manager.lag  # Moab itself lists a job before it hands it down
        self.end_lag = self._manager.end_lag
        self.job_id_variable = self._manager.job_id_variable
        self.unset = self._manager.unset
        self.reserved = (*self._manager.reserved, "MOAB_", "MSUB_")

    @property
    def _moab_takes_jobs(self) -> bool:
        return self.options.submit == "msub"

    # ── submit ────────────────────────────────────────────────────────────────────────────────────────────────────

    async def submit(self, spec: JobSpec) -> JobId:
        """Run msub with the script on standard input, or let the resource manager take the job."""
        spec = replace(spec, native=(*self.options.native, *spec.native))
        if not self._moab_takes_jobs:
            return await self._manager.submit(spec)
        argv = [self._path("msub"), *msub_options(spec)]
        result = await self.host.run(argv, stdin=job_script(spec), deadline=self.options.submit_deadline)
        return job_id(parse_submit(result), spec.token)

    # ── status ────────────────────────────────────────────────────────────────────────────────────────────────────

    async def status(self, ids: frozenset[JobId]) -> Mapping[JobId, JobStatus]:
        """Ask the resource manager, and Moab for what waits or is not known there.

        Moab that cannot be asked matters only for a job that the resource manager does not know.
        """
        known, unclear = await self._in_manager(ids)
        if self._moab_takes_jobs:
            known = await self._with_moab(ids, known)
        else:
            known = await self._with_maui(known)
        known = unclear | known
        return {id: known.get(id) or JobStatus(id=id, state=JobState.GONE, source="showq") for id in ids}

    async def _in_manager(self, ids: frozenset[JobId]) -> tuple[dict[JobId, JobStatus], dict[JobId, JobStatus]]:
        """Return what the resource manager knows of these jobs, of those that it knows, and what may be of them.

        Moab usually takes over the resource manager's number for its own id. So that is asked for first, and believed
        only if the job's name has the token; else the job is looked for by the token. A job of that number that lives
        and has lost its name may be ours: where nobody knows better, it is.
        """
        parts = {id: split_id(id) for id in ids}
        asked = {id: JobId(moab) for id, (moab, token) in parts.items() if token is None or moab.isdigit()}
        found, unclear = {}, {}
        for id, status in (await self._ask_manager(asked)).items():
            token = parts[id][1]
            if token is None or token_of(status.name) == token:
                found[id] = status
            elif token_of(status.name) is None and status.state not in _OVER:
                unclear[id] = status
        missing = {id: token for id, (_, token) in parts.items() if token and id not in found}
        if missing:
            jobs = await self._jobs_in_manager(missing.values())
            # Of two jobs with one token, Moab alone could tell which is meant.
            asked = {id: jobs[token][0] for id, token in missing.items() if len(jobs.get(token, ())) == 1}
            found |= await self._ask_manager(asked)
        return found, unclear

    async def _ask_manager(self, asked: Mapping[JobId, JobId]) -> dict[JobId, JobStatus]:
        """Return the status of each job that the resource manager knows, under our id. ``asked`` has its own ids.

        When it got a job of Moab's is not when that was submitted: Moab hands a job down late, or again.
        """
        statuses = await self._manager.status(frozenset(asked.values())) if asked else {}
        found = {}
        for id, own in asked.items():
            status = statuses[own]
            if status.state is not JobState.GONE:
                moab, token = split_id(id)
                same = own == id or number(own) == moab
                found[id] = replace(
                    status,
                    id=id,
                    submitted_at=None if token else status.submitted_at,
                    source=status.source if same else f"{status.source} {own}",
                )
        return found

    async def _jobs_in_manager(self, tokens: Iterable[Token]) -> Mapping[Token, tuple[JobId, ...]]:
        if Ability.LIST in self._manager.abilities:
            return await self._manager.submissions()
        return {token: await self._manager.find(token) for token in set(tokens)}

    async def _with_moab(self, ids: frozenset[JobId], known: dict[JobId, JobStatus]) -> dict[JobId, JobStatus]:
        wait = {id for id, status in known.items() if status.state in _WAITS}
        lost = ids - known.keys()
        if not wait and not lost:
            return known
        patience = self.options.deadline if lost else min(PATIENCE, self.options.deadline)
        try:
            rows = await self._showq(patience)
            if any(row_of(rows, *split_id(id)) is None for id in lost):
                rows += await self._completed()
        except SchedulerUnavailable:
            if lost:
                raise
            return known
        placed = {id: row for id in wait | lost if (row := row_of(rows, *split_id(id)))}
        # By the id that Moab has for it, the resource manager, or its accounting, may know a job that was not listed.
        below = {id: JobId(row.manager_id) for id, row in placed.items() if id in lost and row.manager_id}
        answers = await self._ask_manager(below)
        for id, status in answers.items():
            if status.name == placed[id].name:
                known[id] = replace(status, submitted_at=status_of(placed[id], id).submitted_at)
        for id, row in placed.items():
            if id not in known:
                known[id] = status_of(row, id)
            elif known[id].state in _WAITS and row.queue != "completed":
                known[id] = waiting(known[id], row)
        return known

    async def _with_maui(self, known: dict[JobId, JobStatus]) -> dict[JobId, JobStatus]:
        wait = sorted(id for id, status in known.items() if status.state in _WAITS)
        with suppress(SchedulerUnavailable):  # the resource manager has said how the job stands; this would be why
            for id in wait[:FEW]:
                result = await self.ask([self._path("checkjob"), id], deadline=min(PATIENCE, self.options.deadline))
                known[id] = explained(known[id], result, datetime.now(UTC))
        return known

    # ── cancel ────────────────────────────────────────────────────────────────────────────────────────────────────

    async def cancel(self, id: JobId, token: Token | None = None) -> None:
        """Run canceljob. What Moab does not know under this id is looked for in the resource manager, and ended there.

        A refusal, or words that nobody knows, are believed only for a job that lives: Moab's words for one that has
        ended are not known.
        """
        moab, named = split_id(id)
        if named is None:
            await self._manager.cancel(id, token)
            return
        result = await self.host.run([self._path("canceljob"), moab], deadline=self.options.deadline)
        try:
            done = check_cancel(id, result)
        except (CancelRefused, OutcomeUnknown):
            with suppress(SchedulerUnavailable):
                if (await self.status(frozenset([id])))[id].state in _OVER:
                    return
            raise
        if not done:
            for own in await self._living_in_manager(moab, named):
                await self._manager.cancel(own, named)

    async def kill(self, id: JobId, token: Token | None = None) -> None:
        """End the job by the resource manager's hardest means; where it does not know the job, cancel again."""
        moab, named = split_id(id)
        own = [id] if named is None else await self._living_in_manager(moab, named)
        for each in own:
            await self._manager.kill(each, named or token)
        if not own:
            await self.cancel(id, token)

    async def _living_in_manager(self, moab: str, token: Token) -> list[JobId]:
        """Return the resource manager's ids for a job: those with its token that Moab does not have under another."""
        found = await self._find_in_manager(token)
        statuses = await self._manager.status(frozenset(found)) if found else {}
        living = [own for own in found if statuses[own].state not in _OVER]
        same = [own for own in living if number(own) == moab]
        if same or not living:
            return same
        others = [row for row in await self._showq() if row.token == token and moab not in row.ids]
        taken = {own for row in others for own in row.ids}
        return [own for own in living if own not in taken]

    def is_same(self, id: JobId, reported: JobId) -> bool:
        """Whether it is the number of this job: what a job knows of itself is the resource manager's id."""
        return reported == id or number(reported) == split_id(id)[0]

    # ── find ──────────────────────────────────────────────────────────────────────────────────────────────────────

    async def find(self, token: Token) -> tuple[JobId, ...]:
        """Look through the names in the resource manager and in showq; where they disagree, also in what has ended."""
        if not self._moab_takes_jobs:
            return await self._manager.find(token)
        managed = await self._find_in_manager(token)
        rows = await self._showq()
        seen = {id for row in rows if row.token == token for id in row.ids}
        if not seen or any(number(own) not in seen for own in managed):
            rows += await self._completed()
        return _merged(rows, {token: managed}).get(token, ())

    async def _find_in_manager(self, token: Token) -> tuple[JobId, ...]:
        """Return the resource manager's ids of jobs with this token.

        It is asked for a list: its adapter's own find may look for a name that it gives to its own jobs alone.
        """
        found = (await self._jobs_in_manager([token])).get(token, ())
        return found or await self._manager.find(token)

    async def submissions(self) -> Mapping[Token, tuple[JobId, ...]]:
        """Look through the names of the user's own jobs in showq and in the resource manager."""
        managed = await self._manager.submissions()
        return _merged(await self._showq(), managed) if self._moab_takes_jobs else managed

    # ── commands ──────────────────────────────────────────────────────────────────────────────────────────────────

    async def _showq(self, patience: float | None = None) -> list[Row]:
        """Return the user's own jobs that wait or run."""
        return await self._rows(patience, "active", "eligible", "blocked")

    async def _completed(self) -> list[Row]:
        """Return the user's own jobs that Moab has seen end, for as long as it remembers them.

        A site may allow only administrators to ask for them: then none is remembered.
        """
        return await self._rows(None, "completed", options=["-c"])

    async def _rows(self, patience: float | None, *queues: str, options: Sequence[str] = ()) -> list[Row]:
        """Return the user's own jobs in these lists of Moab's; none of what it is forbidden to ask for.

        Their owner is looked at again: these commands ignore an option that they do not know.
        """
        owner = await self.owner()
        argv = [self._path("showq"), "--xml", *options, "-w", f"user={owner}"]
        result = await self.ask(argv, deadline=self.options.deadline if patience is None else patience)
        if options and is_forbidden(result):
            return []
        return [row for row in parse_showq(listing(result, *queues)) if row.values.get("User", owner) == owner]

    def _path(self, command: str) -> str:
        return self.options.commands.get(command, command)


def _merged(rows: list[Row], managed: Mapping[Token, tuple[JobId, ...]]) -> dict[Token, tuple[JobId, ...]]:
    """Return the id of each job of ours, by its token, once: as Moab has it, else by the resource manager's number.

    A job that Moab had not yet handed down when it was asked may be in the resource manager by now, or before.
    """
    found: dict[Token, set[JobId]] = defaultdict(set)
    covered: dict[Token, set[str]] = defaultdict(set)
    moving = {row.token for row in rows if not row.manager_id}
    for row in rows:
        if row.token:
            found[row.token].add(job_id(row.id, row.token))
            covered[row.token] |= row.ids
    for token, ids in managed.items():
        if token not in moving:
            found[token] |= {job_id(number(own), token) for own in ids if number(own) not in covered[token]}
    return {token: tuple(sorted(ids, key=lambda id: (len(id), id))) for token, ids in found.items() if ids}
