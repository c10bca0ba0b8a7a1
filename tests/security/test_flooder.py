"""A flooder sends more of everything: whatever it can fill has a bound in entries and bytes.

tests/callback/test_public_keys.py has made-up key URLs, tests/endpoints/test_rate_limit.py many callers, and
tests/ledger the ledgers' own bounds. Here the whole application is flooded.
"""

from __future__ import annotations

import base64
import io
import itertools
import random
import socket
from typing import Any

import pytest

from oss_wsgi import Grant, RateLimit
from oss_wsgi.callback.public_keys import PublicKeyStore
from oss_wsgi.callback.ticket import TicketBook
from oss_wsgi.exceptions import FetchError
from oss_wsgi.ledger.memory import MemoryLedger
from oss_wsgi.testing import FrozenClock, callback_body

from .attacks import CALLBACK, OSS, VALUES, Site, changed, refused, ticket_of
from .processes import RecordingSite, new_report, report, sign


def test_a_thousand_made_up_key_urls_cause_few_fetches() -> None:
    fetched_urls: list[str] = []

    def fetch(url: str) -> bytes:
        fetched_urls.append(url)
        raise FetchError("not there", 404)

    site = Site(public_keys=PublicKeyStore({OSS.url: OSS.pem}, fetcher=fetch, clock=FrozenClock()))
    body = callback_body(site.sign(filename="a.txt"), size=6)
    for number in range(1000):
        url = f"https://gosspublic.alicdn.com/callback_pub_key_v{number}.pem"
        headers = {"x-oss-pub-key-url": base64.b64encode(url.encode()).decode()}
        assert refused(site, site.report(body, headers=headers), 403, 503)
    assert len(fetched_urls) <= 9 + 1, "of the nine that may be next each, and of all others one"
    assert site.report(body).status_int == 200


def test_forged_tickets_do_not_stop_valid_ones() -> None:
    site = Site()
    signed = site.sign(filename="a.txt")
    body, ticket = callback_body(signed, size=6), ticket_of(signed)
    raw = base64.urlsafe_b64decode(ticket + "=" * (-len(ticket) % 4))
    rng = random.Random(1)
    for number in range(500):
        key_id = raw[:4] if number % 2 else rng.randbytes(4)
        other = key_id + rng.randbytes(4) + raw[8:]
        forged = base64.urlsafe_b64encode(other).rstrip(b"=").decode()
        assert refused(site, site.report(changed(body, ticket=forged)))
    assert site.report(body).status_int == 200


def test_the_cache_of_daily_keys_is_bounded() -> None:
    book = TicketBook(VALUES["ticket_secret"], clock=FrozenClock())
    secret = book._secrets.current()[0]
    for day in range(10_000):
        assert secret[day] is secret[day]
        assert len(secret) <= 9


def stored_size(ledger: MemoryLedger) -> int:
    """Return the number of characters that a ledger stores: tickets, objects, ETags and responses."""
    total = 0
    for ticket, objects in ledger._tickets.items():
        total += len(ticket)
        for name, responses in objects.items():
            total += len(name) + sum(len(etag) + len(response.body) for etag, response in responses.items())
    return total


@pytest.mark.parametrize("tickets", ["one ticket", "many tickets"])
def test_endless_reports_leave_a_bounded_ledger(tickets: str) -> None:
    ledger = MemoryLedger(clock=FrozenClock(), max_uploads=50, max_bytes=10_000)
    site = Site(
        authorize=lambda request: Grant(user="eric", dir="e"), ledger=ledger, on_upload=lambda _: {"a": "b" * 300}
    )
    signed = site.sign()
    for number in range(300):
        if tickets == "many tickets":
            signed = site.sign()
        name = f"{number}".ljust(1000, "n")
        body = callback_body(signed, size=6, filename=name, etag=f"{number:032X}")
        assert site.report(body).status_int == 200
        assert len(ledger) <= 50
    assert len(ledger._tickets) <= 50
    assert stored_size(ledger) <= 50 * (16 + 1023 + 64) + 10_000


@pytest.mark.parametrize("members", [{"etag": "E" * 60_000}, {"filename": "e/".ljust(60_000, "n")}])
def test_overlong_members_never_reach_the_ledger(members: dict[str, str]) -> None:
    ledger = MemoryLedger(clock=FrozenClock())
    site = Site(authorize=lambda request: Grant(user="eric", dir="e"), ledger=ledger)
    body = changed(callback_body(site.sign(), size=6), **members)
    assert refused(site, site.report(body))
    assert stored_size(ledger) == 0


