"""POST {prefix}/recover where pages report uploads: the usual way under OSS_REPORT_BY=page."""

from __future__ import annotations

import base64
import json
import logging
import threading
from collections.abc import Callable
from typing import Any

import pytest
import webob

from oss_wsgi import Grant, Metrics, Upload
from oss_wsgi.callback.ticket import RECEIPT_FIELD
from oss_wsgi.exceptions import BucketUnreachableError
from oss_wsgi.testing import multipart
from oss_wsgi.testing.local_oss import InProcessBucket

from ..recovery.test_reconciler_events import event, message
from ..support.callbacks import without_signed_id
from ..support.closing import closing_fixture
from .test_multipart import reason
from .test_recover import Site as LosingSite

ORIGIN = "https://pages.example.com"
HELLO = "5D41402ABC4B2A76B9719D911017C592"


class Site(LosingSite):
    """An application whose pages report what they have uploaded."""

    def __init__(self, settings: dict[str, Any] | None = None, **options: Any) -> None:
        super().__init__({"report_by": "page", **(settings or {})}, **options)
        assert isinstance(self.client.bucket, InProcessBucket)
        self.bucket = self.client.bucket
        self.proof = self.key = ""

    def sign(self, name: str = "猫.png", **more: Any) -> dict[str, Any]:
        signed: dict[str, Any] = self.client.sign(name, content_type="image/png", size=5, **more).json
        self.proof, self.key = signed["ticket"], signed.get("key") or signed["fields"]["key"]
        return signed

    def store(self, data: bytes = b"hello", signed: dict[str, Any] | None = None, **more: str) -> webob.Response:
        """Send a file, as a page does before it reports, and return OSS's answer."""
        signed = self.sign() if signed is None else signed
        request: dict[str, Any] = {"method": "PUT", "headers": signed["headers"], "body": data}
        if signed["method"] == "POST":
            content_type, body = multipart({**signed["fields"], **more}, "猫.png", data, "image/png")
            request = {"method": "POST", "content_type": content_type, "body": body}
        return webob.Request.blank(signed["url"], **request).get_response(self.client.local_oss)

    def report(self, ticket: str | None = None, key: str | None = None, **headers: str) -> webob.Response:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        ticket = self.proof if ticket is None else ticket
        return self.client.recover(ticket, self.key if key is None else key, headers=named)


make = closing_fixture(Site)


@pytest.fixture
def site(make: Callable[..., Site]) -> Site:
    return make()


@pytest.mark.parametrize("version", ["v1", "v4"])
@pytest.mark.parametrize(("method", "operation"), [("post", "PostObject"), ("put", "PutObject")])
def test_a_page_reports_its_upload_with_the_ticket_and_one_head(
    make: Callable[..., Site], version: str, method: str, operation: str
) -> None:
    site = make({"signature_version": version})
    assert site.store(signed=site.sign(method=method)).status_int == 200
    assert (site.uploads, site.bucket.requests) == ([], []), "OSS reports nothing"
    answer = site.report()
    (upload,) = site.uploads
    assert (answer.status_int, answer.content_type) == (200, "application/json")
    assert without_signed_id(answer.json) == {"Status": "Ok", "saved": site.key, "number": 1}
    assert site.client.direct_upload.find_upload(answer.json["signed_id"], user="eric").object == site.key
    assert (upload.user, upload.object, upload.size, upload.etag) == ("eric", site.key, 5, HELLO)
    assert (upload.mime_type, upload.operation, upload.filename) == ("image/png", operation, "猫.png")
    assert (upload.recovered, upload.confirmed, upload.image_width, upload.request_id) == (False, True, None, None)
    assert site.bucket.requests == [("head", site.key)]


