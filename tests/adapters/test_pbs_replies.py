"""The replies of OpenPBS and Torque, as they were recorded, become ids, statuses and errors."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fxsched import reasons
from fxsched.errors import (
    CancelRefused,
    FxschedError,
    OutcomeUnknown,
    SchedulerUnavailable,
    SubmitRejected,
)
from fxsched.hosts import CommandResult
from fxsched.jobs import EndCause, JobId, JobState, JobStatus
from fxsched_pbs import replies
from fxsched_pbs.reasons import COULD_NOT_START, UNREADABLE, waiting
from fxsched_pbs.records import Record, read_json, read_text, read_xml
from fxsched_pbs.replies import (
    check_answer,
    check_cancel,
    nodes_of,
    parse_selection,
    parse_status,
    parse_submit,
    record_of,
    says_unknown,
)

from .pbs_recorded import OPENPBS, TORQUE, commands, forms, reply, spoilt

PBS, TRQ = replies.OPENPBS, replies.TORQUE
DIALECTS = {"openpbs": PBS, "torque": TRQ}
Q, H, R, S, ENDED = JobState.QUEUED, JobState.HELD, JobState.RUNNING, JobState.SUSPENDED, JobState.ENDED
ID = JobId("7.vm")


def named(rows: list[tuple[str, dict[str, Any]]]) -> Any:
    return pytest.mark.parametrize(("of", "row"), rows, ids=[f"{of}-{row['name']}" for of, row in rows])


def recorded(command: str, *, accepted: bool) -> list[tuple[str, dict[str, Any]]]:
    """Return the recorded calls of a command that ended well, or that did not, with whose they are."""
    return [(of, row) for of in DIALECTS for row in commands(command, of) if (row["rc"] == 0) is accepted]


def status(record: Record, of: str = "openpbs") -> JobStatus:
    found = parse_status(DIALECTS[of], ID, record)
    assert found is not None
    return found


# ── submit ────────────────────────────────────────────────────────────────────────────────────────────────────────


@named(recorded("qsub", accepted=True))
def test_an_accepted_job_s_id_is_read(of: str, row: dict[str, Any]) -> None:
    assert parse_submit(DIALECTS[of], reply(row)) == row["stdout"].strip()
    assert re.fullmatch(r"\d+(\[\])?\.vm", row["stdout"].strip())


@pytest.mark.parametrize(
    "stdout",
    [
        b"Welcome. You have 17 core-hours left\n4217.vm\n",
        b"4217.vm\nMaintenance on 24 December 2.00 pm.\n",
        b"\n  4217.vm  \r\n\n",
        b"caf\xe9 99.5 hours\n4217.vm\n",
    ],
)
def test_the_id_is_found_among_what_a_site_prints_around_it(stdout: bytes) -> None:
    assert parse_submit(PBS, CommandResult(0, stdout, b"qsub: 12 jobs today\n")) == "4217.vm"


@pytest.mark.parametrize(
    "stdout", [b"", b"job 4217.vm\n", b"4217\n", b"4217.vm 4218.vm\n", b"42", b"4217.v", "٤٢.vm\n".encode(), b"-1.vm\n"]
)
def test_a_qsub_that_ended_well_without_an_id_may_have_made_a_job(stdout: bytes) -> None:
    with pytest.raises(OutcomeUnknown, match="printed no job id"):
        parse_submit(PBS, CommandResult(0, stdout, b""))


def test_torque_may_print_ids_without_its_server() -> None:
    """With display_job_server_suffix = False. Torque 6.1's get_job_id() then prints the number alone."""
    assert parse_submit(TRQ, CommandResult(0, b"Welcome. You have 17 hours left\n4217\n", b"")) == "4217"
    assert parse_submit(TRQ, CommandResult(0, b"4217[]\nUntil 2.00 pm.\n", b"")) == "4217[]"
    assert parse_selection(TRQ, CommandResult(0, b"10\n9\n11[]\n", b"")) == ("9", "10", "11[]")


@pytest.mark.parametrize("stdout", [b"42", b"job 4217\n", b"4217 4218\n", b"4217.\n", b"4217 hours\n", b"-1\n"])
def test_a_number_is_an_id_only_as_a_whole_line(stdout: bytes) -> None:
    with pytest.raises(OutcomeUnknown, match="printed no job id"):
        parse_submit(TRQ, CommandResult(0, stdout, b""))
    with pytest.raises(SchedulerUnavailable, match="printed no list"):
        parse_selection(TRQ, CommandResult(0, stdout, b""))


UNAVAILABLE = re.compile(r"cannot connect|Server shutting down")