def test_refused_reports_leave_nothing_in_the_ledger() -> None:
    ledger = MemoryLedger(clock=FrozenClock())

    def fail(upload: object) -> None:
        raise OSError("the database is away")

    site = Site(ledger=ledger, on_upload=fail)
    for number in range(50):
        body = callback_body(site.sign(filename="a.txt"), size=6)
        assert site.report(body).status_int == 500
        assert site.report(changed(body, ticket="A" * number)).status_int == 403
    assert (len(ledger), stored_size(ledger)) == (0, 0)


def test_the_rate_limit_slows_only_the_flooder() -> None:
    limit = RateLimit(5, 60, clock=FrozenClock(), max_callers=100)
    site = Site(authorize=lambda request: Grant(user=request.GET["user"]), rate_limit=limit)

    def ask(user: str) -> int:
        return int(site.app.get("/oss/signature", {"user": user}, expect_errors=True).status_int)

    assert [ask("mallory") for _ in range(8)] == [200] * 5 + [429] * 3
    assert ask("eric") == 200
    for number in range(500):
        assert ask(f"user{number}") == 200
    assert len(limit._callers) <= 100


class Unread(io.RawIOBase):
    """A body that must not be read."""

    def read(self, size: int = -1, /) -> bytes:
        raise AssertionError("it was read")


def test_a_body_that_is_too_long_is_never_read() -> None:
    site = Site()
    statuses: list[str] = []
    for length in (64 * 1024 + 1, 10**12, 10**17):
        environ = {"REQUEST_METHOD": "POST", "SCRIPT_NAME": "", "PATH_INFO": CALLBACK, "wsgi.input": Unread()}
        list(site.app.app({**environ, "CONTENT_LENGTH": str(length)}, lambda status, headers: statuses.append(status)))
    assert [status[:3] for status in statuses] == ["413"] * 3


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        pytest.param(b"&".join(b"%d=" % number for number in range(5000)), "", id="five thousand parameters"),
        pytest.param(b"&" * 60_000, "", id="separators"),
        pytest.param(b"a=" + b"%61" * 20_000, "", id="escapes"),
        pytest.param(b"[" * 60_000, "application/json", id="brackets"),
        pytest.param(b'{"a":' * 10_000 + b"1" + b"}" * 10_000, "application/json", id="deep"),
        pytest.param(b'{"size":' + b"9" * 60_000 + b"}", "application/json", id="a number of many digits"),
        pytest.param(b'{"size":1e' + b"9" * 60_000 + b"}", "application/json", id="a number of a great exponent"),
        pytest.param(b"mimeType=a/b" + b"%20" * 20_000, "", id="a type of blanks"),
        pytest.param(b"mimeType=a/b" + b"%3Ba=b" * 10_000, "", id="a type of parameters"),
        pytest.param(b"ticket=" + b"A" * 60_000, "", id="a long ticket"),
    ],
)
def test_a_body_that_is_costly_to_parse_is_refused(body: bytes, kind: str) -> None:
    site = Site()
    assert refused(site, site.report(body, kind or "application/x-www-form-urlencoded"), 400, 403)


@pytest.mark.parametrize(
    "query",
    [
        "&".join(f"p{number}=1" for number in range(101)),
        "&" * 30_000,
        "filename=" + "a" * 30_000,
        "filename=" + "%61." * 6_000,
        "size=" + "9" * 30_000,
        "content_type=a/" + "b" * 30_000,
        "content_type=a/b" + ";a=b" * 7_000,
        "filename=" + "%F0%9F%A6%84" * 1_500,
    ],
)
def test_a_costly_query_gets_a_refusal_or_a_short_form(query: str) -> None:
    answer = Site().app.get(f"/oss/signature?{query}", expect_errors=True)
    assert answer.status_int in (200, 400, 403)
    assert len(answer.body) < 20_000 + 3 * len(query)


SLOW = 60


def test_unfinished_bodies_occupy_no_thread(tmp_path: Any) -> None:
    """waitress reads a body before it passes the request to one of its eight threads."""
    with RecordingSite(tmp_path) as site:
        body = new_report(site.port)
        head = f"POST {CALLBACK} HTTP/1.1\r\nHost: a\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        partial = itertools.cycle([head, head + body[:-1], head[:30], b""])
        connections = [socket.create_connection(("127.0.0.1", site.port)) for _ in range(SLOW)]
        try:
            for connection, sent in zip(connections, partial, strict=False):
                connection.sendall(sent)
            assert report(site.port, body)[0] == 200
            assert sign(site.port)["dir"] == "user-dir-prefix/"
        finally:
            for connection in connections:
                connection.close()
        assert len(site.runs()) == 1
