"""FastX's JSON request → a typed ``Request``, or one clear error. ``start`` is kept as the very bytes that came.

Source: StarNet's pages "Job Scheduling" and "Advanced Configuration: Weblinks" (FastX 4). Members that fxsched does not
know are passed over: what FastX sends tomorrow is not ours to refuse.
"""

from __future__ import annotations

from typing import Any, Final, TypeVar

import msgspec
from msgspec import Raw, Struct, field

from fxsched.errors import InvalidRequest

LIMIT: Final = 1024 * 1024
"""Bytes of a request. FastX's are about one thousandth of that."""

T = TypeVar("T")


class StartObject(Struct, frozen=True, kw_only=True):
    """What the user sent, as far as fxsched looks into it. Params are input to validate, never text for a shell."""

    command: str = ""
    geometry: str = ""
    name: str = ""
    params: dict[str, Any] = field(default_factory=dict)


class Weblink(Struct, frozen=True, kw_only=True):
    """How a session outside the FastX cluster connects back. ``primary`` is a bearer secret."""

    url: str = ""
    uri: str = "/weblink"
    primary: str = ""

    def __repr__(self) -> str:
        return f"Weblink(url={self.url!r}, uri={self.uri!r}, primary='***')"


class Request(Struct, frozen=True, kw_only=True):
    """One request of FastX."""

    login: str
    uid: int
    gid: int | None = None
    homedir: str = ""
    shell: str = ""
    root_dir: str = ""
    config_dir: str = ""
    default_start_script: str = ""
    start: StartObject
    start_json: bytes
    """``start`` as it came, byte for byte."""
    weblink: Weblink | None = None


# FastX's name → (ours, type). What is not marked as required may be missing.
_MEMBERS: Final[dict[str, tuple[str, Any]]] = {
    "login": ("login", str),
    "uid": ("uid", int),
    "gid": ("gid", int),
    "homedir": ("homedir", str),
    "shell": ("shell", str),
    "rootDir": ("root_dir", str),
    "configDir": ("config_dir", str),
    "defaultStartScript": ("default_start_script", str),
    "start": ("start", StartObject),
    "weblink": ("weblink", Weblink),
}
_REQUIRED: Final = ("login", "uid", "start")


def parse_request(data: bytes) -> Request:
    """Read what FastX wrote to the launcher's standard input.

    Raises:
        InvalidRequest: it is no request; the text says what is wrong and where.
    """
    if len(data) > LIMIT:
        raise InvalidRequest(f"FastX's request is larger than {LIMIT} bytes; nothing of it was used")
    if not data.strip():
        raise InvalidRequest("FastX's request is empty: the launcher expects a JSON object on standard input")
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InvalidRequest(f"FastX's request is not UTF-8: byte {error.start} is 0x{data[error.start]:02x}") from None
    members = _decode(data, dict[str, Raw], "FastX's request")
    for name in _REQUIRED:
        if name not in members:
            raise InvalidRequest(f"FastX's request has no member {name!r}")
    values: dict[str, Any] = {"start_json": bytes(members["start"])}
    for name, (own, kind) in _MEMBERS.items():
        if name in members:
            values[own] = _decode(bytes(members[name]), kind, f"the member {name!r} of FastX's request")
    request = Request(**values)
    if request.uid < 0:
        raise InvalidRequest(f"the member 'uid' of FastX's request is {request.uid}, which is no user's")
    if not request.login:
        raise InvalidRequest("the member 'login' of FastX's request is empty")
    return request


def _decode(data: bytes, kind: type[T], what: str) -> T:
    try:
        return msgspec.json.decode(data, type=kind)
    except msgspec.ValidationError as error:
        problem, _, place = str(error).partition(" - at `$")
        where = f" at {place.strip('.`')!r}" if place else ""
        raise InvalidRequest(f"{what} is wrong{where}: {problem[0].lower()}{problem[1:]}") from None
    except (msgspec.DecodeError, RecursionError) as error:
        raise InvalidRequest(f"{what} is not JSON: {error}") from None
