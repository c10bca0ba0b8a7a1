"""CallbackGuard: what reaches the application, and what the client and the log get when nothing does."""

from __future__ import annotations

import base64
import io
import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlencode

import pytest
import webtest

from oss_wsgi import CallbackGuard, CallbackVerifier, PublicKeyStore, Upload
from oss_wsgi.callback.ticket import TicketBook
from oss_wsgi.endpoints.callback import CallbackEndpoint
from oss_wsgi.testing import CallbackSigner, FrozenClock
from oss_wsgi.wsgi.diagnosis import missing_authorization, missing_key_url, several_values, wrong_signature
from oss_wsgi.wsgi.facts import RequestFacts

from ..support.callbacks import post_callback

SIGNER = CallbackSigner()
BODY = b"filename=user%2Feric%2Fa.txt&size=6&bucket=examplebucket"
CAPTURES = json.loads((Path(__file__).parent.parent / "vectors" / "callbacks.json").read_text("utf-8"))["captures"]
OSS_KEY_URL = base64.b64encode(b"http://gosspublic.alicdn.com/callback_pub_key_v1.pem").decode()


def receive(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    """Respond with what the guard passes on."""
    upload = environ["oss_wsgi.upload"]
    again = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
    answer = f"{upload.object} {upload.size} {again == upload.body}".encode()
    headers = [("Content-Type", "text/plain"), ("Content-Length", str(len(answer))), ("X-Signed", quote(upload.target))]
    start_response("200 OK", headers)
    return [answer]


def client(**options: Any) -> webtest.TestApp:
    return webtest.TestApp(CallbackGuard(receive, CallbackVerifier(SIGNER.public_keys), **options))


def post(
    app: webtest.TestApp, target: str, body: bytes = BODY, headers: dict[str, str] | None = None, **more: Any
) -> Any:
    sent = SIGNER.headers(target, body) if headers is None else headers
    return app.post(target, body, headers=sent, expect_errors=True, **more)


@pytest.mark.parametrize("capture", CAPTURES, ids=lambda capture: capture["name"])
def test_production_captures_pass_without_configuration(capture: dict[str, str]) -> None:
    target, body, authorization = capture["target"], capture["body"].encode(), capture["authorization"]
    app = webtest.TestApp(CallbackGuard(receive, CallbackVerifier()))
    headers = {"Authorization": authorization, "x-oss-pub-key-url": OSS_KEY_URL}
    assert app.post(target, body, headers=headers).status_int == 200
    changed = body.replace(b"e", b"f", 1)
    assert app.post(target, changed, headers=headers, expect_errors=True).status_int == 403
    assert app.post(f"{target}0", body, headers=headers, expect_errors=True).status_int == 403


def test_the_application_gets_the_upload_and_the_body() -> None:
    assert post(client(), "/oss/callback").text == "user/eric/a.txt 6 True"


def test_blanks_utf_8_and_a_query_pass_under_a_mount() -> None:
    target = "/a%20b/%E4%B8%AD+x/callback?tenant=7&next=%2Fhome+page"
    headers = SIGNER.headers(target, BODY)
    path = "/中+x/callback".encode().decode("latin-1")
    environ = {"SCRIPT_NAME": "/a b", "PATH_INFO": path, "QUERY_STRING": "tenant=7&next=%2Fhome+page"}
    assert client().post("/", BODY, headers=headers, extra_environ=environ).status_int == 200
    wrong = {"PATH_INFO": "/wrong", "REQUEST_URI": target}
    assert client().post("/", BODY, headers=headers, extra_environ=wrong).status_int == 200


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        pytest.param({"Authorization": None}, "authorization_missing", id="no Authorization"),
        pytest.param({"Authorization": base64.b64encode(b"x" * 256).decode()}, "signature_wrong", id="wrong"),
        pytest.param(
            {"x-oss-pub-key-url": base64.b64encode(b"http://gosspublic.alicdn.com.evil.example/x.pem").decode()},
            "pub_key_url_untrusted",
            id="key URL of a stranger",
        ),
    ],
)
def test_only_the_log_says_why_a_callback_is_refused(
    change: dict[str, str | None], reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    headers = {**SIGNER.headers("/oss/callback", BODY), **change}
    response = post(client(), "/oss/callback", headers={k: v for k, v in headers.items() if v is not None})
    assert response.status_int == 403
    assert response.content_type == "application/json"
    assert response.json == {"error": {"code": "forbidden", "message": "Not allowed."}}
    (record,) = caplog.records
    assert record.name.startswith("oss_wsgi.")
    message = record.getMessage()
    assert f"reason={reason}" in message
    assert "oss_request_id=674EF4EC0000000000000001" in message
    shown = {"x-oss-request-id", "x-oss-tag"}  # CALLBACK is in the name of a setting, too
    assert not any(value and value in message for name, value in headers.items() if name not in shown)


@pytest.mark.parametrize(
    ("change", "diagnose"),
    [
        ({"Authorization": ""}, missing_authorization),
        ({"Authorization": "Bearer abc"}, several_values),
        ({"x-oss-pub-key-url": ""}, missing_key_url),
        ({"x-oss-pub-key-url": "http://x"}, several_values),
        ({"x-oss-pub-key-url": OSS_KEY_URL}, wrong_signature),
    ],
)
def test_the_log_says_what_the_server_may_have_done(
    change: dict[str, str], diagnose: Callable[[dict[str, Any]], str], caplog: pytest.LogCaptureFixture
) -> None:
    headers = {**SIGNER.headers("/oss/callback", BODY), **change}
    request = webtest.TestRequest.blank("/oss/callback", POST=BODY, headers=headers)
    request.get_response(client().app)
    assert repr(diagnose(request.environ))[1:-1] in caplog.text


def test_a_value_under_a_key_of_the_server_is_found() -> None:
    headers = SIGNER.headers("/oss/callback", BODY)
    hidden = {"REDIRECT_HTTP_AUTHORIZATION": headers.pop("Authorization")}
    assert post(client(), "/oss/callback", headers=headers, extra_environ=hidden).status_int == 200


def test_two_authorization_headers_joined_are_refused() -> None:
    headers = SIGNER.headers("/oss/callback", BODY)
    headers["Authorization"] = f"{headers['Authorization']},{headers['Authorization']}"
    assert post(client(), "/oss/callback", headers=headers).status_int == 403


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "OPTIONS"])
def test_anything_but_post_is_405(method: str) -> None:
    response = client().request("/oss/callback", method=method, expect_errors=True)
    assert response.status_int == 405
    assert response.headers["Allow"] == "POST"


