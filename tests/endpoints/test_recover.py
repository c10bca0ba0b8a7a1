"""POST {prefix}/recover: the page of an upload whose report was lost hands in its proof."""

from __future__ import annotations

import base64
import io
import json
import logging
from collections.abc import Callable
from typing import Any

import pytest
import webob

from oss_wsgi import Grant, Upload
from oss_wsgi.exceptions import BucketUnreachableError
from oss_wsgi.testing import FrozenClock, UploadClient
from oss_wsgi.wsgi.responses import Again

from ..recovery.site import NOW, legacy
from ..support.callbacks import without_signed_id
from ..support.closing import closing_fixture
from .test_multipart import reason


class Site:
    """An application with recovery, its handler's calls, and the last form."""

    def __init__(self, settings: dict[str, Any] | None = None, *, app: Any = legacy, **options: Any) -> None:
        self.clock = FrozenClock(NOW)
        self.uploads: list[Upload] = []
        self.errors: list[Exception] = []
        self.fields: dict[str, str] = {}
        options = {"on_upload": self.save, "authorize": lambda request: Grant(user="eric", dir="u/"), **options}
        self.client = UploadClient(app, {"recover": True, **(settings or {})}, clock=self.clock, **options)

    def save(self, upload: Upload) -> dict[str, Any]:
        if self.errors:
            raise self.errors.pop()
        self.uploads.append(upload)
        return {"saved": upload.object, "number": len(self.uploads)}

    def upload(self, name: str = "猫.png", data: bytes = b"hello", **options: Any) -> webob.Response:
        self.fields.clear()
        return self.client.upload(name, data, content_type="image/png", change=self.fields.update, **options)

    def lose(self, name: str = "猫.png", **options: Any) -> None:
        self.client.local_oss.fail_next("callback_refused")
        assert self.upload(name, **options).status_int == 203

    def recover(self, proof: str | None = None, key: str | None = None, **headers: str) -> webob.Response:
        key = self.fields["key"] if key is None else key
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.client.recover(self.fields["callback"] if proof is None else proof, key, headers=named)

    @property
    def ticket(self) -> str:
        body: str = json.loads(base64.b64decode(self.fields["callback"]))["callbackBody"]
        return body.rpartition("ticket=")[2]

    def close(self) -> None:
        self.client.close()


make = closing_fixture(Site)


@pytest.fixture
def site(make: Callable[..., Site]) -> Site:
    return make()


# A lost report is found.


def test_a_lost_upload_is_handled_and_answered_as_its_callback_would_be(site: Site) -> None:
    site.lose()
    answer = site.recover()
    (upload,) = site.uploads
    assert (answer.status_int, answer.content_type) == (200, "application/json")
    assert without_signed_id(answer.json) == {"Status": "Ok", "saved": site.fields["key"], "number": 1}
    assert answer.headers["Cache-Control"] == "no-store"
    assert (upload.user, upload.object, upload.size) == ("eric", site.fields["key"], 5)
    assert (upload.etag, upload.crc64) == ("5D41402ABC4B2A76B9719D911017C592", 11177612005948864433)
    assert (upload.bucket, upload.mime_type, upload.operation) == ("examplebucket", "image/png", "PostObject")
    assert (upload.recovered, upload.confirmed, upload.image_width, upload.request_id) == (True, True, None, None)


def test_an_upload_whose_answer_was_lost_gets_the_kept_answer(site: Site) -> None:
    site.client.local_oss.fail_next("callback_timeout", delivered=True)
    assert site.upload().status_int == 203
    assert len(site.uploads) == 1
    for _ in range(2):
        assert without_signed_id(site.recover().json) == {"Status": "Ok", "saved": site.fields["key"], "number": 1}
    assert len(site.uploads) == 1


def test_a_handler_that_failed_runs_again_and_may_fail_again(site: Site) -> None:
    site.errors += [RuntimeError("database down")] * 2
    assert site.upload().status_int == 203
    refusal = site.recover()
    assert refusal.status_int == 500
    assert refusal.json["error"]["code"] == "internal_server_error"
    assert site.recover().json["number"] == 1
    assert len(site.uploads) == 1


