"""Grid Engine's replies, as they were recorded, become ids, statuses and errors."""

from __future__ import annotations

import re
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fxsched import reasons
from fxsched.errors import CancelRefused, FxschedError, OutcomeUnknown, SchedulerUnavailable, SubmitRejected
from fxsched.hosts import CommandResult
from fxsched.jobs import EndCause, JobId, JobState, Token
from fxsched_sge.accounts import parse_accounts, records
from fxsched_sge.reasons import parked, waiting
from fxsched_sge.replies import (
    check_cancel,
    details,
    ended_in_error,
    listing,
    parked_status,
    parse_details,
    parse_list,
    parse_names,
    parse_submit,
    status_from,
    why_it_waits,
)

from ..captures import result
from .sge_site import SGE

Q, H, R, S, E = JobState.QUEUED, JobState.HELD, JobState.RUNNING, JobState.SUSPENDED, JobState.ENDED
TOKEN = Token("abcdefghijklmnop2346")
SEVERAL = parse_details(SGE.row("32-qstat-j-several-xml")["stdout"])


def ran(row: dict[str, Any]) -> bool:
    """Whether the recorded command came to an end by itself."""
    return isinstance(row["rc"], int)


def listed(state: str, *, id: str = "7", name: str = "x") -> str:
    """Return a list with one row, as qstat prints it."""
    kind = {"z": "zombie"}.get(state, "running" if "r" in state else "pending")
    return (
        "<?xml version='1.0'?>\n<job_info  xmlns:xsd=\"\">\n  <queue_info>\n  </queue_info>\n  <job_info>\n"
        f'    <job_list state="{kind}">\n      <JB_job_number>{id}</JB_job_number>\n      <JB_name>{name}</JB_name>\n'
        f"      <state>{state}</state>\n      <JAT_start_time>2026-11-22T15:40:15</JAT_start_time>\n"
        "      <queue_name>all.q@n1.site</queue_name>\n    </job_list>\n  </job_info>\n</job_info>\n"
    )


# ── submit ────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "row", [row for row in SGE.rows(command="qsub") if row["rc"] == 0], ids=lambda row: row["name"]
)
def test_an_accepted_job_s_id_is_read(row: dict[str, Any]) -> None:
    if "-terse" not in row["cmd"]:
        with pytest.raises(OutcomeUnknown, match="printed no job id"):
            parse_submit(result(row))
    else:
        assert parse_submit(result(row)) == row["stdout"].strip().partition(".")[0]


@pytest.mark.parametrize(
    ("stdout", "id"),
    [
        (b"6.1-4:1\n", "6"),
        (b"Welcome. You have 17 core-hours left\n4217\n", "4217"),
        (b"4217\nMaintenance on 24 December\n", "4217"),
        (b"caf\xe9 99\n  4217 \r\n\n", "4217"),
    ],
)
def test_the_id_is_found_among_what_a_site_prints_around_it(stdout: bytes, id: str) -> None:
    assert parse_submit(CommandResult(0, stdout, b"qsub: warning: 12 jobs today\n")) == id


@pytest.mark.parametrize("stdout", [b"", b"Your job 4217 (x) has been submitted\n", b"42", "٤٢\n".encode(), b"-1\n"])
def test_a_qsub_that_ended_well_without_an_id_may_have_made_a_job(stdout: bytes) -> None:
    with pytest.raises(OutcomeUnknown, match="printed no job id"):
        parse_submit(CommandResult(0, stdout, b""))


NOT_REACHED = {"21-down-qsub"}
UNSURE = {"03-name-space", "03-name-unicode", "41-qsub-warned", "41-qsub-warned-array", "41-qsub-warned-plain"}
"""Names that our jobs never have: what qsub says of them, it also says when the qmaster's answer is lost. And warnings
with which it submits all the same."""


@pytest.mark.parametrize(
    "row", [row for row in SGE.rows(command="qsub") if ran(row) and row["rc"] != 0], ids=lambda row: row["name"]
)
def test_a_failed_submit_is_a_refusal_in_its_words_unless_grid_engine_could_not_be_reached(row: dict[str, Any]) -> None:
    name = row["name"]
    kind = OutcomeUnknown if name in UNSURE else SchedulerUnavailable if name in NOT_REACHED else SubmitRejected

    with pytest.raises(kind) as raised:
        parse_submit(result(row))

    assert type(raised.value) is kind
    words = row["stderr"].strip().removesuffix("Exiting.").strip().splitlines()[-1]
    assert re.sub(r"^(qsub: |Unable to run job: (error: )?)", "", words) in str(raised.value)
    assert "\n" not in str(raised.value)
    assert "Exiting" not in str(raised.value)


