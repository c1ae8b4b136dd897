"""``command``: jobs in a scheduler that fxsched has never heard of, described in the configuration.

Commands are lists of words with placeholders, replies are read with regular expressions. What the description leaves
open is decided on the safe side: a submit or cancel that failed in unknown words may have worked, an unknown state is
alive, and only a whole list says that a job is not there.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from fxsched.adapter import Ability, Adapter
from fxsched.errors import CommandNotFound, InvalidRequest, SchedulerUnavailable, SubmitRejected
from fxsched.jobs import JobId
from fxsched.kit import by_token
from fxsched.registry import load_adapter
from fxsched.strict import convert_options
from fxsched_command import options as description
from fxsched_command.replies import check_cancel, parse_names, parse_status, parse_submit
from fxsched_command.submission import Template, fill, placeholders, submit_words

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from fxsched.hosts import CommandResult, Host
    from fxsched.jobs import JobSpec, JobStatus, Token

CHUNK: Final = 1000
"""Ids in one command line: well inside the limit of 128 KiB for one word."""

# One step for the host, so that a submit is one command there too. Before it is the submit's turn, nothing exists.
_WITH_FILE: Final = r"""
file=$1
shift
command -v "$1" >/dev/null || { printf 'fxsched: no such command\n' >&2; exit 127; }
(umask 077 && cat >"$file" && chmod 700 "$file") || { printf 'fxsched: not written\n' >&2; exit 73; }
exec "$@" </dev/null
"""


class CommandAdapter(Adapter):
    """A scheduler as its administrator describes it."""

    Options = description.Options
    options: description.Options

    def __init__(self, host: Host, options: description.Options) -> None:
        """Keep the host and the description."""
        super().__init__(host, options)
        self._other: Adapter | None = None
        if options.like:
            kind = load_adapter(options.like)
            settings = convert_options(options.like_options, kind.Options, "like_options")
            self._other = kind(_Surroundings(host, options.environment), settings)
        other = self._other or Adapter
        if self._other:
            self.abilities = self._other.abilities & {Ability.LIST}
        elif "token" not in placeholders(options.find):
            self.abilities = frozenset({Ability.LIST})
        self.name = options.name or (other.name if self._other else "the scheduler")
        self.job_id_variable = options.job_id_variable or other.job_id_variable
        self.unset = (*other.unset, *options.unset)
        self.reserved = (*other.reserved, *options.reserved)
        self.lag = other.lag if options.lag is None else options.lag
        self.end_lag = other.end_lag if options.end_lag is None else options.end_lag

    async def submit(self, spec: JobSpec) -> JobId:
        """Run the submit command, with the script on its standard input or in the file that it names."""
        options = self.options
        for word in spec.native:
            if any(re.fullmatch(pattern, word) for pattern in options.not_native):
                raise SubmitRejected(f"native has {word!r}, which the cluster's options.not_native forbids")
        in_file = "script" in placeholders(options.submit)
        path = f"{spec.working_directory or ''}/job.sh"
        argv = self._found(submit_words(options.submit, spec, path, options.output_escapes))
        if in_file:
            argv = ["/bin/sh", "-c", _WITH_FILE, "fxsched", path, *argv]
        result = await self.host.run(
            argv, stdin=spec.script, environment=options.environment, deadline=options.submit_deadline
        )
        if in_file:
            _check_file(result, path, argv[5])
        return parse_submit(result, options, self.name)

    async def status(self, ids: frozenset[JobId]) -> Mapping[JobId, JobStatus]:
        """Run the status command: once for all, or once for each thousand ids."""
        if self._other:
            return await self._other.status(ids)
        self._check_ids(ids)
        if not ids:
            return {}
        if "ids" not in placeholders(self.options.status):
            return await self._status(ids)
        found: dict[JobId, JobStatus] = {}
        wanted = sorted(ids)
        for begin in range(0, len(wanted), CHUNK):
            found |= await self._status(frozenset(wanted[begin : begin + CHUNK]))
        return found

    async def cancel(self, id: JobId, token: Token | None = None) -> None:
        """Run the cancel command."""
        if self._other:
            return await self._other.cancel(id, token)
        return await self._end(self.options.cancel, id)

    async def kill(self, id: JobId, token: Token | None = None) -> None:
        """Run the kill command, or the cancel command again where there is none."""
        if self._other:
            return await self._other.kill(id, token)
        return await self._end(self.options.kill or self.options.cancel, id)

    async def find(self, token: Token) -> tuple[JobId, ...]:
        """Look through the names in a whole list."""
        if self._other:
            return await self._other.find(token)
        result = await self._ask(self.options.find or self.options.status, {"token": token})
        return by_token(parse_names(result, self.options, self.name, token, await self._owner_in_rows())).get(token, ())

    def is_same(self, id: JobId, reported: JobId) -> bool:
        """Whether the job's own word for itself is the id that its scheduler goes by."""
        return self._other.is_same(id, reported) if self._other else super().is_same(id, reported)

    async def submissions(self) -> Mapping[Token, tuple[JobId, ...]]:
        """Look through the names in a whole list, where find does not ask for a single one."""
        if self._other:
            return await self._other.submissions()
        if Ability.LIST not in self.abilities:
            return await super().submissions()
        result = await self._ask(self.options.find or self.options.status, {})
        return by_token(parse_names(result, self.options, self.name, owner=await self._owner_in_rows()))

    async def _status(self, ids: frozenset[JobId]) -> dict[JobId, JobStatus]:
        separator = self.options.separator
        words = [separator.join(sorted(ids))] if separator else sorted(ids)
        owner = await self._owner_in_rows()
        answer = parse_status(await self._ask(self.options.status, {}, words), self.options, ids, self.name, owner)
        found = dict(answer.found)
        if answer.one_is_unknown:
            for id in sorted(ids - found.keys()):
                found |= await self._status(frozenset([id]))
        return found

    async def _owner_in_rows(self) -> str:
        """Return whose rows are ours; nothing where they do not say so."""
        told = "(?P<owner>" in self.options.row + self.options.find_row
        return await self.owner() if told else ""

    async def _end(self, template: Template, id: JobId) -> None:
        self._check_ids([id])
        result = await self.host.run(
            self._found(fill(template, {"id": id}, lists={})),
            environment=self.options.environment,
            deadline=self.options.deadline,
        )
        check_cancel(result, self.options, id, self.name)

    async def _ask(self, template: Template, values: Mapping[str, str], ids: Iterable[str] = ()) -> CommandResult:
        argv = self._found(fill(template, values, lists={"ids": tuple(ids)}))
        surroundings = {"TZ": self.options.zone} | self.options.environment
        return await self.ask(argv, environment=surroundings, deadline=self.options.deadline)

    def _found(self, argv: list[str]) -> list[str]:
        return [self.options.commands.get(argv[0], argv[0]), *argv[1:]]

    def _check_ids(self, ids: Iterable[JobId]) -> None:
        for id in ids:
            if not re.fullmatch(self.options.job_id, id) or id.startswith("-"):
                raise InvalidRequest(f"{id!r} is no job id of {self.name}: they look like {self.options.job_id}")


class _Surroundings:
    """A host on which every command has some more variables."""

    def __init__(self, host: Host, environment: Mapping[str, str]) -> None:
        self._host = host
        self._environment = environment
        self.label, self.home = host.label, host.home

    async def run(self, argv: Any, *, environment: Mapping[str, str] | None = None, **settings: Any) -> CommandResult:
        return await self._host.run(argv, environment={**self._environment, **(environment or {})}, **settings)


def _check_file(result: CommandResult, path: str, command: str) -> None:
    """Raise if it never came to the submit.

    Raises:
        CommandNotFound, SchedulerUnavailable: nothing was submitted.
    """
    last = result.complaint.rpartition("\n")[2]
    if (result.exit_code, last) == (127, "fxsched: no such command"):
        raise CommandNotFound(f"there is no command {command!r}; nothing was submitted")
    if (result.exit_code, last) == (73, "fxsched: not written"):
        said = result.complaint.partition("\n")[0]
        raise SchedulerUnavailable(f"the script {path} could not be written, and nothing was submitted: {said}")
