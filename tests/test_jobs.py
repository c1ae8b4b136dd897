"""What is submitted and what is known of it."""

from __future__ import annotations

import copy
import json
import pickle
import re
import traceback
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fxsched.errors import InvalidRequest
from fxsched.jobs import JobSpec, Resources, Secret, Token, new_token, safe_label

TOKEN = Token("abcdefghij2345672345")


def with_option(field: str, value: str) -> JobSpec:
    option: dict[str, Any] = {field: value}
    return JobSpec(token=TOKEN, **option)


OPTIONS = ["working_directory", "output", "queue", "account", "qos", "reservation", "constraint"]


def test_a_token_is_new_every_time_and_fit_for_a_spec() -> None:
    tokens = {new_token() for _ in range(100)}
    assert len(tokens) == 100
    assert all(JobSpec(token=token).token == token for token in tokens)


@pytest.mark.parametrize("token", ["", "short", TOKEN.upper(), TOKEN + "a", TOKEN + "\n", "../" + TOKEN[3:]])
def test_a_token_of_another_form_is_refused(token: str) -> None:
    with pytest.raises(InvalidRequest, match="is not a token"):
        JobSpec(token=Token(token))


@given(st.text())
def test_any_name_makes_a_label_that_every_scheduler_takes(name: str) -> None:
    assert re.fullmatch(r"[A-Za-z][A-Za-z0-9_.+-]{0,39}", safe_label(name))


@pytest.mark.parametrize("name", ["1" * 50, "a" * 50, "é" * 50])
def test_a_label_has_at_most_40_characters(name: str) -> None:
    assert len(safe_label(name)) <= 40


def test_a_plain_name_stays_as_it_is() -> None:
    assert safe_label("my_session-1.2+x") == "my_session-1.2+x"


@given(st.text())
def test_a_job_name_is_one_safe_word_that_ends_with_the_token(name: str) -> None:
    job_name = JobSpec(token=TOKEN, name=name).job_name
    assert re.fullmatch(r"[A-Za-z0-9_.+-]+", job_name)
    assert job_name.endswith(f".{TOKEN}")


@pytest.mark.parametrize("field", OPTIONS)
@pytest.mark.parametrize("character", ["\n", "\r", "\0", "\t", "\x1b", "\x7f", "\x85", "\u2028"])
def test_a_control_character_in_an_option_is_refused(field: str, character: str) -> None:
    with pytest.raises(InvalidRequest, match=f"{field} holds a control character"):
        with_option(field, f"a{character}b")


@pytest.mark.parametrize("character", ["\n", "\0"])
def test_a_control_character_in_a_native_option_is_refused(character: str) -> None:
    with pytest.raises(InvalidRequest, match="native holds a control character"):
        JobSpec(token=TOKEN, native=("-x", f"a{character}b"))


@pytest.mark.parametrize("field", OPTIONS)
def test_an_empty_option_is_refused(field: str) -> None:
    with pytest.raises(InvalidRequest, match=f"{field} is empty"):
        with_option(field, "")


def test_an_option_that_is_no_text_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="queue holds a character that cannot be written as UTF-8"):
        JobSpec(token=TOKEN, queue="a\udc80b")


@pytest.mark.parametrize(("name", "value"), [("nodes", 0), ("cores", 0), ("memory", 0), ("gpus", -1), ("walltime", 0)])
def test_resources_have_a_least(name: str, value: int) -> None:
    with pytest.raises(InvalidRequest, match=f"{name} is {value}, but must be at least {value + 1}"):
        Resources(**{name: value})


# ── secrets ───────────────────────────────────────────────────────────────────────────────────────────────────────


HIDDEN = "hunter2-hunter2"


def test_only_reveal_gives_a_secret_out() -> None:
    secret = Secret(HIDDEN)
    spec = JobSpec(token=TOKEN, secrets={"KEY": secret})
    shown = [repr(secret), str(secret), f"{secret}", f"{secret!r}", f"{secret}", "%s" % secret, repr([secret])]  # noqa: UP031
    shown += [repr(spec), str(spec), f"{spec.secrets}"]
    assert not [text for text in shown if HIDDEN in text]
    assert secret.reveal() == HIDDEN


@pytest.mark.parametrize(
    "write",
    [pickle.dumps, copy.copy, copy.deepcopy, json.dumps, msgspec.json.encode, msgspec.to_builtins, vars],
    ids=lambda write: f"{write.__module__}.{write.__name__}",
)
def test_a_secret_is_not_serialised(write: object) -> None:
    with pytest.raises(TypeError) as caught:
        write(Secret(HIDDEN))  # type: ignore[operator]  # a function
    assert HIDDEN not in str(caught.value)


def test_a_traceback_with_the_local_variables_does_not_show_a_secret() -> None:
    def fail(secret: Secret) -> None:
        raise ValueError(secret)

    with pytest.raises(ValueError, match="Secret") as caught:
        fail(Secret(HIDDEN))
    text = "".join(traceback.TracebackException.from_exception(caught.value, capture_locals=True).format())
    assert "secret = Secret('***')" in text
    assert HIDDEN not in text.replace(f"HIDDEN = {HIDDEN!r}", "")


def test_secrets_can_be_compared() -> None:
    assert Secret("a") == Secret("a")
    assert Secret("a") != Secret("b")
    assert Secret("a") != "a"
    assert len({Secret("a"), Secret("a"), Secret("b")}) == 2
