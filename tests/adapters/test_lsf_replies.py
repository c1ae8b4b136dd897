"""LSF's replies, as volclava 2.2 was recorded and LSF 10.1 is documented, become ids, statuses and errors."""

from __future__ import annotations

import re
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fxsched import reasons
from fxsched.errors import CancelRefused, FxschedError, OutcomeUnknown, SchedulerUnavailable, SubmitRejected
from fxsched.hosts import CommandResult
from fxsched.jobs import EndCause, JobId, JobState, JobStatus, Token
from fxsched_lsf.reasons import sentence
from fxsched_lsf.replies import (
    answered,
    check_cancel,
    check_history,
    lacks_columns,
    most_memory,
    parse_history_names,
    parse_names,
    parse_submit,
    unit_of,
)
from fxsched_lsf.statuses import parse_columns, parse_history, parse_paragraphs

from ..captures import result
from .lsf_recorded import LSF, commands

Q, H, R, S, E = JobState.QUEUED, JobState.HELD, JobState.RUNNING, JobState.SUSPENDED, JobState.ENDED
TOKEN = Token("abcdefghijklmnop2345")
NOW = datetime(2026, 11, 22, 18, tzinfo=UTC)
"""The evening of the recordings."""

HEADER = "JOBID^STAT^EXIT_CODE^EXIT_REASON^SUBMIT_TIME^START_TIME^FINISH_TIME^EXEC_HOST^PEND_REASON^JOB_NAME\n"


def said(stdout: str, stderr: str = "", rc: int = 0) -> CommandResult:
    return CommandResult(rc, stdout.encode(), stderr.encode())


def row(
    state: str = "RUN",
    *,
    id: str = "7",
    code: str = "-",
    why: str = "-",
    start: str = "Nov 22 14:51:38 2026",
    end: str = "-",
    hosts: str = "n1",
    pending: str = "-",
    name: str = "x",
) -> str:
    """Return a row as ``bjobs -o COLUMNS`` prints it."""
    return f"{id}^{state}^{code}^{why}^Nov 22 14:51:37 2026^{start}^{end}^{hosts}^{pending}^{name}\n"


def read(*rows: str) -> JobStatus:
    [status] = parse_columns(said(HEADER + "".join(rows)), NOW).values()
    return status


def at(hour: int, minute: int, second: int = 0) -> datetime:
    return datetime(2026, 11, 22, hour, minute, second, tzinfo=UTC)


# ── submit ────────────────────────────────────────────────────────────────────────────────────────────────────────

SUBMITTED = [row for row in commands("bsub") if row["rc"] == 0]


@pytest.mark.parametrize("row", SUBMITTED, ids=lambda row: row["name"])
def test_an_accepted_job_s_id_is_read(row: dict[str, Any]) -> None:
    [id] = re.findall(r"^Job <(\d+)> is submitted", row["stdout"], re.MULTILINE)

    assert parse_submit(result(row)) == id


@pytest.mark.parametrize(
    "stdout",
    [
        "Welcome. You have 17 slots left\nJob <4217> is submitted to queue <night>.\n",
        "Job <4217> is submitted to default queue <normal>.\nSee https://example.com/Job <99>\n",
        "Group: staff\r\nJob <4217> is submitted to queue <a b>.\r\n",
    ],
)
def test_the_id_is_found_among_what_a_site_prints_around_it(stdout: str) -> None:
    assert parse_submit(said(stdout, "esub: 12 jobs today\n")) == "4217"


@pytest.mark.parametrize(
    "stdout",
    [
        "",
        "4217\n",
        "Job <4217>\n",
        "Job <42",
        "Job <4217> is submitted to queue <a>.",
        "x Job <1> is submitted to y.\n",
    ],
)
def test_a_bsub_that_ended_well_without_an_id_may_have_made_a_job(stdout: str) -> None:
    with pytest.raises(OutcomeUnknown, match="printed no job id"):
        parse_submit(said(stdout))


UNKNOWN = {"122-bsub-K-exit3", "193-mbd-hung-ntries1-bsub"}
UNAVAILABLE = {"176-mbd-down-ntries1-bsub", "186-noconf-bsub"}


@pytest.mark.parametrize("row", [row for row in commands("bsub") if row["rc"]], ids=lambda row: row["name"])
def test_a_failed_submit_is_a_refusal_in_lsf_s_words_unless_lsf_could_not_be_reached(row: dict[str, Any]) -> None:
    name = row["name"]
    kind = OutcomeUnknown if name in UNKNOWN else SchedulerUnavailable if name in UNAVAILABLE else SubmitRejected

    with pytest.raises(kind) as raised:
        parse_submit(result(row))

    assert type(raised.value) is kind
    assert "\n" not in str(raised.value)
    if kind is SubmitRejected:
        assert row["stderr"].split("\n")[0] in str(raised.value)


@pytest.mark.parametrize("words", ["LIM is down; try later", "Failed in an LSF library call: LIM is down; try later"])
def test_a_lim_that_is_down_took_nothing(words: str) -> None:
    with pytest.raises(SchedulerUnavailable, match="LIM is down"):
        parse_submit(said("", f"{words}. Job not submitted.\n", 255))


