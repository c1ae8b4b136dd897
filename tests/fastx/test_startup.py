"""People wait for the launcher: what it imports before it has done its work is held to a list."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from fastx.conftest import User

NEVER = ("asyncssh", "jinja2", "markupsafe", "rich", "click", "importlib.metadata", "trio", "difflib", "tomllib")

PROGRAM = """
import json, sys
from fxsched.fastx.launcher import main
code = main(sys.argv[1:])
print(json.dumps(sorted(sys.modules)), file=sys.stderr)
sys.exit(code)
"""


def test_a_launch_imports_only_what_it_uses(user: User) -> None:
    user.start_script("""echo '{"result": 1}'; sleep 60""")

    modules = _modules(user)

    assert [name for name in NEVER if name in modules] == []
    assert "fxsched.cluster.cluster" in modules


@pytest.mark.parametrize("name", ["fxsched_slurm", "fxsched_fakes"])
def test_a_launch_imports_no_adapter_but_its_own(user: User, name: str) -> None:
    assert not [module for module in _modules(user) if module.startswith(name)]


@pytest.mark.parametrize(("transport", "imported"), [("openssh", False), ("asyncssh", True)])
def test_asyncssh_is_imported_only_where_it_is_used(user: User, transport: str, imported: bool) -> None:
    config = user.config(f'[clusters.far]\nhost = "ssh://nowhere.invalid"\ntransport = "{transport}"\n')
    user.environment["FXSCHED_CONFIG"] = str(config)

    assert ("asyncssh" in _modules(user, "--dry-run")) == imported


@pytest.mark.parametrize("unused", ["fxsched.hosts.failover", "fxsched.hosts.become", "fxsched.hosts.framing"])
def test_a_launch_on_this_machine_imports_nothing_that_others_need(user: User, unused: str) -> None:
    assert unused not in _modules(user)


def test_importing_fxsched_costs_nothing() -> None:
    code = "import sys; before = set(sys.modules); import fxsched; print(sorted(set(sys.modules) - before))"

    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout

    assert not [name for name in ("anyio", "msgspec", "asyncio") if f"'{name}'" in loaded]


def _modules(user: User, *arguments: str) -> list[str]:
    result = subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments],
        input=json.dumps(user.request()),
        capture_output=True,
        text=True,
        env=user.environment | {"COVERAGE_PROCESS_START": ""},
        timeout=60,
        check=False,
        cwd=os.sep,
    )
    assert result.returncode == 0, result
    modules: list[str] = json.loads(result.stderr)
    return modules
