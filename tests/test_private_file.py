"""Files and folders that their owner alone can read: new ones, and those that others could read before."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from oss_wsgi.private_file import (
    file_lock,
    lock,
    make_private_folder,
    narrow,
    narrow_folder,
    open_private,
    write_private,
)

from .support.ledger_programs import POSIX

pytestmark = POSIX

NEW = os.O_WRONLY | os.O_CREAT


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture(params=[0, 0o077, 0o777], ids=oct)
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


@pytest.mark.usefixtures("umask")
def test_new_files_and_folders_are_private(tmp_path: Path) -> None:
    make_private_folder(tmp_path / "a" / "b")
    os.close(open_private(tmp_path / "a" / "b" / "file", NEW))
    assert [mode(tmp_path / name) for name in ("a", "a/b", "a/b/file")] == [0o700, 0o700, 0o600]


@pytest.mark.parametrize("before", [0o644, 0o666, 0o400, 0o777])
def test_a_file_that_exists_becomes_private(tmp_path: Path, before: int) -> None:
    for number, change in enumerate((lambda path: os.close(open_private(path, os.O_RDONLY)), narrow)):
        path = tmp_path / f"file{number}"
        path.touch()
        path.chmod(before)
        change(path)
        assert mode(path) == 0o600


def test_a_folder_that_exists_stays_as_it_is(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    make_private_folder(tmp_path)
    assert mode(tmp_path) == 0o755


def test_a_file_in_the_place_of_a_folder_is_called_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError, match="it is not a folder"):
        make_private_folder(tmp_path / "file")


def test_narrow_ignores_a_missing_file(tmp_path: Path) -> None:
    narrow(tmp_path / "missing")
    assert not (tmp_path / "missing").exists()


def test_a_file_that_may_not_be_narrowed_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*arguments: object) -> None:
        raise PermissionError

    path = tmp_path / "file"
    path.touch()
    path.chmod(0o644)
    monkeypatch.setattr("oss_wsgi.private_file.os.chmod", refuse)
    os.close(open_private(path, os.O_RDONLY))
    assert "chmod 600" in caplog.text
    caplog.clear()
    monkeypatch.undo()
    path.chmod(0o400)
    monkeypatch.setattr("oss_wsgi.private_file.os.chmod", refuse)
    os.close(open_private(path, os.O_RDONLY))
    assert caplog.records == [], "nobody else can read it"


def test_a_folder_becomes_private_and_a_missing_one_is_ignored(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    narrow_folder(tmp_path)
    narrow_folder(tmp_path / "missing")
    assert mode(tmp_path) == 0o700
    assert not (tmp_path / "missing").exists()


def test_a_folder_in_a_file_is_not_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError):
        make_private_folder(tmp_path / "file" / "folder")


@pytest.mark.parametrize("has_links", [True, False])
def test_a_text_is_written_in_one_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_links: bool) -> None:
    if not has_links:
        monkeypatch.setattr(os, "link", _no_links)
    path = tmp_path / "file"
    write_private(path, "first", replace=False)
    assert (path.read_text(), mode(path)) == ("first", 0o600)
    write_private(path, "second", replace=True)
    assert path.read_text() == "second"
    assert os.listdir(tmp_path) == ["file"]


def test_the_text_of_another_process_can_be_left(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_private(path, "first", replace=False)
    write_private(path, "second", replace=False)
    assert path.read_text() == "first"
    assert os.listdir(tmp_path) == ["file"]


def _no_links(source: object, target: object) -> None:
    raise OSError("this file system has no hard links")


def test_a_lock_is_free_once_its_holder_closes_it(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    descriptor = open_private(path, NEW)
    assert lock(descriptor)
    with file_lock(path) as acquired:
        assert acquired is False
    os.close(descriptor)
    with file_lock(path) as acquired:
        assert acquired is True
        with file_lock(path) as acquired_twice:
            assert acquired_twice is False
    assert mode(path) == 0o600
