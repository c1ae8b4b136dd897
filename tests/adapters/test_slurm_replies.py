"""Slurm's replies, as they were recorded, become ids, statuses and errors."""

from __future__ import annotations

import re
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fxsched.errors import (
    CancelRefused,
    FxschedError,
    OutcomeUnknown,
    SchedulerUnavailable,
    SubmitRejected,
)
from fxsched.hosts import CommandResult
from fxsched.jobs import EndCause, JobId, JobState, Token
from fxsched_slurm.reasons import NOT_LAUNCHED, sentence
from fxsched_slurm.replies import (
    check_answer,
    check_cancel,
    expand_nodes,
    listing,
    parse_sacct,
    parse_squeue,
    parse_submit,
    tokens,
)

from ..captures import result
from .slurm_recorded import SLURM, accounts, states

Q, H, R, S = JobState.QUEUED, JobState.HELD, JobState.RUNNING, JobState.SUSPENDED
TOKEN = Token("abcdefghijklmnop2345")


HEADER = "JOBID|STATE|SUBMIT_TIME|START_TIME|END_TIME|NODELIST|RESTART_COUNT|EXIT_CODE|REASON|STDOUT|NAME\n"
"""What Slurm 22.05.8 prints above SQUEUE_FORMAT."""


def squeue_row(
    state: str,
    reason: str = "None",
    *,
    id: str = "7",
    nodes: str = "",
    start: str = "N/A",
    restarts: int = 0,
    status: str = "0",
    output: str = "/dev/null",
    name: str = "x",
) -> str:
    """Return a row as ``squeue -O SQUEUE_FORMAT`` prints it."""
    times = f"2026-11-22T15:11:37|{start}|2026-11-22T15:12:00"
    return f"{id}|{state}|{times}|{nodes}|{restarts}|{status}|{reason}|{output}|{name}\n"


def sacct_row(words: str, status: str = "0:0", *, id: str = "7", user: str = "ada", name: str = "x") -> str:
    """Return a row as ``sacct -o SACCT_FORMAT`` prints it."""
    return f"{id}|{user}|{words}|{status}|2026-11-22T15:20:28|2026-11-22T15:20:28|Unknown|n1|{name}\n"


# ── submit ────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "row", [row for row in SLURM.rows(command="sbatch") if row["rc"] == 0], ids=lambda row: row["name"]
)
def test_an_accepted_job_s_id_is_read(row: dict[str, Any]) -> None:
    if "--parsable" not in row["cmd"] or "--test-only" in row["cmd"]:
        with pytest.raises(OutcomeUnknown, match="printed no job id"):
            parse_submit(result(row))
    else:
        assert parse_submit(result(row)) == row["stdout"].strip().split(";")[0]


def test_the_id_of_a_named_cluster_comes_with_the_cluster_s_name() -> None:
    assert SLURM.result("91-sbatch-M-parsable").stdout == b"6;test\n"
    assert parse_submit(SLURM.result("91-sbatch-M-parsable")) == "6"


@pytest.mark.parametrize(
    "stdout",
    [
        b"Welcome. You have 17 core-hours left\n4217\n",
        b"4217\nMaintenance on 24 December\n",
        b"\n  4217;main-cluster.2  \r\n\n",
        b"caf\xe9 99\n4217\n",
    ],
)
def test_the_id_is_found_among_what_a_site_prints_around_it(stdout: bytes) -> None:
    assert parse_submit(CommandResult(0, stdout, b"sbatch: lua: 12 jobs today\n")) == "4217"


@pytest.mark.parametrize(
    "stdout", [b"", b"Submitted batch job 4217\n", b"job 4217\n", b"4217 4218\n", b"42", "٤٢\n".encode(), b"-1\n"]
)
def test_an_sbatch_that_ended_well_without_an_id_may_have_made_a_job(stdout: bytes) -> None:
    with pytest.raises(OutcomeUnknown, match="printed no job id"):
        parse_submit(CommandResult(0, stdout, b""))


UNKNOWN = {"70-stopped-sbatch", "97-sbatch-wait-exit3"}
UNAVAILABLE = {"05-no-conf", "76-down-sbatch", "77-blackhole-sbatch", "92-maxjobcount"}


