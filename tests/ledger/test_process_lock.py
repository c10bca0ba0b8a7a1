"""FileLocks: where lock files are, and what happens if somebody removes them; test_sqlite.py runs the contract."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

import pytest

from oss_wsgi.ledger.process_lock import FileLocks
from oss_wsgi.private_file import UnsafeFileError

from ..support.foreign_files import AS_ROOT, NOBODY, plant, victim_of


def test_names_and_uploads_have_files_of_their_own(tmp_path: Path) -> None:
    locks, other = FileLocks(f"{tmp_path}/x-lock"), FileLocks(f"{tmp_path}/x-lock")
    places = locks.place(7), locks.place(7, is_name=True)
    for place in places:
        assert locks.try_lock(place)
        assert not other.try_lock(place)
    locks.unlock(places[0])
    before = os.listdir("/dev/fd")
    assert other.try_lock(places[0])
    assert not other.try_lock(places[1])
    other.unlock(places[0])
    other.unlock(places[0])
    assert os.listdir("/dev/fd") == before


def test_no_fork_begins_while_a_lock_file_is_being_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    locks, close = FileLocks(f"{tmp_path}/x-lock"), os.close
    may_fork: list[bool] = []
    place = locks.place(7)
    locks.try_lock(place)

    def close_while_another_thread_forks(descriptor: int) -> None:
        other = threading.Thread(target=lambda: may_fork.append(locks.mutex.acquire(blocking=False)))
        other.start()
        other.join()
        close(descriptor)

    monkeypatch.setattr(os, "close", close_while_another_thread_forks)
    locks.unlock(place)
    monkeypatch.undo()
    assert may_fork == [False]


@pytest.mark.parametrize("when", ["before", "meanwhile"])
def test_a_lock_file_that_was_removed_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: str) -> None:
    locks = FileLocks(f"{tmp_path}/x-lock")
    place, file, stat = locks.place(2**61 + 7), tmp_path / "x-locks" / "0007", os.stat
    assert locks.try_lock(place)
    locks.unlock(place)

    def remove(path: Any, **options: Any) -> os.stat_result:
        if path == str(file):
            monkeypatch.undo()
            file.unlink()
        return stat(path, **options)

    if when == "before":
        file.unlink()
    else:
        monkeypatch.setattr(os, "stat", remove)
    assert locks.try_lock(place)
    assert not FileLocks(f"{tmp_path}/x-lock").try_lock(place)


@pytest.mark.parametrize("kind", ["link", "dangling link", "pipe"])
def test_what_is_in_the_place_of_the_folder_or_of_a_file_is_refused(tmp_path: Path, kind: str) -> None:
    folder, victim = tmp_path / "x-locks", victim_of(tmp_path)
    locks, before = FileLocks(f"{tmp_path}/x-lock"), victim.state()
    place = locks.place(7)
    plant(kind, folder / "0007", victim)
    with pytest.raises(UnsafeFileError, match="not a regular file"):
        locks.try_lock(place)
    (folder / "0007").unlink()
    folder.rmdir()
    plant(kind, folder, victim)
    with pytest.raises(OSError, match="folder"):
        locks.try_lock(place)
    with pytest.raises(OSError, match="folder"):
        FileLocks(f"{tmp_path}/x-lock")
    assert victim.state() == before


def test_a_link_to_a_folder_gets_no_lock_file(tmp_path: Path) -> None:
    (tmp_path / "theirs").mkdir(mode=0o755)
    (tmp_path / "x-locks").symlink_to("theirs")
    with pytest.raises(UnsafeFileError, match="x-locks' is a symbolic link, not a folder"):
        FileLocks(f"{tmp_path}/x-lock").try_lock(7)
    assert os.listdir(tmp_path / "theirs") == []
    assert (tmp_path / "theirs").stat().st_mode & 0o777 == 0o755


@AS_ROOT
def test_root_makes_a_lock_file_for_the_owner_of_the_folder(tmp_path: Path) -> None:
    locks = FileLocks(f"{tmp_path}/x-lock")
    os.chown(tmp_path / "x-locks", NOBODY, NOBODY)
    assert locks.try_lock(7)
    assert (tmp_path / "x-locks" / "0007").stat().st_uid == NOBODY


@AS_ROOT
def test_root_makes_the_folder_for_the_owner_of_the_ledger(tmp_path: Path) -> None:
    (tmp_path / "x").touch()
    os.chown(tmp_path / "x", NOBODY, NOBODY)
    locks = FileLocks(f"{tmp_path}/x-lock")
    os.rmdir(tmp_path / "x-locks")
    assert locks.try_lock(7)
    for path in (tmp_path / "x-locks", tmp_path / "x-locks" / "0007"):
        assert (path.stat().st_uid, path.stat().st_gid) == (NOBODY, NOBODY)
    os.chown(tmp_path / "x", 0, 0)
    FileLocks(f"{tmp_path}/x-lock")
    assert (tmp_path / "x-locks").stat().st_uid == NOBODY, "an existing folder keeps its owner"


def test_a_child_closes_its_copies_of_locks_once(tmp_path: Path) -> None:
    locks = FileLocks(f"{tmp_path}/x-lock")
    place = locks.place(7)
    assert locks.try_lock(place)
    for _ in range(2):  # a child and its own child
        locks.renew_in_child()
    locks.unlock(place)
    assert FileLocks(f"{tmp_path}/x-lock").try_lock(place)
