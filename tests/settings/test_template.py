"""Templates: Jinja2, in which every value is one word of the shell."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from fxsched.errors import ConfigurationError
from fxsched.settings.template import render

COMMAND = ("/opt/fast x/start", "--json=0", "$HOME", "it's")
HOSTILE = "a b'\"$(touch pwned)`touch pwned`\n; touch pwned"


def lines(template: str, folder: Path, **values: Any) -> list[str]:
    """Run a template's text; return the words that its printf commands printed, each with a bar behind it."""
    text = render(template, values, COMMAND)
    done = subprocess.run(["/bin/sh", "-c", text], cwd=folder, capture_output=True, timeout=60, check=True)
    assert not list(folder.iterdir())
    return done.stdout.decode().split("|")[:-1]


def test_a_value_is_one_word(tmp_path: Path) -> None:
    assert lines("printf '%s|' {{ x }} \"{{ x }}\" '{{ x }}'", tmp_path, x=HOSTILE) == [HOSTILE] * 3


def test_a_list_is_several_words(tmp_path: Path) -> None:
    words = ["a b", "", HOSTILE, "-n"]
    assert lines("printf '%s|' {{ x }}", tmp_path, x=words) == words
    assert lines("printf '%s|' {{ x }}", tmp_path, x=tuple(words)) == words


def test_a_list_in_quotes_is_one_word(tmp_path: Path) -> None:
    assert lines("printf '%s|' \"{{ x }}\" '{{ x }}'", tmp_path, x=["a  b", "c"]) == ["a  b c"] * 2


def test_the_command_is_its_words_already(tmp_path: Path) -> None:
    assert lines("printf '%s|' {{ command }}", tmp_path) == list(COMMAND)


def test_unquoted_is_as_it_is() -> None:
    assert render("module load {{ x | unquoted }}", {"x": "a b; c"}, ()) == "module load a b; c"


def test_numbers_none_and_members_are_words(tmp_path: Path) -> None:
    assert lines("printf '%s|' {{ n }} {{ none }} {{ d.a }}", tmp_path, n=4, none=None, d={"a": "b"}) == ["4", "", "b"]


def test_constants_and_filters_give_words_too(tmp_path: Path) -> None:
    template = "printf '%s|' {{ 'a b' }} {{ x | upper }} {{ y | join(',') }} {{ z | default('d e') }}"
    assert lines(template, tmp_path, x="a $(b)", y=["1", "2 3"]) == ["a b", "A $(B)", "1,2 3", "d e"]


def test_loops_and_conditions(tmp_path: Path) -> None:
    template = "{% for v in x %}{% if v %}printf '%s|' {{ v }}\n{% endif %}{% endfor %}"
    assert lines(template, tmp_path, x=["a b", "", "c'd"]) == ["a b", "c'd"]


def test_a_text_keeps_its_last_newline() -> None:
    assert render("true\n", {}, ()) == "true\n"


def test_what_the_request_does_not_have_is_an_error() -> None:
    for template in ("{{ fields.x }}", "{{ y }}", "{% if y %}{% endif %}", '"{{ fields.x.y }}"'):
        with pytest.raises(ConfigurationError, match="needs something that the request does not have"):
            render(template, {"fields": {}}, ())


METHODS = ("items", "copy", "values", "get", "keys", "pop", "update", "__class__")


@pytest.mark.parametrize("name", METHODS)
def test_a_param_may_be_called_as_a_method_of_python_s(name: str, tmp_path: Path) -> None:
    template = (
        f"printf '%s|' {{{{ params.{name} }}}} {{{{ params['{name}'] }}}} {{{{ params.{name} | default('no') }}}}"
    )
    assert lines(template, tmp_path, params={name: "a b"}) == ["a b"] * 3


@pytest.mark.parametrize("value", [{}, "text", 4, 1.5, ["a"]])
@pytest.mark.parametrize("name", [*METHODS, "upper", "real", "count"])
@pytest.mark.parametrize(
    "form", ["{{{{ x.{} }}}}", "{{{{ x['{}'] }}}}", "{{% if x.{} %}}{{% endif %}}", "{{{{ x.{}() }}}}"]
)
def test_a_member_that_a_value_does_not_have_is_no_method_either(form: str, name: str, value: Any) -> None:
    with pytest.raises(ConfigurationError, match="needs something that the request does not have"):
        render(form.format(name), {"x": value}, ())


def test_what_jinja_has_of_its_own_keeps_its_members(tmp_path: Path) -> None:
    template = """
        {% set n = namespace(last='') %}
        {% for v in x %}
            printf '%s|' {{ loop.index }} {{ loop.cycle('a', 'b') }} {{ v }}
            {% set n.last = v %}
        {% endfor %}
        printf '%s|' {{ n.last }} {{ x[0] }} {{ x[-2:] }} {{ x[0][1] }}
        {% for g in y | groupby('k') %}
            printf '%s|' {{ g.grouper }} {{ g.list | map(attribute='v') | list }}
        {% endfor %}
    """
    words = lines(template, tmp_path, x=["c d", "e"], y=[{"k": "p q", "v": "1"}, {"k": "p q", "v": "2 3"}])
    assert words == ["1", "a", "c d", "2", "b", "e", "e", "c d", "c d", "e", " ", "p q", "1", "2 3"]


@pytest.mark.parametrize(
    "template", ["{{ x", "{% if %}", "{{ x | nofilter }}", "{% include 'a' %}", "{{ x + 1 }}", "{{ 1 // 0 }}"]
)
def test_a_wrong_template_is_one_clear_error(template: str) -> None:
    with pytest.raises(ConfigurationError, match="the template is wrong"):
        render(template, {"x": "text"}, ())


def test_a_place_that_cannot_be_quoted_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="behind '`'"):
        render("echo `echo {{ x }}`", {"x": "a"}, ())


@pytest.mark.parametrize(
    "template",
    [
        "{% macro m(v) %}echo {{ v }}{% endmacro %}{{ m(x) }}",
        "{% set block %}{{ x }}{% endset %}{{ block }}",
        "{% set block %}{{ x }}{% endset %}{{ block | unquoted }}",
    ],
)
def test_text_put_together_from_values_is_not_taken_for_a_value(template: str) -> None:
    with pytest.raises(ConfigurationError, match="put together by a macro"):
        render(template, {"x": "a"}, ())


FORGED = "\ue0000\ue001"


@pytest.mark.parametrize(
    ("template", "value", "command"),
    [
        (f"echo {FORGED}", "", ""),
        ("echo {{ x }}", FORGED, ""),
        ("echo {{ x | unquoted }}", FORGED, ""),
        ("{{ command }}", "", FORGED),
    ],
    ids=["template", "value", "unquoted value", "command"],
)
def test_a_forged_place_holder_is_refused(template: str, value: str, command: str) -> None:
    with pytest.raises(ConfigurationError, match=r"U\+E000"):
        render(template, {"x": value}, (command,))
