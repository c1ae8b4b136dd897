"""fxsched.toml: what may stand in it, where it is looked for, and who may have written it."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec import Struct

from fxsched.errors import ConfigurationError
from fxsched.jobs import SessionWait
from fxsched.settings import file as settings_file
from fxsched.settings.config import Config, state_directory
from fxsched.settings.file import find_config, load_config
from fxsched.strict import as_table, convert


@pytest.fixture
def load(tmp_path: Path) -> Callable[[str], Config]:
    def write_and_load(text: str) -> Config:
        return load_config(written(tmp_path, text))

    return write_and_load


def written(folder: Path, text: str) -> Path:
    path = folder / "fxsched.toml"
    path.write_text(text)
    path.chmod(0o644)
    folder.chmod(0o755)
    return path


# ── what it says ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_without_a_file_there_is_one_cluster_and_one_profile() -> None:
    built_in = load_config(None)
    assert built_in.origin == "the built-in configuration"
    name, profile = built_in.profile(None)
    cluster_name, cluster = built_in.cluster(profile.cluster)
    assert (name, cluster_name, cluster.adapter, cluster.host) == ("default", "local", "local", "local")


def test_an_empty_file_says_the_same(load: Callable[[str], Config]) -> None:
    empty = load("")
    assert (empty.clusters, empty.profiles, empty.rules) == (Config().clusters, Config().profiles, ())


def test_everything_that_may_be_set_is_read(load: Callable[[str], Config]) -> None:
    found = load("""
        [clusters.hpc]
        adapter = "slurm"
        inherit = ["LANG", "DISPLAY"]
        [clusters.hpc.options]
        anything = ["the adapter's own"]

        [profiles.big]
        cluster = "hpc"
        memory = "8G"
        wait_for_session = "processes"
        wait_for_start = 3
        start_args = []
        [profiles.big.fields.cores]
        param = "cpus"
        min = 1
        max = "8"
        choices = [1, "2"]

        [[rules]]
        profile = "big"
        when.login = ["ada", "b*"]
        when.params.queue = "gpu"
    """)
    assert found.clusters["hpc"].inherit == ["LANG", "DISPLAY"]
    assert found.clusters["hpc"].options == {"anything": ["the adapter's own"]}
    _, big = found.profile("big")
    assert (big.wait_for_session, big.wait_for_start, big.start_args) == (SessionWait.PROCESSES, 3.0, [])
    assert (big.fields["cores"].max, big.fields["cores"].choices) == ("8", [1, "2"])
    assert found.rules[0].when.params == {"queue": "gpu"}


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[cluster.a]", "[cluster] is not a section; did you mean 'clusters'?"),
        ("[clusters.a]\nadaptor = 'x'", "clusters.a.adaptor is not a setting; did you mean 'adapter'?"),
        ("[profiles.a]\nwaltime = '8h'", "profiles.a.waltime is not a setting; did you mean 'walltime'?"),
        (
            "[profiles.a.fields.cores]\nparm = 'x'",
            "profiles.a.fields.cores.parm is not a setting; did you mean 'param'?",
        ),
        ("[[rules]]\nprofil = 'default'", "rule 1.profil is not a setting; did you mean 'profile'?"),
        ("[[rules]]\nprofile = 'default'\nwhen.logn = 'a'", "rule 1 when.logn is not a setting; did you mean 'login'?"),
    ],
)
def test_a_word_that_nobody_knows_is_named_with_the_nearest(
    load: Callable[[str], Config], tmp_path: Path, text: str, complaint: str
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load(text)
    assert str(caught.value) == f"{tmp_path}/fxsched.toml: {complaint}"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("clusters = 1", "clusters must be a table, [clusters], not 1"),
        ("[clusters]\na = 1", "clusters.a must be a table, [clusters.a], not 1"),
        ("[profiles.a]\ncores = '4'", "profiles.a.cores: expected `int`, got `str`"),
        ("[profiles.a]\nmemory = 8", "profiles.a.memory: expected `str | null`, got `int`"),
        ("[profiles.a]\nnative = ['a', 1]", "profiles.a.native[1]: expected `str`, got `int`"),
        ("[profiles.a]\nwait_for_session = 'x'", "invalid enum value 'x' (known: foreground, processes)"),
        ("[profiles.a]\nfields = 1", "profiles.a.fields must be a table, [profiles.a.fields], not 1"),
        ("[profiles.a.fields.cores]\nmin = 1", "profiles.a.fields.cores: object missing required field `param`"),
        ("[profiles.a.fields.cores]\nparam = 'x'\ntype = 'number'", "profiles.a.fields.cores.type: invalid enum value"),
        ("[rules]\nprofile = 'a'", "rules must be an array of tables: write [[rules]]"),
        ("rules = [1]", "rule 1 must be a table, [rule 1], not 1"),
        ("[[rules]]", "rule 1: object missing required field `profile`"),
        ("[clusters.a]\ninherit = 'some'", "clusters.a.inherit: invalid enum value 'some' (known: fastx, none, all)"),
    ],
)
def test_a_value_of_the_wrong_type_is_named(load: Callable[[str], Config], text: str, complaint: str) -> None:
    with pytest.raises(ConfigurationError, match=re.escape(complaint)):
        load(text)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (
            "[clusters.hpc]\n[profiles.a]\ncluster = 'hcp'",
            "profiles.a.cluster: there is no cluster 'hcp'; did you mean 'hpc'?",
        ),
        ("[clusters.a]\n[clusters.b]\n[profiles.p]", "profiles.p.cluster is missing: say which of a, b"),
        ("[profiles.big]\n[[rules]]\nprofile = 'bag'", "rule 1: there is no profile 'bag'; did you mean 'big'?"),
    ],
)
def test_a_name_that_leads_nowhere_is_an_error(load: Callable[[str], Config], text: str, complaint: str) -> None:
    with pytest.raises(ConfigurationError, match=re.escape(complaint)):
        load(text)


@pytest.mark.parametrize("seconds", ["nan", "inf", "-1", "0"])
@pytest.mark.parametrize("key", ["launch_timeout", "poll_interval", "connect_timeout"])
def test_a_time_is_more_than_0_and_finite(load: Callable[[str], Config], key: str, seconds: str) -> None:
    with pytest.raises(ConfigurationError, match=f"clusters.a: {key} is {seconds}, but must be more than 0 and finite"):
        load(f"[clusters.a]\n{key} = {seconds}")


@pytest.mark.parametrize("seconds", ["nan", "inf", "-1"])
def test_a_launch_cannot_wait_for_ever_or_less_than_not_at_all(load: Callable[[str], Config], seconds: str) -> None:
    with pytest.raises(ConfigurationError, match=f"profiles.a: wait_for_start is {seconds}, but must be 0 or more"):
        load(f"[profiles.a]\nwait_for_start = {seconds}")


def test_without_a_name_the_only_profile_is_meant_or_the_default(load: Callable[[str], Config]) -> None:
    assert load("[profiles.only]").profile(None)[0] == "only"
    assert load("[profiles.a]\n[profiles.default]").profile(None)[0] == "default"
    with pytest.raises(ConfigurationError, match=r"there is no profile 'default' \(known: a, b\)"):
        load("[profiles.a]\n[profiles.b]").profile(None)


def test_an_unknown_profile_or_cluster_is_named_with_the_nearest(load: Callable[[str], Config]) -> None:
    found = load("[clusters.hpc]\n[profiles.big]")
    with pytest.raises(ConfigurationError, match=r"fxsched\.toml: there is no profile 'bigg'; did you mean 'big'\?"):
        found.profile("bigg")
    with pytest.raises(ConfigurationError, match=r"fxsched\.toml: there is no cluster 'hpcc'; did you mean 'hpc'\?"):
        found.cluster("hpcc")


def test_of_several_clusters_one_must_be_named(load: Callable[[str], Config]) -> None:
    found = load("[clusters.a]\n[clusters.b]\n[profiles.p]\ncluster = 'a'")
    with pytest.raises(ConfigurationError, match="say which cluster: a, b"):
        found.cluster(None)


@pytest.mark.parametrize("text", [b"[clusters", b"a = \xff", b"a = 1\na = 2"])
def test_what_is_not_toml_is_refused(tmp_path: Path, text: bytes) -> None:
    path = written(tmp_path, "")
    path.write_bytes(text)
    with pytest.raises(ConfigurationError, match=r"fxsched\.toml is not TOML"):
        load_config(path)


def test_a_file_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"none\.toml cannot be read: No such file"):
        load_config(tmp_path / "none.toml")


# ── who may have written it ───────────────────────────────────────────────────────────────────────────────────────


def as_user(monkeypatch: pytest.MonkeyPatch, user: int) -> None:
    """Let the configuration be read by ``user``, whoever runs the test."""
    monkeypatch.setattr(os, "geteuid", lambda: user)


def owned(monkeypatch: pytest.MonkeyPatch, owner: int) -> None:
    """Let files and directories belong to ``owner``."""
    fstat, path_stat = os.fstat, Path.stat

    def change(status: os.stat_result) -> os.stat_result:
        values = list(status)
        values[4] = owner
        return os.stat_result(values)

    monkeypatch.setattr(os, "fstat", lambda descriptor: change(fstat(descriptor)))
    monkeypatch.setattr(Path, "stat", lambda path, **options: change(path_stat(path, **options)))


@pytest.mark.parametrize("mode", [0o664, 0o646])
def test_root_refuses_a_file_that_others_can_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: int) -> None:
    path = written(tmp_path, "")
    path.chmod(mode)
    as_user(monkeypatch, 0)
    owned(monkeypatch, 0)
    with pytest.raises(ConfigurationError, match=rf"can be written by others: run chmod go-w {path}$"):
        load_config(path)


def test_root_refuses_a_directory_that_others_can_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path, "")
    tmp_path.chmod(0o777)
    as_user(monkeypatch, 0)
    owned(monkeypatch, 0)
    with pytest.raises(ConfigurationError, match=rf"run chmod go-w {tmp_path}$"):
        load_config(path)


def test_a_directory_like_tmp_in_which_only_owners_can_rename_is_accepted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(tmp_path, "[profiles.a]")
    tmp_path.chmod(0o1777)
    as_user(monkeypatch, 0)
    owned(monkeypatch, 0)
    assert "a" in load_config(path).profiles


@pytest.mark.parametrize("reader", [0, 2001])
def test_a_file_of_another_user_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reader: int) -> None:
    path = written(tmp_path, "")
    as_user(monkeypatch, reader)
    owned(monkeypatch, 2002)
    with pytest.raises(ConfigurationError, match=f"belongs to user 2002: chown it to root, or to user {reader}"):
        load_config(path)


def test_a_user_reads_what_belongs_to_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path, "[profiles.a]")
    as_user(monkeypatch, 2001)
    owned(monkeypatch, 0)
    assert "a" in load_config(path).profiles


def test_a_user_s_own_file_is_that_user_s_business(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path, "[profiles.a]")
    path.chmod(0o666)
    tmp_path.chmod(0o777)
    as_user(monkeypatch, 2001)
    owned(monkeypatch, 2001)
    assert "a" in load_config(path).profiles


# ── where it is looked for ────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    """The four places, each with a file."""
    found = {name: tmp_path / name / "fxsched.toml" for name in ("explicit", "variable", "fastx", "system")}
    for path in found.values():
        path.parent.mkdir()
        path.touch()
    monkeypatch.setenv("FXSCHED_CONFIG", str(found["variable"]))
    monkeypatch.setattr(settings_file, "SYSTEM_CONFIG", found["system"])
    return found


def test_the_first_of_four_places_counts(places: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    fastx = str(places["fastx"].parent)
    assert find_config(places["explicit"], fastx) == places["explicit"]
    assert find_config(None, fastx) == places["variable"]
    monkeypatch.delenv("FXSCHED_CONFIG")
    assert find_config(None, fastx) == places["fastx"]
    places["fastx"].unlink()
    assert find_config(None, fastx) == places["system"]
    places["system"].unlink()
    assert find_config(None, fastx) is None


def test_a_file_that_was_asked_for_is_not_passed_over(places: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    places["variable"].unlink()
    assert find_config(None) == places["variable"]
    assert find_config(Path("/none")) == Path("/none")


def test_a_place_that_cannot_be_looked_into_is_an_error(
    places: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("FXSCHED_CONFIG")
    with pytest.raises(ConfigurationError, match="cannot be read: File name too long"):
        find_config(None, "/" + "x" * 5000)


def test_the_state_directory(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("FXSCHED_STATE", "XDG_STATE_HOME"):
        monkeypatch.delenv(name, raising=False)
    assert state_directory() == home / ".local/state/fxsched"
    monkeypatch.setenv("XDG_STATE_HOME", "relative")
    assert state_directory() == home / ".local/state/fxsched"
    monkeypatch.setenv("XDG_STATE_HOME", "/var/ada")
    assert state_directory() == Path("/var/ada/fxsched")
    monkeypatch.setenv("FXSCHED_STATE", "/var/state")
    assert state_directory() == Path("/var/state")


# ── strict conversion ─────────────────────────────────────────────────────────────────────────────────────────────


class Options(Struct, frozen=True):
    command: str = "sbatch"
    limits: dict[str, int] = {}


def test_a_table_becomes_what_it_is_declared_to_be() -> None:
    assert convert({"command": "x"}, Options, "here") == Options(command="x")


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        ({"comand": "x"}, "here.comand is not a setting; did you mean 'command'?"),
        ({"command": 1}, "here.command: expected `str`, got `int`"),
        ({"limits": {"a": "x"}}, "here.limits[...]: expected `int`, got `str`"),
        ([], "here must be a table, [here], not []"),
    ],
)
def test_a_table_that_is_wrong_is_one_error_with_its_place(data: object, complaint: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        convert(data, Options, "here")
    assert str(caught.value) == complaint


def test_a_table_is_a_table() -> None:
    assert as_table({"a": 1}, "here") == {"a": 1}
