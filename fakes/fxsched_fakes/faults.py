"""Planned misbehaviour of fake commands, what of it came to pass, and the log of their calls.

A plan is a list of objects in `faults.json` of the state directory, the first that matches a call is taken:

    {"command": "sbatch", "calls": [2, 3], "fault": "fail", "rc": 1, "stderr": "sbatch: error: …"}

`calls` counts the calls of that command from 1: a list, "3-" (from the third on), or "all" (the default). Faults, and
the options that each reads beside `command` and `calls`:

    fail                  rc, stderr; by default a realistic refusal by the server
    hang                  never returns, and does nothing
    slow                  delay (1), then works
    accept-then-time-out  does its work, then fails after delay (0.05) as the client of a hung server does
    accept-then-hang      does its work, then never returns
    garbage               text (by default bytes that are not UTF-8), rc 0
    half-line             the real output, cut in the middle of its last line, rc 0
    down, munge           the server, the authentication service does not answer; delay (0.05)
    forget                finished jobs are forgotten before it works
    banner                text before the normal output on stream ("stderr" or "stdout")
    lose                  works, then the accepted job vanishes, and its id is given to the next: the server crashed
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module

KINDS = frozenset(
    {"fail", "hang", "slow", "accept-then-time-out", "accept-then-hang", "garbage", "half-line", "down", "munge",
     "forget", "banner", "lose"}
)  # fmt: skip


class Fault:
    """One line of a plan."""

    def __init__(
        self,
        command: str,
        fault: str,
        calls: str | Sequence[int] = "all",
        *,
        rc: int | None = None,
        stderr: str | None = None,
        delay: float | None = None,
        text: str = "",
        stream: str = "stderr",
    ) -> None:
        if fault not in KINDS:
            raise ValueError(f"no fault is called {fault!r}; there are {', '.join(sorted(KINDS))}")
        if stream not in ("stdout", "stderr"):
            raise ValueError(f"stream is stdout or stderr, not {stream!r}")
        self.command, self.kind, self.calls = command, fault, calls
        self.rc, self.stderr, self.stream = rc, stderr, stream
        self.delay = (1.0 if fault == "slow" else 0.05) if delay is None else delay
        self.text = text or ("Welcome. Maintenance on Tuesday 4217.\n" if fault == "banner" else "")

    def hits(self, command: str, call: int) -> bool:
        if command != self.command:
            return False
        if isinstance(self.calls, str):
            return self.calls == "all" or call >= int(self.calls.removesuffix("-"))
        return call in self.calls


def plan(directory: str | os.PathLike[str], faults: Sequence[Mapping[str, object]]) -> None:
    """Writes the plan, in place of an earlier one; an empty one ends all faults. Calls go on being counted.

    A command that the cluster does not have is an error: its fault would never come to pass.
    """
    known = _commands(directory) if faults else frozenset()
    for fault in faults:
        command = _parse(fault).command
        if command not in known:
            raise ValueError(f"no command is called {command!r}; there are {', '.join(sorted(known))}")
    temporary = os.path.join(directory, f"faults.json.{os.getpid()}")
    with open(temporary, "w") as file:
        json.dump(list(faults), file, indent=1)
    os.replace(temporary, os.path.join(directory, "faults.json"))


def calls(directory: str | os.PathLike[str], command: str | None = None) -> list[dict[str, object]]:
    """The calls so far, oldest first: {"command", "argv", "rc"}; rc is None for one that hangs."""
    return [call for call in _logged(directory, "calls") if command in (None, call["command"])]


def fired(directory: str | os.PathLike[str]) -> list[dict[str, object]]:
    """The faults that calls have met so far, oldest first: {"command", "fault", "call"}."""
    return list(_logged(directory, "fired"))


def next_call(directory: str, command: str) -> Fault | None:
    """Counts one more call of the command, and says what shall go wrong with it."""
    with open(f"{directory}/calls.json", "a+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        counts = json.loads(file.read() or "{}")
        counts[command] = call = counts.get(command, 0) + 1
        file.truncate(0)
        json.dump(counts, file)
    try:
        with open(f"{directory}/faults.json") as planned:
            faults = map(_parse, json.load(planned))
    except FileNotFoundError:
        return None
    fault = next((fault for fault in faults if fault.hits(command, call)), None)
    if fault is not None:
        _log(directory, "fired", {"command": command, "fault": fault.kind, "call": call})
    return fault


def log(directory: str, command: str, argv: Sequence[str], rc: int | None) -> None:
    _log(directory, "calls", {"command": command, "argv": list(argv), "rc": rc})


def _log(directory: str, name: str, entry: Mapping[str, object]) -> None:
    with open(f"{directory}/{name}.jsonl", "ab", buffering=0) as file:
        file.write(json.dumps(entry).encode() + b"\n")


def _logged(directory: str | os.PathLike[str], name: str) -> Iterator[dict[str, object]]:
    try:
        with open(os.path.join(directory, f"{name}.jsonl")) as file:
            for line in file:
                yield json.loads(line)
    except FileNotFoundError:
        return


def _parse(fault: Mapping[str, object]) -> Fault:
    return Fault(**fault)  # type: ignore[arg-type]  # a test's own file: what does not fit is its mistake


def _commands(directory: str | os.PathLike[str]) -> frozenset[str]:
    """What calls on this cluster may be called, those of a scheduler on top of it included."""
    with open(os.path.join(directory, "cluster.json")) as file:
        scheduler = json.load(file)["scheduler"]
    # Moab stands on top of any.
    packages = [import_module(f"fxsched_fakes.{name}") for name in (scheduler, "moab")]
    return frozenset(name for package in packages for name in getattr(package, "CALLS", package.COMMANDS))
