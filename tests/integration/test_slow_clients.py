"""server.py beside slow clients, in short: `tests/benchmarks/slow_clients.py` holds thousands of them."""

from __future__ import annotations

import time
from urllib.parse import urlsplit

import pytest

from ..benchmarks.held_connections import KINDS, holding
from ..benchmarks.slow_clients import MOST_MEMORY, measure
from ..support.running_server import running_server


@pytest.mark.parametrize("kind", KINDS)
def test_slow_clients_keep_nobody_waiting_and_leave_nothing(kind: str) -> None:
    outcome = measure(60, kind, 1, give_up=60, settle=300)
    assert outcome.held == 60 or kind in ("list", "metrics"), "of these fewer fit in"
    assert {status for status, _ in outcome.answers} == {200}
    assert len(outcome.answers) == 20
    assert outcome.most.descriptors > outcome.before.descriptors
    assert outcome.is_clean, (outcome.before, outcome.after)


@pytest.mark.parametrize("kind", ["large-header", "large-body", "pipeline", "list"])
def test_memory_is_bounded_and_comes_back(kind: str) -> None:
    """1,000 bodies of 64 KiB, or of 1 MiB, are more than the server buffers."""
    outcome = measure(1000, kind, 1, give_up=60, settle=300)
    assert outcome.most.memory <= MOST_MEMORY
    assert outcome.is_clean, (outcome.before, outcome.after)


def test_a_slow_client_gets_408_when_its_time_for_a_header_is_over() -> None:
    with running_server() as server:
        with holding(urlsplit(server.url).port or 0, 20, "header") as slow:
            end = time.monotonic() + 60
            while (held := slow.now()).answers.get("408", 0) < 20 or held.reopened < 20:
                assert time.monotonic() < end, held
                time.sleep(0.2)
            assert set(held.answers) == {"408"}