def test_only_a_verified_body_is_read_and_one_that_cannot_be_is_400() -> None:
    headers = SIGNER.headers("/oss/callback", b"{", "application/json")
    assert post(client(), "/oss/callback", b"{", headers).status_int == 400
    headers["Authorization"] = "AAAA"
    assert post(client(), "/oss/callback", b"{", headers).status_int == 403


def test_a_body_over_64_kib_is_413_before_reading() -> None:
    body = b"x=" + b"a" * (64 * 1024 - 2)
    assert post(client(), "/oss/callback", body).status_int == 200
    assert post(client(), "/oss/callback", body + b"a").status_int == 413


def call(environ: dict[str, Any]) -> str:
    """Call the guard as a server would, with an environ that webtest would not send."""
    statuses: list[str] = []
    full = {"REQUEST_METHOD": "POST", "SCRIPT_NAME": "", "PATH_INFO": "/oss/callback", "QUERY_STRING": "", **environ}
    guard = CallbackGuard(receive, CallbackVerifier(SIGNER.public_keys))
    list(guard(full, lambda status, headers: statuses.append(status)))
    return statuses[0]


def test_no_length_is_411_and_a_wrong_one_400() -> None:
    assert call({"wsgi.input": io.BytesIO(BODY)}).startswith("411")
    headers = SIGNER.headers("/oss/callback", BODY)
    signed = {
        "HTTP_AUTHORIZATION": headers["Authorization"],
        "HTTP_X_OSS_PUB_KEY_URL": headers["x-oss-pub-key-url"],
        "CONTENT_LENGTH": "1000",
    }
    assert call({"wsgi.input": io.BytesIO(BODY), **signed}).startswith("400")
    assert call({"wsgi.input": io.BytesIO(BODY), "CONTENT_LENGTH": "5, 5"}).startswith("400")


