"""`python -m bench`: measures fxsched beside its peers and prints how each aim of the project stands."""

from __future__ import annotations

import os
import platform
import sys

from bench import launching, slurm, ssh
from bench.table import show


def main() -> int:
    print(
        f"Python {platform.python_version()}, {os.cpu_count()} CPUs; medians, in brackets the fastest and the slowest"
    )
    rows = launching.rows()
    lacking = slurm.missing()
    if not lacking:
        rows += slurm.rows()
    without_ssh = ssh.missing()
    if not without_ssh:
        rows += ssh.rows()
    print(show(rows))
    if lacking:
        print(f"Left out, because Slurm is not installed (missing: {', '.join(lacking)}): submissions, status.")
    if without_ssh:
        print(f"Left out, because OpenSSH is not complete (missing: {', '.join(without_ssh)}): commands over SSH.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
