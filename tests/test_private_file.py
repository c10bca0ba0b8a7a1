"""Files and folders that their owner alone can read: new ones, and those that were wider."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from oss_wsgi.private_file import make_private_folder, narrow, open_private

from .ledger.processes import POSIX

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
