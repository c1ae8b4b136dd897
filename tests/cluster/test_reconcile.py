"""What a crash left is mended, and only that."""

from __future__ import annotations

from datetime import timedelta

import pytest
from msgspec.structs import replace

from fxsched.cluster.cluster import Cluster
from fxsched.cluster.reconcile import settle_cut_off
from fxsched.jobs import new_token
from fxsched.records.files import now
from fxsched.records.ledger import Entry, Ledger, Owner

pytestmark = pytest.mark.anyio


async def test_a_submission_on_another_host_is_nobody_s_business_while_it_may_go_on(
    cluster: Cluster, ledger: Ledger
) -> None:
    entry = Entry(
        token=new_token(), cluster="hpc", name="x", submitted_at=now(), owner=Owner(host="other", pid=1, ticks="1")
    )
    for seconds, settled in ((cluster.timing.launch * 2 + 30, 0), (cluster.timing.over + 1, 1)):
        ledger.write(replace(entry, submitted_at=now() - timedelta(seconds=seconds)))
        assert len(await settle_cut_off(cluster)) == settled
