"""A short soak, and one with recovery that goes past the ledger; `python -m tests.soak.soak` runs the long one."""

from __future__ import annotations

import pytest

from .soak import soak

pytestmark = pytest.mark.slow


def test_every_stored_object_is_handled_exactly_once() -> None:
    outcome = soak(150, 1, restart_every=50)
    assert outcome.is_good, outcome
    assert outcome.answered_by_recover
    assert outcome.handled_by_sweep
    assert outcome.kills + outcome.drains == 3


def test_recovery_without_the_ledger_handles_uploads_twice() -> None:
    outcome = soak(60, 1, restart_every=1000, broken=True)
    assert outcome.twice
