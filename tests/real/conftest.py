"""The real schedulers that these tests run on. Where one is not installed its tests fail: nothing is passed over."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from .slurm_cluster import SlurmCluster, missing_programs


@pytest.fixture(scope="session")
def slurm() -> Iterator[SlurmCluster]:
    """A real Slurm cluster, with two nodes in partition "debug" and two with GPUs in partition "gpu"."""
    if missing := missing_programs():
        pytest.fail(f"Slurm is not installed (missing: {', '.join(missing)}): run tests/real/install.sh slurm")
    # Not pytest's own temporary directory: only its user may enter that, and jobs are other users' too.
    with tempfile.TemporaryDirectory(prefix="slurm-") as directory, SlurmCluster(Path(directory)) as cluster:
        yield cluster
