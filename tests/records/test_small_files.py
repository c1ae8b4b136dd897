"""Small files that are whole or not there, in directories that are ours."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fxsched.records.files import (
    append_line,
    check_own,
    create_whole,
    make_directory,
    overwrite,
    write_atomically,
    write_new,
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "folder"
    path.mkdir(mode=0o700)
    return path


@pytest.fixture
def careless() -> Iterator[None]:
    """A user whose mask lets others do everything."""
    old = os.umask(0)
    yield
    os.umask(old)


def names(folder: Path) -> list[str]:
    return sorted(os.listdir(folder))


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


# ── a new file ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_new_file_takes_the_place_of_none(folder: Path) -> None:
    (folder / "a").write_bytes(b"a longer content")

    with pytest.raises(FileExistsError):
        write_new(folder / "a", b"new")

    assert (folder / "a").read_bytes() == b"a longer content"


def test_a_new_file_is_not_made_where_a_link_leads(folder: Path) -> None:
    (folder / "a").symlink_to(folder / "elsewhere")

    with pytest.raises(FileExistsError):
        write_new(folder / "a", b"new")

    assert names(folder) == ["a"]


@pytest.mark.usefixtures("careless")
def test_whatever_is_written_is_its_owner_s_alone(folder: Path) -> None:
    write_new(folder / "new", b"")
    overwrite(folder / "overwritten", b"")
    write_atomically(folder / "replaced", b"")
    create_whole(folder, ["one", "two"], b"")

    assert {name: mode(folder / name) for name in names(folder)} == dict.fromkeys(
        ("new", "overwritten", "replaced", "one", "two"), 0o600
    )


def test_a_disk_that_takes_a_few_bytes_at_a_time_gets_them_all(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.write
    monkeypatch.setattr(os, "write", lambda file, data: write(file, bytes(data[:3])))

    write_new(folder / "new", b"0123456789")
    append_line(folder / "new", b"abcdefgh")
    overwrite(folder / "overwritten", b"0123456789")

    assert (folder / "new").read_bytes() == b"0123456789\nabcdefgh"
    assert (folder / "overwritten").read_bytes() == b"0123456789"


# ── a file with several names ─────────────────────────────────────────────────────────────────────────────────────


def test_a_file_has_all_its_names_and_no_other(folder: Path) -> None:
    assert create_whole(folder, ["one", "two"], b"content") == {"one", "two"}

    assert names(folder) == ["one", "two"]
    assert (folder / "one").read_bytes() == b"content"
    assert (folder / "one").stat().st_nlink == 2


def test_a_name_that_nfs_gave_and_said_was_taken_is_its_own(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server's first answer was lost, and to the request that the client repeated it says that there is one."""
    (folder / "taken").write_bytes(b"another's")
    link = os.link

    def repeated(source: str, target: Path) -> None:
        link(source, target)
        link(source, target)

    monkeypatch.setattr(os, "link", repeated)

    assert create_whole(folder, ["one", "taken", "two"], b"content") == {"one", "two"}

    assert {name: (folder / name).read_bytes() for name in names(folder)} == {
        "one": b"content",
        "taken": b"another's",
        "two": b"content",
    }


