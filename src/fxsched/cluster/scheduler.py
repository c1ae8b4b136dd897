"""An adapter as the core uses it: no answer is believed that the contract rules out, and none is waited for for long.

An adapter may be anybody's, and a defect of it must neither end a session nor make a second one. So whatever it answers
or raises is checked here, in one place, and doubt is what comes of a breach: ``OutcomeUnknown`` where it may have done
something, ``SchedulerUnavailable`` where it was only asked. The message names the adapter.
"""

from __future__ import annotations

import math
import re
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

import anyio
from msgspec.structs import replace

from fxsched.adapter import Adapter
from fxsched.errors import (
    FxschedError,
    HostError,
    HostUnreachable,
    OutcomeUnknown,
    PartlyUnavailable,
    SchedulerUnavailable,
)
from fxsched.jobs import JobId, JobState, JobStatus

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from fxsched.hosts import Host
    from fxsched.jobs import JobSpec, Token

PATIENCE: Final = 300.0
"""Seconds that a call of an adapter may take, whatever deadlines it has itself."""
_SIGNALS: Final = 64
_ODD: Final = re.compile(r"[\x00-\x20\x7f-\x9f]")


class Scheduler:
    """Guards an adapter. The verbs are the adapter's; they raise what its contract says and nothing else."""

    def __init__(self, adapter: Adapter, *, patience: float = PATIENCE) -> None:
        self.adapter = adapter
        self._patience = patience
        self._who = f"the adapter {type(adapter).__module__}.{type(adapter).__qualname__}"

    @property
    def name(self) -> str:
        """What people call the scheduler."""
        return self.adapter.name

    @property
    def lag(self) -> float:
        """See ``Adapter.lag``; 0 where that is no number of seconds."""
        return _seconds(self.adapter.lag)

    @property
    def end_lag(self) -> float:
        """See ``Adapter.end_lag``; 0 where that is no number of seconds."""
        return _seconds(self.adapter.end_lag)

    @property
    def job_id_variable(self) -> str:
        """See ``Adapter.job_id_variable``."""
        return self.adapter.job_id_variable

    @property
    def has_parts(self) -> bool:
        """Whether there are parts that fail one by one."""
        return type(self.adapter).part is not Adapter.part

    def part(self, id: JobId) -> str:
        """See ``Adapter.part``."""
        try:
            return self.adapter.part(id)
        except FxschedError:
            raise
        except Exception:
            return ""  # of an id that it cannot place, its status will tell

    def is_same(self, id: JobId, reported: JobId) -> bool:
        """See ``Adapter.is_same``."""
        try:
            return self.adapter.is_same(id, reported)
        except Exception:
            return id == reported

    def can(self, ability: object) -> bool:
        """Whether the adapter declares an ability."""
        return ability in self.adapter.abilities

    # ── what changes something ────────────────────────────────────────────────────────────────────────────────────

    async def submit(self, spec: JobSpec) -> JobId:
        """See ``Adapter.submit``. How long it may take is the caller's to say."""
        with self._acting("the submit"):
            id: object = await self.adapter.submit(spec)
        if not _is_id(id):
            raise OutcomeUnknown(f"{self._who} returned {id!r} from a submit, which is no job's id")
        return JobId(str(id))

    async def cancel(self, id: JobId, token: Token | None) -> None:
        """See ``Adapter.cancel``."""
        with self._acting("the cancel"), anyio.fail_after(self._patience):
            await self.adapter.cancel(id, token)

    async def kill(self, id: JobId, token: Token | None) -> None:
        """See ``Adapter.kill``."""
        with self._acting("the cancel"), anyio.fail_after(self._patience):
            await self.adapter.kill(id, token)

    @contextmanager
    def _acting(self, what: str) -> Iterator[None]:
        try:
            yield
        except FxschedError:
            raise
        except TimeoutError:
            raise OutcomeUnknown(f"{self.name} did not answer {what} within {self._patience:g} s") from None
        except Exception as error:
            raise OutcomeUnknown(f"{self._who} failed in {what}: {type(error).__name__}: {error}") from error

    # ── what asks ─────────────────────────────────────────────────────────────────────────────────────────────────

    async def status(self, ids: frozenset[JobId]) -> dict[JobId, JobStatus]:
        """See ``Adapter.status``. What is wrong with one answer hides no other.

        Raises:
            PartlyUnavailable: some of the jobs have no answer, or one that cannot be; the others' are in the error.
        """
        trouble = ""
        with self._asking():
            try:
                answers: Mapping[Any, Any] = await self.adapter.status(ids)
            except PartlyUnavailable as error:
                answers, trouble = error.answers, error.what
            good = {id: checked for id in ids if (checked := _checked(id, answers.get(id))) is not None}
        if len(good) == len(ids):
            return good
        wrong = sorted(ids - good.keys())
        named = ", ".join(wrong[:5]) + (" …" if len(wrong) > 5 else "")
        trouble = trouble or f"{self._who} gave no answer, or one that cannot be, for {named}"
        if not good:
            raise SchedulerUnavailable(trouble)
        partly = PartlyUnavailable(trouble)
        partly.answers = good
        raise partly

    async def find(self, token: Token) -> tuple[JobId, ...]:
        """See ``Adapter.find``."""
        with self._asking():
            return self._ids(await self.adapter.find(token))

    async def submissions(self) -> dict[Token, tuple[JobId, ...]]:
        """See ``Adapter.submissions``."""
        with self._asking():
            return {token: self._ids(ids) for token, ids in (await self.adapter.submissions()).items()}

    def _ids(self, found: object) -> tuple[JobId, ...]:
        if not isinstance(found, tuple | list) or not all(map(_is_id, found)):
            raise SchedulerUnavailable(f"{self._who} found {found!r}, which are no jobs' ids")
        return tuple(dict.fromkeys(map(JobId, found)))

    @contextmanager
    def _asking(self) -> Iterator[None]:
        try:
            with anyio.fail_after(self._patience):
                yield
        except (HostError, OutcomeUnknown) as error:
            raise SchedulerUnavailable(f"{self.name} could not be asked: {error.what}") from error
        except FxschedError:
            raise
        except TimeoutError:
            raise SchedulerUnavailable(f"{self.name} did not answer within {self._patience:g} s") from None
        except Exception as error:
            raise SchedulerUnavailable(f"{self._who} failed: {type(error).__name__}: {error}") from error

    # ── where it is ───────────────────────────────────────────────────────────────────────────────────────────────

    async def host_for(self, token: Token) -> Host:
        """See ``Adapter.host_for``."""
        with self._placing():
            return await self.adapter.host_for(token)

    async def host_of(self, token: Token, job: JobId | None = None) -> Host:
        """See ``Adapter.host_of``."""
        with self._placing():
            return await self.adapter.host_of(token, job)

    @contextmanager
    def _placing(self) -> Iterator[None]:
        try:
            with anyio.fail_after(self._patience):
                yield
        except FxschedError:
            raise
        except TimeoutError:
            raise HostUnreachable(f"{self.name} did not say within {self._patience:g} s where to look") from None
        except Exception as error:
            raise HostUnreachable(f"{self._who} failed: {type(error).__name__}: {error}") from error


