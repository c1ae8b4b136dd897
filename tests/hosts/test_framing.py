"""A command for a far shell and its reply, run through every shell that this machine has, whatever its rc file does."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from fxsched.errors import CommandNotFound, ConfigurationError, FxschedError, HostUnreachable
from fxsched.hosts import CommandResult
from fxsched.hosts.framing import COMMAND_LINE, Frame
from fxsched.hosts.target import SshTarget, parse_target

SHELLS = [shell for shell in ("sh", "dash", "bash", "csh", "tcsh", "fish", "zsh", "ksh", "mksh") if shutil.which(shell)]
NOISE = {
    ".cshrc": "echo 'noise ! $HOME'; printf 'no end of line'; set verbose",
    ".zshenv": "echo noise; print -u2 noise; setopt nomatch; printf 'no end of line'",
    ".config/fish/config.fish": "echo noise; echo noise >&2; printf 'no end of line'",
    ".bash_env": "echo noise; echo noise >&2; printf 'no end of line'",
}
ODD = 'it\'s "odd" $HOME `id` \\ ! \n * {a,b} \t é \udcff end'


@pytest.fixture
def noisy(tmp_path: Path) -> dict[str, str]:
    """An environment in which every shell reads an rc file that prints."""
    for name, text in NOISE.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(f"{text}\n")
    return {"HOME": str(tmp_path), "PATH": os.environ["PATH"], "BASH_ENV": str(tmp_path / ".bash_env"), "LANG": "x"}


def through(shell: str, frame: Frame, environment: dict[str, str], stdin: bytes | None = None) -> Any:
    """Let a login shell run the command line, as sshd does; what came back."""
    return subprocess.run(
        [shell, "-c", COMMAND_LINE],
        input=frame.stdin if stdin is None else stdin,
        env=environment,
        capture_output=True,
        timeout=30,
        check=False,
    )


def reply(frame: Frame, environment: dict[str, str], shell: str = "sh") -> CommandResult:
    done = through(shell, frame, environment)
    result = frame.reply(done.stdout, done.stderr)
    assert result, done
    return result


def sh(text: str, *arguments: str) -> list[str]:
    return ["/bin/sh", "-c", text, "sh", *arguments]


# ── every shell ───────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("shell", SHELLS)
def test_words_input_and_both_outputs_are_exact_behind_a_noisy_shell(shell: str, noisy: dict[str, str]) -> None:
    data = bytes(range(256)) * 100
    frame = Frame(sh('cat; printf "%s|" "$@"; echo err >&2; exit 3', ODD, ""), stdin=data)

    assert reply(frame, noisy, shell) == CommandResult(3, data + os.fsencode(f"{ODD}||"), b"err\n")


@pytest.mark.parametrize("shell", SHELLS)
def test_the_far_environment_is_clean_and_complete(shell: str, noisy: dict[str, str]) -> None:
    frame = Frame(["env", "-0"], environment={"A": ODD, "KEY": "s e\ncret"}, keep=["SLURM_CONF"])
    noisy |= {
        "SQUEUE_FORMAT": "x",
        "SLURM_CONF": "/etc/a b",
        "LC_ALL": "C.UTF-8",
        "X": "a\nHOME=/x",
        "TZ": "Asia/Tokyo",
    }

    shown = os.fsdecode(reply(frame, noisy, shell).stdout)

    seen = dict(line.split("=", 1) for line in shown.split("\0")[:-1])
    expected = {"HOME": noisy["HOME"], "PATH": noisy["PATH"], "TZ": "Asia/Tokyo", "SLURM_CONF": "/etc/a b"}
    given = {"A": ODD, "KEY": "s e\ncret", "LC_ALL": "C"}
    assert {name: seen.get(name) for name in expected | given} == expected | given
    assert seen.keys() - expected.keys() - given.keys() <= {"USER", "LOGNAME", "SHELL", "PWD"}


@pytest.mark.parametrize("word", ["short", "with\na new line", "long" * 2000])
@pytest.mark.parametrize("shell", ["dash", "bash"])
def test_either_kind_of_sh_cleans_the_environment_and_reads_any_size(
    shell: str, word: str, tmp_path: Path, noisy: dict[str, str]
) -> None:
    (tmp_path / "sh").symlink_to(str(shutil.which(shell)))
    frame = Frame(["env"], environment={"A": word})
    frame.opening = frame.opening.replace(b"/bin/sh", str(tmp_path / "sh").encode())
    noisy |= {"BASH_FUNC_env%%": "() { echo a function\n}", "SHELLOPTS": "noglob", "line": "1", "text": "2", "UID": "3"}

    lines = reply(frame, noisy, "dash").text.splitlines()

    assert sorted(line for line in lines if not line.startswith(("PWD=", "SHELLOPTS=", "UID="))) == sorted(
        [*f"A={word}".splitlines(), f"HOME={tmp_path}", "LC_ALL=C", f"PATH={os.environ['PATH']}"]
    )


@pytest.mark.parametrize("shell", ["sh", "bash", "zsh", "ksh"])
def test_an_exec_in_an_rc_file_changes_nothing_where_the_shell_reads_as_posix_says(
    shell: str, noisy: dict[str, str]
) -> None:
    if not shutil.which(shell):
        pytest.skip(f"there is no {shell}")
    # It forgets the command line; what it reads is the opening, alone in the pipe until the mark has come.
    frame = Frame(["/bin/echo", "hello"])
    with subprocess.Popen(
        [shell], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=noisy
    ) as far:
        assert far.stdin
        assert far.stdout
        assert far.stderr
        far.stdin.write(frame.opening)
        far.stdin.flush()
        first = b""
        while not frame.begun(first):
            first += far.stdout.readline()
        far.stdin.write(frame.rest)
        far.stdin.flush()
        out, err = far.communicate(timeout=30)
    assert frame.reply(first + out, err) == CommandResult(0, b"hello\n", b"")


@pytest.mark.parametrize("character", ["!", "\\", "\n"])
def test_the_command_line_has_nothing_that_shells_read_differently(character: str) -> None:
    assert character not in COMMAND_LINE
    assert COMMAND_LINE.count("'") == 2


def test_nothing_of_a_command_stands_on_a_command_line(tmp_path: Path, noisy: dict[str, str]) -> None:
    secret = "h" + "unter2"
    frame = Frame(sh("cat /proc/[0-9]*/cmdline | tr '\\0' ' '"), environment={"A": secret, "KEY": secret})

    assert secret not in reply(frame, noisy).text
    assert secret.encode() not in frame.opening


# ── how it ends ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_signal_counts_as_the_shell_counts_it_and_no_shell_speaks_of_it(noisy: dict[str, str]) -> None:
    assert reply(Frame(sh("kill -KILL $$")), noisy) == CommandResult(137, b"", b"")


def test_a_command_need_not_read_its_input(noisy: dict[str, str]) -> None:
    assert reply(Frame(["true"], stdin=b"x" * 1_000_000), noisy) == CommandResult(0, b"", b"")


def test_a_command_without_input_finds_its_end(noisy: dict[str, str]) -> None:
    assert reply(Frame(["cat"]), noisy) == CommandResult(0, b"", b"")


def test_output_that_comes_after_the_end_still_counts(noisy: dict[str, str]) -> None:
    assert reply(Frame(sh("(sleep 0.2; echo late; echo sigh >&2) & echo now")), noisy) == CommandResult(
        0, b"now\nlate\n", b"sigh\n"
    )


@pytest.mark.parametrize("word", ["no-such-program", "/nonexistent/program", "/etc/passwd", "/etc/passwd/x", "/", ""])
@pytest.mark.parametrize("stdin", [b"", b"x"])
def test_a_program_that_is_not_there_is_named(word: str, stdin: bytes, noisy: dict[str, str]) -> None:
    frame = Frame([word], stdin=stdin, label="login1")
    done = through("sh", frame, noisy)

    with pytest.raises(CommandNotFound, match=f"^{word} cannot be run on login1: "):
        frame.reply(done.stdout, done.stderr)


def test_the_far_side_ends_a_command_by_itself(tmp_path: Path, noisy: dict[str, str]) -> None:
    frame = Frame(sh(f"trap '' TERM; sleep 60 & echo $! >{tmp_path}/pid; wait; sleep 60"), deadline=1)
    done = through("sh", frame, noisy)

    assert frame.reply(done.stdout, done.stderr) is None
    stat = Path(f"/proc/{(tmp_path / 'pid').read_text().strip()}/stat")
    assert not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] == "Z"


def test_the_whole_of_a_command_can_be_ended(noisy: dict[str, str]) -> None:
    frame = Frame(sh("echo ready; sleep 60 & sleep 60"))
    with subprocess.Popen(
        ["sh", "-c", COMMAND_LINE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=noisy
    ) as far:
        assert far.stdin
        assert far.stdout
        far.stdin.write(frame.stdin)
        far.stdin.flush()
        out = far.stdout.readline() + far.stdout.readline()
        group, node = frame.begun(out) or ("", "")

        assert subprocess.run(frame.ending(group, "another"), check=False).returncode == 1
        assert far.poll() is None
        assert subprocess.run(Frame(["x"]).ending(group, node), check=False).returncode == 0  # not its own
        assert far.poll() is None
        assert subprocess.run(frame.ending(group, node), check=False).returncode == 0
        far.communicate(timeout=20)  # to the end of all that held its output


def test_a_command_whose_process_group_nobody_knows_is_found_and_ended_and_no_other(noisy: dict[str, str]) -> None:
    frame, other = Frame(sh("echo ready; sleep 60 & sleep 60")), Frame(["x"])
    with subprocess.Popen(
        ["sh", "-c", COMMAND_LINE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=noisy
    ) as far:
        assert far.stdin
        assert far.stdout
        far.stdin.write(frame.stdin)
        far.stdin.flush()
        while b"ready" not in far.stdout.readline():
            pass

        assert reply(Frame(other.search), noisy).exit_code == 1
        assert far.poll() is None
        assert reply(Frame(frame.search), noisy).exit_code == 0
        far.communicate(timeout=20)  # to the end of all that held its output
    assert reply(Frame(frame.search), noisy).exit_code == 1


# ── cut anywhere ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_cut_anywhere_it_is_all_or_nothing(tmp_path: Path, noisy: dict[str, str]) -> None:
    stdin = b"#!/bin/sh\nexec sleep 60\n"
    frame = Frame(sh('cat >"$1/new" && mv "$1/new" "$1/job"', str(tmp_path)), stdin=stdin)
    whole = frame.stdin
    program = len(whole) - len(stdin)
    # The very last new line comes after all that matters.
    cuts = {*range(0, program, 97), *range(program - 40, len(whole) - 1)}

    for cut in sorted(cuts):
        done = through("sh", frame, noisy, whole[:cut])
        assert frame.reply(done.stdout, done.stderr) is None, cut
        assert not (tmp_path / "job").exists(), cut

    reply(frame, noisy)
    assert (tmp_path / "job").read_bytes() == stdin


def test_half_a_reply_is_none(noisy: dict[str, str]) -> None:
    frame = Frame(sh("echo out; echo err >&2"))
    done = through("sh", frame, noisy)

    assert frame.reply(done.stdout, done.stderr) == CommandResult(0, b"out\n", b"err\n")
    assert all(frame.reply(done.stdout[:cut], done.stderr) is None for cut in range(len(done.stdout)))
    assert all(frame.reply(done.stdout, done.stderr[:cut]) is None for cut in range(len(done.stderr)))
    assert frame.ended(done.stdout)
    assert not frame.ended(done.stdout[:-1])


def test_an_echo_of_what_was_sent_is_no_reply() -> None:
    frame = Frame(["true"], stdin=b"x")

    assert frame.begun(frame.stdin) is None
    assert frame.reply(frame.stdin, frame.stdin) is None


def test_what_the_login_shell_said_can_be_shown(noisy: dict[str, str]) -> None:
    frame = Frame(["true"])
    done = through("bash", frame, noisy)

    assert frame.noise(done.stdout) == "noise no end of line"


# ── what cannot be passed on ──────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("value", ["hunter2\0", "hunter2" * 20_000, "hunter2\ud800"], ids=["NUL", "long", "no text"])
def test_what_no_shell_can_pass_on_is_not_sent_and_not_shown(value: str) -> None:
    with pytest.raises(
        HostUnreachable, match="/bin/true could not be started on login1: a word or variable "
    ) as caught:
        Frame(["/bin/true"], environment={"KEY": value}, label="login1")
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("name", ["a.b", "BASH_FUNC_x%%", "", "1", "a\nb", "UID"])
def test_a_variable_that_no_shell_can_hold_is_an_error(name: str) -> None:
    with pytest.raises(FxschedError, match="no shell can pass on a variable called"):
        Frame(["true"], environment={name: "x"})


# ── where ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("ssh://login1.example.org", SshTarget(None, "login1.example.org", None)),
        ("ssh://ada@login1", SshTarget("ada", "login1", None)),
        ("ssh://ada@login1:2222/", SshTarget("ada", "login1", 2222)),
        ("ssh://svc-fx.1@[fe80::1%eth0]:22", SshTarget("svc-fx.1", "fe80::1%eth0", 22)),
        ("ssh://[::1]", SshTarget(None, "::1", None)),
    ],
)
def test_an_address_says_who_where_and_by_which_port(text: str, target: SshTarget) -> None:
    assert parse_target(text) == target
    assert ":" in target.host or parse_target(f"ssh://{target}") == target


@pytest.mark.parametrize(
    "text",
    [
        *("login1", "ssh://", "ssh://@login1", "ssh://login1:0", "ssh://login1:65536", "ssh://login1:x", "ssh://a b"),
        *(
            "ssh://-oProxyCommand=id",
            "ssh://-l@login1",
            "ssh://login1/home",
            "ssh://login1?x",
            "http://login1",
            "ssh://::1",
        ),
    ],
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match="is no SSH host: write ssh://"):
        parse_target(text)


def test_a_password_in_an_address_is_refused_and_not_shown() -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse_target("ssh://ada:hunter2@login1")
    assert "hunter2" not in str(caught.value)
