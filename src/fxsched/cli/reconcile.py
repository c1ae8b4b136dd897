"""``fxsched reconcile``: what the ledger and the schedulers do not agree on, and how it is mended."""

from __future__ import annotations

import sys
from pathlib import Path

import anyio
import click
import msgspec

from fxsched.cli.answers import UNAVAILABLE
from fxsched.cluster.reconcile import Finding, Kind
from fxsched.cluster.reconcile import reconcile as reconcile_cluster
from fxsched.errors import HostError, SchedulerUnavailable
from fxsched.records.ledger import Ledger
from fxsched.settings.accounts import Person
from fxsched.settings.config import Config, others
from fxsched.settings.file import find_config, load_config


def _people(config: Config, cluster: str) -> list[Person | None]:
    """Return whose ledgers there are: our own, or, where we act for others, those that know of this cluster."""
    if not config.clusters[cluster].acts_for_others:
        return [None]
    return [person for person in (None, *others()) if Ledger(config.state(cluster, person)).live(cluster)]


@click.command()
@click.option("--config", type=click.Path(path_type=Path), metavar="FILE", help="The configuration file.")
@click.option("--cluster", metavar="NAME", help="The cluster; otherwise all of them.")
@click.option("--fix", is_flag=True, help="Mend what is found; otherwise nothing is changed.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def reconcile(config: Path | None, cluster: str | None, fix: bool, as_json: bool) -> None:
    """Compare the ledger with the schedulers, after a crash of either.

    Exit status: 0 they agree, or what was found is mended; 1 something is left; 75 a scheduler could not be asked.
    """
    settings = load_config(find_config(config))
    names = [settings.cluster(cluster)[0]] if cluster else list(settings.clusters)

    async def run() -> tuple[list[Finding], list[str]]:
        findings: list[Finding] = []
        troubles: list[str] = []
        for name in names:
            for person in _people(settings, name):
                try:
                    async with settings.open(name, person) as opened:
                        findings += await reconcile_cluster(opened, fix=fix)
                except (SchedulerUnavailable, HostError) as error:
                    troubles.append(str(error))
        return findings, troubles

    findings, troubles = anyio.run(run)
    for found in findings:
        if as_json:
            click.echo(msgspec.json.encode(found).decode())
        else:
            job = f", job {found.job}" if found.job else ""
            click.echo(f"{found.kind}: {found.cluster}{job}, {found.token}: {found.text}{'; mended' * found.mended}.")
    for trouble in troubles:
        click.echo(f"fxsched: {trouble}", err=True)
    if troubles:
        sys.exit(UNAVAILABLE)
    if any(not found.mended for found in findings if found.kind is not Kind.BAD):
        sys.exit(1)
