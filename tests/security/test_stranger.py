"""A stranger has no key of OSS: no request makes the application accept an upload or sign a form."""

from __future__ import annotations

import base64
import io
import json
import re
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from oss_wsgi.testing import CallbackSigner, callback_body

from .attacks import CALLBACK, OSS, VALUES, Site, refused
from .processes import RecordingSite, new_report

STRANGER = CallbackSigner(url="https://evil.example/key.pem")
CAPTURES = json.loads((Path(__file__).parents[1] / "vectors" / "callbacks.json").read_text("utf-8"))["captures"]
OSS_URL = "http://gosspublic.alicdn.com/callback_pub_key_v1.pem"


def encoded(url: str) -> str:
    return base64.b64encode(url.encode()).decode()


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RecordingSite]:
    with RecordingSite(tmp_path_factory.mktemp("recording")) as site:
        yield site


def good_report(site: Site) -> bytes:
    """Return a report that needs only OSS's signature."""
    return callback_body(site.sign(filename="a.txt", size=6), size=6)


def test_the_unchanged_report_is_accepted() -> None:
    site = Site()
    assert site.report(good_report(site)).json == {"Status": "Ok"}
    assert len(site.uploads) == 1


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param({"Authorization": None}, id="unsigned"),
        pytest.param({"Authorization": None, "x-oss-pub-key-url": None}, id="nothing at all"),
        pytest.param({"Authorization": None, "X-Authorization": "SIGNATURE"}, id="signature in X-Authorization"),
        pytest.param(
            {"Authorization": None, "Redirect-Http-Authorization": "SIGNATURE"}, id="signature as if redirected"
        ),
        pytest.param({"Authorization": None, "Http-Authorization": "SIGNATURE"}, id="signature in Http-Authorization"),
        pytest.param({"x-oss-pub-key-url": encoded(OSS_URL)}, id="the URL of OSS's key"),
    ],
)
def test_a_missing_or_misplaced_signature_is_refused(headers: dict[str, str | None]) -> None:
    site = Site()
    body = good_report(site)
    signature = OSS.headers(CALLBACK, body)["Authorization"]
    misplaced = {name: signature if value == "SIGNATURE" else value for name, value in headers.items()}
    assert refused(site, site.report(body, headers=misplaced))


@pytest.mark.parametrize(
    "url",
    [
        "https://evil.example/key.pem",
        OSS.url,
        f"{OSS.url}#",
        "https://gosspublic.alicdn.com/callback_pub_key_v1.pem",
        "http://gosspublic.alicdn.com/callback_pub_key_v1.pem",
        "https://gosspublic.alicdn.com@evil.example/callback_pub_key_v1.pem",
        "https://gosspublic.alicdn.com.evil.example/callback_pub_key_v1.pem",
        "https://gosspublic.alicdn.com/../callback_pub_key_v1.pem",
        "https://gosspublic.alicdn.com/callback_pub_key_v1.pem?u=evil.example",
        "file:///etc/passwd",
        "http://169.254.169.254/latest/meta-data/",
        "",
        "\n",
    ],
)
def test_a_strangers_own_key_is_refused_under_any_url(url: str) -> None:
    site = Site()
    body = good_report(site)
    assert refused(site, site.report(body, signer=STRANGER, headers={"x-oss-pub-key-url": encoded(url)}))


@pytest.mark.parametrize("capture", CAPTURES, ids=lambda capture: capture["name"])
def test_old_signatures_of_oss_for_others_are_refused(capture: dict[str, str]) -> None:
    """Their signatures are valid for ever, but a site at the same path with OSS's own key needs its ticket."""
    url = f"https://app.example.com{capture['target']}"
    site = Site({"callback_url": url}, public_keys=None)
    headers = {"Authorization": capture["authorization"], "x-oss-pub-key-url": encoded(OSS_URL)}
    answer = site.app.post(CALLBACK, capture["body"].encode(), headers=headers, expect_errors=True)
    assert refused(site, answer)


def raw(site: Site, body: bytes, announced: dict[str, Any], signed: bytes | None = None) -> int:
    """Call the application with any length, and return the status. ``signed`` is the signed body."""
    headers = OSS.headers(CALLBACK, body if signed is None else signed)
    statuses: list[int] = []
    environ = {
        "REQUEST_METHOD": "POST",
        "SCRIPT_NAME": "",
        "PATH_INFO": CALLBACK,
        "QUERY_STRING": "",
        "wsgi.input": io.BytesIO(body),
        "HTTP_AUTHORIZATION": headers["Authorization"],
        "HTTP_X_OSS_PUB_KEY_URL": headers["x-oss-pub-key-url"],
        "CONTENT_TYPE": "application/x-www-form-urlencoded",
        **announced,
    }
    list(site.app.app(environ, lambda status, headers, exc_info=None: statuses.append(int(status[:3]))))
    return statuses[0]


@pytest.mark.parametrize("length", ["", "-1", "+9", " 9", "9 ", "0x9", "9,9", "1e3", "٣", "9" * 4000, "1_0", "9.0"])
def test_a_malformed_length_reads_nothing_and_is_no_500(length: str) -> None:
    site = Site()
    body = good_report(site)
    assert raw(site, body, {"CONTENT_LENGTH": length}) in (400, 411, 413)
    assert site.uploads == []


