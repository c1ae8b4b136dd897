"""A command that runs in the server is, to its caller, the command that is a process of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from fxsched_fakes import Cause, CommandServer, faults

from ..commands import command_server
from .fake_slurm import PATIENCE, Slurm, wait_for

PYTHON = os.path.realpath(sys.executable)


@pytest.fixture(params=["served", "processes"])
def slurm(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Slurm]:
    """One simulated Slurm, in either way; its nodes are drained."""
    slurm = Slurm(tmp_path, server=command_server() if request.param == "served" else None)
    drain(slurm)
    yield slurm
    slurm.close()


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Slurm]:
    """One simulated Slurm whose commands run in the server; its nodes are drained."""
    slurm = Slurm(tmp_path, server=command_server())
    drain(slurm)
    yield slurm
    slurm.close()


def drain(slurm: Slurm) -> None:
    with slurm.cluster as cluster:
        for node in cluster.settings.nodes:
            cluster.drain(node.name)


def hanging(slurm: Slurm, kind: str = "hang") -> subprocess.Popen[bytes]:
    """Starts an sbatch that hangs, and waits until it sleeps: just before, an interrupt would not wake a Python."""
    slurm.plan("sbatch", kind)
    before = len(faults.calls(slurm.state))
    process = slurm.start("sbatch", "--wrap", "true")
    wait_for(lambda: len(faults.calls(slurm.state)) > before, lambda: "it was never called")
    status = Path(f"/proc/{process.pid}/status")
    wait_for(lambda: "State:\tS" in status.read_text(), lambda: "it does not sleep")
    return process


def commands_of(process: subprocess.Popen[bytes]) -> list[int]:
    """The processes besides the caller that print where it prints."""
    pipe = os.readlink(f"/proc/{process.pid}/fd/9")
    found = []
    for path in Path("/proc").glob("[0-9]*/fd/1"):
        with suppress(OSError):
            if os.readlink(path) == pipe and path.parts[2] != str(process.pid):
                found.append(int(path.parts[2]))
    return found


def program(process: subprocess.Popen[bytes]) -> str:
    return os.path.realpath(f"/proc/{process.pid}/exe")


@pytest.mark.parametrize("code", [1, 2, 77, 130, 255])
def test_a_call_ends_with_the_status_and_the_words_of_the_command(slurm: Slurm, code: int) -> None:
    slurm.plan("squeue", "fail", rc=code, stderr="squeue: error: caf\udce9\n")

    done = slurm.run("squeue")

    assert (done.returncode, done.stdout, done.stderr) == (code, "", "squeue: error: caf\udce9\n")


def test_any_arguments_arrive(slurm: Slurm) -> None:
    arguments = ["-h", "", "a b", "-o", "line\nline\t$HOME `id` \\n %s", "caf\udce9", "x" * 100_000]

    slurm.run("squeue", *arguments)

    assert faults.calls(slurm.state, "squeue")[0]["argv"] == arguments


def test_output_that_no_pipe_holds_arrives_whole(slurm: Slurm) -> None:
    text = "0123456789abcde\n" * 100_000
    slurm.plan("squeue", "garbage", text=text)

    assert slurm.out("squeue") == text.removesuffix("\n")


def test_output_that_nobody_reads_does_not_matter(slurm: Slurm) -> None:
    slurm.plan("squeue", "garbage", text="x" * 1_000_000)
    process = slurm.start("squeue")
    assert process.stdout is not None
    process.stdout.close()
    process.stdout = None

    assert (process.communicate(timeout=PATIENCE)[1], process.returncode) == (b"", 0)


def test_standard_input_arrives_whole(slurm: Slurm) -> None:
    script = b"#!/bin/sh\n: " + b"x" * 1_000_000 + b"\xff\n"

    job = slurm.out("sbatch", "--parsable", stdin=script)

    assert (slurm.state / "jobs" / job / "script").read_bytes() == script


@pytest.mark.parametrize("position", [0, 8])
def test_a_file_is_read_from_where_it_stands(slurm: Slurm, position: int) -> None:
    (slurm.home / "file").write_bytes(b"ignored\n#!/bin/sh\ntrue\n" if position else b"#!/bin/sh\ntrue\n")
    with open(slurm.home / "file", "rb", buffering=0) as file:
        file.seek(position)
        argv = [slurm.bin / "sbatch", "--parsable"]
        done = subprocess.run(argv, stdin=file, capture_output=True, cwd=slurm.home, text=True, check=True)

    assert (slurm.state / "jobs" / done.stdout.strip() / "script").read_bytes() == b"#!/bin/sh\ntrue\n"


def test_output_into_a_file_follows_what_is_there_and_is_followed(slurm: Slurm) -> None:
    script = '{ echo before; "$1" -h -o %A; echo after; } >file 2>&1'
    job = slurm.submit("true")

    subprocess.run(["sh", "-c", script, "sh", slurm.bin / "squeue"], cwd=slurm.home, check=True)

    assert (slurm.home / "file").read_text() == f"before\n{job}\nafter\n"


def test_the_environment_the_directory_and_the_umask_are_the_caller_s(slurm: Slurm) -> None:
    directory = slurm.home / "a b\n'c"
    directory.mkdir()
    environment = {"ODD": "a=b\nc \udcff", "HOME": "/nowhere", "PATH": "/nowhere", "LC_CTYPE": "C.UTF-8"}

    argv = [slurm.bin / "sbatch", "--wrap", "true"]
    subprocess.run(argv, cwd=directory, env=environment, umask=0o027, input=b"", capture_output=True, check=True)

    with slurm.cluster as cluster:
        [job] = cluster.jobs.values()
        assert (job.workdir, job.extra["umask"]) == (str(directory), "27")
        assert cluster.environment_of(job) == environment


def test_the_time_zone_is_that_of_each_call(slurm: Slurm) -> None:
    slurm.submit("true")

    hours = [slurm.out("squeue", "-h", "-o", "%V", environment={"TZ": zone})[11:13] for zone in ("UTC", "XXX-5", "UTC")]

    assert hours[0] == hours[2]
    assert (int(hours[1]) - int(hours[0])) % 24 in (5, 6)  # an hour may have passed


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, -15), (signal.SIGKILL, -9), (signal.SIGHUP, -1), (signal.SIGINT, 130)]
)
@pytest.mark.parametrize("kind", ["hang", "accept-then-hang"])
def test_a_call_that_hangs_ends_by_a_signal(slurm: Slurm, kind: str, number: int, code: int) -> None:
    process = hanging(slurm, kind)

    process.send_signal(number)

    assert process.communicate(timeout=PATIENCE) == (b"", b"")  # whatever held the other ends of the pipes is no more
    assert process.returncode == code
    with slurm.cluster as cluster:
        assert len(cluster.jobs) == (kind == "accept-then-hang")


def test_a_call_whose_command_is_killed_dies_of_the_same_signal(served: Slurm) -> None:
    process = hanging(served)
    [command] = commands_of(process)

    os.kill(command, signal.SIGKILL)

    process.communicate(timeout=PATIENCE)
    assert process.returncode == -signal.SIGKILL


def test_a_call_whose_caller_is_killed_does_nothing_more(slurm: Slurm) -> None:
    with slurm.cluster:  # it has to wait
        process = slurm.start("sbatch", "--wrap", "true")
        wait_for(lambda: (slurm.state / "calls.json").exists(), lambda: "it was never called")
        process.kill()
        process.communicate(timeout=PATIENCE)

    with slurm.cluster as cluster:
        assert not cluster.jobs


def test_many_calls_at_once_do_not_disturb_one_another(served: Slurm) -> None:
    """Those for which the server has no room are processes."""
    with served.cluster:
        processes = [
            served.start("sbatch", "--parsable", f"--job-name={number}", "--wrap", "true") for number in range(70)
        ]
    ids = [process.communicate(timeout=PATIENCE)[0].decode().strip() for process in processes]

    with served.cluster as cluster:
        assert {str(job.id): job.name for job in cluster.jobs.values()} == {id: str(n) for n, id in enumerate(ids)}


def test_a_job_that_cancels_itself_dies_of_it(slurm: Slurm) -> None:
    with slurm.cluster as cluster:
        cluster.undrain("n1")
    job = slurm.submit(f"{slurm.bin}/scancel -s KILL $SLURM_JOB_ID; echo >survived")

    slurm.await_state(job, "CANCELLED")

    with slurm.cluster as cluster:
        assert cluster.jobs[int(job)].cause is Cause.CANCELLED
    assert not (slurm.home / "survived").exists()


def test_a_call_by_a_job_is_one_of_its_processes(served: Slurm) -> None:
    with served.cluster as cluster:
        cluster.undrain("n1")
    served.plan("squeue", "hang")

    served.submit(f"x=$({served.bin}/squeue 2>/dev/null)")

    wait_for(lambda: faults.calls(served.state, "squeue"), lambda: "it was never called")
    assert any("-SEXutf8" in command and "squeue" in command for command in served.processes().values())


def test_a_served_call_is_a_shell_and_starts_no_python(served: Slurm) -> None:
    process = hanging(served)

    assert program(process) == os.path.realpath("/bin/sh")

    process.kill()
    process.communicate(timeout=PATIENCE)


def test_a_job_outlives_the_server_and_so_do_the_commands(tmp_path: Path) -> None:
    with CommandServer() as server:
        slurm = Slurm(tmp_path, server=server)
        job = slurm.submit("while [ ! -e go ]; do sleep 0.01; done; echo done >done")
        slurm.await_state(job, "RUNNING")

    assert slurm.show(job) == "RUNNING"
    (slurm.home / "go").touch()
    assert slurm.await_file("done") == "done\n"
    process = hanging(slurm)
    assert program(process) == PYTHON
    process.kill()
    process.communicate(timeout=PATIENCE)
    slurm.close()


OWNER = """
import sys, time
from fxsched_fakes import CommandServer, install
server = CommandServer()
install(sys.argv[1], "slurm", server=server)
print(server.directory, flush=True)
time.sleep(3600)
"""


def test_no_server_and_no_call_outlives_an_owner_that_is_killed(tmp_path: Path) -> None:
    owner = subprocess.Popen([sys.executable, "-c", OWNER, tmp_path / "bin"], stdout=subprocess.PIPE, text=True)
    assert owner.stdout is not None
    server = Path(owner.stdout.readline().strip())
    faults.plan(tmp_path / "bin.state", [{"command": "squeue", "fault": "hang"}])
    call = subprocess.Popen([tmp_path / "bin" / "squeue"], stdout=subprocess.PIPE)
    wait_for(lambda: faults.calls(tmp_path / "bin.state"), lambda: "it was never called")

    owner.kill()

    assert call.communicate(timeout=PATIENCE)[0] == b""
    assert call.returncode == -signal.SIGTERM
    wait_for(lambda: not server.exists(), lambda: "the server is still there")
    owner.communicate(timeout=PATIENCE)
