"""JSON responses and refusals: the status of each error, what the client reads, and what the log has."""

from __future__ import annotations

import contextlib
import inspect
import logging
from typing import Any

import pytest
import webtest

from oss_wsgi import (
    CallbackGuard,
    CallbackVerifier,
    Confirmation,
    Grant,
    OncePerUpload,
    PostPresigner,
    SignatureEndpoint,
    Upload,
    exceptions,
)
from oss_wsgi.testing import CallbackSigner
from oss_wsgi.wsgi.observers import facts_of
from oss_wsgi.wsgi.responses import (
    AGAIN_KEY,
    STATUSES,
    Again,
    ClosingBody,
    ask_again,
    method_not_allowed,
    not_found,
    read_response,
    refuse,
    refuse_error,
    status_of,
)

from ..endpoints.test_signature import SETTINGS

log = logging.getLogger("oss_wsgi.test")

ERRORS: dict[type[Exception], int] = {
    exceptions.CredentialsError: 503,
    exceptions.GrantError: 403,
    exceptions.SlotsTakenError: 503,
    exceptions.MalformedRequestError: 400,
    exceptions.OutsideGrantError: 403,
    exceptions.MalformedCallbackError: 400,
    exceptions.LengthRequiredError: 411,
    exceptions.BodyTooLargeError: 413,
    exceptions.UnverifiedError: 403,
    exceptions.KeyUnavailableError: 503,
    exceptions.TicketUsedError: 409,
    exceptions.LedgerUnavailableError: 503,
    exceptions.HandlerCommittedError: 500,
    exceptions.NotConfirmedError: 403,
    exceptions.ConfirmationUnavailableError: 503,
    exceptions.MalformedRecoveryError: 400,
    exceptions.NotStoredError: 404,
    exceptions.NotYoursError: 409,
    exceptions.BucketUnreachableError: 503,
    exceptions.BucketRefusedError: 503,
    exceptions.BucketError: 503,
    exceptions.NotDeliveredError: 503,
    exceptions.SweepRunningError: 503,
    exceptions.PartsRefusedError: 409,
    exceptions.PartsNotAllowedError: 403,
    exceptions.UploadGoneError: 404,
    exceptions.UploadUnsettledError: 503,
    exceptions.PartsCorruptError: 500,
    exceptions.PartsError: 500,
    exceptions.RecoveryError: 500,
    exceptions.CallbackError: 403,
    exceptions.VerificationError: 403,
    exceptions.UploadRequestError: 403,
    exceptions.PolicyError: 500,
    exceptions.HandlerCommittedError: 500,
    exceptions.PresignError: 500,
    exceptions.OSSWSGIError: 500,
}
REASONED = [error for error in ERRORS if issubclass(error, exceptions.ReasonedError)]


def subclass(error: type[Exception]) -> Any:
    """Make a class like one that a user derives from one of our errors."""
    return type(f"Own{error.__name__}", (error,), {})


def test_every_error_is_in_the_table_of_this_test() -> None:
    ours = {
        error for _, error in inspect.getmembers(exceptions, inspect.isclass) if error.__module__ == exceptions.__name__
    }
    elsewhere = {exceptions.SettingsError, exceptions.FetchError, exceptions.ReasonedError}
    assert ours - elsewhere == set(ERRORS)


def test_an_error_and_its_subclasses_have_one_status() -> None:
    for error, status in ERRORS.items():
        own = subclass(error)
        for kind in (error, own, subclass(own)):
            assert status_of(kind.__new__(kind)) == status, kind


def refusing(error: Exception, refuse_with: Any = refuse_error) -> webtest.TestResponse:
    app = webtest.TestApp(lambda environ, start_response: refuse_with(log, environ, start_response, error))
    return app.get("/", expect_errors=True)


