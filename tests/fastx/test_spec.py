"""A request and a profile make a job: rules, fields, environment, start script."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from contextlib import suppress
from typing import Any, NoReturn

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from fxsched.errors import ConfigurationError, InvalidRequest
from fxsched.fastx.request import Request, parse_request
from fxsched.fastx.spec import build_spec, choose_profile
from fxsched.hosts import CommandResult, LocalHost
from fxsched.hosts.scripted import ScriptedHost
from fxsched.jobs import JobSpec, Resources, SessionWait, Token
from fxsched.settings.config import Config, FieldSettings, ProfileSettings, Rule, When
from fxsched.settings.placement import inherited, placement
from fxsched_process.adapter import ProcessAdapter
from fxsched_slurm.adapter import SlurmAdapter

TOKEN = Token("abcdefghij2345672345")
WEBLINK = {"url": "https://fx.example", "uri": "/weblink", "primary": "hunter2"}


def request(params: dict[str, Any] | None = None, **members: Any) -> Request:
    """FastX's request, as it comes."""
    start = {"command": "xterm", "geometry": "800x600", "name": "mine", "params": params or {}}
    whole = {"login": "ada", "uid": 2001, "homedir": "/home/ada", "rootDir": "/opt/fastx", "start": start} | members
    return parse_request(json.dumps(whole).encode())


def build(
    profile: ProfileSettings | None = None,
    params: dict[str, Any] | None = None,
    environment: dict[str, str] | None = None,
    **members: Any,
) -> JobSpec:
    return build_spec(
        request(params, **members), "big", profile or ProfileSettings(), token=TOKEN, environment=environment or {}
    )


def with_field(name: str, **settings: Any) -> ProfileSettings:
    return ProfileSettings(fields={name: FieldSettings(param="wish", **settings)})


# ── rules ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def chosen(
    *rules: tuple[str, When], params: dict[str, Any] | None = None, groups: Iterable[str] = ("staff", "gpu-users")
) -> str | None:
    config = Config(rules=tuple(Rule(profile=profile, when=when) for profile, when in rules))
    return choose_profile(request(params), config, lambda: groups)


@pytest.mark.parametrize(
    ("when", "matches"),
    [
        (When(), True),
        (When(login="ada"), True),
        (When(login="a*"), True),
        (When(login=["bob", "ad?"]), True),
        (When(login="bob"), False),
        (When(login="Ada"), False),
        (When(login=[]), False),
        (When(group="gpu-*"), True),
        (When(group=["none", "staff"]), True),
        (When(group="root"), False),
        (When(params={"queue": "gpu"}), True),
        (When(params={"queue": ["cpu", "g*"]}), True),
        (When(params={"queue": "cpu"}), False),
        (When(params={"other": "*"}), False),
        (When(params={"many": "b"}), True),
        (When(params={"flag": "true"}), True),
        (When(login="ada", group="staff", params={"queue": "gpu"}), True),
        (When(login="ada", group="staff", params={"queue": "cpu"}), False),
    ],
)
def test_a_rule_matches_when_all_that_it_says_does(when: When, matches: bool) -> None:
    params = {"queue": "gpu", "many": ["a", "b"], "flag": True}
    assert chosen(("big", when), params=params) == ("big" if matches else None)


def test_the_first_rule_that_matches_decides() -> None:
    rules = [("a", When(login="bob")), ("b", When(login="ada")), ("c", When())]
    assert chosen(*rules) == "b"


def test_the_groups_are_looked_up_only_if_a_rule_asks() -> None:
    def fail() -> NoReturn:
        raise AssertionError

    config = Config(rules=(Rule(profile="a", when=When(login="bob", group="x")), Rule(profile="b")))
    assert choose_profile(request(), config, fail) == "b"


