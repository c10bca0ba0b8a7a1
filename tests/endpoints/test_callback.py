"""CallbackEndpoint: the response that OSS relays to the browser."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
import webtest

from oss_wsgi import CallbackEndpoint, Upload
from oss_wsgi.exceptions import ConfirmationUnavailableError
from oss_wsgi.ledger.base import StoredResponse

UPLOAD = Upload(bucket="examplebucket", object="a.txt", size=6)
#: Characters of a text with which the response has 1 MB.
LONGEST = 1024 * 1024 - len('{"Status": "Ok", "x": ""}')


def post(on_upload: Any = None, upload: Any = UPLOAD, path: str = "", method: str = "POST", **options: Any) -> Any:
    endpoint = CallbackEndpoint(on_upload, **options)

    def mounted(environ: dict[str, Any], start_response: Any) -> Any:
        extra = {} if upload is None else {"oss_wsgi.upload": upload}
        return endpoint({**environ, "SCRIPT_NAME": "/callback", "PATH_INFO": path, **extra}, start_response)

    return webtest.TestApp(mounted).request("/callback", method=method, expect_errors=True)


def test_without_a_handler_the_status_is_ok() -> None:
    response = post()
    assert response.json == {"Status": "Ok"}
    assert response.content_type == "application/json"
    assert response.headers["Content-Length"] == str(len(response.body))


def test_the_handler_gets_the_upload_and_adds_members() -> None:
    uploads = []
    response = post(lambda upload: uploads.append(upload) or {"id": 7, "name": "中"})
    assert uploads == [UPLOAD]
    assert response.json == {"Status": "Ok", "id": 7, "name": "中"}


def test_a_handler_that_returns_nothing_adds_nothing() -> None:
    assert post(lambda upload: None).json == {"Status": "Ok"}


def test_a_response_of_1_mb_is_passed_on() -> None:
    assert len(post(lambda upload: {"x": "a" * LONGEST}).body) == 1024 * 1024


SIGNED = replace(UPLOAD, signed_id="s" * 320)


def test_the_page_also_gets_the_signed_id() -> None:
    for response in (post(upload=SIGNED), post(lambda upload: {"a": {"signed_id": 1}}, upload=SIGNED)):
        assert response.json["signed_id"] == SIGNED.signed_id
        assert response.headers["Content-Length"] == str(len(response.body))
    assert response.json["a"] == {"signed_id": 1}


def test_what_the_handler_calls_signed_id_stays() -> None:
    for own in (None, "mine", SIGNED.signed_id):
        response = post(lambda upload, own=own: {"signed_id": own}, upload=SIGNED)
        assert response.body == json.dumps({"Status": "Ok", "signed_id": own}).encode()


def test_without_signed_ids_the_page_gets_none() -> None:
    assert post(upload=SIGNED, signed_ids=False).json == {"Status": "Ok"}


def test_a_response_that_would_be_over_1_mb_gets_no_signed_id() -> None:
    room = len(', "signed_id": ""') + len(SIGNED.signed_id)
    assert len(post(lambda upload: {"x": "a" * (LONGEST - room)}, upload=SIGNED).body) == 1024 * 1024
    response = post(lambda upload: {"x": "a" * (LONGEST - room + 1)}, upload=SIGNED)
    assert list(response.json) == ["Status", "x"]


@pytest.mark.parametrize("body", [b"", b"{}", b"[1]", b'{"id": 7}', b"<p>"])
def test_what_a_view_answered_before_stays_as_it_is(body: bytes) -> None:
    stored = StoredResponse("200 OK", "application/json", body)
    assert CallbackEndpoint().for_page(stored, SIGNED) == stored


def test_the_handler_does_not_get_an_upload_that_skips_it() -> None:
    trial = replace(UPLOAD, is_trial=True, skips_handler=True)
    response = post(lambda upload: 1 / 0, upload=trial)
    assert (response.status_int, response.json) == (200, {"Status": "Ok", "handler": "not called"})
    assert post(upload=trial, confirm=lambda upload: False).status_int == 403


def test_only_without_a_callable_of_the_users_it_never_waits() -> None:
    endpoints = CallbackEndpoint(), CallbackEndpoint(lambda upload: None), CallbackEndpoint(confirm=lambda upload: True)
    assert [endpoint.is_nonblocking("POST", "", {}) for endpoint in endpoints] == [True, False, False]


def fail(upload: Upload) -> None:
    raise RuntimeError("database password is swordfish")


def raising(error: BaseException) -> Any:
    def call(upload: Upload) -> Any:
        raise error

    return call


@pytest.mark.parametrize(
    "handler",
    [
        pytest.param(fail, id="it raises"),
        pytest.param(raising(SystemExit("swordfish")), id="it exits"),
        pytest.param(raising(KeyboardInterrupt()), id="it interrupts"),
        pytest.param(raising(GeneratorExit()), id="it ends a generator"),
        pytest.param(lambda upload: "done", id="it returns a text"),
        pytest.param(lambda upload: [], id="it returns an empty list"),
        pytest.param(lambda upload: {"when": object()}, id="what it returns is no JSON"),
        pytest.param(lambda upload: {"ratio": float("nan")}, id="NaN is no JSON"),
        pytest.param(lambda upload: {"x": "a" * (LONGEST + 1)}, id="over 1 MB, which OSS does not relay"),
    ],
)
def test_a_failing_handler_is_500_without_details(handler: Any, caplog: pytest.LogCaptureFixture) -> None:
    response = post(handler)
    (record,) = caplog.records
    assert "reason=handler_failed " in record.getMessage()
    assert record.exc_info
    assert response.status_int == 500
    assert response.json == {"error": {"code": "internal_server_error", "message": "The server failed to handle this."}}


def test_without_the_guard_it_refuses(caplog: pytest.LogCaptureFixture) -> None:
    assert post(upload=None).status_int == 500
    assert "reason=not_guarded " in caplog.text
    assert post(upload={"bucket": "forged"}).status_int == 500


def post_confirmed(confirm: Any) -> tuple[Any, list[Upload]]:
    uploads: list[Upload] = []
    return post(uploads.append, confirm=confirm), uploads


def test_the_handler_gets_a_confirmed_upload() -> None:
    response, uploads = post_confirmed(lambda upload: upload == UPLOAD)
    assert response.json == {"Status": "Ok"}
    assert uploads == [replace(UPLOAD, confirmed=True)]


def test_without_confirm_an_upload_is_neither() -> None:
    uploads: list[Upload] = []
    post(uploads.append)
    assert [upload.confirmed for upload in uploads] == [None]


@pytest.mark.parametrize(
    ("confirm", "status", "reason"),
    [
        pytest.param(lambda upload: False, 403, "not_confirmed", id="False"),
        pytest.param(raising(ConfirmationUnavailableError("down", "secret hint")), 503, "down", id="unavailable"),
    ],
)
def test_an_unconfirmed_upload_does_not_reach_the_handler(
    confirm: Any, status: int, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    response, uploads = post_confirmed(confirm)
    assert (response.status_int, uploads) == (status, [])
    assert "secret" not in response.text
    (record,) = caplog.records
    assert f"reason={reason} " in record.getMessage()
