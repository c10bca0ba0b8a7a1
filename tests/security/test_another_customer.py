"""Another customer of Alibaba has OSS sign any body for our URL: without our ticket, no report is accepted.

tests/callback/test_ticket.py has each refusal of ``Ticket.check`` and ``TicketBook.open``, and
tests/middleware/test_callback_guard.py has the guard's. Here the whole application takes a ticket from nowhere else.
"""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlencode

import pytest

from oss_wsgi import Grant
from oss_wsgi.testing import callback_body

from .attacks import Site, as_json, changed, refused, ticket_of

FORM, JSON = "application/x-www-form-urlencoded", "application/json"


@pytest.fixture
def site() -> Site:
    grant = Grant(user="eric", dir="users/eric", content_types=["text/plain"], max_size=1000)
    return Site({"upload_names": "original"}, authorize=lambda request: grant)


def signed_for(site: Site) -> dict[str, Any]:
    return site.sign(filename="a.txt", content_type="text/plain", size=6)


def report_of(signed: dict[str, Any]) -> bytes:
    return callback_body(signed, size=6, mime_type="text/plain")


def elsewhere(ticket: str) -> list[dict[str, Any]]:
    return [
        {"x:ticket": ticket},
        {"Ticket": ticket},
        {"ticket ": ticket},
        {"ticket": [ticket]},
        {"ticket": {"ticket": ticket}},
        {"data": {"ticket": ticket}},
        {"imageInfo": {"ticket": ticket}},
        {"ticket": None, "imageInfo.ticket": ticket},
        {"ticket": f"{ticket} "},
        {"ticket": f"{ticket}="},
        {"ticket": f"\x00{ticket}"},
    ]


def test_a_valid_ticket_in_another_member_is_refused(site: Site) -> None:
    signed = signed_for(site)
    body = changed(report_of(signed), ticket=None)
    for place in elsewhere(ticket_of(signed)):
        assert refused(site, site.report(as_json(body, **place), JSON), 400, 403), place


@pytest.mark.parametrize("where", ["query", "header", "cookie"])
def test_a_valid_ticket_outside_the_body_is_refused(site: Site, where: str) -> None:
    signed = signed_for(site)
    ticket = ticket_of(signed)
    target = f"/oss/callback?{urlencode({'ticket': ticket})}" if where == "query" else "/oss/callback"
    headers: dict[str, dict[str, str | None]] = {"header": {"ticket": ticket}, "cookie": {"Cookie": f"ticket={ticket}"}}
    assert refused(
        site, site.report(changed(report_of(signed), ticket=None), target=target, headers=headers.get(where))
    )


@pytest.mark.parametrize(
    "kind", [FORM, JSON, "text/plain", "", "multipart/form-data; boundary=x", "application/json; x"]
)
def test_the_unsigned_content_type_gives_no_second_meaning(site: Site, kind: str) -> None:
    """With any header, a body is refused or read as it was meant."""
    body = report_of(signed_for(site))
    answers = [site.report(body, kind), site.report(as_json(body), kind)]
    assert {answer.status_int for answer in answers} <= {200, 400}
    assert {(upload.object, upload.user) for upload in site.uploads} <= {("users/eric/a.txt", "eric")}
    assert len(site.uploads) == 1


def test_neither_ticket_nor_refusal_reveals_anything(site: Site) -> None:
    signed = signed_for(site)
    assert "eric" not in ticket_of(signed)
    answers = {
        site.report(changed(report_of(signed), **members)).text
        for members in ({"ticket": None}, {"ticket": "x"}, {"size": "7"}, {"bucket": "evil"})
    }
    assert answers == {json.dumps({"error": {"code": "forbidden", "message": "Not allowed."}})}
