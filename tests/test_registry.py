"""Adapter name → adapter class."""

from __future__ import annotations

import re
import sys
import tomllib
from importlib.metadata import distribution
from pathlib import Path

import pytest

from fxsched.adapter import Adapter
from fxsched.errors import ConfigurationError
from fxsched.registry import BUILT_IN, GROUP, adapter_names, load_adapter

PROJECT = Path(__file__).parents[1]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory on the path, with a third party's package in it."""
    info = tmp_path / "other_adapter-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: other-adapter\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[fxsched.adapters]\n"
        "other = other_adapter_for_tests:OtherAdapter\n"
        "lost = no_such_module_for_tests:Adapter\n"
        "hollow = other_adapter_for_tests:Nothing\n"
        "number = other_adapter_for_tests:NUMBER\n"
        "plain = other_adapter_for_tests:Plain\n"
        "slurm = other_adapter_for_tests:OtherAdapter\n"
    )
    (tmp_path / "other_adapter_for_tests.py").write_text(
        "from fxsched.adapter import Adapter\n\n\nclass OtherAdapter(Adapter):\n    name = 'Other'\n\n\n"
        "class Plain:\n    pass\n\n\nNUMBER = 1\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "other_adapter_for_tests", raising=False)
    return tmp_path


@pytest.mark.parametrize("name", BUILT_IN)
def test_a_built_in_adapter_can_be_had_without_looking_at_what_is_installed(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.metadata.entry_points", None)
    adapter = load_adapter(name)
    assert issubclass(adapter, Adapter)
    assert adapter.__abstractmethods__ == frozenset()


def test_the_built_in_adapters_are_entry_points_like_anybody_s() -> None:
    points = distribution("fxsched").entry_points.select(group=GROUP)

    assert {point.name: point.value for point in points} == BUILT_IN


def test_every_package_of_adapters_has_its_adapters_in_the_table() -> None:
    assert _packages() == {target.partition(".")[0] for target in BUILT_IN.values()}


def test_every_package_of_adapters_is_held_to_the_layers() -> None:
    linter = tomllib.loads((PROJECT / "pyproject.toml").read_text())["tool"]["importlinter"]
    lists = [linter["root_packages"], *(each.get("source_modules", each.get("layers")) for each in linter["contracts"])]
    held = [set(re.findall(r"fxsched_\w+", str(names))) - {"fxsched_fakes"} for names in lists]

    assert [packages for packages in held if packages] == [_packages()] * 3


def _packages() -> set[str]:
    return {init.parent.name for init in (PROJECT / "adapters").glob("*/__init__.py")}


def test_a_third_party_s_adapter_is_found_by_its_entry_point(install: Path) -> None:
    assert load_adapter("other").name == "Other"
    assert {"other", *BUILT_IN} <= set(adapter_names())


def test_nobody_can_take_a_built_in_adapter_s_name(install: Path) -> None:
    assert load_adapter("slurm").__module__ == "fxsched_slurm.adapter"


def test_an_unknown_adapter_gets_the_nearest_name() -> None:
    with pytest.raises(ConfigurationError, match=r"there is no adapter 'slrum'; did you mean 'slurm'\?"):
        load_adapter("slrum")


def test_an_unknown_adapter_like_no_other_gets_all_names(install: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"there is no adapter 'xyz' \(known: .*local, .*other, .*slurm.*\)"):
        load_adapter("xyz")


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("lost", "adapter 'lost' cannot be loaded from no_such_module_for_tests:Adapter: No module named"),
        (
            "hollow",
            "adapter 'hollow' cannot be loaded from other_adapter_for_tests:Nothing: .* has no attribute 'Nothing'",
        ),
        ("number", "adapter 'number': other_adapter_for_tests:NUMBER is not a subclass of"),
        ("plain", "adapter 'plain': other_adapter_for_tests:Plain is not a subclass of"),
    ],
)
def test_what_is_no_adapter_is_a_wrong_configuration(install: Path, name: str, complaint: str) -> None:
    with pytest.raises(ConfigurationError, match=complaint):
        load_adapter(name)
