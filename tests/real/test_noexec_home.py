"""A home directory on which nothing may be executed, as hardened sites mount theirs. Needs root, to mount one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

LAUNCHER = Path(sys.executable).with_name("fxsched-launch")
MOUNTED = 'mount -t tmpfs -o noexec,mode=755 tmpfs "$1" && cp -R "$2/." "$1" && shift 2 && exec "$@"'


@pytest.mark.parametrize("shebang", ["", "#!/bin/bash -l\n"])
def test_a_session_starts_in_a_home_that_is_mounted_noexec(tmp_path: Path, shebang: str) -> None:
    home, contents, scripts = (tmp_path / name for name in ("home", "contents", "scripts"))
    for directory in (home, contents, scripts):
        directory.mkdir()
    (contents / "fxsched.toml").write_text(
        f"[profiles.default]\ntemplate = {json.dumps(shebang + 'exec {{ command }}' + chr(10))}\n"
    )
    start = scripts / "start"
    start.write_text("#!/bin/sh\necho '{\"result\": 1}'\nsleep 3\n")
    start.chmod(0o755)
    request = {
        "uid": os.getuid(),
        "gid": os.getgid(),
        "login": "ada",
        "homedir": str(home),
        "rootDir": str(tmp_path),
        "configDir": str(tmp_path),
        "defaultStartScript": str(start),
        "start": {"command": "xterm", "geometry": "800x600", "name": "s", "params": {}},
    }
    launch = [str(LAUNCHER), "--config", str(home / "fxsched.toml")]

    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", MOUNTED, "sh", home, contents, *launch],
        input=json.dumps(request),
        env={"HOME": str(home), "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert (done.returncode, done.stdout.strip()) == (0, '{"result": 1}'), done
