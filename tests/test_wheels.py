"""What ``make wheels`` makes, as those meet it who have nothing else of this project."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
from importlib.metadata import Distribution, distribution, distributions
from pathlib import Path
from zipfile import ZipFile

import pytest
from packaging.requirements import Requirement

from fxsched import __version__
from fxsched.registry import BUILT_IN
from fxsched_fakes.demo import START
from fxsched_fakes.fastx import FastXNode

pytestmark = [pytest.mark.anyio, pytest.mark.thorough]

PROJECT = Path(__file__).parents[1]
PROGRAMS = ("fxsched", "fxsched-launch")


@pytest.fixture
def anyio_backend() -> str:
    """The launcher is a program of its own; what the node runs on makes no difference."""
    return "asyncio"


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both distributions, each wheel built from its sdist."""
    directory = tmp_path_factory.mktemp("dist")
    for source in (PROJECT, PROJECT / "fakes"):
        build = [sys.executable, "-m", "build", "--no-isolation", "--outdir", directory, source]
        subprocess.run(build, check=True)
    return directory


class Environment:
    """A fresh virtual environment with these distributions and what they say they need, and nothing else."""

    def __init__(self, directory: Path, *wheels: Path) -> None:
        self.bin = directory / "bin"
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", directory], check=True)
        library = Path(sysconfig.get_path("purelib", "venv", {"base": str(directory)}))
        for need in {need for made in distributions(path=[*map(str, wheels)]) for need in needs(made)}:
            link(need, library)
        install = [sys.executable, "-m", "pip", "--python", directory, "install", "--no-index", *wheels]
        subprocess.run(install, check=True)

    def run(self, program: str, *arguments: str | Path, **variables: str) -> subprocess.CompletedProcess[str]:
        argv = [self.bin / program, *arguments]
        environment = {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"} | variables
        return subprocess.run(argv, capture_output=True, text=True, env=environment, timeout=60, check=False)


def needs(made: Distribution) -> set[str]:
    """The names of the distributions that this one says it needs, and they in turn."""
    requirements = map(Requirement, made.requires or ())
    names = {each.name for each in requirements if each.marker is None or each.marker.evaluate({"extra": ""})}
    return names.union(*(needs(distribution(name)) for name in names))


def link(name: str, library: Path) -> None:
    """Lends out a distribution of our own environment: nothing has to come from the network."""
    for file in distribution(name).files or ():
        if ".." not in file.parts:  # its programs
            (library / file).parent.mkdir(parents=True, exist_ok=True)
            (library / file).symlink_to(file.locate())


@pytest.fixture(scope="module")
def fxsched(dist: Path, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """Where sessions start."""
    return Environment(tmp_path_factory.mktemp("fxsched"), *dist.glob("fxsched-*.whl"))


@pytest.fixture(scope="module")
def fxsched_fakes(dist: Path, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """Where somebody tests a launcher that is not ours."""
    return Environment(tmp_path_factory.mktemp("fxsched_fakes"), *dist.glob("fxsched_fakes-*.whl"))


@pytest.fixture
def both(dist: Path, tmp_path: Path) -> Environment:
    """Where somebody tests an adapter."""
    return Environment(tmp_path / "both", *dist.glob("*.whl"))


def test_both_distributions_have_the_one_version(dist: Path) -> None:
    assert {path.name for path in dist.iterdir()} == {
        f"fxsched-{__version__}.tar.gz",
        f"fxsched-{__version__}-py3-none-any.whl",
        f"fxsched_fakes-{__version__}.tar.gz",
        f"fxsched_fakes-{__version__}-py3-none-any.whl",
    }


@pytest.mark.parametrize(("name", "roots"), [("fxsched", ["src", "adapters"]), ("fxsched_fakes", ["fakes"])])
def test_a_wheel_has_its_packages_whole_and_nothing_else(dist: Path, name: str, roots: list[str]) -> None:
    files = {str(file.relative_to(PROJECT / root)) for root in roots for file in (PROJECT / root).glob("*/**/*.*")}
    packages = {file.partition("/")[0] for file in files}

    with ZipFile(*dist.glob(f"{name}-*.whl")) as wheel:
        names = {file for file in wheel.namelist() if ".dist-info/" not in file}
        terms = wheel.read(f"{name}-{__version__}.dist-info/licenses/LICENSE")

    programs = {f"fxsched-{__version__}.data/scripts/{program}" for program in PROGRAMS if name == "fxsched"}
    assert names == {file for file in files if "__pycache__" not in file} | programs
    assert {f"{package}/py.typed" for package in packages} <= names
    assert terms == (PROJECT / "LICENSE").read_bytes()


@pytest.mark.parametrize("name", ["fxsched", "fxsched_fakes"])
def test_a_wheel_names_all_that_its_modules_import(request: pytest.FixtureRequest, name: str) -> None:
    environment: Environment = request.getfixturevalue(name)
    code = """if True:
        import sys
        from importlib import import_module
        from importlib.metadata import files
        for file in files(sys.argv[1]):
            if file.suffix == ".py":
                import_module(".".join(file.with_suffix("").parts))
        """

    imported = environment.run("python", "-I", "-c", code, name)

    assert imported.returncode == 0, imported.stderr


@pytest.mark.parametrize("program", PROGRAMS)
def test_fxsched_alone_has_its_programs(fxsched: Environment, program: str) -> None:
    assert __version__ in fxsched.run(program, "--version").stdout


@pytest.mark.parametrize("program", PROGRAMS)
def test_its_programs_find_their_own_python_whatever_others_are_set(fxsched: Environment, program: str) -> None:
    for name in ("PYTHONHOME", "PYTHONPATH"):
        assert __version__ in fxsched.run(program, "--version", **{name: "/opt/otherpython"}).stdout


async def test_fxsched_alone_starts_a_session(fxsched: Environment, tmp_path: Path) -> None:
    async with FastXNode(tmp_path / "fastx", home=tmp_path / "home") as node:
        launch = await node.launch(START, [str(fxsched.bin / "fxsched-launch")])
        assert (launch.exit_code, launch.says_started) == (0, True), launch
        report = await node.started(launch.session)
        await node.terminate(launch.session)
        await node.ended(launch.session)

    assert report.start == launch.session.start


def test_fxsched_alone_loads_every_adapter(fxsched: Environment) -> None:
    code = """if True:
        from fxsched.registry import adapter_names, load_adapter
        for name in adapter_names():
            print(name, load_adapter(name).__module__)
        """

    loaded = fxsched.run("python", "-I", "-c", code).stdout.splitlines()

    assert loaded == [f"{name} {target.partition(':')[0]}" for name, target in sorted(BUILT_IN.items())]


def test_nothing_that_injects_faults_is_installed_where_sessions_start(fxsched: Environment) -> None:
    assert "No module named 'fxsched_fakes'" in fxsched.run("python", "-I", "-c", "import fxsched_fakes").stderr


def test_the_fakes_alone_are_a_cluster(fxsched_fakes: Environment, tmp_path: Path) -> None:
    installed = fxsched_fakes.run("python", "-I", "-m", "fxsched_fakes", "install", tmp_path / "bin")
    assert installed.returncode == 0, installed.stderr

    queue = subprocess.run([tmp_path / "bin" / "squeue"], capture_output=True, text=True, check=True)

    assert "JOBID PARTITION" in queue.stdout


def test_the_demo_without_fxsched_says_what_is_missing(fxsched_fakes: Environment) -> None:
    demo = fxsched_fakes.run("python", "-I", "-m", "fxsched_fakes.demo")

    assert demo.returncode == 1
    assert "fxsched-launch; fxsched has to be installed beside fxsched-fakes" in demo.stdout


def test_the_fakes_and_fxsched_are_a_demo(both: Environment) -> None:
    demo = both.run("python", "-I", "-m", "fxsched_fakes.demo")

    assert demo.returncode == 0, demo.stdout + demo.stderr
