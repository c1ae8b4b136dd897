"""``docker`` and ``podman``: a job is a container, and an engine runs it at once.

An engine has no queue: what it starts, it starts now, on the host where it runs. Written against Docker 20.10.24 and
Podman 4.3.1; sources are their man pages and recorded output.
"""

from __future__ import annotations

import re
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, ClassVar, Final

from msgspec.structs import replace

from fxsched.adapter import Ability, Adapter
from fxsched.errors import CancelRefused, HostError, InvalidRequest, OutcomeUnknown, SchedulerUnavailable
from fxsched.jobs import JobId, JobState, JobStatus
from fxsched_docker.options import EngineOptions
from fxsched_docker.replies import (
    CANCELLED,
    INSPECT_FORMAT,
    NAMES_FORMAT,
    Container,
    NotStarted,
    check_end,
    check_nothing_left,
    complaint_of,
    is_running,
    is_unknown,
    parse_inspect,
    parse_names,
    parse_submit,
    status_of,
)
from fxsched_docker.submission import container_name, run_words, script_path, submit_program

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from fxsched.hosts import CommandResult
    from fxsched.jobs import JobSpec, Token

_ID: Final = re.compile(r"[0-9a-f]{64}")
_OWN_ONLY: Final = 'exec "$@" "--filter=label=fxsched.user=$(id -u)"'
CHUNK: Final = 1000
"""Ids in one command line: half of what a system takes at the least."""