@pytest.mark.parametrize(
    "row",
    [row for row in SLURM.rows(command="sbatch") if row["rc"] in (1, 3, 255)],
    ids=lambda row: row["name"],
)
def test_a_failed_submit_is_a_refusal_in_slurm_s_words_unless_slurm_could_not_be_reached(row: dict[str, Any]) -> None:
    name = row["name"]
    kind = OutcomeUnknown if name in UNKNOWN else SchedulerUnavailable if name in UNAVAILABLE else SubmitRejected

    with pytest.raises(kind) as raised:
        parse_submit(result(row))

    assert type(raised.value) is kind
    last = (row["stderr"] or row["stdout"]).strip().splitlines()[-1]
    assert re.sub(r"^sbatch: (error: |fatal: )?", "", last) in str(raised.value)
    assert "\n" not in str(raised.value)


LOST = [
    "Unable to contact slurm controller (receive failure)",
    "Unable to contact slurm controller (shutdown failure)",
    "Message receive failure",
    "Connection reset by peer",
    "Broken pipe",
    "Incomplete packet",
    "Header lengths are longer than data received",
    "Insane message length",
    "Unspecified error",
]
NOT_SENT = [f"Unable to contact slurm controller ({step} failure)" for step in ("connect", "send")]


@pytest.mark.parametrize(
    ("reason", "kind"),
    [*((text, OutcomeUnknown) for text in LOST), *((text, SchedulerUnavailable) for text in NOT_SENT)],
)
def test_a_request_that_was_sent_may_have_been_taken_though_its_answer_was_lost(
    reason: str, kind: type[FxschedError]
) -> None:
    sbatch = SLURM.row("76-down-sbatch")["stderr"].replace(
        "Unable to contact slurm controller (connect failure)", reason
    )
    scancel = f"scancel: error: Kill job error on job id 7: {reason}\n"

    with pytest.raises(kind, match=re.escape(reason)):
        parse_submit(CommandResult(1, b"", sbatch.encode()))
    with pytest.raises(kind, match=re.escape(reason)):
        check_cancel(JobId("7"), CommandResult(1, b"", scancel.encode()))


@pytest.mark.parametrize(
    "stderr",
    [
        "sbatch: error: Invalid user for SlurmUser slurm, ignored\n"
        "sbatch: fatal: Unable to process configuration file\n",
        'sbatch: error: Parse error in file /etc/slurm/slurm.conf line 12: "TopologyRouteTree=yes"\n'
        "sbatch: fatal: Unable to process configuration file\n",
        "sbatch: error: Batch job submission failed: I/O error writing script/environment to file\n",
        "sbatch: error while loading shared libraries: libslurmfull.so: cannot open shared object file: "
        "No such file or directory\n",
        "sbatch: fatal: Failed to initialize plugin stack\n",
        "sbatch: error: Batch job submission failed: Slurm backup controller in standby mode\n",
        "sbatch: error: Batch job submission failed: Invalid user id\n",
        "sbatch: error: Batch job submission failed: Incompatible versions of client and server code\n",
    ],
)
def test_a_client_or_controller_that_cannot_work_judges_no_request(stderr: str) -> None:
    with pytest.raises(SchedulerUnavailable, match="No job was submitted"):
        parse_submit(CommandResult(1, b"", stderr.encode()))


@pytest.mark.parametrize(
    "stderr",
    [
        "sbatch: fatal: --mem, --mem-per-cpu, and --mem-per-gpu are mutually exclusive.\n",
        "sbatch: error: Batch job submission failed: Job violates accounting/QOS policy (job submit limit, user's size "
        "and/or time limits)\n",
        "sbatch: error: Batch job submission failed: No partition specified or system default partition\n",
        "sbatch: error: Batch job submission failed: Requested time limit is invalid (missing or exceeds some limit)\n",
        "sbatch: error: Batch job submission failed: Access/permission denied\n",
        "sbatch: error: Bad rlimit name: FOO\nsbatch: error: --propagate=FOO is not valid.\n",
        'sbatch: error: unrecognized --hint argument "foo", see --hint=help\n',
        "sbatch: error: Batch job submission failed: Invalid time-min specification (exceeds job's time or other "
        "limits)\n",
    ],
)
def test_words_that_judge_the_request_refuse_it(stderr: str) -> None:
    with pytest.raises(SubmitRejected):
        parse_submit(CommandResult(1, b"", stderr.encode()))