@pytest.mark.parametrize(
    "changes",
    [
        {"HTTP_AUTHORIZATION": ""},
        {"HTTP_AUTHORIZATION": "not one Base64 text"},
        {"HTTP_X_OSS_PUB_KEY_URL": ""},
        {"HTTP_X_OSS_PUB_KEY_URL": base64.b64encode(b"http://evil.example/x.pem").decode()},
    ],
)
def test_no_body_need_be_read_for_wrong_headers_and_they_are_told_before_a_cut_body(changes: dict[str, str]) -> None:
    headers = SIGNER.headers("/oss/callback", BODY)
    environ = {
        "REQUEST_METHOD": "POST",
        "HTTP_AUTHORIZATION": headers["Authorization"],
        "HTTP_X_OSS_PUB_KEY_URL": headers["x-oss-pub-key-url"],
        "CONTENT_LENGTH": "1000",
        "wsgi.input": io.BytesIO(),
    }
    guard = CallbackGuard(receive, CallbackVerifier(SIGNER.public_keys))
    assert guard.reads_body(environ)
    assert not guard.reads_body({**environ, "REQUEST_METHOD": "GET"})
    assert not guard.reads_body({**environ, **changes})
    assert call({**environ, **changes}).startswith("403")
    assert call(environ).startswith("400")


def test_a_chunked_callback_gets_a_length_for_the_application() -> None:
    seen: dict[str, Any] = {}

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        seen.update(environ)
        return []

    headers = SIGNER.headers("/oss/callback", BODY)
    environ = {
        "REQUEST_METHOD": "POST",
        "SCRIPT_NAME": "",
        "PATH_INFO": "/oss/callback",
        "wsgi.input": io.BytesIO(BODY),
        "wsgi.input_terminated": True,
        "HTTP_TRANSFER_ENCODING": "chunked",
        "HTTP_AUTHORIZATION": headers["Authorization"],
        "HTTP_X_OSS_PUB_KEY_URL": headers["x-oss-pub-key-url"],
    }
    CallbackGuard(app, CallbackVerifier(SIGNER.public_keys))(environ, lambda *args: None)
    assert seen["CONTENT_LENGTH"] == str(len(BODY))
    assert "HTTP_TRANSFER_ENCODING" not in seen
    assert environ["HTTP_TRANSFER_ENCODING"] == "chunked", "the caller's environ is not changed"


def test_a_report_of_another_bucket_is_refused(caplog: pytest.LogCaptureFixture) -> None:
    assert post(client(bucket="examplebucket"), "/oss/callback").status_int == 200
    assert post(client(bucket="other"), "/oss/callback").status_int == 403
    assert "reason=bucket_foreign " in caplog.text
    assert post(client(bucket="examplebucket"), "/oss/callback", b"filename=a").status_int == 403


def test_only_configured_callback_urls_are_tried_too(caplog: pytest.LogCaptureFixture) -> None:
    headers = SIGNER.headers("/public%20prefix/oss/callback?v=1", BODY)
    stripped = client(callback_urls=["https://app.example.com/public%20prefix/oss/callback?v=1"])
    with caplog.at_level(logging.INFO, "oss_wsgi"):
        answer = post(stripped, "/oss/callback?v=1", headers=headers)
    assert unquote(answer.headers["X-Signed"]) == "/public%20prefix/oss/callback?v=1"
    assert "configured callback URL" in caplog.text
    assert post(client(), "/oss/callback?v=1", headers=headers).status_int == 403
    others = client(callback_urls=["https://app.example.com/oss/callback"])
    assert post(others, "/oss/callback?v=1", headers=headers).status_int == 403


def test_an_unavailable_key_is_503() -> None:
    headers = SIGNER.headers("/oss/callback", BODY)
    headers["x-oss-pub-key-url"] = base64.b64encode(b"http://gosspublic.alicdn.com/callback_pub_key_v2.pem").decode()
    assert post(client(), "/oss/callback", headers=headers).status_int == 503


