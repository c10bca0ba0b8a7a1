"""Skips a test whose program or package is not on this machine."""

from __future__ import annotations

import os
from typing import NoReturn

import pytest


def skip_or_fail(what: str) -> NoReturn:
    """Skip on a developer's machine; fail in CI, which has everything."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"{what} is missing, and CI must have it")
    pytest.skip(f"{what} is not installed")
