"""A stranger has no key of OSS: no request makes the application accept an upload or sign a form."""

from __future__ import annotations

import base64
import re
import socket
from collections.abc import Iterator

import pytest

from oss_wsgi.testing import CallbackSigner, callback_body

from .attacks import CALLBACK, OSS, Site, refused
from .processes import RecordingSite, new_report

STRANGER = CallbackSigner(url="https://evil.example/key.pem")


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RecordingSite]:
    with RecordingSite(tmp_path_factory.mktemp("recording")) as site:
        yield site


def test_a_strangers_own_key_is_refused_under_any_url() -> None:
    site = Site()
    body = callback_body(site.sign(filename="a.txt", size=6), size=6)
    for url in (STRANGER.url, OSS.url, "https://gosspublic.alicdn.com/callback_pub_key_v1.pem"):
        headers = {"x-oss-pub-key-url": base64.b64encode(url.encode()).decode()}
        assert refused(site, site.report(body, signer=STRANGER, headers=headers))
    assert site.report(body).status_int == 200


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
        "Content-Length: +{length}\r\n\r\n{body}",
        "Content-Length: {length}\r\n\r\n{half}",
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
