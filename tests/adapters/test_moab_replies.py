"""Moab's replies, as its users have published them, and Maui's, as they were recorded, become ids, rows and errors."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fxsched import reasons
from fxsched.errors import CancelRefused, FxschedError, OutcomeUnknown, SchedulerUnavailable, SubmitRejected
from fxsched.hosts import CommandResult
from fxsched.jobs import EndCause, JobId, JobState, JobStatus, Token
from fxsched_moab.ids import job_id, number, split_id
from fxsched_moab.reasons import BATCH_HOLD, LIMIT, TRYING_AGAIN
from fxsched_moab.replies import check_answer, check_cancel, explained, listing, parse_submit
from fxsched_moab.rows import Row, parse_showq, row_of, status_of, waiting

from ..captures import Captures, result

MAUI = Captures("maui")
TOKEN, OTHER = Token("abcdefghijklmnop2345"), Token("bcdefghijklmnop23456")
ID = JobId(f"4217:{TOKEN}")
NOW = datetime(2026, 11, 22, 15, 0, tzinfo=UTC)

# In the form in which sites have published it (Moab 9 over Torque), with other people's names left out.
ACTIVE = (
    '<job AWDuration="1392" Account="research" Class="single" DRMJID="881196.admin2" GJID="881196" Group="staff" '
    f'JobID="881196" JobName="plot.{TOKEN}" MasterHost="m13s0703" PAL="torque" ReqAWDuration="10800" ReqNodes="1" '
    'ReqProcs="16" RsvStartTime="1562924509" RunPriority="99" StartPriority="99" StartTime="1562924509" '
    'StatPSDed="22271.200000" StatPSUtl="1829.560100" State="Running" SubmissionTime="1562924505" '
    'SuspendDuration="0" User="ada"/>'
)
ELIGIBLE = (
    '<job Account="research" EEDuration="72423" GJID="4761849" Group="staff" JobID="4761849" JobName="start.py" '
    'ReqAWDuration="172800" ReqProcs="20" StartPriority="-38601" StartTime="0" State="Idle" '
    'SubmissionTime="1553431244" SuspendDuration="0" User="ada"></job>'
)
LIMITED = (
    '<job Account="research" BlockReason="IdlePolicy:job 1109247 violates idle HARD MAXIPROC limit of 3528 for user '
    'ada  partition ALL (Req: 480  InUse: 3192)" Class="short" DRMJID="1109247.master19.site" EEDuration="337477" '
    'GJID="1109247" Group="ada" JobID="1109247" JobName="JUBE-wrf-conus_2.5" PAL="golett" ReqAWDuration="14400" '
    'ReqProcs="480" StartPriority="1751" StartTime="0" State="Idle" SubmissionTime="1507045378" '
    'SuspendDuration="0" User="ada"/>'
)
COMPLETED = (
    '<job AWDuration="169164" Account="research" Class="compute" CompletionCode="0" CompletionTime="1553436477" '
    'DRMJID="5087810.mg1.site" EEDuration="1457" GJID="5087810" Group="staff" JobID="5087810" JobName="start.py" '
    'MasterHost="n4250.site" PAL="torque" ReqAWDuration="172800" ReqNodes="1" ReqProcs="20" StartTime="1553267313" '
    'StatPSDed="3383282.000000" StatPSUtl="168401.142000" State="Completed" SubmissionTime="1553265273" '
    'SuspendDuration="0" User="ada"/>'
)
WHOLE = (
    '<Data><Object>queue</Object><cluster LocalActiveNodes="479" LocalConfigNodes="747" time="1562925910"/>'
    f'<queue count="1" option="active">{ACTIVE}</queue>\n<queue count="1" option="eligible">{ELIGIBLE}</queue>'
    f'<queue count="1" option="blocked">{LIMITED}</queue></Data>\n'
)


def row(queue: str = "eligible", **values: str) -> Row:
    """Return a row with these attributes and the usual ones."""
    return Row(queue, {"JobID": "4217", "JobName": f"x.{TOKEN}", "State": "Idle"} | values)


def done(stdout: str = "", stderr: str = "", code: int = 0) -> CommandResult:
    return CommandResult(code, stdout.encode(), stderr.encode())


# ── ids ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("moab", ["4217", "Moab.4217", "main-2.17", "4217.server.site"])
def test_an_id_holds_moab_s_own_and_the_token(moab: str) -> None:
    assert split_id(job_id(moab, TOKEN)) == (moab, TOKEN)


@pytest.mark.parametrize(
    "id", ["4217", "4217.server", f"4217:{TOKEN}2", f"4217:{TOKEN}\n", f"a b:{TOKEN}", f":{TOKEN}"]
)
def test_any_other_id_is_the_resource_manager_s_own(id: str) -> None:
    assert split_id(JobId(id)) == (id, None)


@pytest.mark.parametrize(("id", "expected"), [("17", "17"), ("17.server.site", "17"), ("Moab.17", "Moab.17")])
def test_the_number_of_a_job(id: str, expected: str) -> None:
    assert number(id) == expected


# ── submit ────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("stdout", "id"),
    [
        ("\n4217\n", "4217"),
        ("\nMoab.4217\n", "Moab.4217"),
        ("\n\n4761849\n\n", "4761849"),
        ('<Data><job JobID="881196"/></Data>\n', "881196"),
        ('\n<Data><job JobID="Moab.7"></job></Data>', "Moab.7"),
        ("Welcome. Maintenance on Tuesday 17.\n\n4217\n", "4217"),
        ('You have 12 core-hours left\n<Data><job JobID="4217"/></Data>\nBye 99\n', "4217"),
    ],
)
def test_the_id_is_found_among_what_a_site_prints_around_it(stdout: str, id: str) -> None:
    assert parse_submit(done(stdout)) == id


@pytest.mark.parametrize(
    "stdout", ["", "\n", "\n42", '<Data><job JobID="42', "job 4217\n", "4217 4218\n", "٤٢\n", "-1\n"]
)
def test_an_msub_that_ended_well_without_a_whole_id_may_have_made_a_job(stdout: str) -> None:
    with pytest.raises(OutcomeUnknown, match="printed no job id"):
        parse_submit(done(stdout))


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (
            done("", "ERROR:    cannot submit job, msg: 'sbatch: error: invalid partition specified: x'\n", 1),
            SubmitRejected,
        ),
        (done("", "ERROR:  client timed out after 30 seconds (hostname:port=mg1.site:42559)\n", 1), OutcomeUnknown),
        (done("", "ERROR:    cannot submit job, msg: 'Socket timed out on send/recv operation'\n", 1), OutcomeUnknown),
        (MAUI.result("21-down-showq"), SchedulerUnavailable),
        (done("", "ERROR:    cannot request service (status)\n", 1), OutcomeUnknown),
        (done("\n4217\n", "ERROR:  odd\n", 1), OutcomeUnknown),
        (done("", "", 137), OutcomeUnknown),
        (done("", "", 1), OutcomeUnknown),
    ],
)
def test_a_failed_submit_is_a_refusal_unless_there_may_be_a_job_or_moab_was_not_reached(
    answer: CommandResult, kind: type[Exception]
) -> None:
    with pytest.raises(kind) as raised:
        parse_submit(answer)

    assert type(raised.value) is kind
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        ("cannot submit job, msg: 'qsub: submit error (Unknown queue MSG=requested queue not found)'", SubmitRejected),
        ("cannot submit job, msg: 'qsub: submit error (Job exceeds queue resource limits)'", SubmitRejected),
        ("user ada is not authorized to submit jobs", SubmitRejected),
        ("the phase of the moon", OutcomeUnknown),
        ("cannot submit job, msg: 'qsub: submit error (End of File)'", OutcomeUnknown),
        ("cannot submit job, msg: 'Invalid request MSG=cannot locate new job 35.vm'", OutcomeUnknown),
        ("job Moab.17 was rejected by the resource manager", OutcomeUnknown),
        ("job 17 has been submitted, but is invalid", OutcomeUnknown),
        ("cannot open file '/opt/moab/etc/moab.cfg': Permission denied", SchedulerUnavailable),
        ("cannot submit job, msg: 'qsub: Invalid credential'", SchedulerUnavailable),
        ("Connection refused", SchedulerUnavailable),
    ],
)
def test_only_words_that_judge_the_request_are_a_refusal(words: str, kind: type[Exception]) -> None:
    with pytest.raises(kind) as raised:
        parse_submit(done("", f"ERROR:    {words}\n", 1))

    assert type(raised.value) is kind


def test_all_that_an_msub_without_an_id_said_is_told() -> None:
    with pytest.raises(OutcomeUnknown, match=r"the disk is full.*Welcome"):
        parse_submit(done("Welcome\n", "the disk is full\n"))


def test_a_refusal_quotes_the_resource_manager() -> None:
    with pytest.raises(SubmitRejected, match="invalid partition specified: x"):
        parse_submit(done("", "ERROR:    cannot submit job, msg: 'sbatch: error: invalid partition specified: x'\n", 1))


# ── showq ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_every_job_is_in_the_list_in_which_moab_has_it() -> None:
    rows = parse_showq(WHOLE)

    assert [(each.id, each.queue) for each in rows] == [
        ("881196", "active"), ("4761849", "eligible"), ("1109247", "blocked"),
    ]  # fmt: skip
    assert [each.manager_id for each in rows] == ["881196.admin2", "", "1109247.master19.site"]
    assert rows[0].token == TOKEN


def test_a_job_that_runs() -> None:
    status = status_of(parse_showq(WHOLE)[0], ID)

    assert (status.id, status.state, status.native_state) == (ID, JobState.RUNNING, "Running")
    assert (status.nodes, status.reason, status.cause) == (("m13s0703",), "", None)
    assert status.submitted_at == datetime(2019, 7, 12, 9, 41, 45, tzinfo=UTC)
    assert status.started_at == datetime(2019, 7, 12, 9, 41, 49, tzinfo=UTC)


def test_a_job_that_moab_has_not_handed_down_waits_for_room() -> None:
    status = status_of(parse_showq(WHOLE)[1], ID)

    assert (status.state, status.reason, status.started_at) == (JobState.QUEUED, reasons.RESOURCES, None)


def test_a_job_at_a_limit_waits_and_says_so() -> None:
    status = status_of(parse_showq(WHOLE)[2], ID)

    assert (status.state, status.reason) == (JobState.QUEUED, LIMIT)


def test_a_job_that_has_ended() -> None:
    text = f'<Data><queue count="1" option="completed" purgetime="86400">{COMPLETED}</queue></Data>'

    [each] = parse_showq(listing(done(text), "completed"))
    status = status_of(each, ID)

    assert (status.state, status.cause, status.exit_code) == (JobState.ENDED, EndCause.COMPLETED, 0)
    assert status.ended_at == datetime(2019, 3, 24, 14, 7, 57, tzinfo=UTC)
    assert status.nodes == ("n4250.site",)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"CompletionCode": "0"}, (EndCause.COMPLETED, 0, None)),
        ({"CompletionCode": "3"}, (EndCause.FAILED, 3, None)),
        ({"CompletionCode": "265"}, (EndCause.FAILED, None, 9)),
        ({"CompletionCode": "271"}, (EndCause.CANCELLED, None, 15)),
        ({"CompletionCode": "CNCLD"}, (EndCause.CANCELLED, None, None)),
        ({"CompletionCode": "CNCLD(271)"}, (EndCause.CANCELLED, None, None)),
        ({"State": "Removed", "CompletionCode": "0"}, (EndCause.CANCELLED, 0, None)),
        (
            {"State": "Removed", "CompletionCode": "271", "AWDuration": "61", "ReqAWDuration": "60"},
            (EndCause.WALLTIME, None, 15),
        ),
        ({"State": "Vacated"}, (EndCause.PREEMPTED, None, None)),
        ({}, (EndCause.UNKNOWN, None, None)),
        ({"CompletionCode": "²"}, (EndCause.UNKNOWN, None, None)),
    ],
)
def test_how_a_job_ended(values: dict[str, str], expected: tuple[EndCause, int | None, int | None]) -> None:
    status = status_of(row("completed", **{"State": "Completed"} | values), ID)

    assert (status.cause, status.exit_code, status.signal) == expected


@pytest.mark.parametrize(
    ("queue", "values", "state", "reason"),
    [
        ("blocked", {"State": "UserHold"}, JobState.HELD, reasons.HELD_BY_OWNER),
        ("blocked", {"State": "SystemHold"}, JobState.HELD, reasons.HELD_BY_ADMIN),
        ("blocked", {"State": "BatchHold"}, JobState.HELD, BATCH_HOLD),
        ("blocked", {"State": "Idle", "Hold": "Batch"}, JobState.HELD, BATCH_HOLD),
        ("blocked", {"State": "Idle", "Hold": "Phase"}, JobState.HELD, "Held until it is released."),
        ("blocked", {"State": "Deferred"}, JobState.HELD, TRYING_AGAIN),
        ("blocked", {"State": "Idle", "BlockReason": "Depend"}, JobState.QUEUED, reasons.DEPENDENCY),
        ("blocked", {"BlockReason": "Moon:the moon  is full."}, JobState.QUEUED, "Moab says: the moon is full."),
        ("blocked", {"BlockReason": "PhaseOfMoon"}, JobState.QUEUED, "Moab says: PhaseOfMoon."),
        ("blocked", {}, JobState.QUEUED, ""),
        ("eligible", {}, JobState.QUEUED, reasons.RESOURCES),
        ("active", {"State": "Starting"}, JobState.QUEUED, reasons.PREPARING),
        ("active", {"State": "Suspended"}, JobState.SUSPENDED, ""),
        ("active", {"State": "Canceling"}, JobState.RUNNING, ""),
    ],
)
def test_every_state_and_reason(queue: str, values: dict[str, str], state: JobState, reason: str) -> None:
    status = status_of(row(queue, **values), ID)

    assert (status.state, status.reason, status.cause) == (state, reason, None)


@given(st.sampled_from(["active", "eligible", "blocked"]), st.text())
def test_a_state_that_nobody_knows_is_alive(queue: str, word: str) -> None:
    status = status_of(row(queue, State=word), ID)

    assert status.cause is None
    assert status.state not in (JobState.ENDED, JobState.GONE)


def test_a_reservation_says_when_a_job_will_start() -> None:
    assert status_of(row(RsvStartTime="1553267313"), ID).expected_start == datetime(2019, 3, 22, 15, 8, 33, tzinfo=UTC)


def test_moab_s_word_counts_for_what_waits_in_the_resource_manager() -> None:
    """Under Moab, Slurm has waiting jobs as held by an administrator, and Torque says nothing of why they wait."""
    below = JobStatus(id=ID, state=JobState.HELD, name="x", native_state="PENDING", reason=reasons.HELD_BY_ADMIN)

    status = waiting(below, row())
    assert (status.state, status.reason, status.name) == (JobState.QUEUED, reasons.RESOURCES, "x")
    status = waiting(below, row("active", State="Running"))
    assert (status.state, status.reason) == (JobState.QUEUED, reasons.PREPARING)


def test_a_job_is_known_by_its_token_whatever_moab_calls_it_by_now() -> None:
    renamed = row(JobID="99", DRMJID="99.server", GJID="99")
    namesake = row(JobID="4217", JobName=f"x.{OTHER}")

    assert row_of([namesake, renamed], "4217", TOKEN) is renamed
    assert row_of([namesake], "4217", TOKEN) is None
    assert row_of([namesake], "4217", None) is namesake


def test_jobs_with_one_token_are_told_apart_by_their_ids() -> None:
    twins = [row(JobID="Moab.1", DRMJID="7.server"), row(JobID="8", GJID="Moab.2", DRMJID="8.server")]

    assert [row_of(twins, id, TOKEN) for id in ("Moab.1", "Moab.2", "7", "8.server")] == [*twins, *twins]


def test_a_row_without_a_name_is_known_by_its_id() -> None:
    nameless = row(JobName="")

    assert row_of([nameless], "4217", TOKEN) is nameless
    assert row_of([nameless], "4218", TOKEN) is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Welcome\n",
        WHOLE[: len(WHOLE) // 2],
        WHOLE.rstrip()[:-1],
        WHOLE.replace('option="blocked"', 'option="idle"'),
        "<Data></Data>",
        MAUI.result("01-showq").text,
    ],
)
def test_what_is_no_whole_list_is_no_answer(text: str) -> None:
    with pytest.raises(SchedulerUnavailable, match="no whole list"):
        listing(done(text), "active", "eligible", "blocked")


def test_a_list_behind_a_banner_is_a_list() -> None:
    assert len(parse_showq(listing(done(f"Welcome. Job 17 is <odd>\n{WHOLE}"), "active", "eligible", "blocked"))) == 3


def test_empty_lists_are_an_answer() -> None:
    text = '<Data><queue count="0" option="active"/><queue option="eligible"/><queue option="blocked"></queue></Data>'

    assert parse_showq(listing(done(text), "active", "eligible", "blocked")) == []


def test_a_bad_row_spoils_itself_alone_and_is_there() -> None:
    bad = '<job JobID="1" JobName="a"b" State="Idle"/><job State="Idle"/><job JobID="x y"/><job JobID="2" State=Idle/>'
    good = '<job JobID="3" JobName="a &amp; &quot;b&quot; &lt;job&gt; \ufffd" State="Idle"/>'

    rows = {each.id: each for each in parse_showq(f'<queue option="active">{bad}{good}')}

    assert list(rows) == ["1", "2", "3"]
    assert rows["3"].name == 'a & "b" <job> \ufffd'
    assert status_of(rows["2"], ID).state is JobState.RUNNING


@pytest.mark.parametrize("noise", ["Connection closed.\n", "\n\nbye"])
def test_noise_behind_a_whole_list_is_no_part_of_it(noise: str) -> None:
    assert len(parse_showq(listing(done(WHOLE + noise), "active", "eligible", "blocked"))) == 3


@pytest.mark.parametrize("name", ["15-showq-r", "16-showq-i", "21-down-showq", "05-checkjob-unknown"])
def test_a_command_that_could_not_ask_is_no_answer(name: str) -> None:
    with pytest.raises(SchedulerUnavailable, match=r"Moab could not be asked: .{20}"):
        check_answer(MAUI.result(name))


# ── checkjob ──────────────────────────────────────────────────────────────────────────────────────────────────────

HERE = JobStatus(id=JobId("17.vm"), state=JobState.QUEUED, native_state="Q")


def test_maui_says_why_a_job_waits_and_until_when() -> None:
    status = explained(HERE, MAUI.result("03-checkjob-idle"), NOW)

    assert (status.state, status.reason) == (JobState.QUEUED, reasons.RESOURCES)
    assert status.expected_start == NOW + timedelta(minutes=59, seconds=30)


def test_who_holds_a_job_is_the_resource_manager_s_to_say() -> None:
    held = JobStatus(id=JobId("16.vm"), state=JobState.HELD, reason=reasons.HELD_BY_OWNER)

    assert explained(held, MAUI.result("04-checkjob-held"), NOW) == held
    assert explained(HERE, MAUI.result("04-checkjob-held"), NOW).reason == "Held until it is released."


@pytest.mark.parametrize("name", ["05-checkjob-unknown", "06-checkjob-badid", "02-checkjob-running"])
def test_where_maui_says_nothing_the_resource_manager_s_word_stands(name: str) -> None:
    assert explained(HERE, MAUI.result(name), NOW) == HERE


@pytest.mark.parametrize("name", ["22-down-checkjob"])
def test_a_maui_that_is_down_says_nothing_of_any_job(name: str) -> None:
    with pytest.raises(SchedulerUnavailable, match="cannot send request"):
        explained(HERE, MAUI.result(name), NOW)


@pytest.mark.parametrize("row", MAUI.rows(command="checkjob"), ids=lambda row: row["name"])
def test_every_recorded_checkjob_leaves_the_state_as_it_is(row: dict[str, Any]) -> None:
    with suppress(SchedulerUnavailable):
        assert explained(HERE, result(row), NOW).state is JobState.QUEUED


def test_a_deferred_job_is_held_and_says_why() -> None:
    """As Maui 3.5 puts it; its own state of the job is another than the resource manager's."""
    why = "job is deferred.  Reason:  RMFailure  (cannot start job - RM failure, rc: 15041, msg: 'Execution server')\n"
    text = f"checking job 17\n\nState: Idle  EState: Deferred\nCreds:  user:bob\n\n{why}Holds:    Defer\n"

    for said, reason in (
        (
            text,
            f"{TRYING_AGAIN} Maui says: RMFailure (cannot start job - RM failure, rc: 15041, msg: 'Execution server').",
        ),
        ("State: Deferred\n", TRYING_AGAIN),
    ):
        found = explained(HERE, done(said), NOW)
        assert (found.state, found.native_state, found.reason) == (JobState.HELD, "Deferred", reason)


