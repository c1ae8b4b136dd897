"""A command for a far shell, and its reply, whatever that shell is and whatever it prints. Pure.

The command line is a constant that csh, fish and every kin of sh understand alike; everything else travels on standard
input, so that nothing of it is on a command line and no shell but our own ``/bin/sh`` reads it:

    opening     one line, which starts a sh in a clean environment; it answers with a first mark
    text        the environment and the argument vector, quoted, in a program of sh
    stdin       what the command reads
    trailer     proof that all of it has come

The reply stands between marks made of random characters, on standard output and on standard error. What comes before
the first mark is a banner or the noise of an rc file. The marks are sent in halves, so that no echo can look like one.

Cut anywhere, this either runs nothing or gives the command no end of its input, but KILL: a scheduler never sees half
a job script. The opening may be sent alone and the rest when the first mark has come; until then certainly nothing has
run. This also serves a login shell whose rc file has an ``exec`` in it, which forgets our command line and reads the
opening itself. Where the other end is known to be ``/bin/sh`` (behind sudo, for one) all may be sent at once.

Needs, on the far side, POSIX sh, coreutils (``head -c``, ``timeout``, ``tr``) and Linux's ``/proc``.
"""

from __future__ import annotations

import math
import re
import secrets as random
from shlex import join, quote
from typing import TYPE_CHECKING, Final

from fxsched.errors import CommandNotFound, HostUnreachable
from fxsched.hosts.base import NOTHING, CommandResult, quoted
from fxsched.hosts.local import DEFAULT_PATH, IDENTITY

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence


COMMAND: Final = ("/bin/sh", "-c", 'read -r line && eval "$line"')
"""``read`` takes byte after byte, so that what follows the line is left for others."""
COMMAND_LINE: Final = join(("exec", *COMMAND))
"""The same for a login shell. All shells read it alike: it has no ``!``, backslash or new line in its quotes."""

# $1, $2: the halves of the mark; $3: the size of the text, or nothing if it is one line. The parent is timeout, which
# leads a process group of its own and ends all of it, itself too.
_RECEIVE: Final = (
    'read -r node </proc/sys/kernel/hostname; echo "$1$2 begin $PPID $node"; echo "$1$2 begin" >&2; '
    'LC_ALL=C; export LC_ALL; if [ "$3" ]; then eval "$(head -c "$3")"; else read -r text && eval "$text"; fi'
)
_LONGEST_LINE: Final = 4096
"""Bytes beyond which ``head`` is quicker than ``read``, which takes them one by one."""

# One compound command: half of it is a syntax error, and runs nothing. First goes what the login has in its environment
# (env -i would need what stays on its command line, and SLURM_JWT is a secret); a line out of the middle of a value is
# the name of nothing that matters. The shell's own complaints ("Killed") are not the command's. A command that does not
# read all of its input ends head by PIPE, and that is no trouble. Every line can stand behind the one before it.
_RUN: Final = r"""{
exec 3<&0 4>&2 </dev/null 2>/dev/null;
set -f;
IFS=${IFS#??};
for line in $(export -p); do
    line=${line#export };
    line=${line%%=*};
    case " @KEPT@ " in *" $line "*) continue ;; esac;
    case $line in *[!A-Za-z0-9_]*) ;; *) command unset -v "$line" ;; esac;
done;
if [ "${BASH_VERSION-}" ]; then for line in $(declare -Fx); do unset -f "${line##* }"; done; fi;
set +f;
unset IFS line node text;
LC_ALL=C PATH=${PATH:-@PATH@};
export LC_ALL PATH;
@EXPORTS@
set -- @ARGV@;
if case $1 in */*) [ -f "$1" ] && [ -x "$1" ] ;; *) command -v "$1" >/dev/null ;; esac; then
    @INPUT@ ( exec "$@" 2>&4 3<&- 4>&- );
    printf '%s%s end %s\n' @MARK@ "$?";
else
    printf '%s%s missing\n' @MARK@;
fi;
printf '%s%s end\n' @MARK@ >&4;
}"""
_INPUT: Final = r"""{ head -c @SIZE@ && { read -r t; [ "$t" = @TRAILER@ ] || kill -s KILL 0; }; } <&3 3<&- 4>&- |"""