@pytest.mark.parametrize(
    "error", {ERRORS[error]: error for error in REASONED}.values(), ids=lambda error: error.__name__
)
def test_a_refusal_logs_the_reason_and_tells_the_client_nothing(
    error: type[Exception], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    response = refusing(subclass(error)("own_reason", "own hint"))
    assert response.status_int == ERRORS[error]
    assert "own" not in response.text
    (record,) = caplog.records
    message = f"refused: status={ERRORS[error]} reason=own_reason hint='own hint' request_id=-"
    assert record.getMessage() == message
    assert (record.reason, record.status) == ("own_reason", ERRORS[error])  # type: ignore[attr-defined]


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
        *[(status, "some_reason", "INFO", None) for status in (404, 405, 429)],
        (500, "some_reason", "ERROR", None),
        (503, "some_reason", "WARNING", "10"),
        (503, "slots_taken", "INFO", "1"),
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
        return refuse(log, environ, start_response, status, reason, "hint", headers=[("X-Own", "1")])

    response = webtest.TestApp(application).get("/", status=status)
    assert (response.headers.get("Retry-After"), response.headers["X-Own"]) == (retry_after, "1")
    assert [record.levelname for record in caplog.records] == [level]
    assert (facts_of(environ).reason, facts_of(environ).refused) == (reason, status)
    assert (response.json["error"]["code"] == "request_entity_too_large") == (status == 413)


def test_a_path_or_a_method_that_is_not_there_is_refused_to_head_as_to_get(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)

    def wrong_method(*arguments: Any) -> Any:
        return method_not_allowed(*arguments, "POST, OPTIONS")

    for refuse_with, status, reason in ((wrong_method, 405, "method_not_allowed"), (not_found, 404, "not_found")):
        app = webtest.TestApp(lambda environ, start_response, call=refuse_with: call(log, environ, start_response))
        answer, head = app.get("/", status=status), app.head("/", status=status)
        assert [vars(record)["reason"] for record in caplog.records[-2:]] == [reason] * 2
        assert answer.json["error"]["code"] == reason
        assert answer.headers.get("Allow") == ("POST, OPTIONS" if status == 405 else None)
        assert ("POST, OPTIONS" in answer.json["error"]["message"]) == (status == 405)
        assert (head.body, head.content_length) == (b"", len(answer.body))


def test_a_browser_is_told_what_it_may_know_and_the_log_the_hint(caplog: pytest.LogCaptureFixture) -> None:
    def refuse_with(*arguments: Any) -> Any:
        return refuse_error(*arguments, "another hint", message="Own.")

    error = exceptions.NotYoursError("own_reason", "own hint")
    assert refusing(error, refuse_with).json == {"error": {"code": "own_reason", "message": "Own."}}
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


class Body(list[bytes]):
    """A body that notes whether it was closed, and may fail."""

    is_closed = False

    def close(self) -> None:
        self.is_closed = True
        if b"fails" in self:
            raise OSError("the file is gone")


def test_a_response_is_read_to_its_end_and_closed() -> None:
    body = Body([b"b", b"c"])

    def application(environ: dict[str, Any], start_response: Any) -> Body:
        start_response("200 OK", [("X-Own", "1")])(b"a")
        if environ:
            start_response("500 No", [], (ValueError, ValueError("no"), None))
        return body

    assert read_response(application, {}) == ("200 OK", [("X-Own", "1")], b"abc")
    assert body.is_closed
    assert read_response(application, {"fails": True}) == ("500 No", [], b"bc")
    assert read_response(lambda environ, start_response: [b"d"], {}) == ("", [], b"d")


@pytest.mark.parametrize("body", [Body([b"a"]), Body([b"fails"]), [b"a"]])
def test_the_end_of_a_body_is_told_even_if_its_own_close_fails(body: list[bytes]) -> None:
    ends: list[bool] = []
    closing = ClosingBody(body, lambda: ends.append(getattr(body, "is_closed", True)))
    assert list(closing) == body
    with contextlib.suppress(OSError):
        closing.close()
    assert ends == [True]


# Every room that refuses with an error: a custom part may raise a subclass of ours.


@pytest.mark.parametrize("error", [exceptions.CallbackError, exceptions.KeyUnavailableError])
def test_a_custom_verifier_may_raise_a_subclass(error: type[Exception]) -> None:
    class Verifier(CallbackVerifier):
        def verify(self, **parts: Any) -> None:
            raise subclass(error)("own_reason", "own hint")

        def is_valid(self, **parts: Any) -> bool:
            return False

    guard = CallbackGuard(lambda environ, start_response: [], Verifier())
    signer = CallbackSigner()
    response = webtest.TestApp(guard).post("/c", b"x=1", headers=signer.headers("/c", b"x=1"), expect_errors=True)
    assert response.status_int == ERRORS[error]


@pytest.mark.parametrize("error", [exceptions.TicketUsedError, exceptions.LedgerUnavailableError])
def test_a_custom_ledger_may_raise_a_subclass(error: type[Exception]) -> None:
    class Ledger:
        def run_once(self, identity: Any, handle: Any) -> Any:
            raise subclass(error)("own_reason", "own hint")

    app = webtest.TestApp(OncePerUpload(lambda environ, start_response: [], Ledger()))
    upload = Upload(object="a", ticket_id="T", ticket_until=1)
    response = app.post("/", b"", extra_environ={"oss_wsgi.upload": upload}, expect_errors=True)  # type: ignore[dict-item]
    assert response.status_int == ERRORS[error]


@pytest.mark.parametrize("error", [exceptions.NotConfirmedError, exceptions.ConfirmationUnavailableError])
def test_a_custom_confirm_may_raise_a_subclass(error: type[Exception]) -> None:
    def confirm(upload: Upload) -> bool:
        raise subclass(error)("own_reason", "own hint")

    app = webtest.TestApp(Confirmation(lambda environ, start_response: [], confirm))
    response = app.post("/", b"", extra_environ={"oss_wsgi.upload": Upload(object="a")}, expect_errors=True)  # type: ignore[dict-item]
    assert response.status_int == ERRORS[error]


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (exceptions.UploadRequestError, "own_reason"),
        (exceptions.GrantError, "forbidden"),
        (exceptions.CredentialsError, "service_unavailable"),
        (exceptions.OSSWSGIError, "internal_server_error"),
    ],
)
def test_a_custom_presigner_may_raise_a_subclass(error: type[Exception], code: str) -> None:
    class Presigner(PostPresigner):
        def presign(self, grant: Grant | None = None, **parameters: Any) -> Any:
            raise subclass(error)(*(("own_reason", "own hint") if error in REASONED else ("own text",)))

    endpoint = SignatureEndpoint(Presigner(SETTINGS, clock=lambda: 0.0), allow_anonymous=True)
    app = webtest.TestApp(lambda environ, start: endpoint({**environ, "PATH_INFO": ""}, start))
    response = app.get("/", expect_errors=True)
    assert response.status_int == ERRORS[error]
    assert response.json["error"]["code"] == code


def test_changing_a_status_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(STATUSES, exceptions.TicketUsedError, 410)

    def application(environ: dict[str, Any], start_response: Any) -> Any:
        error = subclass(exceptions.TicketUsedError)("ticket_used", "the ticket was used")
        return refuse_error(log, environ, start_response, error)

    response = webtest.TestApp(application).get("/", status=410)
    assert response.json == {"error": {"code": "gone", "message": "Gone."}}
