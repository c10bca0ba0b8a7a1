"""RequestFacts: what the log and observers know of a request, and what a refusal tells the client and the log."""

from __future__ import annotations

import gc
import logging
import re
import weakref
from typing import Any

import pytest
import webtest

from oss_wsgi import Upload, exceptions
from oss_wsgi.wsgi.facts import RequestFacts, ask_again, facts_of
from oss_wsgi.wsgi.responses import AGAIN_KEY, STATUSES, Again

from .test_responses import ERRORS, REASONED, subclass

log = logging.getLogger("oss_wsgi.test")

#: Errors of which the client is told what is wrong with its own request.
TOLD = (exceptions.UploadRequestError, exceptions.TooManyRequestsError)


@pytest.mark.parametrize("sent", ["a", "7f3c-11", "A_b.c-9", "x" * 64])
def test_a_well_formed_request_id_is_used(sent: str) -> None:
    assert RequestFacts({"HTTP_X_REQUEST_ID": sent}).id == sent


@pytest.mark.parametrize("sent", ["", "a b", "a\nb", "x" * 65, "é", '"', "a;b", None])
def test_a_malformed_request_id_is_replaced(sent: str | None) -> None:
    assert re.fullmatch("[0-9a-f]{16}", RequestFacts({"HTTP_X_REQUEST_ID": sent} if sent is not None else {}).id)


def test_a_random_id_belongs_to_one_request() -> None:
    environ: dict[str, object] = {}
    first = facts_of(environ).id
    assert facts_of(dict(environ)).id == first
    assert facts_of({}).id != first


def test_fields_hold_only_what_is_known() -> None:
    environ = {
        "HTTP_X_REQUEST_ID": "r1",
        "HTTP_X_OSS_REQUEST_ID": "674EF4EC",
        "REQUEST_METHOD": "POST",
        "SCRIPT_NAME": "/oss",
        "PATH_INFO": "/callback",
        "QUERY_STRING": "token=swordfish",
        "REMOTE_ADDR": "192.0.2.1",
        "HTTP_COOKIE": "swordfish",
    }
    facts = RequestFacts(environ)
    facts.user = "eric"
    environ["PATH_INFO"] = "/elsewhere"
    assert facts.fields() == {
        "request_id": "r1",
        "oss_request_id": "674EF4EC",
        "address": "192.0.2.1",
        "method": "POST",
        "path": "/oss/callback",
        "user": "eric",
    }
    assert set(RequestFacts({"HTTP_X_OSS_REQUEST_ID": "no id"}).fields()) == {"request_id"}


@pytest.mark.parametrize("end", ["", "/7", "/complete", ".", "\n", "?key=a", ")/7"])
def test_the_path_is_shown_without_the_id_of_an_upload_in_parts(end: str) -> None:
    for sealed, shown in (("aZ9_-" * 60, "***"), ("0" * 64, "0" * 64)):
        environ = {"SCRIPT_NAME": "/oss", "PATH_INFO": f"/s3/multipart/{sealed}{end}"}
        assert RequestFacts(environ).fields()["path"] == f"/oss/s3/multipart/{shown}{end}"


def test_new_facts_take_user_and_object_from_the_upload() -> None:
    environ: dict[str, Any] = {"oss_wsgi.upload": Upload(object="a.txt", user="eric")}
    assert (facts_of(environ).user, facts_of(environ).object) == ("eric", "a.txt")
    assert facts_of({"oss_wsgi.upload": "forged"}).user is None


def refusing(error: Exception, **options: Any) -> webtest.TestResponse:
    def application(environ: dict[str, Any], start_response: Any) -> Any:
        return facts_of(environ).refuse_error(log, start_response, error, **options)

    app = webtest.TestApp(application)
    return app.get("/", expect_errors=True)