@named(recorded("qsub", accepted=False))
def test_a_failed_submit_is_a_refusal_in_pbs_s_words_unless_it_could_not_be_reached(
    of: str, row: dict[str, Any]
) -> None:
    kind = SchedulerUnavailable if UNAVAILABLE.search(row["stderr"]) else SubmitRejected
    if row["stdout"]:  # with -W block=true
        kind = OutcomeUnknown

    with pytest.raises(kind) as raised:
        parse_submit(DIALECTS[of], result := reply(row))

    text = str(raised.value)
    assert "\n" not in text
    assert "usage" not in text
    assert len(text) < 400
    first = re.sub(r"^\[?qsub: ", "", result.complaint.splitlines()[0]).removesuffix("]").strip()
    assert row["stdout"] or first in text or first.startswith("usage")


@pytest.mark.parametrize(
    ("of", "code", "stderr"),
    [
        ("openpbs", 137, b""),
        ("openpbs", 134, b"Fatal glibc error: malloc assertion failure in sysmalloc\n"),
        ("openpbs", 183, b"qsub: End of File\n"),
        ("openpbs", 162, b"qsub: System error\n"),
        ("openpbs", 1, b""),
        ("torque", 185, b"qsub: submit error (Batch protocol error)\n"),
        ("torque", 156, b"qsub: submit error (Invalid request MSG=cannot locate new job 35.vm (0 - Success))\n"),
        ("torque", 165, b"qsub: submit error (PBS server internal error)\n"),
    ],
)
def test_a_qsub_that_lost_its_server_or_was_killed_may_have_made_a_job(of: str, code: int, stderr: bytes) -> None:
    with pytest.raises(OutcomeUnknown):
        parse_submit(DIALECTS[of], CommandResult(code, b"", stderr))


def test_the_same_number_means_different_things() -> None:
    """170 is an unknown queue in OpenPBS, and a job that has ended already in Torque: only the words tell."""
    assert OPENPBS.row("10-qsub-unknown-queue")["rc"] == TORQUE.row("62-qdel-running-again")["rc"] == 170

    for dialect in (PBS, TRQ):
        check_cancel(dialect, ID, CommandResult(170, b"", b"qdel: Request invalid for state of job 7.vm\n"))
        with pytest.raises(OutcomeUnknown):
            check_cancel(dialect, ID, CommandResult(170, b"", b"qdel: Unknown queue\n"))


# PBSE_EOF, and what else Torque 6.1 says of a connection that broke: the server may have queued the job before.
BROKEN = [
    (67, "End of File"),
    (10, "Premature End of File"),
    (210, "Bad DIS based Request Protocol"),
    (237, "Time out"),
    (249, "Error writing data to socket"),
    (250, "Error reading data from socket"),
    (251, "Socket close detected"),
    (243, "Error allocating memory - out of memory"),
]


@pytest.mark.parametrize(("number", "words"), BROKEN)
def test_a_torque_whose_server_was_killed_may_have_the_job(number: int, words: str) -> None:
    with pytest.raises(OutcomeUnknown, match=words):
        parse_submit(TRQ, CommandResult(number, b"", f"qsub: submit error ({words})\n".encode()))


@pytest.mark.parametrize("dialect", [PBS, TRQ])
@pytest.mark.parametrize(
    "stderr",
    [
        "qsub: The phase of the moon\n",
        "qsub: Invalid request MSG=cannot locate new job 35.vm (0 - Success)\n",
        "qsub: Unauthorized Request, but 35.vm is queued\n",
        "warning: queue is not enabled for you\nYour job 35 has been submitted\n",
    ],
)
def test_words_that_judge_nothing_or_tell_of_a_job_leave_it_open(dialect: replies.Dialect, stderr: str) -> None:
    with pytest.raises(OutcomeUnknown):
        parse_submit(dialect, CommandResult(1, b"", stderr.encode()))


LOCAL = [
    "pbsconf error: pbs conf variables not found: PBS_HOME PBS_EXEC\nqsub: Failed to load configuration parameters!\n",
    "/opt/pbs/bin/qsub: error while loading shared libraries: libpbs.so.0: cannot open shared object file\n",
    "auth: error returned: 15029\nNo Permission.\nqsub: cannot connect to server vm (errno=1)\n",
    "qsub: submit error (trqauthd unable to authenticate)\n",
    "qsub: submit error (Server busy. Not available threads)\n",
    "qsub: could not create copy of script /tmp/qsub.x\n",
]


