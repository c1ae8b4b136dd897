"""A FastX node, the installed launcher, and schedulers that only the configuration describes."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest

from fxsched_fakes import faults

from ..contract.launch import LaunchContract, QueueLaunchContract
from ..contract.place import LAUNCHER, START, open_place
from .command_site import DescribedSlurm, Spool

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from ..contract.place import Place

FASTX_3 = """
submit_line = '''
sbatch -p ${ start.params.queue } --comment="${ start.params.comment }" --ntasks=1 /usr/lib/fastx/3/scripts/start \\
    --command "${ start.command }" --geometry ${ start.geometry } --name "${ start.name }" > /dev/null
echo Your job has been scheduled
'''
"""


class TestDescribedSlurm(QueueLaunchContract):
    @pytest.fixture
    async def place(self, tmp_path: Path, home: Path) -> AsyncIterator[Place]:
        slurm = DescribedSlurm(home)
        async with open_place(slurm, tmp_path / "fastx", slurm.table()) as place:
            yield place

    async def test_a_fastx_3_template_asks_as_it_did_and_starts_the_session_as_fxsched_does(self, place: Place) -> None:
        place.configure(FASTX_3)

        launch = await place.launch(START | {"params": {"queue": "gpu", "comment": "a b'\"$(id)"}})
        report = await place.node.started(launch.session)

        assert isinstance(place.site, DescribedSlurm)
        [submit] = faults.calls(place.site.simulation.directory, "sbatch")
        assert submit["argv"][-4:] == ["-p", "gpu", "--comment=a b'\"$(id)", "--ntasks=1"]  # type: ignore[index]
        assert START["command"] not in str(submit["argv"])
        assert report.stdin == json.dumps(launch.session.start).encode()

    async def test_a_fastx_3_template_s_params_cannot_become_options(self, place: Place) -> None:
        place.configure(FASTX_3)

        launch = await place.launch(START | {"params": {"queue": "--uid=0", "comment": ""}})

        assert launch.exit_code == 1
        assert "would take for an option" in launch.stdout
        assert place.tokens() == []


class TestSpool(LaunchContract):
    @pytest.fixture
    async def place(self, tmp_path: Path, home: Path) -> AsyncIterator[Place]:
        spool = Spool(home)
        async with open_place(spool, tmp_path / "fastx", spool.table()) as place:
            yield place

    async def test_a_dry_run_shows_the_described_command_and_runs_nothing(self, place: Place) -> None:
        launch = await place.launch(launcher=[LAUNCHER, "--dry-run"])

        assert "submit with  /bin/sh -c" in launch.stdout
        assert re.search(r"spool submit \S+ '?~/\S+ '?~/\S+/job\.log'? '?~/\S+/job\.sh'?$", launch.stdout, re.MULTILINE)
        assert place.tokens() == []
