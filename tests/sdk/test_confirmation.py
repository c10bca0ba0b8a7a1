"""SDKConfirmation over HTTP against the local OSS."""

from __future__ import annotations

import contextlib
import json
import socket
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from local_oss import LocalOSS, LocalOSSServer
from oss_wsgi import CallbackEndpoint, CallbackGuard, CallbackVerifier, PostPresigner, PublicKeyStore, Settings, Upload
from oss_wsgi.callback.confirm import confirmed
from oss_wsgi.credentials import Credentials
from oss_wsgi.exceptions import (
    ConfirmationUnavailableError,
    CredentialsError,
    NotConfirmedError,
    SettingsError,
)
from oss_wsgi.sdk.confirmation import SDKConfirmation
from oss_wsgi.signing.grant import Grant
from oss_wsgi.testing import multipart

from ..support.closing import closing_fixture
from ..support.server_threads import serving_oss

pytestmark = pytest.mark.slow

KEY = "a/照 片+~.txt"
HELLO = Upload(
    bucket="examplebucket", object=KEY, size=5, etag="5D41402ABC4B2A76B9719D911017C592", crc64=11177612005948864433
)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[LocalOSSServer]:
    """Start a local OSS that holds HELLO."""
    with serving_oss(LocalOSS(directory=tmp_path / "objects", key_bits=512)) as server:
        upload(settings_of(server), b"hello", Grant(key=KEY))
        yield server


def settings_of(server: LocalOSSServer, **changes: Any) -> Settings:
    oss = server.oss
    values = {
        "bucket": oss.bucket,
        "region": oss.region,
        "access_key_id": oss.access_key_id,
        "access_key_secret": oss.access_key_secret,
        "host": oss.host,
        "callback_required": False,
    }
    return Settings(**{**values, **changes})


def upload(settings: Settings, data: bytes, grant: Grant) -> bytes:
    form = PostPresigner(settings, clock=time.time).presign(grant, filename="hello.txt")
    content_type, body = multipart(form.fields, "hello.txt", data)
    request = urllib.request.Request(form.url, body, {"Content-Type": content_type})
    with urllib.request.urlopen(request) as response:
        return bytes(response.read())


make = closing_fixture(SDKConfirmation, timeout=4.9)  # the longest; a busy machine may need it


@pytest.fixture
def confirmation(server: LocalOSSServer, make: Callable[..., SDKConfirmation]) -> SDKConfirmation:
    return make(settings_of(server))


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({}, id="everything"),
        pytest.param({"bucket": None}, id="without the bucket"),
        pytest.param({"etag": '"5d41402abc4b2a76b9719d911017c592"'}, id="an ETag in quotes, in lower case"),
        pytest.param({"mime_type": "Text/Plain; a=b"}, id="the type"),
        pytest.param({"etag": None, "crc64": None}, id="the size alone"),
        pytest.param({"size": None, "crc64": None}, id="the ETag alone"),
        pytest.param({"size": None, "etag": None}, id="the CRC-64 alone"),
    ],
)
def test_an_object_that_agrees_with_the_report_is_confirmed(
    confirmation: SDKConfirmation, changes: dict[str, Any]
) -> None:
    assert confirmation(replace(HELLO, **changes)) is True


@pytest.mark.parametrize(
    ("changes", "hint"),
    [
        ({"size": 6}, "size is 5, and the report says 6"),
        ({"mime_type": "image/png"}, "type is 'text/plain', and the report says 'image/png'"),
        ({"etag": None, "ticket_id": "T"}, "names no etag"),
        ({"size": 0}, "size is 5"),
        ({"etag": "0" * 32}, "etag is '5D41402A"),
        ({"etag": ""}, "etag is"),
        ({"crc64": 0}, "crc64 is '11177612005948864433'"),
        ({"object": "a/none.txt"}, "OSS does not hold the object: OSS answered 404 NoSuchKey"),
        ({"object": None}, "names no object"),
        ({"size": None, "etag": None, "crc64": None}, "none of etag, size and crc64"),
        ({"bucket": "another"}, "another bucket"),
    ],
)
def test_a_report_that_the_object_contradicts_is_refused(
    confirmation: SDKConfirmation, changes: dict[str, Any], hint: str
) -> None:
    with pytest.raises(NotConfirmedError, match=hint) as raised:
        confirmation(replace(HELLO, **changes))
    assert raised.value.reason == "not_confirmed"


def test_a_refused_access_key_always_refuses_the_report(
    server: LocalOSSServer, make: Callable[..., SDKConfirmation]
) -> None:
    confirmation = make(settings_of(server, access_key_secret="another"), when_unreachable="accept")
    with pytest.raises(ConfirmationUnavailableError, match="SignatureDoesNotMatch") as raised:
        confirmation(HELLO)
    assert raised.value.reason == "confirmation_refused"
    assert not raised.value.accept


def test_without_a_key_of_the_provider_nothing_is_confirmed(make: Callable[..., SDKConfirmation]) -> None:
    class Provider:
        def get_credentials(self) -> Credentials:
            raise CredentialsError("the role cannot be assumed")

    with pytest.raises(ConfirmationUnavailableError, match="the role cannot be assumed") as raised:
        make(settings_for("http://127.0.0.1"), Provider())(HELLO)
    assert raised.value.reason == "credentials_unavailable"


