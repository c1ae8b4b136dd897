"""What described commands print, by expressions: recorded output of a scheduler of the LSF family, and its mischief.

The description is one that an administrator could write; the recordings are those of the real commands.
"""

from __future__ import annotations

import re
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fxsched.errors import CancelRefused, FxschedError, OutcomeUnknown, SchedulerUnavailable, SubmitRejected
from fxsched.hosts import CommandResult
from fxsched.jobs import EndCause, JobId, JobState, new_token
from fxsched_command.options import Options
from fxsched_command.replies import check_cancel, parse_names, parse_status, parse_submit

from ..captures import Captures, result
from .command_site import as_options, described

LSF = Captures("lsf")
ROW = r"(?P<id>\d+) +\S+ +(?P<state>[A-Z]+) +\S+ +\S+ +(?P<nodes>\S+) +(?P<name>\S.*\S|\S) +\w{3} [ \d]\d \d\d:\d\d"
HEADER = "JOBID +USER +STAT +QUEUE +FROM_HOST +EXEC_HOST +JOB_NAME +SUBMIT_TIME"


def lsf(**changes: Any) -> Options:
    return as_options(
        {
            "submit": ["bsub", "-J", "{name}"],
            "id": r"Job <(?P<id>\d+)> is submitted to (default )?queue <\S+>\.",
            "rejected": [
                "(No such queue|cannot use the queue|Too many processors|Bad \\w+|Cannot exceed).*Job not submitted",
                "illegal option",
            ],
            "unavailable": [r"Connection refused by server\. Job not submitted", "LIM is down"],
            "status": ["bjobs", "-a", "-w", "{ids}"],
            "row": ROW,
            "complete": HEADER,
            "gone": [r"Job <(?P<id>\d+)> is not found"],
            "empty": ["No (unfinished )?job found"],
            "states": {
                "queued": ["PEND", "PROV", "WAIT"],
                "held": ["PSUSP"],
                "running": ["RUN"],
                "suspended": ["USUSP", "SSUSP"],
                "completed": ["DONE"],
                "failed": ["EXIT"],
            },
            "find": ["bjobs", "-a", "-w"],
            "cancel": ["bkill", "{id}"],
            "already": ["Job has already finished", "No matching job found"],
            "denied": ["User permission denied"],
        }
        | changes
    )


WHO = "LSF"
HEAD = "JOBID   USER    STAT  QUEUE      FROM_HOST   EXEC_HOST   JOB_NAME   SUBMIT_TIME\n"


def row(id: str, state: str = "RUN", name: str = "x") -> str:
    return f"{id}      bob     {state}   normal     vm          vm          {name}  Nov 22 14:49\n"


def printed(text: str, code: int = 0, stderr: str = "") -> CommandResult:
    return CommandResult(code, text.encode(), stderr.encode())


def statuses(answer: CommandResult, *ids: str, options: Options | None = None) -> dict[str, JobState]:
    found = parse_status(answer, options or lsf(), frozenset(map(JobId, ids)), WHO)
    assert not found.one_is_unknown
    return {id: status.state for id, status in found.found.items()}


# ── recorded ──────────────────────────────────────────────────────────────────────────────────────────────────────


def bsubs() -> list[Any]:
    return [row for row in LSF.rows(command="bsub") if isinstance(row.get("rc"), int)]


def test_every_recorded_submit_gives_its_id_or_is_refused_or_open() -> None:
    rows = bsubs()
    ids = 0
    for row in rows:
        told = re.search(r"^Job <(\d+)> is submitted", row["stdout"], re.MULTILINE)
        try:
            id = parse_submit(result(row), lsf(), WHO)
        except OutcomeUnknown:
            assert row["rc"] or not told
        except (SubmitRejected, SchedulerUnavailable):
            assert row["rc"]
            assert not told
        else:
            assert told
            assert told[1] == id
            ids += 1
    assert ids > 20
    assert len(rows) > ids


def test_a_time_out_that_says_not_submitted_but_is_not_described_leaves_it_open() -> None:
    """The real one said so, and the job existed."""
    with pytest.raises(OutcomeUnknown, match="Communication time out"):
        parse_submit(printed("", 255, "Communication time out. Job not submitted.\n"), lsf(), WHO)