def test_nothing_that_is_signed_asks_for_a_callback(make: Callable[..., Site]) -> None:
    grant = Grant(user="eric", dir="u/", custom={"order": "7"}, metadata={"album": "1"})
    for version in ("v1", "v4"):
        site = make({"signature_version": version}, authorize=lambda request: grant)
        form = site.sign()
        policy = base64.b64decode(form["fields"]["policy"]).decode()
        assert not {name for name in form["fields"] if "callback" in name or name.startswith("x:")}
        assert "callback" not in policy
        assert form["callback"] == ""
        assert RECEIPT_FIELD in form["fields"]
        put = site.sign(method="put")
        assert "callback" not in put["url"]
        assert not [name for name in put["headers"] if "callback" in name]
        assert RECEIPT_FIELD in put["headers"]
        site.store(signed=form)
        site.report(form["ticket"], form["fields"]["key"])
        assert (site.uploads[0].custom, site.uploads[0].user) == ({"order": "7"}, "eric"), "the receipt has them"


def test_a_form_without_a_filename_is_refused_with_the_reason(site: Site) -> None:
    answer = site.client.sign()
    assert (answer.status_int, answer.json["error"]["code"]) == (400, "filename_required")
    assert "has no receipt, so nobody could report" in answer.json["error"]["message"]


def test_a_report_that_is_repeated_gets_the_same_answer_and_no_second_call(site: Site) -> None:
    site.store()
    first, second = site.report().json, site.report().json
    assert without_signed_id(first) == without_signed_id(second)
    assert len(site.uploads) == 1


def test_reports_at_once_call_the_handler_once(make: Callable[..., Site]) -> None:
    inside, leave = threading.Event(), threading.Event()

    def slow(upload: Upload) -> None:
        calls.append(upload)
        inside.set()
        leave.wait(30)

    calls: list[Upload] = []
    answers: list[webob.Response] = []
    site = make(on_upload=slow)
    site.store()
    first = threading.Thread(target=lambda: answers.append(site.report()))
    first.start()
    assert inside.wait(30)
    busy = site.report()
    assert (busy.status_int, "Retry-After" in busy.headers) == (503, True), "the page asks again"
    leave.set()
    first.join(30)
    assert answers[0].status_int == site.report().status_int == 200
    assert len(calls) == 1


def test_a_handler_that_failed_is_called_again_by_the_next_report(site: Site) -> None:
    site.store()
    site.errors.append(RuntimeError("database down"))
    assert site.report().status_int == 500
    assert site.report().json["number"] == 1


def test_a_report_before_oss_has_the_file_tells_nobody(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "oss_wsgi")
    site.sign()
    answer = site.report()
    assert (answer.status_int, answer.json["error"]["code"]) == (404, "not_stored")
    assert (site.uploads, reason(caplog)) == ([], "not_stored")


def test_a_server_that_cannot_ask_oss_lets_the_page_ask_again(site: Site) -> None:
    site.store()
    site.bucket.fail_next(BucketUnreachableError("bucket_unreachable", "no route"))
    answer = site.report()
    assert (answer.status_int, answer.headers["Retry-After"]) == (503, "10")
    assert site.report().status_int == 200


# What a page did not report.


def test_a_sweep_tells_what_a_page_did_not_report(site: Site) -> None:
    site.store()
    assert site.client.direct_upload.reconcile(until=0, prefixes=["u/"]).recovered == 1
    assert site.uploads[0].recovered
    assert without_signed_id(site.report().json)["number"] == 1, "a late report gets the same answer"
    assert len(site.uploads) == 1


def test_an_event_tells_what_a_page_did_not_report(site: Site) -> None:
    site.store()
    site.client.direct_upload.handle_event(message(event(site.key)))
    assert [upload.recovered for upload in site.uploads] == [True]
    site.store()
    site.report()
    site.client.direct_upload.handle_event(message(event(site.key)))
    assert [upload.recovered for upload in site.uploads] == [True, False]


# Attacks.


