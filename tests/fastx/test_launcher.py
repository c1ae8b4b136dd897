"""``fxsched-launch`` as FastX and its users meet it: the installed program, JSON in, words and an exit status out."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from .conftest import LAUNCHER

if TYPE_CHECKING:
    from pathlib import Path

    from fastx.conftest import User

ABSENT_USER = 987654


def test_without_any_configuration_a_session_starts_on_this_machine(user: User) -> None:
    user.start_script("""echo '{"result": {"id": "s1"}}'; sleep 60""")

    result = user.launch()

    assert (result.returncode, result.stdout, result.stderr) == (0, '{"result": {"id": "s1"}}\n', "")


def test_the_start_script_gets_start_as_it_came_and_its_arguments(user: User) -> None:
    user.start_script('cat >"$HOME/stdin"; printf "%s\\n" "$@" >"$HOME/arguments"; echo \'{"result": 1}\'; sleep 60')
    start = b'{ "command":"xterm -ls" ,"name": "caf\\u00e9\xc3\xa9", "unknown": [1,  2.50, {"a":null}]}'
    data = json.dumps(user.request(start="START")).encode().replace(b'"START"', start)

    assert user.launch(data=data).returncode == 0

    assert (user.home / "stdin").read_bytes() == start
    assert (user.home / "arguments").read_text() == "--json=0\n--cli\n"


def test_a_local_job_inherits_the_launcher_s_environment(user: User) -> None:
    user.environment |= {"FX_NODE": "a b", "SITE": "l1\nl2 'q' \"d\" $HOME", "LC_TIME": "de_DE"}
    user.start_script('env -0 >"$HOME/environment"; echo \'{"result": 1}\'; sleep 60')

    user.launch()

    environment = (user.home / "environment").read_text().split("\0")
    assert {"FX_NODE=a b", "SITE=l1\nl2 'q' \"d\" $HOME", "LC_TIME=de_DE"} <= set(environment)
    assert not [line for line in environment if line.startswith("LC_ALL=")]


def test_a_start_script_that_prints_no_result_is_reported_in_words(user: User) -> None:
    user.start_script("sleep 60")

    result = user.launch(start={"command": "xterm", "name": "my session"})

    assert result.returncode == 0
    assert re.fullmatch(r'The session "my session" \(job \S+ on local\) has started on \S+\.\n', result.stdout)


def test_a_job_that_ends_at_once_fails_with_its_cause_and_its_output(user: User) -> None:
    user.start_script("echo no licence left; echo ask the desk >&2; exit 3")

    result = user.launch()

    assert result.returncode == 1
    assert "it failed with exit code 3" in result.stdout
    assert "no licence left" in result.stdout
    assert "ask the desk" in result.stdout
    assert result.stderr.count("\n") <= 1


def test_a_secret_that_the_start_script_prints_is_not_shown(user: User) -> None:
    user.start_script("exit 9")
    (user.root / "scripts" / "start-weblink").write_text('#!/bin/sh\necho "got $WEBLINK_PRIMARY"; exit 1\n')
    (user.root / "scripts" / "start-weblink").chmod(0o755)

    result = user.launch(weblink={"url": "https://head:3320", "primary": "S3CRET-PRIMARY"})

    assert "got ***" in result.stdout
    everything = [result.stdout, result.stderr, (user.state / "launch.log").read_text()]
    everything += [path.read_text() for path in user.state.glob("ledger/*/*.json")]
    assert not [text for text in everything if "S3CRET-PRIMARY" in text]


def test_a_result_is_fastx_s_business_and_not_the_log_s(user: User) -> None:
    script = user.root / "scripts" / "start-weblink"
    script.write_text("""#!/bin/sh\necho '{"result": "'$WEBLINK_PRIMARY'"}'; sleep 60\n""")
    script.chmod(0o755)

    result = user.launch(weblink={"url": "https://head:3320", "primary": "S3CRET-PRIMARY"})

    assert result.stdout == '{"result": "S3CRET-PRIMARY"}\n'
    log = (user.state / "launch.log").read_text()
    assert re.search(r'exit 0: The session "my session" \(job .*\) has started: its start script printed a re', log)
    assert "S3CRET-PRIMARY" not in log


def test_with_wait_for_start_0_nobody_waits(user: User) -> None:
    config = user.config("[profiles.default]\nwait_for_start = 0\n")

    result = user.launch("--config", str(config))

    assert result.returncode == 0
    assert re.fullmatch(r'The session "my session" has been submitted as job \S+ on local\.\n', result.stdout)


