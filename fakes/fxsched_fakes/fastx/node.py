"""A simulated FastX node: it keeps pending and started sessions, runs launchers, and listens for weblinks."""

import secrets
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import anyio
from anyio.abc import SocketAttribute, SocketStream

from fxsched_fakes.fastx import launching
from fxsched_fakes.fastx.installation import Installation
from fxsched_fakes.fastx.request import environment, request_json
from fxsched_fakes.fastx.sessions import LaunchResult, Session, SessionState
from fxsched_fakes.fastx.weblink import BadGreetingError, Connection, Refusal, Report, report_of

SESSION_ID = "sessionId"
"""The member of `start` by which a session is known; launchers know nothing of it and hand it on."""


class FastXNode:
    """A FastX node below one directory. Use it as `async with FastXNode(directory) as node:`.

    `home` is the home directory of the user who asks for sessions; by default, the one of whoever runs the node.
    When the block is left, the sessions that are still connected end.
    """

    def __init__(self, directory: Path, *, home: Path | None = None) -> None:
        self.installation = Installation(directory.resolve())
        self.home = home or Path.home()
        self.primary = secrets.token_urlsafe(24)
        self.uri = "/weblink"
        self.url = ""
        self.refusals: list[Refusal] = []
        self._sessions: dict[str, Session] = {}
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        self.installation.create()
        self.home.mkdir(parents=True, exist_ok=True)
        async with AsyncExitStack() as stack:
            listener = await stack.enter_async_context(await anyio.create_tcp_listener(local_host="127.0.0.1"))
            self.url = f"http://127.0.0.1:{listener.extra(SocketAttribute.local_port)}"
            self.installation.announce(self.url, self.uri, self.primary)
            tasks = await stack.enter_async_context(anyio.create_task_group())
            stack.callback(tasks.cancel_scope.cancel)
            stack.push_async_callback(self._end_sessions)
            tasks.start_soon(listener.serve, self._serve)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        if isinstance(value, anyio.get_cancelled_exc_class()):
            return await self._stack.__aexit__(kind, value, trace)
        # Anything else goes on as it is: the task group would wrap it in an ExceptionGroup.
        await self._stack.aclose()
        return None

    @property
    def sessions(self) -> tuple[Session, ...]:
        """All sessions so far, in the order in which they appeared."""
        return tuple(self._sessions.values())

    async def launch(
        self,
        start: Mapping[str, Any],
        launcher: Sequence[str],
        *,
        weblink: bool = True,
        env: Mapping[str, Any] | None = None,
        request: Mapping[str, Any] | None = None,
        raw_stdin: bytes | None = None,
        timeout: float = 60,
    ) -> LaunchResult:
        """Ask for a session: register it as pending, and run the launcher as FastX runs it.

        `env` and `request` change variables of the launcher's environment and members of its request; ABSENT removes
        one. `raw_stdin` takes the place of the whole request. HOME and `homedir` change together unless both are given.
        Raises TimeoutError if the launcher, or anybody who holds its output open, is there after `timeout` seconds.
        """
        session_id = secrets.token_hex(8)
        session = self._register(session_id, {**start, SESSION_ID: session_id})
        variables = environment(self.installation, self.home, env or {})
        stdin = request_json(
            self.installation,
            variables.get("HOME", str(self.home)),
            session.start,
            {"url": self.url, "uri": self.uri, "primary": self.primary} if weblink else None,
            request or {},
        )
        try:
            with anyio.fail_after(timeout):
                exit_code, stdout, stderr = await launching.run(
                    launcher,
                    stdin=stdin if raw_stdin is None else raw_stdin,
                    environment=variables,
                    cwd=self.installation.var,
                )
        except BaseException as error:
            session.launched(None)
            if isinstance(error, TimeoutError):
                raise TimeoutError(
                    f"{launcher[0]} had not exited, or not closed its output, after {timeout} s"
                ) from None
            raise
        result = LaunchResult(exit_code, stdout, stderr, session)
        session.launched(result)
        return result

    async def started(self, session: Session, timeout: float = 30) -> Report:
        """Wait until the session has connected back and its command runs. Raises TimeoutError."""
        with anyio.move_on_after(timeout):
            await session.connected.wait()
        if session.report is None:
            raise TimeoutError(f"{session} has not connected after {timeout} s; {self._news(session)}")
        return session.report

    async def ended(self, session: Session, timeout: float = 30) -> int | None:
        """Wait until a session that had connected has ended; its exit code if it told. Raises TimeoutError."""
        with anyio.move_on_after(timeout):
            await session.ended.wait()
        if not session.ended.is_set():
            raise TimeoutError(f"{session} has not ended after {timeout} s; {self._news(session)}")
        return session.exit_code

    async def terminate(self, session: Session) -> None:
        """End a session; `ended` waits for it. One that is pending is only forgotten, and FastX 4 tells nobody."""
        if session.connection is not None:
            await session.connection.terminate()
        elif not session.is_over:
            session.state = SessionState.REMOVED

    def _register(self, session_id: str, start: Mapping[str, Any]) -> Session:
        session = self._sessions[session_id] = Session(session_id, start)
        return session

    async def _serve(self, stream: SocketStream) -> None:
        async with stream:
            connection = Connection(stream)
            try:
                greeting = await connection.greeting()
            except BadGreetingError:
                await self._refuse(connection, "not a start script's greeting", {})
                return
            if (reason := self._objection(greeting)) is not None:
                await self._refuse(connection, reason, greeting)
                return
            session = self._known(greeting) or self._stray(greeting)
            session.connection = connection
            report = report_of(greeting)
            await connection.accept(session.id, report.host, f":{10 + len(self._sessions)}")
            if await connection.started():
                session.connect(report)
            session.end(await connection.end())

    async def _refuse(self, connection: Connection, reason: str, greeting: Mapping[str, Any]) -> None:
        self.refusals.append(Refusal(reason, greeting))
        await connection.refuse(reason)

    def _objection(self, greeting: Mapping[str, Any]) -> str | None:
        if greeting["primary"] != self.primary:
            return "wrong WEBLINK_PRIMARY"
        if greeting["uri"] != self.uri:
            return f"nothing at {greeting['uri']}"
        known = self._known(greeting)
        if known is not None and known.connection is not None:
            return f"session {known.id} has connected before"
        return None

    def _known(self, greeting: Mapping[str, Any]) -> Session | None:
        return self._sessions.get(str(greeting["start"].get(SESSION_ID)))

    def _stray(self, greeting: Mapping[str, Any]) -> Session:
        """An entry for a session that nobody had asked this node for."""
        session = self._register(secrets.token_hex(8), greeting["start"])
        session.state = SessionState.REMOVED
        return session

    async def _end_sessions(self) -> None:
        with anyio.move_on_after(10, shield=True):
            for session in self.sessions:
                if session.connection is not None and not session.is_over:
                    await self.terminate(session)
                    await session.ended.wait()

    def _news(self, session: Session) -> str:
        """What else is known, for whoever waited in vain."""
        launch = session.launch
        output = (
            "its launcher has not exited" if launch is None else f"its launcher said {launch.stdout + launch.stderr!r}"
        )
        return f"{output}; refused: {[refusal.reason for refusal in self.refusals]}; sessions: {self.sessions}"