def test_json_bodies_are_read() -> None:
    body = b'{"bucket":"examplebucket","object":"user/\xe4\xb8\xad.txt","size":6,"imageInfo":{"height":null}}'
    caught: list[Upload] = []

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        caught.append(environ["oss_wsgi.upload"])
        start_response("204 No Content", [])
        return []

    guarded = webtest.TestApp(CallbackGuard(app, CallbackVerifier(PublicKeyStore({SIGNER.url: SIGNER.pem}))))
    guarded.post("/c", body, headers=SIGNER.headers("/c", body, "application/json"))
    assert (caught[0].object, caught[0].size, caught[0].target) == ("user/中.txt", 6, "/c")


def test_the_readmes_curl_command_shows_whether_headers_arrive(caplog: pytest.LogCaptureFixture) -> None:
    headers = {"Authorization": "AAAA", "x-oss-pub-key-url": "AAAA"}
    assert post(client(), "/oss/callback", b"x=1", headers).status_int == 403
    assert "reason=pub_key_url_untrusted" in caplog.text
    caplog.clear()
    del headers["Authorization"]
    assert post(client(), "/oss/callback", b"x=1", headers).status_int == 403
    assert "reason=authorization_missing" in caplog.text


def test_a_verifier_of_the_users_own_may_wait() -> None:
    class Own(CallbackVerifier):
        pass

    guards = [CallbackGuard(CallbackEndpoint(), verifier()) for verifier in (CallbackVerifier, Own)]
    assert [guard.is_nonblocking("POST", "", {"X_OSS_PUB_KEY_URL": OSS_KEY_URL}) for guard in guards] == [True, False]


# Configured callback URLs


