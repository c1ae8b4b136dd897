"""``--dry-run``: what a launch would submit, told by the adapter itself, on a host that does nothing.

What an adapter asks before the submit gets no answer but success: the newest version is what it then writes for.
"""

from __future__ import annotations

from contextlib import suppress
from shlex import join
from typing import TYPE_CHECKING

from fxsched.cluster.submission import public_spec
from fxsched.fastx.reply import Reply
from fxsched.hosts import CommandResult
from fxsched.hosts.scripted import Command, ScriptedHost
from fxsched.units import format_duration, format_size

if TYPE_CHECKING:
    from fxsched.cluster.cluster import Cluster
    from fxsched.jobs import JobSpec, Token


class _Rehearsed(Exception):
    """The adapter wanted to submit."""


async def describe(cluster: Cluster, profile: str, spec: JobSpec) -> Reply:
    """Return, as text, what would be submitted. Secrets appear by name only."""

    def answer(command: Command) -> CommandResult:
        if _submits(command, spec.token):
            raise _Rehearsed
        return CommandResult(0, b"", b"")

    host = ScriptedHost(answer)
    public = public_spec(spec, f"~/.local/state/fxsched/sessions/{spec.token}", cluster.adapter)
    adapter = type(cluster.adapter)(host, cluster.adapter.options)
    with suppress(_Rehearsed):
        await adapter.submit(public)
    needs = spec.resources
    lines = [
        f"Nothing was submitted. Profile {profile!r} on cluster {cluster.name!r} would run",
        f"  session      {spec.name}",
        f"  job name     {spec.job_name}",
        f"  nodes        {needs.nodes}, each with {needs.cores} cores, "
        f"{format_size(needs.memory) if needs.memory else 'the default'} memory, {needs.gpus} GPUs",
        f"  walltime     {format_duration(needs.walltime) if needs.walltime else 'the default of the queue'}",
        f"  command      {'the template below' if spec.body else join(spec.command)}",
        f"  environment  {' '.join(sorted(spec.environment)) or 'nothing'}",
        f"  secrets      {' '.join(sorted(spec.secrets)) or 'none'}",
        *(
            f"  {'submit with' if _submits(command, spec.token) else 'ask first':<13}{join(map(_short, command.argv))}"
            for command in host.commands
        ),
    ]
    if spec.body:
        lines += ["", spec.body.rstrip()]
    return Reply("\n".join(lines))


def _submits(command: Command, token: Token) -> bool:
    """Whether a command has to do with the job: one that only asks what the scheduler can do knows no token."""
    return any(token in word for word in command.argv) or token.encode() in command.stdin


def _short(word: str) -> str:
    """Return a word of a command; of a whole program only its first line."""
    first, newline, _ = word.partition("\n")
    return f"{first} …" if newline else word
