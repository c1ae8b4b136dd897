"""The soak in short; ``make soak`` has the long one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_exactly_one_session_for_each_launch_while_the_controller_is_stopped_and_killed() -> None:
    command = [sys.executable, "-m", "tests.soak", "60", "--at-a-time", "10", "--seed", "1"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as soak:
        try:
            said, _ = soak.communicate(timeout=110)
        finally:
            soak.terminate()  # it takes its cluster down
    assert soak.returncode == 0, said
    assert "passed" in said