class EngineAdapter(Adapter):
    """A container engine through its command."""

    abilities = frozenset({Ability.LIST})

    class Options(EngineOptions, frozen=True):
        """``[clusters.NAME.options]``."""

    options: Options

    engine: ClassVar[str]
    """The engine's command."""
    _user_number = ""

    async def submit(self, spec: JobSpec) -> JobId:
        """Write the script into the job's directory, and run a container on it.

        What the engine refuses it may have made all the same, without starting it; then that is removed. Its name holds
        the token: a second container for the same one is refused.
        """
        native = (*self.options.native, *spec.native)
        words = run_words(replace(spec, native=native), self.engine, self.options)
        host_words = (self.engine, self._path, script_path(spec), self.options.fastx)
        result = await self.host.run(
            ["/bin/sh", "-c", submit_program(), "fxsched", *host_words, *words],
            stdin=spec.script,
            deadline=self.options.submit_deadline,
        )
        try:
            return parse_submit(result, self.name)
        except NotStarted as failure:
            try:
                removed = await self._remove(container_name(spec))
            except (HostError, OutcomeUnknown) as error:
                raise OutcomeUnknown(f"{failure.error}. Whether it left a container is not certain: {error}") from error
            check_nothing_left(removed, failure)

    async def status(self, ids: frozenset[JobId]) -> Mapping[JobId, JobStatus]:
        """Inspect the containers. One that the engine does not know it names on its standard error."""
        found: dict[JobId, JobStatus] = {}
        wanted = sorted(ids)
        for begin in range(0, len(wanted), CHUNK):
            chunk = wanted[begin : begin + CHUNK]
            containers = await self._inspect(chunk)
            now = datetime.now(UTC)
            found |= {id: self._status(id, containers, now) for id in chunk}
        return found

    async def cancel(self, id: JobId, token: Token | None = None) -> None:
        """Stop the container: TERM, and KILL after the grace time."""
        await self._end(id, "stop", f"-t{self.options.grace}")

    async def kill(self, id: JobId, token: Token | None = None) -> None:
        """Kill the container."""
        await self._end(id, "kill", "--signal=KILL")

    async def find(self, token: Token) -> tuple[JobId, ...]:
        """Look for the user's container with the token's label.

        What the engine made and did not start, as its command was given up, nobody will ever start: it is removed, and
        then there is none.
        """
        found = (await self._own(f"--filter=label=fxsched.token={token}")).get(token, ())
        containers = await self._inspect(found) if found else {}
        return tuple([id for id in found if not await self._given_up(id, containers.get(id))])

    async def submissions(self) -> dict[Token, tuple[JobId, ...]]:
        """List the user's own containers: an engine shows everybody's."""
        return await self._own()

    def _status(self, id: JobId, containers: Mapping[JobId, Container | None], now: datetime) -> JobStatus:
        if id not in containers:
            reason = f"What {self.name} says of it cannot be read."
            return JobStatus(id=id, state=JobState.RUNNING, reason=reason, source="inspect")
        container = containers[id]
        if container is None:
            return JobStatus(id=id, state=JobState.GONE, source="inspect")
        return status_of(id, container, self.name, now)

    async def _inspect(self, ids: Iterable[JobId]) -> dict[JobId, Container | None]:
        for id in ids:
            if not _ID.fullmatch(id):
                raise InvalidRequest(f"{id!r} is not a container's id")
        words = self._command("container", "inspect", f"--format={INSPECT_FORMAT}", *ids)
        return parse_inspect(ids, await self.ask(words, deadline=self.options.deadline), self.name)

    async def _own(self, *filters: str) -> dict[Token, tuple[JobId, ...]]:
        words = ["/bin/sh", "-c", _OWN_ONLY, "fxsched", *self._list(*filters)]
        return parse_names(await self.ask(words, deadline=self.options.deadline), self.name)

    async def _given_up(self, id: JobId, container: Container | None) -> bool:
        """Whether a container was never started, and now never will be: what runs meanwhile is not removed."""
        if container is None or not container.never_started:
            return False
        try:
            result = await self._remove(id)
        except (HostError, OutcomeUnknown) as error:
            raise SchedulerUnavailable(f"{self.name} could not be asked: {error}") from error
        if result.exit_code and not is_unknown(result) and not is_running(result):
            words = complaint_of(result)
            raise SchedulerUnavailable(
                f"{self.name} has a container {id} that was never started, and keeps it: {words}"
            )
        return not is_running(result)

    async def _remove(self, name: str) -> CommandResult:
        """Remove a container unless it runs."""
        return await self.host.run(self._command("rm", "--volumes", name), deadline=self.options.deadline)

    async def _user(self) -> str:
        """Return the number of the user whom commands run as."""
        if not self._user_number:
            self._user_number = (await self.ask(["id", "-u"], deadline=self.options.deadline)).text.strip()
        return self._user_number

    async def _end(self, id: JobId, *words: str) -> None:
        """End a container in whatever state, and mark it first as cancelled: afterwards only its exit code is known."""
        containers = await self._inspect([id])
        container = containers.get(id)
        if id in containers and container is None:
            return
        state = self._status(id, containers, datetime.now(UTC)).state
        if state is JobState.ENDED:
            return
        if container is not None and not container.job_name:
            raise CancelRefused(f"{self.name} has a container {id}, but it is none of fxsched's")
        if container is not None and container.user != await self._user():
            raise CancelRefused(f"{self.name} has a container {id}, but it is another user's")
        if state is JobState.QUEUED:
            await self._tell(id, "rm", "--force", "--volumes")
            return
        if container is not None and not container.cancelled:
            await self._mark(id, container)
        if state is JobState.SUSPENDED:
            await self._tell(id, "unpause")  # Podman 4.3.1 stops no paused container
        await self._tell(id, *words)

    async def _mark(self, id: JobId, container: Container) -> None:
        name = container.name.removeprefix("/")
        words = self._command("rename", id, f"{name}{CANCELLED}")
        with suppress(CancelRefused, OutcomeUnknown):  # an end whose cause is not known is better than none
            check_end(id, await self.host.run(words, deadline=self.options.deadline), self.name)

    async def _tell(self, id: JobId, *words: str) -> None:
        deadline = self.options.grace + self.options.deadline
        check_end(id, await self.host.run(self._command(*words, id), deadline=deadline), self.name)

    def _list(self, *filters: str) -> list[str]:
        return self._command("ps", "--all", "--no-trunc", f"--format={NAMES_FORMAT}", *filters)

    @property
    def _path(self) -> str:
        return self.options.commands.get(self.engine, self.engine)

    def _command(self, *words: str) -> list[str]:
        return [self._path, *words]


class DockerAdapter(EngineAdapter):
    """Docker, through the command ``docker``."""

    name = "Docker"
    engine = "docker"
    keeps = ("DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_CONFIG", "DOCKER_CERT_PATH", "DOCKER_TLS_VERIFY")


class PodmanAdapter(EngineAdapter):
    """Podman, through the command ``podman``; with or without root."""

    name = "Podman"
    engine = "podman"
    keeps = (
        *("CONTAINER_HOST", "CONTAINER_CONNECTION", "CONTAINER_SSHKEY"),
        *("CONTAINERS_CONF", "CONTAINERS_STORAGE_CONF", "XDG_RUNTIME_DIR"),
    )
