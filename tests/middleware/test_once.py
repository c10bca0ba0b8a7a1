"""OncePerUpload: the application gets each upload once, and a repeated report the stored response."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
import webtest

from oss_wsgi import CallbackEndpoint, OncePerUpload, Upload
from oss_wsgi.callback.signed_id import SignedIDBook
from oss_wsgi.exceptions import (
    HandlerCommittedError,
    LedgerUnavailableError,
    NotYoursError,
    ReasonedError,
    TicketUsedError,
)
from oss_wsgi.ledger.base import Handle, Pending, StoredResponse, UploadIdentity
from oss_wsgi.ledger.memory import MemoryLedger
from oss_wsgi.log_format import JSONFormatter, Masker
from oss_wsgi.testing import FrozenClock
from oss_wsgi.wsgi.facts import RequestFacts, facts_of
from oss_wsgi.wsgi.questions import WouldWaitError

from ..support.callbacks import without_signed_id

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
        assert len(caplog.records) == 1
    post(app, replace(upload, object="user/b.txt", ticket_id="T2", recovered=True))
    (record,) = caplog.records
    line = "handled: object='user/a.txt' size=5 user='7' oss_request_id=5C3D8D2A0ACA54D87B43C048"
    assert record.getMessage() == line
    members = json.loads(JSONFormatter(Masker()).format(record))
    shown = {name: members[name] for name in ("message", "object", "user", "bytes", "oss_request_id")}
    assert shown == {
        "message": line, "object": "user/a.txt", "user": "7", "bytes": 5, "oss_request_id": line[-24:],
    }  # fmt: skip
    assert "the-ticket" not in caplog.text + json.dumps(members)


def test_a_repeated_report_gets_the_stored_response() -> None:
    view = View("201 Made", headers=[("content-type", "application/json")])
    app = client(view)
    first, again = post(app), post(app)
    assert first.headers["X-Call"] == "1"
    assert (first.status, first.body) == (again.status, again.body) == ("201 Made", b'{"a": 1}')
    assert again.content_type == "application/json"
    assert again.headers["Content-Length"] == "8"
    assert view.uploads == [UPLOAD]
    assert view.closed == 1


def test_a_repeated_report_is_one_in_the_facts() -> None:
    app = client(View())
    reasons = []
    for _ in range(2):
        facts = RequestFacts({})
        app.post("/", b"", extra_environ={"oss_wsgi.upload": UPLOAD, "oss_wsgi.facts": facts})
        reasons.append(facts.reason)
    assert reasons == [None, "repeated"]


@pytest.mark.parametrize("returned", [1, 2], ids=["last call", "stored"])
def test_a_call_that_is_made_again_leaves_no_refusal_in_the_facts(returned: int) -> None:
    def view(environ: dict[str, Any], start_response: Any) -> Any:
        calls.append(1)
        if len(calls) == 1:
            return facts_of(environ).refuse(logging.getLogger(), start_response, 500, "handler_failed", "")
        return View()(environ, start_response)

    calls: list[int] = []
    facts = RequestFacts({"REQUEST_METHOD": "POST"})
    app = webtest.TestApp(OncePerUpload(view, Transactional(returned)))
    app.post("/", b"", extra_environ={"oss_wsgi.upload": UPLOAD, "oss_wsgi.facts": facts})
    assert (len(calls), facts.reason, facts.refused) == (2, [None, "repeated"][returned - 1], None)


def test_a_stored_response_has_the_headers_of_data() -> None:
    started: list[dict[str, str]] = []
    environ = {**webtest.TestRequest.blank("/", POST=b"").environ, "oss_wsgi.upload": UPLOAD}
    OncePerUpload(View(), Transactional(2))(environ, lambda status, headers: started.append(dict(headers)))
    (headers,) = started
    shown = [headers.get(name) for name in ("Content-Length", "Content-Type", "Cache-Control")]
    assert shown == ["6", "text/plain", "no-store"]


@pytest.mark.parametrize("status", ["500 Oops", "503 Later", "302 Found", "404 Gone"])
def test_a_response_other_than_2xx_is_not_stored(status: str) -> None:
    view = View(status, headers=[("Content-Type", "text/plain"), ("Location", "/x")])
    app = client(view)
    assert [post(app).headers["X-Call"] for _ in range(2)] == ["1", "2"]
    view.status = "200 OK"
    assert [post(app).status_int for _ in range(3)] == [200, 200, 200]
    assert len(view.uploads) == 3


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


def test_a_body_that_raises_is_closed() -> None:
    class Failing(View):
        def __iter__(self) -> Iterator[bytes]:
            yield b"half"
            raise OSError("gone")

    view = Failing()
    with pytest.raises(OSError, match="gone"):
        post(client(view))
    assert view.closed == 1


class Noting:
    """A ledger that notes what it is asked, and raises what it is told, once each."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.asked: list[UploadIdentity] = []
        self.noted: list[tuple[str, str, int]] = []

    def run_once(self, identity: UploadIdentity, handle: Handle) -> StoredResponse:
        self.asked.append(identity)
        if self.errors:
            raise self.errors.pop(0)
        return handle(None)

    def known(self, pairs: Iterable[tuple[str, str]]) -> set[tuple[str, str]]:
        return set()

    def note(self, pairs: Iterable[tuple[str, str]], expires: int) -> None:
        self.noted += [(*pair, expires) for pair in pairs]
        if self.errors:
            raise self.errors.pop(0)


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (LedgerUnavailableError("ledger_unavailable", "the disk is full"), 503, "service_unavailable"),
        (TicketUsedError("ticket_used", "for another object"), 409, "conflict"),
        (NotYoursError("not_yours", "another ticket's"), 409, "conflict"),
        (HandlerCommittedError("handler_committed", "it ended the transaction"), 500, "internal_server_error"),
    ],
    ids=lambda value: value.reason if isinstance(value, ReasonedError) else "",
)
@pytest.mark.parametrize("by_prefix", [True, False])
def test_what_the_ledger_refuses_is_refused_and_noted_of_a_prefix_form(
    error: ReasonedError, status: int, code: str, by_prefix: bool, caplog: pytest.LogCaptureFixture
) -> None:
    ledger = Noting(error, LedgerUnavailableError("ledger_unavailable", "it cannot note either"))
    answer = post(webtest.TestApp(OncePerUpload(View(), ledger)), replace(UPLOAD, by_prefix=by_prefix))
    assert (answer.status_int, answer.json["error"]["code"]) == (status, code)
    assert f"reason={error.reason} " in caplog.text
    assert error.hint not in answer.text
    assert ledger.noted == [("user/a.txt", "refused 5D41", NOW + 300)] * by_prefix


