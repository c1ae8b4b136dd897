"""The administrator's templates → the words of a command. Pure. No shell reads them: a value stays inside its word."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from fxsched.errors import SubmitRejected, nearest
from fxsched.kit import refuse
from fxsched.units import MIB, ceil_div

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from fxsched.jobs import JobSpec, Resources

Template = tuple[str | tuple[str, ...], ...]
"""Words with ``{placeholders}``; a list of words stands or vanishes as one."""

_PIECE: Final = re.compile(r"\{\{|\}\}|\{(?P<name>\w*)\}|[{}]", re.ASCII)
_SIZES: Final = {"bytes": 1, "kb": 1024, "mb": MIB, "gb": 1024 * MIB}
_TEXTS: Final = ("queue", "account", "qos", "reservation", "constraint")

_OF: Final[dict[str, str]] = {
    "nodes": "nodes",
    "cores": "cores",
    "cores_total": "cores",
    "gpus": "gpus",
    "gpus_total": "gpus",
    **{f"memory_{share}{unit}": "memory" for share in ("", "total_", "per_core_") for unit in _SIZES},
    **{f"walltime_{form}": "walltime" for form in ("seconds", "minutes", "hours", "hms", "hm", "dhms")},
    **{name: name for name in (*_TEXTS, "exclusive", "requeue", "native")},
    "no_requeue": "requeue",
}
"""Placeholder → what it expresses, of ``JobSpec`` or ``Resources``."""

SUBMIT: Final = frozenset(_OF) | {"name", "token", "directory", "output", "script"}
"""All that a submit command can hold."""
OPTIONAL: Final = frozenset(
    name for name, of in _OF.items() if of in ("gpus", "memory", "walltime", "exclusive", "requeue", *_TEXTS)
)
"""What is not always set, and so stands in a list of its own."""


def submit_words(template: Template, spec: JobSpec, script: str, escapes: Mapping[str, str]) -> list[str]:
    """Return the submit command for ``spec``, whose script lies in the file ``script`` if the template has one.

    Raises:
        SubmitRejected: it asks for something that the template has no place for, or a value looks like an option.
    """
    expressed = {_OF[name] for name in placeholders(template) & _OF.keys()}
    refuse(spec, *sorted(set(_OF.values()) - expressed), whose="the submit command that the configuration describes")
    values = _values(spec.resources) | {name: getattr(spec, name) for name in _TEXTS}
    values |= {
        "name": spec.job_name,
        "token": spec.token,
        "directory": spec.working_directory or "/",
        "output": _escaped(spec.output or "/dev/null", escapes),
        "script": script,
        "exclusive": "" if spec.exclusive else None,
        "requeue": "" if spec.requeue else None,
        "no_requeue": None if spec.requeue else "",
    }
    return fill(template, values, lists={"native": spec.native})


def fill(template: Template, values: Mapping[str, str | None], *, lists: Mapping[str, Sequence[str]]) -> list[str]:
    """Return the words of a checked ``template``; a word with a placeholder of ``lists`` is repeated for each value.

    Raises:
        SubmitRejected: a value that begins its word looks like an option.
    """
    words: list[str] = []
    for part in template:
        if not isinstance(part, str):
            if all(values[name] is not None for name in placeholders(part)):
                words += [_filled(word, values) for word in part]
            continue
        repeated = placeholders([part]) & lists.keys()
        if repeated:
            [name] = repeated
            words += [_filled(part, {**values, name: value}, free=name == "native") for value in lists[name]]
        else:
            words.append(_filled(part, values))
    return words


def placeholders(template: Sequence[str | Sequence[str]]) -> set[str]:
    """Return the names of all placeholders in a template."""
    found: set[str] = set()
    for part in template:
        if isinstance(part, str):
            found.update(piece["name"] for piece in _PIECE.finditer(part) if piece["name"])
        else:
            found |= placeholders(part)
    return found


def check_words(
    template: Template,
    field: str,
    known: Collection[str],
    *,
    optional: Collection[str] = (),
    must: Collection[str] = (),
) -> None:
    """Check the template of a command.

    Raises:
        ValueError: it has a placeholder that is not ``known``, one that is ``optional`` outside of a list, or lacks one
            that it ``must`` have.
    """
    for part in template:
        for word in [part] if isinstance(part, str) else part:
            _check_word(word, field, known)
        used = placeholders([part])
        if isinstance(part, str):
            for name in sorted(used & set(optional)):
                raise ValueError(f"{field}: {{{name}}} is not always set: write [{part!r}], a list of its own")
        elif not used:
            raise ValueError(f"{field}: the list {list(part)!r} has no placeholder, so it need not be a list")
        elif used & {"native", "ids"}:
            raise ValueError(f"{field}: {{{min(used & {'native', 'ids'})}}} cannot stand in a list within the list")
        if "native" in used and part != "{native}":
            raise ValueError(f"{field}: {{native}} is any number of words: it must stand alone in its own")
    if template and (not isinstance(template[0], str) or placeholders(template[:1])):
        raise ValueError(f"{field} must begin with a command")
    for name in must:
        if name not in placeholders(template):
            raise ValueError(f"{field} does not say where {{{name}}} stands")


def _check_word(word: str, field: str, known: Collection[str]) -> None:
    for piece in _PIECE.finditer(word):
        if piece.group() in ("{", "}"):
            raise ValueError(f"{field}: in {word!r}, a brace that is meant as such is written twice")
        name = piece["name"]
        if name is not None and name not in known:
            raise ValueError(
                f"{field}: {{{name}}} is not known{nearest(name, known)}. There are {', '.join(sorted(known))}"
                if known
                else f"{field} has no placeholders, but {{{name}}} stands there"
            )
    if "\0" in word or not word:
        raise ValueError(f"{field}: {word!r} cannot be a word of a command")


def _filled(word: str, values: Mapping[str, str | None], *, free: bool = False) -> str:
    result = ""
    end = 0
    for piece in _PIECE.finditer(word):
        result += word[end : piece.start()]
        end = piece.end()
        if piece["name"] is None:
            result += piece.group()[0]
            continue
        value = values[piece["name"]] or ""
        if not result and value.startswith("-") and not free:
            raise SubmitRejected(f"{piece['name']} is {value!r}, which would be taken for an option")
        result += value
    return result + word[end:]


def _values(needs: Resources) -> dict[str, str | None]:
    memory, time = needs.memory, needs.walltime
    counts: dict[str, int | None] = {
        "nodes": needs.nodes,
        "cores": needs.cores,
        "cores_total": needs.nodes * needs.cores,
        "gpus": needs.gpus or None,
        "gpus_total": needs.nodes * needs.gpus or None,
    }
    for unit, size in _SIZES.items():
        counts[f"memory_{unit}"] = ceil_div(memory, size) if memory else None
        counts[f"memory_total_{unit}"] = ceil_div(memory * needs.nodes, size) if memory else None
        counts[f"memory_per_core_{unit}"] = ceil_div(memory, size * needs.cores) if memory else None
    for unit, length in (("seconds", 1), ("minutes", 60), ("hours", 3600)):
        counts[f"walltime_{unit}"] = ceil_div(time, length) if time else None
    values = {name: None if count is None else str(count) for name, count in counts.items()}
    return values | {f"walltime_{form}": _clock(time, form) if time else None for form in ("hms", "hm", "dhms")}


def _clock(seconds: int, form: str) -> str:
    if form == "hm":
        return "{:02}:{:02}".format(*divmod(ceil_div(seconds, 60), 60))
    minutes, rest = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    if form == "dhms":
        return f"{hours // 24}-{hours % 24:02}:{minutes:02}:{rest:02}"
    return f"{hours:02}:{minutes:02}:{rest:02}"


def _escaped(path: str, escapes: Mapping[str, str]) -> str:
    return "".join(escapes.get(character, character) for character in path)