def test_a_late_callback_gets_the_answer_of_the_recovery(site: Site) -> None:
    callbacks: list[Callable[[], bytes]] = []
    deliver = site.client.local_oss.application
    assert deliver is not None

    def late(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        body = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))

        def call() -> bytes:
            return webob.Request({**environ, "wsgi.input": io.BytesIO(body)}).get_response(deliver).body

        callbacks.append(call)
        start_response("504 Gateway Timeout", [("Content-Length", "0")])
        return []

    site.client.local_oss.application = late
    assert site.upload().status_int == 203
    recovered = without_signed_id(site.recover().json)
    assert without_signed_id(json.loads(callbacks[0]())) == recovered
    assert len(site.uploads) == 1


# Refusals.


def test_an_object_that_is_not_stored_may_be_sent_again(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "oss_wsgi")
    site.fields = site.client.sign("a.png", content_type="image/png").json["fields"]
    answer = site.recover()
    assert answer.status_int == 404
    assert answer.json == {"error": {"code": "not_stored", "message": "The file is not stored: it may be sent again."}}
    assert reason(caplog) == "not_stored"


def test_a_ticket_that_does_not_count_is_refused_and_nothing_is_asked(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    other = site.client.sign("other.png").json["fields"]
    site.lose()
    asked = len(site.client.bucket.requests)  # type: ignore[attr-defined]
    answer = site.recover(other["callback"])
    assert answer.status_int == 403
    assert answer.json == {"error": {"code": "forbidden", "message": "Not allowed."}}
    assert reason(caplog) == "recover_mismatch"
    assert len(site.client.bucket.requests) == asked  # type: ignore[attr-defined]
    assert site.uploads == []


def test_the_ticket_of_a_prefix_form_learns_of_no_object(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    site.lose()
    key = site.fields["key"]
    site.client.local_oss.fail_next("callback_refused")
    assert site.upload("mine.png", exact=False).status_int == 203
    bodies = {site.recover(key=name).body for name in (key, "u/mine.png", "u/none.png")}
    assert len(bodies) == 1
    assert (site.recover().status_int, reason(caplog)) == (409, "not_yours")
    assert site.uploads == []
    assert site.client.bucket.requests == []  # type: ignore[attr-defined]


def test_a_bucket_that_cannot_be_asked_is_a_503_and_the_page_asks_again(site: Site) -> None:
    site.lose()
    site.client.bucket.fail_next(BucketUnreachableError("bucket_unreachable", "no route"))  # type: ignore[attr-defined]
    answer = site.recover()
    assert (answer.status_int, answer.headers["Retry-After"]) == (503, "10")
    assert site.recover().status_int == 200


def post(site: Site, body: bytes, environ: dict[str, Any] | None = None, **headers: str) -> webob.Response:
    request = webob.Request.blank("/oss/recover", environ, method="POST", body=body, headers=headers)
    return request.get_response(site.client.application)


def test_another_try_is_asked_for_while_oss_is_unreachable(site: Site) -> None:
    site.lose()
    site.client.bucket.fail_next(BucketUnreachableError("bucket_unreachable", "no route"))  # type: ignore[attr-defined]
    again = Again()
    again.is_offered = True
    body = json.dumps({"ticket": site.fields["callback"], "object": site.fields["key"]}).encode()
    assert post(site, body, {"oss_wsgi.again": again}).status_int == 503
    assert again.is_asked


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b'{"ticket": "t"}',
        b'{"object": "o"}',
        b'{"ticket": "", "object": "o"}',
        b'{"ticket": "t", "object": ""}',
        b'{"ticket": 1, "object": "o"}',
        b'{"ticket": "t", "object": ["o"]}',
        b"ticket=t&object=o",
    ],
)
def test_anything_but_the_two_texts_is_malformed(site: Site, body: bytes, caplog: pytest.LogCaptureFixture) -> None:
    answer = post(site, body)
    assert (answer.status_int, answer.content_type) == (400, "application/json")
    assert reason(caplog) == "recover_malformed"