# ── fields ────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("name", "settings", "wish", "expected"),
    [
        ("cores", {}, "4", 4),
        ("cores", {}, 4, 4),
        ("cores", {}, " 4 ", 4),
        ("memory", {}, "8G", 8 * 1024**3),
        ("memory", {"unit": "G"}, "8", 8 * 1024**3),
        ("memory", {"unit": "G"}, 1.5, 3 * 1024**3 // 2),
        ("memory", {"unit": "G"}, "512M", 512 * 1024**2),
        ("walltime", {}, "1:30", 5400),
        ("walltime", {"unit": "h"}, "8", 28800),
        ("cores", {"min": 1, "max": 8}, "8", 8),
        ("memory", {"unit": "G", "max": "64G"}, "64", 64 * 1024**3),
        ("walltime", {"max": "2-00:00:00"}, "48h", 172800),
        ("cores", {"choices": [1, "2", 4]}, "2", 2),
        ("memory", {"choices": ["8G", "16G"]}, "8192M", 8 * 1024**3),
        ("cores", {"default": 3}, None, 3),
        ("cores", {"default": "3"}, "", 3),
        ("cores", {"default": 3}, [], 3),
        ("cores", {}, [], 1),
        ("memory", {"unit": "G", "default": 4}, None, 4 * 1024**3),
        ("cores", {}, ["4"], 4),
    ],
)
def test_a_param_feeds_a_resource(name: str, settings: dict[str, Any], wish: object, expected: int) -> None:
    spec = build(with_field(name, **settings), {"wish": wish})
    assert getattr(spec.resources, name) == expected


@pytest.mark.parametrize("name", ["queue", "account", "qos", "reservation", "constraint"])
def test_a_param_feeds_a_text(name: str) -> None:
    assert getattr(build(with_field(name), {"wish": "gpu long"}), name) == "gpu long"


def test_a_param_that_is_missing_leaves_the_profile_s_own_value() -> None:
    profile = ProfileSettings(cores=6, memory="2G", fields={"cores": FieldSettings(param="wish")})
    assert build(profile).resources == Resources(cores=6, memory=2 * 1024**3)


def test_a_param_outranks_the_profile() -> None:
    profile = ProfileSettings(cores=6, fields={"cores": FieldSettings(param="wish")})
    assert build(profile, {"wish": "2"}).resources.cores == 2


def test_a_param_that_no_field_names_feeds_nothing() -> None:
    wishes = {"cores": "64", "queue": "x", "native": "--x", "environment": "x"}
    assert replace(build(params=wishes), stdin=b"") == replace(build(), stdin=b"")


@pytest.mark.parametrize(
    ("name", "settings", "wish", "complaint"),
    [
        ("cores", {}, "many", "wish: 'many' is not a whole number"),
        ("cores", {}, "4.5", "wish: '4.5' is not a whole number"),
        ("cores", {}, "+-5", "wish: '+-5' is not a whole number"),
        ("cores", {}, "--5", "wish: '--5' is not a whole number"),
        ("cores", {}, "\u0664", "is not a whole number"),
        ("cores", {}, "9" * 5000, "is not a whole number"),
        ("cores", {}, "4; rm -rf /", "is not a whole number"),
        ("cores", {}, True, "wish: 'true' is not a whole number"),
        ("cores", {}, "0", "cores is 0, but must be at least 1"),
        ("cores", {"min": 2}, "1", "wish is 1, but must be at least 2"),
        ("cores", {"min": 2}, "-1", "wish is -1, but must be at least 2"),
        ("cores", {"max": 8}, "9", "wish is 9, but must be at most 8"),
        ("cores", {"choices": [1, 2]}, "3", "wish is '3', but must be one of 1, 2"),
        ("cores", {}, ["1", "2"], "wish must be one value, not 2"),
        ("cores", {}, {"a": 1}, "a param must be text, not {'a': 1}"),
        ("cores", {}, [["1"]], "a param must be text"),
        ("memory", {}, "8", "wish: '8' is not a size"),
        ("memory", {"unit": "G"}, "9" * 5000, "is not a size"),
        ("memory", {"unit": "G", "max": "64G"}, "65", "wish is 65G, but must be at most 64G"),
        ("walltime", {}, "soon", "wish: 'soon' is not a duration"),
        ("walltime", {"max": "8h"}, "8h1s", "wish is 8h1s, but must be at most 8h"),
        ("queue", {"choices": ["cpu", "gpu"]}, "GPU", "wish is 'GPU', but must be one of cpu, gpu"),
        ("queue", {}, "a\nb", "holds a control character"),
        ("queue", {}, "a\0b", "holds a control character"),
        ("queue", {}, "\x1b[2J", "holds a control character"),
    ],
)
def test_a_param_outside_its_limits_is_the_request_s_fault(
    name: str, settings: dict[str, Any], wish: object, complaint: str
) -> None:
    with pytest.raises(InvalidRequest, match=re.escape(complaint)):
        build(with_field(name, **settings), {"wish": wish})