@pytest.mark.parametrize(
    ("code", "stdout", "stderr"),
    [
        (137, b"", b""),
        (1, b"4217\n", b""),
        (1, b"", b"Unable to run job: failed receiving gdi request response for mid=1 (got no message).\nExiting.\n"),
        (1, b"", b'error: commlib error: got read error (closing "vm/qmaster/1")\nUnable to run job: x\nExiting.\n'),
    ],
)
def test_a_qsub_that_lost_its_qmaster_or_its_life_may_have_made_a_job(code: int, stdout: bytes, stderr: bytes) -> None:
    with pytest.raises(OutcomeUnknown):
        parse_submit(CommandResult(code, stdout, stderr))


WARNED = SGE.result("41-qsub-warned").stderr


@pytest.mark.parametrize(
    ("stdout", "stderr"),
    [
        (b"", WARNED),
        (WARNED, b""),
        (WARNED, b"Unable to run job: denied: something\nExiting.\n"),
        (b"", SGE.result("41-qsub-warned-array").stderr),
        (b"", SGE.result("41-qsub-warned-plain").stderr),
    ],
)
def test_a_qsub_that_says_that_it_submitted_did_whatever_its_exit_code(stdout: bytes, stderr: bytes) -> None:
    with pytest.raises(OutcomeUnknown, match="did not confirm"):
        parse_submit(CommandResult(1, stdout, stderr))
    with pytest.raises(OutcomeUnknown, match="is not allowed to run in any queue"):
        parse_submit(CommandResult(1, b"", WARNED))


@pytest.mark.parametrize(
    "words",
    [
        "Unable to run job: warning: bob your job is not allowed to run in any queue\nExiting.",
        "Unable to run job: something new is wrong\nExiting.",
        "Unable to run job: Please use the project of your group.\nExiting.",  # of a site's JSV
        "the wrapper of the site failed",
    ],
)
def test_words_that_do_not_judge_the_request_leave_it_open(words: str) -> None:
    with pytest.raises(OutcomeUnknown, match="did not confirm"):
        parse_submit(CommandResult(1, b"", words.encode()))


@pytest.mark.parametrize(
    "words",
    [
        'Unable to run job: denied: host "n1" is no submit host\nExiting.',
        'Unable to initialize environment because of error: cell directory "/x" doesn\'t exist\nExiting.',
        "Unable to run job: job 7 was rejected cause it can't be written: disk full\nExiting.",
        "qsub: error while loading shared libraries: libdb.so: cannot open shared object file",
        'error: commlib error: access denied (client IP resolved to host name "")\nUnable to run job: x\nExiting.',
    ],
)
def test_words_about_reaching_grid_engine_say_that_nothing_was_submitted(words: str) -> None:
    with pytest.raises(SchedulerUnavailable, match="No job was submitted"):
        parse_submit(CommandResult(1, b"", words.encode()))


@pytest.mark.parametrize(
    "words",
    [
        "Unable to run job: job rejected: Only 5 jobs are allowed per user (current job count: 5)\nExiting.",
        'Unable to run job: denied: attribute "x" contains invalid value "y"\nExiting.',
        'denied: "1x" is not a valid object name (cannot start with a digit)',
    ],
)
def test_words_that_judge_the_request_are_a_refusal(words: str) -> None:
    with pytest.raises(SubmitRejected):
        parse_submit(CommandResult(1, b"", words.encode()))


# ── qstat ─────────────────────────────────────────────────────────────────────────────────────────────────────────

STATES = {
    "qw": Q, "Rq": Q, "hqw": H, "hRwq": H, "Eqw": H, "Ehqw": H, "EhRqw": H,
    "r": R, "t": R, "hr": R, "Rr": R, "Rt": R, "dr": R, "dt": R, "dRr": R, "dRt": R,
    "s": S, "ts": S, "S": S, "tS": S, "T": S, "tT": S, "Rs": S, "Rts": S, "RtT": S, "ds": S, "dRS": S, "z": E,
}  # fmt: skip