@pytest.mark.parametrize(
    "error",
    {ERRORS[error]: error for error in REASONED if not issubclass(error, TOLD)}.values(),
    ids=lambda error: error.__name__,
)
def test_a_refusal_logs_the_reason_and_tells_the_client_nothing(
    error: type[Exception], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    response = refusing(subclass(error)("own_reason", "own hint"))
    assert response.status_int == ERRORS[error]
    assert "own" not in response.text
    (record,) = caplog.records
    message = f"refused: status={ERRORS[error]} reason=own_reason hint='own hint' oss_request_id=-"
    assert record.getMessage() == message
    assert (record.reason, record.status) == ("own_reason", ERRORS[error])  # type: ignore[attr-defined]


def test_a_client_is_told_what_is_wrong_with_its_own_request_and_how_long_to_wait() -> None:
    outside = refusing(exceptions.OutsideGrantError("size_not_allowed", "At most 5 bytes."))
    assert (outside.status_int, outside.json) == (
        403,
        {"error": {"code": "size_not_allowed", "message": "At most 5 bytes."}},
    )
    often = refusing(exceptions.TooManyRequestsError("too_many_requests", "eric asks too often", seconds=7))
    assert (often.status_int, often.headers["Retry-After"]) == (429, "7")
    assert often.json["error"] == {"code": "too_many_requests", "message": "Too many requests: try again in 7 s."}


@pytest.mark.parametrize("error", [exceptions.HandlerFailedError, exceptions.CallableFailedError])
def test_what_the_users_own_code_raised_is_logged_with_its_traceback(
    error: type[exceptions.ReasonedError], caplog: pytest.LogCaptureFixture
) -> None:
    failed = error("own_reason", "own hint")
    failed.__cause__ = ValueError("why")
    assert refusing(failed).status_int == 500
    (record,) = caplog.records
    assert record.exc_info is not None
    assert record.exc_info[1] is failed.__cause__


def test_only_a_failed_confirm_is_logged_with_its_traceback(caplog: pytest.LogCaptureFixture) -> None:
    for reason in ("confirm_failed", "oss_unreachable"):
        error = exceptions.ConfirmationUnavailableError(reason, "no")
        error.__cause__ = ValueError("why")
        assert refusing(error).status_int == 503
    failed, unreachable = caplog.records
    assert failed.exc_info is not None
    assert unreachable.exc_info is None


@pytest.mark.parametrize(
    ("status", "reason", "level", "retry_after"),
    [
        *[(status, "some_reason", "WARNING", None) for status in (400, 403, 409, 411, 413)],
        *[(status, "some_reason", "INFO", None) for status in (404, 405, 408, 429)],
        (500, "some_reason", "ERROR", None),
        (503, "some_reason", "WARNING", "10"),
        *[(503, reason, "INFO", "1") for reason in ("slots_taken", "memory_taken")],
        *[(503, reason, "WARNING", "1") for reason in ("ledger_busy", "upload_unsettled")],
    ],
)
def test_a_refusal_says_when_to_come_back_and_strangers_fill_no_log_with_warnings(
    status: int, reason: str, level: str, retry_after: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    environ: dict[str, Any] = {}

    def application(request: dict[str, Any], start_response: Any) -> Any:
        environ.update(request)
        return facts_of(environ).refuse(log, start_response, status, reason, "hint", headers=[("X-Own", "1")])

    response = webtest.TestApp(application).get("/", status=status)
    assert (response.headers.get("Retry-After"), response.headers["X-Own"]) == (retry_after, "1")
    assert [record.levelname for record in caplog.records] == [level]
    assert (facts_of(environ).reason, facts_of(environ).refused) == (reason, status)
    assert (response.json["error"]["code"] == "request_entity_too_large") == (status == 413)


def test_a_path_or_a_method_that_is_not_there_is_refused_to_head_as_to_get(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)

    def wrong_method(environ: dict[str, Any], start_response: Any) -> Any:
        return facts_of(environ).method_not_allowed(log, start_response, "POST, OPTIONS")

    def wrong_path(environ: dict[str, Any], start_response: Any) -> Any:
        return facts_of(environ).not_found(log, start_response)

    for application, status, reason in ((wrong_method, 405, "method_not_allowed"), (wrong_path, 404, "not_found")):
        app = webtest.TestApp(application)
        answer, head = app.get("/", status=status), app.head("/", status=status)
        assert [vars(record)["reason"] for record in caplog.records[-2:]] == [reason] * 2
        assert answer.json["error"]["code"] == reason
        assert answer.headers.get("Allow") == ("POST, OPTIONS" if status == 405 else None)
        assert ("POST, OPTIONS" in answer.json["error"]["message"]) == (status == 405)
        assert (head.body, head.content_length) == (b"", len(answer.body))


def test_a_browser_is_told_what_it_may_know_and_the_log_the_hint(caplog: pytest.LogCaptureFixture) -> None:
    error = exceptions.NotYoursError("own_reason", "own hint")
    told = refusing(error, hint="another hint", messages={"own_reason": "Own.", "other_reason": "Other."})
    assert told.json == {"error": {"code": "own_reason", "message": "Own."}}
    assert "another hint" in caplog.text


@pytest.mark.parametrize(
    ("status", "reason", "ends_soon"),
    [
        *[(503, reason, True) for reason in ("slots_taken", "ledger_busy", "upload_unsettled", "bucket_unreachable")],
        (503, "bucket_refused", False),
        (409, "ledger_busy", False),
        (None, None, False),
    ],
)
def test_another_try_is_asked_for_where_the_server_offers_it_and_the_cause_ends_soon(
    status: int | None, reason: str | None, ends_soon: bool
) -> None:
    for is_offered in (True, False):
        again = Again()
        assert not (again.is_offered or again.is_asked or again.frees_others or again.is_counted)
        again.is_offered = is_offered
        environ: dict[str, Any] = {AGAIN_KEY: again}
        facts_of(environ).refused, facts_of(environ).reason = status, reason
        ask_again(environ)
        assert (again.is_asked, again.frees_others) == (is_offered and ends_soon, not ends_soon)
    ask_again({AGAIN_KEY: "forged"})


def test_changing_a_status_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(STATUSES, exceptions.TicketUsedError, 410)

    def application(environ: dict[str, Any], start_response: Any) -> Any:
        error = subclass(exceptions.TicketUsedError)("ticket_used", "the ticket was used")
        return facts_of(environ).refuse_error(log, start_response, error)

    response = webtest.TestApp(application).get("/", status=410)
    assert response.json == {"error": {"code": "gone", "message": "Gone."}}


def test_facts_keep_no_environ_alive() -> None:
    class Environ(dict[str, Any]):
        pass

    environ = Environ(REQUEST_METHOD="GET")
    facts = facts_of(environ)
    reference = weakref.ref(environ)
    gc.disable()
    try:
        del environ
        assert reference() is None
    finally:
        gc.enable()
    assert facts.fields()["method"] == "GET"


@pytest.mark.parametrize(
    ("given_id", "logged"),
    [
        ("674EF4EC0000000000000001", "674EF4EC0000000000000001"),
        ("", "-"),
        ("a\nb", "-"),
        ("x" * 65, "-"),
        ("<script>", "-"),
    ],
)
def test_only_a_well_formed_request_id_reaches_the_log(given_id: str, logged: str) -> None:
    assert RequestFacts({"HTTP_X_OSS_REQUEST_ID": given_id}).oss_request_id == logged
