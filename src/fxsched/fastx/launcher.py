"""``fxsched-launch``: FastX's launcher. A JSON request on standard input becomes one session, or one clear error.

People wait for this program: it imports what it uses and nothing else, and a test holds the list. Standard output is
what the user reads. Diagnostics go to ``launch.log`` in the state directory, and one line to standard error at most.
"""

from __future__ import annotations

import atexit
import gc
import logging
import os
import select
import signal
import stat
import sys
import time
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

import anyio
from anyio.lowlevel import checkpoint_if_cancelled
from msgspec import Struct
from msgspec.structs import replace

from fxsched import __version__
from fxsched.cluster.reconcile import settle_cut_off
from fxsched.errors import FxschedError, InvalidRequest
from fxsched.fastx.reply import Reply, is_ready, reply, submitted
from fxsched.fastx.request import LIMIT, parse_request
from fxsched.fastx.spec import build_spec, choose_profile, groups_of
from fxsched.hosts.opening import beside
from fxsched.jobs import new_token
from fxsched.programs import leave, until_stopped, write_line
from fxsched.records.files import make_directory
from fxsched.session.scripts import HOME
from fxsched.settings.accounts import Person
from fxsched.settings.config import state_directory
from fxsched.settings.file import find_config, load_config
from fxsched.settings.placement import inherited

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fxsched.cluster.cluster import Cluster
    from fxsched.fastx.request import Request
    from fxsched.jobs import JobSpec
    from fxsched.settings.config import ClusterSettings

INTERNAL_ERROR: Final = 70
"""Exit status for a defect of ours; sysexits.h calls it EX_SOFTWARE."""
LOG_LIMIT: Final = 1024 * 1024
"""Bytes of the log before it is put aside as launch.log.1."""

SETTLE_DEADLINE: Final = 5.0
"""Seconds that a launch spends, where there is reason to, on what earlier launches left behind."""

REQUEST_DEADLINE: Final = 30.0
"""Seconds until FastX must have written its request, and closed its end."""

_INTERRUPTED: Final = "The launch was interrupted; no session was left behind."

_log = logging.getLogger("fxsched.launch")
_all_logs = logging.getLogger("fxsched")


class _Arguments(Struct, frozen=True):
    config: Path | None = None
    profile: str | None = None
    dry_run: bool = False


class Unheard(FxschedError):
    """The answer could not be written to standard output: FastX takes the launch for a failed one."""


