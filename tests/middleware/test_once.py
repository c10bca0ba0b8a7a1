"""OncePerUpload: the application gets each upload once, and a repeated report the stored response."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
import webtest

from oss_wsgi import OncePerUpload, Upload
from oss_wsgi.exceptions import LedgerUnavailableError
from oss_wsgi.ledger.base import Handle, StoredResponse, UploadIdentity
from oss_wsgi.ledger.memory import MemoryLedger
from oss_wsgi.log_format import JSONFormatter, Masker
from oss_wsgi.testing import FrozenClock

NOW = 1733227932
UPLOAD = Upload(object="user/a.txt", etag="5D41", ticket_id="T1", ticket_until=NOW + 300)


class View:
    """An application that records its uploads and responds as configured."""

    def __init__(self, status: str = "200 OK", body: bytes = b'{"a": 1}', headers: list[tuple[str, str]] | None = None):
        self.status, self.body = status, body
        self.headers = [("Content-Type", "application/json")] if headers is None else headers
        self.uploads: list[Upload] = []
        self.closed = 0

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        self.uploads.append(environ["oss_wsgi.upload"])
        start_response(self.status, [*self.headers, ("X-Call", str(len(self.uploads)))])
        return self

    def __iter__(self) -> Iterator[bytes]:
        yield from (self.body[:3], self.body[3:])

    def close(self) -> None:
        self.closed += 1


def client(view: Any) -> webtest.TestApp:
    return webtest.TestApp(OncePerUpload(view, MemoryLedger(clock=FrozenClock(NOW))))


def post(app: webtest.TestApp, upload: object = UPLOAD) -> Any:
    return app.post("/", b"", extra_environ={"oss_wsgi.upload": upload}, expect_errors=True)


def test_each_handled_upload_is_one_line_where_the_log_wants_it(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "oss_wsgi.middleware.once")
    upload = replace(UPLOAD, ticket_id="the-ticket", size=5, user="7", body=b"ticket=the-ticket-secret")
    failing, app = client(View("500 No")), client(View())
    environ = {"oss_wsgi.upload": upload, "HTTP_X_OSS_REQUEST_ID": "5C3D8D2A0ACA54D87B43C048"}
    failing.post("/", b"", extra_environ=environ, expect_errors=True)
    assert not caplog.records
    for _ in range(2):
        app.post("/", b"", extra_environ=dict(environ))
    post(app, replace(upload, object="user/b.txt", ticket_id="T2", recovered=True))
    (record,) = caplog.records
    line = "handled: object='user/a.txt' size=5 user='7' request_id=5C3D8D2A0ACA54D87B43C048"
    assert record.getMessage() == line
    members = json.loads(JSONFormatter(Masker()).format(record))
    shown = {name: members[name] for name in ("message", "object", "user", "bytes", "oss_request_id")}
    assert shown == {
        "message": line, "object": "user/a.txt", "user": "7", "bytes": 5, "oss_request_id": line[-24:],
    }  # fmt: skip
    assert "the-ticket" not in caplog.text + json.dumps(members)


def test_a_repeated_report_gets_the_stored_response() -> None:
    view = View("201 Made")
    app = client(view)
    first, again = post(app), post(app)
    assert first.headers["X-Call"] == "1"
    assert (first.status, first.body) == (again.status, again.body) == ("201 Made", b'{"a": 1}')
    assert again.content_type == "application/json"
    assert again.headers["Content-Length"] == "8"
    assert view.uploads == [UPLOAD]
    assert view.closed == 1


@pytest.mark.parametrize("status", ["500 Oops", "503 Later", "302 Found", "404 Gone"])
def test_a_response_other_than_2xx_is_not_stored(status: str) -> None:
    view = View(status, headers=[("Content-Type", "text/plain"), ("Location", "/x")])
    app = client(view)
    assert [post(app).headers["X-Call"] for _ in range(2)] == ["1", "2"]
    view.status = "200 OK"
    assert [post(app).status_int for _ in range(3)] == [200, 200, 200]
    assert len(view.uploads) == 3


def test_ticket_object_and_etag_make_an_upload() -> None:
    view = View()
    app = client(view)
    for change in ({}, {"etag": "OTHER"}, {"ticket_id": "T2"}, {"ticket_id": "T3", "object": "user/b.txt"}):
        post(app, Upload(**{"object": "user/a.txt", "etag": "5D41", "ticket_id": "T1", "ticket_until": NOW, **change}))
    assert len(view.uploads) == 4


def test_a_ticket_used_for_another_object_is_409() -> None:
    view = View()
    app = client(view)
    post(app)
    other = post(app, Upload(object="user/b.txt", etag="5D41", ticket_id="T1", ticket_until=NOW + 300))
    assert other.status_int == 409
    assert other.json["error"]["code"] == "conflict"
    assert len(view.uploads) == 1


def test_another_etag_of_an_object_that_cannot_be_overwritten_is_409() -> None:
    view = View()
    app = client(view)
    first = replace(UPLOAD, forbid_overwrite=True)
    assert post(app, first).status_int == 200
    assert post(app, replace(first, etag="OTHER")).status_int == 409
    assert post(app, first).status_int == 200
    assert view.uploads == [first]


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt, GeneratorExit])
def test_an_application_that_exits_leaves_the_upload_unhandled(kind: type[BaseException]) -> None:
    view = View()

    def exiting(environ: dict[str, Any], start_response: Any) -> Any:
        if not view.uploads:
            view.uploads.append(environ["oss_wsgi.upload"])
            raise kind
        return view(environ, start_response)

    app = client(exiting)
    with pytest.raises(kind):
        post(app)
    assert post(app).headers["X-Call"] == "2"


def test_an_application_that_raises_leaves_the_upload_unhandled() -> None:
    calls: list[int] = []

    def view(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
        calls.append(1)
        start_response("200 OK", [("Content-Type", "text/plain")])
        yield b"half"
        if len(calls) == 1:
            raise OSError("gone")

    app = client(view)
    with pytest.raises(OSError, match="gone"):
        post(app)
    assert [post(app).body for _ in range(2)] == [b"half", b"half"]
    assert len(calls) == 2


def test_an_application_may_write_and_replace_its_response() -> None:
    def view(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain")])(b"lost")
        try:
            raise ValueError
        except ValueError:
            import sys

            start_response("200 OK", [("Content-Type", "text/html")], sys.exc_info())(b"kept, ")
        return [b"and more"]

    app = client(view)
    for _ in range(2):
        assert (post(app).body, post(app).content_type) == (b"kept, and more", "text/html")


def test_a_response_without_a_body_is_stored() -> None:
    view = View("204 No Content", b"", headers=[])
    app = client(view)
    assert [post(app).status_int for _ in range(2)] == [204, 204]
    assert len(view.uploads) == 1


@pytest.mark.parametrize("upload", [None, "x", Upload(object="a"), Upload(ticket_id="T")])
def test_without_a_ticket_nothing_reaches_the_application(upload: object) -> None:
    view = View()
    assert post(client(view), upload).status_int == 500
    assert view.uploads == []


def test_an_unavailable_ledger_is_503() -> None:
    class Broken:
        def run_once(self, identity: UploadIdentity, handle: Handle) -> StoredResponse:
            raise LedgerUnavailableError("ledger_unavailable", "the disk is full")

    view = View()
    app = webtest.TestApp(OncePerUpload(view, Broken()))
    answer = post(app)
    assert answer.status_int == 503
    assert "disk" not in answer.text
    assert view.uploads == []


class Transactional:
    """A ledger that passes a transaction on, calls the handler twice, and returns the response that a test sets."""

    def __init__(self, returned: int) -> None:
        self.returned = returned

    def run_once(self, identity: UploadIdentity, handle: Handle) -> StoredResponse:
        responses = [handle("first"), handle("second"), StoredResponse("200 OK", "text/plain", b"stored")]
        return responses[self.returned]


def test_the_handler_gets_the_ledgers_transaction_and_others_none() -> None:
    view = View()
    post(webtest.TestApp(OncePerUpload(view, Transactional(1))))
    post(client(view))
    assert [upload.transaction for upload in view.uploads] == ["first", "second", None]
    assert "first" not in repr(view.uploads[0])


def test_a_handler_that_is_called_again_reads_the_same_request() -> None:
    requests = []

    def view(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        requests.append((environ.pop("PATH_INFO"), environ["wsgi.input"].read()))
        start_response("200 OK", [])
        return [b""]

    environ = webtest.TestRequest.blank("/path", POST=b"the body").environ
    OncePerUpload(view, Transactional(1))({**environ, "oss_wsgi.upload": UPLOAD}, lambda *_: None)
    assert requests == [("/path", b"the body")] * 2


@pytest.mark.parametrize(("returned", "call"), [(1, "2"), (2, None)], ids=["last call", "stored"])
def test_body_and_headers_are_those_of_the_answer_given(returned: int, call: str | None) -> None:
    answer = post(webtest.TestApp(OncePerUpload(View(), Transactional(returned))))
    assert answer.headers.get("X-Call") == call
    assert answer.body == (b"stored" if call is None else b'{"a": 1}')


class Raising(View):
    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        raise RuntimeError("its own problem")


@pytest.mark.parametrize("by_prefix", [True, False])
@pytest.mark.parametrize("view", [View("500 No"), Raising()], ids=["failed", "raised"])
def test_a_found_upload_counts_only_if_no_prefix_form_reported_its_object(view: View, by_prefix: bool) -> None:
    """The own report of an exact form may have failed: that is what a recovery is for."""
    ledger = MemoryLedger(clock=FrozenClock(NOW))
    failing, found = webtest.TestApp(OncePerUpload(view, ledger)), View()
    with suppress(RuntimeError):
        post(failing, replace(UPLOAD, ticket_id="T2", by_prefix=by_prefix))
    answer = post(webtest.TestApp(OncePerUpload(found, ledger)), replace(UPLOAD, recovered=True))
    assert (answer.status_int, len(found.uploads)) == ((409, 0) if by_prefix else (200, 1))


def test_a_found_upload_that_was_handled_with_another_ticket_is_refused_and_its_own_answer_is_repeated() -> None:
    view = View()
    app = client(view)
    post(app)
    found = replace(UPLOAD, recovered=True)
    assert post(app, found).status_int == 200
    assert post(app, replace(found, ticket_id="T2")).status_int == 409
    assert post(app, replace(found, ticket_id="T2", etag="another")).status_int == 200
    assert len(view.uploads) == 2
