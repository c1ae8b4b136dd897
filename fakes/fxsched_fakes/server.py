"""Fake commands that cost a fifth: one process has them loaded, and forks itself for every call.

    with CommandServer() as server:
        cluster = install(bin_directory, "slurm", server=server)

For tests that make calls by the thousand. What lies on PATH is then a few lines of sh, and what its caller sees is what
the command itself would show: arguments, environment, working directory, umask and standard streams are the caller's,
the exit status and a death by a signal are the command's, and a command whose caller is killed is killed with it.

A shell cannot hand its descriptors over, so the server opens them anew, through /proc, where that makes no difference:
pipes, devices, and input that is read from its start. All else is left to the ordinary command, which the shell then
becomes: a call that prints into a file, whose position would not be shared; and a call by a simulated job, which has to
be one of the job's processes, because a job may cancel itself.

The server ends with whoever opened it, however that ends, and takes all calls along.
"""

from __future__ import annotations

import os
import signal
import stat
import sys

if __name__ == "__main__":
    sys.path[0] = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

import time
from importlib import import_module
from selectors import EVENT_READ, BaseSelector, DefaultSelector
from shlex import quote
from subprocess import PIPE, Popen
from tempfile import mkdtemp

from fxsched_fakes import files, frame
from fxsched_fakes.processes import MARK

_SLOTS = 64
_READY = b"ready\n"
_STREAMS = (8, 9, 2)
_STUB = """\
#!/bin/sh
# Takes a free slot of the server, and waits there for how the call ends; becomes the ordinary command if it cannot.
# 8 and 9 are the streams that the server opens: 0 and 1 lead to the server itself for moments.
exec 8<&0 9>&1
set -C
slot=0
while [ -p {server}/$slot ]; do
    if true 2>/dev/null >{server}/$slot.taken; then
        trap 'exit 130' INT
        printf '%s %s %s\\n' $$ $slot {call} >>{server}/calls
        read -r status <{server}/$slot
        [ "$status" != elsewhere ] || break
        exit "$status"
    fi
    slot=$((slot + 1))
done
exec {ordinary} "$@" 8<&- 9>&-
"""


