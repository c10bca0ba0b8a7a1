"""Confirmation: what an application that answers callbacks itself gets in its environ."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import webtest

from oss_wsgi import Upload
from oss_wsgi.exceptions import ConfirmationUnavailableError
from oss_wsgi.middleware.confirmation import Confirmation

UPLOAD = Upload(bucket="examplebucket", object="a.txt", size=6)


def post(confirm: Any, upload: Any = UPLOAD) -> tuple[Any, list[Any]]:
    calls = []

    def legacy(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        calls.append((environ["oss_wsgi.upload"], environ["wsgi.input"].read(3)))
        start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "2")])
        return [b"ok"]

    confirmation = Confirmation(legacy, confirm)

    def guarded(environ: dict[str, Any], start_response: Any) -> Any:
        extra = {} if upload is None else {"oss_wsgi.upload": upload}
        return confirmation({**environ, **extra}, start_response)

    return webtest.TestApp(guarded).post("/hook", b"a=1", expect_errors=True), calls


def unavailable(accept: bool) -> Any:
    def confirm(upload: Upload) -> bool:
        raise ConfirmationUnavailableError("down", "no answer", accept=accept)

    return confirm


def test_the_application_gets_a_confirmed_upload() -> None:
    response, calls = post(lambda upload: upload == UPLOAD)
    assert (response.text, calls) == ("ok", [(replace(UPLOAD, confirmed=True), b"a=1")])


@pytest.mark.parametrize(
    ("confirm", "status", "reason"),
    [(lambda upload: False, 403, "not_confirmed"), (unavailable(accept=False), 503, "down")],
)
def test_an_unconfirmed_upload_does_not_reach_the_application(
    confirm: Any, status: int, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    response, calls = post(confirm)
    assert (response.status_int, calls) == (status, [])
    assert f"reason={reason}" in caplog.text


def test_without_the_guard_it_refuses(caplog: pytest.LogCaptureFixture) -> None:
    for upload in (None, {"bucket": "forged"}):
        response, calls = post(lambda upload: True, upload)
        assert (response.status_int, calls) == (500, [])
    assert "reason=not_guarded " in caplog.text and "CallbackGuard" in caplog.text
