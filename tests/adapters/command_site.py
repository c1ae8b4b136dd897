"""Schedulers that nobody but the configuration knows: Slurm as the manual describes it, and one made of sh."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from fxsched.hosts import LocalHost
from fxsched.jobs import JobId
from fxsched.strict import convert
from fxsched_command.adapter import CommandAdapter
from fxsched_command.options import Options

from ..contract.site import Site
from ..contract.slurm_words import SlurmSite
from .fake_site import FakeSite
from .slurm_site import FakeSlurm

if TYPE_CHECKING:
    from collections.abc import Mapping

MANUAL = Path(__file__).parents[2] / "docs" / "adapters" / "command.md"


def blocks() -> list[str]:
    """Return the configurations in the manual."""
    return re.findall(r"^```toml\n(.*?)^```", MANUAL.read_text(), re.DOTALL | re.MULTILINE)


def examples() -> dict[str, str]:
    """Return the configurations in the manual that describe a cluster, by its name."""
    return {name: text for text in blocks() for name in tomllib.loads(text).get("clusters", {})}


def described(cluster: str) -> dict[str, Any]:
    """Return the options of a cluster in the manual."""
    options: dict[str, Any] = tomllib.loads(examples()[cluster])["clusters"][cluster]["options"]
    return options


def as_options(table: Mapping[str, object]) -> Options:
    """Return options as a configuration gives them."""
    return convert(dict(table), Options, "clusters.x.options")


class DescribedSlurm(FakeSite, SlurmSite):
    """The simulated Slurm, through the description in the manual."""

    scheduler = "slurm"
    kind = CommandAdapter
    commands = ("sbatch", "squeue", "scancel")
    verbs = FakeSlurm.verbs

    def connect(self, **options: Any) -> CommandAdapter:
        paths = {name: str(self.bin / name) for name in self.commands}
        return CommandAdapter(self.host(), as_options(described("hpc") | {"commands": paths} | options))

    def table(self) -> str:
        paths = "\n".join(f'{name} = "{self.bin / name}"' for name in self.commands)
        text = examples()["hpc"].partition("\n[clusters.hpc]\n")[2] or examples()["hpc"].partition("\n")[2]
        return text.replace("[clusters.hpc.", "[clusters.main.") + f"\n[clusters.main.options.commands]\n{paths}\n"


SPOOL = r"""#!/bin/sh
# A scheduler of a directory: each job is a directory with files that say what became of it.
spool=@SPOOL@
verb=$1
shift
case $verb in
submit)  # NAME DIRECTORY OUTPUT SCRIPT
    case $1 in refused*) echo "spool: I do not like this name" >&2; exit 9;; esac
    number=1
    until mkdir "$spool/$number" 2>/dev/null; do number=$((number + 1)); done
    printf '%s\n' "$1" >"$spool/$number/name"
    date +%s >"$spool/$number/began"
    cp "$4" "$spool/$number/script"
    chmod 700 "$spool/$number/script"
    # The job leads its own session, so that all of it can be ended together.
    SPOOL_JOB=$number setsid sh -c '
        echo $$ >"$1/leader"
        cd "$2" && "$1/script" >>"$3" 2>&1 </dev/null
        printf "%s %s\n" "$?" "$(date +%s)" >"$1/new" && mv "$1/new" "$1/ended"
    ' spool "$spool/$number" "$2" "$3" >/dev/null 2>&1 </dev/null &
    until [ -s "$spool/$number/leader" ]; do sleep 0.01; done
    echo "Welcome to the spool."
    echo "job $number accepted"
    ;;
list)
    for job in "$spool"/*; do
        [ -s "$job/leader" ] || continue
        read -r name <"$job/name"
        read -r began <"$job/began"
        state=running
        code=- ended=-
        if [ -e "$job/ended" ]; then
            state=over
            read -r code ended <"$job/ended"
        fi
        if [ -e "$job/cut" ] && { [ "$state" = over ] || ! kill -0 "$(cat "$job/leader")" 2>/dev/null; }; then
            state=cut
            read -r ended <"$job/cut"
        fi
        echo "${job##*/} $state $code $(uname -n) $began $ended $name"
    done
    echo "end of list"
    ;;
cut)  # NUMBER
    [ -d "$spool/$1" ] || { echo "spool: no job $1" >&2; exit 4; }
    [ ! -e "$spool/$1/ended" ] && [ ! -e "$spool/$1/cut" ] || { echo "spool: job $1 is over" >&2; exit 4; }
    date +%s >"$spool/$1/cut"
    kill -s TERM -- "-$(cat "$spool/$1/leader")"
    ;;
esac
"""


class Spool(Site):
    """A scheduler that none of ours resembles."""

    refusal: ClassVar[tuple[dict[str, Any], str]] = ({"name": "refused"}, "I do not like this name")

    def __init__(self, home: Path) -> None:
        self.program = home.parent / "spool"
        directory = home.parent / "jobs of the spool"
        directory.mkdir()
        self.program.write_text(SPOOL.replace("@SPOOL@", f"'{directory}'"))
        self.program.chmod(0o755)
        super().__init__(home)

    def connect(self) -> CommandAdapter:
        return CommandAdapter(LocalHost(), as_options(described("spool") | {"commands": {"spool": str(self.program)}}))

    def table(self) -> str:
        """Return the body of a ``[clusters.NAME]`` that leads here."""
        text = examples()["spool"].partition("[clusters.spool]\n")[2].replace("[clusters.spool.", "[clusters.main.")
        return f'{text}\n[clusters.main.options.commands]\nspool = "{self.program}"\n'

    def unused_ids(self, count: int) -> list[JobId]:
        return [JobId(str(number)) for number in range(900_000, 900_000 + count)]
