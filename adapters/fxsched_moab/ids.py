"""The ids of a job: Moab's, its resource manager's, and ours, which leads to both. Pure."""

from __future__ import annotations

import re
from typing import Final

from fxsched.jobs import JobId, Token

MOAB_ID: Final = r"(?:[A-Za-z][\w-]*\.)?\d+(?:\.[A-Za-z][\w.-]*)?"  # 4217, Moab.4217, 4217.server
_OUR_ID: Final = re.compile(rf"({MOAB_ID}):([a-z2-7]{{20}})", re.ASCII)


def job_id(moab_id: str, token: Token) -> JobId:
    """Return the id that we give to a job of Moab's: Moab's own, a colon, the session's token.

    Moab has one id for a job and its resource manager another, and Moab alone knows which belong together, until it
    forgets the job, or renames it. The token is in the name that both keep: with it, each can be asked at any time.
    """
    return JobId(f"{moab_id}:{token}")


def split_id(id: JobId) -> tuple[str, Token | None]:
    """Return Moab's id and the token; an id of the resource manager's own has no token."""
    found = _OUR_ID.fullmatch(id)
    return (found[1], Token(found[2])) if found else (id, None)


def number(id: str) -> str:
    """Return the number of a resource manager's id: ``123`` of ``123.server``. Others stay as they are."""
    return re.sub(r"^(\d+)\..*", r"\1", id)
