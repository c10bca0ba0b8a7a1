"""A request that comes whole, or in pieces, is taken as waitress takes it; tests of plain_request compare more."""

from __future__ import annotations

import pytest

from oss_wsgi.request_parser import RequestParser
from tests.test_plain_request import ADJUSTMENTS, same

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
