"""``slurm``: jobs in Slurm, through its own commands, on any host that has them.

Written against Slurm 22.05.8; sources are its man pages and recorded output.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from msgspec import Struct
from msgspec.structs import replace

from fxsched.adapter import Ability, Adapter
from fxsched.errors import InvalidRequest, SchedulerUnavailable
from fxsched.jobs import JobId, JobState, JobStatus
from fxsched.kit import complaint_of
from fxsched_slurm.replies import (
    NAMES_FORMAT,
    SACCT_FORMAT,
    SQUEUE_FORMAT,
    check_answer,
    check_cancel,
    listing,
    parse_names,
    parse_sacct,
    parse_squeue,
    parse_submit,
)
from fxsched_slurm.submission import sbatch_options

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fxsched.hosts import CommandResult
    from fxsched.jobs import JobSpec, Token

_ID: Final = re.compile(r"\d+(_\d+)?", re.ASCII)
# Times without a zone are the reader's: so the reader's zone is set.
_READING: Final = {"TZ": "UTC"}
FEW: Final = 40
"""From here on, asking for all of one's own jobs costs Slurm less than asking for each by its id."""
CHUNK: Final = 2000
"""Ids in one command line: well inside the limit of 128 KiB for one word."""


class SlurmAdapter(Adapter):
    """Slurm through sbatch, squeue, scancel and sacct."""

    name = "Slurm"
    abilities = frozenset({Ability.LIST})
    keeps = ("SLURM_CONF", "SLURM_JWT")
    job_id_variable = "SLURM_JOB_ID"
    reserved = ("SLURM_", "SLURMD_", "SBATCH_", "SRUN_")
    # What sbatch sets for the script, srun takes for its own options: memory three ways at once is an error, and a
    # binding or an export list of the batch step is wrong for any other.
    unset = (
        "SLURM_MEM_PER_CPU",
        "SLURM_MEM_PER_GPU",
        "SLURM_MEM_PER_NODE",
        "SLURM_CPU_BIND",
        "SLURM_CPU_BIND_LIST",
        "SLURM_CPU_BIND_TYPE",
        "SLURM_CPU_BIND_VERBOSE",
        "SLURM_MEM_BIND",
        "SLURM_MEM_BIND_LIST",
        "SLURM_MEM_BIND_TYPE",
        "SLURM_MEM_BIND_VERBOSE",
        "SLURM_EXPORT_ENV",
        "SLURM_NTASKS_PER_NODE",
    )

    class Options(Struct, frozen=True):
        """``[clusters.NAME.options]``."""

        cluster: str | None = None
        """Which of several clusters, for the option -M of every command."""
        accounting: bool | None = None
        """Whether to ask sacct for what squeue has forgotten; None: where sacct answers."""
        commands: dict[str, str] = {}
        """Paths of commands that are not on PATH, as in ``sbatch = "/opt/slurm/bin/sbatch"``."""
        native: tuple[str, ...] = ()
        """Further options of every sbatch, before the profile's own."""
        deadline: float = 30.0
        """Seconds that a command may take. Slurm's own give up after 10 to 20 s while the controller hangs."""
        submit_deadline: float = 150.0
        """Seconds that sbatch may take: at MaxJobCount, it tries again for 120 s before it gives up."""

    options: Options
    _accounting: bool | None = None

    async def submit(self, spec: JobSpec) -> JobId:
        """Run sbatch with the script on standard input: sbatch takes "-" and /dev/stdin for names of files."""
        native = (*self.options.native, *spec.native)
        argv = self._command("sbatch", *sbatch_options(replace(spec, native=native)))
        return parse_submit(await self.host.run(argv, stdin=spec.script, deadline=self.options.submit_deadline))

    async def status(self, ids: frozenset[JobId]) -> Mapping[JobId, JobStatus]:
        """Ask squeue, and sacct for what squeue has forgotten.

        For more than a few ids, one squeue for all jobs of the user is cheaper than the list; what it does not know is
        then asked for by id, since it may be somebody else's.

        Of sacct only ends are believed. squeue knows every live job; what sacct alone calls live is a runaway job
        (sacctmgr(1)), of whose end the accounts have not heard, and would live for ever.
        """
        for id in ids:
            if not _ID.fullmatch(id):
                raise InvalidRequest(f"{id!r} is not a Slurm job id")
        found: dict[JobId, JobStatus] = {}
        if len(ids) > FEW:
            own = await self._ask("squeue", "--states=all", f"--format={SQUEUE_FORMAT}", "--me", "--array")
            found = parse_squeue(listing(own))
        missing = sorted(ids - found.keys())
        for begin in range(0, len(missing), CHUNK):
            found |= await self._squeue_by_id(missing[begin : begin + CHUNK])
        forgotten = ids - found.keys()
        if forgotten:
            accounts = _only(forgotten, await self._sacct(forgotten))
            found |= {id: status for id, status in accounts.items() if status.state is JobState.ENDED}
        return {id: found.get(id) or JobStatus(id=id, state=JobState.GONE, source="squeue") for id in ids}

    async def cancel(self, id: JobId, token: Token | None = None) -> None:
        """Run scancel, which is silent and content about jobs that have ended or never were."""
        if not _ID.fullmatch(id):
            raise InvalidRequest(f"{id!r} is not a Slurm job id")
        check_cancel(id, await self.host.run(self._command("scancel", id), deadline=self.options.deadline))

    async def find(self, token: Token) -> tuple[JobId, ...]:
        """Look through the names of the user's own jobs, and in the accounting for one that ended long ago."""
        found = (await self.submissions()).get(token, ())
        if not found and self._accounting is not False and self.options.accounting is not False:
            records = await self._ask_sacct("--format=JobIDRaw,JobName", "--starttime=now-1days")
            found = parse_names(records.text).get(token, ()) if records else ()
        return found

    async def submissions(self) -> dict[Token, tuple[JobId, ...]]:
        """Look through the names of the user's own jobs."""
        queue = await self._ask("squeue", "--states=all", f"--format={NAMES_FORMAT}", "--me")
        return parse_names(listing(queue))

    async def _squeue_by_id(self, ids: list[JobId]) -> dict[JobId, JobStatus]:
        result = await self._ask(
            "squeue", "--states=all", f"--format={SQUEUE_FORMAT}", f"--jobs={','.join(ids)}", "--array"
        )
        # Of several ids, squeue leaves out those that it does not know. Of one, it makes an error.
        if result.exit_code and len(ids) == 1 and "Invalid job id specified" in complaint_of(result):
            return {}
        return _only(ids, parse_squeue(listing(result)))

    async def _sacct(self, ids: frozenset[JobId]) -> dict[JobId, JobStatus]:
        if self._accounting is False or self.options.accounting is False:
            return {}
        result = await self._ask_sacct(f"--format={SACCT_FORMAT}", f"--jobs={','.join(sorted(ids))}")
        return parse_sacct(result.text) if result else {}

    async def _ask_sacct(self, *options: str) -> CommandResult | None:
        """Return what sacct says; None where there is no accounting, which is remembered.

        Raises:
            SchedulerUnavailable: there is accounting, and it could not be asked.
        """
        try:
            result = await self._ask("sacct", "--allocations", "--noheader", "--parsable2", *options)
        except SchedulerUnavailable:
            if self.options.accounting is None:
                return None
            raise
        if "accounting storage is disabled" in complaint_of(result):
            self._accounting = False
            return None
        if result.exit_code and self.options.accounting is None:
            return None
        check_answer(result)
        self._accounting = True
        return result

    async def _ask(self, command: str, *options: str) -> CommandResult:
        return await self.ask(self._command(command, *options), environment=_READING, deadline=self.options.deadline)

    def _command(self, name: str, *options: str) -> list[str]:
        cluster = [f"--clusters={self.options.cluster}"] if self.options.cluster else []
        return [self.options.commands.get(name, name), *cluster, *options]


def _only(ids: frozenset[JobId] | list[JobId], found: Mapping[JobId, JobStatus]) -> dict[JobId, JobStatus]:
    return {id: found[id] for id in ids if id in found}
