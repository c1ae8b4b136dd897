"""The public interface: every name that is promised is there, and stands where it says."""

from __future__ import annotations

import fxsched


def test_every_public_name_can_be_had() -> None:
    assert {name: getattr(fxsched, name) for name in fxsched.__all__}.keys() == set(fxsched.__all__)


def test_the_public_names_are_sorted_and_unique() -> None:
    assert sorted(set(fxsched.__all__)) == fxsched.__all__
