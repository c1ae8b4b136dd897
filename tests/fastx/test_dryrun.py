"""A dry run tells what the submit command would be, whatever the adapter, and runs nothing."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from fastx.conftest import User

COMMAND = """
[clusters.hpc.options]
submit = ["jsub", "--name={name}", "--out={output}", "--dir={directory}", "{native}"]
id = 'job (\\d+)'
status = ["jlist"]
row = '(?P<id>\\d+) (?P<state>\\w+) (?P<name>.*)'
complete = 'end of list'
cancel = ["jcut", "{id}"]
"""


def dry_run(user: User, adapter: str, settings: str = "") -> str:
    config = user.config(f'[clusters.hpc]\nadapter = "{adapter}"\n{settings}')
    result = user.launch("--dry-run", "--config", str(config))
    assert user.submitted() == []
    return result.stdout


@pytest.mark.parametrize(
    ("adapter", "settings", "command"),
    [
        ("slurm", "", "sbatch"),
        ("pbs", "", "qsub"),
        ("torque", "", "qsub"),
        ("moab", "", "msub"),
        ("lsf", "[clusters.hpc.options]\nmodern = true\n", "bsub"),
        ("sge", "", "qsub"),
        ("command", COMMAND, "jsub"),
        ("docker", "[clusters.hpc.options]\nimage = 'x'\nfastx = '/opt/fastx'\n", "/bin/sh"),
        ("local", "", "/bin/sh"),
        ("ssh", "hosts = ['ssh://a.invalid', 'ssh://b.invalid']\n", "/bin/sh"),
    ],
)
def test_every_adapter_s_submit_command_is_shown(user: User, adapter: str, settings: str, command: str) -> None:
    text = dry_run(user, adapter, settings)

    assert re.search(rf"^  submit with  {command} ", text, re.MULTILINE), text
    assert "ask first" not in text


def test_a_unit_that_would_be_asked_for_is_no_obstacle(user: User) -> None:
    text = dry_run(user, "lsf", "[profiles.default]\nmemory = '8G'\n")

    assert re.search(r"^  ask first    badmin showconf mbd$", text, re.MULTILINE), text
    assert re.search(r"^  submit with  bsub .* -R rusage.mem=", text.replace("'", ""), re.MULTILINE), text


@pytest.mark.parametrize(
    ("need", "option"), [("gpus = 1", "-gpu num=1"), ('qos = "gold"', "-sla gold"), ('reservation = "r"', "-U r")]
)
def test_what_an_adapter_would_ask_first_is_shown_and_taken_for_answered(user: User, need: str, option: str) -> None:
    text = dry_run(user, "lsf", f"[profiles.default]\n{need}\n")

    assert re.search(r"^  ask first    bjobs -a ", text, re.MULTILINE), text
    assert re.search(rf"^  submit with  bsub .* {option}", text, re.MULTILINE), text


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ('[profiles.default]\ngpus = 1\nqueue = "-x"', "'-x' begins with a hyphen"),
        ("options = { modern = false }\n[profiles.default]\ngpus = 1", "LSF before version 9"),
    ],
)
def test_what_the_adapter_would_refuse_a_dry_run_refuses(user: User, settings: str, complaint: str) -> None:
    assert complaint in dry_run(user, "lsf", settings)
