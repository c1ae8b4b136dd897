"""Settings become an open cluster, or one clear error."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fxsched.cluster.opening import open_cluster
from fxsched.errors import ConfigurationError
from fxsched.hosts.opening import HostSettings

pytestmark = pytest.mark.anyio


async def test_a_cluster_is_opened_by_its_adapter_s_name(tmp_path: Path, home: Path) -> None:
    async with open_cluster("here", state=tmp_path, options={"grace": 2}) as opened:
        assert (opened.name, type(opened.adapter).__name__, opened.adapter.options.grace) == (
            "here",
            "ProcessAdapter",
            2,
        )


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({"adapter": "slrum"}, "there is no adapter 'slrum'; did you mean 'slurm'?"),
        ({"options": {"grase": 2}}, "clusters.here.options.grase is not a setting; did you mean 'grace'?"),
        ({"options": {"grace": "2"}}, "clusters.here.options.grace: expected `int`, got `str`"),
        ({"host": "login1"}, "clusters.here: 'login1' is no SSH host: write ssh://[user@]host[:port]"),
        ({"host": HostSettings(hosts=("ssh://a", "ssh://a:22", "ssh://b@a"))}, "clusters.here: hosts are login nodes"),
        ({"host": HostSettings(hosts=("ssh://a", "ssh://a"))}, "clusters.here: hosts names a twice"),
        ({"host": HostSettings(hosts=())}, "clusters.here: hosts is empty"),
        ({"host": HostSettings(account="ada")}, "clusters.here: as ada on this machine: that needs become"),
        ({"host": HostSettings(channels=0)}, "clusters.here: channels is 0, but must be at least 1"),
        ({"host": HostSettings(connect_timeout=0)}, "clusters.here: connect_timeout is 0, but must be more than 0"),
    ],
)
async def test_a_cluster_that_cannot_be_opened_is_a_wrong_configuration(
    tmp_path: Path, arguments: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        async with open_cluster("here", state=tmp_path, **arguments):
            pass
    assert str(caught.value).startswith(complaint)