def test_reports_that_are_refused_again_and_again_remove_nothing_that_was_handled() -> None:
    ledger = MemoryLedger(clock=FrozenClock(NOW), max_uploads=2)
    post(webtest.TestApp(OncePerUpload(View(), ledger)))
    app = webtest.TestApp(OncePerUpload(View("500 No"), ledger))
    for etag in ("1", "1", "2", "3", "1"):
        post(app, replace(UPLOAD, ticket_id="T2", etag=etag, by_prefix=True))
    assert len(ledger) == 1
    assert ledger.known([("user/a.txt", "5D41"), ("user/a.txt", "refused 1")])


class Settled(Pending):
    def __init__(self, outcome: StoredResponse | LedgerUnavailableError) -> None:
        self.outcome = outcome

    def settle(self, wake: Callable[[], None]) -> bool:
        return True

    def result(self) -> StoredResponse:
        if isinstance(self.outcome, StoredResponse):
            return self.outcome
        raise self.outcome


class InLoop(MemoryLedger):
    """A ledger that answers a server's loop as it is told; None means that it would have to wait."""

    def __init__(self, outcome: StoredResponse | Pending | None) -> None:
        super().__init__(clock=FrozenClock(NOW))
        self.outcome = outcome

    def begin_once(self, identity: UploadIdentity, handle: Handle) -> Any:
        assert identity.ticket == "T1"
        return self.outcome


def ask_in_loop(
    ledger: Any, view: Any, upload: Upload = UPLOAD, **options: Any
) -> tuple[list[Any], list[str], Iterable[bytes]]:
    """Return what a loop is to hold, the statuses that it gets, and the body."""
    held: list[Any] = []
    statuses: list[str] = []
    environ = webtest.TestRequest.blank("/", POST=b"").environ
    environ |= {"oss_wsgi.upload": upload, "oss_wsgi.hold": held.append}
    once = OncePerUpload(view, ledger, **options)
    return held, statuses, once(environ, lambda status, *rest: statuses.append(status))