@pytest.mark.parametrize("word", STATES)
def test_every_state_that_grid_engine_documents(word: str) -> None:
    status = parse_list(listed(word))[JobId("7")]

    assert (status.state, status.native_state) == (STATES[word], word)
    assert status.cause is (EndCause.UNKNOWN if word == "z" else None)
    assert parked_status(status) == ("E" in word)
    alive = status.state in (R, S)
    assert status.nodes == (("n1.site",) if alive else ())
    assert status.started_at == (datetime(2026, 11, 22, 15, 40, 15, tzinfo=UTC) if alive else None)


@given(st.from_regex(r"[A-Za-z]{1,5}", fullmatch=True).filter(lambda word: word != "z"))
def test_a_state_that_nobody_knows_is_alive(word: str) -> None:
    assert parse_list(listed(word))[JobId("7")].state is not E


@pytest.mark.parametrize(
    "row",
    [row for row in SGE.rows(command="qstat") if "-xml" in row["cmd"] and " -j" not in row["cmd"]],
    ids=lambda row: row["name"],
)
def test_every_recorded_list_is_whole_and_every_job_in_it_is_read(row: dict[str, Any]) -> None:
    found = parse_list(listing(result(row)))

    assert len(found) == len(set(re.findall(r"<JB_job_number>(\d+)<", row["stdout"])))
    assert {status.native_state for status in found.values()} <= set(re.findall(r"<state>(\w+)<", row["stdout"]))
    for status in found.values():
        assert status.state is STATES[status.native_state]
        assert status.started_at or status.submitted_at or "05-qstat-ext" in row["name"]


def test_jobs_that_ended_and_jobs_that_wait_are_in_one_list() -> None:
    found = parse_list(listing(SGE.result("31-qstat-az-xml")))

    states = {status.name.partition(".")[0]: status.state for status in found.values()}
    assert states == {
        "done": E, "killed": E, "overtime": E, "deleted": E, "held": H, "dependent": H, "later": Q, "nodir": H,
        "parked": H, "all": R, "one": Q, "single": Q, "never": Q, "young": Q,
    }  # fmt: skip


def test_a_name_comes_back_as_it_was() -> None:
    found = parse_list(listing(SGE.result("11-qstat-xml-escaping")))

    assert [status.name for status in found.values()] == ['a<b>&c"']


def test_jobs_are_found_by_the_token_at_the_end_of_their_name_alone() -> None:
    text = SGE.row("31-qstat-az-xml")["stdout"]
    assert f"held.{TOKEN}" in text

    assert parse_names(text)[TOKEN] == ("1", "4")
    assert parse_names(listed("r", name=f"x.{TOKEN}2")) == {}


@pytest.mark.parametrize("name", ["31-qstat-az-xml", "11-qstat-xml-escaping", "31-qstat-none-xml"])
def test_no_part_of_a_list_is_a_list(name: str) -> None:
    text = SGE.row(name)["stdout"]

    for end in range(len(text) - 1):
        if text[:end].rstrip() != text.rstrip() and (end % 7 == 0 or end > len(text) - 60):
            with pytest.raises(SchedulerUnavailable, match="no whole list"):
                listing(CommandResult(0, text[:end].encode(), b""))


@pytest.mark.parametrize("name", ["32-qstat-j-several-xml", "32-qstat-j-all-unknown-xml"])
def test_no_part_of_the_details_are_the_details(name: str) -> None:
    text = SGE.row(name)["stdout"].rstrip()

    for end in range(0, len(text), 7):
        with pytest.raises(SchedulerUnavailable, match="no whole list"):
            details(CommandResult(0, text[:end].encode(), b""))


def test_a_banner_before_the_list_does_no_harm() -> None:
    text = f"Welcome <job_list>\n{SGE.row('31-qstat-az-xml')['stdout']}"

    assert len(parse_list(listing(CommandResult(0, text.encode(), b"")))) == 14


@pytest.mark.parametrize("noise", [" ", "\nGoodbye.\n", "\n\x1b[0mlogout", "\n<job_info>"])
def test_what_stands_behind_a_whole_list_does_no_harm(noise: str) -> None:
    text = SGE.row("31-qstat-az-xml")["stdout"] + noise
    known = SGE.row("32-qstat-j-several-xml")["stdout"] + noise

    assert len(parse_list(listing(CommandResult(0, text.encode(), b"")))) == 14
    assert parse_details(details(CommandResult(0, known.encode(), b""))) == SEVERAL