def test_the_log_says_which_target_matched(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    urls = ["https://a.example/one?token=x;https://a.example/two", "https://b.example/c%20d?token=x"]
    for target, expected in (
        ("/two", "configured callback URL 2 of 3, /two,"),
        ("/c%20d?token=x", "configured callback URL 3 of 3, /c%20d,"),
    ):
        caplog.clear()
        answer = post_callback(client(callback_urls=urls), BODY, SIGNER, signed_target=target)
        assert answer.status_int == 200
        assert expected in caplog.text
        assert "token" not in caplog.text


@pytest.mark.parametrize("urls", [["not a url"], ["ftp://a.example/c"], ["https://[::1]/c"], [""]])
def test_an_invalid_callback_url_is_refused(urls: list[str]) -> None:
    with pytest.raises(ValueError, match="callback_urls: '"):
        client(callback_urls=urls)


def test_a_text_for_the_callback_urls_is_refused() -> None:
    with pytest.raises(TypeError, match="a sequence of URLs"):
        client(callback_urls="https://a.example/c")


@pytest.mark.parametrize("key", ["HTTP_X_OSS_PUB_KEY_URL", "HTTP_AUTHORIZATION", "CONTENT_TYPE"])
@pytest.mark.parametrize("value", [b"x", 7, None])
def test_a_header_that_is_not_a_text_is_ignored(key: str, value: object) -> None:
    headers = SIGNER.headers("/oss/callback", BODY)
    environ = {
        "REQUEST_METHOD": "POST",
        "PATH_INFO": "/oss/callback",
        "CONTENT_LENGTH": str(len(BODY)),
        "wsgi.input": io.BytesIO(BODY),
        **{f"HTTP_{name.upper().replace('-', '_')}": text for name, text in headers.items()},
        key: value,
    }
    statuses: list[str] = []
    guard = CallbackGuard(receive, CallbackVerifier(SIGNER.public_keys))
    guard(environ, lambda status, headers, exc_info=None: statuses.append(status[:3]))  # type: ignore[arg-type]
    assert statuses == ["200" if key == "CONTENT_TYPE" else "403"]


# Tickets


NOW = 1733227932.0
ISSUED: dict[str, Any] = {
    "bucket": "examplebucket",
    "key": "user/eric/a.txt",
    "prefix": "user/eric/",
    "sizes": (1, 6),
    "content_types": (),
    "expires": int(NOW) + 300,
    "user": "eric",
    "data": {"album": 7},
}


def report(ticket: str, **members: str) -> bytes:
    body = {"filename": "user/eric/a.txt", "size": "6", "bucket": "examplebucket", "etag": "5D41", **members}
    return urlencode({**body, "ticket": ticket}).encode()


def ticketed(clock: FrozenClock) -> tuple[webtest.TestApp, TicketBook, list[Upload]]:
    uploads: list[Upload] = []

    def collect(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        uploads.append(environ["oss_wsgi.upload"])
        return receive(environ, start_response)

    book = TicketBook(["t" * 32], clock=clock)
    return webtest.TestApp(CallbackGuard(collect, CallbackVerifier(SIGNER.public_keys), tickets=book)), book, uploads


def test_user_and_data_come_from_the_ticket() -> None:
    app, book, uploads = ticketed(FrozenClock(NOW))
    ticket = book.issue(**ISSUED)
    assert post(app, "/oss/callback", report(ticket, user="admin", data="x", ticket_id="y")).status_int == 200
    (upload,) = uploads
    assert (upload.user, upload.data) == ("eric", {"album": 7})
    assert (upload.ticket_id, upload.ticket_until) == (book.open(ticket).id, book.open(ticket).expires_at)


@pytest.mark.parametrize(
    ("members", "told"),
    [({"size": "7"}, ["eric"]), ({"filename": "user/eric/b.txt", "size": "7"}, []), ({}, [])],
    ids=["another size", "another object", "what the ticket allows"],
)
def test_a_verified_mismatch_is_told_where_the_object_is_the_tickets(members: dict[str, str], told: list[str]) -> None:
    mismatches: list[tuple[Upload, dict[str, Any]]] = []
    book = TicketBook(["t" * 32], clock=lambda: NOW)
    app = client(tickets=book, on_mismatch=lambda upload, environ: mismatches.append((upload, environ)))
    facts = RequestFacts({"REQUEST_METHOD": "POST"})
    post(app, "/oss/callback", report(book.issue(**ISSUED), **members), extra_environ={"oss_wsgi.facts": facts})
    assert [upload.user for upload, _ in mismatches] == told
    assert [environ["REQUEST_METHOD"] for _, environ in mismatches] == ["POST"] * len(told)
    assert facts.user == "eric"
    assert facts.object == (None if members else "user/eric/a.txt")


def test_a_ticket_in_a_json_body_is_read() -> None:
    app, book, uploads = ticketed(FrozenClock(NOW))
    body = {"bucket": "examplebucket", "object": "user/eric/a.txt", "size": 6, "ticket": book.issue(**ISSUED)}
    assert post(app, "/oss/callback", json.dumps(body).encode()).status_int == 200
    assert uploads[0].user == "eric"


@pytest.mark.parametrize(
    ("reason", "make"),
    [
        ("ticket_missing", lambda book: BODY),
        ("ticket_altered", lambda book: json.dumps({"bucket": "examplebucket", "ticket": 7}).encode()),
        ("ticket_expired", lambda book: report(book.issue(**{**ISSUED, "expires": int(NOW) - 12 * 3600 - 1}))),
        ("ticket_mismatch", lambda book: report(book.issue(**ISSUED), size="7")),
        ("member_repeated", lambda book: report(book.issue(**ISSUED)) + b"&ticket=x"),
    ],
)
def test_a_report_without_a_valid_ticket_is_refused(
    reason: str, make: Callable[[TicketBook], bytes], caplog: pytest.LogCaptureFixture
) -> None:
    app, book, uploads = ticketed(FrozenClock(NOW))
    body = make(book)
    with caplog.at_level(logging.INFO):
        answer = post(app, "/oss/callback", body)
    assert answer.status_int == (400 if reason == "member_repeated" else 403)
    assert uploads == []
    assert f"reason={reason}" in caplog.text
    ticket = body.partition(b"ticket=")[2].decode()
    assert not ticket or ticket not in caplog.text + answer.text