def test_an_unknown_hindrance_is_quoted() -> None:
    text = "State: Idle\njob cannot run in partition DEFAULT (the moon is full)\n"

    assert explained(HERE, done(text), NOW).reason == "Maui says: the moon is full."


# ── canceljob ─────────────────────────────────────────────────────────────────────────────────────────────────────

CANCEL = {
    "08-canceljob-idle": True,
    "18-canceljob-again": False,
    "31-canceljob-right-after-qsub": True,
    "10-canceljob-noarg": CancelRefused,
    "20-canceljob-other": CancelRefused,
    "23-down-canceljob": SchedulerUnavailable,
}


@pytest.mark.parametrize("row", MAUI.rows(command="canceljob"), ids=lambda row: row["name"])
def test_every_recorded_cancel(row: dict[str, Any]) -> None:
    expected = CANCEL[row["name"]]

    if isinstance(expected, bool):
        assert check_cancel(ID, result(row)) is expected
    else:
        with pytest.raises(expected, match=r"job|cannot send"):
            check_cancel(ID, result(row))


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (done("", "ERROR:  client timed out after 30 seconds (hostname:port=mg1.site:42559)\n", 1), OutcomeUnknown),
        (done("<html>503"), OutcomeUnknown),
        (done(""), OutcomeUnknown),
        (done("", "", 137), OutcomeUnknown),
        (done("", "ERROR:    job '7' is locked\n", 1), OutcomeUnknown),
        (done("", "ERROR:    cannot cancel job '7' (Server could not connect to MOM)\n", 1), OutcomeUnknown),
        (done("\nPermission denied\n"), CancelRefused),
        (done("", "qdel: Invalid credential\n", 1), SchedulerUnavailable),
    ],
)
def test_a_cancel_without_a_clear_answer_may_have_worked(answer: CommandResult, kind: type[Exception]) -> None:
    with pytest.raises(kind):
        check_cancel(ID, answer)