def test_a_sentence_of_the_site_s_submit_plugin_is_a_refusal() -> None:
    """job_submit_lua on Slurm 22.05.8: `slurm.log_user(…); return slurm.ERROR`."""
    stderr = b"""\
sbatch: error: You must give an account with -A
sbatch: error: Batch job submission failed: Unspecified error
"""
    with pytest.raises(SubmitRejected, match="You must give an account with -A"):
        parse_submit(CommandResult(1, b"", stderr))


@pytest.mark.parametrize(
    "stderr",
    [
        "sbatch: error: the moon is full\n",
        "sbatch: error: slurm_receive_msg: nothing there\n"
        "sbatch: error: Batch job submission failed: Unspecified error\n",
        "sbatch: error: Batch job submission failed: Unspecified error\n",
        "Segmentation fault\n",
        "sbatch: error: Access denied\nSubmitted batch job 7\n",
    ],
)
def test_words_that_do_not_judge_leave_it_open(stderr: str) -> None:
    with pytest.raises(OutcomeUnknown):
        parse_submit(CommandResult(1, b"", stderr.encode()))


def test_an_sbatch_that_ended_well_without_an_id_is_quoted_with_all_that_it_said() -> None:
    stderr = b"sbatch: error: Allocation loni_xx has expired\n"

    with pytest.raises(OutcomeUnknown, match=r"Allocation loni_xx has expired.*Bye"):
        parse_submit(CommandResult(0, b"Bye\n", stderr))


def test_an_sbatch_that_was_killed_may_have_made_a_job() -> None:
    with pytest.raises(OutcomeUnknown, match="killed by signal 9"):
        parse_submit(CommandResult(137, b"", b""))


# ── squeue ────────────────────────────────────────────────────────────────────────────────────────────────────────

ENDS = {
    "COMPLETED": EndCause.COMPLETED,
    "FAILED": EndCause.FAILED,
    "CANCELLED": EndCause.CANCELLED,
    "TIMEOUT": EndCause.WALLTIME,
    "DEADLINE": EndCause.WALLTIME,
    "OUT_OF_MEMORY": EndCause.MEMORY,
    "NODE_FAIL": EndCause.NODE_FAILURE,
    "BOOT_FAIL": EndCause.NODE_FAILURE,
    "PREEMPTED": EndCause.PREEMPTED,
}
LIVE = {
    "PENDING": Q,
    "CONFIGURING": Q,
    "REQUEUED": Q,
    "RUNNING": R,
    "COMPLETING": R,
    "RESIZING": R,
    "SUSPENDED": S,
    "STOPPED": S,
    "REQUEUE_HOLD": H,
    "SPECIAL_EXIT": H,
}
HOLDS = {"JobHeldUser", "JobHeldAdmin", "job requeued in held state", "launch failed requeued held"}


@pytest.mark.parametrize(("state", "reason"), sorted(set(states())))
def test_every_recorded_state_and_reason(state: str, reason: str) -> None:
    status = parse_squeue(squeue_row(state, reason))[JobId("7")]

    held = state == "PENDING" and reason in HOLDS
    assert (status.state, status.cause) == (H if held else LIVE.get(state, JobState.ENDED), ENDS.get(state))
    assert status.native_state == state
    assert (status.ended_at is None) == (state in LIVE)


@pytest.mark.parametrize("state", [*ENDS, *LIVE])
def test_every_state_that_slurm_documents(state: str) -> None:
    status = parse_squeue(squeue_row(state))[JobId("7")]

    assert (status.state, status.cause) == (LIVE.get(state, JobState.ENDED), ENDS.get(state))


