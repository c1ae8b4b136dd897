"""What qstat prints in full, in three forms → jobs as plain text, name of the attribute → its value. Pure.

A name is lower case, because OpenPBS and Torque differ in that; a member of an attribute follows it after a dot. Every
value is text, as PBS printed it: OpenPBS retypes what looks like a number, so that ``007`` comes as 7.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

Record = dict[str, str]

# OpenPBS 23.06 prints these values bare (inf, nan, +5, .5, 5.) and writes backslashes that are no escapes.
_BARE: Final = re.compile(r'^(\s*"(?:[^"\\\n]|\\.)*"\s*:\s*)([^\s"{\[][^\n]*?)(,?)[ \t]*$', re.MULTILINE)
_ESCAPE: Final = re.compile(r'\\(["\\/bfnrt]|u[0-9a-fA-F]{4})?')

_JOB: Final = re.compile(r"<Job>(.*?)</Job>", re.DOTALL)
_LEAF: Final = re.compile(r"<([A-Za-z_][\w.-]*)>([^<]*)</\1>", re.ASCII)
_DOCUMENT: Final = re.compile(r"<Data>.*</Data>", re.DOTALL)
_ENTITIES: Final = {"&lt;": "<", "&gt;": ">", "&quot;": '"', "&apos;": "'", "&amp;": "&"}
_ENTITY: Final = re.compile("|".join(_ENTITIES))

ENDED: Final = ("F", "X", "C")
"""PBS's letters for a job that has ended."""


def read_json(text: str) -> dict[str, Record]:
    """Return the jobs in what ``qstat -f -F json`` printed, which may be none; what a site prints around it is no part.

    Raises:
        ValueError: it is no whole document of qstat's, even with what OpenPBS is known to write wrongly put right.
    """
    begin = re.search(r"^\{", text, re.MULTILINE)
    if not begin:
        raise ValueError("there is no JSON in it")
    text = text[begin.start() :]
    try:
        document = _decode(text)
    except ValueError:
        document = _decode(_repaired(text))
    if not isinstance(document, dict) or "pbs_version" not in document:
        raise ValueError("it is not PBS's")
    jobs = document.get("Jobs", {})
    if not isinstance(jobs, dict):
        raise ValueError("its jobs are none")
    return {id: dict(_flat(values)) if isinstance(values, dict) else {} for id, values in jobs.items()}


def read_text(text: str) -> dict[str, Record]:
    """Return the jobs in what ``qstat -f`` printed, which must be at least one; each ends with an empty line.

    A value with line feeds in it can look like the end of its job, and even like another one. So of two that bear one
    id, the one that lives is believed, and one that tells of a state before one that does not.

    Raises:
        ValueError: there is none in it, or it is cut short.
    """
    blocks = re.split(r"^Job Id: ", text, flags=re.MULTILINE)[1:]
    if not blocks:
        raise ValueError("there is no job in it")
    if "\n\n" not in blocks[-1]:
        raise ValueError("it is no whole list")
    found: dict[str, Record] = {}
    for block in blocks:
        id, _, rest = block.partition("\n")
        record: Record = {}
        for line in rest.replace("\n\t", "").split("\n"):
            name, equals, value = line.partition(" = ")
            if equals and name.startswith("    "):
                record.setdefault(name.strip().lower(), value)
        known = found.setdefault(id.strip(), record)
        if _belief(record) > _belief(known):
            found[id.strip()] = record
    return found


def _belief(record: Record) -> int:
    state = record.get("job_state", "")
    return 0 if not state else 1 if state in ENDED else 2


def read_xml(text: str) -> dict[str, Record]:
    """Return the jobs in what Torque's ``qstat -x`` printed.

    It is read by its tags alone: Torque escapes what could be one, but neither control characters nor bytes that no
    XML may hold, and one such job would make the whole list unreadable.

    Raises:
        ValueError: it is no whole document.
    """
    if not _DOCUMENT.search(text):
        raise ValueError("it is no whole document")
    found = {}
    for job in _JOB.findall(text):
        record = {name.lower(): _ENTITY.sub(lambda entity: _ENTITIES[entity[0]], value) for name, value in _leaves(job)}
        if "job_id" in record:
            found[record["job_id"]] = record
    return found


def _leaves(job: str) -> Iterator[tuple[str, str]]:
    """Yield the elements without elements in them; a resource's name may occur in several attributes."""
    for found in _LEAF.finditer(job):
        yield found[1], found[2]


def _decode(text: str) -> Any:
    decoder = json.JSONDecoder(strict=False, parse_int=str, parse_float=str, parse_constant=str)
    try:
        return decoder.raw_decode(text)[0]
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _repaired(text: str) -> str:
    text = _ESCAPE.sub(lambda found: found[0] if found[1] else r"\\", text)
    return _BARE.sub(lambda found: f"{found[1]}{json.dumps(found[2])}{found[3]}", text)


def _flat(attributes: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, value in attributes.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name.lower()}.")
        else:
            yield f"{prefix}{name.lower()}", str(value)
