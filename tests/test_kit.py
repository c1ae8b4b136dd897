"""What adapters' translations have in common."""

from __future__ import annotations

import pytest

from fxsched.errors import FxschedError, OutcomeUnknown, SchedulerUnavailable, SubmitRejected
from fxsched.hosts import CommandResult
from fxsched.jobs import JobId
from fxsched.kit import complaint_of, not_cancelled, short_options, submitted

ID = JobId("7")
BROKEN = b"/usr/bin/sub: error while loading shared libraries: libx.so: cannot open shared object file\n"


def judged(result: CommandResult, *, refused: bool = True) -> JobId:
    words = complaint_of(result)
    return submitted(
        None, result, who="X", command="sub", words=words, unreached=False, doubtful=False, refused=refused
    )


@pytest.mark.parametrize(
    ("result", "refused", "kind"),
    [
        (CommandResult(1, b"", b"no such queue\n"), True, SubmitRejected),
        (CommandResult(1, b"", b"the moon is full\n"), False, OutcomeUnknown),
        (CommandResult(1, b"", b"warning: no such queue\nYour job 7 has been submitted\n"), True, OutcomeUnknown),
        (CommandResult(1, b"Your job 7 has been submitted\n", b"no such queue\n"), True, OutcomeUnknown),
        (CommandResult(127, b"", BROKEN), True, SchedulerUnavailable),
        (CommandResult(137, b"", b""), True, OutcomeUnknown),
    ],
)
def test_what_a_failed_submit_was(result: CommandResult, refused: bool, kind: type[FxschedError]) -> None:
    with pytest.raises(kind) as raised:
        judged(result, refused=refused)

    assert type(raised.value) is kind


def test_a_submit_that_printed_no_id_is_told_with_all_that_it_said() -> None:
    with pytest.raises(OutcomeUnknown, match=r"'the disk is full Welcome'"):
        judged(CommandResult(0, b"Welcome\n", b"the disk is full\n"))


def test_a_cancel_by_a_program_that_cannot_run_cancelled_nothing() -> None:
    words = complaint_of(CommandResult(127, b"", BROKEN))

    for doubtful in (True, False):
        error = not_cancelled(ID, who="X", words=words, unreached=False, doubtful=doubtful)
        assert isinstance(error, SchedulerUnavailable)


@pytest.mark.parametrize(
    ("words", "options"),
    [
        (("-N", "x"), [("N", "x")]),
        (("-hNx",), [("h", ""), ("N", "x")]),
        (("-hN", "-x"), [("h", ""), ("N", "-x")]),
        (("-N",), [("N", "")]),
        (("run.sh", "-h"), [("", "run.sh"), ("h", "")]),
        (("--xml", "-?q", "x"), [("--xml", ""), ("?", ""), ("q", "x")]),
        (("--", "-N"), [("--", ""), ("N", "")]),
        (("-",), [("", "-")]),
    ],
)
def test_options_are_read_as_getopt_reads_them(words: tuple[str, ...], options: list[tuple[str, str]]) -> None:
    assert list(short_options(words, "hN:q:")) == options
