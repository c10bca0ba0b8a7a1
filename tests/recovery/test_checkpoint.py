"""Where sweeps stand, in a file: private, replaced at once, and never in the way of a sweep."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from oss_wsgi.private_file import UnsafeFileError
from oss_wsgi.recovery.checkpoint import CheckpointFile, load_state, save_state
from tests.support.foreign_files import KINDS, plant, victim_of
from tests.support.ledger_programs import POSIX


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "checkpoint.json"


def test_each_name_has_its_own_state(path: Path) -> None:
    save_state(CheckpointFile(path), "one", {"place": "猫"})
    save_state(CheckpointFile(path), "two", {"place": 2})
    save_state(CheckpointFile(str(path)), "two", {"place": 3})
    states = [load_state(CheckpointFile(path), name) for name in ("one", "two", "three")]
    assert states == [{"place": "猫"}, {"place": 3}, {}]


@pytest.mark.parametrize("text", ["", "[", "[]", '{"one": "[1]"}', '{"one": {"place": 2}}', "[" * 100_000])
def test_what_is_not_ours_counts_as_empty_and_is_replaced(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
    assert load_state(CheckpointFile(path), "one") == {}
    save_state(CheckpointFile(path), "one", {"place": 1})
    assert load_state(CheckpointFile(path), "one") == {"place": 1}


def test_a_relative_path_is_that_of_the_beginning(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(path.parent)
    file = CheckpointFile(path.name)
    monkeypatch.chdir("/")
    file.save("one", "text")
    assert path.exists()


@POSIX
@pytest.mark.parametrize("kind", KINDS)
def test_what_another_user_put_in_its_place_is_refused_unchanged(tmp_path: Path, path: Path, kind: str) -> None:
    victim = victim_of(tmp_path)
    victim.path.write_text('{"one": "{}"}')
    before = victim.state()
    plant(kind, path, victim)
    for use in (lambda: CheckpointFile(path).load("one"), lambda: CheckpointFile(path).save("one", "text")):
        with pytest.raises(UnsafeFileError, match=KINDS[kind]):
            use()
    assert victim.state() == before


@POSIX
def test_the_file_is_this_users_alone(path: Path) -> None:
    CheckpointFile(path).save("one", "text")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
