"""A cluster's settings → an open ``Cluster``, for the length of an ``async with`` block."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

import anyio

from fxsched.cluster.cluster import Cluster
from fxsched.errors import ConfigurationError
from fxsched.hosts.opening import HostSettings, beside, check_hosts, open_host
from fxsched.records.ledger import Ledger
from fxsched.registry import load_adapter
from fxsched.strict import convert_options

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path

    from fxsched.cluster.timing import Timing

PATIENCE: Final = 10.0
"""Seconds for which tidying up may hold up the end of the block."""


@asynccontextmanager
async def open_cluster(
    name: str,
    *,
    state: Path,
    adapter: str = "local",
    host: str | HostSettings = "local",
    options: Mapping[str, object] | None = None,
    timing: Timing | None = None,
) -> AsyncIterator[Cluster]:
    """Open the cluster ``name`` for the length of an ``async with`` block.

    Args:
        name: what the configuration and the ledger call it.
        state: the state directory, which holds the ledger.
        adapter: the name of an installed adapter.
        host: where its commands run: ``"local"`` is this machine, ``ssh://[user@]host[:port]`` another one, and
            ``HostSettings`` say more.
        options: the adapter's own settings, checked strictly.
        timing: how patient to be.

    Raises:
        ConfigurationError: the adapter, the host or an option is not known.
    """
    kind = load_adapter(adapter)
    settings = convert_options(options or {}, kind.Options, f"clusters.{name}.options")
    hosts = HostSettings(hosts=(host,)) if isinstance(host, str) else host
    try:
        check_hosts(hosts, pool=kind.pools)
    except ConfigurationError as error:
        raise ConfigurationError(f"clusters.{name}: {error}") from None
    async with open_host(hosts, keep=kind.keeps, pool=kind.pools) as opened:
        cluster = Cluster(name, kind(opened, settings), Ledger(state), timing=timing)
        try:
            async with beside(cluster.tidying.run):
                yield cluster
        finally:
            with anyio.move_on_after(PATIENCE, shield=True):
                await cluster.tidying.tidy()
