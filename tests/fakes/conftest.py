"""Simulated clusters for the tests of the fakes; every one must be left without a process."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from .fake_slurm import Slurm


@pytest.fixture
def make_slurm(tmp_path: Path) -> Iterator[Callable[..., Slurm]]:
    made: list[Slurm] = []

    def make(**settings: object) -> Slurm:
        made.append(Slurm(tmp_path / str(len(made)), **settings))
        return made[-1]

    yield make
    for slurm in made:
        slurm.close()


@pytest.fixture
def slurm(make_slurm: Callable[..., Slurm]) -> Slurm:
    """Four nodes; partition "debug" on two, and "gpu" on the two with GPUs."""
    return make_slurm()


@pytest.fixture(scope="module")
def shared_slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slurm]:
    """One cluster for many tests that do not look at one another's jobs."""
    slurm = Slurm(tmp_path_factory.mktemp("slurm"))
    yield slurm
    slurm.close()