@pytest.mark.parametrize("state", ["", "r w", "12", "r%lt;"])
def test_a_row_that_bears_an_id_keeps_its_job_alive_though_it_cannot_be_read(state: str) -> None:
    status = parse_list(listed("r").replace("<state>r<", f"<state>{state}<"))[JobId("7")]

    assert (status.state, status.cause, status.name) == (R, None, "x")
    assert "cannot be read" in status.reason


def test_the_tasks_of_an_array_are_one_job_that_lives_as_long_as_one_of_them() -> None:
    found = parse_list(listing(SGE.result("08-qstat-array-dep-xml")))

    assert {id: status.state for id, status in found.items()} == {"40": R, "42": R, "41": H}
    array = parse_details(
        SGE.row("32-qstat-j-several-xml")["stdout"].replace(
            "<JAT_status>128<", "<JAT_status>0</JAT_status><JAT_status>128<"
        )
    )
    assert status_from(array[JobId("10")]).state is R


def test_details_tell_whose_a_job_is() -> None:
    assert {detail.owner for detail in SEVERAL.values()} == {"carol"}


def test_a_bad_row_spoils_itself_alone() -> None:
    good = listed("r", name="caf\ufffd \x00 ]]> &bad; &#xffffffff;")
    rows = "<job_list><JB_job_number>x</JB_job_number><state>r</state></job_list><job_list></job_list><job_list>"

    assert list(parse_list(good.replace("<job_info>\n    ", f"<job_info>\n{rows}</job_list>"))) == ["7"]


@pytest.mark.parametrize("name", ["21-down-qstat-j", "22-noenv-qstat"])
def test_a_command_that_could_not_ask_is_no_answer(name: str) -> None:
    for judge in (listing, details):
        with pytest.raises(SchedulerUnavailable, match=r"Grid Engine could not be asked: .{20}"):
            judge(SGE.result(name))


# ── qstat -j ──────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "row",
    [row for row in SGE.rows(command="qstat") if "-xml" in row["cmd"] and " -j" in row["cmd"] and row["rc"] == 0],
    ids=lambda row: row["name"],
)
def test_every_recorded_detail_is_read_and_what_is_unknown_is_not_there(row: dict[str, Any]) -> None:
    found = parse_details(details(result(row)))

    assert found.keys() == set(re.findall(r"<JB_job_number>(\d+)<", row["stdout"]))
    assert all(detail.submitted_at for detail in found.values())


def test_a_job_that_only_the_details_know_is_alive() -> None:
    states = {detail.name.partition(".")[0]: status_from(detail).state for detail in SEVERAL.values()}

    assert states.pop("all") is R
    assert {states.pop(name) for name in ("held", "dependent")} == {H}
    assert set(states.values()) == {Q}


@pytest.mark.parametrize(
    ("name", "state", "sentence"),
    [
        ("held", H, reasons.HELD_BY_OWNER),
        ("dependent", H, reasons.DEPENDENCY),
        ("later", Q, reasons.BEGIN_TIME),
        ("one", Q, reasons.RESOURCES),
        ("single", Q, reasons.RESOURCES),
        ("never", Q, reasons.RESOURCES),  # for ever, but nobody says so
    ],
)
def test_every_recorded_wait_becomes_a_sentence(name: str, state: JobState, sentence: str) -> None:
    [detail] = [detail for detail in SEVERAL.values() if detail.name.startswith(f"{name}.")]
    status = parse_list(SGE.row("31-qstat-az-xml")["stdout"])[detail.id]

    assert status.state is state
    assert why_it_waits(status, detail, held_by_user=name == "held") == sentence
    if name == "held":
        assert why_it_waits(status, detail, held_by_user=False) == reasons.HELD_BY_ADMIN


@pytest.mark.parametrize(
    ("name", "words"), [("nodir", "can't chdir to /nosuch: No such file or directory"), ("parked", "exit code 100")]
)
def test_a_parked_job_has_failed_and_says_why(name: str, words: str) -> None:
    [detail] = [detail for detail in SEVERAL.values() if detail.name.startswith(f"{name}.")]
    status = parse_list(SGE.row("31-qstat-az-xml")["stdout"])[detail.id]

    end = ended_in_error(status, detail)

    assert parked_status(status)
    assert (end.state, end.cause, end.id, end.name) == (E, EndCause.FAILED, status.id, status.name)
    assert words in end.reason
    assert re.fullmatch(r"[A-Z][^\n]*\.", end.reason)


