"""Gives the checks time, where a test asks for it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .runs import patience


@pytest.fixture
def patient() -> Iterator[None]:
    """Give the checks a minute each, which a slow machine does not reach."""
    with patience():
        yield
