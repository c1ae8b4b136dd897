"""``lsf``: jobs in LSF and its relatives, through their own commands, on any host that has them.

Written against volclava 2.2, of the openlava family, and IBM's public documents of LSF 9 and 10.1.
"""

from __future__ import annotations

import re
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, Literal

from msgspec import Struct
from msgspec.structs import replace

from fxsched.adapter import Ability, Adapter
from fxsched.errors import (
    CommandNotFound,
    InvalidRequest,
    PartlyUnavailable,
    SchedulerUnavailable,
    SubmitRejected,
)
from fxsched.jobs import JobId, JobState, JobStatus
from fxsched_lsf.reasons import MEMORY
from fxsched_lsf.replies import (
    NAMES,
    answered,
    check_cancel,
    check_history,
    has_no_history,
    lacks_columns,
    most_memory,
    parse_history_names,
    parse_names,
    parse_submit,
    unit_of,
)
from fxsched_lsf.statuses import COLUMNS, INTERRUPTED, parse_columns, parse_history, parse_paragraphs
from fxsched_lsf.submission import UNSET, bsub_options, bsub_script

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from fxsched.hosts import CommandResult
    from fxsched.jobs import JobSpec, Token

_ID: Final = re.compile(r"[1-9]\d{0,18}", re.ASCII)
# Without it, clients try again for ever while the server is down or hangs, and each try submits again.
_ONCE: Final = {"LSB_NTRIES": "1"}
# Times without a zone are the reader's: so the reader's zone is set. The year comes where the version can print it.
_READING: Final = {**_ONCE, "TZ": "UTC", "LSB_DISPLAY_YEAR": "Y"}
CHUNK: Final = 1000
"""Ids in one command."""