@given(st.one_of(st.text(), st.integers(), st.floats(), st.lists(st.text()), st.dictionaries(st.text(), st.text())))
def test_any_param_is_a_resource_or_refused(wish: object) -> None:
    for name in ("cores", "memory", "walltime", "queue"):
        with suppress(InvalidRequest):
            assert build(with_field(name, unit="G" if name == "memory" else ""), {"wish": wish}).token == TOKEN


@pytest.mark.parametrize(
    ("name", "settings", "complaint"),
    [
        ("cores", {"type": "size"}, "profiles.big.fields.cores.type is 'size', but cores is of type 'integer'"),
        ("colour", {}, "profiles.big.fields.colour feeds nothing: the profile has no template"),
        ("core", {}, "feeds nothing: the profile has no template; did you mean 'cores'?"),
        ("cores", {"default": "many"}, "profiles.big.fields.cores.default: 'many' is not a whole number"),
        ("memory", {"default": 8}, "profiles.big.fields.memory.default: '8' is not a size"),
    ],
)
def test_a_field_that_is_wrong_is_the_administrator_s_fault(
    name: str, settings: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(ConfigurationError, match=re.escape(complaint)):
        build(with_field(name, **settings))


@pytest.mark.parametrize("limit", ["min", "max", "choices"])
def test_a_limit_that_is_wrong_is_the_administrator_s_fault(limit: str) -> None:
    settings: dict[str, Any] = {limit: ["many"] if limit == "choices" else "many"}
    with pytest.raises(ConfigurationError, match=rf"fields\.cores\.{limit}: 'many' is not a whole number"):
        build(with_field("cores", **settings), {"wish": "4"})


@pytest.mark.parametrize("name", ["memory", "walltime"])
def test_a_resource_of_the_profile_that_is_wrong_is_named(name: str) -> None:
    settings: dict[str, Any] = {name: "8"}
    with pytest.raises(ConfigurationError, match=rf"profiles\.big\.{name}: '8'"):
        placement("big", ProfileSettings(**settings))


def test_the_profile_s_own_needs_reach_the_job() -> None:
    profile = ProfileSettings(
        queue="q", account="a", qos="s", reservation="r", constraint="c", exclusive=True, nodes=2, cores=3, memory="1G",
        gpus=1, walltime="8h", native=["-x", "y z"], wait_for_session=SessionWait.PROCESSES,
    )  # fmt: skip
    spec = build(profile)
    assert (spec.queue, spec.account, spec.qos, spec.reservation, spec.constraint) == ("q", "a", "s", "r", "c")
    assert (spec.exclusive, spec.native, spec.wait_for_session) == (True, ("-x", "y z"), SessionWait.PROCESSES)
    assert spec.resources == Resources(nodes=2, cores=3, memory=1024**3, gpus=1, walltime=28800)


# ── templates ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_template_sees_the_request_the_fields_and_the_command() -> None:
    template = "{{ start.params.x }} {{ start.name }} {{ request.login }} {{ fields.colour }} {{ token }} {{ command }}"
    profile = ProfileSettings(template=template, fields={"colour": FieldSettings(param="wish")})
    body = build(profile, {"wish": "red", "x": "a b"}).body
    assert body == f"'a b' 'mine' 'ada' 'red' '{TOKEN}' /opt/fastx/scripts/start --json=0 --cli"


def test_a_template_never_sees_the_weblink() -> None:
    for member in ("request.weblink", "request.other", "start.weblink", "secrets", "environment"):
        with pytest.raises(ConfigurationError, match="does not have"):
            build(ProfileSettings(template=f"{{{{ {member}.primary }}}}"), weblink=WEBLINK)


# ── FastX 3 templates ─────────────────────────────────────────────────────────────────────────────────────────────

LINE = 'bsub -q n -R "mem=${ start.params.wish }" start --command "${ start.command }" --geometry ${ start.geometry }'


def test_a_submit_line_gives_native_options_behind_the_profile_s_own_and_changes_nothing_else() -> None:
    plain = build(ProfileSettings(native=["-x"]), {"wish": "4 5"})
    spec = build(ProfileSettings(native=["-x"], submit_line=LINE), {"wish": "4 5"})

    assert spec.native == ("-x", "-q", "n", "-R", "mem=4 5")
    assert replace(spec, native=plain.native) == plain


def test_a_field_checks_what_a_submit_line_uses_and_may_have_a_default() -> None:
    field = FieldSettings(param="wish", type="integer", max=8, default=2)
    profile = ProfileSettings(submit_line=LINE, fields={"ram": field})

    assert build(profile, {"wish": "4"}).native[-1] == "mem=4"
    assert build(profile).native[-1] == "mem=2"
    with pytest.raises(InvalidRequest, match="wish is 9, but must be at most 8"):
        build(profile, {"wish": "9"})
    with pytest.raises(ConfigurationError, match="feeds nothing"):
        build(replace(profile, fields={"ram": FieldSettings(param="other")}))


@pytest.mark.parametrize("param", ["wis", "is", "bsub", "start", "params", "command"])
def test_a_field_whose_param_a_submit_line_only_seems_to_use_feeds_nothing(param: str) -> None:
    profile = ProfileSettings(submit_line=LINE, fields={"ram": FieldSettings(param=param, max=8)})

    with pytest.raises(ConfigurationError, match=f"feeds nothing: the profile's submit_line does not use '{param}'"):
        build(profile, {"wish": "4096"})


@pytest.mark.parametrize(
    ("settings", "within", "outside", "complaint"),
    [
        ({"max": 16}, "16", "4096", "wish is 4096, but must be at most 16"),
        ({"max": "16"}, "16", "4096", "wish is 4096, but must be at most 16"),
        ({"min": 2, "max": 16}, "2", "1", "wish is 1, but must be at least 2"),
        ({"max": 16}, "16", "many", "wish: 'many' is not a whole number"),
        ({"max": "8G"}, "8192M", "9G", "wish is 9G, but must be at most 8G"),
        ({"unit": "G", "max": "8G"}, "8", "9", "wish is 9G, but must be at most 8G"),
        ({"max": "8h"}, "8h", "9h", "wish is 9h, but must be at most 8h"),
        ({"max": "01:30:00"}, "90m", "91m", "wish is 1h31m, but must be at most 1h30m"),
    ],
)
def test_limits_tell_the_type_of_a_field_without_one(
    settings: dict[str, Any], within: str, outside: str, complaint: str
) -> None:
    profile = replace(with_field("ram", **settings), submit_line=LINE)

    assert build(profile, {"wish": within}).native[-1] == f"mem={within}"
    with pytest.raises(InvalidRequest, match=complaint):
        build(profile, {"wish": outside})


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("ram", {"max": "8m"}),  # megabytes or minutes
        ("ram", {"max": 8, "unit": "G"}),  # a number or a size
        ("ram", {"min": 1, "max": "8G"}),
        ("ram", {"max": "many"}),
        ("ram", {"max": 16, "type": "text"}),
        ("queue", {"max": 16}),
    ],
)
def test_limits_that_nothing_could_be_held_to_are_refused(name: str, settings: dict[str, Any]) -> None:
    profile = replace(with_field(name, **settings), submit_line=LINE)

    with pytest.raises(ConfigurationError, match=rf"fields\.{name} has min or max, .* give it a type"):
        build(profile)


