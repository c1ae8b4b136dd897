"""What adapters' translations have in common. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from fxsched.errors import SubmitRejected
from fxsched.jobs import JobId, Resources, Token

if TYPE_CHECKING:
    from collections.abc import Iterable

    from fxsched.hosts import CommandResult
    from fxsched.jobs import JobSpec

_TOKEN_AT_END: Final = re.compile(r"\.([a-z2-7]{20})$")


def token_of(name: str) -> Token | None:
    """Return the token at the end of a job's name (``JobSpec.job_name``); None if it is no job of ours."""
    found = _TOKEN_AT_END.search(name)
    return Token(found[1]) if found else None


def by_token(jobs: Iterable[tuple[str, str]]) -> dict[Token, tuple[JobId, ...]]:
    """Return the ids of our jobs among pairs of id and name, by token; the shortest and lowest id first."""
    found: dict[Token, tuple[JobId, ...]] = {}
    for id, name in jobs:
        token = token_of(name)
        if token:
            found[token] = (*found.get(token, ()), JobId(id))
    return {token: tuple(sorted(ids, key=lambda id: (len(id), id))) for token, ids in found.items()}


def quoted(result: CommandResult) -> str:
    """Return what a command complained of, on one line, without its own prefixes (``sbatch: error: ``)."""
    lines = [re.sub(r"^\w+: (?:error: |fatal: )?", "", line.strip()) for line in result.complaint.splitlines()]
    return " ".join(line for line in lines if line) or f"exit code {result.exit_code}"


def refuse(spec: JobSpec, *fields: str, whose: str) -> None:
    """Refuse a spec that asks for something in ``fields``, of ``JobSpec`` or ``Resources``, rather than drop it.

    Args:
        spec: what is asked for.
        fields: what cannot be granted.
        whose: who cannot, as the message has it: "a host without a scheduler".

    Raises:
        SubmitRejected: it asks for one of them.
    """
    plain = Resources()
    asked = [name for name in fields if name in plain.__struct_fields__ and _asks(spec.resources, plain, name)]
    asked += [name for name in fields if name not in plain.__struct_fields__ and getattr(spec, name)]
    if asked:
        raise SubmitRejected(
            f"{whose} cannot grant {', '.join(asked)}: remove it from the profile, or name a cluster that can"
        )


def _asks(needs: Resources, plain: Resources, name: str) -> bool:
    return bool(getattr(needs, name) != getattr(plain, name))
