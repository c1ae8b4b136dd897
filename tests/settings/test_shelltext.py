"""Values in the text of a script: one word each, wherever they stand, to every shell; or the text is refused."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fxsched.errors import ConfigurationError
from fxsched.settings import shelltext

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

SHELLS = [words for words in (["sh"], ["dash"], ["bash", "--posix"], ["bash"]) if shutil.which(words[0])]
if Path(shutil.which("sh") or "").resolve() == Path(shutil.which("dash") or "").resolve():
    SHELLS.remove(["sh"])

VALUES = st.one_of(
    st.text(st.sampled_from("'\"\\$`(){}[]<>|&;#!*?~=%@+-_ \t\n\rab12")),
    st.text(st.characters(exclude_characters="\0\r", exclude_categories=["Cs"])),
)

# What runs, if a shell takes any of it for more than a part of a word, leaves a file behind.
RUN = ">pwned"
HOSTILE = [
    f"$({RUN})",
    f"`{RUN}`",
    f";{RUN};",
    f"\n{RUN}\n",
    f"'\n{RUN}\n'",
    f'"\n{RUN}\n"',
    f"';{RUN};'",
    f'";{RUN};"',
    f");{RUN};(",
    f"}};{RUN};{{",
    f"));{RUN};((",
    f"a[$({RUN})]",
    f"'`{RUN}`'",
    f'")`{RUN}`"',
    f"\\$({RUN})",
    f"\\`{RUN}\\`",
    f"\\\n{RUN}\n",
    f"#\n{RUN}\n",
    f"\nEOF\n{RUN}\n",
    f";;esac;{RUN};",
]


EACH = """n=0
for text do
    (cd "$n" && set -- && eval "$text") 2>&1
    printf '\\0'
    n=$((n + 1))
