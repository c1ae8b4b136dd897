"""A FastX node, the installed launcher, and schedulers that only the configuration describes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from ..contract.launch import LaunchContract, QueueLaunchContract
from ..contract.place import open_place
from .command_site import DescribedSlurm, Spool

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from ..contract.place import Place


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    """The launcher is a program of its own; what the node runs on makes no difference."""
    return "asyncio"


class TestDescribedSlurm(QueueLaunchContract):
    @pytest.fixture
    async def place(self, tmp_path: Path, home: Path) -> AsyncIterator[Place]:
        slurm = DescribedSlurm(home)
        async with open_place(slurm, tmp_path / "fastx", slurm.table()) as place:
            yield place


class TestSpool(LaunchContract):
    @pytest.fixture
    async def place(self, tmp_path: Path, home: Path) -> AsyncIterator[Place]:
        spool = Spool(home)
        async with open_place(spool, tmp_path / "fastx", spool.table()) as place:
            yield place