def test_the_configuration_in_fastx_s_own_directory_is_used(user: User) -> None:
    (user.home / "etc").mkdir()
    (user.home / "etc" / "fxsched.toml").write_text("[profiles.default]\nwait_for_start = 0\n")

    assert "has been submitted" in user.launch().stdout


def test_a_dry_run_submits_nothing_and_shows_no_secret(user: User) -> None:
    result = user.launch("--dry-run", weblink={"url": "https://head:3320", "primary": "S3CRET-PRIMARY"})

    assert result.returncode == 0
    assert "scripts/start-weblink --json=0 --cli" in result.stdout
    assert "WEBLINK_PRIMARY" in result.stdout
    assert "S3CRET-PRIMARY" not in result.stdout + result.stderr
    assert user.submitted() == []


def test_the_log_tells_the_administrator_what_happened(user: User) -> None:
    user.launch("--profile", "nosuch")

    log = user.state / "launch.log"
    assert "ConfigurationError: the built-in configuration: there is no profile 'nosuch'" in log.read_text()
    assert log.stat().st_mode & 0o777 == 0o600


def test_a_home_that_hangs_does_not_hold_up_the_launcher_s_end(user: User) -> None:
    user.environment["FXSCHED_CONFIG"] = str(user.config("[profiles.default]\nwait_for_start = 0.5\n"))
    os.mkfifo(fifo := user.home / "fifo")
    program = (
        "from fxsched.session import directory, here\n"
        "from fxsched.fastx import launcher\n"
        "directory.DEADLINE = 0.1\n"
        f"here.read = lambda place: open({str(fifo)!r})\n"
        "launcher.main()\n"
        "raise AssertionError\n"
    )

    result = subprocess.run(
        [sys.executable, "-c", program],
        input=json.dumps(user.request()).encode(),
        capture_output=True,
        env=user.environment,
        timeout=30,
    )

    assert (result.returncode, result.stderr) == (0, b"")
    assert result.stdout.startswith(b'The session "my session" ')


# ── the answer reaches FastX, or there is no session ──────────────────────────────────────────────────────────────

ASCII = {"PYTHONIOENCODING": "ascii", "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


def test_the_answer_is_utf_8_whatever_the_locale(user: User) -> None:
    config = user.config("[profiles.default]\nwait_for_start = 0\n")

    result = user.launch_in_shell(f"--config {config}", environment=ASCII, start={"name": "可視化"})

    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.startswith('The session "可視化" has been submitted')
    assert 'exit 0: The session "可視化"' in (user.state / "launch.log").read_text("utf-8")


@pytest.mark.parametrize(
    ("to", "trouble"),
    [(">/dev/full", "No space left on device"), (">&-", "Bad file descriptor"), ("| true", "Broken pipe")],
)
@pytest.mark.parametrize("seconds", [0, 10])
def test_a_session_that_nobody_can_be_told_of_is_ended_again(user: User, to: str, trouble: str, seconds: int) -> None:
    config = user.config(f"[profiles.default]\nwait_for_start = {seconds}\n")

    result = user.launch_in_shell(f"--config {config} {to}")

    assert result.returncode == 1
    assert f"the answer could not be written to standard output ({trouble})" in result.stderr
    assert result.stderr.count("\n") == 1
    assert [path.parent.name for path in user.state.glob("ledger/*/*.json")] == ["ended"]
    assert trouble in (user.state / "launch.log").read_text()


def test_a_refusal_that_nobody_can_be_told_of_is_one_all_the_same(user: User) -> None:
    result = user.launch_in_shell("--profile nosuch >/dev/full")

    assert (result.returncode, result.stderr.count("\n")) == (1, 1)
    assert "ConfigurationError" in result.stderr


def test_a_standard_error_that_is_full_changes_nothing(user: User) -> None:
    result = user.launch_in_shell("--profile nosuch 2>/dev/full")

    assert (result.returncode, result.stderr) == (1, "")
    assert "there is no profile 'nosuch'" in result.stdout


def test_a_session_whose_launch_fails_after_the_submit_is_ended_again(user: User) -> None:
    program = (
        "import sys\n"
        "from fxsched.fastx import launcher\n"
        "def broken(*arguments): raise RuntimeError('broken')\n"
        "launcher.reply = broken\n"
        "sys.exit(launcher.main([]))\n"
    )

    result = subprocess.run(
        [sys.executable, "-c", program],
        input=json.dumps(user.request()).encode(),
        capture_output=True,
        env=user.environment,
        timeout=60,
    )

    assert result.returncode == 70
    assert [path.parent.name for path in user.state.glob("ledger/*/*.json")] == ["ended"]


# ── what is refused: a clear message, a non-zero exit, and nothing submitted ──────────────────────────────────────


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "is empty"),
        (b"not JSON", "is not JSON"),
        (b"[]", "expected `object`, got `array`"),
        (b'{"login": "ada", "start": {}}', "no member 'uid'"),
        (b'{"uid": "0", "login": "ada", "start": {}}', "'uid'"),
        (b" " * (1024 * 1024) + b"{}", "larger than 1048576 bytes"),
        (b'{"login": "caf\xe9"}', "is not UTF-8"),
    ],
)
def test_bad_input_is_refused(user: User, data: bytes, words: str) -> None:
    _assert_refused(user, user.launch(data=data), words)


