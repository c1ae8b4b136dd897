"""The contract between fxsched and a scheduler. An adapter can be written from this file alone.

An adapter translates: a ``JobSpec`` into a command, the command's reply into an id or a ``JobStatus``. It makes no
promise about exactly one job, it keeps no records, it does not poll, and it opens neither process nor socket: every
command runs through the ``Host`` that it was given, here or on a login node far away. ``Cluster`` builds the promises
on top.

Keep the translations apart from the running: ``adapter.py`` (this class, thin), ``submission.py`` (spec → argv, pure),
``replies.py`` (text → status, pure). Make the adapter known as an entry point in the group ``fxsched.adapters``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from enum import StrEnum
from typing import TYPE_CHECKING, Any, ClassVar, Final

from msgspec import Struct

from fxsched.errors import HostError, NotSupported, OutcomeUnknown, SchedulerUnavailable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fxsched.hosts import CommandResult, Host
    from fxsched.jobs import JobId, JobSpec, JobStatus, Token

_PATIENCE: Final = 30.0
"""Seconds that it may take to learn who we are: directory services may be slow."""


class Ability(StrEnum):
    """Something that not every scheduler can."""

    LIST = "list"
    """:meth:`Adapter.submissions`."""


class Adapter(ABC):
    """One scheduler, reached through one host. Subclasses hold no state that outlives the process."""

    name: str
    """The scheduler's name for people, as in "Slurm"."""

    class Options(Struct, frozen=True):
        """The adapter's own settings, ``[clusters.NAME.options]`` in the configuration. Override with a Struct. A
        ``float`` is a number of seconds, and must be more than 0 and finite."""

    keeps: ClassVar[tuple[str, ...]] = ()
    """Variables that the scheduler's commands need from their surroundings, such as ``SLURM_CONF``. A host runs
    commands in a clean environment: what is not named here is not there."""

    # What follows may depend on the options, and is then set with them.
    abilities: frozenset[Ability] = frozenset()
    """What the scheduler can besides the four verbs that each one must. Exactly what is declared is called."""

    job_id_variable: str = ""
    """The variable that holds the job's id inside the job. It tells a requeued run of a job from a twin."""

    unset: tuple[str, ...] = ()
    """Variables that the scheduler sets in a job and that break its own commands when used inside the session."""

    reserved: tuple[str, ...] = ()
    """Prefixes of the variables that the scheduler sets in a job. What a job inherits must not override them, as it
    would where the submitter is itself a job."""

    lag: float = 0.0
    """Seconds for which a job that was just submitted may be missing in what :meth:`status` and :meth:`find` say."""

    end_lag: float = 0.0
    """Seconds after a job's end until the scheduler can tell its cause, where accounts are written late."""

    inherits_environment: ClassVar[bool] = False
    """Whether a job is the submitter's own process in all but name, and so inherits its environment by default."""

    pools: ClassVar[bool] = False
    """Whether each of a cluster's ``hosts`` has jobs of its own, and the adapter gets a ``Pool`` of them. Otherwise
    they are login nodes of one scheduler, and whichever answers will do."""

    def __init__(self, host: Host, options: Any) -> None:
        """Keep ``host`` and ``options`` (an instance of ``Options``). Do nothing else: no command, no file."""
        self.host = host
        self.options = options
        self._owner = ""

    @abstractmethod
    async def submit(self, spec: JobSpec) -> JobId:
        """Make one job of ``spec`` and return its id. Called once for each attempt.

        ``spec.script`` is the whole job: hand it over unread. ``spec.job_name`` must become the job's name, or
        whatever else :meth:`find` can search. ``spec.working_directory`` exists; ``spec.output`` takes what the
        scheduler or the script itself prints; where the scheduler cannot be told these two, the script sees to them
        (``kit.script_in_place``). All other values go on the command line as words of argv, never into the script. A
        resource that the scheduler cannot express is an error, never dropped.

        The id is matched by pattern on its own line: site messages may stand before and after it.

        Raises:
            SubmitRejected: the scheduler refused; its own words are in the text. Nothing exists.
            SchedulerUnavailable: it could not be reached. Nothing exists.
            OutcomeUnknown: a job may exist. When in doubt, this one: ``Cluster`` then calls :meth:`find`.
        """

    @abstractmethod
    async def status(self, ids: frozenset[JobId]) -> Mapping[JobId, JobStatus]:
        """Return a status for *every* id asked: a state, or GONE where the scheduler answered and knows no such job.

        One command for any number of ids. Called at every poll, so it should be cheap. A row that cannot be read
        spoils only itself; a word that no table knows is a live state, never an end.

        Raises:
            SchedulerUnavailable: it could not be asked. This is never an answer about a job.
            InvalidRequest: an id that cannot be one of this scheduler's.
        """

    @abstractmethod
    async def cancel(self, id: JobId, token: Token | None = None) -> None:
        """Ask for the job's end. That the job has ended already, or is unknown, is no error.

        ``Cluster`` has made sure that the job is the one with this token, and watches for the end; there is no need to
        wait for it here. Where the scheduler can cancel an id only if it has that token, better so.

        Raises:
            CancelRefused: the scheduler said no.
            SchedulerUnavailable: it could not be asked; nothing was changed.
            OutcomeUnknown: no answer came; it may have worked.
        """

    @abstractmethod
    async def find(self, token: Token) -> tuple[JobId, ...]:
        """Return every job of this user, live or remembered, that has this token; what was submitted first, first.

        Somebody else's job is none of ours, whatever it is called: tokens can be read in job names.

        Called after an ``OutcomeUnknown``, within seconds of the submit. An empty tuple says that the scheduler
        answered and has none: a submit is then repeated, so an answer that is cut short or is no list must raise.

        Raises:
            SchedulerUnavailable: it could not be asked.
        """

    async def kill(self, id: JobId, token: Token | None = None) -> None:
        """End a job that a :meth:`cancel` did not end, by the hardest means there are. By default, cancel again."""
        await self.cancel(id, token)

    def is_same(self, id: JobId, reported: JobId) -> bool:
        """Whether a job that calls itself ``reported``, by ``job_id_variable``, is the job ``id``.

        For a scheduler whose jobs do not know the id that ``submit`` returned.
        """
        return id == reported

    async def submissions(self) -> Mapping[Token, tuple[JobId, ...]]:
        """Return every live or remembered job of this user, by its token: what :meth:`find` would say of each.

        With ``Ability.LIST``: it lets ``fxsched reconcile`` see jobs that the ledger has lost.

        Raises:
            SchedulerUnavailable: it could not be asked.
            NotSupported: the scheduler cannot list them.
        """
        raise NotSupported(f"{self.name} cannot list all of a user's sessions")

    def part(self, id: JobId) -> str:  # noqa: ARG002
        """Return which part of the scheduler has a job, where parts fail one by one: by default, there is only one.

        Parts are asked at the same time, each about its own jobs, and one that cannot be asked hides no other.
        """
        return ""

    async def host_for(self, token: Token) -> Host:  # noqa: ARG002
        """Return the host that is to have a new session's directory, and its job. Called once, before the submit.

        Raises:
            HostError, SchedulerUnavailable: there is none; nothing was sent.
        """
        return self.host

    async def host_of(self, token: Token, job: JobId | None = None) -> Host:  # noqa: ARG002
        """Return the host that has a session's directory, if any has. ``job`` is the session's, where that is known.

        Raises:
            HostError: it could not be found out.
        """
        return self.host

    async def ask(
        self,
        argv: Sequence[str],
        *,
        environment: Mapping[str, str] | None = None,
        stdin: bytes = b"",
        deadline: float,
    ) -> CommandResult:
        """Run a command that only asks: whatever goes wrong with it, nothing was changed.

        Raises:
            SchedulerUnavailable: it could not be run, or did not answer within ``deadline`` seconds.
        """
        try:
            return await self.host.run(argv, environment=environment or {}, stdin=stdin, deadline=deadline)
        except (HostError, OutcomeUnknown) as error:
            raise SchedulerUnavailable(f"{self.name} could not be asked: {error.what}") from error

    async def owner(self) -> str:
        """Return the account that commands run as, asked once: another one's jobs are none of ours.

        Raises:
            SchedulerUnavailable: it could not be asked.
        """
        if not self._owner:
            result = await self.ask(["id", "-un"], deadline=_PATIENCE)
            names = result.text.split()
            if result.exit_code or not names:
                raise SchedulerUnavailable(f"{self.name} could not be asked: id -un did not tell who we are")
            self._owner = names[-1]
        return self._owner
