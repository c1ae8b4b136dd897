"""``fxsched submit``, ``status``, ``cancel``: enough for scripts."""

from __future__ import annotations

import os
import sys
from collections import defaultdict
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn, TypeVar

import anyio
import click
import msgspec
from msgspec.structs import asdict

from fxsched.accounts import Person
from fxsched.config import Config, ProfileSettings
from fxsched.configfile import find_config, load_config
from fxsched.errors import (
    FxschedError,
    HostUnreachable,
    InvalidRequest,
    OutcomeUnknown,
    PartlyUnavailable,
    SchedulerUnavailable,
)
from fxsched.jobs import JobId, JobSpec, JobState, JobStatus, new_token
from fxsched.ledger import Ledger
from fxsched.profiles import inherited, placement
from fxsched.sentences import end_sentence, wait_sentence

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping

NO_SUCH_JOB: Final = 3
UNAVAILABLE: Final = 75
"""Exit status when something could not be asked, and asking later is right; sysexits.h calls it EX_TEMPFAIL."""
_WORSE: Final = (0, NO_SUCH_JOB, UNAVAILABLE, 1)
"""Exit statuses, each worse than those before it."""


class Answer(msgspec.Struct, frozen=True):
    """What can be said of a job: its status, or the last known one and why there is no newer."""

    status: JobStatus | None
    trouble: str = ""


class Outcome:
    """What became of several jobs: each is told of at once, none spoils another's, and the worst decides."""

    code: int = 0
    unheard: OSError | None = None
    """Why nobody can be told. The work is done all the same."""

    def say(self, line: str, code: int = 0) -> None:
        """Tell of a job that was asked for."""
        self.code = max(self.code, code, key=_WORSE.index)
        try:
            if self.unheard is None:
                click.echo(line)
        except OSError as error:  # kept out of the task groups, which would wrap it
            self.unheard = error

    def fail(self, error: FxschedError, about: str = "") -> None:
        """Tell why there is nothing else to tell."""
        self.code = max(self.code, exit_code(error), key=_WORSE.index)
        with suppress(OSError):
            click.echo(f"fxsched: {about}{error}", err=True)

    def leave(self) -> NoReturn:
        """End the command.

        Raises:
            OSError: nobody could be told of all.
        """
        if self.unheard is not None:
            raise self.unheard
        sys.exit(self.code)


def exit_code(error: FxschedError) -> int:
    """Return the exit status for an error: whether to try again later is right."""
    return UNAVAILABLE if isinstance(error, SchedulerUnavailable | OutcomeUnknown | HostUnreachable) else 1


F = TypeVar("F", bound="Callable[..., Any]")


def _person(_: click.Context, __: click.Parameter, login: str | None) -> Person | None:
    return Person(login=login, own=False) if login else None


def _common_options(command: F) -> F:
    for option in (
        click.option("--json", "as_json", is_flag=True, help="One JSON object a line, with the fields of JobStatus."),
        click.option("--profile", metavar="NAME", help="The profile; its cluster is meant."),
        click.option("--cluster", metavar="NAME", help="The cluster."),
        click.option("--login", metavar="NAME", callback=_person, help="Whose jobs, where fxsched acts for others."),
        click.option("--config", type=click.Path(path_type=Path), metavar="FILE", help="The configuration file."),
    ):
        command = option(command)
    return command