def test_a_closed_standard_input_is_refused(user: User) -> None:
    result = user.launch_in_shell("<&-")

    _assert_refused(user, result, "there is no request on standard input: it is closed")


def test_another_user_s_request_is_refused(user: User) -> None:
    _assert_refused(user, user.launch(uid=ABSENT_USER), "LAUNCH_AS_CURRENT_USER")


def test_an_unknown_profile_is_refused_and_the_nearest_named(user: User) -> None:
    config = user.config("[profiles.desktop]\n[profiles.batch]\n")

    _assert_refused(user, user.launch("--config", str(config), "--profile", "dekstop"), "did you mean 'desktop'?")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[profiles.default]\nqueu = 'x'\n", "profiles.default.queu is not a setting; did you mean 'queue'?"),
        ("[profile.default]\n", "[profile] is not a section; did you mean 'profiles'?"),
        ("[clusters.local]\nadapter = 'slrum'\n", "there is no adapter 'slrum'; did you mean 'slurm'?"),
        ("[clusters.local.options]\ngarce = 3\n", "clusters.local.options.garce is not a setting"),
        ("[profiles.default]\ncores = 'four'\n", "profiles.default.cores: expected `int`, got `str`"),
        ("[profiles.default]\nmemory = '8'\n", "profiles.default.memory: '8' is not a size"),
        ("profiles = 3\n", "profiles must be a table"),
        ("this is not TOML", "is not TOML"),
    ],
)
def test_a_wrong_configuration_is_refused(user: User, text: str, words: str) -> None:
    config = user.config(text)

    result = user.launch("--config", str(config))

    _assert_refused(user, result, words)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[clusters.far]\nadapter = 'slrum'\n", "clusters.far: there is no adapter 'slrum'"),
        ("[clusters.far.options]\ngarce = 3\n", "clusters.far.options.garce is not a setting"),
        ("[profiles.default]\nmemory = '8'\n", "profiles.default.memory: '8' is not a size"),
        ("[profiles.default]\ntemplate = '`{{ start.name }}`'\n", "profiles.default: "),
        ("[profiles.default]\nsubmit_line = 'bsub'\n", "profiles.default: submit_line does not call FastX's start"),
    ],
)
def test_what_is_wrong_in_a_configuration_is_named_with_its_place(user: User, text: str, words: str) -> None:
    config = user.config(text)

    _assert_refused(user, user.launch("--config", str(config)), f"{config}: {words}")


def test_a_configuration_that_is_not_there_is_refused(user: User) -> None:
    _assert_refused(user, user.launch("--config", "/nosuch.toml"), "/nosuch.toml cannot be read")


@pytest.mark.skipif(os.geteuid() != 0, reason="what root would run is what this is about")
def test_root_refuses_a_configuration_that_others_can_write(user: User) -> None:
    config = user.config("[profiles.default]\n")
    config.chmod(0o620)

    _assert_refused(user, user.launch("--config", str(config)), "can be written by others: run chmod go-w")


