"""``slurm``: jobs in Slurm, through its own commands, on any host that has them.

Written against Slurm 22.05.8; sources are its man pages and recorded output.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from msgspec import Struct
from msgspec.structs import replace

from fxsched.adapter import Ability, Adapter
from fxsched.errors import (
    CommandNotFound,
    InvalidRequest,
    OutcomeUnknown,
    PartlyUnavailable,
    SchedulerUnavailable,
    SubmitRejected,
)
from fxsched.jobs import JobId, JobState, JobStatus
from fxsched.kit import complaint_of
from fxsched_slurm.complaints import refused_without_a_word
from fxsched_slurm.replies import (
    SACCT_FORMAT,
    SQUEUE_FORMAT,
    check_cancel,
    listing,
    parse_sacct,
    parse_squeue,
    parse_submit,
    tokens,
)
from fxsched_slurm.submission import sbatch_options

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from fxsched.hosts import CommandResult
    from fxsched.jobs import JobSpec, Token

_ID: Final = re.compile(r"\d+(_\d+)?", re.ASCII)
_CLUSTER: Final = re.compile(r"[\w.-]+")
_NEVER_ANSWERS: Final = "Where sacct never answers, set options.accounting = false"
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
    # What sbatch sets for the script, srun takes for its own options: memory three ways at once is an error, as are two
    # numbers of cores; a binding or an export list of the batch step is wrong for any other, and our way to open the
    # session's log is none for a user's files.
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
        "SLURM_NTASKS_PER_CORE",
        "SLURM_NTASKS_PER_GPU",
        "SLURM_NTASKS_PER_SOCKET",
        "SLURM_TRES_PER_TASK",  # 23.11 sets it for -c
        "SLURM_CPUS_PER_GPU",
        "SLURM_GPUS",
        "SLURM_GPUS_PER_NODE",
        "SLURM_GPUS_PER_SOCKET",
        "SLURM_GPUS_PER_TASK",
        "SLURM_GPU_BIND",
        "SLURM_GPU_FREQ",
        "SLURM_DISTRIBUTION",
        "SLURM_HINT",
        "SLURM_THREADS_PER_CORE",
        "SLURM_CPU_FREQ_REQ",
        "SLURM_OPEN_MODE",
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

        def __post_init__(self) -> None:
            """Check the cluster, as msgspec demands with ``ValueError``."""
            if self.cluster is not None and (self.cluster == "all" or not _CLUSTER.fullmatch(self.cluster)):
                raise ValueError(
                    f"cluster must be the name of one cluster, not {self.cluster!r}: an id tells nothing of which it "
                    "is. Name each as a cluster of its own"
                )

    options: Options
    _no_accounting = False

    async def submit(self, spec: JobSpec) -> JobId:
        """Run sbatch with the script on standard input: sbatch takes "-" and /dev/stdin for names of files."""
        native = (*self.options.native, *spec.native)
        argv = self._command("sbatch", *sbatch_options(replace(spec, native=native)))
        result = await self.host.run(argv, stdin=spec.script, deadline=self.options.submit_deadline)
        try:
            return parse_submit(result)
        except OutcomeUnknown as doubt:
            if refused_without_a_word(result) and await self._is_missing(spec.token):
                raise SubmitRejected(f"Slurm refused the job, and gave no reason: {complaint_of(result)}") from doubt
            raise

    async def status(self, ids: frozenset[JobId]) -> Mapping[JobId, JobStatus]:
        """Ask squeue, and sacct for what squeue has forgotten.

        For more than a few ids, one squeue for all jobs of the user is cheaper than the list. Somebody else's job is
        none of ours, though it may have been given the id of one that a crash lost.

        Of sacct only ends are believed. squeue knows every live job; what sacct alone calls live is a runaway job
        (sacctmgr(1)), of whose end the accounts have not heard, and would live for ever.
        """
        for id in ids:
            if not _ID.fullmatch(id):
                raise InvalidRequest(f"{id!r} is not a Slurm job id")
        found = _only(ids, await self._squeue(sorted(ids) if len(ids) <= FEW else []))
        forgotten = sorted(ids - found.keys())
        try:
            for begin in range(0, len(forgotten), CHUNK):
                some = forgotten[begin : begin + CHUNK]
                accounts = _only(some, await self._sacct(f"--jobs={','.join(some)}"))
                found |= {id: status for id, status in accounts.items() if status.state is JobState.ENDED}
        except SchedulerUnavailable as error:
            if not found:
                raise
            partly = PartlyUnavailable(error.what)
            partly.answers = found
            raise partly from error
        return {id: found.get(id) or JobStatus(id=id, state=JobState.GONE, source="squeue") for id in ids}

    async def cancel(self, id: JobId, token: Token | None = None) -> None:
        """Run scancel, which is silent and content about jobs that have ended or never were."""
        if not _ID.fullmatch(id):
            raise InvalidRequest(f"{id!r} is not a Slurm job id")
        check_cancel(id, await self.host.run(self._command("scancel", id), deadline=self.options.deadline))

    async def find(self, token: Token) -> tuple[JobId, ...]:
        """Look through the user's own jobs, and in the accounting for one that ended long ago."""
        found = (await self.submissions()).get(token, ())
        return found or tokens((await self._sacct("--starttime=now-1days")).values()).get(token, ())

    async def submissions(self) -> dict[Token, tuple[JobId, ...]]:
        """Look through the user's own jobs."""
        return tokens((await self._squeue([])).values())

    async def _is_missing(self, token: Token) -> bool:
        """Whether Slurm certainly has no such job."""
        try:
            return not await self.find(token)
        except SchedulerUnavailable:
            return False

    async def _squeue(self, ids: list[JobId]) -> dict[JobId, JobStatus]:
        """Return the user's own jobs: these, or where none is named, all."""
        chosen = [f"--jobs={','.join(ids)}"] if ids else []
        result = await self._ask("squeue", "--me", "--states=all", "--array", f"--Format={SQUEUE_FORMAT}", *chosen)
        # Of several ids, squeue leaves out those that it does not know. Of one, it makes an error.
        if result.exit_code and len(ids) == 1 and "Invalid job id specified" in complaint_of(result):
            return {}
        return parse_squeue(listing(result))

    async def _sacct(self, *options: str) -> dict[JobId, JobStatus]:
        """Return what the accounts have of the user's own jobs; nothing where there are none, which is remembered.

        Raises:
            SchedulerUnavailable: there are accounts, and they could not be asked.
        """
        if self._no_accounting or self.options.accounting is False:
            return {}
        options = ("--allocations", "--noheader", "--parsable2", f"--format={SACCT_FORMAT}", *options)
        try:
            result = await self._ask("sacct", *options)
        except SchedulerUnavailable as error:
            if self.options.accounting is None and isinstance(error.__cause__, CommandNotFound):
                self._no_accounting = True
                return {}
            raise SchedulerUnavailable(f"{error.what}. {_NEVER_ANSWERS}") from error
        if "accounting storage is disabled" in complaint_of(result):
            self._no_accounting = True
            return {}
        if result.exit_code:
            raise SchedulerUnavailable(f"Slurm's sacct could not be asked: {complaint_of(result)}. {_NEVER_ANSWERS}")
        return parse_sacct(result.text, await self.owner()) if result.text.strip() else {}

    async def _ask(self, command: str, *options: str) -> CommandResult:
        return await self.ask(self._command(command, *options), environment=_READING, deadline=self.options.deadline)

    def _command(self, name: str, *options: str) -> list[str]:
        cluster = [f"--clusters={self.options.cluster}"] if self.options.cluster else []
        return [self.options.commands.get(name, name), *cluster, *options]


def _only(ids: Iterable[JobId], found: Mapping[JobId, JobStatus]) -> dict[JobId, JobStatus]:
    return {id: found[id] for id in ids if id in found}
