"""What a signature and a callback cost in process, beside the bare cost of their cryptography and encoding.

And what a form of 20 fields costs an application that reads it, without and with ``forms=True``.

    pytest tests/benchmarks/test_hot_paths.py -p pytest_benchmark.plugin --benchmark-enable --benchmark-group-by=group

The last column that pytest-benchmark prints in each group is the ratio to the fastest, the bare work. The callbacks are
distinct, each with a ticket of its own, and the ledger is in memory; their bare work is measured without and with the
reading of body and ticket. Without --benchmark-enable each runs once, which proves only that the benchmark still works.
"""

from __future__ import annotations

import base64
import hmac
import io
import itertools
import json
import secrets
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qsl

import pytest
import webob
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import MD5
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from oss_wsgi import DirectUpload, PresignedURL, PublicKeyStore, Settings, URLPresigner
from tests.benchmarks.callbacks import CALLBACK, ENVIRON, KEY_URL, SIGNATURE, Reporter
from tests.support.browser_form import CONTENT_TYPE, browser_form

CALLBACKS = 20_000
REPORTER = Reporter()


def application(version: str) -> DirectUpload:
    settings = Settings.from_environ({**ENVIRON, "OSS_SIGNATURE_VERSION": version})
    legacy: Any = lambda environ, start_response: []  # noqa: E731
    return DirectUpload(legacy, settings, public_keys=PublicKeyStore({KEY_URL: REPORTER.public_pem().decode()}))


def call(app: Any, environ: dict[str, Any]) -> tuple[str, bytes]:
    statuses: list[str] = []
    body = b"".join(app(environ, lambda status, headers, exc_info=None: statuses.append(status)))
    return statuses[0], body


def environ(request: bytes) -> dict[str, Any]:
    """Return the environ that a server makes of a request."""
    head, _, body = request.partition(b"\r\n\r\n")
    line, *fields = head.decode().split("\r\n")
    method, target, _ = line.split(" ")
    path, _, query = target.partition("?")
    headers = {name.upper().replace("-", "_"): value for name, value in (field.split(": ") for field in fields)}
    plain = {name: headers.pop(name) for name in ("CONTENT_TYPE", "CONTENT_LENGTH") if name in headers}
    return {
        "REQUEST_METHOD": method,
        "SCRIPT_NAME": "",
        "PATH_INFO": path,
        "QUERY_STRING": query,
        "REQUEST_URI": target,
        "REMOTE_ADDR": "127.0.0.1",
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "8080",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(body),
        **plain,
        **{f"HTTP_{name}": value for name, value in headers.items()},
    }


@pytest.mark.parametrize("version", ["v1", "v4"])
def test_signature(benchmark: Any, version: str) -> None:
    benchmark.group = f"signature {version}"
    app = application(version)
    request = environ(f"GET {SIGNATURE} HTTP/1.1\r\nHost: app.example.com\r\n\r\n".encode())
    status, body = benchmark(lambda: call(app, dict(request)))
    assert status == "200 OK"
    assert b'"signature"' in body


@pytest.mark.parametrize("version", ["v1", "v4"])
def test_signature_bare(benchmark: Any, version: str) -> None:
    benchmark.group = f"signature {version}"
    app = application(version)
    form = json.loads(call(app, environ(f"GET {SIGNATURE} HTTP/1.1\r\nHost: a\r\n\r\n".encode()))[1])
    policy, callback = (base64.b64decode(form[name]) for name in ("policy", "callback"))
    answer = json.dumps(form).replace(form["policy"], "%s").replace(form["signature"], "%s")
    day_key = hmac.digest(b"k", b"aliyun_v4_request", "sha256")
    cipher, plain = AESGCM(day_key), b"x" * 120

    def bare() -> bytes:
        secrets.token_hex(16)
        nonce = secrets.token_bytes(12)
        base64.urlsafe_b64encode(nonce + cipher.encrypt(nonce, plain, b""))
        base64.b64encode(callback)
        text = base64.b64encode(policy)
        if version == "v1":
            signature = base64.b64encode(hmac.digest(b"secret", text, "sha1")).decode()
        else:
            signature = hmac.digest(day_key, text, "sha256").hex()
        return (answer % (text.decode(), signature, text.decode(), signature)[: answer.count("%s")]).encode()

    assert benchmark(bare)


