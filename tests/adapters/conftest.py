"""A home directory of its own for each test, and the sites in which adapters meet their schedulers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from .fake_site import FakeSite
from .process_site import ThisMachine
from .slurm_site import FakeSlurm

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    """The core is tested on both event loops, and the contract once (``test_contract``); adapters do not know them."""
    return "asyncio"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's home directory."""
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    return home


@pytest.fixture
async def slurm(home: Path, anyio_backend: object) -> AsyncIterator[FakeSlurm]:
    """A simulated Slurm; its jobs end with the test."""
    site = FakeSlurm(home)
    yield site
    await site.end_jobs()


@pytest.fixture
async def machine(home: Path, anyio_backend: object) -> AsyncIterator[ThisMachine]:
    """This machine; the jobs end with the test."""
    site = ThisMachine(home)
    yield site
    await site.end_jobs()


@pytest.fixture(params=["served", pytest.param("processes", marks=pytest.mark.thorough)])
def either_way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands of simulated schedulers run in the server; in a thorough run, also each as a process of its own."""
    if request.param == "processes":
        monkeypatch.setattr(FakeSite, "serve", staticmethod(lambda: None))
