"""Where sweeps stand, in a file: private, replaced at once, and never in the way of a sweep."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from oss_wsgi.recovery.checkpoint import FileCheckpoint
from tests.support.ledger_programs import POSIX


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "checkpoint.json"


def test_each_name_has_its_own_state(path: Path) -> None:
    FileCheckpoint(path).save("one", {"place": "猫"})
    FileCheckpoint(path).save("two", {"place": 2})
    FileCheckpoint(str(path)).save("two", {"place": 3})
    assert [FileCheckpoint(path).load(name) for name in ("one", "two", "three")] == [{"place": "猫"}, {"place": 3}, {}]


@pytest.mark.parametrize("text", ["", "[", "[]", '{"one": [1]}', '{"one": null}', "[" * 100_000])
def test_what_is_not_ours_counts_as_empty_and_is_replaced(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
    assert FileCheckpoint(path).load("one") == {}
    FileCheckpoint(path).save("one", {"place": 1})
    assert FileCheckpoint(path).load("one") == {"place": 1}


@POSIX
def test_the_file_is_this_users_alone(path: Path) -> None:
    FileCheckpoint(path).save("one", {})
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_what_a_kill_left_behind_is_in_nobodys_way(path: Path) -> None:
    path.with_name(f"{path.name}.new").write_text("half", encoding="utf-8")
    FileCheckpoint(path).save("one", {"place": 1})
    assert FileCheckpoint(path).load("one") == {"place": 1}
    assert [each.name for each in path.parent.iterdir()] == [path.name]
