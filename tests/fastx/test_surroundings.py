"""Variables meant for another Python, which the programs inherit from whoever starts them."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from .conftest import LAUNCHER

if TYPE_CHECKING:
    from pathlib import Path

    from .conftest import User

PROGRAMS = ("fxsched", "fxsched-launch")


@pytest.fixture(params=["an old enum", "a broken site", "another Python"])
def variables(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, str]:
    """Variables with which our Python would not start."""
    modules = tmp_path / "modules"
    modules.mkdir()
    match request.param:
        case "an old enum":  # pangeo-data/pangeo#312
            (modules / "enum.py").write_text("class Enum: pass\n")
        case "a broken site":
            (modules / "site.py").write_text("raise SystemExit(9)\n")
        case _:
            return {"PYTHONHOME": "/opt/otherpython", "PYTHONPATH": str(modules)}
    return {"PYTHONPATH": str(modules), "PYTHONSTARTUP": "/nonexistent", "PYTHONSAFEPATH": "", "PYTHONUTF8": "x"}


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_program_starts_whatever_is_meant_for_another_python(program: str, variables: dict[str, str]) -> None:
    argv = [LAUNCHER.with_name(program), "--version"]

    done = subprocess.run(argv, env=os.environ | variables, capture_output=True, text=True, check=False)

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("fxsched")


def test_a_session_keeps_what_was_meant_for_its_own_python(user: User, variables: dict[str, str]) -> None:
    user.start_script("""echo '{"result": "'"$PYTHONPATH"'"}'; sleep 60""")

    launched = user.launch_in_shell(environment=variables)

    assert (launched.returncode, variables["PYTHONPATH"] in launched.stdout) == (0, True), launched


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_program_starts_through_a_link_and_in_any_directory(program: str, tmp_path: Path) -> None:
    link = tmp_path / program
    link.symlink_to(LAUNCHER.with_name(program))
    (tmp_path / "enum.py").write_text("class Enum: pass\n")
    (tmp_path / "fxsched.py").write_text("raise SystemExit(9)\n")

    for argv, path in (([str(link)], "/usr/bin:/bin"), ([program], f"{tmp_path}:/usr/bin:/bin")):
        argv = [*argv, "--version"]
        done = subprocess.run(argv, env={"PATH": path}, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout[:7]) == (0, "fxsched"), done
