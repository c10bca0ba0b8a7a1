"""ProcessLock: who is alive, and which files stay."""

from __future__ import annotations

from pathlib import Path

import pytest

from oss_wsgi.ledger.process_lock import ProcessLock, is_dead, lock_names


@pytest.fixture
def stem(tmp_path: Path) -> str:
    return str(tmp_path / "x-owner-")


def test_a_process_is_alive_until_its_lock_is_released(stem: str) -> None:
    lock = ProcessLock(stem)
    with is_dead(stem, lock.name) as dead:
        assert not dead
    assert lock_names(stem) == [lock.name]
    lock.release()
    lock.release()
    with is_dead(stem, lock.name) as dead:
        assert dead
    assert lock_names(stem) == []


def test_a_lock_whose_file_was_removed_is_not_valid(stem: str) -> None:
    lock = ProcessLock(stem)
    assert lock.is_valid()
    Path(stem + lock.name).unlink()
    assert not lock.is_valid()
    lock.release()


def test_a_lock_without_its_process_is_dead_and_its_file_removed(stem: str) -> None:
    lock = ProcessLock(stem)
    lock.detach_after_fork()  # no parent holds it here
    assert lock_names(stem) == [lock.name]
    with is_dead(stem, lock.name) as dead:
        assert dead
        with is_dead(stem, lock.name) as seen_by_another:
            assert not seen_by_another
    assert lock_names(stem) == []


def test_only_names_of_locks_are_listed(stem: str) -> None:
    Path(stem + "notes.txt").touch()
    assert lock_names(stem) == []
