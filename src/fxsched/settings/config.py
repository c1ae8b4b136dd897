"""What can be configured, as typed settings, and what they lead to: clusters to open, a place for their records."""

from __future__ import annotations

import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from msgspec import Struct, field

from fxsched.cluster.opening import open_cluster
from fxsched.cluster.timing import Timing
from fxsched.errors import ConfigurationError, LedgerError, nearest
from fxsched.hosts.opening import LOCAL, Become, HostSettings, Transport, has_user
from fxsched.jobs import SessionWait
from fxsched.settings.accounts import REQUEST, Login, Person, account_of, check_account

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractAsyncContextManager

    from fxsched.cluster.cluster import Cluster

USERS: Final = "users"
"""Where we act for others, the folder of their state directories in ours."""

Inherit = Literal["fastx", "none", "all"] | list[str]
"""Which of the launcher's variables a job gets: FastX's and the locale, none, all, or those named."""


class ClusterSettings(Struct, frozen=True, kw_only=True):
    """``[clusters.NAME]``."""

    adapter: str = "local"
    host: str = LOCAL
    """``"local"``, this machine, or ``ssh://[user@]host[:port]``."""
    hosts: list[str] = field(default_factory=list)
    """In place of ``host``: several login nodes, of which one is used; or, with the adapter ``ssh``, a pool."""
    transport: Transport = "asyncssh"
    channels: int = 8
    connect_timeout: float = 15.0
    ssh_config: str | None = None
    become: Become | None = None
    """How to become the request's user on a host that is reached as somebody else."""
    login: Login | None = None
    """As whom: ``"request"``, one account for all, or a mapping. None: with ``become``, the request's login; without,
    as whom the host is reached, which is the user whose process we are, unless their own configuration says more."""
    inherit: Inherit | None = None
    """None: all for the embedded local adapter on this machine, as this user; ``"fastx"`` for everything else."""
    poll_interval: float = 10.0
    """Seconds: how old an answer about a job may be before the scheduler is asked again."""
    launch_timeout: float = 60.0
    """Seconds for a submission, from the first step to a settled outcome, even if no command ever returns."""
    options: dict[str, Any] = field(default_factory=dict)
    """The adapter's own."""

    @property
    def addresses(self) -> tuple[str, ...]:
        """Where the cluster's hosts are."""
        return tuple(self.hosts) or (self.host,)

    @property
    def acts_for_others(self) -> bool:
        """Whether commands run as the request's user, when we are somebody else."""
        return self.become is not None or (self.login is not None and LOCAL not in self.addresses)

    def reached_as(self, account: str | None) -> HostSettings:
        """Return how the cluster's hosts are reached on behalf of an account."""
        return HostSettings(
            hosts=self.addresses,
            transport=self.transport,
            channels=self.channels,
            connect_timeout=self.connect_timeout,
            ssh_config=self.ssh_config,
            become=self.become,
            account=account,
        )


class FieldSettings(Struct, frozen=True, kw_only=True):
    """``[profiles.NAME.fields.X]``: which start parameter feeds X, and what it may be."""

    param: str
    type: Literal["integer", "size", "duration", "text"] | None = None
    """None: as X itself demands."""
    unit: str = ""
    """What a bare number counts, as in "G" or "h"."""
    default: str | int | None = None
    min: str | int | None = None
    max: str | int | None = None
    choices: list[str | int] = field(default_factory=list)


class ProfileSettings(Struct, frozen=True, kw_only=True):
    """``[profiles.NAME]``: how a session is asked for. What is not set is left to the scheduler."""

    cluster: str | None = None
    """None: the only cluster there is."""
    queue: str | None = None
    account: str | None = None
    qos: str | None = None
    reservation: str | None = None
    constraint: str | None = None
    exclusive: bool = False
    nodes: int = 1
    cores: int = 1
    memory: str | None = None
    """On each node, with its unit."""
    gpus: int = 0
    walltime: str | None = None
    requeue: bool = False
    """Whether the scheduler may start the session anew by itself, after its node failed: FastX sees a second one."""
    native: list[str] = field(default_factory=list)
    start_script: str | None = None
    """In place of the one that FastX's request leads to; may hold ``$FX_ROOT_DIR``."""
    start_args: list[str] = field(default_factory=lambda: ["--json=0", "--cli"])
    wait_for_session: SessionWait = SessionWait.FOREGROUND
    wait_for_start: float = 10.0
    """Seconds that the user waits to be told that the session has started; 0: not at all."""
    environment: dict[str, str] = field(default_factory=dict)
    template: str | None = None
    """A Jinja2 job-script body."""
    submit_line: str | None = None
    """A FastX 3 template, as it stands, for the scheduler's options in it."""
    fields: dict[str, FieldSettings] = field(default_factory=dict)


