"""Every fault of the simulated container engines."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from ..contract.faults import FaultContract
from .docker_site import FakeDocker, FakePodman

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class TestFakeDocker(FaultContract):
    @pytest.fixture
    def site(self, home: Path) -> Iterator[FakeDocker]:
        site = FakeDocker(home)
        yield site
        site.close()


class TestFakePodman(FaultContract):
    @pytest.fixture
    def site(self, home: Path) -> Iterator[FakePodman]:
        site = FakePodman(home)
        yield site
        site.close()
