"""An attacker has factored OSS's 512-bit key and signs reports like OSS: tickets still limit the damage.

Every customer of OSS can get any body signed (tests/security/test_another_customer.py). This attacker needs no upload,
leaves no trace at OSS, and is fast. Without a ticket the attacker gets nowhere. With a ticket the attacker can report
its granted upload until it expires: once, or once for each ETag where its form allows overwriting. ``confirm`` prevents
that too.
"""

from __future__ import annotations

from typing import Any

import pytest
import webtest

from oss_wsgi import CallbackGuard, CallbackVerifier, Grant, Upload
from oss_wsgi.callback.ticket import UPLOAD_SECONDS
from oss_wsgi.testing import callback_body

from .attacks import OSS, Site, changed, refused, ticket_of

ERIC = Grant(user="eric", dir="users/eric", max_size=100)


@pytest.fixture
def site() -> Site:
    return Site(authorize=lambda request: ERIC)


def invented(**members: str) -> bytes:
    return changed(b"bucket=examplebucket&size=6&mimeType=text%2Fplain&etag=5B3C", **members)


def test_a_report_without_a_ticket_is_refused(site: Site) -> None:
    for ticket in ("", "x", "A" * 200, ticket_of(Site({"ticket_secret": ("o" * 32,)}).sign())):
        for name in ("a.txt", "users/eric/a.txt", "user-dir-prefix/a.txt"):
            assert refused(site, site.report(invented(filename=name, ticket=ticket)))


def test_guesses_next_to_a_valid_ticket_are_refused(site: Site) -> None:
    """Each guess differs from a valid ticket in one character."""
    signed = site.sign(filename="a.txt")
    body, ticket = callback_body(signed, size=6), ticket_of(signed)
    for at in range(0, len(ticket), 3):
        for other in "Aq_7":
            if other != ticket[at]:
                guess = f"{ticket[:at]}{other}{ticket[at + 1 :]}"
                assert refused(site, site.report(changed(body, ticket=guess)))


def test_a_ticket_binds_its_user_object_size_and_time(site: Site) -> None:
    signed = site.sign(filename="a.txt", size=6)
    body = callback_body(signed, size=6)
    for members in ({"filename": "users/bob/a.txt"}, {"size": "5"}, {"size": "101"}, {"bucket": "another"}):
        assert refused(site, site.report(changed(body, **members)))
    site.clock.advance(300 + UPLOAD_SECONDS + 1)
    assert refused(site, site.report(body))


def test_lost_a_granted_upload_that_never_happened_is_accepted(site: Site) -> None:
    signed = site.sign(filename="a.txt")
    assert site.report(callback_body(signed, size=6, etag="5B3C")).status_int == 200
    # The form forbids overwriting, so its object has one ETag.
    assert site.report(callback_body(signed, size=6, etag="5B3D")).status_int == 409
    assert [(upload.user, upload.object) for upload in site.uploads] == [("eric", signed["fields"]["key"])]


def test_confirm_refuses_an_upload_that_never_happened() -> None:
    site = Site(authorize=lambda request: ERIC, confirm=lambda upload: False)
    assert refused(site, site.report(callback_body(site.sign(filename="a.txt"), size=6)))


def test_lost_a_guard_without_tickets_accepts_any_report() -> None:
    """Its documentation says so: trust such a report as you would trust a stranger."""
    uploads: list[Upload] = []

    def receive(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        uploads.append(environ["oss_wsgi.upload"])
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"ok"]

    app = webtest.TestApp(CallbackGuard(receive, CallbackVerifier(OSS.public_keys), bucket="examplebucket"))
    body = invented(filename="users/bob/a.txt", user="bob")
    assert app.post("/oss/callback", body, headers=OSS.headers("/oss/callback", body)).status_int == 200
    assert (uploads[0].object, uploads[0].user, uploads[0].ticket_id) == ("users/bob/a.txt", None, None)
