"""Memory that many requests have left free goes back to the system."""

from __future__ import annotations

import ctypes
import os
import sys

import pytest

from oss_wsgi.serving import server
from oss_wsgi.serving.connection import HEADER

from ..support.server_thread import REQUEST, SetClock, connect, phases, read_response, running
from ..support.waiting import wait_until

_BLOCK = 60_000  # of the C library's heap: larger ones have pages of their own, smaller ones are Python's


def resident_bytes() -> int:
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.slow
@pytest.mark.skipif(
    not sys.platform.startswith("linux") or not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="glibc only"
)
def test_free_blocks_below_one_in_use_go_back() -> None:
    blocks = [b"x" * _BLOCK for _ in range(1000)]
    last = b"x" * _BLOCK
    most = resident_bytes()
    del blocks
    server.give_back()
    assert resident_bytes() < most - 30_000_000
    assert len(last) == _BLOCK


def test_another_c_library_has_nothing_to_give_back(monkeypatch: pytest.MonkeyPatch) -> None:
    for library in (lambda name: object(), None):
        monkeypatch.setattr(ctypes, "CDLL", library)
        server.give_back()


@pytest.mark.slow
def test_the_loop_gives_back_what_a_peak_has_left(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    monkeypatch.setattr(server, "give_back", lambda: calls.append(1))
    monkeypatch.setattr(server, "PEAK_BYTES", 100_000)
    clock = SetClock()
    with running(clock=clock) as running_server:
        clients = [connect(running_server) for _ in range(10)]
        for client in clients:
            client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 20_000)
        wait_until(lambda: phases(running_server) == [HEADER] * 10 and running_server.held > 200_000)
        clock.advance(1)
        with connect(running_server) as client:  # answered after the turn of the sweep
            client.sendall(REQUEST)
            read_response(client)
        assert not calls, "it is in use"
        for client in clients:
            client.close()
        wait_until(lambda: not running_server.connections)
        for _ in range(3):
            clock.advance(1)
            wait_until(lambda: calls)
        assert calls == [1], "once for a peak"