@pytest.mark.parametrize(
    "words",
    [
        "batch system daemon not responding ... still trying",
        "Failed in an LSF library call: Connection reset by peer. Job not submitted.",
        "Master batch daemon internal error. Job not submitted.",
        "",
        "Killed",
    ],
)
def test_a_bsub_that_gave_up_in_the_middle_may_have_made_a_job(words: str) -> None:
    with pytest.raises(OutcomeUnknown):
        parse_submit(said("", words, 255))


@pytest.mark.parametrize(
    "words",
    [
        "Job <4217> is submitted to default queue <normal>.\nCannot write log. Job not submitted.",
        "No such queue? Job <4217> is submitted to queue <x>",
        "Something new is wrong. Job not submitted.",
        "Cannot allocate memory. Job not submitted.",
        "Batch daemon cannot fork. Job not submitted.",
        "Unable to contact execution host. Job not submitted.",
        "this option of the site's wrapper failed",
    ],
)
def test_words_that_do_not_judge_the_request_leave_it_open(words: str) -> None:
    with pytest.raises(OutcomeUnknown, match="did not confirm"):
        parse_submit(said("", words, 255))


@pytest.mark.parametrize(
    "words",
    [
        "lsb_init: Failed in an LSF library call: Bad environment. Job not submitted.",
        "Request from non-LSF host rejected. Job not submitted.",
        "bsub: error while loading shared libraries: libbat.so: cannot open shared object file",
    ],
)
def test_words_about_reaching_lsf_say_that_nothing_was_submitted(words: str) -> None:
    with pytest.raises(SchedulerUnavailable, match="No job was submitted"):
        parse_submit(said("", words, 255))


@pytest.mark.parametrize(
    "words",
    [
        "group: Pending job threshold reached. Job not submitted.",
        "Bad resource requirement syntax. Job not submitted.",
        "9: No matching job found. Job not submitted.",
        "esub.site: no project given\nRequest aborted by esub. Job not submitted.",
        "9x: Bad MEMLIMIT specification. Job not submitted.",
        "Bad rlimit specification, valid value 0<= n < 2T with LSF_UNIT_FOR_LIMITS in lsf.conf. Job not submitted.",
    ],
)
def test_words_that_judge_the_request_are_a_refusal(words: str) -> None:
    with pytest.raises(SubmitRejected):
        parse_submit(said("", words, 255))


# ── bjobs -l ──────────────────────────────────────────────────────────────────────────────────────────────────────

PARAGRAPHS: dict[str, tuple[JobState, EndCause | None, int | None, str]] = {
    "11-bjobs-l-1": (Q, None, None, ""),
    "21-bjobs-l-done-exit": (E, EndCause.FAILED, 3, ""),
    "58-bjobs-l-USUSP": (S, None, None, "Suspended by its owner."),
    "59-bjobs-l-PSUSP-bstop": (H, None, None, reasons.HELD_BY_OWNER),
    "60-bjobs-l-PSUSP-H": (H, None, None, reasons.HELD_BY_OWNER),
    "61-bjobs-l-killed": (E, EndCause.CANCELLED, 130, ""),
    "62-bjobs-l-E0": (E, EndCause.COMPLETED, 0, ""),
    "62-bjobs-l-E127": (E, EndCause.FAILED, 127, ""),
    "62-bjobs-l-E137": (E, EndCause.FAILED, 137, ""),
    "62-bjobs-l-E300": (E, EndCause.FAILED, 44, ""),
    "62-bjobs-l-S15": (E, EndCause.COMPLETED, 0, ""),
    "62-bjobs-l-S9": (E, EndCause.COMPLETED, 0, ""),
    "62-bjobs-l-SEGV": (E, EndCause.COMPLETED, 0, ""),
    "71-bjobs-pendkilled": (E, EndCause.CANCELLED, None, ""),
    "130-bjobs-l-wlimit": (E, EndCause.WALLTIME, 140, ""),
    "137-bjobs-depend-never": (Q, None, None, reasons.DEPENDENCY_NEVER),
    "149-bjobs-l-51": (Q, None, None, reasons.RESOURCES),
    "149b-bjobs-l-52": (Q, None, None, reasons.RESOURCES),
    "163b-bjobs-l": (E, EndCause.UNKNOWN, None, ""),
    "320-bjobs-pend-window": (Q, None, None, reasons.QUEUE_STOPPED),
    "341-bjobs-l-other-user-sees-script": (Q, None, None, ""),
}


def test_every_recorded_paragraph_is_in_the_table() -> None:
    assert {row["name"] for row in commands("bjobs", "-l")} - {"152-bjobs-l"} == PARAGRAPHS.keys()


@pytest.mark.parametrize("name", PARAGRAPHS)
def test_every_recorded_paragraph(name: str) -> None:
    reply = LSF.result(name)
    [(id, status)] = parse_paragraphs(reply, NOW).items()

    assert (status.state, status.cause, status.exit_code, status.reason) == PARAGRAPHS[name]
    assert LSF.row(name)["cmd"] == f"bjobs -l {id}"
    assert f"Status <{status.native_state}>" in reply.text
    assert status.submitted_at is not None
    assert (status.started_at is None) == ("Started on" not in reply.text)
    assert status.nodes == (("vm",) if status.started_at else ())
    assert (status.ended_at is not None) == (status.state is E)
    assert (f"Job Name <{status.name}>" if status.name else "Job <") in reply.text


