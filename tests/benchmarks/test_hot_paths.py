"""What a signature and a callback cost in process, beside the bare cost of their cryptography.

    pytest tests/benchmarks --benchmark-enable --benchmark-group-by=group --benchmark-columns=median,ops

The last column that pytest-benchmark prints in each group is relative to the fastest, the bare cryptography: the
ratio. Without --benchmark-enable each runs once, which proves only that the benchmark still works.
"""

from __future__ import annotations

import base64
import hmac
import io
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import MD5
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from oss_wsgi import DirectUpload, PublicKeyStore, Settings
from oss_wsgi.testing import FrozenClock

SECRET = "ExampleSecret0000000000000000A"
PEM = """-----BEGIN PUBLIC KEY-----
MFwwDQYJKoZIhvcNAQEBBQADSwAwSAJBAMkOf+HpFPZsUv9Zr3MyEvPyHtCJJF2k
W1m1oO7thuxNMssNgHHkQ0SMQ4DYlsrKdpkeWX4MXmuY0F9szPaOpxECAwEAAQ==
-----END PUBLIC KEY-----
"""
KEY_URL = "http://127.0.0.1/key.pem"
TICKET_SECRET = "t" * 32
# Made once with a throwaway key of 512 bits, OSS's size; the clock stands still, so the ticket stays good.
TICKET = (
    b"2MmH5AAATlwmqOFw7Iwbeq1_xKmqb1G0kEYmKl9hs0Gj4lBzJm_FzBAQ1sYFa9nZSoM_Xvgjq-ophJwfcxRlZTwd-gKnTAWOPPbUTyjRBxYbdo"
    b"QBRFMvd9zyFcmSJ2Qwdkcy3h4fcvn8bZ8VfG4TriYosI6Yiut61IhDkw"
)
BODY = (
    b"filename=user%2Feric%2Fa.txt&size=6&mimeType=text%2Fplain&height=&width=&bucket=examplebucket"
    b"&etag=5D41402ABC4B2A76B9719D911017C592&crc64=3155123217085384032&format=&reqId=674EF4EC0000000000000001"
    b"&operation=PostObject&ticket="
) + TICKET
SIGNATURE = "yNbq6G2zePuhGIPMglajFKXhJSwSpq3ugkUOJq7GGoq4F7UbRmqQKXSrPXBeP0y1bJVyOwMCYDASXVSZPaee7w=="


def application(version: str) -> DirectUpload:
    settings = Settings(
        bucket="examplebucket",
        region="cn-hangzhou",
        access_key_id="id",
        access_key_secret=SECRET,
        signature_version=version,
        callback_url="https://app.example.com/oss/callback",
        ticket_secret=(TICKET_SECRET,),
        allow_anonymous=True,
    )
    legacy: Any = lambda environ, start_response: []  # noqa: E731
    return DirectUpload(legacy, settings, public_keys=PublicKeyStore({KEY_URL: PEM}), clock=FrozenClock())


def call(app: Any, environ: dict[str, Any]) -> tuple[str, bytes]:
    statuses: list[str] = []
    body = b"".join(app(environ, lambda status, headers, exc_info=None: statuses.append(status)))
    return statuses[0], body


def environ(method: str, path: str, query: str = "") -> dict[str, Any]:
    target = f"{path}?{query}" if query else path
    return {
        "REQUEST_METHOD": method,
        "SCRIPT_NAME": "",
        "PATH_INFO": path,
        "QUERY_STRING": query,
        "REQUEST_URI": target,
    }


@pytest.mark.parametrize("version", ["v1", "v4"])
def test_signature(benchmark: Any, version: str) -> None:
    benchmark.group = f"signature {version}"
    app = application(version)
    asked = environ("GET", "/oss/signature", "filename=a.png&content_type=image/png&size=5")
    status, body = benchmark(lambda: call(app, asked))
    assert status == "200 OK"
    assert b'"signature"' in body


@pytest.mark.parametrize("version", ["v1", "v4"])
def test_signature_bare_cryptography(benchmark: Any, version: str) -> None:
    benchmark.group = f"signature {version}"
    policy = b'{"expiration":"2024-12-03T13:00:00.000Z","conditions":[%s]}' % (b'{"bucket":"examplebucket"},' * 60)[:-1]
    day_key = hmac.digest(b"k", b"aliyun_v4_request", "sha256")

    def bare() -> bytes:
        text = base64.b64encode(policy)
        if version == "v1":
            return base64.b64encode(hmac.digest(SECRET.encode(), text, "sha1"))
        return hmac.digest(day_key, text, "sha256")

    assert benchmark(bare)


def callback_environ() -> dict[str, Any]:
    return {
        **environ("POST", "/oss/callback"),
        "CONTENT_LENGTH": str(len(BODY)),
        "CONTENT_TYPE": "application/x-www-form-urlencoded",
        "HTTP_AUTHORIZATION": SIGNATURE,
        "HTTP_X_OSS_PUB_KEY_URL": base64.b64encode(KEY_URL.encode()).decode(),
        "wsgi.input": io.BytesIO(BODY),
    }


def test_callback(benchmark: Any) -> None:
    benchmark.group = "callback"
    app = application("v4")
    status, body = benchmark(lambda: call(app, callback_environ()))
    assert (status, body) == ("200 OK", b'{"Status": "Ok"}')


def test_callback_bare_cryptography(benchmark: Any) -> None:
    benchmark.group = "callback"
    key = load_pem_public_key(PEM.encode())
    assert isinstance(key, RSAPublicKey)
    text = b"/oss/callback\n" + BODY
    padding, digest = PKCS1v15(), MD5()

    def bare() -> bool:
        key.verify(base64.b64decode(SIGNATURE), text, padding, digest)
        return True

    assert benchmark(bare)