@given(st.from_regex(r"[A-Z][A-Z_]{2,20}", fullmatch=True).filter(lambda word: word not in ENDS and word not in LIVE))
def test_a_state_that_nobody_knows_is_alive(word: str) -> None:
    for found in (parse_squeue(squeue_row(word)), parse_sacct(sacct_row(word), "ada")):
        status = found[JobId("7")]
        assert status.cause is None
        assert status.state is not JobState.ENDED
        assert status.native_state == word


WAITS = sorted({reason for state, reason in states() if state == "PENDING"} - {"None"})


@pytest.mark.parametrize(
    "reason", [*WAITS, "QOSMaxJobsPerUserLimit", "AssocGrpCPULimit", "PartitionConfig", "PartitionNodeLimit"]
)
def test_every_recorded_reason_becomes_a_sentence(reason: str) -> None:
    text = sentence(reason, "PENDING")

    assert text[0].isupper()
    assert text[-1] == "."
    assert reason not in text


def test_a_reason_that_no_table_knows_is_quoted() -> None:
    assert sentence("(Phase_Of_The_Moon)", "PENDING") == "Slurm says: Phase Of The Moon."


@pytest.mark.parametrize("form", ["job requeued in held state", "job_requeued_in_held_state", "(JobHeldUser)"])
def test_a_hold_is_known_in_every_form_in_which_slurm_writes_it(form: str) -> None:
    assert parse_squeue(squeue_row("PENDING", form))[JobId("7")].state is H


def test_a_job_that_slurm_accepted_and_then_refused_was_rejected() -> None:
    shown = SLURM.result("03-rejected-jobs-are-visible").text.splitlines()[0].split("|")
    assert shown[2:4] == ["FAILED", "BadConstraints"]

    status = parse_squeue(squeue_row(*shown[2:4]))[JobId("7")]

    assert (status.cause, status.reason) == (EndCause.REJECTED, "No node can meet what it asks for.")


def test_why_a_cancelled_job_had_waited_is_not_why_it_ended() -> None:
    assert "|CANCELLED|JobHeldUser|" in SLURM.result("40-scancel-mixed-result").text

    assert parse_squeue(squeue_row("CANCELLED", "JobHeldUser"))[JobId("7")].reason == ""


def test_why_a_job_that_could_never_run_was_cancelled_is_told() -> None:
    status = parse_squeue(squeue_row("CANCELLED", "DependencyNeverSatisfied"))[JobId("7")]

    assert (status.cause, status.reason) == (
        EndCause.CANCELLED,
        "Another job, for which it had waited, did not end as required.",
    )


def test_a_job_whose_nodes_are_still_booting_has_none_yet() -> None:
    status = parse_squeue(squeue_row("CONFIGURING", nodes="n[1-2]", start="2026-11-22T15:11:40"))[JobId("7")]

    assert (status.state, status.nodes, status.started_at) == (Q, (), None)


def test_a_job_that_has_started_is_not_expected_to() -> None:
    status = parse_squeue(squeue_row("RUNNING", nodes="n1", start="2026-11-22T15:11:40"))[JobId("7")]

    assert (status.nodes, status.expected_start) == (("n1",), None)
    assert status.started_at == datetime(2026, 11, 22, 15, 11, 40, tzinfo=UTC)


def test_times_are_utc_and_the_start_of_a_waiting_job_is_an_expectation() -> None:
    text = squeue_row("PENDING", start="2026-11-22T15:15:49") + squeue_row("RUNNING", id="8", start="Unknown")

    waiting, running = parse_squeue(text).values()

    assert waiting.submitted_at == datetime(2026, 11, 22, 15, 11, 37, tzinfo=UTC)
    assert (waiting.started_at, waiting.expected_start) == (None, datetime(2026, 11, 22, 15, 15, 49, tzinfo=UTC))
    assert (running.started_at, running.expected_start, running.ended_at) == (None, None, None)


def test_a_bad_row_spoils_itself_alone() -> None:
    good = squeue_row("RUNNING", nodes="n1")
    reason = squeue_row("PENDING", "odd \"%j' \x1b \ufffd", id="9", name="a name | with")

    found = parse_squeue(f"slurm_load_jobs\n|||\n{good}12_[1-2,4,...|PENDING\n{reason}8|RUNN")

    assert found[JobId("7")].nodes == ("n1",)
    assert found[JobId("9")].name == "a name | with"
    assert {id: status.reason for id, status in found.items() if status.state is R and id != "7"} == {
        "12": "Slurm says: 12_[1-2,4,...|PENDING.",
        "8": "Slurm says: 8|RUNN.",
    }