@pytest.mark.parametrize("dialect", [PBS, TRQ])
@pytest.mark.parametrize("stderr", LOCAL)
def test_a_client_that_is_broken_has_submitted_nothing(dialect: replies.Dialect, stderr: str) -> None:
    with pytest.raises(SchedulerUnavailable, match="No job was submitted"):
        parse_submit(dialect, CommandResult(1, b"", stderr.encode()))


def test_what_a_site_s_hook_or_filter_says_is_a_refusal() -> None:
    torque = b"Ask for less.\nqsub: Your job has been administratively rejected by the queueing system.\n"

    with pytest.raises(SubmitRejected, match="no project given"):
        parse_submit(PBS, OPENPBS.result("68-hook-reject"))
    with pytest.raises(SubmitRejected, match="Ask for less"):
        parse_submit(TRQ, CommandResult(1, torque, b""))


def test_all_that_a_qsub_without_an_id_said_is_told() -> None:
    with pytest.raises(OutcomeUnknown, match=r"the disk is full.*Welcome"):
        parse_submit(PBS, CommandResult(0, b"Welcome\n", b"qsub: the disk is full\n"))


# ── qselect ───────────────────────────────────────────────────────────────────────────────────────────────────────


@named(recorded("qselect", accepted=True))
def test_every_recorded_selection(of: str, row: dict[str, Any]) -> None:
    assert parse_selection(DIALECTS[of], reply(row)) == tuple(row["stdout"].split())


def test_what_was_submitted_first_comes_first() -> None:
    assert parse_selection(PBS, CommandResult(0, b"10.vm\n9.vm\n11[].vm\n", b"")) == ("9.vm", "10.vm", "11[].vm")


@pytest.mark.parametrize("stdout", [b"<html>503", b"busy\n", b"12.v", b"12.vm\n13.v"])
def test_a_selection_that_is_none_or_cut_short_is_no_answer(stdout: bytes) -> None:
    with pytest.raises(SchedulerUnavailable, match="printed no list"):
        parse_selection(PBS, CommandResult(0, stdout, b""))


@named(recorded("qselect", accepted=False))
def test_a_qselect_that_failed_is_no_answer(of: str, row: dict[str, Any]) -> None:
    with pytest.raises(SchedulerUnavailable, match="cannot connect"):
        parse_selection(DIALECTS[of], reply(row))


# ── qstat: the three forms ────────────────────────────────────────────────────────────────────────────────────────

JSON = [row for row in commands("qstat") if "-F json" in row["cmd"] and row["rc"] != 2]
TEXT = [row for row in commands("qstat") if re.search(r"-x?f(?! -F)", row["cmd"]) and "Job Id:" in row["stdout"]]
LISTED = [row for row in JSON if '"Jobs"' in row["stdout"]]


def document(row: dict[str, Any]) -> str:
    return str(row["stdout"]).replace("[no newline at end]", "")


def ids(rows: list[dict[str, Any]]) -> list[str]:
    return [row["name"] for row in rows]


@pytest.mark.parametrize("row", JSON, ids=ids(JSON))
def test_every_recorded_document_is_read(row: dict[str, Any]) -> None:
    found = read_json(document(row))

    strict = json.loads(document(row), strict=False).get("Jobs", {})
    assert found.keys() == strict.keys()
    for id, record in found.items():
        assert record["job_name"] == str(strict[id]["Job_Name"])
        assert record["job_state"] == strict[id]["job_state"]
        assert record["resource_list.select"] == strict[id]["Resource_List"]["select"]


PAIRS = sorted({row["name"].split("-", 2)[2] for row in LISTED if row["name"].startswith("21-exit-")})


@pytest.mark.parametrize("what", [w for w in PAIRS if any(row["name"] == f"21-exitf-{w}" for row in TEXT)])
def test_both_forms_say_the_same_of_a_job(what: str) -> None:
    by_json = read_json(OPENPBS.row(f"21-exit-{what}")["stdout"])
    by_text = read_text(OPENPBS.row(f"21-exitf-{what}")["stdout"])

    assert by_json.keys() == by_text.keys()
    for id in by_json:
        assert parse_status(PBS, JobId(id), by_json[id]) == parse_status(PBS, JobId(id), by_text[id])


@pytest.mark.parametrize("name", list(spoilt()))
def test_a_job_that_spoils_the_json_is_read_all_the_same(name: str) -> None:
    by_json, by_text = (read(text) for read, text in zip((read_json, read_text), forms(name), strict=True))

    with pytest.raises(ValueError, match=r"Expecting|escape"):
        json.loads(forms(name)[0], strict=False)
    [(id, record)] = by_json.items()
    [text] = by_text.values()
    assert (record["job_name"], record["job_state"]) == (text["job_name"], "H")
    assert parse_status(PBS, JobId(id), record) == parse_status(PBS, JobId(id), text)