STORED = StoredResponse("200 OK", "text/plain", b"stored")


@pytest.mark.parametrize(
    ("outcome", "status"),
    [(STORED, "200 OK"), (LedgerUnavailableError("ledger_unavailable", "full"), "503 Service Unavailable")],
)
def test_a_loop_holds_a_pending_response_until_it_is_decided(outcome: Any, status: str) -> None:
    pending = Settled(outcome)
    held, statuses, body = ask_in_loop(InLoop(pending), View())
    assert (len(held), statuses) == (1, [])
    assert held[0].settle(lambda: None)
    content = b"".join(body)
    assert statuses == [status]
    assert (content == b"stored") is (outcome is STORED)


def test_a_loop_gets_a_stored_response_at_once() -> None:
    held, statuses, body = ask_in_loop(InLoop(STORED), View())
    assert (held, statuses, b"".join(body)) == ([], ["200 OK"], b"stored")


def test_a_ledger_that_knows_no_loop_and_a_server_without_one_wait() -> None:
    view = View()
    assert ask_in_loop(Noting(), view)[:2] == ([], ["200 OK"])
    assert post(webtest.TestApp(OncePerUpload(view, InLoop(None)))).status_int == 200
    assert len(view.uploads) == 2


@pytest.mark.parametrize(
    ("outcome", "by_prefix"),
    [(None, False), (StoredResponse("500 No", "", b""), True)],
    ids=["the ledger is busy", "a refusal is to be noted"],
)
def test_a_loop_is_told_what_would_wait(outcome: Any, by_prefix: bool) -> None:
    with pytest.raises(WouldWaitError):
        ask_in_loop(InLoop(outcome), View(), replace(UPLOAD, by_prefix=by_prefix))


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


@pytest.mark.parametrize("upload", [None, "x", Upload(object="a"), Upload(ticket_id="T"), Upload(ticket_until=NOW)])
def test_without_a_ticket_nothing_reaches_the_application(upload: object, caplog: pytest.LogCaptureFixture) -> None:
    view = View()
    assert post(client(view), upload).status_int == 500
    assert "reason=not_guarded " in caplog.text
    assert view.uploads == []


class Transactional:
    """A ledger that passes a transaction on, calls the handler twice, and returns the response that a test sets."""

    def __init__(self, returned: int) -> None:
        self.returned = returned

    def run_once(self, identity: UploadIdentity, handle: Handle) -> StoredResponse:
        responses = [handle("first"), handle("second"), StoredResponse("200 OK", "text/plain", b"stored")]
        return responses[self.returned]

    def known(self, pairs: Any) -> set[Any]:
        return set()