@pytest.mark.parametrize(
    "announced",
    [
        pytest.param({"CONTENT_LENGTH": "{half}"}, id="shorter than the body"),
        pytest.param({"CONTENT_LENGTH": "{more}"}, id="longer than the body"),
        pytest.param({"HTTP_TRANSFER_ENCODING": "chunked"}, id="chunked, without the end of the input"),
        pytest.param({"HTTP_TRANSFER_ENCODING": "chunked", "CONTENT_LENGTH": "0"}, id="chunked and empty"),
        pytest.param({"HTTP_TRANSFER_ENCODING": "chunked", "CONTENT_LENGTH": "{half}"}, id="chunked and shorter"),
    ],
)
def test_a_wrong_length_gets_no_other_body_past_the_signature(announced: dict[str, str]) -> None:
    site = Site()
    body = good_report(site)
    numbers = {"half": len(body) // 2, "more": len(body) + 1}
    assert raw(site, body, {k: v.format(**numbers) for k, v in announced.items()}) in (400, 403, 411)
    assert site.uploads == []


def test_bytes_after_the_announced_length_are_ignored() -> None:
    site = Site()
    body = good_report(site)
    assert raw(site, body + b"&user=admin", {"CONTENT_LENGTH": str(len(body))}, signed=body) == 200
    assert site.uploads[0].body == body


@pytest.mark.parametrize("target", ["/other", "/oss/callback?x=1", "/oss/callback/", "//oss/callback", "/OSS/callback"])
def test_a_signature_for_another_target_is_refused(target: str) -> None:
    site = Site()
    body = good_report(site)
    signature = OSS.headers(target, body)["Authorization"]
    assert refused(site, site.report(body, headers={"Authorization": signature}))


def test_without_authorize_there_is_no_signature_and_no_secret(caplog: pytest.LogCaptureFixture) -> None:
    site = Site({"allow_anonymous": False})
    for query in ("", "?filename=a.txt", "?filename=a&size=1&content_type=image/png", "?user=admin&authorize=1"):
        answer = site.app.get(f"/oss/signature{query}", expect_errors=True)
        assert answer.status_int == 403
        assert set(answer.json) == {"error"}
        output = answer.text + str(answer.headers) + caplog.text
        assert VALUES["access_key_secret"] not in output
        assert VALUES["ticket_secret"][0] not in output


def conversation(port: int, sent: bytes) -> bytes:
    """Send bytes to a server, close the sending side, and return all its output."""
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        connection.sendall(sent)
        connection.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: connection.recv(65536), b""))


@pytest.mark.parametrize(
    "framing",
    [
        "Content-Length: {length}\r\n\r\n{body}",
        "Transfer-Encoding: chunked\r\n\r\n{length:x}\r\n{body}\r\n0\r\n\r\n",
        "Content-Length: {more}\r\nContent-Length: {length}\r\n\r\n{body}",
        "Content-Length: {length}\r\nContent-Length: {length}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{body}",
        "Content-Length: {length}\r\nTransfer-Encoding: identity, chunked\r\n\r\n{body}",
        "Content-Length: +{length}\r\n\r\n{body}",
        "Content-Length : {length}\r\n\r\n{body}",
        "Content-Length: {length}\r\n\r\n{half}",
        "Transfer-Encoding: chunked\r\n\r\n{length:x}\r\n{half}\r\n0\r\n\r\n",
        "Transfer-Encoding: xchunked\r\n\r\n{body}",
        "\r\n{body}",
    ],
)
def test_no_framing_smuggles_a_report_past_the_signature(framing: str, recording: RecordingSite) -> None:
    """The signature is over a body with another size. No framing may get it accepted, and no status may be 500."""
    body = new_report(recording.port).decode()
    signed = OSS.headers(CALLBACK, body.replace("size=6", "size=5").encode())
    head = f"POST {CALLBACK} HTTP/1.1\r\nHost: a\r\n" + "".join(f"{n}: {v}\r\n" for n, v in signed.items())
    rest = framing.format(length=len(body), more=len(body) + 1, body=body, half=body[: len(body) // 2])
    answers = conversation(recording.port, (head + rest).encode())
    statuses = set(re.findall(rb"HTTP/1\.[01] ([0-9]{3})", answers))
    assert statuses <= {b"400", b"403", b"404", b"411", b"501"}, answers
    assert recording.runs() == {}


def test_a_chunked_report_with_a_valid_signature_is_accepted(recording: RecordingSite) -> None:
    body = new_report(recording.port)
    headers = {**OSS.headers(CALLBACK, body), "Transfer-Encoding": "chunked"}
    head = f"POST {CALLBACK} HTTP/1.1\r\nHost: a\r\n" + "".join(f"{n}: {v}\r\n" for n, v in headers.items())
    answer = conversation(recording.port, f"{head}\r\n{len(body):x}\r\n{body.decode()}\r\n0\r\n\r\n".encode())
    assert answer.startswith(b"HTTP/1.1 200")
    assert len(recording.runs()) == 1