def test_why_a_job_was_parked_is_told_as_far_as_it_is_known() -> None:
    assert parked(()) == "Grid Engine could not start it."
    assert parked(["something odd\nhappened"]) == "Grid Engine says: something odd happened."


def test_a_note_that_no_table_knows_is_quoted_and_one_that_says_nothing_is_not() -> None:
    assert waiting(["the moon is full"]) == "Grid Engine says: the moon is full."
    assert waiting([], ['queue instance "off.q@n1" dropped because it is disabled']) == ""
    assert waiting([], ["(Collecting of scheduler job information is turned off)"]) == ""
    assert waiting(['cannot run in queue "b.q" because it is not contained in its hard queue list (-q)']) == ""


# ── qacct ─────────────────────────────────────────────────────────────────────────────────────────────────────────

ENDS = {
    "06-qacct-j-finished": (EndCause.COMPLETED, 0, None),
    "06-qacct-j-failed": (EndCause.FAILED, 3, None),
    "06-qacct-j-errstate": (EndCause.FAILED, None, None),
    "07-qacct-deleted-running": (EndCause.CANCELLED, None, 9),
    "09-qacct-h_rt": (EndCause.WALLTIME, None, 9),
    "09-qacct-h_vmem": (EndCause.FAILED, 1, None),
    "09-qacct-kill9": (EndCause.CANCELLED, None, 9),
    "09-qacct-exit100": (EndCause.FAILED, 100, None),
    "09-qacct-exit99": (EndCause.CANCELLED, 99, None),
    "09-qacct-badinterp": (EndCause.FAILED, None, None),
    "09-qacct-badoutput": (EndCause.FAILED, None, None),
    "40-qacct-s_rt": (EndCause.WALLTIME, None, 10),
    "40-qacct-s_rt-trapped": (EndCause.WALLTIME, None, 15),
    "40-qacct-s_vmem": (EndCause.FAILED, None, 11),
    "33-qacct-done": (EndCause.FAILED, 3, None),
    "33-qacct-killed": (EndCause.CANCELLED, None, 9),
    "33-qacct-overtime": (EndCause.WALLTIME, None, 9),
    "33-qacct-nodir": (EndCause.FAILED, None, None),
    "33-qacct-parked": (EndCause.FAILED, 100, None),
}


@pytest.mark.parametrize("name", ENDS)
def test_every_recorded_account(name: str) -> None:
    row = SGE.row(name)

    [status] = parse_accounts(records(result(row))).values()

    assert status.id == row["cmd"].split()[-1]
    assert (status.state, status.cause, status.exit_code, status.signal) == (E, *ENDS[name])
    started = "start_time   -/-" not in row["stdout"]
    assert bool(status.started_at) == bool(status.ended_at) == bool(status.nodes) == started
    assert status.submitted_at
    assert "\n" not in status.reason


def test_all_recorded_accounts_are_read() -> None:
    rows = [row for row in SGE.rows(command="qacct") if row["rc"] == 0 and row["stdout"].count("jobnumber") >= 1]

    for row in rows:
        numbers = re.findall(r"^jobnumber +(\d+)", row["stdout"], re.MULTILINE)
        assert list(parse_accounts(row["stdout"])) == list(dict.fromkeys(numbers))
    assert len(rows) >= len(ENDS)


@pytest.mark.parametrize("name", ["06-qacct-j-unknown", "07-qacct-deleted-pending", "33-qacct-no-name"])
def test_what_is_in_no_account_is_no_trouble(name: str) -> None:
    assert records(SGE.result(name)) == ""


def test_accounts_that_cannot_be_read_are_no_answer() -> None:
    with pytest.raises(SchedulerUnavailable, match="No such file"):
        records(SGE.result("35-qacct-no-accounts"))


def account(**fields: str) -> str:
    usual = {"jobnumber": "7", "failed": "0", "exit_status": "0", "start_time": "Sun Nov 22 15:40:15 2026"}
    return "=====\n" + "".join(f"{name:<13}{value:<20}\n" for name, value in (usual | fields).items())