@pytest.mark.parametrize(
    ("cores", "words"),
    [
        ("64", "cores is 64, but must be at most 16"),
        ("0", "cores is 0, but must be at least 1"),
        ("four", "cores: 'four' is not a whole number"),
        (["2", "4"], "cores must be one value, not 2"),
        ({"a": 1}, "a param must be text"),
        ("4\n#SBATCH --uid=0", "is not a whole number"),
    ],
)
def test_a_param_outside_its_limits_is_refused(user: User, cores: Any, words: str) -> None:
    config = user.config("[profiles.default.fields.cores]\nparam = 'cores'\nmin = 1\nmax = 16\n")

    _assert_refused(user, user.launch("--config", str(config), start={"params": {"cores": cores}}), words)


def test_a_control_character_in_what_becomes_an_option_is_refused(user: User) -> None:
    config = user.config("[clusters.main]\nadapter = 'slurm'\n[profiles.default.fields.queue]\nparam = 'queue'\n")

    result = user.launch("--config", str(config), start={"params": {"queue": "debug\n#SBATCH"}})

    _assert_refused(user, result, "queue holds a control character")


def test_a_control_character_in_the_session_s_name_does_not_matter(user: User) -> None:
    result = user.launch("--dry-run", start={"name": "my\nsession\x00#1"})

    assert result.returncode == 0
    assert re.search(r"job name +my_session_1\.[a-z2-7]{20}$", result.stdout, re.MULTILINE)


def test_a_weblink_that_leads_nowhere_is_refused(user: User) -> None:
    _assert_refused(user, user.launch(weblink={"primary": "T"}), "a weblink without 'url'")


def test_a_missing_scheduler_is_told_as_such(user: User) -> None:
    config = user.config("[clusters.main]\nadapter = 'slurm'\noptions.commands.sbatch = '/nosuch/sbatch'\n")

    _assert_refused(user, user.launch("--config", str(config)), "/nosuch/sbatch cannot be run")


def test_a_home_that_cannot_be_written_is_refused(user: User) -> None:
    (user.home / ".local").write_text("not a directory")

    result = user.launch()

    (user.home / ".local").unlink()
    _assert_refused(user, result, "Nothing is submitted without it")


def _assert_refused(user: User, result: Any, words: str) -> None:
    assert result.returncode != 0
    assert words in result.stdout
    assert result.stdout.startswith("The session could not be started: ")
    assert result.stderr.count("\n") <= 1
    assert "Traceback" not in result.stdout + result.stderr
    assert user.submitted() == []


# ── what might never end ──────────────────────────────────────────────────────────────────────────────────────────


def test_a_request_that_does_not_end_is_refused_in_time(user: User) -> None:
    program = "from fxsched.fastx import launcher\nlauncher.REQUEST_DEADLINE = 0.2\nlauncher.main()\n"
    with subprocess.Popen(
        [sys.executable, "-c", program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=user.environment,
    ) as launcher:
        assert launcher.stdin is not None
        assert launcher.stdout is not None
        launcher.stdin.write(json.dumps(user.request()).encode())
        launcher.stdin.flush()

        said = launcher.stdout.read().decode()  # while the request's pipe is still open

        assert (launcher.wait(60), "FastX's request did not end within 0.2 s" in said) == (1, True)


def test_a_request_that_comes_piece_by_piece_is_one(user: User) -> None:
    data = json.dumps(user.request()).encode()
    with subprocess.Popen(
        [LAUNCHER, "--profile", "nosuch"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=user.environment,
    ) as launcher:
        assert launcher.stdin is not None
        for piece in (data[:10], data[10:]):
            launcher.stdin.write(piece)
            launcher.stdin.flush()
        out, _ = launcher.communicate(timeout=60)

    assert b"there is no profile 'nosuch'" in out


@pytest.mark.parametrize("place", ["argument", "FastX's directory"])
def test_a_pipe_in_the_configuration_s_place_is_refused(user: User, tmp_path: Path, place: str) -> None:
    pipe = tmp_path / "fxsched.toml"
    os.mkfifo(pipe)

    if place == "argument":
        said = user.launch("--config", str(pipe)).stdout
    else:
        user.environment.pop("FXSCHED_CONFIG", None)
        said = user.launch(configDir=str(tmp_path)).stdout

    assert f"{pipe} cannot be read: it is no regular file" in said


def test_a_pipe_in_the_log_s_place_hinders_no_launch(user: User) -> None:
    user.start_script("""echo '{"result": 1}'; sleep 60""")
    user.state.mkdir(parents=True, mode=0o700)
    os.mkfifo(user.state / "launch.log")

    assert user.launch().stdout == '{"result": 1}\n'
