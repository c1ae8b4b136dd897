"""Whose sessions these are, and which account they get: never silently somebody else's."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fxsched.errors import ConfigurationError, InvalidRequest
from fxsched.settings.accounts import Person, account_of, check_account
from fxsched.settings.config import Config
from fxsched.settings.file import load_config

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from fxsched.settings.accounts import Login

ADA = Person(login="ada", own=False)
ME = Person(login="ada")


@pytest.mark.parametrize(
    ("login", "person", "account"),
    [
        (None, ME, None),
        (None, ADA, "ada"),
        ("request", ME, "ada"),
        ("request", ADA, "ada"),
        ("service", ADA, "service"),
        ({"ada": "al123"}, ADA, "al123"),
        ({"ada": "request", "*": "guest"}, ADA, "ada"),
        ({"bob": "b7", "*": "guest"}, ADA, "guest"),
        ({"bob": "b7", "*": "request"}, ADA, "ada"),
        (None, Person(login="", own=False, account="al123"), "al123"),
    ],
)
def test_a_person_gets_the_account_that_is_configured(login: Login | None, person: Person, account: str | None) -> None:
    assert account_of(person, login, "clusters.hpc") == account


def test_who_is_not_in_the_mapping_gets_no_account() -> None:
    with pytest.raises(InvalidRequest, match=r"ada has no account on clusters.hpc: clusters.hpc.login does not name"):
        account_of(ADA, {"bob": "b7"}, "clusters.hpc")


@pytest.mark.parametrize("login", ["root", {"ada": "root"}])
def test_nobody_is_given_root_s_account(login: Login) -> None:
    with pytest.raises(InvalidRequest, match="root's account"):
        account_of(ADA, login, "clusters.hpc")


@pytest.mark.parametrize("name", ["ada", "a", "_svc", "ada.l", "host$", "DOM\\ada", "ada@example.org", "u+1", "0day"])
def test_names_that_accounts_have_are_taken(name: str) -> None:
    assert check_account(name) == name


@pytest.mark.parametrize("name", ["", "-u", "#0", "a b", "a/b", "..", "a/../b", "a..b", ".a", "%g", "a\nb", "a:b", "ü"])
def test_what_could_be_an_option_a_number_or_a_path_is_no_account(name: str) -> None:
    with pytest.raises(InvalidRequest, match="cannot be the name of an account"):
        check_account(name)


@given(st.text(max_size=40))
def test_an_account_is_one_plain_word_whatever_the_request_says(name: str) -> None:
    try:
        account = account_of(Person(login=name, own=False), "request", "here")
    except InvalidRequest:
        return
    assert account == name
    assert account.isascii()
    assert not set(account) & set("/ \t\n\0#%:'\"`;&|<>()*?[]{}=,")
    assert not account.startswith(("-", "."))


# ── in the configuration ──────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def load(tmp_path: Path) -> Callable[[str], Config]:
    def write_and_load(text: str) -> Config:
        path = tmp_path / "fxsched.toml"
        path.write_text(text)
        path.chmod(0o644)
        tmp_path.chmod(0o755)
        return load_config(path)

    return write_and_load


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("host = 'ssh://a'\nhosts = ['ssh://b']", "clusters.x has both host and hosts"),
        ("login = 'svc'", 'clusters.x.login: on this machine, only become = "sudo" leads to another user'),
        ("host = 'ssh://svc@a'\nlogin = 'request'", "clusters.x: a user in the host's address and login say the same"),
        ("host = 'ssh://a'\nlogin = '-oProxyCommand=x'", "clusters.x.login: '-oProxyCommand=x' cannot be the name"),
        ("host = 'ssh://a'\nlogin = { ada = 'a b' }", "clusters.x.login: 'a b' cannot be the name of an account"),
        ("host = 'ssh://a'\nlogin = 7", "clusters.x.login: expected `str | object | null`, got `int`"),
        ("becom = 'sudo'", "clusters.x.becom is not a setting; did you mean 'become'?"),
        ("become = 'su'", "clusters.x.become: invalid enum value 'su'"),
        ("transport = 'paramiko'", "clusters.x.transport: invalid enum value 'paramiko'"),
        ("chanels = 3", "clusters.x.chanels is not a setting; did you mean 'channels'?"),
        ("channels = 'many'", "clusters.x.channels: expected `int`, got `str`"),
        ("host = 'ssh://user:password@a'", "clusters.x: 'ssh://user:…@a' is no SSH host"),
        ("host = 'login1'", "clusters.x: 'login1' is no SSH host"),
        ("hosts = ['ssh://a', 'ssh://a']", "clusters.x: hosts names a twice"),
        ("connect_timeout = 0", "clusters.x: connect_timeout is 0, but must be more than 0"),
    ],
)
def test_settings_that_do_not_fit_together_are_refused_when_they_are_read(
    load: Callable[[str], Config], tmp_path: Path, text: str, complaint: str
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load(f"[clusters.x]\n{text}\n")
    assert str(caught.value).startswith(f"{tmp_path / 'fxsched.toml'}: {complaint}")


def test_everything_about_hosts_may_be_set(load: Callable[[str], Config]) -> None:
    found = load(
        """
        [clusters.x]
        adapter = "slurm"
        hosts = ["ssh://fastx@login1", "ssh://fastx@login2:2222"]
        transport = "openssh"
        channels = 4
        connect_timeout = 5
        ssh_config = "/etc/fxsched/ssh_config"
        become = "sudo"
        login = { ada = "al123", "*" = "request" }
        """
    ).clusters["x"]
    assert (found.transport, found.channels, found.connect_timeout, found.become) == ("openssh", 4, 5.0, "sudo")


def test_each_account_for_which_we_act_has_a_state_directory_of_its_own(
    load: Callable[[str], Config], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FXSCHED_STATE", str(tmp_path / "state"))
    config = load('[clusters.x]\nhost = "ssh://a"\nlogin = { ada = "shared", bob = "shared", eve = "request" }\n')

    states = [config.state("x", Person(login=login, own=False)) for login in ("ada", "bob", "eve")]

    assert states == [tmp_path / "state/users" / name for name in ("shared", "shared", "eve")]
    assert config.state("x", ME) == tmp_path / "state"
    with pytest.raises(InvalidRequest):
        config.state("x", Person(login="mallory", own=False))
