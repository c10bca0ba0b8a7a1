"""What remembers an upload in parts: a private file beside the large one."""

from __future__ import annotations

import dataclasses
import os
import stat
from pathlib import Path

import pytest

from oss_wsgi.cli.upload_state import StateError, UploadState, load_state, state_path

from ..ledger.processes import POSIX

STATE = UploadState("http://127.0.0.1/oss/signature", "sealed-ticket", "user/a", 250, 1, 100, 2_000_000_000)


def test_a_state_comes_back_as_it_was_saved(tmp_path: Path) -> None:
    path = tmp_path / "state"
    assert load_state(path) is None
    STATE.save(path)
    dataclasses.replace(STATE, key="user/大").save(path)
    assert load_state(path) == dataclasses.replace(STATE, key="user/大")
    assert [file.name for file in tmp_path.iterdir()] == ["state"]


def test_only_the_owner_can_read_it_and_no_repr_shows_the_ticket(tmp_path: Path) -> None:
    STATE.save(tmp_path / "state")
    assert stat.S_IMODE((tmp_path / "state").stat().st_mode) == 0o600
    assert "sealed-ticket" not in repr(STATE)


def test_it_is_hidden_beside_the_file_or_in_a_folder() -> None:
    assert state_path("films/a.mp4", None) == Path("films/.a.mp4.oss-wsgi-upload")
    one, other = (state_path(f"{folder}/a.mp4", "states") for folder in ("films", "songs"))
    assert one.parent == other.parent == Path("states")
    assert one.name.startswith(".a.mp4.")
    assert one != other, "files of one name do not share a state"
    assert one == state_path(str(Path("films/a.mp4").absolute()), "states")


@pytest.mark.parametrize(
    ("size", "part_size", "lengths"),
    [(250, 100, [100, 100, 50]), (200, 100, [100, 100]), (0, 100, [0]), (1, 100, [1])],
)
def test_parts_cover_the_file(size: int, part_size: int, lengths: list[int]) -> None:
    state = dataclasses.replace(STATE, size=size, part_size=part_size)
    assert [state.length(number) for number in range(1, state.count + 1)] == lengths


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"version": 2}',
        '{"version": 1, "endpoint": "a"}',
        '{"version": 1, "endpoint": "a", "upload_id": "b", "key": "c", "size": "1", "mtime": 1, "part_size": 1, '
        '"expire": 1}',
        '{"version": 1, "endpoint": "a", "upload_id": "b", "key": "c", "size": 1, "mtime": 1, "part_size": 0, '
        '"expire": 1}',
        "[" * 100_000,
    ],
)
def test_another_content_is_refused_in_a_sentence(tmp_path: Path, text: str) -> None:
    (tmp_path / "state").write_text(text)
    with pytest.raises(StateError, match="remove it to begin anew"):
        load_state(tmp_path / "state")


def test_a_folder_that_takes_no_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(StateError, match="--state-dir"):
        STATE.save(tmp_path / "absent" / "state")
    with pytest.raises(StateError, match="cannot be read"):
        load_state(tmp_path / ("x" * 300))


@POSIX
def test_no_file_that_others_planted_is_written(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("mine")
    for name in ("state", "state.new"):
        (tmp_path / name).symlink_to(precious)
    STATE.save(tmp_path / "state")
    assert precious.read_text() == "mine"
    assert load_state(tmp_path / "state") == STATE


@POSIX
@pytest.mark.parametrize("kind", ["link", "another user's", "writable by others", "pipe", "folder"])
def test_a_state_that_others_could_have_written_is_not_believed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    path = tmp_path / "state"
    STATE.save(path)
    if kind == "link":
        path.rename(tmp_path / "other")
        path.symlink_to(tmp_path / "other")
    elif kind == "another user's":
        monkeypatch.setattr(os, "geteuid", lambda: path.stat().st_uid + 1)
    elif kind == "writable by others":
        path.chmod(0o622)
    else:
        path.unlink()
        os.mkfifo(path) if kind == "pipe" else path.mkdir()
    with pytest.raises(StateError, match=r"cannot be trusted: .* Remove it to begin anew"):
        load_state(path)