@pytest.mark.parametrize(
    ("fields", "cause"),
    [
        ({"exit_status": "143"}, EndCause.CANCELLED),
        ({"failed": "100 : assumedly after job", "exit_status": "143   (Terminated)"}, EndCause.CANCELLED),
        ({"failed": "100 : assumedly after job", "exit_status": "139   (Segmentation fault)"}, EndCause.FAILED),
        ({"failed": "19  : before writing exit_status"}, EndCause.NODE_FAILURE),
        ({"failed": "37  : limit", "category": "-l h_rt=9,h_vmem=4M", "maxvmem": "4.238MB"}, EndCause.MEMORY),
        ({"failed": "37  : limit", "category": "-l h_rt=9,h_vmem=5M", "maxvmem": "4.238MB"}, EndCause.WALLTIME),
        ({"failed": "8   : in prolog"}, EndCause.FAILED),
        ({"failed": "250 : nobody knows"}, EndCause.FAILED),
    ],
)
def test_further_codes_of_the_accounts(fields: dict[str, str], cause: EndCause) -> None:
    status = parse_accounts(account(**fields))[JobId("7")]

    assert status.cause is cause
    assert bool(status.reason) == (cause is EndCause.NODE_FAILURE or fields.get("failed", "")[:3] in ("8  ", "250"))


OVER = {"failed": "37  : qmaster enforced h_rt, h_cpu, or h_vmem limit", "exit_status": "137   (Killed)", "slots": "8"}


@pytest.mark.parametrize(
    ("fields", "cause"),
    [
        ({"category": "-l h_rt=9,h_vmem=2G -pe smp 8", "ru_wallclock": "10s", "maxvmem": "3.100GB"}, EndCause.WALLTIME),
        ({"category": "-l h_rt=9,h_vmem=2G -pe smp 8", "ru_wallclock": "10s", "maxvmem": "16.1GB"}, EndCause.WALLTIME),
        ({"category": "-l h_rt=9,h_vmem=2G -pe smp 8", "ru_wallclock": "8s", "maxvmem": "16.1GB"}, EndCause.MEMORY),
        ({"category": "-l h_vmem=2G -pe smp 8", "ru_wallclock": "8s", "maxvmem": "3.100GB"}, EndCause.WALLTIME),
        ({"category": "-l h_rt=0:1:30,h_vmem=1K", "ru_wallclock": "91s", "maxvmem": "1.0GB"}, EndCause.WALLTIME),
        ({"category": "-l h_rt=0:1:30,h_vmem=1K", "ru_wallclock": "89s", "maxvmem": "1.0GB"}, EndCause.MEMORY),
        (
            {"category": "-l h_rt=9,h_vmem=1K", "end_time": "Sun Nov 22 15:40:24 2026", "maxvmem": "1GB"},
            EndCause.WALLTIME,
        ),
        (
            {"category": "-l h_rt=9,h_vmem=1K", "end_time": "Sun Nov 22 15:40:23 2026", "maxvmem": "1GB"},
            EndCause.MEMORY,
        ),
    ],
)
def test_a_limit_is_that_of_time_if_it_was_up_and_memory_is_the_whole_job_s(
    fields: dict[str, str], cause: EndCause
) -> None:
    assert parse_accounts(account(**OVER, **fields))[JobId("7")].cause is cause


@pytest.mark.parametrize(
    ("fields", "cause", "signal"),
    [
        ({"exit_status": "138"}, EndCause.WALLTIME, 10),
        (
            {"failed": "100 : assumedly after job", "exit_status": "138   (User defined signal 1)"},
            EndCause.WALLTIME,
            10,
        ),
        ({"exit_status": "143", "category": "-l s_rt=0:0:9", "ru_wallclock": "9s"}, EndCause.WALLTIME, 15),
        ({"exit_status": "143", "category": "-l s_rt=9", "ru_wallclock": "8s"}, EndCause.CANCELLED, None),
        ({"exit_status": "3", "category": "-l s_rt=9", "ru_wallclock": "9s"}, EndCause.FAILED, None),
        ({"exit_status": "152", "category": "-l s_cpu=9"}, EndCause.WALLTIME, 24),
        ({"exit_status": "152", "category": "-l s_vmem=1G"}, EndCause.MEMORY, 24),
        (
            {"failed": "100 : assumedly after job", "exit_status": "152", "category": "-l s_vmem=1G"},
            EndCause.MEMORY,
            24,
        ),
        ({"exit_status": "152"}, EndCause.WALLTIME, 24),
        ({"failed": "19  : before writing exit_status", "exit_status": "138"}, EndCause.NODE_FAILURE, None),
    ],
)
def test_a_soft_limit_is_a_limit(fields: dict[str, str], cause: EndCause, signal: int | None) -> None:
    status = parse_accounts(account(**fields))[JobId("7")]

    assert (status.cause, status.signal) == (cause, signal)


