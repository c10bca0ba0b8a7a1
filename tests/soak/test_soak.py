"""Never lost, never twice: a short soak. The long one is `python -m tests.soak.soak`, 10,000 uploads."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from .soak import problems, soak

pytestmark = pytest.mark.slow

#: A longer run of the same: SOAK_UPLOADS=10000 pytest tests/soak
UPLOADS = int(os.environ.get("SOAK_UPLOADS", "120"))


def test_each_stored_object_is_handled_exactly_once(tmp_path: Path) -> None:
    result = soak(tmp_path, UPLOADS)
    assert problems(result) == {"never": 0, "twice": 0, "not stored": 0}
    assert result.restarts > 0
    assert 0 < result.recovered < len(result.handled)
    assert len(result.stored) > UPLOADS / 2


def test_recovery_without_the_ledger_is_found_out(tmp_path: Path) -> None:
    assert problems(soak(tmp_path, 60, SOAK_BREAK="1"))["twice"] > 0
