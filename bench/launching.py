"""How long `fxsched-launch` takes, and how much memory, with an sbatch that answers at once."""

from __future__ import annotations

import json
import os
import pwd
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from bench.table import Row, milliseconds, ratio

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

RUNS = 31
WARM_UP = 3
WALL_AIM = 1.3
MEMORY_AIM = 45.0

PEERS = Path(__file__).parent / "peers"

# The high-water mark of this very program: ru_maxrss would also count what its parent was before exec.
_MEMORY = """
import re, sys
from fxsched.fastx.launcher import main
main([])
print(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1], file=sys.stderr)
"""


def rows() -> list[Row]:
    """The launcher against a bare asynchronous program and against the script of FastX's documentation."""
    with tempfile.TemporaryDirectory(prefix="fxsched-bench-") as directory:
        return _measure(Path(directory))


def _measure(directory: Path) -> list[Row]:
    sbatch = directory / "sbatch"
    sbatch.write_text("#!/bin/sh\necho 4217\n")
    sbatch.chmod(0o755)
    config = directory / "fxsched.toml"
    config.write_text(
        f"[clusters.bench]\nadapter = 'slurm'\noptions.commands.sbatch = '{sbatch}'\n[profiles.default]\n"
        "wait_for_start = 0\n"
    )
    # Nothing of our own environment: PYTHONDONTWRITEBYTECODE, for one, would measure the compiler.
    environment = {"PATH": os.defpath, "HOME": str(directory / "home"), "FXSCHED_CONFIG": str(config)}
    request = _request(directory / "home")
    launcher = [str(Path(sys.executable).with_name("fxsched-launch"))]
    commands = {
        "ours": launcher,
        "bare": [sys.executable, str(PEERS / "bare.py"), str(sbatch)],
        "documented": [sys.executable, str(PEERS / "documented.py"), str(sbatch)],
    }
    times: dict[str, list[float]] = {name: [] for name in commands}
    for number in range(WARM_UP + RUNS):
        for name, command in commands.items():
            taken = _time(command, request, environment)
            if number >= WARM_UP:
                times[name].append(taken)
    memory = median(_memory(request, environment) for _ in range(5))
    ours = milliseconds(times["ours"])
    return [
        Row(
            "fxsched-launch : bare anyio.run of one process",
            ours,
            milliseconds(times["bare"]),
            ratio(times["ours"], times["bare"]),
            WALL_AIM,
        ),
        Row(
            "fxsched-launch : the script FastX documents",
            ours,
            milliseconds(times["documented"]),
            ratio(times["ours"], times["documented"]),
        ),
        Row("fxsched-launch, peak memory", f"{memory:.1f} MB", "", memory, MEMORY_AIM, " MB"),
    ]


def _request(home: Path) -> bytes:
    user = pwd.getpwuid(os.getuid())
    return json.dumps(
        {
            "rootDir": "/usr/lib/fastx/4",
            "uid": user.pw_uid,
            "gid": user.pw_gid,
            "homedir": str(home),
            "login": user.pw_name,
            "defaultStartScript": "$FX_ROOT_DIR/scripts/start",
            "start": {"command": "xterm -ls", "geometry": "1024x768", "name": "my session", "params": {"cores": "4"}},
            "weblink": {"url": "https://head:3320", "uri": "/weblink", "primary": "PRIMARY", "login": user.pw_name},
        }
    ).encode()


def _time(command: Sequence[str], stdin: bytes, environment: Mapping[str, str]) -> float:
    begin = time.perf_counter()
    done = subprocess.run(command, input=stdin, env=environment, capture_output=True, check=False)
    taken = time.perf_counter() - begin
    if done.returncode or b"4217" not in done.stdout:
        raise RuntimeError(f"{command} failed: {done.stdout!r} {done.stderr!r}")
    return taken


def _memory(stdin: bytes, environment: Mapping[str, str]) -> float:
    """Megabytes."""
    done = subprocess.run(
        [sys.executable, "-c", _MEMORY], input=stdin, env=environment, capture_output=True, check=True
    )
    return int(done.stderr) / 1024