class When(Struct, frozen=True, kw_only=True):
    """``[[rules]] when``: all that is given must match; of a list, one is enough. Logins and groups are patterns."""

    login: str | list[str] | None = None
    group: str | list[str] | None = None
    params: dict[str, str | list[str]] = field(default_factory=dict)


class Rule(Struct, frozen=True, kw_only=True):
    """``[[rules]]``: the first that matches decides the profile."""

    profile: str
    when: When = When()


class Config(Struct, frozen=True, kw_only=True):
    """The whole configuration. Without a file: one cluster, ``local``, and one profile, ``default``."""

    clusters: dict[str, ClusterSettings] = field(default_factory=lambda: {"local": ClusterSettings()})
    profiles: dict[str, ProfileSettings] = field(default_factory=lambda: {"default": ProfileSettings()})
    rules: tuple[Rule, ...] = ()
    path: Path | None = None

    def profile(self, name: str | None) -> tuple[str, ProfileSettings]:
        """Return the profile of that name; without one, the only profile, or the one called ``default``.

        Raises:
            ConfigurationError: there is none.
        """
        if name is None:
            name = next(iter(self.profiles)) if len(self.profiles) == 1 else "default"
        if name not in self.profiles:
            raise self._wrong(f"there is no profile {name!r}{nearest(name, self.profiles)}")
        return name, self.profiles[name]

    def cluster(self, name: str | None) -> tuple[str, ClusterSettings]:
        """Return the cluster of that name; without one, the only cluster.

        Raises:
            ConfigurationError: there is none, or there are several to choose from.
        """
        if name is None:
            if len(self.clusters) > 1:
                raise self._wrong(f"say which cluster: {', '.join(self.clusters)}")
            name = next(iter(self.clusters))
        if name not in self.clusters:
            raise self._wrong(f"there is no cluster {name!r}{nearest(name, self.clusters)}")
        return name, self.clusters[name]

    @contextmanager
    def located(self, place: str) -> Iterator[None]:
        """Let what is found to be wrong in a section only when it is used say where that stands."""
        try:
            yield
        except ConfigurationError as error:
            if error.origin:
                raise
            raise self._wrong(error.what if place in error.what else f"{place}: {error.what}") from error

    def open(self, name: str, person: Person | None = None) -> AbstractAsyncContextManager[Cluster]:
        """Open one of the clusters, for the length of an ``async with`` block; see ``open_cluster``.

        Args:
            name: which.
            person: whose sessions it is about; None: those of the user whose process this is.

        Raises:
            InvalidRequest: the person has no account there.
        """
        settings = self.clusters[name]
        person = person or myself()
        account = _account(name, settings, person)
        come_as_they_are = person.own and account == person.login and not any(map(has_user, settings.addresses))
        return open_cluster(
            name,
            state=self.state(name, person),
            adapter=settings.adapter,
            host=settings.reached_as(None if settings.become and come_as_they_are else account),
            options=settings.options,
            timing=Timing(launch=settings.launch_timeout, poll_interval=settings.poll_interval),
        )

    def state(self, name: str, person: Person | None = None) -> Path:
        """Return the state directory of a person's sessions on a cluster.

        Where we act for others, each account has one of its own, and what lies in it is about that account alone.

        Raises:
            InvalidRequest: the person has no account there.
        """
        if person is None or person.own:
            return state_directory()
        account = _account(name, self.clusters[name], person)
        return state_directory() / USERS / (account or check_account(person.login))

    def _wrong(self, text: str) -> ConfigurationError:
        error = ConfigurationError(text)
        error.origin = self.origin
        return error

    @property
    def origin(self) -> str:
        """Where the configuration came from, for messages."""
        return str(self.path) if self.path else "the built-in configuration"


def others() -> list[Person]:
    """Return everybody for whom we have acted, by their accounts."""
    try:
        return [Person(login="", own=False, account=name) for name in sorted(os.listdir(state_directory() / USERS))]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise LedgerError(f"{error.filename} cannot be read: {error.strerror}") from error


def myself() -> Person:
    """Return the user whose process this is."""
    import pwd

    try:
        return Person(login=pwd.getpwuid(os.getuid()).pw_name)
    except KeyError:
        return Person(login=os.environ.get("USER") or str(os.getuid()))


def _account(name: str, settings: ClusterSettings, person: Person) -> str | None:
    login = settings.login or (REQUEST if settings.become else None)
    return account_of(person, login, f"clusters.{name}")


def state_directory() -> Path:
    """Return the directory for the ledger and the log: ``$FXSCHED_STATE``, or ``fxsched`` in the user's state home."""
    if os.environ.get("FXSCHED_STATE"):
        return Path(os.environ["FXSCHED_STATE"])
    state_home = os.environ.get("XDG_STATE_HOME", "")
    return (Path(state_home) if state_home.startswith("/") else Path.home() / ".local" / "state") / "fxsched"