def test_what_looks_like_a_number_is_text() -> None:
    names = {name: read_json(forms(f"41-json-N-{name}")[0]) for name in ("leadzero", "float")}

    assert [record["job_name"] for found in names.values() for record in found.values()] == ["007", "1.50"]


def test_a_document_is_read_among_what_a_site_prints_around_it() -> None:
    text = document(OPENPBS.row("26-state-R-xt-json"))

    assert read_json(f"Welcome {{you}}\n{text}Bye\n") == read_json(text)


def test_repeated_ids_are_one_job() -> None:
    assert list(read_json(document(OPENPBS.row("40-r2306-id-dup")))) == ["284.vm"]


@pytest.mark.parametrize("cut", [1, 2, 40, 400, 4000])
def test_a_reply_that_is_cut_short_is_none(cut: int) -> None:
    for read, text in (
        (read_json, document(OPENPBS.row("68-qstat-while-server-busy-in-hook")).rstrip()),
        (read_text, OPENPBS.row("26-state-R-f")["stdout"].rstrip("\n")),
        (read_xml, TORQUE.row("36-qstat-x")["stdout"].rstrip()),
    ):
        with pytest.raises(ValueError, match=r"."):
            read(text[:-cut])


@pytest.mark.parametrize("text", ["", "busy\n", "<html>503</html>\n", "[]", "{}", '{\n"Jobs":{}}', "null", "{\n"])
def test_a_reply_of_something_else_is_none(text: str) -> None:
    for read in (read_json, read_text, read_xml):
        with pytest.raises(ValueError, match=r"."):
            read(text)


def test_a_wrapped_line_is_put_together() -> None:
    record = read_text(OPENPBS.row("26-state-R-f")["stdout"])["287.vm"]

    assert "PBS_O_PATH=/opt/pbs/bin:/usr/local/bin:/usr/bin:/bin,PBS_O_SHELL=/bin/bash" in record["variable_list"]
    assert record["submit_host"] == "localhost"


@pytest.mark.parametrize("value", ["a\nb", "a\n\nb", "a\n\nJob Id: 8.vm\nb", "a\nJob Id: 8.vm\n    job_state = F\n\n"])
def test_a_value_with_line_feeds_spoils_its_own_job_only(value: str) -> None:
    odd = f"Job Id: 7.vm\n    Job_Name = a\n    job_state = R\n    submit_args = {value}\n    euser = bob\n\n"
    good = "Job Id: 8.vm\n    Job_Name = b\n    job_state = R\n    euser = ada\n\n"

    for text in (odd + good, good + odd):
        found = read_text(text)
        assert found["7.vm"]["job_state"] == "R"
        assert (found["8.vm"]["job_name"], found["8.vm"]["job_state"]) == ("b", "R")


def test_the_recorded_one_is_read() -> None:
    record = read_text(TORQUE.row("136-qstat-f-nl")["stdout"])["1088.vm"]

    assert (record["job_state"], record["submit_host"]) == ("H", "vm")


@pytest.mark.parametrize("noise", ["Connection closed.\n", "bye", "\n\n<>{}"])
def test_noise_behind_a_whole_reply_is_no_part_of_it(noise: str) -> None:
    for read, text in (
        (read_json, document(OPENPBS.row("26-state-R-xt-json"))),
        (read_text, OPENPBS.row("26-state-R-f")["stdout"].rstrip("\n") + "\n\n"),
        (read_xml, TORQUE.row("36-qstat-x")["stdout"]),
    ):
        assert read(text + noise) == read(text)


def test_a_job_of_which_nothing_can_be_read_lives() -> None:
    whole = document(OPENPBS.row("26-state-R-xt-json"))
    for records in (
        read_json(whole.replace('"Jobs":\t{', '"Jobs":\t{"8.vm": "?",')),
        read_text("Job Id: 8.vm\n    Job_Name = x\n\n"),
        read_xml("<Data><Job><Job_Id>8.vm</Job_Id><job_state>\x01<</job_state></Job></Data>"),
    ):
        found = parse_status(PBS, JobId("8.vm"), record_of(JobId("8.vm"), records))
        assert found is not None
        assert (found.state, found.reason) == (R, UNREADABLE)


def test_a_document_that_is_nested_without_end_is_none() -> None:
    with pytest.raises(ValueError, match="deep"):
        read_json('{\n"pbs_version":' + "[" * 100_000)


