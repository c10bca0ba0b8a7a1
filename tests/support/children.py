"""Forks of a test's own process."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

import pytest


def forking(test: Callable[..., None]) -> Callable[..., None]:
    """Mark a test that forks its process."""
    for mark in (
        pytest.mark.slow,
        pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here"),
        pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning"),
    ):
        test = mark(test)
    return test


def fork(in_child: Callable[[], object]) -> None:
    """Fork, and fail unless ``in_child`` returns something true in the child."""
    child = os.fork()
    if not child:
        signal.alarm(60)  # with a lock that nobody releases it would wait for ever
        status = 1
        try:
            status = 0 if in_child() else 1
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
