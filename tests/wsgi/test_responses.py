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
from oss_wsgi.wsgi.responses import ClosingBody, read_response, status_of

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
    exceptions.BodyTimeoutError: 408,
    exceptions.MemoryTakenError: 503,
    exceptions.UnverifiedError: 403,
    exceptions.SignedIDError: 403,
    exceptions.KeyUnavailableError: 503,
    exceptions.TicketUsedError: 409,
    exceptions.LedgerUnavailableError: 503,
    exceptions.HandlerCommittedError: 500,
    exceptions.NotConfirmedError: 403,
    exceptions.ConfirmationUnavailableError: 503,
    exceptions.FormError: 400,
    exceptions.PostedFileChangedError: 409,
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
    exceptions.NotAuthorizedError: 403,
    exceptions.TooManyRequestsError: 429,
    exceptions.CallableFailedError: 500,
    exceptions.HandlerFailedError: 500,
    exceptions.NotGuardedError: 500,
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
