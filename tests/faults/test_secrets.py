"""A marker in place of FastX's bearer token: it reaches the session, and no other eye."""

from __future__ import annotations

import copy
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest

from fxsched.jobs import Secret
from fxsched_fakes import faults

from .conftest import until

if TYPE_CHECKING:
    from .conftest import Site

MARKER = f"marker-{os.urandom(8).hex()}-of-a-bearer-token"
"""A new one in each worker: what the others do at the same time is on this machine, too."""
WEBLINK = {"url": "https://fastx.example", "primary": MARKER}


def places_with_marker(*roots: Path) -> list[str]:
    """Return the files below the roots whose content has the marker."""
    return sorted(
        str(path)
        for root in roots
        for path in root.rglob("*")
        if path.is_file() and not path.is_symlink() and MARKER.encode() in path.read_bytes()
    )


def processes_with_marker(what: str) -> list[int]:
    """Return the processes that have the marker in their ``cmdline`` or ``environ``."""
    found = []
    for path in Path("/proc").glob(f"[0-9]*/{what}"):
        try:
            if MARKER.encode() in path.read_bytes():
                found.append(int(path.parent.name))
        except OSError:
            continue
    return found


def test_a_launch_leaves_it_in_the_sessions_own_command_file_and_nowhere_else(site: Site) -> None:
    done = site.launch(weblink=WEBLINK)

    assert (done.returncode, MARKER in done.stdout + done.stderr) == (0, False)
    (token,) = site.sessions()
    assert places_with_marker(site.home, site.slurm) == [str(site.state / "sessions" / token / "command")]
    assert (site.state / "sessions" / token / "command").stat().st_mode & 0o077 == 0


def test_the_session_gets_it(site: Site) -> None:
    site.start_script(f'printf %s "$WEBLINK_PRIMARY" >{site.home}/got; exec sleep 60')
    site.undrain()

    site.launch(weblink=WEBLINK)

    got = site.home / "got"
    until(lambda: got.exists() and got.read_text())
    assert got.read_text() == MARKER
    assert processes_with_marker("cmdline") == []


def test_no_command_has_it_in_its_words_or_its_environment_while_it_runs(site: Site) -> None:
    site.plan_all([{"command": command, "fault": "hang"} for command in ("sbatch", "squeue")])
    site.environment["WEBLINK_PRIMARY"] = MARKER  # as it is where FastX's own variables are inherited
    launcher = site.launching(start=subprocess.Popen, weblink=WEBLINK)  # a forked one shows its parent's environment
    until(lambda: site.calls("sbatch"))  # which says so itself: the launcher is between no fork and exec

    shown = processes_with_marker("cmdline"), processes_with_marker("environ")
    launcher.kill()
    launcher.communicate()

    assert shown == ([], [launcher.pid])
    assert not any(MARKER in str(call) for call in faults.calls(site.slurm))


def test_a_session_that_ended_leaves_it_nowhere(site: Site) -> None:
    site.start_script("exit 3")
    site.configure(wait_for_start=20.0)
    site.undrain()

    done = site.launch(weblink=WEBLINK)

    assert (done.returncode, "exit code 3" in done.stdout) == (1, True)
    assert places_with_marker(site.home, site.slurm) == []


def test_a_start_script_that_prints_it_is_not_quoted_with_it(site: Site) -> None:
    site.start_script('echo "failed with $WEBLINK_PRIMARY"; exit 3')
    site.configure(wait_for_start=20.0)
    site.undrain()

    done = site.launch(weblink=WEBLINK)

    assert "failed with ***" in done.stdout
    assert MARKER not in done.stdout + done.stderr + (site.state / "launch.log").read_text()


