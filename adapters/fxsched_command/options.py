"""``[clusters.NAME.options]`` of a scheduler that the administrator describes, checked as a whole when it is read.

Whatever is wrong with a description should be said before the first session is asked for, not by the first that fails.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from msgspec import field

from fxsched.adapter import Adapter
from fxsched.errors import nearest
from fxsched.jobs import EndCause, JobState
from fxsched_command.submission import OPTIONAL, SUBMIT, Template, check_words, placeholders

if TYPE_CHECKING:
    from collections.abc import Iterable

GROUPS: Final = frozenset(
    {"id", "state", "name", "token", "owner", "reason", "exit_code", "signal", "nodes"}
    | {"submitted", "started", "ended", "expected"}
)
"""What the named groups of a row may be called."""
STATES: Final = frozenset(word.value for word in (*JobState, *EndCause)) - {"gone", "unknown"}
"""What a scheduler's words can stand for: a state, or the cause of an end."""


class Options(Adapter.Options, frozen=True, kw_only=True):
    """How a scheduler is spoken to, and what its answers mean. Regular expressions are Python's, for whole lines."""

    name: str = ""
    """The scheduler's name for people."""

    # ── submit ──
    submit: Template
    """The words of the submit command; a list within is left out where a value in it is not set."""
    id: str
    """The line that tells the id: one group, or the group ``id``."""
    rejected: tuple[str, ...] = ()
    """Anywhere in what a submit that failed printed: it was refused, and nothing exists."""
    unavailable: tuple[str, ...] = ()
    """Anywhere in what a command that failed printed: it certainly did nothing, but later it may."""
    doubtful: tuple[str, ...] = ()
    """Likewise: it may have done its work, whatever ``rejected`` and ``unavailable`` make of the rest of its words."""
    not_native: tuple[str, ...] = ()
    """Whole words that must not stand in ``native``: options that name the job, or make several of it."""
    output_escapes: dict[str, str] = field(default_factory=dict)
    """Characters that the scheduler reads as a pattern in the output's name, and how to write them."""

    # ── status ──
    status: Template = ()
    """The command that lists jobs: those of ``{ids}``, or, where that does not occur, all of the user's."""
    separator: str = ""
    """What stands between several ids in one word; empty: the word with ``{ids}`` is repeated for each."""
    row: str = ""
    """The line of one job, with the named groups of :data:`GROUPS`; ``id`` and ``state`` must be there."""
    complete: str = ""
    """A line that only a whole list has, at best its last."""
    empty: tuple[str, ...] = ()
    """Lines that say that the list has no rows."""
    gone: tuple[str, ...] = ()
    """Lines that say that the job ``id`` (a named group), or without that group the only one asked for, is unknown."""
    states: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Ours → the scheduler's words. A word that is not here is a live state."""
    held_reasons: tuple[str, ...] = ()
    """Reasons with which a queued job is held."""
    reasons: dict[str, str] = field(default_factory=dict)
    """The scheduler's reasons → sentences for the person who waits. One that is not here is quoted."""
    time_format: str = ""
    """The times, as Python's ``strptime`` has it; empty: ISO 8601, or seconds since 1970."""
    zone: str = "UTC"
    """The time zone of the times. The commands are told so with TZ."""

    # ── find, cancel ──
    find: Template = ()
    """The command that lists jobs with their names; none: ``status``, where that lists all."""
    find_row: str = ""
    """The line of one job, with the named groups ``id`` and ``name``; none: ``row``."""
    find_complete: str = ""
    """A line that only a whole list has; none: ``complete``."""
    cancel: Template = ()
    """The command that ends the job ``{id}``."""
    already: tuple[str, ...] = ()
    """Anywhere in what a cancel printed: the job has ended, or is unknown."""
    denied: tuple[str, ...] = ()
    """Anywhere in what a cancel printed, whatever its exit code: the scheduler said no."""
    kill: Template = ()
    """The command that ends a job that a cancel did not end; none: cancel again."""

    # ── another adapter for all but the submit ──
    like: str = ""
    """The adapter that asks for, finds and cancels the jobs."""
    like_options: dict[str, object] = field(default_factory=dict)
    """Its own options."""

    # ── the job, and the surroundings ──
    job_id: str = r"[A-Za-z0-9][A-Za-z0-9._@:\[\]-]{0,127}"
    """What an id looks like."""
    job_id_variable: str = ""
    """The variable that holds the job's id inside the job."""
    unset: tuple[str, ...] = ()
    """Variables that the session must not inherit from its job."""
    reserved: tuple[str, ...] = ()
    """Prefixes of the variables that the scheduler sets in a job."""
    environment: dict[str, str] = field(default_factory=dict)
    """Variables that the commands need. They run in a clean environment."""
    commands: dict[str, str] = field(default_factory=dict)
    """Paths of commands that are not on PATH."""
    deadline: float = 30.0
    """Seconds that a command may take."""
    submit_deadline: float = 60.0
    """Seconds that a submit may take."""
    lag: float | None = None
    """Seconds for which a job that was just submitted may be missing in the lists."""
    end_lag: float | None = None
    """Seconds after a job's end until the list can tell its cause."""

    def __post_init__(self) -> None:
        """Check everything, as msgspec demands with ``ValueError``."""
        check_words(self.submit, "submit", SUBMIT, optional=OPTIONAL)
        if not placeholders(self.submit) & {"name", "token"}:
            raise ValueError("submit must give the job a name, {name} or {token}: find looks for it")
        _check_group(self.id)
        for name in ("rejected", "unavailable", "doubtful", "not_native", "already", "denied", "empty", "gone"):
            for pattern in getattr(self, name):
                _check_telling(pattern, name)
        _check_telling(self.job_id, "job_id")
        for variable in (*self.unset, *filter(None, [self.job_id_variable]), *self.reserved):
            if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", variable):
                raise ValueError(f"{variable!r} cannot be the name of a variable, or begin one")
        if self.like:
            described = ("status", "row", "complete", "find", "find_row", "find_complete", "cancel", "kill", "states")
            for name in filter(lambda name: getattr(self, name), described):
                raise ValueError(f"{name} is never used: with like = {self.like!r}, that adapter does it")
            if self.like == "command":
                raise ValueError("like must name another adapter")
            return
        if self.like_options:
            raise ValueError("like_options are never used without like")
        self._check_status()
        self._check_find()
        _require(self.cancel, "cancel")
        check_words(self.cancel, "cancel", {"id"}, must={"id"})
        check_words(self.kill, "kill", {"id"}, must={"id"} if self.kill else set())

    def _check_status(self) -> None:
        _require(self.status, "status")
        check_words(self.status, "status", {"ids"})
        _require(self.complete, "complete")
        _check_telling(self.complete, "complete")
        _require(self.row, "row")
        _check_row(self.row, "row", {"id", "state"})
        words: set[str] = set()
        for state, own in self.states.items():
            if state not in STATES:
                raise ValueError(f"states.{state} is no state{nearest(state, STATES)}")
            for word in words.intersection(own):
                raise ValueError(f"the word {word!r} stands for two states")
            words.update(own)
        _check_zone(self.zone)

    def _check_find(self) -> None:
        if not self.find and "ids" in placeholders(self.status):
            raise ValueError("find is missing: status, which asks by {ids}, cannot look for a name")
        check_words(self.find, "find", {"token"})
        field, row = ("find_row", self.find_row) if self.find_row else ("row", self.row)
        _check_row(row, field, {"id"} if "(?P<token>" in row else {"id", "name"})
        if self.find_complete:
            _check_telling(self.find_complete, "find_complete")


