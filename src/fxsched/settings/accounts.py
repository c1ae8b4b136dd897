"""Whose sessions these are, and which account they get on the far side. Pure.

A *login* is how FastX calls the user; an *account* is as whom commands run on a cluster. They are the same unless the
administrator says otherwise, and an account that is nobody's own is never taken by itself: it is configured, or the
launch is refused.
"""

from __future__ import annotations

import re
from typing import Final

from msgspec import Struct

from fxsched.errors import ConfigurationError, InvalidRequest

REQUEST: Final = "request"
"""In place of an account: the login itself."""
OTHERS: Final = "*"
"""In a mapping: every login that it does not name."""

Login = str | dict[str, str]
"""``"request"``, the account of all, or a mapping from login to account or ``"request"``."""

# No option, no path, no "#0", which sudo takes for a user's number; a domain (DOMAIN\\ada, ada@domain) may be there.
_ACCOUNT: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@+\\-]{0,254}\$?")


class Person(Struct, frozen=True, kw_only=True):
    """The user whom a launch, or an operator's command, is for."""

    login: str
    own: bool = True
    """Whether this is the user whose process we are. Otherwise we act for somebody else."""
    account: str | None = None
    """The account, where it is known already: as it is of those that a state directory names."""


def account_of(person: Person, login: Login | None, where: str) -> str | None:
    """Return the account of a person on a cluster with the setting ``login``; None: as whom we come anyway.

    Args:
        person: whose.
        login: the setting; None: it is not set.
        where: the cluster's name in messages.

    Raises:
        InvalidRequest: there is none for this person.
        ConfigurationError: the setting names what can be no account.
    """
    if person.account is not None:
        return check_account(person.account)
    if login is None and person.own:
        return None
    if isinstance(login, dict):
        found = login.get(person.login, login.get(OTHERS))
        if found is None:
            raise InvalidRequest(f"{person.login} has no account on {where}: {where}.login does not name them")
    else:
        found = login or REQUEST
    account = check_account(person.login if found == REQUEST else found)
    if account == "root" and not person.own:
        raise InvalidRequest(f"{person.login} would get root's account on {where}, and that is never given")
    return account


def check_account(name: str) -> str:
    """Return ``name`` if it can be an account's.

    Raises:
        InvalidRequest: it cannot.
    """
    if not _ACCOUNT.fullmatch(name) or ".." in name:
        raise InvalidRequest(f"{name!r} cannot be the name of an account")
    return name


def check_login(login: Login | None, where: str) -> None:
    """Raise ``ConfigurationError`` unless every account that the setting names can be one."""
    named = login.values() if isinstance(login, dict) else [login] if login else []
    for name in named:
        if not _ACCOUNT.fullmatch(name) or ".." in name:
            raise ConfigurationError(f"{where}.login: {name!r} cannot be the name of an account")