def test_on_this_host_it_is_in_the_sessions_environment_only(site: Site) -> None:
    site.configure('[clusters.local]\n[profiles.here]\ncluster = "local"\nwait_for_start = 20.0\n')
    site.start_script("echo '{\"result\": {}}'; exec sleep 60")

    done = site.launch("--profile", "here", weblink=WEBLINK)

    try:
        assert done.stdout == '{"result": {}}\n'
        assert processes_with_marker("cmdline") == []
        (token,) = site.sessions()
        assert places_with_marker(site.home) == [str(site.state / "sessions" / token / "command")]
    finally:
        site.fxsched("cancel", "--cluster", "local", token)
    assert places_with_marker(site.home) == []


def test_a_dry_run_names_it_and_does_not_show_it(site: Site) -> None:
    done = site.launch("--dry-run", weblink=WEBLINK)

    assert "secrets      WEBLINK_PRIMARY" in done.stdout
    assert MARKER not in done.stdout + done.stderr
    assert places_with_marker(site.home, site.slurm) == []


@pytest.mark.parametrize("fault", ["fail", "down", "garbage", "accept-then-time-out"])
def test_no_error_tells_it(site: Site, fault: str) -> None:
    site.configure(launch_timeout=1.0)
    site.plan_all([{"command": command, "fault": fault, "delay": 0.0} for command in ("sbatch", "squeue")])

    done = site.launch(weblink=WEBLINK)

    assert done.returncode == 1
    assert MARKER not in done.stdout + done.stderr + (site.state / "launch.log").read_text()


@pytest.mark.parametrize("primary", [7, [MARKER], {MARKER: 1}], ids=["a number", "a list", "an object"])
def test_a_request_that_is_wrong_is_refused_without_telling_it(site: Site, primary: object) -> None:
    done = site.launch(weblink={"url": "u", "primary": primary})

    assert done.returncode == 1
    assert MARKER not in done.stdout + done.stderr + (site.state / "launch.log").read_text()


@pytest.mark.parametrize("where", ["fxsched.fastx.launcher.build_spec", "fxsched.cluster.submission.public_spec"])
def test_the_traceback_of_an_internal_error_does_not_tell_it(site: Site, where: str) -> None:
    module, _, name = where.rpartition(".")
    program = (
        f"import {module} as module, sys\n"
        "from fxsched.fastx import launcher\n"
        "def broken(*arguments, **named): raise RuntimeError(f'broken by {arguments!r} {named!s}')\n"
        f"module.{name} = broken\n"
        "sys.exit(launcher.main([]))\n"
    )

    done = subprocess.run(
        [sys.executable, "-c", program],
        input=site.request(weblink=WEBLINK),
        env=site.environment,
        capture_output=True,
        timeout=60,
    )

    log = (site.state / "launch.log").read_text()
    assert (done.returncode, "RuntimeError: broken by" in log) == (70, True)
    assert b"internal error, RuntimeError; see" in done.stderr
    assert MARKER not in log + (done.stdout + done.stderr).decode()


def test_the_command_line_keeps_it_to_the_job_as_well(site: Site) -> None:
    site.environment["WEBLINK_PRIMARY"] = MARKER

    done = site.run("submit", "--", "sleep", "60")

    assert (done.returncode, MARKER in done.stdout + done.stderr) == (0, False)
    assert all(path.endswith("/command") for path in places_with_marker(site.home, site.slurm))


@pytest.mark.parametrize(
    "form",
    [str, repr, "{}".format, "%s".__mod__, "{!r:>40}".format, ascii, lambda secret: f"{[secret]} { ({'a': secret}) }"],
)
def test_a_secret_cannot_be_formatted(form: object) -> None:
    assert callable(form)
    assert MARKER not in form(Secret(MARKER))


@pytest.mark.parametrize(
    "way", [pickle.dumps, copy.copy, copy.deepcopy, msgspec.json.encode, msgspec.to_builtins, vars]
)
def test_a_secret_cannot_be_written_down(way: object) -> None:
    assert callable(way)
    with pytest.raises(TypeError) as error:
        way(Secret(MARKER))
    assert MARKER not in str(error.value)
