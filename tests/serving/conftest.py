"""Checks each change of a connection's phase against the table of those that may follow."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from oss_wsgi.serving.connection import NEW, NEXT_PHASES, Connection, Phase


class CheckedPhase:
    """Stands in the place of the slot ``phase``."""

    def __init__(self, slot: Any, wrong: list[str]) -> None:
        self._slot = slot
        self._wrong = wrong

    def __get__(self, connection: Any, owner: Any = None) -> Any:
        return self if connection is None else self._slot.__get__(connection, owner)

    def __set__(self, connection: Any, phase: Phase) -> None:
        before = self._slot.__get__(connection) if hasattr(connection, "since") else None
        if phase not in ({NEW} if before is None else {before, *NEXT_PHASES[before]}):
            self._wrong.append(f"{before!r} -> {phase!r}")
        self._slot.__set__(connection, phase)


@pytest.fixture(autouse=True)
def checked_phases(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    wrong: list[str] = []
    monkeypatch.setattr(Connection, "phase", CheckedPhase(Connection.__dict__["phase"], wrong))
    yield wrong
    assert wrong == []