class LsfAdapter(Adapter):
    """LSF through bsub, bjobs, bkill and bhist."""

    name = "LSF"
    abilities = frozenset({Ability.LIST})
    keeps = ("LSF_ENVDIR", "LSF_BINDIR", "LSF_LIBDIR", "LSF_SERVERDIR")
    job_id_variable = "LSB_JOBID"
    reserved = ("LSB_", "LSF_", "LS_")
    # bsub carries its own environment into the job, and in a session people may wait for their commands.
    unset = ("LSB_NTRIES",)

    class Options(Struct, frozen=True):
        """``[clusters.NAME.options]``."""

        modern: bool | None = None
        """Whether bjobs prints chosen columns, and bsub has -sla, -U, -gpu and -rn, as in LSF 9 and later; None: it is
        asked once."""
        history: bool | None = None
        """Whether to ask bhist for what bjobs has forgotten; None: where there is one that can read its log."""
        unit_for_limits: Literal["KB", "MB", "GB", "TB", "PB", "EB", "unset"] | None = None
        """``LSF_UNIT_FOR_LIMITS`` in lsf.conf, "unset" where it is not set: LSF then counts limits in KB and
        reservations in MB. volclava's and Lava's own unit is "MB". None: ``badmin showconf`` is asked, as in LSF 9."""
        reserve_per_slot: bool = False
        """Whether lsb.params sets ``RESOURCE_RESERVE_PER_SLOT`` or ``RESOURCE_RESERVE_PER_TASK``."""
        gpu_resource: str | None = None
        """The resource that counts a host's GPUs, as in ``ngpus_physical``, to be reserved where bsub has no -gpu."""
        commands: dict[str, str] = {}
        """Paths of commands that are not on PATH, as in ``bsub = "/opt/lsf/bin/bsub"``."""
        native: tuple[str, ...] = ()
        """Further options of every bsub, before the profile's own."""
        deadline: float = 30.0
        """Seconds that a command may take. LSF's own give up after 10 s while the server hangs."""
        submit_deadline: float = 60.0
        """Seconds that bsub may take, a site's own checks (esub) included."""

    options: Options
    _old: bool = False
    _asked: bool = False
    _unit: str | None = None
    _most: str | None = None

    async def submit(self, spec: JobSpec) -> JobId:
        """Run bsub with the script on standard input."""
        script = bsub_script(spec)
        options = bsub_options(
            replace(spec, native=(*self.options.native, *spec.native)),
            modern=await self._is_modern(),
            unit=await self._ask_unit() if spec.resources.memory else UNSET,
            reserve_per_slot=self.options.reserve_per_slot,
            gpu_resource=self.options.gpu_resource,
        )
        return parse_submit(
            await self.host.run(
                self._command("bsub", *options),
                stdin=script,
                environment=_ONCE,
                deadline=self.options.submit_deadline,
            )
        )

    async def status(self, ids: frozenset[JobId]) -> Mapping[JobId, JobStatus]:
        """Ask bjobs, and bhist for what bjobs has forgotten."""
        for id in ids:
            _check(id)
        found: dict[JobId, JobStatus] = {}
        ordered = sorted(ids)
        for begin in range(0, len(ordered), CHUNK):
            found |= await self._bjobs(ordered[begin : begin + CHUNK])
        forgotten = sorted(ids - found.keys())
        # The older family ends a job over its memory limit as bkill does: whether anybody asked is in the history.
        interrupted = sorted(id for id, status in found.items() if self._old and status.signal == INTERRUPTED)
        with suppress(SchedulerUnavailable):
            found |= await self._ends(interrupted)
        try:
            found |= await self._ends(forgotten, "-n", "0")
        except SchedulerUnavailable as error:
            partly = PartlyUnavailable(str(error))
            partly.answers = found
            raise partly from error
        if any(status.reason == MEMORY for status in found.values()):
            reason = await self._why_memory()
            found = {id: replace(s, reason=reason) if s.reason == MEMORY else s for id, s in found.items()}
        return {id: found.get(id) or JobStatus(id=id, state=JobState.GONE, source="bjobs") for id in ids}

    async def cancel(self, id: JobId, token: Token | None = None) -> None:
        """Run bkill: INT, then TERM, then KILL."""
        await self._bkill(id)

    async def kill(self, id: JobId, token: Token | None = None) -> None:
        """Run bkill with KILL alone. A job whose host does not answer ends when the host does."""
        await self._bkill(id, "-s", "KILL")

    async def find(self, token: Token) -> tuple[JobId, ...]:
        """Look through the names of the user's own jobs, and in the history for one that ended long ago."""
        found = (await self.submissions()).get(token, ())
        if not found:
            past = await self._bhist("-a", "-w")
            found = parse_history_names(past).get(token, ()) if past else ()
        return found

    async def submissions(self) -> dict[Token, tuple[JobId, ...]]:
        """Look through the names of the user's own jobs. (Not every version takes a pattern for a name's end.)"""
        return parse_names(await self._ask_names())

    async def _ask_names(self) -> CommandResult:
        return await self._ask_bjobs(("-a", "-o", NAMES), ("-a", "-w"))

    async def _bjobs(self, ids: Collection[JobId]) -> dict[JobId, JobStatus]:
        result = await self._ask_bjobs(("-o", COLUMNS, *ids), ("-l", *ids))
        parse = parse_paragraphs if self._old else parse_columns
        return answered(ids, result, parse(result, datetime.now(UTC)))

    async def _ask_bjobs(self, columns: tuple[str, ...], old: tuple[str, ...]) -> CommandResult:
        """Ask for columns, where bjobs has them, and remember where it has none."""
        if self.options.modern is False:
            self._old = True
        if not self._old:
            result = await self._ask("bjobs", *columns)
            if self.options.modern or not lacks_columns(result):
                return result
            self._old = True
        return await self._ask("bjobs", *old)

    async def _ends(self, ids: list[JobId], *logs: str) -> dict[JobId, JobStatus]:
        """Return how jobs ended, of those whose end is in the history."""
        past = await self._bhist(*logs, "-l", *ids) if ids else None
        known = parse_history(past, datetime.now(UTC)) if past else {}
        return {id: known[id] for id in ids if id in known}

    async def _why_memory(self) -> str:
        """Return why a job waits for memory: LSF lets one wait that asks for more than there is, so that is told."""
        if self._most is None:
            try:
                self._most = most_memory(await self._ask("lshosts", "-w"))
            except SchedulerUnavailable:
                return MEMORY
        return f"{MEMORY[:-1]}; the largest node has {self._most}B." if self._most else MEMORY

    async def _ask_unit(self) -> str:
        """Return the unit in which LSF counts memory. Wrong by its factor, a limit would be none, or end every job."""
        if self._unit is None:
            self._unit = self.options.unit_for_limits
        if self._unit is None and await self._is_modern():
            try:
                self._unit = unit_of(await self._ask("badmin", "showconf", "mbd"))
            except SchedulerUnavailable as error:
                if not isinstance(error.__cause__, CommandNotFound):
                    raise
        if self._unit is None:
            raise SubmitRejected(
                "memory is asked for, but this LSF does not tell the unit in which it counts memory: set "
                'options.unit_for_limits to LSF_UNIT_FOR_LIMITS of its lsf.conf, or where that is not set, to "MB" for '
                'volclava and Lava, else to "unset"'
            )
        return self._unit

    async def _is_modern(self) -> bool:
        if self.options.modern is None and not self._asked:
            result = await self._ask_names()
            if result.exit_code or result.complaint:  # a bjobs that has no columns never takes them in silence
                parse_names(result)
            self._asked = True
        return not self._old if self.options.modern is None else self.options.modern

    async def _bhist(self, *options: str) -> CommandResult | None:
        """Return what bhist says; None where there is no history, or it must not be asked.

        Raises:
            SchedulerUnavailable: there is one, and it did not answer this time.
        """
        if self.options.history is False:
            return None
        try:
            result = await self._ask("bhist", *options)
            check_history(result)
        except SchedulerUnavailable as error:
            if self.options.history is None and has_no_history(error):
                return None
            raise
        return result

    async def _bkill(self, id: JobId, *options: str) -> None:
        _check(id)
        argv = self._command("bkill", *options, id)
        check_cancel(id, await self.host.run(argv, environment=_ONCE, deadline=self.options.deadline))

    async def _ask(self, command: str, *options: str) -> CommandResult:
        return await self.ask(self._command(command, *options), environment=_READING, deadline=self.options.deadline)

    def _command(self, name: str, *options: str) -> list[str]:
        return [self.options.commands.get(name, name), *options]


def _check(id: JobId) -> None:
    if not _ID.fullmatch(id):
        raise InvalidRequest(f"{id!r} is not an LSF job id")
