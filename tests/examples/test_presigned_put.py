"""The examples of a signed PUT: curl and Python run; what iOS and OkHttp send is replayed, as their sources read.

Neither Swift nor Kotlin runs here. The formats are those of CFNetwork and OkHttp 4 for a request of such headers.
"""

from __future__ import annotations

import http.client
import json
import re
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import pytest

from ..support.absent import skip_or_fail
from ..support.running_server import RunningServer, clean_environ, running_server
from ..support.scripts import load

EXAMPLES = Path(__file__).parents[2] / "examples" / "presigned-put"
APPS = {"ios": EXAMPLES / "BackgroundUpload.swift", "okhttp": EXAMPLES / "PutUpload.kt"}
NAME = "大 a+b'c.png"
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def server() -> Iterator[RunningServer]:
    with running_server() as running:
        yield running


@pytest.fixture
def endpoint(server: RunningServer) -> str:
    return f"{server.url}/oss/signature"


@pytest.fixture(scope="module")
def reporting_server() -> Iterator[RunningServer]:
    """A server whose clients report what they have uploaded."""
    with running_server(OSS_REPORT_BY="page") as running:
        yield running


@pytest.fixture(params=["server", "reporting_server"], ids=["OSS reports", "the client reports"])
def each_endpoint(request: pytest.FixtureRequest) -> str:
    return f"{request.getfixturevalue(request.param).url}/oss/signature"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / NAME
    path.write_bytes(b"hello")
    return path


@pytest.mark.servers
def test_curl_uploads(each_endpoint: str, file: Path) -> None:
    if shutil.which("curl") is None:
        skip_or_fail("curl")
    command = [str(EXAMPLES / "put.sh"), str(file), "image/png", each_endpoint]
    run = subprocess.run(command, capture_output=True, text=True, env=clean_environ())
    assert (run.returncode, json.loads(run.stdout)["Status"]) == (0, "Ok"), run.stderr


@pytest.mark.servers
def test_curl_fails_where_the_signature_is_refused(endpoint: str, file: Path) -> None:
    if shutil.which("curl") is None:
        skip_or_fail("curl")
    command = [str(EXAMPLES / "put.sh"), str(file), "no type", endpoint]
    assert subprocess.run(command, capture_output=True, env=clean_environ()).returncode != 0


def test_python_uploads(each_endpoint: str, file: Path) -> None:
    command = [sys.executable, str(EXAMPLES / "put.py"), str(file), each_endpoint]
    run = subprocess.run(command, capture_output=True, text=True, env=clean_environ())
    assert (run.returncode, json.loads(run.stdout)["Status"]) == (0, "Ok"), run.stderr


def test_python_reports_what_was_stored_and_not_reported(
    endpoint: str, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = load(EXAMPLES / "put.py")
    real = module.urlopen

    def urlopen(request: Any) -> Any:
        if isinstance(request, str):
            return real(request)
        answer = real(request)
        answer.status = 203
        return answer

    monkeypatch.setattr(module, "urlopen", urlopen)
    with pytest.raises(RuntimeError, match="Status"):
        module.put(file, endpoint)


def okhttp(host: str, headers: dict[str, str], length: int) -> list[tuple[str, str]]:
    """Return the headers as OkHttp 4 sends them: the body's type and length in place of the request's."""
    own = {name: value for name, value in headers.items() if name.lower() != "content-type"}
    body = [("Content-Type", headers["Content-Type"]), ("Content-Length", str(length)), ("Host", host)]
    last = [("Connection", "Keep-Alive"), ("Accept-Encoding", "gzip"), ("User-Agent", "okhttp/4.12.0")]
    return [*own.items(), *body, *last]


def ios(host: str, headers: dict[str, str], length: int) -> list[tuple[str, str]]:
    """Return the headers as CFNetwork sends them for an upload task from a file."""
    first = [("Host", host), ("Accept", "*/*"), *headers.items(), ("Accept-Language", "en-GB,en;q=0.9")]
    last = [("User-Agent", "Example/1 CFNetwork/1494.0.7 Darwin/23.4.0"), ("Content-Length", str(length))]
    return [*first, ("Accept-Encoding", "gzip, deflate"), ("Connection", "keep-alive"), *last]


@pytest.mark.parametrize("client", [okhttp, ios])
def test_the_requests_of_phones_are_accepted(endpoint: str, client: Any) -> None:
    query = {"method": "put", "filename": NAME, "size": "5", "content_type": "image/svg+xml"}
    with urllib.request.urlopen(f"{endpoint}?{urlencode(query)}") as answer:
        signed = json.load(answer)
    parts = urlsplit(signed["url"])
    connection = http.client.HTTPConnection(parts.netloc, timeout=60)
    connection.putrequest("PUT", f"{parts.path}?{parts.query}", skip_host=True, skip_accept_encoding=True)
    for name, value in client(parts.netloc, signed["headers"], 5):
        connection.putheader(name, value)
    connection.endheaders(b"hello")
    response = connection.getresponse()
    assert (response.status, json.load(response)["Status"]) == (200, "Ok")
    connection.close()


@pytest.mark.parametrize("name", APPS)
def test_the_sources_for_phones_send_what_the_endpoint_wants(name: str) -> None:
    source = APPS[name].read_text(encoding="utf-8")
    asked = re.findall(r'(?:name: |addQueryParameter\()"(\w+)"', source)
    assert asked == ["method", "filename", "size", "content_type"]
    assert "headers" in source
    assert "203" in source
    for pair in ("{}", "()", "[]"):
        assert source.count(pair[0]) == source.count(pair[1]), pair