def test_of_two_texts_with_one_id_the_living_is_believed() -> None:
    """A value with line feeds in it can look like the end of somebody else's job."""
    real = "Job Id: 8.vm\n    Job_Name = x\n    job_state = R\n\n"
    forged = "Job Id: 7.vm\n    comment = a\nJob Id: 8.vm\n    job_state = F\n\n"

    for text in (real + forged, forged + real):
        assert read_text(text)["8.vm"]["job_state"] == "R"


def test_torque_s_xml_is_read_by_its_tags() -> None:
    [first, second] = (
        read_xml(TORQUE.row("39-qstat-x-mixed")["stdout"].split("\n<?xml")[0] + "\n"),
        read_xml(TORQUE.row("133-qstat-x-escaping")["stdout"]),
    )

    assert first["3.vm"]["exit_status"] == "3"
    assert second["1086.vm"]["job_name"] == 'a&b<c>"d'


def test_a_job_that_is_no_xml_spoils_itself_alone() -> None:
    whole = TORQUE.row("36-qstat-x")["stdout"]
    odd = "<Job><Job_Id>9.vm</Job_Id><Job_Name>\x01\ufffd&bad;</Job_Name><job_state>R</job_state></Job>"
    nameless = "<Job><Job_Name>x</Job_Name></Job>"

    found = read_xml(whole.replace("<Data>", f"<Data>{odd}{nameless}"))

    assert list(found) == ["9.vm", "3.vm"]


# ── what the jobs say ─────────────────────────────────────────────────────────────────────────────────────────────

LETTERS = {"Q": Q, "T": Q, "M": Q, "W": Q, "R": R, "E": R, "B": R, "S": S, "U": S, "F": ENDED, "X": ENDED, "C": ENDED}


def seen() -> list[tuple[str, Record]]:
    """Return every different state in which OpenPBS showed a job."""
    found = {}
    for row in LISTED:
        for record in read_json(document(row)).values():
            note = re.sub(r"\d+", "#", record.get("comment", ""))
            key = tuple(record.get(name, "") for name in ("job_state", "substate", "exit_status", "hold_types"))
            found.setdefault((*key, note), (row["name"], record))
    return list(found.values())


@pytest.mark.parametrize(("name", "record"), seen())
def test_every_recorded_state(name: str, record: Record) -> None:
    found = status(record)

    letter = record["job_state"]
    if letter == "H":
        assert found.state is (Q if record["substate"] == "22" else H)
    else:
        assert found.state is LETTERS[letter]
    assert found.native_state == letter
    assert (found.cause is None) == (found.state is not ENDED) == (found.ended_at is None)
    assert (found.nodes == ()) == ("exec_host" not in record or found.state in (Q, H))
    assert found.submitted_at is not None
    if found.state in (R, S) and letter != "B":
        assert found.started_at is not None


ENDS = [
    ("21-exit-exit0", EndCause.COMPLETED, 0, None),
    ("21-exit-exit3", EndCause.FAILED, 3, None),
    ("21-exit-exit127", EndCause.FAILED, 127, None),
    ("21-exit-exit256", EndCause.COMPLETED, 0, None),
    ("21-exit-exit-1", EndCause.FAILED, 255, None),
    ("21-exit-selfkill9", EndCause.FAILED, 137, 9),
    ("21-exit-selfkill15", EndCause.FAILED, 143, 15),
    ("21-exit-selfsegv", EndCause.FAILED, 139, 11),
    ("21-exit-qdel-held", EndCause.CANCELLED, None, None),
    ("21-exit-qdel-waiting", EndCause.CANCELLED, None, None),
    ("21-exit-qdel-running", EndCause.CANCELLED, None, 15),
    ("21-exit-qdel-running-trap-exit0", EndCause.CANCELLED, None, 15),
    ("21-exit-qsig-KILL-running", EndCause.FAILED, None, 9),
    ("21-exit-walltime-ignore-term", EndCause.WALLTIME, None, None),
    ("21-exit-walltime-trap-exit0", EndCause.WALLTIME, None, None),
    ("69-no-home-dir-job", EndCause.FAILED, None, None),
    ("17-undeliverable-output-226", EndCause.COMPLETED, 0, None),
]


@pytest.mark.parametrize(("name", "cause", "code", "signal"), ENDS, ids=[end[0] for end in ENDS])
def test_every_recorded_end(name: str, cause: EndCause, code: int | None, signal: int | None) -> None:
    [record] = read_json(document(OPENPBS.row(name))).values()

    found = status(record)

    assert (found.state, found.cause, found.exit_code, found.signal) == (ENDED, cause, code, signal)


