"""Another customer of Alibaba has OSS sign any body for our URL: without our ticket, no report is accepted.

tests/callback/test_ticket.py has each refusal of ``Ticket.check`` and ``TicketBook.open``. Here the whole application
must take a ticket or a user from nowhere else, for both body types.
"""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlencode

import pytest
import webob

from oss_wsgi import Grant
from oss_wsgi.callback.ticket import UPLOAD_SECONDS
from oss_wsgi.testing import callback_body

from .attacks import Site, as_json, changed, refused, ticket_of

FORM, JSON = "application/x-www-form-urlencoded", "application/json"


def authorize(request: webob.Request) -> Grant:
    """Grant each user a folder. For these tests the query names the user."""
    user = request.GET.get("user", "eric")
    return Grant(user=user, dir=f"users/{user}", content_types=["text/plain"], max_size=1000)


@pytest.fixture
def site() -> Site:
    return Site({"upload_names": "original"}, authorize=authorize)


def signed_for(site: Site, user: str = "eric", **more: Any) -> dict[str, Any]:
    return site.sign(**{"filename": "a.txt", "content_type": "text/plain", "size": 6, "user": user, **more})


def report_of(signed: dict[str, Any]) -> bytes:
    return callback_body(signed, size=6, mime_type="text/plain")


@pytest.mark.parametrize("kind", [FORM, JSON])
def test_the_unchanged_report_is_accepted(site: Site, kind: str) -> None:
    body = report_of(signed_for(site))
    assert site.report(body if kind == FORM else as_json(body), kind).json == {"Status": "Ok"}
    assert (site.uploads[0].user, site.uploads[0].object) == ("eric", "users/eric/a.txt")


@pytest.mark.parametrize("kind", [FORM, JSON])
@pytest.mark.parametrize(
    "members",
    [
        pytest.param({"ticket": None}, id="no ticket"),
        pytest.param({"ticket": ""}, id="an empty ticket"),
        pytest.param({"ticket": "none"}, id="a made-up ticket"),
        pytest.param({"ticket": "A" * 120}, id="a made-up ticket that decodes"),
        pytest.param({"bucket": "evilbucket"}, id="the attacker's own bucket"),
        pytest.param({"bucket": None}, id="no bucket"),
        pytest.param({"filename": "users/eric/b.txt"}, id="another object below the same folder"),
        pytest.param({"filename": "users/bob/a.txt"}, id="another user's object"),
        pytest.param({"object": "users/bob/a.txt"}, id="another object beside the right filename"),
        pytest.param({"filename": None}, id="no object"),
        pytest.param({"filename": "users/eric/a.txt "}, id="an extra blank"),
        pytest.param({"filename": "users/eric/./a.txt"}, id="a dot segment"),
        pytest.param({"size": "7"}, id="another size"),
        pytest.param({"size": None}, id="no size"),
        pytest.param({"size": ""}, id="an empty size"),
        pytest.param({"mimeType": "text/html"}, id="another type"),
        pytest.param({"mimeType": "text/plain,text/html"}, id="two types"),
        pytest.param({"mimeType": None}, id="no type"),
        pytest.param({"etag": "E" * 65}, id="an overlong etag"),
    ],
)
def test_a_signed_report_with_other_members_is_refused(site: Site, members: dict[str, str | None], kind: str) -> None:
    body = report_of(signed_for(site))
    other = changed(body, **members) if kind == FORM else as_json(body, **members)
    assert refused(site, site.report(other, kind))


def test_a_size_in_digits_is_reported_as_a_number(site: Site) -> None:
    assert site.report(changed(report_of(signed_for(site)), size="06")).status_int == 200
    assert site.uploads[0].size == 6


@pytest.mark.parametrize("size", [True, "+6"])
def test_a_size_that_is_no_plain_number_is_refused(site: Site, size: Any) -> None:
    body = as_json(report_of(signed_for(site)), size=size)
    assert refused(site, site.report(body, JSON), 400)


def test_a_ticket_gives_no_other_users_folder_or_name(site: Site) -> None:
    body = report_of(signed_for(site, "mallory"))
    for members in ({"filename": "users/eric/a.txt"}, {"object": "users/eric/a.txt"}):
        assert refused(site, site.report(changed(body, **members)))
    forged = changed(body, user="eric", **{"x:user": "eric", "data": '{"admin":true}', "ticket_id": "1"})
    assert site.report(forged).status_int == 200
    assert (site.uploads[0].user, site.uploads[0].data) == ("mallory", {})
    assert site.uploads[0].ticket_id != "1"


def test_a_ticket_of_another_application_is_refused(site: Site) -> None:
    other = Site({"ticket_secret": ("o" * 32,), "upload_names": "original"}, authorize=authorize)
    assert refused(site, site.report(report_of(signed_for(other))))


def test_a_ticket_expires_twelve_hours_after_its_signature(site: Site) -> None:
    body = report_of(signed_for(site))
    site.clock.advance(300 + UPLOAD_SECONDS + 1)
    assert refused(site, site.report(body))
    site.clock.advance(-1)
    assert site.report(body).status_int == 200


@pytest.mark.parametrize("at", [0, 5, 20, -1])
def test_a_ticket_with_one_changed_character_is_refused(site: Site, at: int) -> None:
    signed = signed_for(site)
    characters = list(ticket_of(signed))
    characters[at] = "A" if characters[at] != "A" else "Q"
    assert refused(site, site.report(changed(report_of(signed), ticket="".join(characters))))


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
    "more",
    [
        b"&%74icket=x",
        b"&x=1&x=1",
    ],
)
def test_a_repeated_form_member_is_refused(site: Site, more: bytes) -> None:
    assert refused(site, site.report(report_of(signed_for(site)) + more), 400)


def test_a_repeated_json_member_is_refused_in_any_spelling(site: Site) -> None:
    body = as_json(report_of(signed_for(site)))
    for name in ('"size"', '"\\u0073ize"', '"ticket"'):
        assert refused(site, site.report(body[:-1] + b", " + name.encode() + b": 6}", JSON), 400)


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


def test_a_file_name_cannot_change_other_members() -> None:
    """A file name that looks like other members stays one name, because OSS encodes it."""
    site = Site({"upload_names": "original"}, authorize=lambda request: Grant(user="eric", dir="users/eric"))
    for name in ("a&user=admin&bucket=evil", 'a","user":"admin', "a%26ticket=x", "a;ticket=x", "${etag}", "a\r\nb"):
        body = callback_body(site.sign(), size=6, filename=name)
        assert site.report(body).status_int == 200
        assert site.uploads[-1].object == f"users/eric/{name}"
        assert site.uploads[-1].user == "eric"


def test_neither_ticket_nor_refusal_reveals_anything(site: Site) -> None:
    signed = signed_for(site)
    assert "eric" not in ticket_of(signed)
    answers = {
        site.report(changed(report_of(signed), **members)).text
        for members in ({"ticket": None}, {"ticket": "x"}, {"size": "7"}, {"bucket": "evil"})
    }
    assert answers == {json.dumps({"error": {"code": "forbidden", "message": "Not allowed."}})}