def test_the_books_are_everybody_s_and_only_the_owner_s_are_read() -> None:
    text = account(owner="carol") + account(owner="eve", jobnumber="8") + account(jobnumber="9")

    assert parse_accounts(text, owner="carol").keys() == {"7"}
    assert parse_accounts(text).keys() == {"7", "8", "9"}


def test_an_ended_job_has_no_reason_of_a_waiting_one() -> None:
    ended = parse_list(listed("z"))[JobId("7")]

    assert ended.reason == ""
    assert parse_accounts(account(failed="37  : limit"))[JobId("7")].reason == ""


def test_memory_that_is_counted_per_job_is_not_multiplied_by_its_slots() -> None:
    text = account(**OVER, category="-l h_vmem=2G -pe smp 8", maxvmem="2.100GB")

    assert parse_accounts(text, "slot")[JobId("7")].cause is EndCause.WALLTIME
    assert parse_accounts(text, "job")[JobId("7")].cause is EndCause.MEMORY


def univa(**fields: str) -> str:
    """Return an account in the form of Univa's, as its users have published them; it could not be run."""
    usual = {
        "hostname": "node1c17.site",
        "submit_cmd": "qsub -terse -N x -l h_rt=0:5:0,h_vmem=2G -pe smp 4",
        "qsub_time": "06/11/2020 13:22:28.652",
        "start_time": "06/11/2020 13:22:37.680",
        "end_time": "06/11/2020 13:27:37.952",
        "slots": "4",
        "deleted_by": "NONE",
        "ru_wallclock": "300.272",
        "wallclock": "300.333",
        "maxvmem": "1.656G",
    }
    return account(**usual | fields)


def test_an_account_of_univa_s_tells_when_where_and_how_a_job_ended() -> None:
    status = parse_accounts(univa(exit_status="3"))[JobId("7")]

    assert (status.cause, status.exit_code, status.nodes) == (EndCause.FAILED, 3, ("node1c17.site",))
    assert status.submitted_at == datetime(2020, 6, 11, 13, 22, 28, 652000, tzinfo=UTC)
    assert status.started_at == datetime(2020, 6, 11, 13, 22, 37, 680000, tzinfo=UTC)
    assert status.ended_at == datetime(2020, 6, 11, 13, 27, 37, 952000, tzinfo=UTC)


SHORT = {"end_time": "06/11/2020 13:22:47.952", "ru_wallclock": "10.272"}
KILLED = {"failed": "100 : assumedly after job", "exit_status": "137"}


@pytest.mark.parametrize(
    ("fields", "cause"),
    [
        (OVER | {"slots": "4"}, EndCause.WALLTIME),
        (OVER | SHORT | {"slots": "4", "maxvmem": "8.001G"}, EndCause.MEMORY),
        ({"failed": "44  : execd enforced h_rt limit", "exit_status": "137", **SHORT}, EndCause.WALLTIME),
        ({"failed": "47  : execd enforced h_rss limit", "exit_status": "137"}, EndCause.MEMORY),
        ({"failed": "52  : cgroups enforced memory limit", "exit_status": "137"}, EndCause.MEMORY),
        ({"deleted_by": "ada", **KILLED}, EndCause.CANCELLED),
        ({"deleted_by": "ada"}, EndCause.CANCELLED),
        ({"deleted_by": "ada", "exit_status": "1"}, EndCause.CANCELLED),
        ({"deleted_by": "ada", "failed": "19  : before writing exit_status"}, EndCause.CANCELLED),
        ({}, EndCause.COMPLETED),
    ],
)
def test_why_a_job_of_univa_s_ended(fields: dict[str, str], cause: EndCause) -> None:
    status = parse_accounts(univa(**fields))[JobId("7")]

    assert (status.cause, status.reason) == (cause, "")


def test_the_code_that_stands_for_99_and_100_is_left_to_the_job_s_own_report() -> None:
    status = parse_accounts(account(exit_status="101"))[JobId("7")]

    assert (status.cause, status.exit_code) == (EndCause.FAILED, None)


