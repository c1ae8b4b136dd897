"""fxsched.toml → settings. Strict: a word that nobody knows is an error, because it was meant to do something."""

from __future__ import annotations

import math
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from fxsched.errors import ConfigurationError, nearest
from fxsched.hosts.opening import LOCAL, check_hosts, has_user
from fxsched.programs import open_regular
from fxsched.settings.accounts import check_login
from fxsched.settings.config import ClusterSettings, Config, FieldSettings, ProfileSettings, Rule, When
from fxsched.strict import as_table, convert

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

SYSTEM_CONFIG: Final = Path("/etc/fxsched/config.toml")
"""Where the configuration is looked for last."""


def find_config(explicit: Path | None = None, config_dir: str = "") -> Path | None:
    """Return the configuration file to use, or None for the built-in configuration.

    In this order: ``explicit``, ``$FXSCHED_CONFIG``, ``fxsched.toml`` in FastX's ``config_dir``,
    ``/etc/fxsched/config.toml``. The first two must exist, and are not checked here.

    Raises:
        ConfigurationError: it cannot be found out whether there is one.
    """
    if explicit is not None:
        return explicit
    if os.environ.get("FXSCHED_CONFIG"):
        return Path(os.environ["FXSCHED_CONFIG"])
    candidates = [Path(config_dir, "fxsched.toml")] if config_dir else []
    for path in (*candidates, SYSTEM_CONFIG):
        try:
            if path.exists():
                return path
        except OSError as error:  # it may well be there: to go on without it could run anything
            raise ConfigurationError(f"{path} cannot be read: {error.strerror}") from None
    return None


def load_config(path: Path | None) -> Config:
    """Read a configuration file; None gives the built-in configuration.

    Raises:
        ConfigurationError: it cannot be read, others than its owner could have written it, or something in it is wrong.
    """
    if path is None:
        return Config()
    import tomllib

    try:
        with open_regular(path) as file:
            _refuse_if_others_can_write(path, file.fileno())
            data = tomllib.load(file)
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} is not TOML: {error}") from None
    try:
        return _config(data, path)
    except ConfigurationError as error:
        error.origin = str(path)
        raise


def _config(data: Mapping[str, object], path: Path) -> Config:
    sections = {"clusters", "profiles", "rules"}
    for key in data:
        if key not in sections:
            raise ConfigurationError(f"[{key}] is not a section{nearest(key, sections)}")
    config = Config(path=path)
    clusters = _tables(data, "clusters", lambda table, where: convert(table, ClusterSettings, where)) or config.clusters
    for name, settings in clusters.items():
        _check_cluster(name, settings)
    profiles = _tables(data, "profiles", _profile) or config.profiles
    rules = tuple(_rules(data.get("rules", [])))
    for place, cluster in ((f"profiles.{name}.cluster", p.cluster) for name, p in profiles.items()):
        if cluster is not None and cluster not in clusters:
            raise ConfigurationError(f"{place}: there is no cluster {cluster!r}{nearest(cluster, clusters)}")
        if cluster is None and len(clusters) > 1:
            raise ConfigurationError(f"{place} is missing: say which of {', '.join(clusters)}")
    for number, rule in enumerate(rules, start=1):
        if rule.profile not in profiles:
            raise ConfigurationError(
                f"rule {number}: there is no profile {rule.profile!r}{nearest(rule.profile, profiles)}"
            )
    return Config(clusters=clusters, profiles=profiles, rules=rules, path=path)


def _check_cluster(name: str, settings: ClusterSettings) -> None:
    """Raise ``ConfigurationError`` where settings of one cluster do not fit together."""
    where = f"clusters.{name}"
    for key in ("connect_timeout", "poll_interval", "launch_timeout"):
        seconds = getattr(settings, key)
        if not 0 < seconds < math.inf:
            raise ConfigurationError(f"{where}: {key} is {seconds:g}, but must be more than 0 and finite")
    if settings.hosts and settings.host != LOCAL:
        raise ConfigurationError(f"{where} has both host and hosts: write all of them into hosts")
    try:
        check_hosts(settings.reached_as(None), pool=True)  # whether it is one, the adapter says when it is used
    except ConfigurationError as error:
        raise ConfigurationError(f"{where}: {error}") from None
    check_login(settings.login, where)
    remote = LOCAL not in settings.addresses
    if settings.login is not None and not settings.become:
        if not remote:
            raise ConfigurationError(f'{where}.login: on this machine, only become = "sudo" leads to another user')
        if any(map(has_user, settings.addresses)):
            raise ConfigurationError(
                f"{where}: a user in the host's address and login say the same thing twice: keep login"
            )


def _tables(data: Mapping[str, object], section: str, read: Callable[[object, str], Any]) -> dict[str, Any]:
    tables = as_table(data.get(section, {}), section)
    return {name: read(table, f"{section}.{name}") for name, table in tables.items()}


def _profile(table: object, where: str) -> ProfileSettings:
    # The fields are checked one by one: the whole would not say which of them is wrong.
    fields = as_table(as_table(table, where).get("fields", {}), f"{where}.fields")
    for name, settings in fields.items():
        convert(settings, FieldSettings, f"{where}.fields.{name}")
    profile = convert(table, ProfileSettings, where)
    if not 0 <= profile.wait_for_start < math.inf:
        raise ConfigurationError(
            f"{where}: wait_for_start is {profile.wait_for_start:g}, but must be 0 or more, and finite"
        )
    return profile


def _rules(rules: object) -> list[Rule]:
    if not isinstance(rules, list):
        raise ConfigurationError("rules must be an array of tables: write [[rules]]")
    found = []
    for number, table in enumerate(rules, start=1):
        convert(as_table(table, f"rule {number}").get("when", {}), When, f"rule {number} when")
        found.append(convert(table, Rule, f"rule {number}"))
    return found


def _refuse_if_others_can_write(path: Path, descriptor: int) -> None:
    """Refuse what somebody else could have written, where it is used by root or was written for another.

    A user's own file is that user's business; a configuration decides what runs in other people's names.
    """
    own = os.geteuid()
    for place, status in ((path, os.fstat(descriptor)), (path.parent, path.parent.stat())):
        if own != 0 and status.st_uid == own:
            continue
        sticky = stat.S_ISDIR(status.st_mode) and status.st_mode & stat.S_ISVTX
        if status.st_uid not in (0, own):
            raise ConfigurationError(f"{place} belongs to user {status.st_uid}: chown it to root, or to user {own}")
        if status.st_mode & 0o022 and not sticky:
            raise ConfigurationError(f"{place} can be written by others: run chmod go-w {place}")