@contextlib.contextmanager
def silent() -> Iterator[str]:
    """Yield the URL of a server that accepts connections and sends nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


@contextlib.contextmanager
def dripping(begin: bytes = b"HTTP/1.1 200 OK\r\nX-Long: ", *, breaks: bool = False) -> Iterator[str]:
    """Yield the URL of a server that answers byte by byte without end, so that no time-out between bytes applies.

    With ``breaks`` it closes the connection in place of that.
    """
    ended = threading.Event()

    def serve() -> None:
        with contextlib.suppress(OSError):
            connection, _ = listening.accept()
            with connection:
                connection.recv(65_536)
                connection.sendall(begin)
                while not breaks and not ended.wait(0.02):
                    connection.sendall(b"x")

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=serve)
        thread.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        ended.set()
        thread.join()


@contextlib.contextmanager
def refusing() -> Iterator[str]:
    """Yield the URL of a port that is bound and accepts no connection."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{bound.getsockname()[1]}"


def settings_for(url: str) -> Settings:
    key = {"access_key_id": "id", "access_key_secret": "secret"}
    return Settings(bucket="examplebucket", region="cn-hangzhou", host=f"{url}/examplebucket", **key)


def test_when_unreachable_decides_if_oss_does_not_answer_in_time(make: Callable[..., SDKConfirmation]) -> None:
    with silent() as url:
        with pytest.raises(ConfirmationUnavailableError, match=r"within 0\.3 s") as raised:
            confirmed(make(settings_for(url), timeout=0.3), HELLO)
        assert raised.value.reason == "oss_unreachable"
        accepted = confirmed(make(settings_for(url), timeout=0.3, when_unreachable="accept"), HELLO)
        assert accepted == replace(HELLO, confirmed=False)


@pytest.mark.parametrize("timeout", [0, -1, 5, 60])
def test_a_timeout_longer_than_oss_waits_is_refused(timeout: float) -> None:
    with pytest.raises(ValueError, match="timeout must be more than 0 and less than 5"):
        SDKConfirmation(settings_for("http://127.0.0.1"), timeout=timeout)


def test_an_unknown_value_of_when_unreachable_is_refused() -> None:
    with pytest.raises(ValueError, match="'refuse' or 'accept'"):
        SDKConfirmation(settings_for("http://127.0.0.1"), when_unreachable="ignore")  # type: ignore[arg-type]


def test_without_the_sdk_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "alibabacloud_oss_v2", None)
    with pytest.raises(SettingsError, match=r"SDKConfirmation needs .*pip install 'oss-wsgi\[sdk\]'"):
        SDKConfirmation(settings_for("http://127.0.0.1"))


@pytest.mark.parametrize(
    ("settings", "url", "version"),
    [
        ({"region": "cn-hangzhou"}, "https://examplebucket.oss-cn-hangzhou.aliyuncs.com/k", "OSS4-HMAC-SHA256 "),
        (
            {"region": "cn-hangzhou", "host": "https://upload.example.com"},
            "https://examplebucket.oss-cn-hangzhou.aliyuncs.com/k",
            "OSS4-HMAC-SHA256 ",
        ),
        (
            {"region": "cn-hangzhou", "endpoint": "https://oss-cn-hangzhou-internal.aliyuncs.com"},
            "https://examplebucket.oss-cn-hangzhou-internal.aliyuncs.com/k",
            "OSS4-HMAC-SHA256 ",
        ),
        (
            {"region": "cn-hangzhou", "host": "http://localhost:81/examplebucket"},
            "http://localhost:81/examplebucket/k",
            "",
        ),
        (
            {"signature_version": "v1", "host": "https://upload.example.com"},
            "https://upload.example.com/k",
            "OSS id:",
        ),
    ],
    ids=["usual", "custom domain", "internal endpoint", "path style", "no region"],
)
def test_the_request_goes_to_the_address_of_the_bucket(
    settings: dict[str, Any],
    url: str,
    version: str,
    make: Callable[..., SDKConfirmation],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import alibabacloud_oss_v2 as sdk

    sent = []

    def send(self: Any, request: Any, **options: Any) -> Any:
        sent.append(request)
        raise sdk.exceptions.RequestError(error=OSError("not sent"))

    monkeypatch.setattr(sdk.transport.RequestsHttpClient, "send", send)
    key = {"access_key_id": "id", "access_key_secret": "secret"}
    confirmation = make(Settings(bucket="examplebucket", **key, **settings))
    with pytest.raises(ConfirmationUnavailableError, match="OSS could not be reached: the connection failed"):
        confirmation(replace(HELLO, object="k"))
    (request,) = sent
    assert request.url == url
    assert request.headers["Authorization"].startswith(version)


def test_a_browser_upload_reaches_the_application_confirmed(
    tmp_path: Path, make: Callable[..., SDKConfirmation]
) -> None:
    reports: list[Upload] = []
    applications: list[Any] = []
    oss = LocalOSS(
        directory=tmp_path, transport=lambda environ, start_response: applications[0](environ, start_response)
    )
    server = LocalOSSServer(oss)
    settings = settings_of(server, callback_url="http://127.0.0.1:8080/callback", callback_required=True)
    endpoint = CallbackEndpoint(lambda upload: reports.append(upload), confirm=make(settings))

    def at_its_root(environ: Any, start_response: Any) -> Any:
        return endpoint({**environ, "SCRIPT_NAME": "/callback", "PATH_INFO": ""}, start_response)

    verifier = CallbackVerifier(PublicKeyStore({oss.public_key_url: oss.public_key_pem}))
    applications.append(CallbackGuard(at_its_root, verifier, bucket=oss.bucket))
    server.start()
    try:
        assert json.loads(upload(settings, b"hello", Grant())) == {"Status": "Ok"}
    finally:
        server.stop()
    assert [(report.confirmed, report.size) for report in reports] == [(True, 5)]