def test_several_paragraphs_are_several_jobs() -> None:
    found = parse_paragraphs(LSF.result("152-bjobs-l"), NOW)

    assert {id: (status.exit_code, status.started_at) for id, status in found.items()} == {
        "57": (7, at(14, 54, 37)),
        "56": (7, at(14, 54, 37)),
    }


def test_times_and_hosts_are_read() -> None:
    status = parse_paragraphs(LSF.result("21-bjobs-l-done-exit"), NOW)[JobId("3")]

    assert (status.submitted_at, status.started_at, status.ended_at) == (at(14, 47, 13), at(14, 47, 17), at(14, 47, 19))
    assert (status.nodes, status.name) == (("vm",), "stdin_job")


LSF_10 = """
Job <54086>, Job Name <rosetta.abcdefghijklmnop2345>, User <test>, Project <default
                     >, Status <EXIT>, Queue <normal>, Command <#!/bin/sh;# , St
                     atus <RUN>, Queue <x>, >, Share group charged </test>
Mon Oct  1 11:14:04: Submitted from host <kilenc>, CWD <$HOME/gpu-burn>, Reques
                     ted GPU <num=1:mode=exclusive_process>;
Mon Oct  1 11:14:05: Started 2 Task(s) on Host(s) <4*kilenc> <kilenc-0-with-a-l
                     ong-name>, Allocated 2 Slot(s) on Host(s) <4*kilenc> <kilen
                     c-0-with-a-long-name>, Execution Home </home/test>, Executi
                     on CWD </home/test/gpu-burn>;
Mon Oct  1 11:16:08: Exited with exit code 143. The CPU time used is 153.0 secon
                     ds.
Mon Oct  1 11:16:08: Completed <exit>; TERM_RUNLIMIT: job killed after reaching
                     LSF run time limit.

 RUNLIMIT
 2.0 min of kilenc

"""


def test_a_paragraph_that_is_folded_at_column_eighty_is_read_all_the_same() -> None:
    status = parse_paragraphs(said(LSF_10), NOW)[JobId("54086")]

    assert (status.state, status.cause, status.exit_code) == (E, EndCause.WALLTIME, 143)
    assert status.name == f"rosetta.{TOKEN}"
    assert status.nodes == ("kilenc", "kilenc-0-with-a-long-name")
    assert status.ended_at == datetime(2026, 10, 1, 11, 16, 8, tzinfo=UTC)


OLD = """
Job <2073>, Job Name <d.abcdefghijklmnopqrst>, User <bo>, Project <default>, St
                          atus <EXIT>, Queue <normal>, Command <sh -c x>
Mon Aug  4 12:28:51 2014: Submitted from host <h1>, CWD <$HOME>;
Mon Aug  4 12:28:51 2014: Started on <n1>, Execution Home </home/alice>;
Mon Aug  4 12:28:51 2014: Exited with exit code 127. The CPU time used is 0.1 s
                          econds.
Mon Aug  4 12:28:51 2014: Completed <exit>.

"""


def test_a_fold_is_as_wide_as_the_time_with_its_year() -> None:
    """Recorded by others on LSF before 9.1, with LSB_DISPLAY_YEAR."""
    status = parse_paragraphs(said(OLD), NOW)[JobId("2073")]

    assert (status.state, status.cause, status.exit_code) == (E, EndCause.FAILED, 127)
    assert (status.name, status.nodes) == ("d.abcdefghijklmnopqrst", ("n1",))
    assert status.ended_at == datetime(2014, 8, 4, 12, 28, 51, tzinfo=UTC)


@pytest.mark.parametrize("blanks", [21, 22, 26])
@pytest.mark.parametrize("width", range(20, 80))
def test_wherever_a_line_is_folded_and_a_blank_swallowed_it_is_read(width: int, blanks: int) -> None:
    """LSF folds a line wherever that cuts, and swallows the blank at which it folds."""
    whole = re.sub(r"\n {26}", "", OLD).splitlines()
    text = "\n".join(
        f"{line[:width]}\n{' ' * blanks}{line[width:].removeprefix(' ')}" if len(line) > width > 25 else line
        for line in whole
    )

    status = parse_paragraphs(said(f"{text}\n"), NOW)[JobId("2073")]

    assert (status.state, status.cause, status.exit_code) == (E, EndCause.FAILED, 127)
    assert (status.name, status.nodes) == ("d.abcdefghijklmnopqrst", ("n1",))
    assert status.submitted_at == status.started_at == status.ended_at is not None


def test_the_elements_of_an_array_are_one_job_that_lives_as_long_as_one_of_them() -> None:
    ended, pending = LSF.result("61-bjobs-l-killed").text, LSF.result("11-bjobs-l-1").text
    first, second = ended.replace("<7>", "<127[1]>"), pending.replace("<1>", "<127[2]>")
    rows = row("EXIT", id="127[1]", code="1"), row("PEND", id="127[2]"), row("DONE", id="127[3]")

    for order in (first + second, second + first, first + second + first):
        found = parse_paragraphs(said(order), NOW)
        assert {id: status.state for id, status in found.items()} == {"127": Q}
    assert parse_paragraphs(said(first), NOW)[JobId("127")].state is E
    assert read(*rows).state is read(*reversed(rows)).state is Q
    assert read(rows[0], rows[2]).state is E