def test_a_ticket_reports_its_own_object_alone(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    site.store()
    mine, key = site.proof, site.key
    site.store()
    asked = len(site.bucket.requests)
    for ticket, name in ((mine, site.key), (site.proof, key), ("garbage", key), (mine[:-4] + "AAAA", key)):
        assert site.report(ticket, name).status_int == 403
    assert (site.uploads, len(site.bucket.requests)) == ([], asked)


def test_a_ticket_of_another_bucket_or_secret_reports_nothing(make: Callable[..., Site]) -> None:
    for values in ({"bucket": "otherbucket", "host": None}, {"ticket_secret": ("o" * 32,)}):
        site, other = make(), make(values)
        site.store()
        signed = other.sign()
        assert site.report(signed["ticket"], signed["fields"]["key"]).status_int in (403, 404)
        assert site.report(signed["ticket"]).status_int == 403
        assert site.uploads == []


def test_another_users_ticket_of_the_same_name_is_not_the_objects(make: Callable[..., Site]) -> None:
    users = iter(["eric", "mallory"])
    grant = {"key": "u/same.png", "forbid_overwrite": False}
    site = make(authorize=lambda request: Grant(user=next(users), **grant))
    site.store()
    site.sign()
    assert site.report().status_int == 409, "the object has eric's receipt"
    assert site.uploads == []


def test_an_object_that_was_replaced_before_the_report_is_not_its_upload(make: Callable[..., Site]) -> None:
    site = make(authorize=lambda request: Grant(user="eric", key="u/same.png", forbid_overwrite=False))
    signed = site.sign()
    site.store(signed=signed)
    mine = site.proof
    site.store(b"other")
    assert site.report(mine).status_int == 409
    assert site.report().json["number"] == 1
    assert [upload.size for upload in site.uploads] == [5]


def test_the_same_file_twice_under_one_name_is_two_uploads(make: Callable[..., Site]) -> None:
    site = make(authorize=lambda request: Grant(user="eric", key="u/same.png", forbid_overwrite=False))
    for number in (1, 2):
        site.store()
        assert site.report().json["number"] == number


def test_what_the_ticket_does_not_allow_is_refused(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    signed = site.sign()
    oss = site.client.local_oss
    with oss.storage.bucket(oss.bucket).incoming() as incoming:
        incoming.write(b"hello!")
        headers = {RECEIPT_FIELD: signed["fields"][RECEIPT_FIELD]}
        incoming.commit(site.key, "image/png", headers, now=site.clock())
    assert (site.report().status_int, reason(caplog)) == (403, "ticket_mismatch")
    assert site.uploads == []


def test_an_expired_ticket_reports_nothing(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    site.store()
    site.clock.now += 13 * 3600
    assert (site.report().status_int, reason(caplog)) == (403, "ticket_expired")


@pytest.mark.parametrize("version", ["v1", "v4"])
def test_a_callback_that_the_forms_holder_has_added_does_not_report(
    make: Callable[..., Site], caplog: pytest.LogCaptureFixture, version: str
) -> None:
    """No policy can forbid a field, so a dishonest page may let OSS sign any report with its ticket."""
    site = make({"signature_version": version})
    signed = site.sign()
    body = f"bucket=examplebucket&filename={site.key}&size=5&etag=FORGED&mimeType=image/png&ticket={site.proof}"
    parameters = {"callbackUrl": "https://app.example.com/oss/callback", "callbackBody": body}
    added = base64.b64encode(json.dumps(parameters).encode()).decode()
    assert site.store(signed=signed, callback=added).status_int == 203
    assert (site.uploads, reason(caplog)) == ([], "ticket_mismatch")
    assert "the ticket is for the report of a page" in caplog.text
    assert site.report().status_int == 200


def test_a_body_over_16_kib_is_not_read(site: Site) -> None:
    site.store()
    body = json.dumps({"ticket": site.proof, "object": site.key}).encode()
    for length, status in ((16 * 1024 + 1, 413), (16 * 1024, 200)):
        request = webob.Request.blank("/oss/recover", method="POST", body=body.ljust(length))
        assert request.get_response(site.client.application).status_int == status


def test_a_page_of_a_foreign_origin_cannot_report(make: Callable[..., Site]) -> None:
    site = make()
    site.store()
    assert site.report(Origin=ORIGIN).json["error"]["code"] == "origin_foreign"
    assert site.uploads == []
    listed = make({"allowed_origins": (ORIGIN,)})
    listed.store()
    assert listed.report(Origin=ORIGIN).headers["Access-Control-Allow-Origin"] == ORIGIN


def test_reports_count_in_the_rate_limit_with_the_tickets_user(make: Callable[..., Site]) -> None:
    seen: list[str] = []
    site = make(rate_limit=lambda who: seen.append(who) or (7.0 if len(seen) > 2 else None))
    site.store()
    assert site.report().status_int == 200
    answer = site.report()
    assert (answer.status_int, answer.headers["Retry-After"]) == (429, "7")
    assert seen == ["user:eric"] * 3


# In the application.


def test_a_forwarded_report_reaches_the_applications_own_view_once(make: Callable[..., Site]) -> None:
    seen: list[dict[str, Any]] = []

    def view(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        seen.append(environ)
        start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", "2")])
        return [b"{}"]

    site = make(app=view, on_upload=None, forward_callback=True, mount="/site", prefix="/up")
    site.store()
    assert site.report(Cookie="session=1").body == site.report().body == b"{}"
    (environ,) = seen
    assert not environ["oss_wsgi.upload"].recovered
    assert (environ["SCRIPT_NAME"], environ["PATH_INFO"]) == ("/site", "/up/callback")
    assert "HTTP_COOKIE" not in environ


def test_a_report_is_counted_and_logged_as_the_usual_way(
    make: Callable[..., Site], caplog: pytest.LogCaptureFixture
) -> None:
    metrics = Metrics()
    site = make(metrics=metrics)
    caplog.set_level(logging.DEBUG, "oss_wsgi")
    site.store()
    for ticket in ("garbage", None, None):
        site.report(ticket, X_Request_ID="page-6")
    lines = [record.getMessage() for record in caplog.records if "by its page" in record.getMessage()]
    assert lines == [
        f"reported by its page: outcome={outcome} request_id=page-6 oss_request_id=-"
        for outcome in ("handled", "repeated")
    ]
    text = metrics.text()[1].decode()
    for outcome in ("ticket_altered", "accepted", "repeated"):
        assert f'oss_wsgi_page_reports_total{{outcome="{outcome}"}} 1.0' in text
    assert 'endpoint="recover/page"' in text
    assert "oss_wsgi_recovered_total{" not in text


def test_a_report_holds_a_slot_and_no_thread_of_callbacks(site: Site) -> None:
    direct = site.client.direct_upload
    headers = {"X_OSS_PUB_KEY_URL": "aHR0cHM6Ly9nb3NzcHVibGljLmFsaWNkbi5jb20vY2FsbGJhY2tfcHViX2tleV92MS5wZW0="}
    assert not direct.is_callback("POST", "/oss/recover", headers)
    assert not direct.is_nonblocking("POST", "/oss/recover", headers)


def test_the_limits_say_that_the_page_may_ask(site: Site) -> None:
    request = webob.Request.blank("/oss/limits")
    assert request.get_response(site.client.application).json["recover"] is True


def test_a_form_that_asked_for_a_callback_before_the_change_is_recovered(make: Callable[..., Site]) -> None:
    before, after = make({"report_by": "oss", "recover": True}), make()
    fields: dict[str, str] = {}
    before.client.local_oss.fail_next("callback_refused")
    before.client.upload("a.png", b"hello", content_type="image/png", change=fields.update)
    oss = after.client.local_oss
    with oss.storage.bucket(oss.bucket).incoming() as incoming:
        incoming.write(b"hello")
        headers = {RECEIPT_FIELD: fields[RECEIPT_FIELD]}
        incoming.commit(fields["key"], "image/png", headers, now=after.clock())
    assert after.report(fields["callback"], fields["key"]).status_int == 200
    assert [upload.recovered for upload in after.uploads] == [True]