def test_a_control_character_in_a_submit_line_s_param_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="control character"):
        build(ProfileSettings(submit_line=LINE), {"wish": "a\nb"})


# ── environment and secrets ───────────────────────────────────────────────────────────────────────────────────────

LAUNCHER = {
    "FX_ROOT_DIR": "/opt/fastx",
    "FASTX_X": "1",
    "WEBLINK_PORT": "80",
    "LC_ALL": "C",
    "LANG": "de",
    "PATH": "/bin",
}


@pytest.mark.parametrize(
    ("policy", "names"),
    [
        ("all", set(LAUNCHER)),
        ("none", set()),
        ("fastx", set(LAUNCHER) - {"PATH"}),
        (["PATH", "NONE"], {"PATH"}),
        ([], set()),
    ],
)
def test_a_job_inherits_what_the_policy_says(policy: Any, names: set[str]) -> None:
    here = ProcessAdapter(LocalHost(), None)
    assert inherited(policy, here, LAUNCHER) == {name: LAUNCHER[name] for name in names}


def test_without_a_policy_the_adapter_s_habit_counts() -> None:
    assert inherited(None, ProcessAdapter(LocalHost(), None), LAUNCHER) == LAUNCHER
    assert "PATH" not in inherited(None, SlurmAdapter(LocalHost(), None), LAUNCHER)


