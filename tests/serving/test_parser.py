"""A request that comes whole, or in pieces, is taken as waitress takes it; tests of plain_request compare more."""

from __future__ import annotations

import pytest

from oss_wsgi.serving.parser import RequestParser
from tests.serving.test_plain_request import ADJUSTMENTS, same

SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"


@pytest.mark.parametrize("piece", [1, 7, 40, 1_000_000])
def test_a_body_is_no_request_in_whatever_pieces_it_comes(piece: int) -> None:
    head = b"POST /oss/callback HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % len(SMUGGLED)
    for data in (head + SMUGGLED, head + SMUGGLED + SMUGGLED):
        same(data, piece)
    for cut in range(len(head), len(head + SMUGGLED)):
        ours, taken = RequestParser(ADJUSTMENTS), 0
        for arrived in ((head + SMUGGLED)[:cut], head + SMUGGLED + SMUGGLED):
            while taken < len(arrived) and not ours.completed:
                taken += ours.received(arrived[taken:])
        assert (taken, ours.get_body_stream().read()) == (len(head + SMUGGLED), SMUGGLED)


@pytest.mark.parametrize("length", ["", "Content-Length: 0\r\n", "Content-Length: 5000\r\n"])
def test_who_sends_no_body_or_too_large_a_one_is_not_asked_for_it(length: str) -> None:
    """waitress asks, and takes the next request for it."""
    ours = RequestParser(ADJUSTMENTS)
    ours.received(f"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n{length}\r\n".encode())
    assert (ours.completed, ours.expect_continue, ours.error is not None) == (True, False, "5000" in length)


def test_who_waits_with_the_body_is_asked_for_it() -> None:
    ours = RequestParser(ADJUSTMENTS)
    ours.received(b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
    assert (ours.completed, ours.expect_continue) == (False, True)
