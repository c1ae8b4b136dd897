"""The engines' replies, as they were recorded, become ids, statuses and errors."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from datetime import UTC, datetime, timedelta
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
from fxsched.jobs import EndCause, JobId, JobState, JobStatus, Token
from fxsched_docker.replies import (
    Container,
    NotStarted,
    check_end,
    check_nothing_left,
    parse_inspect,
    parse_names,
    parse_submit,
    status_of,
)

from ..captures import Captures, result

RECORDED = Captures("container")
ENGINES = {"D": "Docker", "E": "Docker", "P": "Podman"}
"""D: docker 20.10.24; E: the client 28.2.2 of the same daemon; P: podman 4.3.1."""
ID = JobId("a" * 64)
NOW = datetime(2026, 11, 22, 20, 0, tzinfo=UTC)


def recorded(verb: str) -> list[dict[str, Any]]:
    """Return the recorded commands of a verb, of all engines."""
    rows = [row for letter in ENGINES for row in RECORDED.rows(f"{letter}-")]
    return [row for row in rows if re.match(rf"\w+ (container )?{verb}\b", row["cmd"])]


def named(name: str) -> list[dict[str, Any]]:
    """Return the rows of that name, of all engines that have it."""
    return [row for letter in ENGINES for row in RECORDED.rows(f"{letter}-") if row["name"] == f"{letter}-{name}"]


def engine(row: dict[str, Any]) -> str:
    return ENGINES[row["name"][0]]


def inspected(*rows: str, stderr: str = "", rc: int = 0) -> CommandResult:
    return CommandResult(rc, "".join(f"{row}\n" for row in rows).encode(), stderr.encode())


def row_of(id: str = ID, status: str = "running", code: int = 0, *, name: str = "x", **members: Any) -> str:
    """Return a row as ``inspect --format=INSPECT_FORMAT`` prints it."""
    state = {
        "Status": status,
        "ExitCode": code,
        "OOMKilled": members.pop("oom", False),
        "Error": members.pop("error", ""),
        "StartedAt": members.pop("started", "2026-11-22T19:00:00.123456789Z"),
        "FinishedAt": members.pop("finished", "0001-01-01T00:00:00Z"),
    }
    created = members.pop("created", "2026-11-22T19:59:00Z")
    return f"{id} {json.dumps({'created': created, 'name': name, 'labels': members, 'state': state})}"


def status(row: str) -> JobStatus:
    container = parse_inspect([ID], inspected(row), "Docker")[ID]
    assert isinstance(container, Container)
    return status_of(ID, container, "Docker", NOW)


def submitted(answer: CommandResult, name: str) -> JobId:
    """What becomes of a submit, where a failed one has left nothing."""
    try:
        return parse_submit(answer, name)
    except NotStarted as failure:
        gone = (
            "Error: No such container: x\n"
            if name == "Docker"
            else 'Error: no container with name "x": no such container\n'
        )
        check_nothing_left(CommandResult(1, b"", gone.encode()), failure)


# ── run ───────────────────────────────────────────────────────────────────────────────────────────────────────────

RUNS = recorded("run")
UNKNOWN = ("run-same-name", "close-run")
UNAVAILABLE = ("down-run", "closed-run", "denied-run", "html-run", "500-run")


@pytest.mark.parametrize("row", [row for row in RUNS if row["rc"] == 0], ids=lambda row: row["name"])
def test_an_accepted_job_s_id_is_read(row: dict[str, Any]) -> None:
    assert parse_submit(result(row), engine(row)) == row["stdout"].strip()


@pytest.mark.parametrize("row", [row for row in RUNS if row["rc"] != 0], ids=lambda row: row["name"])
def test_a_failed_submit_is_a_refusal_in_the_engine_s_words_unless_it_could_not_be_reached(row: dict[str, Any]) -> None:
    name = row["name"][2:]
    kind: type[FxschedError] = SubmitRejected
    if "connect to Podman" in row["stderr"] or (name in UNAVAILABLE and not name.startswith(("500", "html"))):
        kind = SchedulerUnavailable
    elif name in UNKNOWN:
        kind = OutcomeUnknown

    with pytest.raises(kind) as raised:
        submitted(result(row), engine(row))

    assert type(raised.value) is kind
    assert "\n" not in str(raised.value)
    assert "--help" not in str(raised.value)


def test_the_reason_of_a_refusal_is_quoted() -> None:
    said = []
    for row in named("run-no-image"):
        with pytest.raises(SubmitRejected) as raised:
            submitted(result(row), engine(row))
        said.append(str(raised.value))

    assert said == [
        "Docker refused the job: Error response from daemon: No such image: nosuch:1.",
        "Docker refused the job: Error response from daemon: No such image: nosuch:1",
        "Podman refused the job: nosuch:1: image not known",
    ]


def test_a_daemon_that_the_client_29_cannot_reach_was_asked_for_nothing() -> None:
    where = "unix:///var/run/docker.sock"
    words = (
        f"failed to connect to the docker API at {where}; check if the path is correct and if the daemon is running: "
        "dial unix /var/run/docker.sock: connect: no such file or directory\n"
    )
    run = CommandResult(125, b"", f"docker: {words}\nRun 'docker run --help' for more information\n".encode())

    with pytest.raises(SchedulerUnavailable, match="No job was submitted"):
        parse_submit(run, "Docker")
    with pytest.raises(SchedulerUnavailable, match="Nothing was cancelled"):
        check_end(ID, CommandResult(1, b"", words.encode()), "Docker")
    with pytest.raises(OutcomeUnknown):
        parse_submit(CommandResult(125, f"{ID}\n".encode(), run.stderr), "Docker")


def test_a_daemon_that_goes_away_between_making_and_starting_leaves_the_outcome_open() -> None:
    down = RECORDED.row("D-down-run")

    with pytest.raises(OutcomeUnknown):
        parse_submit(CommandResult(125, f"{ID}\n".encode(), down["stderr"].encode()), "Docker")


def test_the_id_is_found_among_what_a_site_prints_around_it() -> None:
    noise = f"Welcome. 17 users\n{ID}\nMaintenance on 24 December\n".encode()

    assert parse_submit(CommandResult(0, noise, b"WARNING: no swap limit\n"), "Docker") == ID


@pytest.mark.parametrize("stdout", [b"", b"abc\n", ID.encode(), f"id {ID}\n".encode(), f"{ID[:12]}\n".encode()])
def test_a_run_that_ended_well_without_an_id_may_have_made_a_container(stdout: bytes) -> None:
    with pytest.raises(OutcomeUnknown, match="printed no container's id"):
        parse_submit(CommandResult(0, stdout, b""), "Docker")


def test_a_run_that_was_killed_may_have_made_a_container() -> None:
    with pytest.raises(OutcomeUnknown, match="killed by signal 9"):
        parse_submit(CommandResult(137, b"", b""), "Podman")


@pytest.mark.parametrize("row", recorded("rm"), ids=lambda row: row["name"])
def test_what_was_refused_is_gone_if_it_was_removed_or_never_was(row: dict[str, Any]) -> None:
    refusal = NotStarted(SubmitRejected("Docker refused the job: nothing"), final=True)
    gone = row["rc"] == 0 or "o such container" in row["stderr"]

    with pytest.raises(SubmitRejected if gone else OutcomeUnknown, match="Docker refused the job"):
        check_nothing_left(result(row), refusal)


# As the engines' sources have them; what an engine needs could not be had when the others were recorded.
_DIAL = "dial tcp: lookup registry.example.org on 127.0.0.53:53: no such host"
_GET = 'Get "https://registry.example.org/v2/": '
NOT_NOW = [
    ("Docker", f"docker: Error response from daemon: {_GET}{_DIAL}."),
    ("Docker", f"docker: Error response from daemon: {_GET}context deadline exceeded (Client.Timeout exceeded)."),
    ("Docker", f"docker: Error response from daemon: {_GET}net/http: TLS handshake timeout."),
    ("Docker", "docker: Error response from daemon: toomanyrequests: You have reached your pull rate limit."),
    ("Docker", "docker: Error response from daemon: mkdir /var/lib/docker/x: no space left on device."),
    (
        "Podman",
        "Error: initializing source docker://registry.example.org/a:1: pinging container registry "
        f"registry.example.org: {_GET}{_DIAL}",
    ),
    ("Podman", "Error: writing blob: storing blob: write /var/tmp/x: no space left on device"),
]
NO_ENGINE = [
    ("Podman", "Error: error creating tmpdir: mkdir /run/user/1000: permission denied"),
    ("Podman", "Error: creating runtime temporary files directory: mkdir /run/user/1000: permission denied"),
    ("Podman", "Error: cannot find UID/GID for user ada: no subuid ranges found for user"),
    ("Docker", 'unable to resolve docker endpoint: context "far": context not found'),
    (
        "Docker",
        "docker: Error response from daemon: client version 1.45 is too new. Maximum supported API version is 1.41",
    ),
]


@pytest.mark.parametrize(("name", "words"), NOT_NOW)
def test_what_will_pass_is_no_refusal(name: str, words: str) -> None:
    with pytest.raises(SchedulerUnavailable, match="No job was submitted"):
        submitted(CommandResult(125, b"", f"{words}\n".encode()), name)


@pytest.mark.parametrize(
    "words",
    [
        f"docker: Error response from daemon: {_GET}unauthorized: authentication required.",
        "docker: Error response from daemon: manifest for registry.example.org/a:9 not found: manifest unknown.",
        "docker: Error response from daemon: pull access denied for a, repository does not exist.",
    ],
)
def test_what_a_registry_does_not_give_us_is_a_refusal(words: str) -> None:
    with pytest.raises(SubmitRejected):
        submitted(CommandResult(125, b"", f"{words}\n".encode()), "Docker")


@pytest.mark.parametrize(("name", "words"), NO_ENGINE)
def test_an_engine_that_cannot_begin_is_asked_for_nothing_whatever_the_verb(name: str, words: str) -> None:
    said = CommandResult(125, b"", f"{words}\n".encode())

    with pytest.raises(SchedulerUnavailable, match="No job was submitted"):
        parse_submit(said, name)
    with pytest.raises(SchedulerUnavailable, match="Nothing was cancelled"):
        check_end(ID, said, name)
    with pytest.raises(SchedulerUnavailable):
        parse_names(said, name)
    with pytest.raises(SchedulerUnavailable):
        parse_inspect([ID], said, name)


def test_a_user_without_a_runtime_directory_is_told_who_makes_it() -> None:
    with pytest.raises(SchedulerUnavailable, match="loginctl enable-linger"):
        parse_submit(CommandResult(125, b"", NO_ENGINE[0][1].encode()), "Podman")


def test_words_of_the_client_that_nobody_knows_leave_it_open_unless_something_was_removed() -> None:
    with pytest.raises(NotStarted) as raised:
        parse_submit(CommandResult(125, b"", b"docker: the moon is full.\n"), "Docker")

    with pytest.raises(OutcomeUnknown, match="the moon is full"):
        check_nothing_left(CommandResult(1, b"", b"Error: No such container: x\n"), raised.value)
    with pytest.raises(SubmitRejected, match="the moon is full"):
        check_nothing_left(CommandResult(0, b"x\n", b""), raised.value)


def test_a_run_that_ended_well_without_an_id_is_quoted_with_both_streams() -> None:
    with pytest.raises(OutcomeUnknown, match="Emulate Docker CLI using podman"):
        parse_submit(CommandResult(0, b"", b"Emulate Docker CLI using podman.\n"), "Docker")


# ── inspect ───────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("row", named("inspect-many"), ids=lambda row: row["name"])
def test_every_container_has_its_state_and_those_that_are_not_there_are_named(row: dict[str, Any]) -> None:
    ids = [JobId(word) for word in row["cmd"].split() if re.fullmatch("[0-9a-f]{64}", word)]
    assert len(ids) == 8

    found = parse_inspect(ids, result(row), engine(row))

    statuses = [status_of(id, one, engine(row), NOW) if (one := found[id]) else None for id in ids]
    states = [(one.state, one.cause, one.exit_code) if one else None for one in statuses]
    oom = EndCause.FAILED if engine(row) == "Podman" else EndCause.MEMORY  # Podman 4.3.1 did not see it
    assert states == [
        (JobState.ENDED, EndCause.COMPLETED, 0),
        None,
        (JobState.ENDED, EndCause.FAILED, 3),
        (JobState.ENDED, oom, 137),
        (JobState.SUSPENDED, None, None),
        (JobState.ENDED, EndCause.REJECTED, None),  # made some minutes before NOW, and never started
        None,
        (JobState.RUNNING, None, None),
    ]
    assert all(one.name.startswith("x.") for one in statuses if one)


@pytest.mark.parametrize("row", named("inspect-unknown"), ids=lambda row: row["name"])
def test_a_container_that_the_engine_denies_is_gone(row: dict[str, Any]) -> None:
    id = JobId("1" * 64)

    assert parse_inspect([id], result(row), engine(row)) == {id: None}


def test_a_container_that_a_podman_elsewhere_denies_is_gone() -> None:
    """Through CONTAINER_HOST, Podman puts the id in quotation marks."""
    other = JobId("b" * 64)
    denied = (
        f'error inspecting object: no such container "{other}"\nError: inspecting object: no such container "{ID}"\n'
    )

    assert parse_inspect([ID, other], inspected(rc=125, stderr=denied), "Podman") == {ID: None, other: None}


@pytest.mark.parametrize(
    "row", [row for row in recorded("inspect") if re.match(r"\w-(down|closed|close|500|html|denied)-", row["name"])],
    ids=lambda row: row["name"],
)  # fmt: skip
def test_an_engine_that_does_not_answer_denies_nothing(row: dict[str, Any]) -> None:
    with pytest.raises(SchedulerUnavailable, match="could not be asked"):
        parse_inspect([JobId("1" * 64)], result(row), engine(row))


@pytest.mark.parametrize(
    "answer",
    [
        inspected(),
        inspected("Welcome"),
        CommandResult(0, row_of().encode(), b""),  # cut off before its end
        inspected(row_of("b" * 64)),
        inspected(rc=1, stderr=f"Error: No such container: {'b' * 64}\n"),
        inspected(stderr=f"no such image: {ID}\n", rc=1),
    ],
)
def test_an_answer_that_tells_nothing_of_an_id_is_none(answer: CommandResult) -> None:
    with pytest.raises(SchedulerUnavailable):
        parse_inspect([ID], answer, "Docker")


def test_a_row_that_cannot_be_read_spoils_only_itself() -> None:
    other = JobId("b" * 64)

    found = parse_inspect([ID, other], inspected(row_of(), f'{other} {{"created":"yesterday"}}'), "Docker")

    assert found.keys() == {ID}


@pytest.mark.parametrize(
    ("word", "state"),
    [
        ("running", JobState.RUNNING),
        ("paused", JobState.SUSPENDED),
        ("restarting", JobState.RUNNING),
        ("removing", JobState.RUNNING),
        ("exited", JobState.ENDED),
        ("dead", JobState.ENDED),
        ("created", JobState.QUEUED),
        ("initialized", JobState.QUEUED),
        ("levitating", JobState.RUNNING),
        ("", JobState.RUNNING),
    ],
)
def test_an_engine_s_word_becomes_a_state_and_one_that_no_table_knows_is_alive(word: str, state: JobState) -> None:
    times = {"started": "0001-01-01T00:00:00Z"} if state is JobState.QUEUED else {}

    found = status(row_of(status=word, **times))

    assert (found.state, found.native_state) == (state, word)
    assert (found.cause is None) == (state is not JobState.ENDED)


@pytest.mark.parametrize(("seconds", "state"), [(1, JobState.RUNNING), (60, JobState.ENDED)])
def test_a_stopped_container_is_given_time_to_be_cleared_away(seconds: int, state: JobState) -> None:
    finished = (NOW - timedelta(seconds=seconds)).isoformat()

    assert status(row_of(status="stopped", finished=finished)).state is state


ENDED = {"status": "exited", "finished": "2026-11-22T19:00:10.2Z"}


@pytest.mark.parametrize(
    ("members", "cause", "signal"),
    [
        ({"code": 0}, EndCause.COMPLETED, None),
        ({"code": 3}, EndCause.FAILED, None),
        ({"code": 137}, EndCause.FAILED, 9),
        ({"code": 137, "oom": True}, EndCause.MEMORY, 9),
        ({"code": 0, "oom": True}, EndCause.COMPLETED, None),  # it was another process that had too little
        ({"code": 143, "name": "/x.cancelled"}, EndCause.CANCELLED, 15),
        ({"code": 0, "name": "x.cancelled"}, EndCause.CANCELLED, None),
        ({"code": 143, "fxsched.walltime": "10"}, EndCause.WALLTIME, 15),
        ({"code": 143, "fxsched.walltime": "11"}, EndCause.WALLTIME, 15),  # the start was noted late
        ({"code": 1, "fxsched.walltime": "10"}, EndCause.WALLTIME, None),
        ({"code": 1, "fxsched.walltime": "11"}, EndCause.FAILED, None),
        ({"code": 143, "fxsched.walltime": "12"}, EndCause.FAILED, 15),
        ({"code": 1, "fxsched.walltime": "0"}, EndCause.FAILED, None),
        ({"code": 1, "fxsched.walltime": "soon"}, EndCause.FAILED, None),
    ],
)
def test_the_cause_of_an_end(members: dict[str, Any], cause: EndCause, signal: int | None) -> None:
    found = status(row_of(**ENDED | members))

    assert (found.state, found.cause, found.signal) == (JobState.ENDED, cause, signal)


@pytest.mark.parametrize("word", ["exited", "created", "configured", "stopped", "dead"])
def test_an_end_that_nobody_saw_has_no_exit_code_and_no_cause_of_its_own(word: str) -> None:
    """After a reboot, Podman knows of a container that ran only that it started, and shows an exit code of 0."""
    found = status(row_of(status=word))
    cancelled = status(row_of(status=word, name="x.cancelled"))

    assert (found.state, found.cause, found.exit_code, found.ended_at) == (JobState.ENDED, EndCause.UNKNOWN, None, None)
    assert found.reason == "Docker did not see its end; its host may have been restarted."
    assert (cancelled.state, cancelled.cause, cancelled.exit_code) == (JobState.ENDED, EndCause.CANCELLED, None)


def test_an_end_that_was_seen_is_known_though_podman_shows_the_container_as_just_made() -> None:
    found = status(row_of(**ENDED | {"status": "created", "code": 3}))

    assert (found.state, found.cause, found.exit_code) == (JobState.ENDED, EndCause.FAILED, 3)


def test_times_are_read_to_the_microsecond_whatever_their_zone() -> None:
    found = status(row_of(status="exited", finished="2026-11-23T00:45:10.123456789+05:45"))

    assert found.started_at == datetime(2026, 11, 22, 19, 0, 0, 123457, UTC)
    assert found.ended_at == datetime(2026, 11, 22, 19, 0, 10, 123457, UTC)


def test_a_job_does_not_end_before_its_start() -> None:
    """Podman 4.3.1 noted so of ``true``."""
    [row] = [row for row in named("inspect-many") if engine(row) == "Podman"]
    first = json.loads(row["stdout"].splitlines()[0].partition(" ")[2])["state"]
    assert first["StartedAt"] > first["FinishedAt"]

    found = status(f"{ID} {row['stdout'].splitlines()[0].partition(' ')[2]}")

    assert found.started_at == found.ended_at


def test_a_container_that_could_not_be_started_says_why() -> None:
    found = status(row_of(status="created", error="exec failed", started="0001-01-01T00:00:00Z"))

    assert (found.state, found.cause, found.reason) == (JobState.ENDED, EndCause.REJECTED, "Docker says: exec failed.")
    assert (found.started_at, found.ended_at, found.exit_code) == (None, None, None)


# ── ps ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_our_containers_are_found_by_the_token_in_their_name() -> None:
    rows = f"CONTAINER ID|NAMES\n{ID}|x.{'b' * 20}\n{'b' * 64}|y.{'c' * 20}.cancelled\n{'c' * 64}|other\nrubbish\n"

    assert parse_names(CommandResult(0, rows.encode(), b""), "Docker") == {
        Token("b" * 20): (ID,),
        Token("c" * 20): (JobId("b" * 64),),
    }


@pytest.mark.parametrize("row", [*named("ps-all"), *named("ps-token"), *named("ps-none")], ids=lambda row: row["name"])
def test_every_row_of_a_recorded_list_is_read(row: dict[str, Any]) -> None:
    found = parse_names(result(row), engine(row))

    assert sorted(id for ids in found.values() for id in ids) == sorted(re.findall("[0-9a-f]{64}", row["stdout"]))


@pytest.mark.parametrize(
    "row", [row for row in recorded("ps") if row["rc"] != 0 or "--format=table" not in row["cmd"].replace("'", "")],
    ids=lambda row: row["name"],
)  # fmt: skip
def test_what_is_no_whole_list_says_of_no_job_that_it_is_not_there(row: dict[str, Any]) -> None:
    with pytest.raises(SchedulerUnavailable, match="could not be asked"):
        parse_names(result(row), engine(row))


@pytest.mark.parametrize("text", ["", "Welcome\n", "CONTAINER ID|NAMES", f"CONTAINER ID|NAMES\n{ID}|x.aaaa", "\n"])
def test_a_list_that_is_cut_off_is_none(text: str) -> None:
    with pytest.raises(SchedulerUnavailable, match="no whole list"):
        parse_names(CommandResult(0, text.encode(), b""), "Docker")


# ── the end ───────────────────────────────────────────────────────────────────────────────────────────────────────

ENDINGS = [row for verb in ("stop", "kill", "unpause", "rename", "rm") for row in recorded(verb)]
NOTHING_TO_END = ("ended", "unknown", "again", "kill", "unpause")


@pytest.mark.parametrize("row", ENDINGS, ids=lambda row: row["name"])
def test_an_end_is_true_not_needed_or_says_what_is_known(row: dict[str, Any]) -> None:
    kind: type[FxschedError] | None = None
    if "onnect to" in row["stderr"]:
        kind = SchedulerUnavailable
    elif (row["rc"] != 0 and not row["name"].endswith(NOTHING_TO_END)) or re.match(".-(close|500)-", row["name"]):
        kind = OutcomeUnknown
    if "leftovers" in row["name"] or kind is None:
        check_end(ID, result(row), engine(row))
        return

    with pytest.raises(kind) as raised:
        check_end(ID, result(row), engine(row))

    assert type(raised.value) is kind


def test_an_end_that_is_not_allowed_is_refused() -> None:
    denied = CommandResult(1, b"", b"Error response from daemon: authorization denied by plugin x: no\n")

    with pytest.raises(CancelRefused, match="authorization denied"):
        check_end(ID, denied, "Docker")


# ── anything ──────────────────────────────────────────────────────────────────────────────────────────────────────


READERS = (
    (lambda answer: parse_submit(answer, "Docker"), RECORDED.result("D-run")),
    (lambda answer: parse_inspect([ID], answer, "Docker"), inspected(row_of())),
    (lambda answer: parse_names(answer, "Docker"), RECORDED.result("D-ps-all")),
    (lambda answer: check_end(ID, answer, "Docker"), RECORDED.result("D-stop")),
)
"""Each with a result that it accepts."""


@given(st.integers(0, 255), st.binary(), st.binary())
def test_whatever_an_engine_prints_is_an_answer_or_an_error_of_ours(code: int, out: bytes, err: bytes) -> None:
    for read, accepted in READERS:
        read(accepted)
        with suppress(FxschedError, NotStarted):
            read(CommandResult(code, out, err))


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)
    )
)
def test_whatever_json_a_row_has_it_spoils_only_itself(value: Any) -> None:
    found = parse_inspect([ID], inspected(f"{ID} {json.dumps(value)}"), "Docker")

    assert found == {}