def test_an_array_beside_them_hides_no_job() -> None:
    array = LSF.result("61-bjobs-l-killed").text.replace("<7>", "<127[1]>")
    reply = said(f"{array}{'-' * 78}\n{LSF.result('11-bjobs-l-1').text}")

    assert answered(ids(1, 127), reply, parse_paragraphs(reply, NOW)).keys() == {"1", "127"}


def test_a_job_that_runs_again_has_not_ended() -> None:
    text = LSF_10.replace("Status <EXIT>", "Status <RUN>").replace(
        "\n RUNLIMIT", "Mon Oct  1 11:17:00: Started 1 Task(s) on Host(s) <other>;\n\n RUNLIMIT"
    )

    status = parse_paragraphs(said(text), NOW)[JobId("54086")]

    assert (status.state, status.nodes, status.ended_at, status.exit_code) == (R, ("other",), None, None)
    assert status.started_at == datetime(2026, 10, 1, 11, 17, tzinfo=UTC)


def test_a_paragraph_without_a_state_is_of_a_live_job() -> None:
    found = parse_paragraphs(said(LSF.result("61-bjobs-l-killed").text.replace("Status <EXIT>", "Stat?")), NOW)

    assert {id: status.state for id, status in found.items()} == {"7": R}


# ── columns ───────────────────────────────────────────────────────────────────────────────────────────────────────

STATES = {
    "PEND": Q,
    "PROV": Q,
    "WAIT": Q,
    "PSUSP": H,
    "RUN": R,
    "USUSP": S,
    "SSUSP": S,
    "UNKWN": R,
    "ZOMBI": R,
    "DONE": E,
    "EXIT": E,
}


@pytest.mark.parametrize("word", STATES)
def test_every_state_that_lsf_documents(word: str) -> None:
    status = read(row(word))

    assert (status.state, status.native_state) == (STATES[word], word)
    assert (status.cause is None) == (word not in ("DONE", "EXIT"))


def test_every_recorded_state_is_one_of_them() -> None:
    wide = [line.split() for row in commands("bjobs", "-w") for line in row["stdout"].splitlines()[1:]]

    assert {words[2] for words in wide if len(words) > 7} <= STATES.keys()


@given(st.from_regex(r"[A-Z][A-Z_]{2,20}", fullmatch=True).filter(lambda word: word not in STATES))
def test_a_state_that_nobody_knows_is_alive(word: str) -> None:
    paragraph = LSF.result("11-bjobs-l-1").text.replace("Status <PEND>", f"Status <{word}>")
    for status in (read(row(word)), parse_paragraphs(said(paragraph), NOW)[JobId("1")]):
        assert status.cause is None
        assert status.state is R
        assert status.native_state == word


@pytest.mark.parametrize("word", ["UNKWN", "ZOMBI"])
def test_a_job_whose_host_does_not_answer_says_so(word: str) -> None:
    assert read(row(word)).reason == reasons.NODE_LOST


@pytest.mark.parametrize(
    ("code", "why", "cause"),
    [
        ("3", "-", EndCause.FAILED),
        ("137", "-", EndCause.FAILED),
        ("130", "-", EndCause.CANCELLED),
        ("140", "-", EndCause.WALLTIME),
        ("130", "TERM_OWNER: job killed by owner", EndCause.CANCELLED),
        ("143", "TERM_ADMIN: job killed by root or LSF administrator", EndCause.CANCELLED),
        ("130", "TERM_RUNLIMIT: job killed after reaching LSF run time limit", EndCause.WALLTIME),
        ("130", "TERM_MEMLIMIT: job killed after reaching LSF memory usage limit", EndCause.MEMORY),
        ("130", "TERM_PREEMPT: job killed after preemption", EndCause.PREEMPTED),
        ("130", "TERM_EXTERNAL_SIGNAL: job killed by a signal external to LSF", EndCause.FAILED),
    ],
)
def test_why_a_job_ended(code: str, why: str, cause: EndCause) -> None:
    status = read(row("EXIT", code=code, why=why, end="Nov 22 15:00:01 2026"))

    assert (status.cause, status.exit_code, status.ended_at) == (cause, int(code), at(15, 0, 1))
    assert status.signal == (int(code) - 128 if int(code) > 128 else None)
    assert status.reason == (f"LSF says: {why}." if "EXTERNAL" in why else "")


def test_a_job_that_was_killed_while_it_waited_never_ran() -> None:
    status = read(row("EXIT", start="-", hosts="-", end="Nov 22 15:00:01 2026"))

    assert (status.cause, status.exit_code, status.nodes, status.started_at) == (EndCause.CANCELLED, None, (), None)


def test_an_end_that_is_foretold_is_none() -> None:
    assert read(row("RUN", end="Nov 22 19:51:38 2026 L")).ended_at is None


