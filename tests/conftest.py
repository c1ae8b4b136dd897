"""For all tests, however they were started."""

from __future__ import annotations

import signal


def pytest_configure() -> None:
    """Heed what nohup, or a shell's ``&``, lets its programs ignore: shells that the tests start could not trap it."""
    for number in (signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