def test_of_several_runs_the_last_one_counts() -> None:
    text = account(failed="25  : rescheduling", exit_status="99") + account(exit_status="3")

    assert parse_accounts(text)[JobId("7")].exit_code == 3


def test_an_account_with_a_newline_in_its_name_spoils_itself_alone() -> None:
    text = "=====\njobname      a\njobnumber    x\nfailed 0\n" + account() + "=====\njobnumber    9\n"

    assert list(parse_accounts(text)) == ["7"]


# ── qdel ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("row", [row for row in SGE.rows(command="qdel") if ran(row)], ids=lambda row: row["name"])
def test_every_recorded_qdel(row: dict[str, Any]) -> None:
    id = JobId(row["cmd"].split()[1])
    if row["name"] == "21-down-qdel":
        with pytest.raises(SchedulerUnavailable, match="Nothing was cancelled"):
            check_cancel(id, result(row))
    elif "privileges" in row["stdout"]:
        with pytest.raises(CancelRefused, match="privileges"):
            check_cancel(id, result(row))
    elif row["name"] != "07-qdel-mixed":  # two ids, and we never name two
        check_cancel(id, result(row))


def test_a_qdel_that_was_refused_or_lost_its_qmaster_says_so() -> None:
    refused = CommandResult(1, b'eve - you do not have the necessary privileges to delete the job "7"\n', b"")
    lost = CommandResult(1, b"failed receiving gdi request response for mid=1 (got no message).\n", b"")

    with pytest.raises(CancelRefused, match="privileges"):
        check_cancel(JobId("7"), refused)
    with pytest.raises(OutcomeUnknown, match="did not confirm"):
        check_cancel(JobId("7"), lost)
    with pytest.raises(CancelRefused):
        check_cancel(JobId("7"), CommandResult(1, b'denied: job "77" does not exist\n', b""))
    with pytest.raises(CancelRefused, match="privileges"):
        check_cancel(JobId("7"), CommandResult(0, refused.stdout, b""))
    with pytest.raises(OutcomeUnknown, match="something new"):
        check_cancel(JobId("7"), CommandResult(1, b"something new is wrong\n", b""))
    check_cancel(JobId("7"), CommandResult(0, b"carol has deleted job 7\n", b"Access denied outside of hours.\n"))


# ── anything at all ───────────────────────────────────────────────────────────────────────────────────────────────

TAGS = [
    "<job_list>", "</job_list>", "<JB_job_number>7</JB_job_number>", "<state>r</state>", "<state>", "</djob_info>",
    "<JAT_status>128</JAT_status>", "<JB_submission_time>" + "9" * 18 + "</JB_submission_time>", "&#1;", "</job_info>",
    "<MES_message>", "</MES_message>", "<ULNG_value>7</ULNG_value>", "=====\n", "jobnumber 7\n", "failed 37 : x\n",
    "exit_status 137\n", "start_time Sun Nov 22 15:40:15 2026\n", "maxvmem 1.GB\n", "category -l h_vmem=1G\n",
    "end_time 06/11/2020 13:27:51.952\n", "submit_cmd qsub -l h_rt=9:9,h_vmem=1G\n", "deleted_by x\n", "slots 0\n",
]  # fmt: skip
SOUP = st.lists(st.one_of(st.sampled_from(TAGS), st.text(max_size=9)), max_size=12).map("".join)


@given(SOUP)
def test_no_text_whatever_upsets_the_parsers(text: str) -> None:
    for status in (*parse_list(text).values(), *parse_accounts(text).values()):
        assert (status.cause is None) == (status.state is not E)
    for detail in parse_details(text).values():
        assert status_from(detail).state is not E


JUDGES = (
    (parse_submit, SGE.result("30-qsub-done")),
    (listing, SGE.result("31-qstat-az-xml")),
    (details, SGE.result("32-qstat-j-several-xml")),
    (records, SGE.result("33-qacct-done")),
    (partial(check_cancel, JobId("7")), SGE.result("34-qdel-running")),
)
"""Each with a result that it accepts."""


@given(st.integers(0, 255), st.binary(max_size=40), st.binary(max_size=40))
def test_no_result_whatever_raises_anything_but_our_own_errors(code: int, stdout: bytes, stderr: bytes) -> None:
    for judge, accepted in JUDGES:
        judge(accepted)
        with suppress(FxschedError):
            judge(CommandResult(code, stdout, stderr))