@pytest.mark.parametrize(
    ("hosts", "nodes"),
    [("-", ()), ("n1", ("n1",)), ("n1:n1:n2", ("n1", "n2")), ("16*n1:4*n2.example.com", ("n1", "n2.example.com"))],
)
def test_each_host_of_a_job_is_named_once(hosts: str, nodes: tuple[str, ...]) -> None:
    assert read(row(hosts=hosts)).nodes == nodes


def test_a_row_without_seconds_and_year_has_the_last_such_day() -> None:
    text = "261871^DONE^-^-^Mar  3 16:46^Mar  3 16:46^Mar  3 16:47^n1^-^x\n"

    assert read(text).ended_at == datetime(2026, 3, 3, 16, 47, tzinfo=UTC)
    assert read(text).submitted_at is None  # it would contradict the one with seconds, which bhist shows


def test_a_bad_row_spoils_itself_alone_and_is_alive() -> None:
    found = parse_columns(said(f"Welcome, 99^\n{HEADER}{row(id='8')}9^EXIT^-\n^^^^^^^^^\nx^DONE\n{row('DONE')}"), NOW)

    assert {id: status.state for id, status in found.items()} == {"8": R, "9": R, "7": E}


@pytest.mark.parametrize(
    "header", ["JOBID^STAT^JOB_NAME", HEADER.replace("EXIT_CODE^", ""), f"x{HEADER}", f"{HEADER[:-1]}S\n"]
)
def test_columns_that_were_not_asked_for_are_none(header: str) -> None:
    """Theirs would be read as others'."""
    assert parse_columns(said(f"{header.rstrip()}\n{row()}"), NOW) == {}


def test_a_row_that_cannot_be_read_keeps_its_job_alive_and_says_so() -> None:
    found = parse_columns(said(f"{HEADER}9^EXIT^-\n9[1]^DONE\n"), NOW)

    assert {id: (status.state, status.cause) for id, status in found.items()} == {"9": (R, None)}
    assert "cannot be read" in found[JobId("9")].reason


def test_an_ended_job_has_no_reason_of_a_waiting_one() -> None:
    text = LSF.result("61-bjobs-l-killed").text.replace(
        "\n SCHEDULING", " PENDING REASONS:\n Not enough job slot(s): 1 host;\n\n SCHEDULING"
    )

    assert read(row("EXIT", code="1", pending="Not enough job slot(s);")).reason == ""
    assert parse_paragraphs(said(text), NOW)[JobId("7")].reason == ""


@pytest.mark.parametrize(
    ("limits", "used", "cause"),
    [
        (" MEMLIMIT\n 307200 K\n", " MAX MEM: 300 Mbytes;  AVG MEM: 6 Mbytes\n", EndCause.MEMORY),
        (" MEMLIMIT\n 307700 K\n", " MAX MEM: 300 Mbytes;  AVG MEM: 6 Mbytes\n", EndCause.MEMORY),  # rounded down
        (" MEMLIMIT\n 307200 K\n", " MAX MEM: 298 Mbytes;  AVG MEM: 6 Mbytes\n", EndCause.CANCELLED),
        (" MEMLIMIT\n    500 K\n", " MAX MEM: 600 Kbytes;  AVG MEM: 6 Kbytes\n", EndCause.MEMORY),
        (" CORELIMIT MEMLIMIT\n     1 K  307200 K\n", " MAX MEM: 298 Mbytes;  AVG MEM: 6\n", EndCause.CANCELLED),
        (" MEMLIMIT\n 307200 K\n", "", EndCause.CANCELLED),
        ("", " MAX MEM: 300 Mbytes;  AVG MEM: 6 Mbytes\n", EndCause.CANCELLED),
        (" MEMLIMIT\n    odd\n", " MAX MEM: 9.9.9 Mbytes\n", EndCause.CANCELLED),
    ],
)
def test_int_is_of_the_memory_limit_where_the_memory_was_used_up(limits: str, used: str, cause: EndCause) -> None:
    text = LSF.result("61-bjobs-l-killed").text.replace(
        "\n SCHEDULING", f"\n{limits}\n MEMORY USAGE:\n{used}\n SCHEDULING"
    )
    status = parse_paragraphs(said(text), NOW)[JobId("7")]

    assert (status.cause, status.exit_code, status.signal, status.reason) == (cause, 130, 2, "")


# ── the last such day ─────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("now", "text", "expected"),
    [
        ((2026, 1, 1, 0, 0, 5), "Dec 31 23:59:58", (2025, 12, 31, 23, 59, 58)),
        ((2025, 12, 31, 23, 59, 58), "Jan  1 00:00:01", (2026, 1, 1, 0, 0, 1)),  # LSF's clock is ahead
        ((2026, 1, 1, 0, 0, 5), "Jan  1 00:00:04", (2026, 1, 1, 0, 0, 4)),
        ((2026, 3, 1, 0, 0, 0), "Mar  3 00:00:00", (2025, 3, 3, 0, 0, 0)),
        ((2028, 2, 29, 12, 0, 0), "Feb 29 11:00:00", (2028, 2, 29, 11, 0, 0)),
        ((2028, 3, 1, 0, 0, 5), "Feb 29 23:00:00", (2028, 2, 29, 23, 0, 0)),
        ((2029, 2, 28, 0, 0, 0), "Feb 29 23:00:00", (2028, 2, 29, 23, 0, 0)),
        ((2103, 1, 1, 0, 0, 0), "Feb 29 23:00:00", (2096, 2, 29, 23, 0, 0)),  # 2100 had none
        ((2026, 11, 22, 0, 0, 0), "Nov 22 00:00:00 2019", (2019, 11, 22, 0, 0, 0)),
        ((2026, 11, 22, 0, 0, 0), "Feb 30 00:00:00", None),
        ((2026, 11, 22, 0, 0, 0), "Feb 29 00:00:00 2026", None),
    ],
)
def test_a_time_without_a_year_is_the_last_such_time(
    now: tuple[int, ...], text: str, expected: tuple[int, ...] | None
) -> None:
    found = parse_columns(said(HEADER + row(start=text)), datetime(*now, tzinfo=UTC))  # type: ignore[misc,arg-type]

    assert found[JobId("7")].started_at == (datetime(*expected, tzinfo=UTC) if expected else None)  # type: ignore[misc,arg-type]


