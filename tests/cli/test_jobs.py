"""``fxsched submit``, ``status``, ``cancel`` as scripts use them, on the embedded local adapter."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import TYPE_CHECKING

import msgspec
import pytest

from fxsched import JobStatus

if TYPE_CHECKING:
    from pathlib import Path

    from cli.conftest import Shell

FIELDS = {field.name for field in msgspec.structs.fields(JobStatus)}


def test_submit_prints_the_id_and_nothing_else(shell: Shell) -> None:
    assert re.fullmatch(r"[a-z2-7]{20}\n", shell.fxsched("submit", "--", "sleep", "60"))


def test_the_command_runs_as_its_words_stand_in_the_directory_of_the_caller(shell: Shell) -> None:
    id = shell.json(
        "submit", "--json", "--output", "out", "--", "sh", "-c", 'pwd; printf "[%s]" "$@"', "x", "a b", "$c"
    )

    assert shell.ended(id["id"])["cause"] == "completed"
    assert (shell.home / "out").read_text() == f"{shell.home}\n[a b][$c]"


def test_json_has_the_fields_of_job_status_in_lower_case(shell: Shell) -> None:
    submitted = shell.json("submit", "--json", "--", "sleep", "60")
    status = shell.json("status", "--json", submitted["id"])
    cancelled = shell.json("cancel", "--json", submitted["id"])

    assert submitted.keys() == status.keys() == cancelled.keys() == FIELDS
    assert status["state"] == "running"
    assert (cancelled["state"], cancelled["cause"]) == ("ended", "cancelled")


def test_an_exit_code_is_reported(shell: Shell) -> None:
    status = shell.ended(shell.fxsched("submit", "--", "sh", "-c", "exit 3").strip())

    assert (status["cause"], status["exit_code"]) == ("failed", 3)


def test_cancel_returns_when_the_job_has_ended_and_twice_is_no_error(shell: Shell) -> None:
    id = shell.fxsched("submit", "--", "sleep", "60").strip()

    assert shell.fxsched("cancel", id) == f"{id} has ended: it was cancelled.\n"
    assert shell.fxsched("cancel", id) == f"{id} had ended already: it was cancelled.\n"
    assert shell.fxsched("status", id) == f"{id} has ended: it was cancelled.\n"


def test_several_jobs_give_a_line_each_in_the_order_asked(shell: Shell) -> None:
    ids = [shell.fxsched("submit", "--", "sleep", "60").strip() for _ in range(3)]

    assert [line.split()[0] for line in shell.fxsched("status", *reversed(ids)).splitlines()] == ids[::-1]


def test_a_job_that_nobody_knows_has_an_exit_status_of_its_own(shell: Shell) -> None:
    assert shell.fxsched("status", "nosuch", code=3) == "nosuch is not known to the scheduler.\n"


def test_a_scheduler_that_cannot_be_asked_has_an_exit_status_of_its_own(shell: Shell) -> None:
    (shell.home / "c.toml").write_text('[clusters.main]\nadapter = "slurm"\noptions.commands.squeue = "/nosuch"\n')

    assert "could not be asked" in shell.fxsched("status", "--config", "c.toml", "1", code=75)


def test_a_cancel_of_a_job_that_nobody_knows_has_the_same_exit_status(shell: Shell) -> None:
    assert shell.fxsched("cancel", "nosuch", code=3) == "nosuch is not known to the scheduler.\n"


def test_a_job_that_cannot_be_cancelled_spoils_no_other_s_cancel(shell: Shell) -> None:
    (shell.home / "c.toml").write_text(
        f'[clusters.one]\nadapter = "slurm"\noptions.commands = {{ sbatch = "{_sbatch(shell)}", squeue = "/nosuch" }}\n'
        '[clusters.two]\npoll_interval = 0.1\n[profiles.default]\ncluster = "one"\n'
    )
    shell.environment["FXSCHED_CONFIG"] = str(shell.home / "c.toml")
    stuck = shell.fxsched("submit", "--cluster", "one", "--", "sleep", "60").strip()
    other = shell.fxsched("submit", "--cluster", "two", "--", "sleep", "60").strip()

    told = shell.fxsched("cancel", stuck, other, code=75)

    assert f"{other} has ended: it was cancelled.\n" in told
    assert f"fxsched: {stuck}: " in told
    assert shell.fxsched("cancel", "--cluster", "two", "nosuch", other, code=3).splitlines() == [
        "nosuch is not known to the scheduler.",
        f"{other} had ended already: it was cancelled.",
    ]
    del shell.environment["FXSCHED_CONFIG"]


def _sbatch(shell: Shell) -> Path:
    """Return a command that accepts any job, as number 4217, and does nothing."""
    sbatch = shell.home / "sbatch"
    sbatch.write_text("#!/bin/sh\ncat >/dev/null\necho 4217\n")
    sbatch.chmod(0o755)
    return sbatch


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--cluster", "lokal"], "there is no cluster 'lokal'; did you mean 'local'?"),
        (["--profile", "defualt"], "there is no profile 'defualt'; did you mean 'default'?"),
        (["--config", "nosuch.toml"], "nosuch.toml cannot be read"),
    ],
)
def test_a_wrong_name_is_an_error_that_names_the_nearest(shell: Shell, arguments: list[str], words: str) -> None:
    for verb in ("submit", "status", "cancel"):
        assert words in shell.fxsched(verb, *arguments, "--", "x", code=1)


def test_cluster_and_profile_exclude_each_other(shell: Shell) -> None:
    assert "exclude each other" in shell.fxsched(
        "submit", "--cluster", "local", "--profile", "default", "--", "x", code=2
    )


def test_a_profile_says_what_a_job_needs(shell: Shell) -> None:
    (shell.home / "c.toml").write_text(
        '[clusters.local]\npoll_interval = 0.1\n[profiles.short]\nwalltime = "1s"\nenvironment = { COLOUR = "a b" }\n'
    )

    status = shell.fxsched(
        "submit",
        "--config",
        "c.toml",
        "--profile",
        "short",
        "--output",
        "out",
        "--",
        "sh",
        "-c",
        "echo $COLOUR; sleep 60",
    )

    assert shell.ended(status.strip())["cause"] == "walltime"
    assert (shell.home / "out").read_text() == "a b\n"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("-p batch --mem=${ start.params.memory }", "-p batch --mem=8G"),
        (
            "-p ${ start.params.queue }",
            "submit_line of profile 'old' .* only a request of FastX can fill: queue is miss",
        ),
        ("--comment ${ start.command }", "submit_line of profile 'old' .*: it depends on the session's command"),
        ("-J me -p batch", "c.toml: profiles.old: submit_line gives the job a name of its own"),
    ],
)
def test_a_profile_s_fastx_3_template_is_heeded_or_refused(shell: Shell, options: str, words: str) -> None:
    sbatch = _sbatch(shell)
    sbatch.write_text('#!/bin/sh\ncat >/dev/null\necho "$*" >"$HOME/arguments"\necho 4217\n')
    (shell.home / "c.toml").write_text(
        f'[clusters.main]\nadapter = "slurm"\noptions.commands.sbatch = "{sbatch}"\n'
        f"[profiles.old]\nsubmit_line = 'sbatch {options} /x/start --command \"${{ start.command }}\"'\n"
        '[profiles.old.fields.memory]\nparam = "memory"\ndefault = "8G"\n'
    )
    refused = "submit_line" in words

    told = shell.fxsched("submit", "--config", "c.toml", "--profile", "old", "--", "x", code=1 if refused else 0)

    if refused:
        assert not (shell.home / "arguments").exists()
    assert re.search(words, told if refused else (shell.home / "arguments").read_text())


def test_of_several_clusters_the_ledger_knows_where_a_job_is(shell: Shell) -> None:
    (shell.home / "c.toml").write_text(
        '[clusters.one]\n[clusters.two]\n[profiles.default]\ncluster = "one"\n[profiles.other]\ncluster = "two"\n'
    )
    shell.environment["FXSCHED_CONFIG"] = str(shell.home / "c.toml")
    id = shell.fxsched("submit", "--cluster", "two", "--", "sleep", "60").strip()

    assert "is running" in shell.fxsched("status", id)
    del shell.environment["FXSCHED_CONFIG"]


def test_a_cluster_that_hangs_does_not_hold_up_another_s_answer(shell: Shell) -> None:
    squeue = shell.home / "squeue"
    squeue.write_text("#!/bin/sh\nexec sleep 60\n")
    squeue.chmod(0o755)
    (shell.home / "c.toml").write_text(
        f'[clusters.hung]\nadapter = "slurm"\n'
        f'options = {{ deadline = 1, commands.sbatch = "{_sbatch(shell)}", commands.squeue = "{squeue}" }}\n'
        '[clusters.local]\n[profiles.default]\ncluster = "hung"\n'
    )
    shell.environment["FXSCHED_CONFIG"] = str(shell.home / "c.toml")
    id = shell.fxsched("submit", "--cluster", "local", "--", "sleep", "60").strip()
    assert shell.fxsched("submit", "--cluster", "hung", "--", "sleep", "60") == "4217\n"

    answer, trouble = shell.fxsched("status", "4217", id, code=75).splitlines()

    assert answer.startswith(f"{id} is running on ")
    assert trouble.startswith("4217 could not be asked for, and nothing is known of it: ")
    del shell.environment["FXSCHED_CONFIG"]


def test_with_one_cluster_no_profile_has_to_be_named(shell: Shell) -> None:
    id = shell.fxsched("submit", "--", "sleep", "60").strip()
    (shell.home / "c.toml").write_text("[clusters.local]\n[profiles.desktop]\n[profiles.gpu]\n")

    assert "is running" in shell.fxsched("status", "--config", "c.toml", id)
    assert "has ended" in shell.fxsched("cancel", "--config", "c.toml", id)


def test_of_several_clusters_a_job_that_may_be_anywhere_spoils_no_other_s_answer(shell: Shell) -> None:
    (shell.home / "c.toml").write_text('[clusters.one]\n[clusters.two]\n[profiles.default]\ncluster = "one"\n')
    id = shell.fxsched("submit", "--config", "c.toml", "--cluster", "two", "--", "sleep", "60").strip()
    advice = "it is not in the ledger: say where it is with --cluster (one, two)"

    stray, known = shell.fxsched("status", "--config", "c.toml", "4217", id, code=1).splitlines()
    assert stray == f"4217 could not be asked for, and nothing is known of it: {advice}"
    assert known.startswith(f"{id} is running")
    told = shell.fxsched("cancel", "--config", "c.toml", "4217", id, code=1)
    assert f"{id} has ended: it was cancelled.\n" in told
    assert f"fxsched: 4217: {advice}\n" in told


def test_an_id_that_two_clusters_have_given_is_nobody_s_guess(shell: Shell) -> None:
    slurm = f'adapter = "slurm"\noptions.commands.sbatch = "{_sbatch(shell)}"\n'
    (shell.home / "c.toml").write_text(
        f'[clusters.one]\n{slurm}[clusters.two]\n{slurm}[profiles.default]\ncluster = "one"\n'
    )
    for cluster in ("one", "two"):
        shell.fxsched("submit", "--config", "c.toml", "--cluster", cluster, "--", "sleep", "60")

    told = shell.fxsched("cancel", "--config", "c.toml", "4217", code=1)

    assert "4217: the ledger has it on one and two: say where it is with --cluster (one, two)" in told


@pytest.mark.parametrize("verb", ["status", "cancel"])
def test_a_reader_who_has_gone_is_told_no_more_and_a_full_disk_is_one_line(shell: Shell, verb: str) -> None:
    id = shell.fxsched("submit", "--", "sleep", "60").strip()

    assert shell.through(f"{verb} {id} | true") == (1, "")
    assert shell.through(f"{verb} {id} >/dev/full") == (1, "fxsched: [Errno 28] No space left on device\n")


def test_a_cancel_goes_on_when_nobody_reads_of_it(shell: Shell) -> None:
    ids = [shell.fxsched("submit", "--", "sleep", "60").strip() for _ in range(2)]

    shell.through(f"cancel {ids[0]} {ids[1]} | true")

    assert [shell.json("status", "--json", id)["cause"] for id in ids] == ["cancelled", "cancelled"]


def test_a_job_whose_id_cannot_be_written_is_told_of_on_standard_error(shell: Shell) -> None:
    code, trouble = shell.through("submit -- sleep 60 >/dev/full")

    assert code == 1
    assert re.fullmatch(r"fxsched: job [a-z2-7]{20} was submitted, but .*: No space left on device\n", trouble)


def test_a_letter_that_the_locale_has_not_is_no_error(shell: Shell) -> None:
    program = [sys.executable, "-c", "from fxsched.cli import main; main()", "status", "可"]
    narrow = shell.environment | {"PYTHONIOENCODING": "latin-1"}

    told = subprocess.run(program, capture_output=True, text=True, env=narrow, cwd=shell.home, check=False)

    assert (told.returncode, told.stdout) == (3, "\\u53ef is not known to the scheduler.\n")


def test_a_thread_that_hangs_does_not_hold_up_the_end(shell: Shell) -> None:
    program = (
        "import threading, time\n"
        "from fxsched.cli import main\n"
        "threading.Thread(target=time.sleep, args=[600]).start()\n"
        "main(['status', 'nosuch'])\n"
    )

    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=shell.environment, timeout=30
    )

    assert (result.returncode, result.stdout) == (3, "nosuch is not known to the scheduler.\n")


def test_launch_is_the_launcher(shell: Shell) -> None:
    assert "FastX's request is empty" in shell.fxsched("launch", "--profile", "default", code=1)
