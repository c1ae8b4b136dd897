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


def test_times_are_utc_and_the_start_of_a_waiting_job_is_an_expectation() -> None:
    text = squeue_row("PENDING", start="2026-11-22T15:15:49") + squeue_row("RUNNING", id="8", start="Unknown")

    waiting, running = parse_squeue(text).values()

    assert waiting.submitted_at == datetime(2026, 11, 22, 15, 11, 37, tzinfo=UTC)
    assert (waiting.started_at, waiting.expected_start) == (None, datetime(2026, 11, 22, 15, 15, 49, tzinfo=UTC))
    assert (running.started_at, running.expected_start, running.ended_at) == (None, None, None)


def test_a_bad_row_spoils_itself_alone() -> None:
    good = squeue_row("RUNNING", nodes="n1")
    reason = squeue_row("PENDING", "odd \"%j' \x1b \ufffd|a name | with", id="9")

    found = parse_squeue(f"slurm_load_jobs\n|||\n{good}12_[1-2,4,...|PENDING\n{reason}8|RUNN")

    assert sorted(found) == ["7", "9"]


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
    names = SLURM.result("08-squeue-names-name-last").text.replace(" ", "|", 1)
    rows = (
        f"{names}\n4|x.{TOKEN}\n5|x.{TOKEN}2\n6|{TOKEN}\n7_3|a|b.{TOKEN}\n.{TOKEN}\n{TOKEN}|8\n9|two\nlines.{TOKEN}\n"
    )

    assert parse_names(rows)[TOKEN] == ("4", "7_3")


# ── sacct ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("trace", "record"), list(accounts()))
def test_every_recorded_account(trace: str, record: dict[str, str]) -> None:
    row = "7|{State}|{ExitCode}|{Submit}|{Start}|{End}|None assigned|x\n".format_map(record)
    word = record["State"].split()[0]

    status = parse_sacct(row)[JobId("7")]

    assert (status.state, status.cause) == (LIVE.get(word, JobState.ENDED), ENDS.get(word))
    assert status.native_state == record["State"]
    assert status.nodes == ()
    assert (status.ended_at is None) == (word in LIVE)


@pytest.mark.parametrize(
    ("exit_code", "expected"),
    [
        ("0:0", (0, None, "")),
        ("7:0", (7, None, "")),
        ("0:9", (0, 9, "")),
        ("0:125", (0, None, "")),  # out of memory
        ("0:53", (0, None, sentence("JobLaunchFailure", "FAILED"))),
        ("", (None, None, "")),
        ("²:³", (None, None, "")),
        ("9" * 5000, (None, None, "")),
    ],
)
def test_exit_codes_and_signals(exit_code: str, expected: tuple[int | None, int | None, str]) -> None:
    status = parse_sacct(f"7|FAILED|{exit_code}|Unknown|Unknown|Unknown|n1|x\n")[JobId("7")]

    assert (status.exit_code, status.signal, status.reason) == expected


def test_a_row_of_sacct_with_a_newline_in_it_spoils_itself_alone() -> None:
    whole = "4|COMPLETED|0:0|2026-11-22T15:20:28|2026-11-22T15:20:28|2026-11-22T15:20:29|n1|x\n"

    assert list(parse_sacct(f"9|n|l\nx|COMPLETED|0:0\n8| |0:0|||||\n{whole}10.batch|RUNNING|0:0|||||\n")) == ["4"]


# ── scancel ───────────────────────────────────────────────────────────────────────────────────────────────────────

CANCEL = {
    "70-stopped-scancel": OutcomeUnknown,
    "76-down-scancel": SchedulerUnavailable,
    "77-blackhole-scancel": SchedulerUnavailable,
}


@pytest.mark.parametrize(
    "row", [row for row in SLURM.rows(command="scancel") if row["rc"] != 0], ids=lambda row: row["name"]
)
def test_a_failed_cancel_is_a_refusal_unless_slurm_could_not_be_reached(row: dict[str, Any]) -> None:
    with pytest.raises(CANCEL.get(row["name"], CancelRefused), match=r"job id|scancel|job 7"):
        check_cancel(JobId("7"), result(row))


@pytest.mark.parametrize(
    "row", [row for row in SLURM.rows(command="scancel") if row["rc"] == 0], ids=lambda row: row["name"]
)
def test_cancelling_what_has_ended_or_never_was_is_no_error(row: dict[str, Any]) -> None:
    check_cancel(JobId("7"), result(row))


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
    for status in (*parse_squeue(text).values(), *parse_sacct(text).values()):
        assert (status.cause is None) == (status.state is not JobState.ENDED)
    parse_names(text)


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