# ── who got an answer ─────────────────────────────────────────────────────────────────────────────────────────────


def ids(*numbers: int) -> list[JobId]:
    return [JobId(str(number)) for number in numbers]


@pytest.mark.parametrize(
    ("name", "asked"),
    [("08-bjobs-unknown", (99999,)), ("39-bjobs-two-unknown", (99998, 99999))],
)
def test_an_id_that_bjobs_says_it_does_not_know_is_left_out(name: str, asked: tuple[int, ...]) -> None:
    assert answered(ids(*asked), LSF.result(name), {}) == {}


def test_known_ids_keep_their_answer_when_another_is_unknown() -> None:
    reply = LSF.result("38-bjobs-mixed-known-unknown")
    found = {id: JobStatus(id=id, state=E) for id in ids(1, 3)}

    assert reply.exit_code == 255
    assert answered(ids(1, 99999, 3), reply, found).keys() == found.keys()
    with pytest.raises(SchedulerUnavailable):
        answered(ids(1, 99999, 3, 4), reply, found)


@pytest.mark.parametrize(
    "name",
    [
        "175-mbd-down-ntries1-bjobs",
        "184-lim-down-ntries",
        "190-mbd-hung-ntries1-bjobs",
        "25-bjobs-none",
        "103-bjobs-J-none",
        "32-bjobs-o-exit_code",
        "33-bjobs-o-noheader",
    ],
)
def test_a_bjobs_that_did_not_speak_of_an_id_is_no_answer(name: str) -> None:
    with pytest.raises(SchedulerUnavailable) as raised:
        answered(ids(1), LSF.result(name), {})

    assert LSF.row(name)["stderr"].split("\n")[0] in str(raised.value)


@pytest.mark.parametrize("text", ["", "Welcome\n", HEADER, HEADER + "7^RU", HEADER + row() + "8^DO"])
def test_half_a_list_is_no_answer(text: str) -> None:
    reply = said(text)

    with pytest.raises(SchedulerUnavailable):
        answered(ids(7, 8), reply, parse_columns(reply, NOW))


def test_a_last_line_that_is_cut_off_is_no_answer_though_its_job_can_be_read() -> None:
    reply = said(HEADER + row("EXIT", code="1", name="x.abcdefghijk").rstrip("\n"))

    with pytest.raises(SchedulerUnavailable):
        answered(ids(7), reply, parse_columns(reply, NOW))


@pytest.mark.parametrize("name", ["32-bjobs-o-exit_code", "33-bjobs-o-noheader", "34-bjobs-o-delim", "13-bjobs-json"])
def test_a_bjobs_without_columns_is_known_by_its_complaint(name: str) -> None:
    assert lacks_columns(LSF.result(name))


@pytest.mark.parametrize("row", commands("bjobs"), ids=lambda row: row["name"])
def test_no_other_answer_is_taken_for_that(row: dict[str, Any]) -> None:
    assert lacks_columns(result(row)) == bool(row["rc"] and re.search("format string|Usage", row["stderr"]))


def test_an_older_bjobs_complains_in_other_words() -> None:
    assert lacks_columns(said("", "bjobs: illegal option -- o\nUsage: bjobs [-h] [-V] [-w |-l]\n", 255))


# ── names ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_jobs_are_found_by_the_token_in_their_name_in_both_forms() -> None:
    wide = LSF.result("194-after-hang")
    wide = said(wide.text.replace("hungsub ", f"my.{TOKEN} "))
    columns = said(f"Welcome\nJOBID^JOB_NAME\n63^hungsub1\n72^my.{TOKEN}\n9^a^b.{TOKEN}\nx^my.{TOKEN}\n")

    assert parse_names(wide) == {TOKEN: tuple(map(str, range(64, 73)))}
    assert parse_names(columns) == {TOKEN: ("9", "72")}


def test_every_recorded_wide_list_is_whole() -> None:
    for row in commands("bjobs", "-w"):
        if row["rc"] == 0:
            assert parse_names(result(row)) == {}, row["name"]


def test_the_rows_of_an_array_are_one_job() -> None:
    wide = said(LSF.result("100-bjobs-w-names").text.replace("arr[", f"arr.{TOKEN}["))
    columns = said(f"JOBID^JOB_NAME\n31[1]^x.{TOKEN}[1]\n31[2]^x.{TOKEN}[2]\n7^x.{TOKEN}\n")

    assert parse_names(wide) == {TOKEN: ("31",)}
    assert parse_names(columns) == {TOKEN: ("7", "31")}