def test_every_recorded_row_is_read() -> None:
    """Of names that hold what stands between columns, some are not: such a job is then alive."""
    words = {word: state for state, own in lsf().states.items() for word in own}
    seen = 0
    for capture in LSF.rows(command="bjobs"):
        lines = capture["stdout"].splitlines() if capture.get("rc") == 0 else []
        if not lines or not re.fullmatch(HEADER, lines[0]) or "-w" not in capture["cmd"]:
            continue
        own = {m[1]: m[2] for line in lines[1:] if (m := re.match(r"(\d+) +\w+ +([A-Z]+) ", line))}
        states = statuses(result(capture), *own, "99999")
        for id, word in own.items():
            meant = words.get(word, "running")
            assert states[id] in (meant if meant in set(JobState) else JobState.ENDED, JobState.RUNNING)
            seen += states[id] == meant
        assert states["99999"] is JobState.GONE
    assert seen > 20


def test_an_unknown_id_is_gone_and_the_known_ones_are_answered_whatever_the_exit_code() -> None:
    assert statuses(LSF.result("08-bjobs-unknown"), "99999") == {"99999": JobState.GONE}
    mixed = printed(HEAD + row("7"), 255, "Job <99999> is not found\n")
    assert statuses(mixed, "7", "99999") == {"7": JobState.RUNNING, "99999": JobState.GONE}


@pytest.mark.parametrize(
    ("name", "error"), [("136-bkill-array", None), ("164-bkill-r-unkwn", None), ("162-bkill-unkwn", OutcomeUnknown)]
)
def test_recorded_cancels(name: str, error: type[Exception] | None) -> None:
    if error is None:
        check_cancel(LSF.result(name), lsf(), JobId("1"), WHO)
    else:
        with pytest.raises(error, match="Operation is in progress"):
            check_cancel(LSF.result(name), lsf(), JobId("1"), WHO)


def test_a_cancel_of_somebody_else_s_job_is_refused() -> None:
    with pytest.raises(CancelRefused, match="User permission denied"):
        check_cancel(printed("", 255, "Job <7>: User permission denied\n"), lsf(), JobId("7"), WHO)


# ── what is no answer ─────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "answer",
    [
        printed(""),
        printed("Welcome.\n"),
        printed(HEAD.rstrip("\n")),
        printed(HEAD + row("7")[:20]),
        printed(HEAD + row("7"), 1, "batch daemon not responding\n"),
        printed("", 255, "LSF is down. Please wait ...\n"),
        printed("Job <99999> is not found", 255),
    ],
    ids=["nothing", "banner", "cut header", "cut row", "failure", "down", "cut message"],
)
def test_a_list_that_may_not_be_whole_says_of_no_job_that_it_is_gone(answer: CommandResult) -> None:
    with pytest.raises(SchedulerUnavailable):
        statuses(answer, "99999")
    with pytest.raises(SchedulerUnavailable):
        parse_names(answer, lsf(), WHO, new_token())


def test_a_whole_list_says_so() -> None:
    assert statuses(printed(HEAD + row("7")), "7", "8") == {"7": JobState.RUNNING, "8": JobState.GONE}
    assert statuses(printed("", 255, "No job found\n"), "8") == {"8": JobState.GONE}
    assert parse_names(printed("", 255, "No job found\n"), lsf(), WHO, new_token()) == []


def test_a_line_that_says_there_is_nothing_beside_rows_says_nothing() -> None:
    assert statuses(printed("No job found\n" + row("7")), "7") == {"7": JobState.RUNNING}
    with pytest.raises(SchedulerUnavailable):
        statuses(printed("No job found\n" + row("7")), "8")


def test_a_row_that_cannot_be_read_keeps_its_job_alive_and_is_shown() -> None:
    answer = parse_status(printed(HEAD + "7 what is this\n"), lsf(), frozenset([JobId("7"), JobId("8")]), WHO)

    assert answer.found[JobId("7")].state is JobState.RUNNING
    assert "7 what is this" in answer.found[JobId("7")].reason
    assert answer.found[JobId("8")].state is JobState.GONE


