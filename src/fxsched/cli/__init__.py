"""``fxsched``: the operator's commands, one module for each group."""

from __future__ import annotations

from fxsched.cli.main import main

__all__ = ["main"]