@pytest.mark.parametrize("name", ["31-dep-later-288-x", "31-dep-later-297-x", "73-dep-parent-failed-child"])
def test_a_job_whose_dependency_failed_ended_for_that(name: str) -> None:
    [record] = read_text(OPENPBS.row(name)["stdout"]).values()

    assert (status(record).cause, status(record).reason) == (EndCause.CANCELLED, reasons.DEPENDENCY_NEVER)


def test_a_job_deleted_while_it_waited_does_not_end_for_what_it_waited_for() -> None:
    [record] = read_text(OPENPBS.row("21-exitf-qdel-queued")["stdout"]).values()

    assert "Queue not started" in record["comment"]
    assert (status(record).cause, status(record).reason) == (EndCause.CANCELLED, "")


def test_an_exit_status_alone_is_no_end() -> None:
    """It shows while a job's files are on their way, of a job that was requeued, and of an array."""
    [leaving] = read_json(document(OPENPBS.row("26-state-E-xt-json"))).values()
    [requeued] = read_json(document(OPENPBS.row("69-mom-dead-qstat"))).values()

    assert (leaving["exit_status"], status(leaving).state) == ("0", R)
    assert (requeued["exit_status"], status(requeued).state, status(requeued).reason) == ("-20", Q, reasons.RESOURCES)
    assert (status(leaving).exit_code, status(requeued).exit_code) == (None, None)


@pytest.mark.parametrize(
    ("of", "code", "cause"),
    [
        ("openpbs", "-20", EndCause.NODE_FAILURE),
        ("openpbs", "-27", EndCause.MEMORY),
        ("openpbs", "-29", EndCause.WALLTIME),
        ("openpbs", "-2", EndCause.FAILED),
        ("openpbs", "-99", EndCause.UNKNOWN),
        ("torque", "-11", EndCause.WALLTIME),
        ("torque", "-10", EndCause.MEMORY),
        ("torque", "-2", EndCause.FAILED),
        ("torque", "271", EndCause.CANCELLED),
        ("torque", "265", EndCause.FAILED),
        ("torque", "44", EndCause.FAILED),
        ("torque", "0", EndCause.COMPLETED),
    ],
)
def test_made_up_exit_statuses(of: str, code: str, cause: EndCause) -> None:
    letter = "C" if of == "torque" else "F"

    found = status({"job_state": letter, "exit_status": code, "substate": "93"}, of)

    assert found.cause is cause
    assert (found.reason == COULD_NOT_START) == (code == "-2")


def test_a_torque_job_deleted_before_it_ran_has_no_exit_status() -> None:
    [record] = read_text(TORQUE.row("64-qstat-held-after-qdel")["stdout"]).values()

    assert (status(record, "torque").cause, status(record, "torque").nodes) == (EndCause.CANCELLED, ())


def test_times_are_utc_in_words_and_in_seconds() -> None:
    [by_words] = read_json(document(OPENPBS.row("21-exit-qdel-running"))).values()
    by_seconds = read_xml(TORQUE.row("36-qstat-x")["stdout"])["3.vm"]

    assert status(by_words).submitted_at == datetime(2026, 11, 22, 14, 56, 55, tzinfo=UTC)
    assert status(by_words).ended_at == datetime(2026, 11, 22, 14, 57, 6, tzinfo=UTC)
    assert status(by_seconds, "torque").ended_at == datetime(2026, 11, 22, 15, 17, 45, tzinfo=UTC)


def test_the_start_of_a_waiting_job_is_an_expectation() -> None:
    record = {"job_state": "Q", "estimated.start_time": "Sun Nov 22 15:00:11 2026", "stime": "Sun Nov 22 14:00:00 2026"}

    assert status(record).expected_start == datetime(2026, 11, 22, 15, 0, 11, tzinfo=UTC)
    assert status(record).started_at is None


@pytest.mark.parametrize(
    ("record", "state", "reason"),
    [
        ({"job_state": "H", "hold_types": "u"}, H, reasons.HELD_BY_OWNER),
        ({"job_state": "H", "hold_types": "s"}, H, reasons.HELD_BY_ADMIN),
        ({"job_state": "H", "hold_types": "us", "depend": "afterok:1.vm"}, H, reasons.HELD_BY_OWNER),
        ({"job_state": "H", "hold_types": "s", "substate": "22"}, Q, reasons.DEPENDENCY),
        ({"job_state": "H", "hold_types": "s", "depend": "afterok:1.vm"}, Q, reasons.DEPENDENCY),
        ({"job_state": "W", "substate": "30"}, Q, reasons.BEGIN_TIME),
        ({"job_state": "R", "substate": "71"}, R, reasons.PREPARING),
        ({"job_state": "R", "substate": "42", "comment": "Job run at Sun"}, R, ""),
    ],
)
def test_why_a_job_waits(record: Record, state: JobState, reason: str) -> None:
    assert (status(record).state, status(record).reason) == (state, reason)