def test_the_handler_gets_the_ledgers_transaction_and_others_none() -> None:
    view = View()
    for upload in (UPLOAD, replace(UPLOAD, recovered=True)):
        post(webtest.TestApp(OncePerUpload(view, Transactional(1))), upload)
    post(client(view))
    assert [upload.transaction for upload in view.uploads] == ["first", "second", "first", "second", None]
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
def test_a_found_upload_counts_only_if_no_prefix_form_reported_its_object(
    view: View, by_prefix: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """The own report of an exact form may have failed: that is what a recovery is for."""
    ledger = MemoryLedger(clock=FrozenClock(NOW))
    failing, found = webtest.TestApp(OncePerUpload(view, ledger)), View()
    with suppress(RuntimeError):
        post(failing, replace(UPLOAD, ticket_id="T2", by_prefix=by_prefix))
    app = webtest.TestApp(OncePerUpload(found, ledger))
    answer = post(app, replace(UPLOAD, recovered=True))
    assert (answer.status_int, len(found.uploads)) == ((409, 0) if by_prefix else (200, 1))
    assert ("reason=not_yours " in caplog.text) is by_prefix
    assert post(app, replace(UPLOAD, ticket_id="T3", etag="another", recovered=True)).status_int == 200


def test_a_found_upload_that_was_handled_with_another_ticket_is_refused_and_its_own_answer_is_repeated() -> None:
    view = View()
    app = client(view)
    post(app)
    found = replace(UPLOAD, recovered=True)
    assert post(app, found).status_int == 200
    assert post(app, replace(found, ticket_id="T2")).status_int == 409
    assert post(app, replace(found, ticket_id="T2", etag="another")).status_int == 200
    assert len(view.uploads) == 2


def test_a_found_upload_reaches_a_view_by_the_request_that_is_made_for_it() -> None:
    view = View()
    made: list[Any] = []

    def request_for(upload: Upload, asked: Any) -> dict[str, Any]:
        made.append(asked)
        return webtest.TestRequest.blank("/made", POST=b"").environ

    once = OncePerUpload(view, MemoryLedger(clock=FrozenClock(NOW)), request_for=request_for)
    found, asked = replace(UPLOAD, recovered=True), {"REQUEST_METHOD": "POST"}
    first, again = once.deliver(found, asked), once.deliver(found)
    assert (first.response, first.is_repeated) == (again.response, False)
    assert (again.is_repeated, again.headers) == (True, None)
    assert dict(first.headers or ())["X-Call"] == "1"
    assert (view.uploads, made) == ([found], [asked, None])


class Recording(MemoryLedger):
    """A ledger that shows what it stored."""

    def run_once(self, identity: UploadIdentity, handle: Handle) -> StoredResponse:
        self.stored = super().run_once(identity, handle)
        return self.stored


SIGNED_IDS = SignedIDBook(["s" * 32], "examplebucket", clock=FrozenClock(NOW))
OF_BUCKET = replace(UPLOAD, bucket="examplebucket", user="eric")


def test_each_response_has_a_new_signed_id_that_the_ledger_does_not_store() -> None:
    uploads: list[Upload] = []
    ledger = Recording(clock=FrozenClock(NOW))
    endpoint = CallbackEndpoint(lambda upload: uploads.append(upload) or {"id": 7})
    once = OncePerUpload(endpoint, ledger, signed_ids=SIGNED_IDS)
    app = webtest.TestApp(lambda environ, start: once({**environ, "PATH_INFO": ""}, start))
    answers = [post(app, OF_BUCKET).json for _ in range(2)]
    for _ in range(2):
        answers.append(json.loads(once.deliver(replace(OF_BUCKET, recovered=True), {}).response.body))
    assert ledger.stored.body == b'{"Status": "Ok", "id": 7}'
    assert [without_signed_id(answer) for answer in answers] == [{"Status": "Ok", "id": 7}] * 4
    assert len({uploads[0].signed_id, *(answer["signed_id"] for answer in answers)}) == 4
    assert uploads[0].signed_id == answers[0]["signed_id"]
    for answer in answers:
        assert SIGNED_IDS.find_upload(answer["signed_id"], user="eric").object == UPLOAD.object


def test_a_pending_response_gets_its_signed_id_when_it_is_decided() -> None:
    pending = Settled(StoredResponse("200 OK", "application/json", b'{"Status": "Ok"}'))
    held, _, body = ask_in_loop(InLoop(pending), CallbackEndpoint(), OF_BUCKET, signed_ids=SIGNED_IDS)
    assert len(held) == 1
    assert without_signed_id(json.loads(b"".join(body))) == {"Status": "Ok"}


def test_a_views_response_stays_as_it_is_and_the_view_finds_the_signed_id() -> None:
    view = View()
    ledger = MemoryLedger(clock=FrozenClock(NOW))
    app = webtest.TestApp(OncePerUpload(view, ledger, signed_ids=SIGNED_IDS))
    assert [post(app, OF_BUCKET).body for _ in range(2)] == [view.body] * 2
    assert SIGNED_IDS.find_upload(view.uploads[0].signed_id, user="eric").etag == UPLOAD.etag


def test_without_a_book_no_upload_has_a_signed_id() -> None:
    view = View()
    post(client(view))
    assert view.uploads[0].signed_id == ""


def test_a_view_without_a_request_is_named() -> None:
    with pytest.raises(TypeError, match="needs request_for"):
        OncePerUpload(View(), MemoryLedger(clock=FrozenClock(NOW))).deliver(UPLOAD)