# From Slurm 22.05.8, asked for with SQUEUE_FORMAT: `sbatch --array=1-3`, `sbatch --comment=x : --ntasks=1`.
ARRAY = (
    "7_1|RUNNING|2026-11-28T15:38:48|2026-11-28T15:38:49|2026-11-28T15:48:49|n1|0|0|None|/dev/null|arr\n"
    "7_2|RUNNING|2026-11-28T15:38:48|2026-11-28T15:38:49|2026-11-28T15:48:49|n1|0|0|None|/dev/null|arr\n"
)
PARTS = (
    "8+0|RUNNING|2026-11-28T15:38:48|2026-11-28T15:38:49|2026-11-28T15:48:49|n1|0|0|None|/dev/null|het\n"
    "8+1|RUNNING|2026-11-28T15:38:48|2026-11-28T15:38:49|2026-11-28T15:48:49|n2|0|0|None|/dev/null|het\n"
)


@pytest.mark.parametrize(
    ("rows", "id"),
    [(ARRAY, "7"), (PARTS, "8"), (squeue_row("PENDING", id="7_[2-5%2]"), "7")],
    ids=["tasks", "parts", "waiting"],
)
def test_a_job_of_several_rows_goes_by_its_own_id(rows: str, id: str) -> None:
    assert parse_squeue(rows)[JobId(id)].state in (R, Q)


@pytest.mark.parametrize("ended_first", [True, False])
def test_an_array_lives_while_one_of_its_tasks_does(ended_first: bool) -> None:
    rows = [squeue_row("FAILED", id="7_1"), squeue_row("RUNNING", id="7_2"), squeue_row("PENDING", id="7_3")]

    found = parse_squeue("".join(rows if ended_first else reversed(rows)))

    states = {id: status.state for id, status in found.items()}
    assert states == {"7": R, "7_1": JobState.ENDED, "7_2": R, "7_3": Q}
    assert found[JobId("7")].id == "7"


def test_the_time_of_submission_proves_the_job_unless_it_was_requeued() -> None:
    """`scontrol requeue` of 22.05.8 makes it the time of the requeue."""
    assert parse_squeue(squeue_row("RUNNING"))[JobId("7")].submitted_at == datetime(
        2026, 11, 22, 15, 11, 37, tzinfo=UTC
    )
    assert parse_squeue(squeue_row("RUNNING", restarts=1))[JobId("7")].submitted_at is None


def test_a_job_that_was_renamed_is_known_by_the_session_s_directory_with_its_output() -> None:
    output = f"/home/a|b/.local/state/fxsched/sessions/{TOKEN}/job.log"

    status = parse_squeue(squeue_row("RUNNING", output=output, name="thesis|2"))[JobId("7")]
    nested = parse_squeue(squeue_row("RUNNING", output=output.replace("job.log", "slurm-8.out")))[JobId("7")]

    assert (status.token, status.name) == (TOKEN, "thesis|2")
    assert nested.token is None


@pytest.mark.parametrize(
    ("status", "reason", "expected"),
    [
        ("768", "NonZeroExitCode", (3, None, "")),
        ("9", "JobLaunchFailure", (None, 9, "")),
        ("15", "JobLaunchFailure", (None, 15, "")),
        ("139", "JobLaunchFailure", (None, 11, "")),  # with a core dump
        ("4021", "JobLaunchFailure", (None, None, NOT_LAUNCHED)),
        ("0:9", "JobLaunchFailure", (None, 9, "")),
        ("", "JobLaunchFailure", (None, None, "")),
    ],
)
def test_what_a_signal_ended_is_told_from_what_was_never_launched(
    status: str, reason: str, expected: tuple[int | None, int | None, str]
) -> None:
    """From `kill -9 $$`, `kill $$` and `-o /nosuch/x` on Slurm 22.05.8: all have the same reason."""
    ended = parse_squeue(squeue_row("FAILED", reason, status=status))[JobId("7")]

    assert (ended.exit_code, ended.signal, ended.reason) == expected


