"""Waits for a condition, and time limits that end with an event: a time that is too short fails no test."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

TIMEOUT = 60.0


def wait_until(condition: Callable[[], object], tell: Callable[[], str] = str) -> None:
    """Wait until a condition is true; after a minute fail with what ``tell`` returns."""
    end = time.monotonic() + TIMEOUT
    while not condition():
        assert time.monotonic() < end, tell()
        time.sleep(0.005)


def end_time_limits_at(event: threading.Event, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the time of `call_within` be over once an event has happened, however early or late."""
    monkeypatch.setattr("oss_wsgi.threads.wait", lambda futures, timeout: event.wait(TIMEOUT))