# The leader has the mark among its words; a process that got its number later has not. A name may stand for several
# login nodes, and this may be another one.
_END: Final = (
    'read -r node </proc/sys/kernel/hostname; [ "$node" = "$3" ] || exit; '
    'if grep -qsF "$2" "/proc/$1/cmdline"; then kill -s KILL -- "-$1"; fi'
)

# Who has the mark among its words and leads no group, as what looks for it does, is not hit.
_SEARCH: Final = (
    "found=1; "
    'for at in $(grep -lsF -e "$1" /proc/[0-9]*/cmdline); do '
    'at=${at#/proc/}; kill -s KILL -- "-${at%/cmdline}" 2>/dev/null && found=0; '
    "done; "
    'exit "$found"'
)

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
# bash keeps these read-only, also when it is called sh: an assignment would end the program.
_READ_ONLY: Final = frozenset({"BASHOPTS", "BASH_VERSINFO", "EUID", "PPID", "SHELLOPTS", "UID"})
_LONGEST: Final = 131_071
"""Bytes of one word or variable that Linux lets through (MAX_ARG_STRLEN, execve(2))."""
_NOISE: Final = 300
_OF_A_DAY: Final = 86_400.0


class Frame:
    """One command for the other end, and the reading of its reply.

    Args:
        argv: the command.
        stdin: what it reads.
        environment: variables that it gets.
        keep: names of variables of the far login that it gets, besides those that say who and where the user is.
        deadline: seconds after which the far side ends the command by itself, even if nobody is connected any more.
        label: what messages call the host.

    Raises:
        HostUnreachable: no shell can pass this on; nothing was sent.
    """

    command: tuple[str, ...] = COMMAND
    """What to run at the other end; a constant."""

    def __init__(
        self,
        argv: Sequence[str],
        stdin: bytes = b"",
        environment: Mapping[str, str] = NOTHING,
        keep: Iterable[str] = (),
        *,
        deadline: float = _OF_A_DAY,
        label: str = "the host",
    ) -> None:
        self.argv = tuple(argv)
        self.label = label
        self._halves = random.token_hex(8), random.token_hex(8)
        self._mark = "".join(self._halves).encode()
        trailer = random.token_hex(8)
        exports = dict(environment)
        text = self._text(exports, keep, len(stdin), trailer)
        by_line = b"\n" not in text and len(text) < _LONGEST_LINE
        self.opening = self._opening("" if by_line else str(len(text) + 1), deadline)
        """The first line; the first mark answers it."""
        self.rest = text + b"\n" + (stdin + f"{trailer}\n".encode() if stdin else b"")
        """All that comes after it; while none of this was sent, nothing has run."""

    @property
    def stdin(self) -> bytes:
        """Everything that the other end reads."""
        return self.opening + self.rest

    def begun(self, stdout: bytes | bytearray) -> tuple[str, str] | None:
        """Return the far process group and node, if the first mark has come; None if the other end is not ready."""
        _, found, rest = stdout.partition(self._mark + b" begin ")
        words, end, _ = rest.partition(b"\n")
        if not found or not end:
            return None
        group, _, node = words.decode("utf-8", "replace").partition(" ")
        return group, node

    def ended(self, output: bytes | bytearray, start: int = 0) -> bool:
        """Whether the last mark stands in one of the two outputs, at or after ``start``."""
        at = max(output.find(self._mark + word, start) for word in (b" end", b" missing"))
        return at >= 0 and output.find(b"\n", at) >= 0

    def reply(self, stdout: bytes | bytearray, stderr: bytes | bytearray) -> CommandResult | None:
        """Return the command's result out of what came; None if it is not all there.

        What processes of the command printed after its end is part of its output.

        Raises:
            CommandNotFound: there is no such program.
        """
        out, err = self._between(stdout), self._between(stderr)
        if not out or not err:
            return None
        if not out[1]:
            raise CommandNotFound(f"{self.argv[0]} cannot be run on {self.label}: there is no such program")
        return CommandResult(int(out[1]), out[0], err[0])

    def _between(self, output: bytes | bytearray) -> tuple[bytes, bytes] | None:
        """Return what stands between the marks and after them, and the last mark's word: an exit code, if any."""
        _, begun, rest = output.partition(self._mark + b" begin")
        _, begun_whole, rest = rest.partition(b"\n")
        printed, ended, rest = rest.partition(self._mark + b" ")
        last, ended_whole, late = rest.partition(b"\n")
        if not (begun and begun_whole and ended and ended_whole):
            return None
        return bytes(printed + late), bytes(last.partition(b" ")[2])

    def noise(self, output: bytes | bytearray) -> str:
        """Return what the login shell itself printed, for a message: the last of what stands before the first mark."""
        return quoted(bytes(output).partition(self._mark)[0][-_NOISE:])

    def said(self, output: bytes | bytearray) -> bytes:
        """Return what the command has printed so far, whether it has ended or not."""
        begun = bytes(output).partition(self._mark + b" begin")[2]
        return begun.partition(b"\n")[2].partition(self._mark)[0]

    def ending(self, group: str, node: str) -> tuple[str, ...]:
        """Return the command that ends this one; it exits with 0 if nothing of it runs any more."""
        return ("/bin/sh", "-c", _END, "sh", group, self._halves[0], node)

    @property
    def search(self) -> tuple[str, ...]:
        """The command that ends this one where nobody knows its process group; it exits with 0 if it found any."""
        return ("/bin/sh", "-c", _SEARCH, "sh", self._halves[0])

    def _opening(self, size: str, deadline: float) -> bytes:
        limit = ("timeout", "-s", "KILL", str(math.ceil(deadline)))
        return f"{join(('exec', *limit, '/bin/sh', '-c', _RECEIVE, 'sh', *self._halves, size))}\n".encode()

    def _text(self, exports: Mapping[str, str], keep: Iterable[str], size: int, trailer: str) -> bytes:
        for name in exports:
            if not _NAME.fullmatch(name) or name in _READ_ONLY:
                raise self._refusal(f"no shell can pass on a variable called {name!r}")
        values = {
            "KEPT": " ".join(filter(_NAME.fullmatch, (*IDENTITY, *keep))),
            "PATH": DEFAULT_PATH,
            "EXPORTS": " ".join(f"export {name}={self._quoted(value)};" for name, value in exports.items()),
            "ARGV": " ".join(map(self._quoted, self.argv)),
            "MARK": " ".join(self._halves),
            "INPUT": re.sub("@([A-Z]+)@", lambda found: {"SIZE": str(size), "TRAILER": trailer}[found[1]], _INPUT)
            if size
            else "",
        }
        program = " ".join(map(str.strip, _RUN.splitlines()))
        text = re.sub("@([A-Z]+)@", lambda found: values[found[1]], program)
        return text.encode("utf-8", "surrogateescape")

    def _quoted(self, word: str) -> str:
        # Which word it was is not said: it may be a secret.
        try:
            size = len(word.encode("utf-8", "surrogateescape"))
        except UnicodeEncodeError:
            raise self._refusal("a word or variable holds half a surrogate pair, which is no character") from None
        if "\0" in word:
            raise self._refusal("a word or variable holds a NUL character")
        if size > _LONGEST:
            raise self._refusal(f"a word or variable is longer than {_LONGEST} bytes")
        return quote(word)

    def _refusal(self, why: str) -> HostUnreachable:
        return HostUnreachable(f"{self.argv[0]} could not be started on {self.label}: {why}")