def test_noise_behind_a_list_does_no_harm_but_half_a_row_does() -> None:
    rows = f"JOBID^JOB_NAME\n7^x.{TOKEN}\n"

    assert parse_names(said(f"{rows}Goodbye.\nlogout")) == {TOKEN: ("7",)}
    with pytest.raises(SchedulerUnavailable):
        parse_names(said(f"{rows}8"))


def test_a_row_that_cannot_be_read_but_names_the_token_counts() -> None:
    wide = LSF.result("194-after-hang").text.replace("hungsub ", f"my.{TOKEN} ", 1)
    odd = re.sub(r"(?m)^(.*abcdef\S+ +)Nov .*$", r"\1whenever", wide)

    assert odd != wide
    assert parse_names(said(odd)) == parse_names(said(wide)) != {}


@pytest.mark.parametrize(
    "header", ["JOBID^NAME", "JOBID^JOB_NAME^USER", "x JOBID^JOB_NAME", "JOBID USER STAT JOB_NAME"]
)
def test_a_list_of_something_else_is_none(header: str) -> None:
    with pytest.raises(SchedulerUnavailable):
        parse_names(said(f"{header}\n7^x\n"))


@pytest.mark.parametrize("words", ["No unfinished job found", "No job found"])
def test_no_jobs_at_all_is_a_list_too(words: str) -> None:
    assert parse_names(said("", f"{words}\n", 255)) == {}
    assert parse_names(LSF.result("26-bjobs-none-w")) == {}


@pytest.mark.parametrize(
    "reply",
    [
        LSF.result("175-mbd-down-ntries1-bjobs"),
        LSF.result("190-mbd-hung-ntries1-bjobs"),
        said(""),
        said("No job found\n"),
        said("Welcome\n"),
        said("JOBID^JOB_NAME"),
        said("JOBID^JOB_NAME\n7^x.abc"),
        said(LSF.result("10-bjobs-w").text[:-3]),
    ],
)
def test_what_is_no_whole_list_does_not_say_that_a_job_is_not_there(reply: CommandResult) -> None:
    with pytest.raises(SchedulerUnavailable):
        parse_names(reply)


# ── bhist ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("name", "cause", "code", "ended"),
    [
        ("27-bhist-l-3", EndCause.FAILED, 3, at(14, 47, 19)),
        ("315-bhist-after-clean", EndCause.FAILED, 4, at(15, 9, 55)),
        ("360-bhist-n-l-ignboth", EndCause.CANCELLED, None, at(14, 51, 25)),
        ("362-bhist-n-killed", EndCause.CANCELLED, 130, at(14, 49, 36)),
        ("363-bhist-n-limit", EndCause.WALLTIME, 140, at(14, 51, 53)),
    ],
)
def test_the_history_of_a_job_tells_its_end(name: str, cause: EndCause, code: int | None, ended: datetime) -> None:
    [status] = parse_history(LSF.result(name), NOW).values()

    assert (status.state, status.cause, status.exit_code, status.ended_at) == (E, cause, code, ended)
    assert (status.nodes, status.source) == (("vm",), "bhist")
    assert status.signal == (9 if "ignboth" in name else code - 128 if code and code > 128 else None)


def test_the_history_of_a_job_that_has_not_ended_tells_nothing() -> None:
    text = LSF.result("315-bhist-after-clean").text
    again = text.replace("\nSummary", "Sun Nov 22 15:10:00: Pending: Job has been requeued;\n\nSummary")

    assert again != text
    assert parse_history(said(again), NOW) == {}
    assert parse_history(said(text.replace("Exited with", "Signal <USR1> and")), NOW) == {}


@pytest.mark.parametrize("name", ["29-bhist-unknown", "361-bhist-rotated"])
def test_a_history_that_knows_nothing_is_an_answer(name: str) -> None:
    check_history(LSF.result(name))

    assert parse_history(LSF.result(name), NOW) == {}


def test_a_history_that_cannot_be_read_is_none() -> None:
    with pytest.raises(SchedulerUnavailable, match=r"lsb\.events"):
        check_history(said("", "lsb.events: Cannot open file\n", 255))


def test_jobs_are_found_by_the_token_in_their_name_in_the_history_too() -> None:
    text = LSF.result("317-bhist-w").text

    assert parse_history_names(said(text)) == {}
    assert parse_history_names(said(text.replace("cleanme", f"x.{TOKEN}"))) == {TOKEN: ("1111",)}


# ── cancel ────────────────────────────────────────────────────────────────────────────────────────────────────────

DONE_ANYWAY = {
    "55-bkill-running-again-at-once",
    "72-bkill-unknown",
    "73-bkill-finished",
    "74-bkill-mixed",
    "136-bkill-array",
    "162-bkill-unkwn",
    "316-bkill-after-clean",
}