def test_moab_does_not_know_a_job_any_more() -> None:
    assert check_cancel(ID, done("", "ERROR:  invalid job specified (4761849)\n\n", 1)) is False


# ── anything at all ───────────────────────────────────────────────────────────────────────────────────────────────

PIECES = st.one_of(
    st.text(max_size=12),
    st.sampled_from(["<Data>", "</Data>", '<queue option="completed">', ACTIVE, COMPLETED, "<job ", 'JobID="7"', "/>"]),
    st.from_regex(r' [A-Z][A-Za-z]{1,9}="[^"]{0,9}"', fullmatch=True),
)


@given(st.lists(PIECES, max_size=12).map("".join))
def test_no_text_whatever_upsets_the_parsers(text: str) -> None:
    for each in parse_showq(text):
        status = status_of(each, ID)
        assert (status.cause is None) == (status.state is not JobState.ENDED)
        assert waiting(HERE, row()).cause is None
    with suppress(SchedulerUnavailable):
        explained(HERE, done(text), NOW)


JUDGES = (
    (parse_submit, done("\nMoab.4217\n")),
    (check_answer, MAUI.result("01-showq")),
    (partial(check_cancel, ID), MAUI.result("08-canceljob-idle")),
    (lambda answer: listing(answer, "active"), done(WHOLE)),
)
"""Each with a result that it accepts."""


@given(st.integers(0, 255), st.binary(max_size=40), st.binary(max_size=40))
def test_no_result_whatever_raises_anything_but_our_own_errors(code: int, stdout: bytes, stderr: bytes) -> None:
    for judge, accepted in JUDGES:
        judge(accepted)
        with suppress(FxschedError):
            judge(CommandResult(code, stdout, stderr))