def test_elsewhere_or_as_somebody_else_a_job_does_not_inherit_who_and_where_the_launcher_is() -> None:
    far = ProcessAdapter(ScriptedHost(lambda command: CommandResult(0, b"", b"")), None)

    assert inherited(None, far, LAUNCHER).keys() == LAUNCHER.keys() - {"PATH"}
    assert inherited("all", far, LAUNCHER | {"HOME": "/root", "X": "1"}).keys() == (LAUNCHER.keys() | {"X"}) - {"PATH"}
    assert inherited(["PATH"], far, LAUNCHER).keys() == {"PATH"}


def test_the_weblink_outranks_what_is_inherited_and_the_profile_outranks_both() -> None:
    inherited = {"WEBLINK_URL": "old", "WEBLINK_URI": "old", "A": "old", "B": "kept"}
    spec = build(
        ProfileSettings(environment={"WEBLINK_URI": "/mine", "A": "new"}), environment=inherited, weblink=WEBLINK
    )
    assert spec.environment == {"WEBLINK_URL": "https://fx.example", "WEBLINK_URI": "/mine", "A": "new", "B": "kept"}


@pytest.mark.parametrize("variable", ["MY-SITE", "my.site", "1ST", "", "A B", "A=B", "BASH_FUNC_x%%", "GRÖSSE"])
def test_a_variable_of_the_profile_that_no_shell_can_hold_is_refused(variable: str) -> None:
    complaint = f"profiles.big.environment: no shell can hold a variable {variable!r}"
    with pytest.raises(ConfigurationError, match=re.escape(complaint)):
        build(ProfileSettings(environment={"GOOD": "1", variable: "x"}))


def test_an_inherited_variable_that_no_shell_can_hold_is_no_trouble() -> None:
    assert build(environment={"BASH_FUNC_x%%": "() { :; }"}).token == TOKEN


@pytest.mark.parametrize("source", ["request", "launcher", "profile"])
def test_the_primary_is_only_ever_a_secret(source: str) -> None:
    spec = build(
        ProfileSettings(environment={"WEBLINK_PRIMARY": "hunter2"} if source == "profile" else {}),
        environment={"WEBLINK_PRIMARY": "hunter2"} if source == "launcher" else {},
        weblink=WEBLINK if source == "request" else {"url": "https://fx.example"},
    )
    assert {name: secret.reveal() for name, secret in spec.secrets.items()} == {"WEBLINK_PRIMARY": "hunter2"}
    assert "WEBLINK_PRIMARY" not in spec.environment
    assert "hunter2" not in repr(spec)


def test_without_a_weblink_there_are_no_secrets() -> None:
    assert build().secrets == {}


# ── the start script ──────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("given_script", "expected"),
    [
        ("$FX_ROOT_DIR/scripts/mine", "/opt/fastx/scripts/mine"),
        ("${FX_ROOT_DIR}/scripts/mine", "/opt/fastx/scripts/mine"),
        ("/usr/local/bin/start", "/usr/local/bin/start"),
        ("", "/opt/fastx/scripts/start"),
    ],
)
def test_fastx_names_its_start_script(given_script: str, expected: str) -> None:
    assert build(defaultStartScript=given_script).command == (expected, "--json=0", "--cli")


