"""The two sh texts of a session: the job script that the scheduler runs, and the command file that it starts.

The job script names the session's directory and holds nothing of the request: there is nothing to inject into, nothing
for a scheduler to show to other users, and no limit of size. Everything of the request is in the command file, which
lies in that directory, readable by its owner only. Both need nothing but a POSIX sh and Linux's ``/proc``.
"""

from __future__ import annotations

import re
from shlex import quote
from typing import TYPE_CHECKING, Final

from fxsched.errors import InvalidRequest
from fxsched.jobs import SessionWait

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from fxsched.jobs import JobSpec

HOME: Final = "~"
"""As a working directory: the home directory of whom the job runs as, wherever that is."""
TOKEN_VARIABLE: Final = "FXSCHED_TOKEN"
"""Every process of a session carries it in its environment; that is how a session is waited for and ended."""

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SHEBANG: Final = "#!/bin/sh"
# An assignment to these fails or misleads: bash keeps the first line read-only and counts with the second itself (5.2:
# text in HISTCMD or SRANDOM ends the script); the rest is each shell's own state, or the job's.
_SHELL_OWN: Final = frozenset({"BASHOPTS", "BASH_VERSINFO", "EUID", "PPID", "SHELLOPTS", "UID"}) | frozenset(
    {"EPOCHREALTIME", "EPOCHSECONDS", "GROUPS", "HISTCMD", "LINENO", "RANDOM", "SECONDS", "SRANDOM"}
    | {"IFS", "OLDPWD", "OPTIND", "PWD", "SHLVL", "_", TOKEN_VARIABLE}
)

_SCRIPT: Final = r"""#!/bin/sh
# fxsched: one session. What it runs lies in its own directory, which only its owner can read.
d=@DIRECTORY@
token=@TOKEN@
job=@JOB@
job=${job:-$(uname -n).$$}
unset LC_ALL @UNSET@

# What the script writes is its owner's alone. The session gets back the mask that it would have had.
mask=$(umask)
umask 077

say() { printf 'fxsched: %s\n' "$*" >&2; }

# A report appears whole or not at all.
report() { printf '%s\n' "$2" >"$d/$1.$job" && mv -f "$d/$1.$job" "$d/$1"; }

# A job that its scheduler runs again after a crash, although it had ended, must not begin a second session. One that
# was ended by a signal was preempted, or its node went down: it may, where that is wanted.
if read -r code _ 2>/dev/null <"$d/ended" && [ "$code" -lt 128 ]; then
    say "the session has ended already, with exit code $code."
    exit "$code"
fi

# The directory was written before the submit, but an NFS client may take its time to see it.
waited=0
until [ -r "$d/command" ]; do
    if [ "$waited" -ge 60 ]; then
        say "$d/command did not appear on $(uname -n) within a minute. Is the home directory shared with this node?"
        exit 72
    fi
    waited=$((waited + 1))
    sleep 1
done

# Whoever submitted this job may have been told that there is no session: then "unwanted" is there, for good. As long as
# "unsettled" is there, nobody counts on a session yet, and once the moment in it has passed, nobody ever will. Clocks
# differ, so some seconds are waited in any case; and what cannot be read, or says nothing, is no consent. Both are
# looked at anew: an NFS client believes too long what it has seen.
give_up() {
    say "the launch that submitted this job was given up, and nobody waits for its session: it ends."
    exit 76
}
ls "$d" >/dev/null 2>&1
waited=0
while :; do
    [ ! -e "$d/unwanted" ] || give_up
    until=
    if ! read -r until 2>/dev/null <"$d/unsettled" && [ ! -e "$d/unsettled" ] && [ -r "$d/command" ]; then break; fi
    case $until in '' | *[!0-9]*) until=1 ;; esac
    [ "$waited" -lt 100 ] || [ "$(date +%s)" -lt "$until" ] || give_up
    waited=$((waited + 1))
    sleep 0.1 2>/dev/null || sleep 1
done

# One job has the session. A hard link is made by one only, on NFS too, and its content tells who it was, even when
# NFS repeats a request and reports a failure that was none. A requeued run of the same job finds its own name. What a
# full disk made empty must not become the lock, so it is read back: NFS reports some failures too late for printf.
owner=
printf '%s\n' "$job" >"$d/lock.$job" && read -r _ <"$d/lock.$job" && ln "$d/lock.$job" "$d/lock" 2>/dev/null
rm -f "$d/lock.$job"
read -r owner 2>/dev/null <"$d/lock"
if [ -z "$owner" ]; then
    say "the lock in $d cannot be written. Is the disk or a quota full, or has it no hard links?"
    exit 73
fi
if [ "$owner" != "$job" ]; then
    say "job $owner already has this session, so this one, $job, ends."
    exit 75
fi
@ONCE@

# A process that is just about to become another program shows no environment for a moment: so it is looked for twice.
members() {
    carriers=$(carriers)
    [ -n "$carriers" ] || { sleep 0.1 2>/dev/null || sleep 1; carriers=$(carriers); }
    printf '%s' "$carriers"
}
carriers() { grep -lsF "@TOKEN_VARIABLE@=$token" /proc/[0-9]*/environ | sed -n 's|^/proc/\([0-9]*\)/environ$|\1|p'; }

end_members() {
    left=$(members)
    [ -n "$left" ] || return
    kill -TERM $left 2>/dev/null
    for _ in 1 2 3 4 5; do
        left=$(members)
        [ -n "$left" ] || return
        sleep 1
    done
    kill -KILL $left 2>/dev/null
}

finish() {
    trap '' HUP INT TERM USR1 USR2
    end_members
    report ended "$1 $(date +%s)"
    # What ended well will not run again; its secrets need not lie about.
    [ "$1" -ne 0 ] || rm -f "$d/command" "$d/stdin"
    exit "$1"
}
trap 'finish 129' HUP
trap 'finish 130' INT
trap 'finish 143' TERM
# LSF's run limit sends USR2, Grid Engine's soft limits USR1: a session that ignores them must not outlive its limit.
trap 'finish 138' USR1
trap 'finish 140' USR2

rm -f "$d/ended"
report started "$job $(uname -n) $(date +%s)"

set -- sh "$d/command"
read -r first <"$d/command"
if [ "$first" != '@SHEBANG@' ]; then
    # Its interpreter is started as the kernel would (execve(2): at most one argument), since a home may be noexec.
    first=${first#'#!'}
    first=${first#"${first%%[! 	]*}"}
    interpreter=${first%%[ 	]*}
    argument=${first#"$interpreter"}
    argument=${argument#"${argument%%[! 	]*}"}
    set -- "$interpreter" ${argument:+"$argument"} "$d/command"
fi
# A shell makes what it starts in the background ignore INT and QUIT, and that is inherited: Ctrl-C would be dead in the
# session's terminals. bash takes it back for a subshell, dash 0.5.12 does not, so env does it where it can.
if env --default-signal=INT,QUIT true 2>/dev/null; then set -- env --default-signal=INT,QUIT "$@"; fi
(
    trap - HUP INT QUIT TERM USR1 USR2
    umask "$mask"
    @TOKEN_VARIABLE@=$token
    export @TOKEN_VARIABLE@
    exec "$@"
) <"$d/stdin" >"$d/output" &
wait "$!"
status=$?
@WAIT@
finish "$status"
"""