@pytest.mark.parametrize(
    ("comment", "sentence"),
    [
        ("Not Running: Not enough free nodes available", reasons.RESOURCES),
        ("Not Running: Insufficient amount of resource: ncpus (R: 4 A: 0 T: 32)", reasons.RESOURCES),
        ("Not Running: Not enough of the right type of nodes are available", reasons.RESOURCES),
        ("Can Never Run: Insufficient amount of resource: ncpus (R: 5000 A: 32 T: 32)", reasons.IMPOSSIBLE),
        ("Not Running: Queue not started.", reasons.QUEUE_STOPPED),
        ("Not Running: User has reached server running job limit.", reasons.USER_LIMIT),
        ("Not Running: Queue job limit has been reached.", reasons.QUEUE_LIMIT),
        ("Not Running: Draining system to allow starving job to run", reasons.PRIORITY),
        ("Not Running: The phase of the moon", "PBS says: The phase of the moon."),
        ("", ""),
    ],
)
def test_a_scheduler_s_note_becomes_a_sentence(comment: str, sentence: str) -> None:
    assert waiting(comment, "PBS") == sentence


@given(st.from_regex(r"[A-Za-z]{1,3}", fullmatch=True).filter(lambda letter: letter not in {*LETTERS, "H"}))
def test_a_state_that_nobody_knows_is_alive(letter: str) -> None:
    assert (status({"job_state": letter, "exit_status": "0"}).state, status({"job_state": letter}).cause) == (R, None)


@pytest.mark.parametrize(
    ("exec_host", "names"),
    [
        ("", ()),
        ("vm/0", ("vm",)),
        ("vm/0*40+vm/1*40+n2/2*40", ("vm", "n2")),
        ("n1/0-3+n2/0", ("n1", "n2")),
    ],
)
def test_lists_of_nodes(exec_host: str, names: tuple[str, ...]) -> None:
    assert nodes_of(exec_host) == names


# ── whose reply it is ─────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("id", ["284.vm", "284", "284.vm@vm", "284@vm"])
def test_an_id_may_be_written_in_several_ways(id: str) -> None:
    records = {"284.vm": {"job_state": "Q"}, "28.vm": {}, "1284.vm": {}}

    assert record_of(JobId(id), records) == {"job_state": "Q"}


def test_a_list_says_nothing_of_another_server_s_jobs() -> None:
    assert record_of(JobId("284.other"), {"284.vm": {}}) is None
    assert record_of(JobId("284.VM"), {"284.vm": {"a": "b"}}, alone=True) == {"a": "b"}


@pytest.mark.parametrize("id", ["284", "284.vm", "284@vm"])
def test_an_array_and_its_jobs_count_for_the_number(id: str) -> None:
    parent, ended, lives = {"job_state": "B"}, {"job_state": "X"}, {"job_state": "R"}

    assert record_of(JobId(id), {"284[1].vm": lives, "284[].vm": parent}) == parent
    assert record_of(JobId(id), {"284[1].vm": ended, "284[2].vm": lives}) == lives
    assert record_of(JobId("284[1].vm"), {"284[].vm": parent}) is None
    assert record_of(JobId(id), {"2840[].vm": parent}) is None


UNKNOWN = [row for row in JSON if row["rc"] == 153 and len(row["cmd"].split()) < 7 and " -x" not in row["cmd"]]


@pytest.mark.parametrize("row", UNKNOWN, ids=ids(UNKNOWN))
def test_a_job_is_unknown_where_pbs_names_it(row: dict[str, Any]) -> None:
    asked = JobId(row["cmd"].split()[-1].strip("'"))

    assert says_unknown(asked, reply(row))
    assert not says_unknown(JobId("7.vm"), reply(row))


@pytest.mark.parametrize("name", ["30-qstat-unknown", "32-qstat-x-unknown", "83-qstat-after-keep"])
def test_so_it_is_in_torque(name: str) -> None:
    asked = JobId(TORQUE.row(name)["cmd"].split()[-1])

    assert says_unknown(asked, TORQUE.result(name))
    assert says_unknown(JobId(asked.partition(".")[0]), TORQUE.result(name))


