"""Each target of the fuzzer takes its corpus and any bytes."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

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
