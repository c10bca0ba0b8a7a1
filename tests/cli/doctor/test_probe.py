"""How the response to a call of the callback URL is read, and what the call sends."""

from __future__ import annotations

from email.message import Message

import pytest

from oss_wsgi.cli.doctor.probe import call_callback, compression, is_refusal, probe_report
from oss_wsgi.cli.http_client import Response, UnreachableError, json_members

from ...support.deployment import Deployment


def response(status: int, body: bytes, **headers: str) -> Response:
    message = Message()
    for name, value in headers.items():
        message[name.replace("_", "-")] = value
    return Response(status, message, body, 0.1)


@pytest.mark.parametrize(
    ("response", "report"),
    [
        pytest.param(response(200, b'{"oss_wsgi_probe": {"method": "POST"}}'), {"method": "POST"}, id="a report"),
        pytest.param(response(403, b'{"oss_wsgi_probe": {"method": "POST"}}'), None, id="another status"),
        pytest.param(response(200, b'{"oss_wsgi_probe": "POST"}'), None, id="not an object"),
        pytest.param(response(200, b'{"Status": "Ok"}'), None, id="another member"),
        pytest.param(response(200, b"[]"), None, id="a list"),
        pytest.param(response(200, b"<html>"), None, id="a page"),
    ],
)
def test_a_report_is_an_object_under_the_probes_member(response: Response, report: dict[str, str] | None) -> None:
    assert probe_report(response) == report


def test_a_refusal_is_a_403_with_an_error_object() -> None:
    assert is_refusal(response(403, b'{"error": {"code": "forbidden"}}'))
    assert not is_refusal(response(403, b'{"error": "forbidden"}'))
    assert not is_refusal(response(200, b'{"error": {"code": "forbidden"}}'))


def test_json_that_is_nested_too_deep_has_no_members() -> None:
    assert json_members(response(200, b"[" * 100_000)) == {}


def test_identity_is_no_compression() -> None:
    assert compression(response(200, b"", Content_Encoding=" GZip ")) == "gzip"
    assert compression(response(200, b"", Content_Encoding="identity")) == ""
    assert compression(response(200, b"")) == ""


@pytest.mark.slow
def test_a_call_with_the_secret_is_answered_with_a_report(deployment: Deployment) -> None:
    url, secret = f"{deployment.url}/oss/callback", deployment.environ["OSS_TICKET_SECRET"]
    probe = call_callback(url, secret, 60.0)
    assert isinstance(probe.response, Response)
    assert probe.authenticated
    assert probe_report(probe.response)
    forged = call_callback(url, None, 60.0)
    assert isinstance(forged.response, Response)
    assert not forged.authenticated
    assert is_refusal(forged.response)


def test_a_url_that_cannot_be_called_is_kept_as_the_response() -> None:
    assert isinstance(call_callback("nonsense", None, 60.0).response, UnreachableError)
