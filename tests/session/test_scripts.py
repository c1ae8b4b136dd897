"""The job script and the command file, run by real shells."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from shlex import quote

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from msgspec.structs import force_setattr, replace

from fxsched.errors import InvalidRequest
from fxsched.jobs import JobSpec, Secret, SessionWait, new_token
from fxsched.session.scripts import HOME, render_command, render_script

TOKEN = new_token()
"""A new one in each worker: a job ends whatever carries its token, wherever it comes from."""

# Any bytes that a process can be given, as Python shows them: text, quotes, newlines, bytes that are no UTF-8.
WORDS = st.one_of(
    st.text(st.sampled_from("'\"\\$`(){}[]<>|&;#!*?~=%@-+ \t\n\r\x01\x7f\x81\x88aé")),
    st.binary().map(lambda data: data.replace(b"\0", b"").decode("utf-8", "surrogateescape")),
)
FILE_NAMES = WORDS.filter(lambda word: 0 < len(os.fsencode(word)) < 200 and "/" not in word and word not in (".", ".."))
NAMES = st.from_regex(r"X[A-Za-z0-9_]{0,8}", fullmatch=True)
HOSTILE = 'it\'s "$(touch pwned)" `touch pwned` ${HOME} \\ \n; touch pwned #\udc80é@TOKEN@'


class Session:
    """A session's directory, and the job script in it, run by whatever ``sh`` is on the PATH."""

    def __init__(self, directory: Path, path: str) -> None:
        self.directory = directory
        self.path = path
        self.started: list[subprocess.Popen[bytes]] = []

    def write(self, spec: JobSpec, *, patches: tuple[tuple[str, str], ...] = ()) -> None:
        """Stage the session; ``patches`` shorten the script's patience."""
        self.directory.mkdir(exist_ok=True)
        (self.directory / "command").write_bytes(render_command(spec))
        (self.directory / "stdin").write_bytes(spec.stdin)
        self.write_script(spec, patches=patches)

    def write_script(self, spec: JobSpec, *, patches: tuple[tuple[str, str], ...] = ()) -> None:
        script = render_script(str(self.directory), spec, job_id_variable="JOB_ID", unset=("UNWANTED",))
        for old, new in patches:
            assert old.encode() in script
            script = script.replace(old.encode(), new.encode())
        self.directory.with_suffix(".script").write_bytes(script)

    def start(self, job: str = "job-1", **environment: str) -> subprocess.Popen[bytes]:
        """Run the job script as a scheduler would."""
        sh = shutil.which("sh", path=self.path)
        assert sh is not None
        process = subprocess.Popen(
            [sh, self.directory.with_suffix(".script")],
            env={"PATH": self.path, "JOB_ID": job, "HOME": "/", **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self.started.append(process)
        return process

    def run(self, job: str = "job-1", **environment: str) -> subprocess.CompletedProcess[bytes]:
        process = self.start(job, **environment)
        stdout, stderr = process.communicate(timeout=60)
        return subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)

    def file(self, name: str) -> bytes:
        return (self.directory / name).read_bytes()

    def files(self) -> set[str]:
        return {path.name for path in self.directory.iterdir()}

    def close(self) -> None:
        for process in self.started:
            if process.poll() is None:
                process.terminate()
            process.communicate(timeout=60)


@pytest.fixture
def session(tmp_path: Path, sh_path: str) -> Iterator[Session]:
    session = Session(tmp_path / "session", sh_path)
    yield session
    session.close()


@pytest.fixture
def fifo(tmp_path: Path) -> Path:
    """A pipe through which a command tells that it runs: reading it waits for the command."""
    path = tmp_path / "fifo"
    os.mkfifo(path)
    return path


def shell(text: str, **members: object) -> JobSpec:
    """A session whose command is a line of sh."""
    return JobSpec(token=TOKEN, command=("/bin/sh", "-c", text), **members)  # type: ignore[arg-type]  # any member


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


class Recorder:
    """A command that writes down what reached it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.folder.mkdir(exist_ok=True)
        place = quote(str(folder))
        # By what the shell does itself, wherever it can: there are hundreds of examples.
        text = f"""for word; do printf '%s\\0' "$word"; done >{place}/words
{{ pwd -P; printf '\\0'; }} >{place}/cwd
cat /proc/$$/environ >{place}/environ
cat >{place}/stdin
printf said"""
        self.command = ("/bin/sh", "-c", f"PATH=/usr/bin:/bin\n{text}", "recorder")

    @property
    def words(self) -> list[str]:
        """The words behind the recorder's own."""
        return self._list("words")

    @property
    def environment(self) -> dict[str, str]:
        return dict(line.split("=", 1) for line in self._list("environ"))

    @property
    def directory(self) -> str:
        return self._list("cwd")[0].removesuffix("\n")

    def _list(self, name: str) -> list[str]:
        return os.fsdecode((self.folder / name).read_bytes()).split("\0")[:-1]


# ── the command file ──────────────────────────────────────────────────────────────────────────────────────────────


@given(words=st.lists(WORDS, max_size=5), variables=st.dictionaries(NAMES, WORDS, max_size=4), secret=WORDS)
@example(words=["", HOSTILE, "-n", "--"], variables={"X": HOSTILE, "X1": ""}, secret=HOSTILE)
def test_words_variables_and_secrets_arrive_as_given(
    tmp_path: Path, sh_path: str, words: list[str], variables: dict[str, str], secret: str
) -> None:
    recorder = Recorder(tmp_path / "seen")
    file = tmp_path / "command"
    file.write_bytes(
        render_command(
            JobSpec(
                token=TOKEN,
                command=(*recorder.command, *words),
                environment=variables,
                secrets={"SECRET": Secret(secret)},
            )
        )
    )
    run_file(file, sh_path, tmp_path)
    assert recorder.words == words
    seen = recorder.environment
    assert seen.pop("SECRET") == secret
    assert {name: value for name, value in seen.items() if name in variables} == variables


@given(directory=FILE_NAMES, output=FILE_NAMES)
@example(directory=HOSTILE.replace("/", ""), output=HOSTILE)
@example(directory="-P", output="&1")
@settings(max_examples=20)
def test_any_directory_and_any_output_file_will_do(tmp_path: Path, sh_path: str, directory: str, output: str) -> None:
    recorder = Recorder(tmp_path / "seen")
    folder = tmp_path / "folders" / directory
    folder.mkdir(parents=True, exist_ok=True)
    target = tmp_path / "folders" / output
    target = target / "file" if target.is_dir() else target
    spec = JobSpec(token=TOKEN, command=recorder.command)
    # The spec itself takes no control characters; FastX's homedir is the one that is checked there.
    file = tmp_path / "command"
    file.write_bytes(render_command(unchecked(spec, working_directory=str(folder), output=str(target))))
    run_file(file, sh_path, tmp_path)
    assert recorder.directory == str(folder)
    assert target.read_bytes() == b"said"
    target.unlink()


def unchecked(spec: JobSpec, **members: str) -> JobSpec:
    """Return a spec with members that its constructor refuses."""
    for name, value in members.items():
        force_setattr(spec, name, value)
    return spec


def run_file(file: Path, path: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[bytes]:
    sh = shutil.which("sh", path=path)
    assert sh is not None
    return subprocess.run(
        [sh, file],
        env={"PATH": path, **environment},
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=60,
    )


@pytest.mark.parametrize(
    "name",
    [
        *("BASH_FUNC_module%%", "a-b", "1x", "", "FXSCHED_TOKEN", "IFS", "OLDPWD", "OPTIND", "PWD", "SHLVL", "_"),
        *("BASHOPTS", "BASH_VERSINFO", "EUID", "PPID", "SHELLOPTS", "UID", "EPOCHREALTIME", "EPOCHSECONDS"),
        *("GROUPS", "HISTCMD", "LINENO", "RANDOM", "SECONDS", "SRANDOM"),
    ],
)
def test_a_variable_that_a_shell_cannot_hold_is_left_out(tmp_path: Path, sh_path: str, name: str) -> None:
    file = tmp_path / "command"
    file.write_bytes(render_command(shell('printf %s "$KEPT"', environment={name: "() { bad value", "KEPT": "kept"})))
    assert run_file(file, sh_path, tmp_path).stdout == b"kept"
    assert b"bad value" not in file.read_bytes()


def test_a_command_starts_at_home_wherever_that_is(tmp_path: Path, sh_path: str) -> None:
    (tmp_path / "home").mkdir()
    file = tmp_path / "command"
    file.write_bytes(render_command(shell("pwd", working_directory=HOME)))
    assert run_file(file, sh_path, tmp_path, HOME=str(tmp_path / "home")).stdout == f"{tmp_path}/home\n".encode()
    done = run_file(file, sh_path, tmp_path, HOME=str(tmp_path / "none"))
    assert (done.returncode != 0, done.stdout) == (True, b"")


def test_all_that_a_command_says_is_in_its_output_file(tmp_path: Path, sh_path: str) -> None:
    file = tmp_path / "command"
    file.write_bytes(render_command(shell("echo out; echo err >&2", output=str(tmp_path / "output"))))
    done = run_file(file, sh_path, tmp_path)
    assert (done.stdout, done.stderr) == (b"", b"")
    assert (tmp_path / "output").read_bytes() == b"out\nerr\n"


def test_a_directory_that_is_not_there_ends_the_command(tmp_path: Path, sh_path: str) -> None:
    file = tmp_path / "command"
    file.write_bytes(render_command(shell("echo ran", working_directory=str(tmp_path / "none"))))
    done = run_file(file, sh_path, tmp_path)
    assert (done.returncode != 0, done.stdout) == (True, b"")
    assert b"none" in done.stderr


def test_a_body_runs_in_place_of_the_command_with_its_environment(tmp_path: Path, sh_path: str) -> None:
    file = tmp_path / "command"
    spec = JobSpec(token=TOKEN, body='echo "$A"\necho done', command=("false",), environment={"A": "a b"})
    file.write_bytes(render_command(spec))
    assert run_file(file, sh_path, tmp_path).stdout == b"a b\ndone\n"


def test_a_body_keeps_its_interpreter() -> None:
    spec = JobSpec(token=TOKEN, body="#!/bin/bash\necho hi", environment={"A": "a"})
    assert render_command(spec).splitlines() == [b"#!/bin/bash", b"export A=a", b"echo hi"]


@pytest.mark.parametrize("value", ["hunter2\0", "hunter2\ud800"])
def test_what_no_command_line_can_carry_is_refused_without_showing_it(value: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        render_command(shell("true", secrets={"KEY": Secret(value)}))
    assert "hunter2" not in "".join(traceback.format_exception(caught.value))


# ── the job script ────────────────────────────────────────────────────────────────────────────────────────────────


def test_nothing_of_the_request_is_in_the_job_script() -> None:
    marked = JobSpec(
        token=TOKEN,
        name="MARKER",
        command=("MARKER",),
        body="MARKER",
        stdin=b"MARKER",
        environment={"MARKER": "MARKER"},
        secrets={"MARKER": Secret("MARKER")},
        working_directory="/MARKER",
        output="/MARKER",
        queue="MARKER",
        account="MARKER",
        native=("MARKER",),
    )
    script = render_script("/home/ada/session", marked, job_id_variable="JOB_ID")
    assert b"MARKER" not in script
    assert script == render_script("/home/ada/session", JobSpec(token=TOKEN), job_id_variable="JOB_ID")


@given(name=FILE_NAMES)
@example(name=HOSTILE.replace("/", ""))
@example(name="@TOKEN@ @WAIT@ $d")
@settings(max_examples=8)
def test_a_hostile_home_directory_is_only_a_name(tmp_path: Path, sh_path: str, name: str) -> None:
    session = Session(tmp_path / f"home-{name}", sh_path)
    session.write(shell("echo hello"))
    assert session.run().returncode == 0
    assert session.file("output") == b"hello\n"
    assert not list(tmp_path.rglob("pwned"))


@given(
    words=st.lists(WORDS, max_size=3),
    variables=st.dictionaries(NAMES, WORDS, max_size=2),
    secret=WORDS,
    stdin=st.binary(),
)
@example(words=[HOSTILE], variables={"X": HOSTILE}, secret=HOSTILE, stdin=b"\0\xff\n'$(touch pwned)")
@settings(max_examples=8)
def test_a_whole_request_arrives_as_given(
    tmp_path: Path, sh_path: str, words: list[str], variables: dict[str, str], secret: str, stdin: bytes
) -> None:
    recorder = Recorder(tmp_path / "seen")
    session = Session(tmp_path / "session", sh_path)
    shutil.rmtree(session.directory, ignore_errors=True)
    session.write(
        JobSpec(
            token=TOKEN,
            command=(*recorder.command, *words),
            environment=variables,
            secrets={"SECRET": Secret(secret)},
            stdin=stdin,
        )
    )
    done = session.run()
    assert (done.returncode, done.stdout) == (0, b"")
    assert (recorder.words, (recorder.folder / "stdin").read_bytes()) == (words, stdin)
    seen = recorder.environment
    assert seen == seen | variables | {"SECRET": secret, "FXSCHED_TOKEN": TOKEN}
    assert session.file("output") == b"said"


def test_the_job_reports_its_start_and_its_end(session: Session) -> None:
    session.write(shell("echo out; echo err >&2; exit 3"))
    begin = int(time.time())
    done = session.run("4217")
    assert done.returncode == 3
    assert done.stderr.endswith(b"err\n")
    job, node, started = session.file("started").split()
    code, ended = session.file("ended").split()
    assert (job, node, code) == (b"4217", os.uname().nodename.encode(), b"3")
    assert begin <= int(started) <= int(ended) <= time.time()
    assert session.file("output") == b"out\n"


@pytest.mark.parametrize("mask", ["022", "002", "000"])
def test_what_the_job_writes_is_its_owner_s_alone_and_the_command_keeps_the_user_s_mask(
    session: Session, tmp_path: Path, mask: str
) -> None:
    session.write(shell(f"umask; : >{tmp_path}/made; exit 1"))
    script = session.directory.with_suffix(".script")
    script.write_bytes(f"umask {mask}\n".encode() + script.read_bytes())
    session.run()
    assert int(session.file("output"), 8) == int(mask, 8)
    assert (tmp_path / "made").stat().st_mode & 0o777 == 0o666 & ~int(mask, 8)
    written = ("lock", "started", "ended", "output")
    assert {name: (session.directory / name).stat().st_mode & 0o077 for name in written} == dict.fromkeys(written, 0)


def test_a_report_takes_the_place_of_a_former_one_that_its_reader_finds_whole(session: Session, fifo: Path) -> None:
    session.write(replace(shell(f"cat {fifo}"), requeue=True))
    former = "the former report\n"
    (session.directory / "started").write_text(former)
    with (session.directory / "started").open() as started:
        process = session.start()
        with fifo.open("w"):  # waits for the command
            (session.directory / "ended").write_text(former)
            ended = (session.directory / "ended").open()
        assert process.wait(60) == 0
        with ended:
            assert (started.read(), ended.read()) == (former, former)
    assert session.file("started").startswith(b"job-1 ")
    assert session.file("ended").startswith(b"0 ")


def test_the_job_is_seen_to_have_started_while_its_command_runs(session: Session, fifo: Path) -> None:
    session.write(shell(f"cat {fifo}"))
    process = session.start()
    with fifo.open("w"):  # waits for the command
        assert session.file("started").startswith(b"job-1 ")
        assert "ended" not in session.files()
    assert process.wait(60) == 0


def test_a_command_that_cannot_be_run_is_an_end_with_its_code(session: Session) -> None:
    session.write(JobSpec(token=TOKEN, command=("/nonexistent/start",)))
    assert session.run().returncode == 127
    assert session.file("ended").startswith(b"127 ")


def test_the_session_is_in_no_variable_that_its_adapter_names_as_unwanted(session: Session) -> None:
    session.write(shell('printf "%s/%s/%s" "${UNWANTED-none}" "${LC_ALL-none}" "${JOB_ID-none}"'))
    session.run(UNWANTED="x", LC_ALL="C")
    assert session.file("output") == b"none/none/job-1"


def test_a_job_without_an_id_makes_its_own(session: Session) -> None:
    session.write(shell("true"))
    session.run(job="")
    assert session.file("started").startswith(os.uname().nodename.encode() + b".")


def test_secrets_and_stdin_are_removed_after_a_good_end(session: Session) -> None:
    session.write(shell("true", secrets={"KEY": Secret("hunter2")}, stdin=b"{}"))
    session.run()
    assert session.files() == {"started", "ended", "output", "lock"}


def test_secrets_and_stdin_stay_after_a_failure_so_that_the_job_can_run_again(session: Session) -> None:
    session.write(shell("exit 1"))
    session.run()
    assert session.files() == {"started", "ended", "output", "lock", "command", "stdin"}


@pytest.mark.parametrize("interpreter", ["/bin/bash", "/bin/sh"])
def test_a_body_is_run_by_the_interpreter_that_it_names(session: Session, interpreter: str) -> None:
    if not Path(interpreter).exists():
        pytest.skip(f"there is no {interpreter}")
    session.write(JobSpec(token=TOKEN, body=f"#!{interpreter}\nreadlink /proc/$$/exe", environment={"A": "a"}))
    assert session.run().returncode == 0
    named = Path(shutil.which("sh", path=session.path) or "") if interpreter == "/bin/sh" else Path(interpreter)
    assert session.file("output").decode().strip() == str(named.resolve())


@pytest.mark.parametrize(
    "line", ["/bin/sh", "/bin/sh -e", " /bin/sh\t-e ", "/usr/bin/env sh", "/usr/bin/env -S sh -e", "/bin/sh -"]
)
def test_a_body_is_read_by_its_interpreter_and_never_executed(session: Session, line: str) -> None:
    """A home directory may forbid it: no file there is a program, not even to root."""
    session.write(JobSpec(token=TOKEN, body=f'#!{line}\ntest -x "$0" && exit 9\nfalse\nexit 3'))
    (session.directory / "command").chmod(0o600)
    assert session.run().returncode == (1 if "-e" in line else 3)
    assert (session.directory / "command").stat().st_mode & 0o777 == 0o600


def test_a_directory_that_does_not_appear_ends_the_job(session: Session) -> None:
    session.write_script(shell("true"), patches=(("-ge 60", "-ge 0"),))
    done = session.run()
    assert done.returncode == 72
    assert b"did not appear" in done.stderr
    assert b"Is the home directory shared" in done.stderr


def hasten(session: Session, tmp_path: Path) -> Callable[[], list[str]]:
    """Let the script's sleeps take no time; return what tells how long each should have been."""
    sleep, log = tmp_path / "bin" / "sleep", tmp_path / "slept"
    sleep.write_text(f'#!/bin/sh\necho "$1" >>{log}\n')
    sleep.chmod(0o755)
    return lambda: log.read_text().split() if log.exists() else []


def test_a_directory_is_waited_for_for_a_minute(session: Session, tmp_path: Path) -> None:
    slept = hasten(session, tmp_path)
    session.write_script(shell("true"))
    assert session.run().returncode == 72
    assert slept() == ["1"] * 60


def test_a_directory_that_is_there_is_not_waited_for(session: Session, tmp_path: Path) -> None:
    slept = hasten(session, tmp_path)
    session.write(shell("true"))
    assert session.run().returncode == 0
    assert "1" not in slept()


def test_a_directory_that_appears_late_is_waited_for(session: Session, fifo: Path) -> None:
    # In place of a second's sleep, the script tells that it waits, and goes on when the directory is there.
    session.write_script(shell("echo hello"), patches=(("    sleep 1\ndone\n", f"    read -r _ <{fifo}\ndone\n"),))
    process = session.start()
    with fifo.open("w") as waiting:  # waits for the job
        session.directory.mkdir()
        (session.directory / "stdin").touch()
        (session.directory / "command").write_bytes(render_command(shell("echo hello")))
        waiting.write("\n")
    assert process.wait(60) == 0
    assert session.file("output") == b"hello\n"


# ── nobody may be waiting ─────────────────────────────────────────────────────────────────────────────────────────


def test_a_session_that_is_forbidden_never_starts(session: Session, tmp_path: Path) -> None:
    session.write(shell(f"touch {tmp_path}/ran"))
    (session.directory / "unwanted").touch()
    done = session.run()
    assert (done.returncode, b"nobody waits for its session: it ends" in done.stderr) == (76, True)
    assert ((tmp_path / "ran").exists(), session.files()) == (False, {"command", "stdin", "unwanted"})


@pytest.mark.parametrize("says", ["", "\n", "soon\n", "1", "-5\n"])
def test_what_does_not_say_until_when_is_no_consent(session: Session, tmp_path: Path, says: str) -> None:
    slept = hasten(session, tmp_path)
    session.write(shell(f"touch {tmp_path}/ran"))
    (session.directory / "unsettled").write_text(says)
    assert (session.run().returncode, (tmp_path / "ran").exists()) == (76, False)
    assert slept() == ["0.1"] * 100


def test_a_directory_that_has_gone_is_no_consent(session: Session, tmp_path: Path) -> None:
    hasten(session, tmp_path)
    session.write(shell(f"touch {tmp_path}/ran"), patches=(("waited=0\nwhile :", 'rm -r "$d"; waited=0\nwhile :'),))
    assert (session.run().returncode, (tmp_path / "ran").exists()) == (76, False)


def test_a_session_whose_submitter_was_killed_does_not_start_once_its_time_is_over(
    session: Session, tmp_path: Path
) -> None:
    slept = hasten(session, tmp_path)
    session.write(shell(f"touch {tmp_path}/ran"))
    (session.directory / "unsettled").write_text(f"{int(time.time()) - 1}\n")
    assert (session.run().returncode, (tmp_path / "ran").exists()) == (76, False)
    assert slept() == ["0.1"] * 100  # the submitter's clock may be another


def test_a_session_starts_when_its_submit_is_settled(session: Session, fifo: Path) -> None:
    session.write(
        shell("echo hello"), patches=(("    sleep 0.1 2>/dev/null || sleep 1\n", f"    read -r _ <{fifo}\n"),)
    )
    (session.directory / "unsettled").write_text(f"{int(time.time()) - 1}\n")
    process = session.start()
    with fifo.open("w") as waiting:  # waits for the job
        (session.directory / "unsettled").unlink()
        waiting.write("\n")
    assert process.wait(60) == 0
    assert session.file("output") == b"hello\n"


# ── one job only ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_second_job_ends_and_touches_nothing(session: Session, fifo: Path) -> None:
    session.write(shell(f"cat {fifo}"))
    first = session.start("job-1")
    with fifo.open("w"):
        before = {name: session.file(name) for name in session.files()}
        second = session.run("job-2")
        assert second.returncode == 75
        assert b"job job-1 already has this session, so this one, job-2, ends." in second.stderr
        assert {name: session.file(name) for name in session.files()} == before
    assert first.wait(60) == 0


def test_of_many_jobs_at_once_exactly_one_has_the_session(session: Session, tmp_path: Path) -> None:
    session.write(shell(f"echo ran >>{tmp_path}/ran; exit 129"))
    jobs = [session.start(f"job-{number}") for number in range(8)]
    codes = sorted(job.wait(60) for job in jobs)
    assert codes == [75] * 7 + [129]
    assert (tmp_path / "ran").read_text() == "ran\n"


FULL = b"trap '' XFSZ\nulimit -f 0\n"
"""As on a full disk: files can be made, and nothing can be written to them."""


def test_on_a_full_disk_a_job_says_so_and_runs_once_there_is_space(session: Session, tmp_path: Path) -> None:
    session.write(shell(f"echo ran >>{tmp_path}/ran"))
    script = session.directory.with_suffix(".script")
    usual = script.read_bytes()
    script.write_bytes(FULL + usual)
    for _ in range(2):
        done = session.run()
        assert (done.returncode, b"the lock in " in done.stderr, b"disk" in done.stderr) == (73, True, True)
        assert session.files() == {"command", "stdin"}
    script.write_bytes(usual)
    assert session.run().returncode == 0
    assert (tmp_path / "ran").read_text() == "ran\n"


def test_a_write_that_failed_without_a_word_makes_no_lock(session: Session) -> None:
    session.write(shell("true"), patches=(("printf '%s\\n' \"$job\" >", ": >"),))
    assert session.run().returncode == 73
    assert session.files() == {"command", "stdin"}


@pytest.mark.parametrize(
    ("link", "code"), [pytest.param("false", 73, id="no hard links"), pytest.param("! ln", 0, id="NFS repeats it")]
)
def test_whether_a_link_was_made_is_told_by_the_lock_alone(session: Session, link: str, code: int) -> None:
    session.write(shell("true"), patches=(('ln "$d/lock.$job"', f'{link} "$d/lock.$job"'),))
    assert session.run().returncode == code


def test_a_job_that_was_ended_by_a_signal_may_run_again_where_that_is_wanted(session: Session, fifo: Path) -> None:
    session.write(replace(shell(f"echo begun; cat {fifo}"), requeue=True))
    process = session.start()
    with fifo.open("w"):
        process.terminate()
        assert process.wait(60) == 143
    assert "ended" in session.files()
    process = session.start()
    with fifo.open("w") as again:
        assert "ended" not in session.files()
        again.write("again\n")
    assert process.wait(60) == 0
    assert session.file("output") == b"begun\nagain\n"
    assert session.file("ended").startswith(b"0 ")


@pytest.mark.parametrize(
    ("number", "code"), [pytest.param(signal.SIGTERM, 143, id="ended"), pytest.param(signal.SIGKILL, -9, id="cut off")]
)
def test_a_job_that_is_run_again_begins_no_second_session_where_none_is_wanted(
    session: Session, fifo: Path, number: int, code: int
) -> None:
    session.write(shell(f"[ -e {fifo}.ran ] || {{ : >{fifo}.ran; echo begun; exec cat {fifo}; }}; echo again"))
    process = session.start()
    with fifo.open("w"):
        process.send_signal(number)
        assert process.wait(60) == code
    again = session.run()
    assert (again.returncode, b"the session has begun before" in again.stderr) == (77, True)
    assert session.file("output") == b"begun\n"


@pytest.mark.parametrize("code", [0, 5, 127])
def test_a_job_that_ended_by_itself_does_not_run_again(session: Session, tmp_path: Path, code: int) -> None:
    session.write(shell(f"echo ran >>{tmp_path}/ran; exit {code}"))
    assert [session.run().returncode for _ in range(2)] == [code, code]
    assert (tmp_path / "ran").read_text() == "ran\n"


# ── its end ───────────────────────────────────────────────────────────────────────────────────────────────────────

DAEMON = "setsid -f /bin/sh -c 'echo $$ >\"$0\"; exec sleep 300 </dev/null >/dev/null 2>&1' {fifo}"


SIGNALS = {
    signal.SIGTERM: 143,
    signal.SIGINT: 130,
    signal.SIGHUP: 129,
    signal.SIGUSR1: 138,  # Grid Engine's soft limits
    signal.SIGUSR2: 140,  # LSF's run limit
}


@pytest.mark.parametrize(("number", "code"), SIGNALS.items())
def test_a_signal_ends_everything_that_carries_the_token(session: Session, fifo: Path, number: int, code: int) -> None:
    session.write(shell(f"{DAEMON.format(fifo=fifo)}; echo $$ >{fifo}; exec sleep 300"))
    process = session.start()
    members: list[int] = []
    while len(members) < 2:
        members += map(int, fifo.read_text().split())
    assert all(map(alive, members))
    process.send_signal(number)
    assert process.wait(60) == code
    assert not any(map(alive, members))
    assert session.file("ended").startswith(f"{code} ".encode())


def test_a_process_that_ignores_term_is_killed(session: Session, fifo: Path) -> None:
    session.write(
        shell(f"trap '' TERM; echo $$ >{fifo}; exec sleep 300"),
        patches=(("for _ in 1 2 3 4 5", "for _ in 1"), ("        sleep 1\n", "        sleep 0.05\n")),
    )
    process = session.start()
    member = int(fifo.read_text())
    process.terminate()
    assert process.wait(60) == 143
    assert not alive(member)


def test_a_process_has_five_seconds_to_end(session: Session, fifo: Path, tmp_path: Path) -> None:
    slept = hasten(session, tmp_path)
    session.write(shell(f"trap '' TERM; echo $$ >{fifo}; exec /bin/sleep 300"))
    process = session.start()
    member = int(fifo.read_text())
    process.terminate()
    assert process.wait(60) == 143
    assert not alive(member)
    assert slept() == ["1"] * 5


def test_a_signal_during_the_end_changes_nothing_about_it(session: Session, fifo: Path, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    lingering = f"trap 'echo told >{fifo}; read -r _ <{gate}' TERM; echo up >{fifo}; sleep 300 & wait"
    session.write(
        shell(f"""setsid -f /bin/sh -c "{lingering}" </dev/null >/dev/null 2>&1; cat {gate}"""),
        patches=(("for _ in 1 2 3 4 5", "for _ in" + " 1" * 20),),
    )
    process = session.start()
    assert fifo.read_text() == "up\n"
    gate.write_text("")  # the command ends
    assert fifo.read_text() == "told\n"  # and the script ends what it left behind
    for number in SIGNALS:
        process.send_signal(number)
    gate.write_text("\n")
    assert process.wait(60) == 0
    assert session.file("ended").startswith(b"0 ")


def test_the_end_of_the_command_ends_what_it_left_behind(session: Session, fifo: Path, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    session.write(shell(f"{DAEMON.format(fifo=fifo)}; cat {gate}; exit 4"))
    process = session.start()
    member = int(fifo.read_text())
    with gate.open("w"):
        assert alive(member)
    assert process.wait(60) == 4
    assert not alive(member)


@pytest.mark.parametrize(
    "other_s", [{"FXSCHED_TOKEN": "other" + TOKEN[5:]}, {"FXSCHED_TOKEN": "", "LOG": f"/sessions/{TOKEN}/job.log"}]
)
def test_a_process_of_another_session_is_left_alone(session: Session, other_s: dict[str, str]) -> None:
    other = subprocess.Popen(["sleep", "300"], env={"PATH": os.environ["PATH"], **other_s})
    try:
        session.write(shell("exit 1"))
        assert session.run().returncode == 1
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()


def test_a_session_of_processes_lasts_as_long_as_they_do(session: Session, fifo: Path) -> None:
    session.write(
        shell(DAEMON.format(fifo=fifo), wait_for_session=SessionWait.PROCESSES),
        patches=(("sleep 2 &", "sleep 0.05 &"),),
    )
    process = session.start()
    member = int(fifo.read_text())
    wait_for(
        lambda: not Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text() or bool(sleepers(process))
    )
    assert (process.poll(), alive(member), "ended" in session.files()) == (None, True, False)
    os.kill(member, signal.SIGTERM)
    assert process.wait(60) == 0
    assert session.file("ended").startswith(b"0 ")


def test_a_process_that_shows_no_environment_for_a_moment_has_not_ended(
    session: Session, fifo: Path, tmp_path: Path
) -> None:
    real, grep, looks = shutil.which("grep"), tmp_path / "bin" / "grep", tmp_path / "looks"
    # Every other look finds nothing, as where a process is just about to become another program.
    grep.write_text(f'#!/bin/sh\necho >>{looks}\n[ $(($(wc -l <{looks}) % 2)) -eq 0 ] || exit 1\nexec {real} "$@"\n')
    grep.chmod(0o755)
    session.write(
        shell(DAEMON.format(fifo=fifo), wait_for_session=SessionWait.PROCESSES),
        patches=(("sleep 2 &", "sleep 0.05 &"),),
    )
    process = session.start()
    member = int(fifo.read_text())
    wait_for(lambda: looks.exists() and len(looks.read_bytes()) >= 6)
    assert (process.poll(), alive(member)) == (None, True)
    os.kill(member, signal.SIGTERM)
    assert process.wait(60) == 0


def test_a_session_of_processes_whose_command_failed_is_over(session: Session, fifo: Path) -> None:
    session.write(shell(f"{DAEMON.format(fifo=fifo)}; cat {fifo}; exit 6", wait_for_session=SessionWait.PROCESSES))
    assert session.run().returncode == 6
    assert not alive(int(session.file("output")))


def sleepers(process: subprocess.Popen[bytes]) -> list[str]:
    """Return the job script's own children that sleep: it waits for the session's processes."""
    names = []
    for pid in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split():
        try:
            names.append(Path(f"/proc/{pid}/comm").read_text().strip())
        except (FileNotFoundError, ProcessLookupError):
            continue
    return [name for name in names if name == "sleep"]


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize("ignored", [False, True], ids=["as usual", "ignored by the scheduler"])
def test_ctrl_c_works_in_the_session(session: Session, ignored: bool) -> None:
    session.write(shell("cat /proc/self/status"))
    script = session.directory.with_suffix(".script")
    if ignored:
        script.write_bytes(b"trap '' INT QUIT\n" + script.read_bytes())
    session.run()
    line = next(line for line in session.file("output").decode().splitlines() if line.startswith("SigIgn:"))
    mask = int(line.split()[1], 16)
    assert not [number for number in (signal.SIGINT, signal.SIGQUIT) if mask >> (number - 1) & 1]