@click.command(context_settings={"allow_interspersed_args": False})
@_common_options
@click.option("--name", help="The job's name; otherwise the command's.")
@click.option("--output", type=click.Path(), help="Where the command's output goes; otherwise to the job's own files.")
@click.argument("command", nargs=-1, required=True)
def submit(
    config: Path | None,
    cluster: str | None,
    profile: str | None,
    login: Person | None,
    as_json: bool,
    name: str | None,
    output: str | None,
    command: tuple[str, ...],
) -> None:
    """Submit COMMAND as a job and print the job's id."""
    settings = load_config(find_config(config))
    cluster_name, profile_name, needs = _destination(settings, cluster, profile)
    policy = settings.clusters[cluster_name].inherit
    with settings.located(f"profiles.{profile_name}"):
        where = placement(profile_name, needs)
        if needs.submit_line:
            where["native"] += _submit_options(profile_name, needs)

    async def run() -> JobStatus:
        async with settings.open(cluster_name, login) as opened:
            spec = JobSpec(
                token=new_token(),
                name=name or os.path.basename(command[0]),
                command=command,
                environment=inherited(policy, opened.adapter, os.environ) | needs.environment,
                working_directory=os.getcwd(),
                output=os.path.abspath(output) if output else None,
                **where,
            )
            job = await opened.submit(spec)
            submitted = JobStatus(id=job.id, state=JobState.QUEUED, source="ledger")
            if not as_json:
                return submitted
            try:
                return (await opened.status([job.id], max_age=0))[job.id]
            except SchedulerUnavailable:
                return submitted

    status = anyio.run(run)
    try:
        click.echo(_json(status) if as_json else status.id)
    except OSError as error:
        text = f"job {status.id} was submitted, but that could not be written to standard output: {error.strerror}"
        raise FxschedError(text) from error


@click.command()
@_common_options
@click.argument("ids", nargs=-1, required=True)
def status(
    config: Path | None,
    cluster: str | None,
    profile: str | None,
    login: Person | None,
    as_json: bool,
    ids: tuple[str, ...],
) -> None:
    """Print how the jobs IDS stand."""
    settings = load_config(find_config(config))

    outcome = Outcome()

    async def ask(name: str, jobs: list[JobId]) -> None:
        try:
            async with settings.open(name, login) as opened:
                try:
                    found = {id: Answer(status) for id, status in (await opened.status(jobs)).items()}
                except SchedulerUnavailable as error:
                    last = opened.last_known(jobs)
                    answered = error.answers if isinstance(error, PartlyUnavailable) else {}
                    found = {
                        id: Answer(answered[id]) if id in answered else Answer(last.get(id), str(error)) for id in jobs
                    }
        except FxschedError as error:  # kept out of the task group, which would wrap it
            outcome.fail(error)
            return
        for id in jobs:
            line = _answer_json(id, found[id]) if as_json else _answer_sentence(id, found[id])
            outcome.say(line, UNAVAILABLE if found[id].trouble else _code(found[id].status))

    groups, lost = _by_cluster(settings, cluster, profile, login, ids)
    for id, trouble in lost.items():
        answer = Answer(None, trouble)
        outcome.say(_answer_json(id, answer) if as_json else _answer_sentence(id, answer), 1)
    _for_each_cluster(ask, groups)
    outcome.leave()


@click.command()
@_common_options
@click.argument("ids", nargs=-1, required=True)
def cancel(
    config: Path | None,
    cluster: str | None,
    profile: str | None,
    login: Person | None,
    as_json: bool,
    ids: tuple[str, ...],
) -> None:
    """Cancel the jobs IDS, and wait until their end has been seen."""
    settings = load_config(find_config(config))

    outcome = Outcome()

    async def end(name: str, jobs: list[JobId]) -> None:
        try:
            async with settings.open(name, login) as opened:
                for job in jobs:
                    try:
                        done = await opened.cancel(job)
                    except FxschedError as error:
                        outcome.fail(error, f"{job}: ")
                        continue
                    had = "had ended already" if done.already else "has ended"
                    outcome.say(
                        _json(done.status) if as_json else _sentence(done.status, ended=had), _code(done.status)
                    )
        except FxschedError as error:
            outcome.fail(error)

    groups, lost = _by_cluster(settings, cluster, profile, login, ids)
    for id, trouble in lost.items():
        outcome.fail(FxschedError(trouble), f"{id}: ")
    _for_each_cluster(end, groups)
    outcome.leave()


def _for_each_cluster(
    do: Callable[[str, list[JobId]], Coroutine[Any, Any, None]], groups: Mapping[str, list[JobId]]
) -> None:
    async def run() -> None:
        async with anyio.create_task_group() as tasks:  # one cluster that hangs must not hold up another's answer
            for name, jobs in groups.items():
                tasks.start_soon(do, name, jobs)

    anyio.run(run)


