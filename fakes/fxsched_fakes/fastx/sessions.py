"""The sessions that a simulated FastX node knows about."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import anyio

from fxsched_fakes.fastx.launching import says_started
from fxsched_fakes.fastx.weblink import Connection, Report


class SessionState(StrEnum):
    PENDING = "pending"  # scheduled; has not connected back
    STARTED = "started"  # it connected back, or its launcher printed a result
    ENDED = "ended"
    REMOVED = "removed"  # its launcher failed, or it was terminated while it was pending


@dataclass(frozen=True)
class LaunchResult:
    """What became of one run of a launcher; FastX shows all its output to the user."""

    exit_code: int
    stdout: str
    stderr: str
    session: "Session"

    @property
    def says_started(self) -> bool:
        return says_started(self.stdout)


class Session:
    """A session, from the moment that somebody asked for it."""

    id: str
    start: Mapping[str, Any]
    """The start object as the launcher got it: what the caller gave, and the session's id."""
    state: SessionState
    stray: bool
    """It connected although nothing was pending: its launcher had failed, or there was none. An orphan, to users."""
    launch: LaunchResult | None
    """Its launcher's result, once that has exited."""
    report: Report | None
    """What its start script got, once that has connected."""
    exit_code: int | None
    """How it ended; None also if its connection was lost."""

    def __init__(self, session_id: str, start: Mapping[str, Any]) -> None:
        self.id = session_id
        self.start = start
        self.state = SessionState.PENDING
        self.stray = False
        self.launch = None
        self.report = None
        self.exit_code = None
        self.connection: Connection | None = None
        self.connected = anyio.Event()
        self.ended = anyio.Event()

    def __repr__(self) -> str:
        return f"<Session {self.id} {self.state}>"

    def connect(self, report: Report) -> None:
        self.stray = self.state is SessionState.REMOVED
        self.state, self.report = SessionState.STARTED, report
        self.connected.set()

    def end(self, exit_code: int | None) -> None:
        self.state, self.exit_code = SessionState.ENDED, exit_code
        self.ended.set()

    def launched(self, result: LaunchResult | None) -> None:
        """The launcher has exited, or (None) was killed: keep the session or remove it, as FastX does."""
        self.launch = result
        failed = result is None or result.exit_code != 0
        if self.state is SessionState.PENDING:
            if failed:
                self.state = SessionState.REMOVED
            elif result is not None and result.says_started:
                self.state = SessionState.STARTED
        elif self.state is SessionState.STARTED:
            self.stray = failed

    @property
    def is_over(self) -> bool:
        return self.state in (SessionState.ENDED, SessionState.REMOVED)
