"""The tree of errors is the one that is drawn."""

from __future__ import annotations

import re

import pytest

from fxsched import errors
from fxsched.errors import FxschedError, HostKeyRejected, PartlyUnavailable, SchedulerUnavailable, nearest


def drawn() -> dict[str, str]:
    """Return each error in the module's drawing with the one that it hangs under."""
    parents: dict[str, str] = {}
    path: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        found = re.fullmatch(r" {4}([│├└─ ]*)([A-Z]\w+)(?:  .*)?", line)
        if found:
            depth = len(found[1]) // 4
            path[depth:] = [found[2]]
            parents[found[2]] = path[depth - 1] if depth else ""
    return parents


def existing() -> dict[str, str]:
    """Return each error of the module with its base class."""
    found = {
        name: kind for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, Exception)
    }
    return {name: "" if kind is FxschedError else kind.__mro__[1].__name__ for name, kind in found.items()}


def test_the_drawn_tree_is_the_tree_that_exists() -> None:
    assert drawn() == existing()
    assert len(drawn()) > 10


def kinds() -> list[type[FxschedError]]:
    return [getattr(errors, name) for name in existing()]


@pytest.mark.parametrize("kind", kinds())
def test_an_error_tells_what_happened_and_once_it_has_left_its_cluster_whose_it_is_and_what_to_do(
    kind: type[FxschedError],
) -> None:
    error = kind("no route to n1")
    assert (str(error), error.what) == ("no route to n1", "no route to n1")
    error.cluster = "hpc"
    assert (str(error), error.what) == (f"cluster 'hpc': no route to n1. {kind.advice}", "no route to n1")
    assert re.fullmatch(r"[A-Z].*[^.\s]", kind.advice)


@pytest.mark.parametrize("text", ["it is down", "it is down."])
def test_one_full_stop_stands_between_what_happened_and_what_to_do(text: str) -> None:
    error = HostKeyRejected(text)
    error.cluster = "hpc"
    assert str(error) == "cluster 'hpc': it is down. Show this to the cluster's administrator"


def test_an_error_of_no_words_or_of_many_is_told_as_any_exception_is() -> None:
    assert (str(SchedulerUnavailable()), str(SchedulerUnavailable("a", 2))) == ("", "('a', 2)")


def test_the_advice_of_one_error_is_not_another_s() -> None:
    first, second = SchedulerUnavailable("a"), SchedulerUnavailable("b")
    first.cluster, first.advice = "hpc", "Wait"
    second.cluster = "hpc"
    assert str(first) == "cluster 'hpc': a. Wait"
    assert str(second).endswith(SchedulerUnavailable.advice)


def test_an_error_that_is_made_in_its_own_way_is_told_like_any_other() -> None:
    class OddError(SchedulerUnavailable):
        def __init__(self, code: int, *, daemon: str) -> None:
            super().__init__(f"{daemon} said {code}")
            self.code = code

    error = OddError(13, daemon="odd")
    error.cluster = "hpc"
    assert str(error) == f"cluster 'hpc': odd said 13. {SchedulerUnavailable.advice}"
    assert (error.code, error.what) == (13, "odd said 13")


def test_an_error_about_some_jobs_only_keeps_its_answers_to_itself() -> None:
    error = PartlyUnavailable("no route to n1")
    error.answers = {"1": "running"}
    assert (error.answers, PartlyUnavailable("no route to n2").answers) == ({"1": "running"}, {})


def test_a_mistyped_word_gets_the_nearest_known_one() -> None:
    assert nearest("walltim", ["walltime", "queue"]) == "; did you mean 'walltime'?"


def test_a_word_like_no_other_gets_all_that_are_known() -> None:
    assert nearest("xyz", ["walltime", "queue"]) == " (known: queue, walltime)"
    assert nearest("xyz", []) == " (known: none)"