@pytest.mark.parametrize("reason", ["Resources", "JobArrayTaskLimit", "QOSMaxJobsPerUserLimit", "BeginTime", "None"])
@pytest.mark.parametrize("state", [*ENDS])
def test_why_a_job_had_waited_is_not_why_it_ended(state: str, reason: str) -> None:
    assert parse_squeue(squeue_row(state, reason))[JobId("7")].reason == ""


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("", ()),
        ("n1", ("n1",)),
        ("n[1-3]", ("n1", "n2", "n3")),
        ("n[1-2,05-07],gpu3", ("n1", "n2", "n05", "n06", "n07", "gpu3")),
        ("n[09-11]-ib.site", ("n09-ib.site", "n10-ib.site", "n11-ib.site")),
        ("a,b,c", ("a", "b", "c")),
        ("rack[1-2]n[1-2]", ("rack[1-2]n[1-2]",)),
        ("n[1-]", ("n[1-]",)),
        ("n[1-2-3]", ("n[1-2-3]",)),
        ("n[1-99999999999]", ("n[1-99999999999]",)),
        ("(null)", ("(null)",)),
    ],
)
def test_lists_of_nodes(text: str, names: tuple[str, ...]) -> None:
    assert expand_nodes(text) == names


@pytest.mark.parametrize(
    "name",
    ["70-stopped-squeue-j", "76-down-squeue-me", "75-munge-nosocket-squeue", "05-no-conf-squeue", "79-dbd-down-sacct"],
)
def test_a_command_that_could_not_ask_is_no_answer(name: str) -> None:
    with pytest.raises(SchedulerUnavailable, match=r"Slurm could not be asked: .{20}"):
        check_answer(SLURM.result(name))


WHOLE = HEADER + squeue_row("RUNNING") + squeue_row("PENDING")


def test_half_a_list_is_no_answer() -> None:
    cuts = [WHOLE[:end] for end in range(len(WHOLE)) if not WHOLE[:end].endswith("\n")]
    assert len(cuts) > 100
    for cut in cuts:
        with pytest.raises(SchedulerUnavailable, match="squeue printed no whole list"):
            listing(CommandResult(0, cut.encode(), b""))


@pytest.mark.parametrize("noise", ["", "logout", "Have a nice day.\n", "42 jobs in all", "\x1b[0m"])
def test_noise_may_stand_behind_a_whole_list(noise: str) -> None:
    assert list(parse_squeue(listing(CommandResult(0, f"{WHOLE}{noise}".encode(), b"")))) == ["7"]


@pytest.mark.parametrize(
    "header", ["JOBID|NAME\n", "JOBID|STATE|NAME\n", HEADER.replace("|REASON", ""), f"x{HEADER}", HEADER.lower()]
)
def test_a_list_below_another_header_than_was_asked_for_is_no_answer(header: str) -> None:
    with pytest.raises(SchedulerUnavailable, match="squeue printed no whole list"):
        listing(CommandResult(0, f"{header}{squeue_row('RUNNING')}".encode(), b""))


@pytest.mark.parametrize(
    "text", ["", "\n", "Slurm is under maintenance until noon.\n", squeue_row("RUNNING"), "MY JOBID|STATE|NAME\n"]
)
def test_what_is_no_list_is_no_answer_though_squeue_ended_well(text: str) -> None:
    with pytest.raises(SchedulerUnavailable, match="squeue printed no whole list"):
        listing(CommandResult(0, text.encode(), b""))


def test_a_list_may_come_behind_a_banner() -> None:
    banner = "Welcome to the cluster.\n"
    assert listing(CommandResult(0, f"{banner}{WHOLE}".encode(), b"")) == WHOLE.removeprefix(HEADER)


def test_a_complaint_beside_an_answer_is_an_answer() -> None:
    check_answer(SLURM.result("31-squeue-bad-user"))