# "No requeue" is not always heeded: a controller that crashed may not know any more that it had started the job.
_ONCE: Final = r"""
if [ -e "$d/started" ]; then
    say "the session has begun before, and a second one of the same request is not wanted (requeue = false)."
    exit 77
fi
"""

_WAIT_FOR_MEMBERS: Final = r"""
if [ "$status" -eq 0 ]; then
    while [ -n "$(members)" ]; do
        sleep 2 &
        wait "$!"
    done
fi
"""


def render_script(directory: str, spec: JobSpec, *, job_id_variable: str = "", unset: Iterable[str] = ()) -> bytes:
    """Return the job script of the session whose files lie in ``directory`` (an absolute path on the node).

    Of ``spec`` only the token, the way of waiting and whether it may run again are used. ``job_id_variable`` and
    ``unset`` are the adapter's.
    """
    values = {
        "DIRECTORY": quote(directory),
        "TOKEN": spec.token,
        "TOKEN_VARIABLE": TOKEN_VARIABLE,
        "JOB": f"${{{job_id_variable}-}}" if job_id_variable else "",
        "UNSET": " ".join(unset),
        "SHEBANG": _SHEBANG,
        "ONCE": "" if spec.requeue else _ONCE,
        "WAIT": _WAIT_FOR_MEMBERS if spec.wait_for_session is SessionWait.PROCESSES else "",
    }
    return re.sub(r"@([A-Z_]+)@", lambda found: values[found[1]], _SCRIPT).encode("utf-8", "surrogateescape")


def render_command(spec: JobSpec) -> bytes:
    """Return the command file: the environment and the secrets, the working directory, then the command or the body.

    Every value is one quoted word. Variables that a shell cannot hold (bash's exported functions, for one) and those
    that are each shell's own are left out.

    Raises:
        InvalidRequest: a word holds a character that no command line can carry.
    """
    body = spec.body
    shebang = _SHEBANG
    if body.startswith("#!"):
        shebang, _, body = body.partition("\n")
    lines = [shebang, *_exports(spec.environment), *_exports({n: s.reveal() for n, s in spec.secrets.items()})]
    if spec.working_directory == HOME:
        lines.append("cd || exit")
    elif spec.working_directory:
        lines.append(f"cd {_quote(spec.working_directory)} || exit")
    if spec.output:
        lines.append(f"exec >{_quote(spec.output)} 2>&1")
    lines.append(body or f"exec {' '.join(map(_quote, spec.command))}")
    try:
        return ("\n".join(lines) + "\n").encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        raise InvalidRequest(
            "a command or its environment holds half a surrogate pair, which is no character"
        ) from None


def _exports(variables: Mapping[str, str]) -> list[str]:
    return [
        f"export {name}={_quote(value)}"
        for name, value in variables.items()
        if _NAME.fullmatch(name) and name not in _SHELL_OWN
    ]


def _quote(word: str) -> str:
    if "\0" in word:
        raise InvalidRequest("a NUL character cannot stand in a command or its environment")
    return quote(word)