@pytest.mark.parametrize("row", commands("bkill"), ids=lambda row: row["name"])
def test_a_cancel_that_has_nothing_left_to_do_is_no_error(row: dict[str, Any]) -> None:
    if row["rc"] == 0 or row["name"] in DONE_ANYWAY:
        check_cancel(JobId("7"), result(row))
    else:
        with pytest.raises(CancelRefused):
            check_cancel(JobId("7"), result(row))


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        ("Job <7>: User permission denied", CancelRefused),
        ("Job <7>: Something new is wrong", OutcomeUnknown),
        ("Job <7>: Unable to contact execution host", OutcomeUnknown),
        ("Job <7>: Connection refused by server", SchedulerUnavailable),
        ("Job <7>: Failed in an LSF library call: LIM is down; try later", SchedulerUnavailable),
        ("Job <7>: Failed in an LSF library call: Communication time out", OutcomeUnknown),
    ],
)
def test_a_cancel_that_failed_says_what_is_known(words: str, kind: type[FxschedError]) -> None:
    with pytest.raises(kind) as raised:
        check_cancel(JobId("7"), said("", words + "\n", 255))

    assert type(raised.value) is kind


def test_a_cancel_that_is_denied_with_exit_code_0_is_refused_all_the_same() -> None:
    with pytest.raises(CancelRefused, match="denied"):
        check_cancel(JobId("7"), said("", "Job <7>: User permission denied\n"))
    banner = "Unauthorised access is denied.\nJob <7> is being terminated\n"
    check_cancel(JobId("7"), said(banner))


# ── the largest memory ────────────────────────────────────────────────────────────────────────────────────────────

HOSTS = """\
HOST_NAME                       type       model  cpuf ncpus maxmem maxswp server RESOURCES
a                              LINUX      PC6000 116.1     8 15938M  2047M    Yes ()
b                              LINUX      PC6000 116.1     8  62.9G  2047M    Yes (mg)
c                            UNKNOWN     UNKNOWN   1.0     -      -      -    Yes ()
"""


@pytest.mark.parametrize(
    ("text", "rc", "size"),
    [(HOSTS, 0, "62.9G"), (HOSTS, 255, ""), (HOSTS.replace("maxmem", "most"), 0, ""), (HOSTS[:92], 0, ""), ("", 0, "")],
)
def test_the_largest_memory_is_read_where_lsf_tells_it(text: str, rc: int, size: str) -> None:
    assert most_memory(said(text, rc=rc)) == size


# ── its unit ──────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("text", "unit"),
    [
        ("MBD configuration at Fri\n\tLSF_UNIT_FOR_LIMITS = GB\n", "GB"),
        ('MBD configuration at Fri\n\tLSB_X=1\n\tLSF_UNIT_FOR_LIMITS="m"\n', "MB"),
        ("Welcome\nMBD configuration at Fri\n\tLSB_X=1\n", "unset"),
        ("Welcome\n", None),
        ("LSF_UNIT_FOR_LIMITS=GB\n", None),
    ],
)
def test_the_unit_of_limits_is_what_lsf_says(text: str, unit: str | None) -> None:
    assert unit_of(said(text)) == unit
    assert unit_of(said(text, rc=255)) is None


# ── reasons ───────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Not enough job slot(s): 1 host;", reasons.RESOURCES),
        ("Job requirements for reserving resource (mem) not satisfied: 3 hosts;", "Waiting for free memory."),
        ("Job requirements for reserving resource (swp) not satisfied: 3 hosts;", reasons.RESOURCES),
        ("Job slot limit reached: 12 hosts;", reasons.RESOURCES),
        ("The user has reached his/her job slot limit;", reasons.USER_LIMIT),
        ("User has reached the per-user job slot limit of the queue;", reasons.USER_LIMIT),
        ("The queue has reached its job slot limit;", reasons.QUEUE_LIMIT),
        ("Job was suspended by LSF admin or root while pending;", reasons.HELD_BY_ADMIN),
        ("New job is waiting for scheduling;", ""),
        ("Moon is full: 2 hosts;", "LSF says: Moon is full."),
        ("", ""),
        ("-", "LSF says: -."),
    ],
)
def test_a_reason_becomes_a_sentence(text: str, expected: str) -> None:
    assert sentence([text]) == expected


def test_a_reason_that_is_known_is_said_rather_than_one_that_is_not() -> None:
    texts = ["Moon is full: 2 hosts;", "Not enough job slot(s): 1 host;"]

    assert sentence(texts) == reasons.RESOURCES


# ── anything ──────────────────────────────────────────────────────────────────────────────────────────────────────


@given(
    st.text()
    | st.builds(lambda text: HEADER + text + "\n", st.text())
    | st.builds(LSF_10.replace, st.text(min_size=1), st.text())
)
def test_no_text_makes_a_reader_fail(text: str) -> None:
    reply = CommandResult(0, text.encode("utf-8", "surrogatepass"), b"")
    for read in (parse_columns, parse_paragraphs, parse_history):
        read(reply, NOW)
    parse_history_names(reply)
    for check, accepted in ((parse_submit, "02-bsub-ok-named"), (parse_names, "100-bjobs-w-names")):
        check(LSF.result(accepted))
    most_memory(reply)
    unit_of(reply)
    for check in (parse_submit, parse_names, check_history, lambda reply: check_cancel(JobId("7"), reply)):
        with suppress(FxschedError):
            check(reply)