class CommandServer:
    """The server, for the length of a `with` block, or until `close`; after that, calls are ordinary ones."""

    def __init__(self) -> None:
        self.directory = os.path.realpath(mkdtemp(prefix="fxsched-fakes-"))
        self._process = Popen(
            [sys.executable, "-SEXutf8", __file__, self.directory], stdin=PIPE, stdout=PIPE, start_new_session=True
        )
        assert self._process.stdout is not None
        if self._process.stdout.readline() != _READY:
            raise RuntimeError("the server of the fake commands did not start")

    def __enter__(self) -> CommandServer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the server, and the calls that still run."""
        self._process.communicate()
        if self._process.returncode:
            raise RuntimeError("the server of the fake commands has failed; its words are on stderr")

    def stub(self, scheduler: str, command: str, state: str, ordinary: str) -> str:
        """What goes on PATH for a command, in place of the ordinary one, which is that file."""
        call = f"{scheduler} {command} {state}"
        return _STUB.format(server=quote(self.directory), call=quote(call), ordinary=quote(ordinary))


# --- in the server


def main(directory: str) -> None:
    for slot in range(_SLOTS):
        os.mkfifo(f"{directory}/{slot}")
    os.mkfifo(f"{directory}/calls")
    pipe = os.open(f"{directory}/calls", os.O_RDWR | os.O_NONBLOCK)  # with a writer, so that it never comes to its end
    calls: list[_Call] = []
    owned = True

    def accept() -> None:
        calls[:] = [call for call in calls if not call.over]
        lines = os.fsdecode(os.read(pipe, 1 << 20)).splitlines()  # whole ones: each was written at once
        calls.extend([_Call(selector, directory, line) for line in lines])

    def leave() -> None:
        nonlocal owned
        owned = False

    with DefaultSelector() as selector:
        selector.register(pipe, EVENT_READ, accept)
        selector.register(0, EVENT_READ, leave)  # nothing ever comes from there but its end
        os.write(1, _READY)
        while owned:
            for key, _ in selector.select():
                key.data()
        for call in calls:
            call.abort()
    files.remove(directory)


class _Call:
    """One call: the shell that made it, and the child that does its work, each watched for its end."""

    def __init__(self, selector: BaseSelector, directory: str, line: str) -> None:
        caller, slot, scheduler, command, state = line.split(" ", 4)
        self.over = False
        self._selector = selector
        self._slot = f"{directory}/{slot}"
        self._answer = os.open(self._slot, os.O_RDWR)  # also to read, so that opening it waits for nobody
        self._caller = self._child_end = -1
        self._child = 0
        try:
            self._caller = os.pidfd_open(int(caller))
        except ProcessLookupError:
            self.end()
            return
        selector.register(self._caller, EVENT_READ, self.end)
        try:
            setting = _Setting(int(caller))
        except OSError:
            os.write(self._answer, b"elsewhere\n")
            return
        _load(scheduler)
        self._child = os.fork()
        if not self._child:
            setting.enter()
            frame.main(scheduler, command, state)
        setting.close()
        self._child_end = os.pidfd_open(self._child)
        selector.register(self._child_end, EVENT_READ, self._answered)

    def _answered(self) -> None:
        """Tells the caller how the child ended."""
        if not self._child:
            return  # both ended at once
        code = self._reap()
        if code < 0:
            signal.pidfd_send_signal(self._caller, -code)
        else:
            os.write(self._answer, b"%d\n" % code)

    def abort(self) -> None:
        """Ends the caller with the call, if there still is one."""
        if not self.over:
            signal.pidfd_send_signal(self._caller, signal.SIGTERM)
            self.end()

    def end(self) -> None:
        """The caller has ended: nothing of the call is left."""
        if self._child:
            os.kill(self._child, signal.SIGKILL)
            self._reap()
        self._forget(self._caller)
        os.close(self._answer)
        os.unlink(f"{self._slot}.taken")
        self.over = True

    def _reap(self) -> int:
        _, status = os.waitpid(self._child, 0)
        self._child = 0
        self._forget(self._child_end)
        return os.waitstatus_to_exitcode(status)

    def _forget(self, descriptor: int) -> None:
        if descriptor >= 0:
            self._selector.unregister(descriptor)
            os.close(descriptor)


class _Setting:
    """What a command has from its caller. An OSError says that it cannot be handed on."""

    def __init__(self, pid: int) -> None:
        process = f"/proc/{pid}"
        with open(f"{process}/environ", "rb") as file:
            self._environment = dict(pair.split(b"=", 1) for pair in file.read().split(b"\0") if b"=" in pair)
        if os.fsencode(MARK) in self._environment:
            raise PermissionError("a job's command is one of the job's processes")
        with open(f"{process}/cmdline", "rb") as file:
            self._argv = os.fsdecode(file.read()).split("\0")[1:-1]  # without the shell
        with open(f"{process}/status") as file:
            self._umask = int(file.read().partition("\nUmask:\t")[2][:4] or "0", 8)  # a zombie has none
        self._directory = -1
        self._streams: list[int] = []
        try:
            self._directory = os.open(f"{process}/cwd", os.O_PATH)
            for stream, kept in enumerate(_STREAMS):
                self._streams.append(_reopened(process, kept, os.O_WRONLY if stream else os.O_RDONLY))
        except OSError:
            self.close()
            raise

    def enter(self) -> None:
        """Makes this process, which was forked for it, the command's."""
        os.fchdir(self._directory)
        for stream, descriptor in enumerate(self._streams):
            os.dup2(descriptor, stream)
        os.closerange(3, 4096)
        os.umask(self._umask)
        os.environ.clear()
        os.environb.update(self._environment)
        time.tzset()
        sys.argv = self._argv

    def close(self) -> None:
        for descriptor in (self._directory, *self._streams):
            if descriptor >= 0:
                os.close(descriptor)


def _reopened(process: str, stream: int, mode: int) -> int:
    """A stream of the caller's, for this process."""
    path = f"{process}/fd/{stream}"
    if stat.S_ISREG(os.stat(path).st_mode):
        with open(f"{process}/fdinfo/{stream}") as file:
            position = file.readline().split()[1]
        if mode == os.O_WRONLY or position != "0":
            raise OSError("what is opened anew has a position of its own")
    descriptor = os.open(path, mode | os.O_NONBLOCK | os.O_NOCTTY)  # does not wait for the other end of a pipe
    os.set_blocking(descriptor, True)
    return descriptor


def _load(scheduler: str) -> None:
    """Imports all of a scheduler's modules, which are all the modules that its commands need."""
    package = import_module(f"fxsched_fakes.{scheduler}")
    for name in os.listdir(package.__path__[0]):
        if name.endswith(".py"):
            import_module(f"{package.__name__}.{name.removesuffix('.py')}")


if __name__ == "__main__":
    main(sys.argv[1])
