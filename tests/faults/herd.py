"""Many ``fxsched`` at once: ``python herd.py COUNT ARGUMENT …``. Processes in all but the time that imports take.

Every one is forked, waits at the gate until all are there, and runs the command. A line for each tells its exit status.
"""

from __future__ import annotations

import os
import sys

import fxsched_slurm.adapter  # noqa: F401 - it is found by its name, later
from fxsched import cli


def main(count: int, arguments: list[str]) -> None:
    gate, opener = os.pipe()
    herd = []
    for _ in range(count):
        pid = os.fork()
        if pid == 0:
            os.close(opener)
            os.read(gate, 1)
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            try:
                cli.main(arguments)
            except SystemExit as end:
                os._exit(int(end.code or 0))
            os._exit(70)
        herd.append(pid)
    os.close(opener)
    for pid in herd:
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