def test_a_number_in_the_mark_of_completeness_keeps_no_job_alive() -> None:
    options = lsf(complete=r"\d+ jobs")

    assert statuses(printed(row("7") + "8 jobs\n"), "8", options=options) == {"8": JobState.GONE}


def test_an_unknown_word_is_alive() -> None:
    assert statuses(printed(HEAD + row("7", "ZOMBI")), "7") == {"7": JobState.RUNNING}


def test_a_row_forged_with_a_line_feed_in_a_name_ends_no_session() -> None:
    for text in (row("7") + row("7", "DONE"), row("7", "DONE") + row("7")):
        assert statuses(printed(HEAD + text), "7") == {"7": JobState.RUNNING}


def test_a_message_that_does_not_say_which_job_is_unknown_counts_for_one_only() -> None:
    options = lsf(gone=["no such job"])
    ids = frozenset([JobId("7"), JobId("8")])

    assert statuses(printed("", 1, "no such job\n"), "7", options=options) == {"7": JobState.GONE}
    answer = parse_status(printed(HEAD + row("7"), 1, "no such job\n"), options, ids, WHO)
    assert (answer.found.keys(), answer.one_is_unknown) == ({"7"}, True)


# ── find ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_row_with_the_token_that_cannot_be_read_is_no_answer() -> None:
    token = new_token()

    with pytest.raises(SchedulerUnavailable, match="its line is not understood"):
        parse_names(printed(f"{HEAD}7 what? x.{token}\n"), lsf(), WHO, token)


def test_names_that_are_cut_short_are_no_answer() -> None:
    token = new_token()

    with pytest.raises(SchedulerUnavailable, match="cuts names short"):
        parse_names(printed(HEAD + row("7", name=f"x.{token[:8]}")), lsf(), WHO, token)


def test_a_name_that_is_cut_short_does_not_pass_for_another_job_s() -> None:
    """A cluster takes a name without the job's token for proof that the id is another job's by now."""
    token = new_token()
    for name, kept in ((f"x.{token}", f"x.{token}"), (f"x.{token[:8]}", ""), ("their own", "")):
        found = parse_status(printed(HEAD + row("7", name=name)), lsf(), frozenset([JobId("7")]), WHO).found
        assert found[JobId("7")].name == kept


# ── submit ────────────────────────────────────────────────────────────────────────────────────────────────────────

ACCEPTED = "Job <7> is submitted to queue <a>.\n"


def test_the_id_is_found_among_a_site_s_messages_on_either_stream() -> None:
    for answer in (printed(f"Hello 4217\n{ACCEPTED}Bye\n"), printed("Hello\n", stderr=f"Job quota: 1\n{ACCEPTED}")):
        assert parse_submit(answer, lsf(), WHO) == "7"


@pytest.mark.parametrize(
    "answer",
    [
        printed(""),
        printed(ACCEPTED.rstrip("\n")),
        printed(f"{ACCEPTED}Job <8> is submitted to queue <a>.\n"),
        printed(f"x {ACCEPTED}"),
        printed(ACCEPTED, 1, "nosuch: No such queue. Job not submitted.\n"),
        printed("", 139, "nosuch: No such queue. Job not submitted.\n"),
        printed("", 1, "something new\n"),
    ],
    ids=["nothing", "cut", "two", "within a line", "failed after it", "killed", "unknown words"],
)
def test_in_doubt_a_job_may_exist(answer: CommandResult) -> None:
    with pytest.raises(OutcomeUnknown):
        parse_submit(answer, lsf(), WHO)


def test_words_that_are_known_to_leave_it_open_are_stronger_than_those_that_refuse() -> None:
    """Grid Engine warns so, ends with 1, and runs the job."""
    warned = printed("Your job has been submitted\n", 1, "nosuch: No such queue. Job not submitted.\n")
    lost = printed("", 255, "No such queue. Communication time out. Job not submitted.\n")

    with pytest.raises(OutcomeUnknown, match="No such queue"):
        parse_submit(warned, lsf(), WHO)
    with pytest.raises(OutcomeUnknown, match="Communication time out"):
        parse_submit(lost, lsf(doubtful=["Communication time out"]), WHO)


