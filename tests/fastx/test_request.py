"""FastX's JSON request: what is read, what is kept, and what is refused in which words."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fxsched.errors import InvalidRequest
from fxsched.fastx.request import LIMIT, parse_request

DOCUMENTED: dict[str, Any] = {
    "socketFile": "/var/fastx/local/socket",
    "rootDir": "/usr/lib/fastx/4",
    "varDir": "/var/fastx",
    "configDir": "/etc/fastx",
    "localDir": "/var/fastx/local",
    "tmpDir": "/tmp",
    "uid": 1001,
    "gid": 1001,
    "homedir": "/home/ada",
    "shell": "/bin/bash",
    "login": "ada",
    "defaultStartScript": "$FX_ROOT_DIR/scripts/start",
    "start": {"command": "xterm -ls", "geometry": "1024x768", "name": "my session", "params": {"cores": "4"}},
    "weblink": {"logLevel": "debug", "url": "https://head:3320", "uri": "/weblink", "primary": "TOKEN", "login": "ada"},
}

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


def test_the_documented_request_is_understood() -> None:
    request = parse_request(json.dumps(DOCUMENTED).encode())

    assert (request.login, request.uid, request.gid, request.homedir) == ("ada", 1001, 1001, "/home/ada")
    assert request.start.command == "xterm -ls"
    assert request.start.params == {"cores": "4"}
    assert request.default_start_script == "$FX_ROOT_DIR/scripts/start"
    assert request.weblink is not None
    assert (request.weblink.url, request.weblink.primary) == ("https://head:3320", "TOKEN")


def test_a_weblink_may_lack_members() -> None:
    request = parse_request(json.dumps(DOCUMENTED | {"weblink": {}}).encode())

    assert request.weblink is not None
    assert (request.weblink.url, request.weblink.uri, request.weblink.primary) == ("", "/weblink", "")


def test_members_that_nobody_knows_hinder_nothing() -> None:
    tomorrows = json.dumps(DOCUMENTED | {"tomorrow": {"a": 1}}).encode()

    assert parse_request(tomorrows) == parse_request(json.dumps(DOCUMENTED).encode())


@given(start=st.dictionaries(st.text(), JSON), indent=st.sampled_from([None, 0, 3]), ascii_only=st.booleans())
def test_start_is_kept_byte_for_byte(start: dict[str, Any], indent: int | None, ascii_only: bool) -> None:
    start = start | {"command": "x"}
    for name in ("geometry", "name", "params"):
        start.pop(name, None)
    try:
        text = json.dumps(start, indent=indent, ensure_ascii=ascii_only).encode()
    except UnicodeEncodeError:
        return  # a lone surrogate is no UTF-8, and so no request

    assert parse_request(b'{"uid": 1, "login": "ada", "start":' + text + b"}").start_json == text


def test_the_weblink_secret_is_not_in_the_request_s_text() -> None:
    assert "TOKEN" not in repr(parse_request(json.dumps(DOCUMENTED).encode()).weblink)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "is empty"),
        (b" \n", "is empty"),
        (b"start please", "is not JSON"),
        (b'{"uid": 1', "is not JSON"),
        (b'{"uid": 1} {"uid": 2}', "is not JSON"),
        (b"[1, 2]", "expected `object`"),
        (b'"text"', "expected `object`"),
        (b"null", "expected `object`"),
        (b"\xff\xfe{}", "is not UTF-8: byte 0 is 0xff"),
        (b'{"uid": 1, "login": "caf\xe9", "start": {}}', "is not UTF-8: byte 24 is 0xe9"),
        (b'{"uid": ' + b"[" * 5000, "is not JSON"),
        (b"{" + b" " * LIMIT + b"}", "larger than 1048576 bytes"),
    ],
)
def test_what_is_no_request_is_refused(data: bytes, words: str) -> None:
    with pytest.raises(InvalidRequest, match=words.replace("[", r"\[")):
        parse_request(data)


@pytest.mark.parametrize("member", ["uid", "login", "start"])
def test_a_missing_member_is_named(member: str) -> None:
    data = {name: value for name, value in DOCUMENTED.items() if name != member}

    with pytest.raises(InvalidRequest, match=f"has no member '{member}'"):
        parse_request(json.dumps(data).encode())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"uid": "1001"}, "'uid' .* expected `int`, got `str`"),
        ({"uid": 1.5}, "'uid' .* expected `int`, got `float`"),
        ({"uid": -1}, "'uid' .* is -1"),
        ({"uid": True}, "'uid' .* expected `int`, got `bool`"),
        ({"login": None}, "'login' .* expected `str`, got `null`"),
        ({"login": ""}, "'login' .* is empty"),
        ({"start": "xterm"}, "'start' .* expected `object`, got `str`"),
        ({"start": {"command": ["xterm"]}}, "'start' .* at 'command': expected `str`, got `array`"),
        ({"start": {"params": "cores=4"}}, "'start' .* at 'params': expected `object`, got `str`"),
        ({"homedir": 5}, "'homedir' .* expected `str`, got `int`"),
        ({"weblink": "https://head"}, "'weblink' .* expected `object`, got `str`"),
        ({"weblink": {"primary": 7}}, "'weblink' .* at 'primary': expected `str`, got `int`"),
    ],
)
def test_a_mistyped_member_is_named(change: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidRequest, match=words):
        parse_request(json.dumps(DOCUMENTED | change).encode())


@given(data=st.binary(max_size=200))
def test_any_bytes_give_a_request_or_a_clear_error(data: bytes) -> None:
    with pytest.raises(InvalidRequest):
        parse_request(data)