def test_a_body_over_16_kib_is_not_read(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    body = json.dumps({"ticket": "t", "object": "o"}).encode()
    assert post(site, body.ljust(16 * 1024)).status_int == 403
    assert post(site, body.ljust(16 * 1024 + 1)).status_int == 413
    assert reason(caplog) == "body_too_large"


def test_without_the_setting_there_is_no_such_path(make: Callable[..., Site], caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    site = make({"recover": False})
    site.lose()
    assert site.recover().status_int == 404
    assert "OSS_RECOVER is off" in caplog.text
    assert "set OSS_RECOVER=on" in caplog.text
    assert site.recover().json["error"]["code"] == "not_found"


# How often.


def test_it_counts_in_the_rate_limit_of_the_signature_with_the_tickets_user(
    make: Callable[..., Site], caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[str] = []

    def rate_limit(who: str) -> float | None:
        seen.append(who)
        return 7.0 if len(seen) > 2 else None

    caplog.set_level(logging.INFO)
    site = make(rate_limit=rate_limit)
    site.lose()
    assert site.recover("garbage").status_int == 403
    assert site.recover().status_int == 200
    asked = len(site.client.bucket.requests)  # type: ignore[attr-defined]
    answer = site.recover()
    assert (answer.status_int, answer.headers["Retry-After"]) == (429, "7")
    assert len(site.client.bucket.requests) == asked  # type: ignore[attr-defined]
    assert seen == ["user:eric"] * 3
    assert (caplog.records[-1].user, caplog.records[-1].object) == ("eric", site.fields["key"])  # type: ignore[attr-defined]


# In the application.


def test_a_forwarded_upload_reaches_the_applications_own_view_without_the_persons_login(
    make: Callable[..., Site],
) -> None:
    seen: list[dict[str, Any]] = []

    def view(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        body = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
        seen.append({**environ, "body": body})
        start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", "2")])
        return [b"{}"]

    site = make(app=view, on_upload=None, forward_callback=True, mount="/site", prefix="/up")
    site.lose()
    assert site.recover(Cookie="session=1", Authorization="Basic x").body == b"{}"
    assert site.client.direct_upload.reconcile(until=0).known == 1
    site.lose()
    assert site.client.direct_upload.reconcile(until=0).recovered == 1
    for environ in seen:
        assert environ["oss_wsgi.upload"].recovered
        assert (environ["SCRIPT_NAME"], environ["PATH_INFO"]) == ("/site", "/up/callback")
        assert (environ["REQUEST_METHOD"], environ["QUERY_STRING"]) == ("POST", "")
        assert not {"HTTP_COOKIE", "HTTP_AUTHORIZATION", "REMOTE_USER"} & environ.keys()
        assert dict(pair.split(b"=") for pair in environ["body"].split(b"&"))[b"size"] == b"5"
    assert len(seen) == 2


def test_a_recovery_is_logged_with_both_request_ids(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "oss_wsgi")
    site.lose()
    site.errors.append(RuntimeError("not now"))
    for page in ("page-6", "page-7", "page-8"):
        site.recover(X_Request_ID=page)
    lines = [record for record in caplog.records if record.getMessage().startswith("recovered")]
    assert [vars(line)["status"] for line in lines] == [200, 200]
    assert [line.getMessage() for line in lines] == [
        "recovered: outcome=handled request_id=page-7 oss_request_id=-",
        "recovered: outcome=repeated request_id=page-8 oss_request_id=-",
    ]


def test_observers_and_metrics_count_it(make: Callable[..., Site]) -> None:
    from oss_wsgi import Metrics

    metrics = Metrics()
    refusals: list[tuple[str, int, Any]] = []
    site = make(
        metrics=metrics,
        on_refused=lambda reason, status, facts: refusals.append((reason, status, facts.get("object"))),
    )
    site.lose()
    site.recover("garbage")
    site.recover()
    site.recover()
    text = metrics.text()[1].decode()
    for line in ('outcome="ticket_altered"} 1.0', 'outcome="recovered"} 1.0', 'outcome="repeated"} 1.0'):
        assert f"oss_wsgi_recovered_total{{{line}" in text
    assert refusals == [("ticket_altered", 403, None)], "whose object it is, only a ticket says"


def test_a_confirm_of_the_applications_own_still_decides(make: Callable[..., Site]) -> None:
    asked: list[Upload] = []
    verdicts = [False, True]
    site = make(confirm=lambda upload: asked.append(upload) or verdicts.pop(0))
    site.lose()
    assert site.recover().status_int == 403
    assert site.recover().status_int == 200
    assert [upload.recovered for upload in asked] == [True, True]