def _destination(config: Config, cluster: str | None, profile: str | None) -> tuple[str, str, ProfileSettings]:
    """Return the cluster's name, the profile's name and the profile that the options mean."""
    if cluster and profile:
        raise click.UsageError("--cluster and --profile exclude each other: a profile names its cluster")
    if cluster:
        return config.cluster(cluster)[0], "", ProfileSettings()
    name, settings = config.profile(profile)
    return config.cluster(settings.cluster)[0], name, settings


def _submit_options(name: str, profile: ProfileSettings) -> tuple[str, ...]:
    """Return the scheduler's options in a profile's FastX 3 template, if they are the same whatever FastX requests.

    Raises:
        ConfigurationError: the template is wrong.
        InvalidRequest: an option needs what only a request has.
    """
    from fxsched.fastx.request import StartObject
    from fxsched.fastx.submitline import scheduler_options

    line = profile.submit_line or ""
    defaults = {field.param: field.default for field in profile.fields.values() if field.default is not None}
    try:
        first, second = (
            scheduler_options(line, StartObject(command=text, geometry=text, name=text), defaults)
            for text in ("a", "b")
        )
    except InvalidRequest as error:
        raise InvalidRequest(_needs_request(name, str(error))) from None
    if first != second:
        raise InvalidRequest(_needs_request(name, "it depends on the session's command, geometry or name"))
    return first


def _needs_request(name: str, why: str) -> str:
    return (
        f"the submit_line of profile {name!r} has scheduler options that only a request of FastX can fill: {why}. "
        "Nothing was submitted; use another profile, or --cluster"
    )


def _by_cluster(
    config: Config, cluster: str | None, profile: str | None, person: Person | None, ids: tuple[str, ...]
) -> tuple[dict[str, list[JobId]], dict[JobId, str]]:
    """Return the jobs of each cluster, and why of some jobs it cannot be told where they are.

    They are on the cluster that the options name, or on the only one, or where the ledger has them.
    """
    jobs = list(dict.fromkeys(map(JobId, ids)))
    if cluster or profile:
        return {_destination(config, cluster, profile)[0]: jobs}, {}
    if len(config.clusters) == 1:
        return {config.cluster(None)[0]: jobs}, {}
    places: dict[JobId, list[str]] = {job: [] for job in jobs}
    for name in config.clusters:
        with suppress(InvalidRequest):  # somebody without an account there has no jobs there
            for job in Ledger(config.state(name, person)).by_job(name, frozenset(jobs)):
                places[job].append(name)
    groups: dict[str, list[JobId]] = defaultdict(list)
    lost: dict[JobId, str] = {}
    for job, names in places.items():
        if len(names) == 1:
            groups[names[0]].append(job)
        else:
            known = f"the ledger has it on {' and '.join(names)}" if names else "it is not in the ledger"
            lost[job] = f"{known}: say where it is with --cluster ({', '.join(names or config.clusters)})"
    return groups, lost


def _code(status: JobStatus | None) -> int:
    return NO_SUCH_JOB if status and status.state is JobState.GONE else 0


def _json(status: JobStatus) -> str:
    return msgspec.json.encode(asdict(status)).decode()  # all of its fields, also those that are empty


def _answer_json(id: str, answer: Answer) -> str:
    """Return a status as JSON; where the scheduler could not be asked, the last known one and what was the trouble."""
    status = asdict(answer.status) if answer.status else {"id": id, "state": None}
    return msgspec.json.encode(status | ({"unavailable": answer.trouble} if answer.trouble else {})).decode()


def _answer_sentence(id: str, answer: Answer) -> str:
    if not answer.trouble:
        return _sentence(answer.status) if answer.status else ""
    if answer.status is None or answer.status.observed_at is None:
        return f"{id} could not be asked for, and nothing is known of it: {answer.trouble}"
    seen = answer.status.observed_at.astimezone()
    return f"{_sentence(answer.status)} That was at {seen:%H:%M:%S}; now it could not be asked for: {answer.trouble}"


def _sentence(status: JobStatus, ended: str = "has ended") -> str:
    match status.state:
        case JobState.ENDED:
            text = f"{ended}: {end_sentence(status)}."
        case JobState.GONE:
            text = "is not known to the scheduler."
        case JobState.RUNNING:
            text = f"is running on {', '.join(status.nodes)}." if status.nodes else "is running."
        case _:
            text = wait_sentence(status)
    return f"{status.id} {text}"