def _seconds(value: object) -> float:
    return float(value) if isinstance(value, int | float) and 0 <= value < math.inf else 0.0


def _is_id(value: object) -> bool:
    return isinstance(value, str) and value != "" and not _ODD.search(value)


def _checked(id: JobId, status: object) -> JobStatus | None:
    """Return an answer about the job if it can be one: its own, an end with a cause and nothing else with one, …

    A negative exit code is a signal, or it is nothing.
    """
    if not isinstance(status, JobStatus) or status.id != id or not isinstance(status.state, JobState):
        return None
    if not all(isinstance(text, str) for text in (status.name, status.native_state, status.reason, status.source)):
        return None
    if not (isinstance(status.exit_code, int | None) and isinstance(status.signal, int | None)):
        return None
    if not isinstance(status.nodes, tuple) or not isinstance(status.token, str | None):
        return None
    if (status.state is JobState.ENDED) != (status.cause is not None):
        return None
    for time in (status.submitted_at, status.started_at, status.ended_at, status.expected_start):
        if time is not None and (not isinstance(time, datetime) or time.tzinfo is None):
            return None
    if status.exit_code is not None and status.exit_code < 0:
        signal = status.signal or (-status.exit_code if -status.exit_code <= _SIGNALS else None)
        return replace(status, exit_code=None, signal=signal)
    return status