@pytest.mark.parametrize("version", ["v1", "v4"])
def test_part_url(benchmark: Any, version: str) -> None:
    benchmark.group = "URL of a part"
    settings = Settings.from_environ({**ENVIRON, "OSS_SIGNATURE_VERSION": version})
    presigner = URLPresigner(settings, clock=time.time)
    numbers = itertools.count(1)

    def sign() -> PresignedURL:
        query = {"partNumber": str(next(numbers)), "uploadId": "0004B9894A22E5B1888A1E29F8230000"}
        length = {"headers": {"content-length": "16777216"}, "additional_headers": ("content-length",)}
        return presigner.presign("PUT", "users/1/20261126/大 file.bin", expires=3600, query=query, **length)

    assert benchmark(sign).method == "PUT"


@pytest.fixture(scope="module")
def requests() -> list[bytes]:
    return [report.request() for report in REPORTER.reports(CALLBACKS)]


def test_callback(benchmark: Any, requests: list[bytes]) -> None:
    benchmark.group = "callback"
    app = application("v4")
    coming: Iterator[bytes] = itertools.cycle(requests)

    def one() -> tuple[tuple[dict[str, Any]], dict[str, Any]]:
        return (environ(next(coming)),), {}

    rounds = CALLBACKS if benchmark.enabled else 1
    status, body = benchmark.pedantic(lambda request: call(app, request), setup=one, rounds=rounds)
    assert status == "200 OK"
    assert body.startswith(b'{"Status": "Ok", "signed_id": "')


@pytest.mark.parametrize("reading", [False, True], ids=["", "and the body read by the standard library"])
def test_callback_bare(benchmark: Any, requests: list[bytes], reading: bool) -> None:
    benchmark.group = "callback"
    key = load_pem_public_key(REPORTER.public_pem())
    assert isinstance(key, RSAPublicKey)
    padding, digest = PKCS1v15(), MD5()
    cipher = AESGCM(b"k" * 32)
    plain = b'["examplebucket","user-dir/20261125/' + b"0" * 32 + b'.png","",0,5,["image/png"],1800000000,null,{}]'
    sealed = base64.urlsafe_b64encode(cipher.encrypt(b"n" * 12, plain, b""))
    coming = itertools.cycle(requests)

    def one() -> tuple[tuple[str, bytes], dict[str, Any]]:
        request = environ(next(coming))
        return (request["HTTP_AUTHORIZATION"], request["wsgi.input"].read()), {}

    def bare(authorization: str, body: bytes) -> None:
        key.verify(base64.b64decode(authorization), f"{CALLBACK}\n".encode() + body, padding, digest)
        ticket = cipher.decrypt(b"n" * 12, base64.urlsafe_b64decode(sealed), b"")
        if reading:
            dict(parse_qsl(body.decode(), strict_parsing=True))
            json.loads(ticket)

    benchmark.pedantic(bare, setup=one, rounds=CALLBACKS if benchmark.enabled else 1)


def read_form(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    fields = webob.Request(environ).POST
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [str(len(fields)).encode()]


@pytest.mark.parametrize("forms", [False, True], ids=["", "with forms=True"])
def test_form_without_files(benchmark: Any, forms: bool) -> None:
    benchmark.group = "form of 20 fields without files"
    app = DirectUpload(read_form, Settings.from_environ(ENVIRON), forms=forms)
    body = browser_form([(f"field{number}", "a text of a person") for number in range(20)])
    head = f"POST /save HTTP/1.1\r\nContent-Type: {CONTENT_TYPE}\r\nContent-Length: {len(body)}\r\n\r\n"
    request = environ(head.encode() + body)

    def send() -> tuple[str, bytes]:
        return call(app, {**request, "wsgi.input": io.BytesIO(body)})

    assert benchmark(send) == ("200 OK", b"20")
