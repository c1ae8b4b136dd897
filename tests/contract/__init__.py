"""What every scheduler must do, written once: each class here is run against the fakes and against the real ones.

A module of tests subclasses a contract and gives it a fixture; nothing else is needed.
"""

import pytest

pytest.register_assert_rewrite(f"{__name__}.adapter", f"{__name__}.faults", f"{__name__}.launch")