class Outlet:
    """Standard output, for one answer. What has been told is what counts, whatever happens afterwards."""

    told: Reply | None = None

    def tell(self, answer: Reply) -> None:
        """Write the answer down for good.

        Raises:
            Unheard: nobody can read it.
        """
        try:
            write_line(sys.stdout, answer.text)
        except OSError as error:
            raise Unheard(
                f"the answer could not be written to standard output ({error.strerror}), and nothing is left of a "
                "session that FastX does not hear of"
            ) from error
        self.told = answer
        _log.info("exit %d: %s", answer.exit_code, answer.record or answer.text)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the launcher and return its exit status: 0 only when a session was started or queued.

    Without ``argv``, it is the program itself, and ends there.
    """
    if argv is None:
        leave(main(sys.argv[1:]))
    # At its end the interpreter would look through all that was ever imported for garbage, which takes as long as a
    # submission does; what is frozen it passes over.
    atexit.register(gc.freeze)
    arguments = _parse(argv)
    log = _open_log()
    outlet = Outlet()
    try:
        stopped_by = anyio.run(_launch_or_stop, _read_request(), arguments, outlet)
        answer = outlet.told or Reply(_INTERRUPTED, 128 + (stopped_by or signal.SIGINT))
    except KeyboardInterrupt:
        answer = Reply(_INTERRUPTED, 128 + signal.SIGINT)
    except FxschedError as error:
        answer = Reply(f"The session could not be started: {error}", 1)
        _log.error("%s: %s", type(error).__name__, error)
        _complain(f"{type(error).__name__}: {error}")
    except Exception as error:
        answer = Reply(
            "The session could not be started: fxsched itself failed. Please tell your administrator.", INTERNAL_ERROR
        )
        _log.exception("internal error")
        _complain(
            f"internal error, {type(error).__name__}; see {log or 'the state directory, which cannot be written'}"
        )
    if outlet.told is None:
        with suppress(Unheard):  # the exit status tells it, too
            outlet.tell(answer)
    return (outlet.told or answer).exit_code


def _read_request() -> bytes:
    """Read FastX's request to its end, or as much as tells that it is too long.

    Raises:
        InvalidRequest: there is none, or it does not end.
    """
    if sys.stdin is None:
        raise InvalidRequest("there is no request on standard input: it is closed")
    data = b""
    end = time.monotonic() + REQUEST_DEADLINE
    try:
        while len(data) <= LIMIT:
            if not select.select([sys.stdin], [], [], max(0.0, end - time.monotonic()))[0]:
                raise InvalidRequest(f"FastX's request did not end within {REQUEST_DEADLINE:g} s")
            piece = os.read(sys.stdin.fileno(), LIMIT)
            if not piece:
                break
            data += piece
    except OSError as error:
        raise InvalidRequest(f"there is no request on standard input: {error.strerror}") from None
    return data


async def _launch_or_stop(data: bytes, arguments: _Arguments, outlet: Outlet) -> int | None:
    """Launch; a signal that asks for the end cancels a launch without an answer, which then leaves nothing behind."""

    async def work() -> None:
        await launch(data, outlet, arguments.config, arguments.profile, dry_run=arguments.dry_run)

    return await until_stopped(work, decided=lambda: outlet.told is not None)


async def launch(
    data: bytes,
    outlet: Outlet,
    config_path: Path | None = None,
    profile_name: str | None = None,
    *,
    dry_run: bool = False,
) -> None:
    """Turn one request into one session, and tell of it.

    Args:
        data: FastX's JSON.
        outlet: who is told.
        config_path: the configuration; None looks in the usual places.
        profile_name: the profile; None lets the rules decide.
        dry_run: say what would be done, and do nothing.

    Raises:
        FxschedError: nothing is left of it, or, for ``SubmitUnsettled``, the ledger knows what may have been.
    """
    request = parse_request(data)
    person = Person(login=request.login, own=request.uid == os.getuid())
    if person.own:
        os.environ.setdefault("HOME", request.homedir)
    config = load_config(find_config(config_path, request.config_dir))
    chosen = profile_name or choose_profile(request, config, lambda: groups_of(request))
    profile_name, profile = config.profile(chosen)
    cluster_name, settings = config.cluster(profile.cluster)
    if not person.own:
        _check_that_it_is_covered(request, cluster_name, settings)
    async with AsyncExitStack() as stack:
        with config.located(f"clusters.{cluster_name}"):
            cluster = await stack.enter_async_context(config.open(cluster_name, person))
        environment = inherited(settings.inherit, cluster.adapter, os.environ)
        with config.located(f"profiles.{profile_name}"):
            spec = build_spec(request, profile_name, profile, token=new_token(), environment=environment)
        if cluster.adapter.host.home is None and spec.working_directory:
            spec = replace(spec, working_directory=HOME)  # FastX tells the one on its own node
        _log.info("%s: %s, profile %s, cluster %s", spec.token, request.login, profile_name, cluster_name)
        if dry_run:
            from fxsched.fastx.dryrun import describe

            outlet.tell(await describe(cluster, profile_name, spec))
            return
        async with beside(cluster.connect):
            await _start(cluster, spec, profile.wait_for_start, outlet)
            await _settle_former_launches(cluster)


async def _start(cluster: Cluster, spec: JobSpec, seconds: float, outlet: Outlet) -> None:
    job = await cluster.submit(spec, awaited=True)
    _log.info("%s: job %s", job.token, job.id)
    try:
        if seconds <= 0:
            answer = submitted(spec.name, job)
        else:
            start = await cluster.wait_for_start(job, seconds, ready=is_ready)
            answer = reply(spec.name, job, start, spec.secrets.values())
        await checkpoint_if_cancelled()
        if answer.exit_code:  # FastX hears of no session, and so there must be none
            await cluster.withdraw(job)
        else:  # before it is told: a launcher that is killed here must not have its session cancelled
            await cluster.heard(job)
        outlet.tell(answer)
    except BaseException:
        # FastX takes a launcher that was interrupted or failed, or of which it hears nothing, for one without a
        # session, and forgets it: so must the cluster.
        await cluster.withdraw(job)
        raise


async def _settle_former_launches(cluster: Cluster) -> None:
    """Find out what became of launches of this user that were killed; where that cannot be, a later launch will."""
    with anyio.move_on_after(SETTLE_DEADLINE, shield=True), suppress(FxschedError):
        for finding in await settle_cut_off(cluster):
            _log.warning("%s: %s: %s", finding.token, finding.kind, finding.text)


def _check_that_it_is_covered(request: Request, cluster: str, settings: ClusterSettings) -> None:
    """Refuse a request of somebody else, unless the cluster's settings say how to act for them.

    Raises:
        InvalidRequest: they do not, or the request's login and user number are not one user's, or are root's.
    """
    if not settings.acts_for_others:
        raise InvalidRequest(
            f"the request is {request.login}'s (user {request.uid}), but the launcher runs as user {os.getuid()}, and "
            f'it never acts for somebody else, unless become = "sudo" or login in [clusters.{cluster}] says how. In '
            "fastx.env, remove LAUNCH_AS_CURRENT_USER=true: it makes FastX run the launcher as its service user, and "
            "without it FastX runs the launcher as the user who logged in"
        )
    if request.uid == 0 or request.login == "root":
        raise InvalidRequest("the request is root's, and the launcher never acts for root")
    import pwd

    with suppress(KeyError):
        known = pwd.getpwnam(request.login).pw_uid
        if known != request.uid:
            raise InvalidRequest(
                f"the request says that {request.login} is user {request.uid}, but here that is user {known}: FastX "
                "and this machine must agree on who somebody is"
            )


def _parse(argv: Sequence[str]) -> _Arguments:
    if not argv:
        return _Arguments()
    import argparse

    parser = argparse.ArgumentParser(
        prog="fxsched-launch", description="FastX launcher: reads FastX's JSON request on standard input."
    )
    parser.add_argument("--config", type=Path, metavar="FILE", help="the configuration file")
    parser.add_argument("--profile", metavar="NAME", help="the profile, whatever the rules say")
    parser.add_argument("--dry-run", action="store_true", help="say what would be submitted, and submit nothing")
    parser.add_argument("--version", action="version", version=f"fxsched {__version__}")
    found = parser.parse_args(argv)
    return _Arguments(found.config, found.profile, found.dry_run)


def _open_log() -> Path | None:
    """Send diagnostics to the log in the state directory; return None, and go on, where it cannot be written."""
    _all_logs.propagate = False
    _all_logs.setLevel(logging.INFO)
    _all_logs.addHandler(logging.NullHandler())
    logging.raiseExceptions = False  # a full disk is no reason to write tracebacks where FastX may read
    try:
        path = state_directory() / "launch.log"
        make_directory(path.parent)
        if path.exists() and path.stat().st_size > LOG_LIMIT:
            path.replace(path.with_suffix(".log.1"))
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        stream = os.fdopen(os.open(path, flags, 0o600), "a", encoding="utf-8", errors="backslashreplace")
        if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
            stream.close()
            return None
    except (OSError, RuntimeError):
        return None
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logging.Formatter("%(asctime)s %(process)d %(levelname)s %(message)s"))
    _all_logs.addHandler(handler)
    return path


def _complain(text: str) -> None:
    with suppress(OSError):
        write_line(sys.stderr, f"fxsched-launch: {' '.join(text.split())}")