def test_a_program_that_cannot_even_begin_has_submitted_nothing() -> None:
    words = "bsub: error while loading shared libraries: liblsf.so: cannot open shared object file\n"

    with pytest.raises(SchedulerUnavailable, match="liblsf"):
        parse_submit(printed("", 127, words), lsf(), WHO)


def test_all_that_a_submit_without_an_id_said_is_quoted() -> None:
    with pytest.raises(OutcomeUnknown, match=r"Allocation loni_xx has expired.*Bye"):
        parse_submit(printed("Bye\n", 0, "Allocation loni_xx has expired\n"), lsf(), WHO)


@pytest.mark.parametrize("code", [0, 255])
def test_a_cancel_is_denied_whatever_the_exit_code(code: int) -> None:
    """Maui's canceljob says so and ends well."""
    with pytest.raises(CancelRefused, match="User permission denied"):
        check_cancel(printed("Job <7>: User permission denied\n", code), lsf(), JobId("7"), WHO)


@pytest.mark.parametrize("line", ["7_1|RUNNING", "7+0|RUNNING", "7_[1-2]|PENDING"])
def test_a_row_of_a_part_keeps_its_job_alive(line: str) -> None:
    assert statuses(printed(f"{HEAD}{line}\n"), "7") == {"7": JobState.RUNNING}


@pytest.mark.parametrize(("first", "second"), [("EXIT", "RUN"), ("RUN", "DONE")])
def test_an_array_lives_while_a_task_does(first: str, second: str) -> None:
    options = lsf(row=ROW.replace(r"(?P<id>\d+)", r"(?P<id>\d+(?:\[\d+\])?)"))
    text = HEAD + row("7[1]", first) + row("7[2]", second)

    assert statuses(printed(text), "7", options=options) == {"7": JobState.RUNNING}


def test_noise_may_stand_behind_the_closing_mark_of_a_list() -> None:
    options = as_options(described("spool"))
    text = SPOOL_ROW.format(state="running", code="-", began="0", ended="-") + "logout"

    assert statuses(printed(text), "7", "8", options=options) == {"7": JobState.RUNNING, "8": JobState.GONE}
    with pytest.raises(SchedulerUnavailable, match="no whole list"):  # a header may stand above half a list
        statuses(printed(HEAD + "8      bo"), "7")


OWNED = {"row": ROW.replace(r"(?P<id>\d+) +\S+", r"(?P<id>\d+) +(?P<owner>\S+)")}


def test_somebody_else_s_row_is_none_of_ours() -> None:
    token = new_token()
    text = HEAD + row("7", name=f"x.{token}") + row("8", name=f"x.{token}").replace("bob ", "eve ")

    found = parse_status(printed(text), lsf(**OWNED), frozenset(map(JobId, "78")), WHO, "bob").found

    assert {id: status.state for id, status in found.items()} == {"7": JobState.RUNNING, "8": JobState.GONE}
    assert parse_names(printed(text), lsf(**OWNED), WHO, token, "bob") == [("7", f".x.{token}")]


def test_the_token_may_stand_elsewhere_than_in_the_name() -> None:
    token = new_token()
    options = as_options(described("spool") | {"row": SPOOL_TOKEN, "find_row": SPOOL_TOKEN})
    text = f"7 running - n1 0 - thesis {token}\nend of list\n"

    assert parse_status(printed(text), options, frozenset([JobId("7")]), WHO).found[JobId("7")].token == token
    assert parse_names(printed(text), options, WHO, token) == [("7", f".{token}")]


def test_a_name_that_is_the_bare_token_shows_whose_job_it_is() -> None:
    token = new_token()
    text = SPOOL_ROW.format(state="running", code="-", began="0", ended="-").replace(" x\n", f" {token}\n")

    found = parse_status(printed(text), as_options(described("spool")), frozenset([JobId("7")]), WHO).found

    assert found[JobId("7")].token == token