done
"""


def run_each(texts: Sequence[str], shell: list[str], folder: Path) -> Iterator[tuple[str, list[str]]]:
    """Run each text in a subshell of one shell, in a directory of its own; what it said, and the files that it made."""
    program = shutil.which(shell[0])
    assert program is not None
    with tempfile.TemporaryDirectory(dir=folder) as root:
        for number in range(len(texts)):
            os.mkdir(f"{root}/{number}")
        done = subprocess.run(
            [program, *shell[1:], "-c", EACH, shell[0], *texts],
            cwd=root,
            env={"PATH": "/nonexistent", "x": "x", "HOME": "/"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=60,
            check=True,
        )
        said = done.stdout.decode(errors="replace").split("\0")
        assert len(said) == len(texts) + 1
        for number, each in enumerate(said[:-1]):
            yield each, os.listdir(f"{root}/{number}")


def fill(text: str, *values: str) -> str:
    """Fill a text whose places are written as ``@``."""
    for index in range(text.count("@")):
        text = text.replace("@", shelltext.mark(min(index, len(values) - 1)), 1)
    return shelltext.fill(text, values)


# Each text defines nothing and prints what show() was given: a line with the number of words, then each between bars.
SHOW = """show() { printf '%s:' "$#"; for w; do printf '%s' "|$w|"; done; }
"""
PLACES = {
    "unquoted": "show @",
    "in double quotes": 'show "@"',
    "in single quotes": "show '@'",
    "in a command substitution": 'printf %s "$(show @; echo .)"',
    "in double quotes in a command substitution": 'printf %s "$(show "@"; echo .)"',
    "in single quotes in a command substitution": "printf %s \"$(show '@'; echo .)\"",
    "in a command substitution that is not quoted": "IFS=; printf %s $(show @; echo .)",
    "in a nested command substitution": 'printf %s "$(printf %s "$(show "@"; echo .)")"',
    "in a subshell": "(show @)",
    "in a group": "{ show @; }",
    "in an assignment": 'v=@; show "$v"',
    "before a command": 'v=@ ; show "$v"',
    "before a redirection": "show @>&1",
    "behind a comment with quotes": '# don\'t "touch" `this` $( (\nshow @',
    "behind a comment within a line": "true # it's $(\nshow @",
    "behind a comment on a continued line": "true \\\n# don't\nshow @",
    "behind a number sign in a word": "v=a#'; show ';show @",
    "behind a number sign behind a substitution": "v=$(true)#'; show ';show @",
    "behind the number of arguments": "v=$#'; show ';show @",
    "behind a parameter's length": 'v=${#x}; v="${#x}"; show @',
    "behind an escaped backslash": "v=\\\\; show @",
    "behind an escaped quote": "v=\\'\\\"; show @",
    "behind an escaped quote in double quotes": 'v="\\""; show "@"',
    "behind an apostrophe in double quotes": 'v="it\'s"; show @',
    "behind a quote in single quotes": "v='\"'; show @",
    "behind a backslash in single quotes": "v='\\'; show @",
    "behind parameter expansions": 'v=${x:-"}"}${x:-\'}\'}"${x:-a}"; show @',
    "behind an apostrophe in a quoted expansion's word": 'v="${x:-a}"; show @',
    "behind arithmetic": "v=$((1 + (2 * 3))); show @",
    "behind arithmetic in double quotes": 'v="$((1 + (2 * 3)))"; show @',
    "behind backquotes": "v=`true`; show @",
    "behind a process id": "v=$$'; show '; show @",
    "behind a duplicated descriptor": "true >&2 2>&1; show @",
    "in a case": "case @ in *) show @;; esac",
    "behind a case": "case x in x) true;; esac; show @",
    "on many lines": 'show \\\n    "@" \\\n',
    "in a loop": 'for v in @; do show "$v"; done',
    "behind another value": "v=@; show @",
}


USUAL = ["$(touch pwned)`touch pwned`';\"\n\\", "2", "a=b", "-n", "if", "", "\\"]


@pytest.mark.parametrize("shell", SHELLS, ids=" ".join)
@given(values=st.lists(VALUES, min_size=5, max_size=5))
@example(values=USUAL)
@settings(max_examples=2)
def test_a_value_is_one_word(tmp_path: Path, shell: list[str], values: list[str]) -> None:
    cases = [(place, value) for place in PLACES for value in values]
    texts = [SHOW + fill(PLACES[place], value) for place, value in cases]
    for case, (said, files) in zip(cases, run_each(texts, shell, tmp_path), strict=True):
        assert (case, said.removesuffix("."), files) == (case, f"1:|{case[1]}|", [])


JOINED = [
    ("show a@", "1:|aV|"),
    ("show @a", "1:|Va|"),
    ("show @@", "1:|VV|"),
    ('show "a@b"', "1:|aVb|"),
    ('show "@@"', "1:|VV|"),
    ("show 'a@b'", "1:|aVb|"),
    ('show a"@"b', "1:|aVb|"),
    ("show $x@", "1:|xV|"),
    ('show "$x@"', "1:|xV|"),
    ('show "$x"@', "1:|xV|"),
    ("show ${x}@", "1:|xV|"),
    ("show /a/@/b", "1:|/a/V/b|"),
    ("show --opt=@", "1:|--opt=V|"),
    ("show a#@", "1:|a#V|"),
    ("show '#'@", "1:|#V|"),
    ("show $(echo a)#@", "1:|a#V|"),
    ("show ~@", "1:|~V|"),
    ("show x$#@", "1:|x0V|"),
    ('show "cost: \\$@"', "1:|cost: $V|"),
]
"""Texts, and what they show of the value V."""


@pytest.mark.parametrize("shell", SHELLS, ids=" ".join)
def test_a_value_joins_the_word_that_it_stands_in(tmp_path: Path, shell: list[str]) -> None:
    values = ["letters", "_b", "$(>pwned)", "*", "a b", "{1,2}", "7"]
    cases = [(text, words.replace("V", value), value) for text, words in JOINED for value in values]
    texts = [f"{SHOW}x_b=secret xletters=secret\n{fill(text, value)}" for text, _, value in cases]
    for case, (said, files) in zip(cases, run_each(texts, shell, tmp_path), strict=True):
        assert (case, said, files) == (case, case[1], [])


COMMENTS = ["# @", "true # it's @", 'true # "@', "true;# @", "true \\\n# @ don't", "v=$(# @ )\n)", "#@\n# @"]


@pytest.mark.parametrize("shell", SHELLS, ids=" ".join)
def test_a_value_in_a_comment_stays_there(tmp_path: Path, shell: list[str]) -> None:
    texts = [f"{fill(comment, value)}\nprintf on" for comment in COMMENTS for value in HOSTILE]
    for text, (said, files) in zip(texts, run_each(texts, shell, tmp_path), strict=True):
        assert (text, said, files) == (text, "on", [])


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("echo `echo @`", "`"),
        ("echo `echo '@'`", "`"),
        ('echo "`echo @`"', "`"),
        ("cat <<EOF\n@\nEOF", "<<"),
        ("cat <<EOF\nIt's @\nEOF", "<<"),
        ("cat <<EOF\n# @\nEOF", "<<"),
        ("cat <<'EOF'\n@\nEOF", "<<"),
        ("cat <<EOF\nEOF\nshow @", "<<"),
        ("cat <\\\n<EOF\n@\nEOF", "<\\"),
        ("echo ${x:-@}", "${"),
        ('echo "${x:-@}"', "${"),
        ("echo ${x#'@'}", "${"),
        ("echo $((@ + 1))", "(("),
        ('echo "$((@ + 1))"', "(("),
        ("echo $(( '@' ))", "'"),
        ("(( @ > 3 )) && true", "(("),
        ("for ((i=0; i<@; i++)); do true; done", "(("),
        ("echo $[ @ + 1 ]", "["),
        ("a[@]=1", "["),
        ("echo \\@", "\\"),
        ('echo "\\@"', "\\"),
        ("echo $@", "$"),
        ('echo "$@"', "$"),
        ("echo $'@'", "$'"),
        ("echo $'it\\'s' @", "$'"),
        ('echo "$(case x in x) echo @;; esac)"', "case"),
        ('echo "$(case x in x) true;; esac)" @', "case"),
        ("(case x in x) true;; esac); echo @", "case"),
        ('echo "$$(@)"', "$$("),
        ('echo "$\\\n(@)"', "$\\"),
        ('echo "${x%\'"\'}" @', "'"),
        ("echo hi >&2@", ">&"),
        ("echo hi >&@", ">&"),
        ("(true)#'\n@", "#"),
        ("[[ a == ?(#b) ]]\necho @", "?("),
    ],
)
def test_a_place_where_nothing_keeps_a_value_one_word_is_refused(text: str, place: str) -> None:
    with pytest.raises(ConfigurationError, match=re.escape(f"stands behind {place!r}, where")) as caught:
        fill(text, "value")
    assert "Assign it to a variable" in str(caught.value)


def test_a_text_without_values_is_never_refused() -> None:
    text = "cat <<EOF\n`date` $((1 + 1)) $'a' $(case x in x) true;; esac)\nEOF\n"
    assert shelltext.fill(text, []) == text


def test_a_value_with_a_nul_character_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="NUL"):
        fill("echo @", "a\0b")


# ── anything an author may think of ───────────────────────────────────────────────────────────────────────────────

PIECES = [
    *["echo ", ": ", "v=", "a", "x", "1", "$x", "${x}", '"${x}"', "$$", "$#", "$?", "$$(", "!", "~", "/", ":", "="],
    *['"', '"', "'", "'", "\\", '\\"', "\\'", "\\`", "\\$", "`", "$'", '$"', "it's"],
    *["$(", "$(echo ", "(", ")", ")", "$((", "((", "))", "$[", "[", "]", "y[", "[[ ", " ]]", "<(", "f()", "?("],
    *[
        "${x:-",
        "${x#",
        "${x%",
        "${x//",
        "}",
        "}",
        "{ ",
        "; }",
        "#",
        " #",
        "# ",
        " ",
        "\n",
        "\\\n",
        "\t",
        ";",
        "&& ",
        "|",
    ],
    *["<<EOF\n", "\nEOF\n", ">&2", ">&", "<&", "case x in x)", ";; esac", "for v in a; do ", "; done", "in"],
    *["@", "@", "@", '"@"', "'@'", "$(@)", "@"],
]


TEXTS = st.tuples(*[st.lists(st.sampled_from(PIECES), max_size=7).map("".join)] * 2).map("@".join)
FOUND = [
    ('echo "$$(@)"', HOSTILE[0]),
    ("cat <<EOF\nit's @", HOSTILE[0]),
    ("$(echo)#@", HOSTILE[2]),
    ("echo \\\n# it's @", HOSTILE[3]),
    ('>&2"@"', HOSTILE[0]),
    (">&\t@", HOSTILE[0]),
    ("echo >& \\\n@", HOSTILE[0]),
    ("echo `echo '@'`", HOSTILE[1]),
    ('echo ${x:- #"} @"', HOSTILE[2]),
]


@pytest.mark.parametrize("shell", SHELLS, ids=" ".join)
@given(cases=st.lists(st.tuples(TEXTS, st.sampled_from(HOSTILE)), min_size=30, max_size=30))
@example(cases=FOUND)
@settings(max_examples=10)
def test_no_value_ever_runs(tmp_path: Path, shell: list[str], cases: list[tuple[str, str]]) -> None:
    texts = []
    for text, value in cases:
        with suppress(ConfigurationError):
            texts.append(fill(text, value))
    for text, (_, files) in zip(texts, run_each(texts, shell, tmp_path), strict=True):
        assert (text, "pwned" in files) == (text, False)
