"""Each target of the fuzzer takes its corpus and any bytes."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oss_wsgi.callback.upload import _own_form_members

from . import __main__ as fuzzer
from .__main__ import CORPUS
from .targets import TARGETS

each_target = pytest.mark.parametrize("name", TARGETS)


@each_target
def test_the_corpus_is_taken(name: str) -> None:
    inputs = sorted((CORPUS / name).iterdir())
    assert inputs
    for path in inputs:
        TARGETS[name](path.read_bytes())


@each_target
def test_any_bytes_are_taken(name: str) -> None:
    target: Callable[[bytes], None] = TARGETS[name]
    settings(max_examples=30, deadline=None)(given(st.binary(max_size=200))(target))()


def test_each_folder_of_the_corpus_is_one_of_a_target() -> None:
    assert {path.name for path in CORPUS.iterdir()} == set(TARGETS)


def test_the_corpus_has_a_form_that_is_read_the_quick_way() -> None:
    assert any(_own_form_members(path.read_bytes()) for path in (CORPUS / "callbacks").iterdir())


def test_without_atheris_a_run_ends_with_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[bytes] = []
    monkeypatch.setitem(TARGETS, "paths", taken.append)
    monkeypatch.setattr(fuzzer, "time", SimpleNamespace(monotonic=lambda: len(taken) / 100))
    monkeypatch.setattr(fuzzer, "BATCH", 50)
    assert fuzzer._run_with_hypothesis("paths", 1, None) == 0
    assert 100 <= len(taken) <= 150
    assert len(set(taken)) > 60, "each batch has other inputs"


def test_without_atheris_a_failing_input_is_kept_in_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(data: bytes) -> None:
        assert b"?" not in data

    monkeypatch.setitem(TARGETS, "paths", refuse)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with pytest.raises(AssertionError):
        fuzzer._run_with_hypothesis("paths", 0, 10_000)
    (path,) = tmp_path.iterdir()
    assert path.read_bytes() == b"?"
    assert str(path) in capsys.readouterr().out