def test_jobs_are_found_by_the_token_at_the_end_of_their_name_alone() -> None:
    names = [f"x.{TOKEN}", f"x.{TOKEN}2", TOKEN, f"a|b.{TOKEN}", f"two\nlines.{TOKEN}"]
    rows = "".join(squeue_row("RUNNING", id=str(4 + number), name=name) for number, name in enumerate(names))

    assert tokens(parse_squeue(rows).values()) == {TOKEN: ("4", "7")}


@pytest.mark.parametrize("id", ["7+0", "7_1", "7_[1-2]"])
def test_a_job_of_several_rows_is_found_by_its_own_id(id: str) -> None:
    rows = squeue_row("RUNNING", id=id, name=f"x.{TOKEN}")

    assert tokens(parse_squeue(rows).values()) == {TOKEN: ("7",)}


def test_a_renamed_job_is_found() -> None:
    rows = squeue_row("PENDING", name="site_x", output=f"/home/ada/sessions/{TOKEN}/job.log")

    assert tokens(parse_squeue(rows).values()) == {TOKEN: ("7",)}


# ── sacct ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("trace", "record"), list(accounts()))
def test_every_recorded_account(trace: str, record: dict[str, str]) -> None:
    row = "7|ada|{State}|{ExitCode}|{Submit}|{Start}|{End}|None assigned|x\n".format_map(record)
    word = record["State"].split()[0]

    status = parse_sacct(row, "ada")[JobId("7")]

    assert (status.state, status.cause) == (LIVE.get(word, JobState.ENDED), ENDS.get(word))
    assert status.native_state == record["State"]
    assert status.nodes == ()
    assert (status.ended_at is None) == (word in LIVE)


@pytest.mark.parametrize(
    ("exit_code", "expected"),
    [
        ("0:0", (0, None, "")),
        ("7:0", (7, None, "")),
        ("0:9", (None, 9, "")),
        ("0:125", (None, None, "")),  # out of memory
        ("0:53", (None, None, NOT_LAUNCHED)),
        ("", (None, None, "")),
        ("²:³", (None, None, "")),
        ("9" * 5000, (None, None, "")),
    ],
)
def test_exit_codes_and_signals(exit_code: str, expected: tuple[int | None, int | None, str]) -> None:
    status = parse_sacct(sacct_row("FAILED", exit_code), "ada")[JobId("7")]

    assert (status.exit_code, status.signal, status.reason) == expected


def test_a_job_that_runs_has_no_exit_code_though_sacct_prints_one() -> None:
    status = parse_sacct(sacct_row("RUNNING", id="7"), "ada")[JobId("7")]

    assert (status.exit_code, status.signal, status.ended_at) == (None, None, None)


def test_a_row_of_sacct_with_a_newline_in_it_spoils_itself_alone() -> None:
    whole = sacct_row("COMPLETED", id="4")
    text = f"9|n|l\nx|COMPLETED|0:0\n8|ada| |0:0|||||\n{whole}10.batch|ada|RUNNING|0:0|||||\n"

    assert list(parse_sacct(text, "ada")) == ["4"]


def test_somebody_else_s_account_is_none_of_ours() -> None:
    text = sacct_row("COMPLETED", user="mallory", name=f"x.{TOKEN}") + sacct_row("FAILED", id="8", name=f"x.{TOKEN}")

    assert tokens(parse_sacct(text, "ada").values()) == {TOKEN: ("8",)}


def test_an_array_has_ended_when_all_of_its_tasks_have() -> None:
    """51-sacct-X-array prints 10_0 … 10_3 for 10, and 11_[0,2-3] for 11."""
    ids = [line.split("|")[0] for line in SLURM.result("51-sacct-X-array").text.splitlines()]
    ended = "".join(sacct_row("FAILED", "1:0", id=id) for id in ids)

    assert parse_sacct(ended, "ada")[JobId("10")].state is JobState.ENDED
    assert parse_sacct(ended + sacct_row("RUNNING", id="10_4"), "ada")[JobId("10")].state is R
    assert parse_sacct(ended, "ada")[JobId("11")].state is JobState.ENDED


# ── scancel ───────────────────────────────────────────────────────────────────────────────────────────────────────

