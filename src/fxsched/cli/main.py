"""The command ``fxsched`` itself: its groups, its options in common, and how errors leave it."""

from __future__ import annotations

import sys
from contextlib import suppress
from io import TextIOWrapper
from typing import TYPE_CHECKING

import click

from fxsched import __version__
from fxsched.cli.answers import exit_code
from fxsched.cli.jobs import cancel, status, submit
from fxsched.cli.reconcile import reconcile
from fxsched.errors import FxschedError
from fxsched.programs import leave

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import NoReturn


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="fxsched")
def cli() -> None:
    """Start, watch and end sessions on any cluster.

    Exit status: 0 done, 1 refused or failed, 2 wrong usage, 3 no such job, 75 could not be asked (try again later); of
    several jobs, the worst: 1, else 75, else 3.
    """


@cli.command(add_help_option=False, context_settings={"ignore_unknown_options": True})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def launch(arguments: tuple[str, ...]) -> None:
    """Be FastX's launcher: read its JSON request on standard input (the same as fxsched-launch)."""
    from fxsched.fastx.launcher import main as launcher

    sys.exit(launcher(arguments))


cli.add_command(submit)
cli.add_command(status)
cli.add_command(cancel)
cli.add_command(reconcile)


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Run the command line; errors of ours become one line on standard error and an exit status."""
    leave(_run(argv))


def _run(argv: Sequence[str] | None) -> int:
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a letter that the locale has not is no reason to fail
    try:
        cli.main(args=list(argv) if argv is not None else None, prog_name="fxsched")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 0
    except FxschedError as error:
        _complain(str(error))
        return exit_code(error)
    except OSError as error:  # of a pipe that nobody reads any more, click makes a quiet end
        _complain(str(error))
        return 1


def _complain(text: str) -> None:
    with suppress(OSError):
        click.echo(f"fxsched: {text}", err=True)
