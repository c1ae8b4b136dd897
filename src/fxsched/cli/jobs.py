"""``fxsched submit``, ``status``, ``cancel``: enough for scripts."""

from __future__ import annotations

import os
import sys
from collections import defaultdict
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import anyio
import click
from anyio.lowlevel import checkpoint_if_cancelled

from fxsched.cli.answers import (
    UNAVAILABLE,
    Answer,
    Outcome,
    answer_object,
    answer_sentence,
    as_object,
    found_code,
    sentence,
)
from fxsched.errors import (
    FxschedError,
    InvalidRequest,
    PartlyUnavailable,
    SchedulerUnavailable,
)
from fxsched.jobs import JobId, JobSpec, JobState, JobStatus, new_token
from fxsched.programs import until_stopped
from fxsched.records.ledger import Ledger
from fxsched.settings.accounts import Person
from fxsched.settings.config import Config, ProfileSettings
from fxsched.settings.file import find_config, load_config
from fxsched.settings.placement import inherited, placement

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping

    from fxsched.cluster.cluster import Cluster

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

    told = False

    async def run() -> None:
        nonlocal told
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
            try:
                status = await _submitted(opened, job.id) if as_json else None
                await checkpoint_if_cancelled()
                told = True
            except BaseException:  # nobody would know of it
                await opened.withdraw(job)
                raise
            try:
                click.echo(as_object(status) if status else job.id)
            except OSError as error:
                text = f"job {job.id} was submitted, but that could not be written to standard output: {error.strerror}"
                raise FxschedError(text) from error

    stopped_by = anyio.run(partial(until_stopped, run, decided=lambda: told))
    if stopped_by is not None:
        click.echo("fxsched: interrupted; no job was left behind", err=True)
        sys.exit(128 + stopped_by)


async def _submitted(cluster: Cluster, id: JobId) -> JobStatus:
    """Return how a new job stands, as far as that can be told."""
    try:
        return (await cluster.status([id], max_age=0))[id]
    except SchedulerUnavailable:
        return JobStatus(id=id, state=JobState.QUEUED, source="ledger")


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
                for id in jobs:  # while the cluster is open: tidying up comes after
                    line = answer_object(id, found[id]) if as_json else answer_sentence(id, found[id])
                    outcome.say(line, UNAVAILABLE if found[id].trouble else found_code(found[id].status))
        except FxschedError as error:  # kept out of the task group, which would wrap it
            outcome.fail(error)

    groups, lost = _by_cluster(settings, cluster, profile, login, ids)
    for id, trouble in lost.items():
        answer = Answer(None, trouble)
        outcome.say(answer_object(id, answer) if as_json else answer_sentence(id, answer), 1)
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
                        as_object(done.status) if as_json else sentence(done.status, ended=had), found_code(done.status)
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