def test_with_a_weblink_it_is_start_weblink() -> None:
    spec = build(weblink=WEBLINK, defaultStartScript="/other")
    assert spec.command == ("/opt/fastx/scripts/start-weblink", "--json=0", "--cli")


def test_the_profile_s_own_start_script_outranks_all() -> None:
    profile = ProfileSettings(start_script="$FX_ROOT_DIR/mine", start_args=["a b", "--c"])
    assert build(profile, weblink=WEBLINK).command == ("/opt/fastx/mine", "a b", "--c")


@pytest.mark.parametrize(
    ("weblink", "lacks"), [({"url": "https://x"}, "primary"), ({"primary": "x"}, "url"), ({}, "url")]
)
def test_a_weblink_through_which_nothing_could_connect_is_refused(weblink: dict[str, str], lacks: str) -> None:
    with pytest.raises(InvalidRequest, match=f"a weblink without '{lacks}': the session could never connect back"):
        build(weblink=weblink)


def test_what_a_weblink_lacks_may_be_in_the_profile() -> None:
    profile = ProfileSettings(environment={"WEBLINK_URL": "https://y", "WEBLINK_PRIMARY": "z"})
    assert build(profile, weblink={}).command[0] == "/opt/fastx/scripts/start-weblink"


def test_a_start_script_below_a_root_that_the_request_lacks_is_refused() -> None:
    with pytest.raises(
        InvalidRequest, match="no member 'rootDir', which the start script '\\$FX_ROOT_DIR/scripts/start'"
    ):
        build(rootDir="")


def test_a_start_script_with_a_newline_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="the start script holds a control character"):
        build(rootDir="/opt\n/fastx")


def test_the_session_is_called_as_the_user_did() -> None:
    start = {"command": "xterm", "params": {}}
    assert build(start={**start, "name": "mine"}).name == "mine"
    assert build(start=start).name == "xterm"
    assert build(start={"params": {}}).name == "session"


def test_the_job_starts_in_the_user_s_home() -> None:
    assert build().working_directory == "/home/ada"
    assert build(homedir="").working_directory is None


# ── the start object ──────────────────────────────────────────────────────────────────────────────────────────────

SPACE = st.sampled_from(["", " ", "\n", "\t", " \r\n  "])
LEAVES = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"])).map(json.dumps),
    st.text(st.characters(exclude_categories=["Cs"])).map(lambda text: json.dumps(text, ensure_ascii=False)),
    st.sampled_from(
        ["1", "-0", "1.50", "1E+2", "true", "null", '"\\/\\u0041\\ud83d\\ude00"', "12345678901234567890123"]
    ),
)


@st.composite
def json_texts(draw: st.DrawFn) -> str:
    """Any JSON, written in any way."""
    return draw(st.recursive(LEAVES, lambda inner: st.one_of(arrays(inner), objects(inner)), max_leaves=8))


def arrays(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    items = st.lists(st.tuples(SPACE, inner, SPACE).map("".join))
    return items.map(lambda texts: f"[{','.join(texts)}]")


def objects(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    names = st.text(st.characters(exclude_categories=["Cs"]), max_size=5).map(json.dumps)
    items = st.lists(st.tuples(SPACE, names, SPACE, st.just(":"), SPACE, inner, SPACE).map("".join))
    return items.map(lambda texts: f"{{{','.join(texts) or ' '}}}")


@given(
    other=st.dictionaries(st.sampled_from(["x", "später", "x y"]), json_texts()),
    params=objects(json_texts()),
    space=SPACE,
)
def test_the_start_object_is_handed_on_byte_for_byte(other: dict[str, str], params: str, space: str) -> None:
    members = [f'"params"{space}:{params}', *(f"{json.dumps(name)}:{space}{text}" for name, text in other.items())]
    start = f"{{{space}{f'{space},'.join(members)}{space}}}"
    data = f'{{"login":"ada","uid":1,{space}"start":{space}{start}{space},"rootDir":"/opt"}}'.encode()
    spec = build_spec(parse_request(data), "p", ProfileSettings(), token=TOKEN, environment={})
    assert spec.stdin == start.encode()