CANCEL = {
    "70-stopped-scancel": OutcomeUnknown,
    "76-down-scancel": SchedulerUnavailable,
    "77-blackhole-scancel": SchedulerUnavailable,
    "91-scancel-M-unknown-cluster": SchedulerUnavailable,
}


@pytest.mark.parametrize(
    "row", [row for row in SLURM.rows(command="scancel") if row["rc"] != 0], ids=lambda row: row["name"]
)
def test_a_failed_cancel_is_a_refusal_unless_slurm_could_not_be_reached(row: dict[str, Any]) -> None:
    with pytest.raises(CANCEL.get(row["name"], CancelRefused), match=r"job id|scancel|job 7|Nothing was cancelled"):
        check_cancel(JobId("7"), result(row))


@pytest.mark.parametrize(
    "row", [row for row in SLURM.rows(command="scancel") if row["rc"] == 0], ids=lambda row: row["name"]
)
def test_cancelling_what_has_ended_or_never_was_is_no_error(row: dict[str, Any]) -> None:
    check_cancel(JobId("7"), result(row))


@pytest.mark.parametrize("code", [0, 1, 210])
def test_a_cancel_is_denied_whatever_the_exit_code(code: int) -> None:
    """Slurm 22.05.8 ends with 210."""
    words = SLURM.row("40-scancel-other-user")["stderr"]

    with pytest.raises(CancelRefused, match="Access/permission denied"):
        check_cancel(JobId("7"), CommandResult(code, b"", words.encode()))


@pytest.mark.parametrize("name", ["40-scancel-unknown-v", "40-scancel-finished-v"])
def test_what_has_ended_or_never_was_is_no_error_though_scancel_fails_over_it(name: str) -> None:
    check_cancel(JobId("7"), CommandResult(1, b"", SLURM.row(name)["stderr"].encode()))


@pytest.mark.parametrize(("code", "words"), [(137, b""), (1, b""), (1, b"scancel: error: the moon is full\n")])
def test_a_cancel_that_fails_in_words_that_nobody_knows_may_have_worked(code: int, words: bytes) -> None:
    with pytest.raises(OutcomeUnknown):
        check_cancel(JobId("7"), CommandResult(code, b"", words))


def test_a_cancel_is_lost_though_scancel_ends_well() -> None:
    words = b"scancel: error: Kill job error on job id 7: Socket timed out on send/recv operation\n"

    with pytest.raises(OutcomeUnknown, match="Socket timed out"):
        check_cancel(JobId("7"), CommandResult(0, b"", words))


# ── anything at all ───────────────────────────────────────────────────────────────────────────────────────────────

CELLS = st.one_of(
    st.text(max_size=12),
    st.sampled_from(["7", "7_1", "RUNNING", "FAILED", "CANCELLED by 9", "0:9", "N/A", "2026-11-22T15:20:28", "n[1-2]"]),
    st.from_regex(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", fullmatch=True),
    st.from_regex(r"n\[[\d,-]{0,9}\]?", fullmatch=True),
)
TABLES = st.lists(st.lists(CELLS, min_size=1, max_size=9).map("|".join), max_size=4).map("\n".join)


@given(TABLES)
def test_no_text_whatever_upsets_the_parsers(text: str) -> None:
    found = (*parse_squeue(text).values(), *parse_sacct(text, "7").values())
    for status in found:
        assert (status.cause is None) == (status.state is not JobState.ENDED)
    tokens(found)


JUDGES = (
    (parse_submit, SLURM.result("91-sbatch-M-parsable")),
    (check_answer, SLURM.result("31-squeue-me")),
    (partial(check_cancel, JobId("7")), SLURM.result("40-scancel-pending")),
)
"""Each with a result that it accepts."""


@given(st.integers(0, 255), st.binary(max_size=40), st.binary(max_size=40))
def test_no_result_whatever_raises_anything_but_our_own_errors(code: int, stdout: bytes, stderr: bytes) -> None:
    for judge, accepted in JUDGES:
        judge(accepted)
        with suppress(FxschedError):
            judge(CommandResult(code, stdout, stderr))
