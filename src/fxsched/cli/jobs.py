"""``fxsched submit``, ``status``, ``cancel``: enough for scripts."""

from __future__ import annotations

import os
import sys
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import anyio
import click
import msgspec

from fxsched.cluster import open_cluster
from fxsched.config import Config, ProfileSettings, find_config, load_config, state_directory
from fxsched.errors import SchedulerUnavailable
from fxsched.jobs import JobId, JobSpec, JobState, JobStatus, new_token
from fxsched.ledger import Ledger
from fxsched.profiles import inherited, placement
from fxsched.sentences import end_sentence, wait_sentence

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager

    from fxsched.cluster import Cluster

NO_SUCH_JOB: Final = 3

F = TypeVar("F", bound="Callable[..., Any]")


def _common_options(command: F) -> F:
    for option in (
        click.option("--json", "as_json", is_flag=True, help="One JSON object a line, with the fields of JobStatus."),
        click.option("--profile", metavar="NAME", help="The profile; its cluster is meant."),
        click.option("--cluster", metavar="NAME", help="The cluster."),
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
    as_json: bool,
    name: str | None,
    output: str | None,
    command: tuple[str, ...],
) -> None:
    """Submit COMMAND as a job and print the job's id."""
    settings = load_config(find_config(config))
    cluster_name, profile_name, needs = _destination(settings, cluster, profile)
    policy = settings.clusters[cluster_name].inherit

    async def run() -> JobStatus:
        async with _open(settings, cluster_name) as opened:
            spec = JobSpec(
                token=new_token(),
                name=name or os.path.basename(command[0]),
                command=command,
                environment=inherited(policy, opened.adapter, os.environ) | needs.environment,
                working_directory=os.getcwd(),
                output=os.path.abspath(output) if output else None,
                **placement(profile_name, needs),
            )
            job = await opened.submit(spec)
            submitted = JobStatus(id=job.id, state=JobState.QUEUED, source="ledger")
            if not as_json:
                return submitted
            try:
                return (await opened.status([job.id]))[job.id]
            except SchedulerUnavailable:
                return submitted

    status = anyio.run(run)
    click.echo(_json(status) if as_json else status.id)


@click.command()
@_common_options
@click.argument("ids", nargs=-1, required=True)
def status(config: Path | None, cluster: str | None, profile: str | None, as_json: bool, ids: tuple[str, ...]) -> None:
    """Print how the jobs IDS stand."""
    settings = load_config(find_config(config))

    async def run() -> dict[JobId, JobStatus]:
        found: dict[JobId, JobStatus] = {}
        for name, jobs in _by_cluster(settings, cluster, profile, ids).items():
            async with _open(settings, name) as opened:
                found |= await opened.status(jobs)
        return found

    found = anyio.run(run)
    statuses = [found[JobId(id)] for id in ids]
    for each in statuses:
        click.echo(_json(each) if as_json else _sentence(each))
    if any(each.state is JobState.GONE for each in statuses):
        sys.exit(NO_SUCH_JOB)


@click.command()
@_common_options
@click.argument("ids", nargs=-1, required=True)
def cancel(config: Path | None, cluster: str | None, profile: str | None, as_json: bool, ids: tuple[str, ...]) -> None:
    """Cancel the jobs IDS, and wait until their end has been seen."""
    settings = load_config(find_config(config))

    async def run() -> None:
        for name, jobs in _by_cluster(settings, cluster, profile, ids).items():
            async with _open(settings, name) as opened:
                for job in jobs:
                    ended = await opened.cancel(job)
                    click.echo(_json(ended) if as_json else _sentence(ended))

    anyio.run(run)


def _destination(config: Config, cluster: str | None, profile: str | None) -> tuple[str, str, ProfileSettings]:
    """Return the cluster's name, the profile's name and the profile that the options mean."""
    if cluster and profile:
        raise click.UsageError("--cluster and --profile exclude each other: a profile names its cluster")
    if cluster:
        return config.cluster(cluster)[0], "", ProfileSettings()
    name, settings = config.profile(profile)
    return config.cluster(settings.cluster)[0], name, settings


def _by_cluster(
    config: Config, cluster: str | None, profile: str | None, ids: tuple[str, ...]
) -> dict[str, list[JobId]]:
    """Return the jobs of each cluster: the one that the options name, else the one that the ledger has them on."""
    jobs = frozenset(map(JobId, ids))
    groups: dict[str, list[JobId]] = defaultdict(list)
    known: dict[JobId, str] = {}
    if not (cluster or profile) and len(config.clusters) > 1:
        ledger = Ledger(state_directory())
        known = {job: name for name in config.clusters for job in ledger.by_job(name, jobs)}
    for job in jobs:
        groups[known.get(job) or _destination(config, cluster, profile)[0]].append(job)
    return groups


def _open(config: Config, name: str) -> AbstractAsyncContextManager[Cluster]:
    settings = config.clusters[name]
    return open_cluster(
        name, state=state_directory(), adapter=settings.adapter, host=settings.host, options=settings.options
    )


def _json(status: JobStatus) -> str:
    return msgspec.json.encode(status).decode()


def _sentence(status: JobStatus) -> str:
    match status.state:
        case JobState.ENDED:
            text = f"has ended: {end_sentence(status)}."
        case JobState.GONE:
            text = "is not known to the scheduler."
        case JobState.RUNNING:
            text = f"is running on {', '.join(status.nodes)}." if status.nodes else "is running."
        case _:
            text = wait_sentence(status)
    return f"{status.id} {text}"
