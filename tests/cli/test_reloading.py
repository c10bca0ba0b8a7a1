"""What a change of a file is, and which files count."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import pytest

from oss_wsgi.cli.reloading import CHILD_VARIABLE, WatchedFiles, forget_bytecode, inheritance


@pytest.fixture
def files(tmp_path: Path) -> WatchedFiles:
    for name in ("shop.py", "pages/cats.py"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("x = 1")
    watched = WatchedFiles(str(tmp_path))
    assert watched.changes() == []
    return watched


def names(changes: list[str], folder: Path) -> list[str]:
    return [Path(path).relative_to(folder.resolve()).as_posix() for path in changes]


def test_without_a_change_there_is_none(files: WatchedFiles) -> None:
    assert files.changes() == []


def test_changed_new_and_removed_files_are_told_once(files: WatchedFiles, tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text("x = 22")
    (tmp_path / "new.py").write_text("")
    (tmp_path / "pages/cats.py").unlink()
    assert names(files.changes(), tmp_path) == ["new.py", "pages/cats.py", "shop.py"]
    assert files.changes() == []


def test_a_file_replaced_by_one_of_the_same_size_and_time_has_changed(files: WatchedFiles, tmp_path: Path) -> None:
    before = (tmp_path / "shop.py").stat()
    (tmp_path / "shop.tmp").write_text("x = 2")
    os.utime(tmp_path / "shop.tmp", ns=(before.st_atime_ns, before.st_mtime_ns))
    os.replace(tmp_path / "shop.tmp", tmp_path / "shop.py")
    assert names(files.changes(), tmp_path) == ["shop.py"]


@pytest.mark.parametrize("name", ["notes.txt", ".git/x.py", "__pycache__/x.py", "node_modules/x.py", "venv/lib/x.py"])
def test_what_is_not_the_persons_python_does_not_count(files: WatchedFiles, tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    if name.startswith("venv"):
        (tmp_path / "venv/pyvenv.cfg").write_text("")
    path.write_text("x = 3")
    assert files.changes() == []


def test_a_file_elsewhere_counts_once_the_application_has_loaded_it(
    files: WatchedFiles, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("library") / "own_library.py"
    path.write_text("x = 1")
    files.add([str(path), ""])
    assert files.changes() == []
    path.write_text("x = 22")
    assert files.changes() == [str(path)]


def test_stale_bytecode_is_removed(tmp_path: Path) -> None:
    source = tmp_path / "shop.py"
    cached = Path(importlib.util.cache_from_source(str(source)))
    cached.parent.mkdir()
    cached.write_bytes(b"old")
    forget_bytecode([str(source), str(tmp_path / "never_compiled.py")])
    assert not cached.exists()


def test_a_process_without_a_parent_inherits_nothing() -> None:
    environ = {"HOME": "/"}
    assert inheritance(environ) is None
    assert CHILD_VARIABLE not in environ