def test_why_a_job_was_held_is_not_why_it_ended() -> None:
    options = as_options(described("hpc"))
    text = "JOBID|STATE|SUBMIT_TIME|START_TIME|END_TIME|NODELIST|REASON|NAME\n7|CANCELLED|N/A|N/A|N/A||JobHeldUser|x\n"

    assert parse_status(printed(text), options, frozenset([JobId("7")]), WHO).found[JobId("7")].reason == ""


def test_certain_words_are_certain() -> None:
    with pytest.raises(SubmitRejected, match="nosuch: No such queue"):
        parse_submit(LSF.result("04-bsub-unknown-queue"), lsf(), WHO)
    with pytest.raises(SchedulerUnavailable, match="Connection refused"):
        parse_submit(printed("", 255, "Connection refused by server. Job not submitted.\n"), lsf(), WHO)


# ── values ────────────────────────────────────────────────────────────────────────────────────────────────────────

SPOOL_ROW = "7 {state} {code} n1,n[2-3] {began} {ended} x\nend of list\n"


SPOOL_TOKEN = (
    r"(?P<id>\d+) (?P<state>\w+) (?P<exit_code>\S+) (?P<nodes>\S+) (?P<started>\d+) (?P<ended>\S+) \S+ (?P<token>\w+)"
)


def spool(text: str, **changes: Any) -> Any:
    options = as_options(described("spool") | changes)
    return parse_status(printed(text), options, frozenset([JobId("7")]), WHO).found[JobId("7")]


@pytest.mark.parametrize(
    ("state", "code", "expected"),
    [
        ("over", "0", (JobState.ENDED, EndCause.COMPLETED, 0)),
        ("over", "3", (JobState.ENDED, EndCause.FAILED, 3)),
        ("over", "-", (JobState.ENDED, EndCause.UNKNOWN, None)),
        ("cut", "-", (JobState.ENDED, EndCause.CANCELLED, None)),
        ("running", "-", (JobState.RUNNING, None, None)),
    ],
)
def test_an_end_without_a_cause_of_its_own_is_judged_by_its_exit_code(state: str, code: str, expected: object) -> None:
    status = spool(SPOOL_ROW.format(state=state, code=code, began=1700000000, ended="-"))

    assert (status.state, status.cause, status.exit_code) == expected
    assert status.nodes == ("n1", "n[2-3]")


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({}, "1700000000"),
        ({}, "2023-11-14T22:13:20"),
        ({}, "2023-11-14T23:13:20+01:00"),
        ({"zone": "Europe/Berlin"}, "2023-11-14T23:13:20"),
        ({"time_format": "%d.%m.%Y/%H:%M:%S"}, "14.11.2023/22:13:20"),
    ],
)
def test_times_become_utc(settings: dict[str, str], text: str) -> None:
    pattern = described("spool")["row"].replace(r"(?P<started>\d+)", r"(?P<started>\S+)")

    status = spool(SPOOL_ROW.format(state="running", code="-", began=text, ended="-"), row=pattern, **settings)

    assert status.started_at == datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)


def test_a_time_that_is_none_is_left_out() -> None:
    assert spool(SPOOL_ROW.format(state="over", code="0", began=1, ended="N/A")).ended_at is None


READERS = (
    (lambda answer: parse_submit(answer, lsf(), WHO), LSF.result("02-bsub-ok-named")),
    (lambda answer: parse_status(answer, lsf(), frozenset([JobId("7")]), WHO), LSF.result("10-bjobs-w")),
    (lambda answer: parse_names(answer, lsf(), WHO, new_token()), LSF.result("10-bjobs-w")),
    (lambda answer: check_cancel(answer, lsf(), JobId("7"), WHO), LSF.result("164-bkill-r-unkwn")),
)
"""Each with a result that it accepts."""


@given(st.binary(), st.binary(), st.integers(0, 255))
def test_whatever_is_printed_is_an_answer_or_one_of_our_errors(stdout: bytes, stderr: bytes, code: int) -> None:
    for read, accepted in READERS:
        read(accepted)
        with suppress(FxschedError):
            read(CommandResult(code, stdout, stderr))