def test_files_that_are_made_at_once_under_one_name_do_not_meet(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    link = os.link
    made: list[set[str]] = []

    def overtaken(source: str, target: Path) -> None:
        monkeypatch.setattr(os, "link", link)
        made.append(create_whole(folder, ["one"], b"the other's"))
        link(source, target)

    monkeypatch.setattr(os, "link", overtaken)

    assert create_whole(folder, ["one"], b"ours") == set()

    assert made == [{"one"}]
    assert (folder / "one").read_bytes() == b"the other's"
    assert names(folder) == ["one"]


# ── a file that is there ──────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("content", [b"", b"short", b"longer than before"])
def test_what_is_overwritten_is_as_long_as_what_was_written(folder: Path, content: bytes) -> None:
    overwrite(folder / "a", b"what was there")
    inode = (folder / "a").stat().st_ino

    overwrite(folder / "a", content)

    assert (folder / "a").read_bytes() == content
    assert (folder / "a").stat().st_ino == inode


def test_a_line_is_added_to_no_file_that_is_not_there(folder: Path) -> None:
    with pytest.raises(FileNotFoundError):
        append_line(folder / "a", b"line")

    assert names(folder) == []


def test_what_others_added_meanwhile_stays(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_new(folder / "a", b"first")
    write = os.write

    def overtaken(file: int, data: Any) -> int:
        monkeypatch.setattr(os, "write", write)
        append_line(folder / "a", b"theirs")
        return write(file, data)

    monkeypatch.setattr(os, "write", overtaken)

    append_line(folder / "a", b"ours")

    assert (folder / "a").read_bytes() == b"first\ntheirs\nours"


def test_half_a_line_that_was_left_stays_one_of_its_own(folder: Path) -> None:
    write_new(folder / "a", b"first\nhal")

    append_line(folder / "a", b"last")

    assert (folder / "a").read_bytes().split(b"\n") == [b"first", b"hal", b"last"]


@pytest.mark.parametrize("write", [append_line, overwrite])
def test_where_a_link_leads_nothing_is_written(folder: Path, tmp_path: Path, write: Any) -> None:
    (tmp_path / "precious").write_bytes(b"precious")
    (folder / "a").symlink_to(tmp_path / "precious")

    with pytest.raises(OSError, match="symbolic links"):
        write(folder / "a", b"content")

    assert (tmp_path / "precious").read_bytes() == b"precious"


# ── directories that are ours ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.usefixtures("careless")
def test_a_directory_and_its_parents_are_made_for_their_owner_alone(tmp_path: Path) -> None:
    make_directory(tmp_path / "a" / "b" / "c")

    assert [mode(tmp_path / path) for path in ("a", "a/b", "a/b/c")] == [0o700] * 3


def test_a_directory_that_another_process_makes_meanwhile_will_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mkdir = Path.mkdir

    def overtaken(path: Path, mode: int) -> None:
        mkdir(path, mode)
        mkdir(path, mode)

    monkeypatch.setattr(Path, "mkdir", overtaken)

    make_directory(tmp_path / "a" / "b")

    assert check_own(tmp_path / "a" / "b")


def test_a_link_that_somebody_puts_there_meanwhile_will_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "theirs").mkdir()

    def overtaken(path: Path, mode: int) -> None:
        path.symlink_to(tmp_path / "theirs")
        os.mkdir(path, mode)

    monkeypatch.setattr(Path, "mkdir", overtaken)

    with pytest.raises(NotADirectoryError, match="only a link"):
        make_directory(tmp_path / "ours")


def test_a_directory_that_is_not_there_is_no_trouble(tmp_path: Path, home: Path) -> None:
    assert not check_own(tmp_path / "none")
    assert not check_own(home / "none")


@pytest.mark.parametrize("bits", [0o720, 0o702, 0o1777])
def test_a_directory_that_others_can_write_is_not_ours(folder: Path, bits: int) -> None:
    folder.chmod(bits)

    with pytest.raises(PermissionError, match="others can write it"):
        check_own(folder)


def test_a_directory_that_others_can_read_is_ours(folder: Path) -> None:
    folder.chmod(0o755)

    assert check_own(folder)


def give(path: Path, user: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let ``path`` belong to a user, for whoever asks."""
    for name in ("stat", "lstat"):
        ask = getattr(os, name)

        def told(asked: Any, *, ask: Any = ask, **options: Any) -> os.stat_result:
            found = ask(asked, **options)
            return os.stat_result((*found[:4], user, *found[5:])) if str(asked) == str(path) else found

        monkeypatch.setattr(os, name, told)


def test_a_directory_of_somebody_else_is_not_ours(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    give(folder, os.geteuid() + 1, monkeypatch)

    with pytest.raises(PermissionError, match=f"it belongs to user {os.geteuid() + 1}"):
        check_own(folder)
    with pytest.raises(PermissionError, match=f"it belongs to user {os.geteuid() + 1}"):
        make_directory(folder)


def test_in_a_home_of_somebody_else_nothing_is_ours(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "folder").mkdir(mode=0o700)
    give(home, os.geteuid() + 1, monkeypatch)

    with pytest.raises(PermissionError, match=f"{home} belongs to user {os.geteuid() + 1}"):
        check_own(home / "folder")


def test_a_home_may_belong_to_root(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a container, and on nodes that make homes when they are first used."""
    (home / "folder").mkdir(mode=0o700)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    give(home / "folder", 1000, monkeypatch)
    give(home, 0, monkeypatch)

    assert check_own(home / "folder")


def test_whose_home_it_is_does_not_matter_outside_of_it(
    folder: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    give(home, os.geteuid() + 1, monkeypatch)

    assert check_own(folder)
