"""For all tests: signals as they should be, both event loops, a home of one's own, the shells that a node may have."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from fxsched.hosts import LocalHost

from .commands import command_server


def pytest_configure() -> None:
    """Heed what nohup, or a shell's ``&``, lets its programs ignore: shells that the tests start could not trap it."""
    for number in (signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_xdist_auto_num_workers() -> int:
    """Start three for each processor: most of their time the tests wait for what they have started."""
    return 3 * len(os.sched_getaffinity(0))


def pytest_unconfigure() -> None:
    if command_server.cache_info().currsize:
        command_server().close()


# "quick" is what nobody asks for: the same few examples each time. --hypothesis-profile=thorough finds new ones.
settings.register_profile(
    "quick",
    deadline=None,
    max_examples=20,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
settings.register_profile(
    "thorough", settings.get_profile("quick"), max_examples=100, derandomize=False, database=None, print_blob=True
)
settings.load_profile("quick")


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    """Every asynchronous test runs on both."""
    return str(request.param)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's home directory."""
    path = tmp_path / "home"
    path.mkdir()
    monkeypatch.setenv("HOME", str(path))
    return path


@pytest.fixture
def host(home: Path) -> LocalHost:
    """This machine, with that home."""
    return LocalHost()


@pytest.fixture(params=["dash", "bash"])
def sh_path(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A PATH on which ``sh`` is that shell; bash, called sh, is a POSIX shell."""
    shell = shutil.which(request.param)
    if shell is None:
        pytest.skip(f"there is no {request.param}")
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "sh").symlink_to(shell)
    return f"{folder}:{os.environ['PATH']}"