def _require(value: object, field: str) -> None:
    if not value:
        raise ValueError(f"{field} is missing")


def _compile(pattern: str, field: str) -> re.Pattern[str]:
    try:
        return re.compile(pattern)
    except re.error as error:
        raise ValueError(f"{field} is no regular expression: {error}: {pattern!r}") from None


def _check_telling(pattern: str, field: str) -> None:
    if _compile(pattern, field).search(""):
        raise ValueError(f"{field} has {pattern!r}, which nothing at all matches already, so it proves nothing")


def _check_group(pattern: str) -> None:
    compiled = _compile(pattern, "id")
    if "id" not in compiled.groupindex and compiled.groups != 1:
        raise ValueError(f"id needs exactly one group, ( … ), or the group (?P<id> … ), not {compiled.groups}")


def _check_row(pattern: str, field: str, needed: Iterable[str]) -> None:
    groups = _compile(pattern, field).groupindex
    for group in groups:
        if group not in GROUPS:
            raise ValueError(f"{field} has a group {group!r} that means nothing{nearest(group, GROUPS)}")
    for group in sorted(needed):
        if group not in groups:
            raise ValueError(f"{field} has no group (?P<{group}> … )")


def _check_zone(zone: str) -> None:
    if zone == "UTC":
        return
    from zoneinfo import ZoneInfo

    try:
        ZoneInfo(zone)
    except (OSError, ValueError, LookupError):  # ZoneInfoNotFoundError is a KeyError
        raise ValueError(f"zone {zone!r} is not known here: write it as in 'Europe/Berlin'") from None
