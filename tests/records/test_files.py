"""Small files are whole or not there, and lie in directories that nobody else can exchange."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fxsched.records.files import (
    append_line,
    check_own,
    create_whole,
    decode,
    make_directory,
    overwrite,
    write_atomically,
    write_new,
)


def fail(*_: object, **__: object) -> Any:
    raise OSError(28, "No space left on device")


@pytest.fixture
def events(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the disk is told, in order."""
    seen: list[str] = []
    fsync, rename, link = os.fsync, os.rename, os.link

    def watched_fsync(descriptor: int) -> None:
        status = os.fstat(descriptor)
        seen.append("directory synced" if stat.S_ISDIR(status.st_mode) else f"{status.st_size} bytes synced")
        fsync(descriptor)

    def watched_rename(path: str, target: Path) -> None:
        seen.append("renamed")
        rename(path, target)

    def watched_link(path: str, target: Path) -> None:
        seen.append("named")
        link(path, target)

    monkeypatch.setattr(os, "fsync", watched_fsync)
    monkeypatch.setattr(os, "rename", watched_rename)
    monkeypatch.setattr(os, "link", watched_link)
    return seen


@pytest.fixture
def few_bytes_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that takes three bytes at a time, as one may that is nearly full."""
    write = os.write
    monkeypatch.setattr(os, "write", lambda file, data: write(file, bytes(data)[:3]))


# ── what is written ───────────────────────────────────────────────────────────────────────────────────────────────


def test_a_file_gets_its_name_only_when_it_is_whole_and_on_the_disk(tmp_path: Path, events: list[str]) -> None:
    write_atomically(tmp_path / "a", b"content")
    assert events == ["7 bytes synced", "renamed", "directory synced"]


def test_a_file_with_many_names_is_on_the_disk_before_it_has_one_and_with_them_after_a_sync(
    tmp_path: Path, events: list[str]
) -> None:
    assert create_whole(tmp_path, ["a", "b"], b"content") == {"a", "b"}
    assert events == ["7 bytes synced", "named", "named", "directory synced"]
    assert os.path.samefile(tmp_path / "a", tmp_path / "b")


def test_a_file_that_is_replaced_has_its_name_on_the_disk_already(tmp_path: Path, events: list[str]) -> None:
    (tmp_path / "a").write_bytes(b"former")
    write_atomically(tmp_path / "a", b"content")
    assert ((tmp_path / "a").read_bytes(), events) == (b"content", ["7 bytes synced", "renamed"])


@pytest.mark.parametrize("step", ["write", "fsync", "rename"])
def test_a_file_that_cannot_be_replaced_is_what_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    (tmp_path / "a").write_bytes(b"former")
    monkeypatch.setattr(os, step, fail)
    with pytest.raises(OSError, match="No space left"):
        write_atomically(tmp_path / "a", b"content")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"a": b"former"}


def test_a_name_that_is_taken_is_not_got_and_keeps_its_file(tmp_path: Path) -> None:
    (tmp_path / "b").write_bytes(b"former")
    assert create_whole(tmp_path, ["a", "b", "c"], b"content") == {"a", "c"}
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {
        "a": b"content",
        "b": b"former",
        "c": b"content",
    }


def test_a_name_that_a_repeated_request_finds_taken_by_its_own_file_is_got(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = os.link

    def twice(path: str, target: Path) -> None:  # as an NFS client does whose first request was not answered
        link(path, target)
        link(path, target)

    monkeypatch.setattr(os, "link", twice)
    assert create_whole(tmp_path, ["a"], b"content") == {"a"}


@pytest.mark.usefixtures("few_bytes_at_once")
@pytest.mark.parametrize("write", [write_atomically, write_new, overwrite])
def test_what_the_disk_takes_in_pieces_is_written_whole(tmp_path: Path, write: Callable[[Path, bytes], None]) -> None:
    write(tmp_path / "a", b"some content")
    assert (tmp_path / "a").read_bytes() == b"some content"


@pytest.mark.parametrize("write", [write_atomically, write_new, overwrite])
def test_a_file_is_its_owner_s_alone(tmp_path: Path, write: Callable[[Path, bytes], None]) -> None:
    old = os.umask(0)
    try:
        write(tmp_path / "a", b"content")
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o600


def test_of_a_longer_content_nothing_is_left(tmp_path: Path) -> None:
    for content in (b"long content", b"short"):
        overwrite(tmp_path / "a", content)
    assert (tmp_path / "a").read_bytes() == b"short"


def test_a_line_is_added_behind_half_a_one(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"first\nsec")
    append_line(tmp_path / "a", b"third")
    assert (tmp_path / "a").read_bytes().splitlines() == [b"first", b"sec", b"third"]


def test_no_line_is_added_to_what_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        append_line(tmp_path / "a", b"line")
    assert list(tmp_path.iterdir()) == []


def test_a_new_file_is_never_an_old_one(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"former")
    with pytest.raises(FileExistsError):
        write_new(tmp_path / "a", b"content")
    assert (tmp_path / "a").read_bytes() == b"former"


@pytest.mark.parametrize("write", [write_new, overwrite, append_line])
def test_nothing_is_written_through_a_link(tmp_path: Path, write: Callable[[Path, bytes], None]) -> None:
    (tmp_path / "theirs").write_bytes(b"former")
    (tmp_path / "a").symlink_to(tmp_path / "theirs")
    with pytest.raises(OSError, match=r"File exists|Too many levels of symbolic links"):
        write(tmp_path / "a", b"content")
    assert (tmp_path / "theirs").read_bytes() == b"former"


# ── where it is written ───────────────────────────────────────────────────────────────────────────────────────────


def test_a_directory_is_made_with_all_above_it_and_for_its_owner_alone(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        make_directory(tmp_path / "a" / "b")
    finally:
        os.umask(old)
    assert [stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "a", tmp_path / "a" / "b")] == [0o700, 0o700]


def test_a_directory_that_is_there_and_ours_is_used_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a").chmod(0o755)
    make_directory(tmp_path / "a")
    assert check_own(tmp_path / "a")
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o755


def test_a_directory_that_is_not_there_is_nobody_s(tmp_path: Path) -> None:
    assert not check_own(tmp_path / "a")


@pytest.mark.parametrize("obstacle", ["file", "link", "dangling link", "group's", "everybody's"])
def test_a_place_that_somebody_else_could_exchange_is_refused(tmp_path: Path, obstacle: str) -> None:
    place, elsewhere = tmp_path / "a", tmp_path / "elsewhere"
    elsewhere.mkdir()
    match obstacle:
        case "file":
            place.write_bytes(b"")
        case "link":
            place.symlink_to(elsewhere)
        case "dangling link":
            place.symlink_to(tmp_path / "nowhere")
        case _:
            place.mkdir()
            place.chmod(0o770 if obstacle == "group's" else 0o707)
    for use in (check_own, make_directory, lambda path: write_atomically(path / "b", b"content")):
        with pytest.raises(OSError, match=r"not a directory|others can write it"):
            use(place)
    assert list(elsewhere.iterdir()) == []


def test_a_place_of_somebody_else_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").mkdir()
    own = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: own + 1)
    with pytest.raises(PermissionError, match=f"it belongs to user {own}"):
        make_directory(tmp_path / "a")


@pytest.mark.parametrize("there", [True, False])
def test_a_place_in_somebody_else_s_home_is_refused_though_it_is_ours(
    home: Path, monkeypatch: pytest.MonkeyPatch, there: bool
) -> None:
    if there:
        (home / "a").mkdir()
    theirs = 4242
    status = os.stat

    def stat_of_another(path: Any, **options: Any) -> os.stat_result:
        found = status(path, **options)
        return os.stat_result((*found[:4], theirs, *found[5:])) if str(path) == str(home) else found

    monkeypatch.setattr(os, "stat", stat_of_another)
    with pytest.raises(PermissionError, match=f"belongs to user {theirs}"):
        check_own(home / "a")


# ── what is read ──────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("data", [b"", b"{", b'{"a": 1}', b'["\xff"]', b"[" * 100_000, b"\0"])
def test_what_is_no_list_of_words_is_one_kind_of_error(data: bytes) -> None:
    with pytest.raises(ValueError, match=r".+"):
        decode(data, list[str])


def test_what_is_a_list_of_words_is_one() -> None:
    assert decode(b'["a", "b"]', list[str]) == ["a", "b"]