NO_ANSWERS = [row for row in JSON if row["rc"] not in (0, 153)]


@pytest.mark.parametrize("row", NO_ANSWERS, ids=ids(NO_ANSWERS))
def test_a_failed_question_is_no_answer_whatever_it_printed(row: dict[str, Any]) -> None:
    assert not says_unknown(JobId("284.vm"), reply(row))
    with pytest.raises(SchedulerUnavailable, match=r"PBS could not be asked: .{10}"):
        check_answer(PBS, reply(row))


# ── qdel ──────────────────────────────────────────────────────────────────────────────────────────────────────────

CANCELS = [(of, row) for of, row in recorded("qdel", accepted=False) if len(row["cmd"].split()) < 5]


def kind_of_cancel(of: str, row: dict[str, Any]) -> type[FxschedError] | None:
    if "connect to" in row["stderr"]:
        return OutcomeUnknown if "MOM" in row["stderr"] else SchedulerUnavailable
    over = {"openpbs": (35, 153, 168), "torque": (153, 170)}[of]
    return None if row["rc"] in over else CancelRefused


@named(CANCELS)
def test_a_failed_cancel_is_a_refusal_unless_there_was_nothing_left(of: str, row: dict[str, Any]) -> None:
    kind = kind_of_cancel(of, row)
    if kind is None:
        check_cancel(DIALECTS[of], ID, reply(row))
        return

    with pytest.raises(kind) as raised:
        check_cancel(DIALECTS[of], ID, reply(row))

    assert type(raised.value) is kind


@named(recorded("qdel", accepted=True))
def test_a_cancel_that_worked(of: str, row: dict[str, Any]) -> None:
    check_cancel(DIALECTS[of], ID, reply(row))


@pytest.mark.parametrize("dialect", [PBS, TRQ])
@pytest.mark.parametrize("number", [1, 153, 170, 222, 224])
def test_what_a_failed_cancel_means_is_in_its_words(dialect: replies.Dialect, number: int) -> None:
    words = {
        "Server could not connect to MOM 7.vm": OutcomeUnknown,
        "Invalid request MSG=job cancel in progress 7.vm": OutcomeUnknown,
        "The phase of the moon 7.vm": OutcomeUnknown,
        "Unauthorized Request  7.vm": CancelRefused,
        "Invalid credential 7.vm": SchedulerUnavailable,
    }
    for said, kind in words.items():
        with pytest.raises(kind) as raised:
            check_cancel(dialect, ID, CommandResult(number, b"", f"qdel: {said}\n".encode()))
        assert type(raised.value) is kind


# ── anything at all ───────────────────────────────────────────────────────────────────────────────────────────────

VALUES = st.one_of(
    st.text(max_size=12),
    st.sampled_from(["Q", "F", "C", "271", "-29", "91", "92", "u", "n1/0*4", "Sun Nov 31 15:00:11 2026"]),
)
NAMES = st.sampled_from(
    ["job_state", "exit_status", "substate", "hold_types", "comment", "exec_host", "ctime", "obittime", "depend"]
)


@given(st.dictionaries(NAMES, VALUES))
def test_no_record_whatever_upsets_the_parser(record: Record) -> None:
    for dialect in (PBS, TRQ):
        found = parse_status(dialect, ID, record)
        assert found is None or (found.cause is None) == (found.state is not ENDED)


@given(st.text(max_size=80))
def test_no_text_whatever_raises_anything_but_that_it_cannot_be_read(text: str) -> None:
    for read in (read_json, read_text, read_xml):
        for pattern in ("{}", '{{\n"pbs_version":"1","Jobs":{{"1.vm":{{"job_state":{}\n}}}}}}', "<Data>{}</Data>"):
            with suppress(ValueError):
                read(pattern.format(text))


JUDGES = (
    (parse_submit, "qsub"),
    (check_answer, "qstat"),
    (parse_selection, "qselect"),
    (lambda dialect, answer: check_cancel(dialect, ID, answer), "qdel"),
)
ACCEPTED = {(of, name): reply(row) for _, name in JUDGES for of, row in recorded(name, accepted=True)}


@given(st.integers(0, 255), st.binary(max_size=40), st.binary(max_size=40))
def test_no_result_whatever_raises_anything_but_our_own_errors(code: int, stdout: bytes, stderr: bytes) -> None:
    for of, dialect in DIALECTS.items():
        for judge, command in JUDGES:
            judge(dialect, ACCEPTED[of, command])
            with suppress(FxschedError):
                judge(dialect, CommandResult(code, stdout, stderr))
