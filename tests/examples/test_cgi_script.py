"""A CGI script behind the adapters of the example and of its page sees what a web server gives it."""

from __future__ import annotations

import io
import json
import os
import tracemalloc
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import webob

from ..documentation.blocks import steps

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "how-to" / "cgi-script.md"
pytestmark = pytest.mark.slow

SEES = "import json, os, sys\nprint('Content-Type: application/json\\n')\n"
SEES += "print(json.dumps({**os.environ, 'cwd': os.getcwd(), 'body': sys.stdin.read()}))"


def code_of(name: str) -> str:
    if name == "example":
        return (ROOT / "examples" / "cgi_script.py").read_text(encoding="utf-8")
    (step,) = (step for step in steps(PAGE) if step.marks.get("file") == "cgi_script.py")
    return step.text


@pytest.fixture(params=["example", "page"])
def run(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Return a call that runs a script's text for a request, from another folder than the script's."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("OSS_")]:
        monkeypatch.delenv(name)
    for name, value in {"OSS_BUCKET": "examplebucket", "OSS_REGION": "cn-hangzhou", "OSS_CALLBACK_URL": ""}.items():
        monkeypatch.setenv(name, value)
    for name in ("OSS_ACCESS_KEY_ID", "OSS_ACCESS_KEY_SECRET", "ANOTHER_SECRET"):
        monkeypatch.setenv(name, "s3cret")
    module = types.ModuleType("cgi_script")
    module.__file__ = str(folder / "cgi_script.py")
    exec(compile(code_of(request.param), module.__file__, "exec"), vars(module))
    application = module.cgi if request.param == "example" else module.application

    def call(script: str, target: str = "/", **variables: Any) -> webob.Response:
        module.SCRIPT.write_text(script, encoding="utf-8")
        return webob.Request.blank(target, environ=variables).get_response(application)

    return call


def test_the_script_sees_the_variables_of_cgi_and_no_secret(run: Callable[..., Any], tmp_path: Path) -> None:
    body = b"user=eric"
    response = run(
        SEES,
        "/caf%C3%A9?a=1",
        REQUEST_METHOD="POST",
        HTTP_HOST="app.example.com:8080",
        SERVER_NAME="waitress.invalid",
        HTTP_PROXY="http://evil.example",
        OSS_TICKET_SECRET="s3cret",
        CONTENT_LENGTH=str(len(body)),
        **{"wsgi.input": io.BytesIO(body)},
    )
    seen = json.loads(response.body)
    folder = tmp_path / "site"
    expected = {
        "PATH": os.environ["PATH"],
        "GATEWAY_INTERFACE": "CGI/1.1",
        "SERVER_NAME": "app.example.com",
        "SERVER_SOFTWARE": "oss_wsgi",
        "SCRIPT_NAME": "",
        "PATH_INFO": "/café",
        "QUERY_STRING": "a=1",
        "DOCUMENT_ROOT": str(folder),
        "cwd": str(folder),
        "body": "user=eric",
    }
    assert {name: seen.get(name) for name in expected} == expected
    assert Path(seen["SCRIPT_FILENAME"]).parent == folder
    assert "s3cret" not in response.text
    assert "HTTP_PROXY" not in seen
    assert not [name for name in seen if name.startswith(("OSS_", "wsgi."))]


@pytest.mark.parametrize(
    ("head", "status"),
    [
        ("Location: /thanks", "302 Found"),
        ("Status: 303 See Other\\nLocation: /thanks", "303 See Other"),
        ("Content-Type: text/plain", "200 OK"),
        ("Content-Type: text/plain\\nStatus: 404 Not Found", "404 Not Found"),
    ],
)
def test_the_status_is_the_scripts_or_that_of_a_redirection(run: Callable[..., Any], head: str, status: str) -> None:
    response = run(f"print('{head}\\n')")
    assert response.status == status
    assert "status" not in response.headers
    assert response.headers.get("Location") == ("/thanks" if "Location" in head else None)


def test_bytes_and_repeated_headers_arrive_as_the_script_wrote_them(run: Callable[..., Any]) -> None:
    page = b"\x89PNG\r\n\x1a\n\r\n\r\n"
    script = f"import sys; sys.stdout.buffer.write(b'Set-Cookie: a=1\\r\\nset-cookie: b=2\\r\\n\\r\\n' + {page!r})"
    response = run(script)
    assert response.headers.getall("Set-Cookie") == ["a=1", "b=2"]
    assert response.body == page


class Zeros:
    """A body of zeros that is made while it is read, and that waits for ever behind its end, as a socket does."""

    def __init__(self, size: int) -> None:
        self._left = size

    def read(self, size: int) -> bytes:
        assert size <= self._left, "a read behind the end waits"
        self._left -= size
        return bytes(size)


def test_a_large_body_reaches_the_script_without_filling_memory(run: Callable[..., Any]) -> None:
    size = 32 << 20
    script = "import sys; print('Content-Type: text/plain\\n')\nprint(len(sys.stdin.buffer.read()))"
    tracemalloc.start()
    try:
        response = run(script, REQUEST_METHOD="POST", CONTENT_LENGTH=str(size), **{"wsgi.input": Zeros(size)})
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert response.text.strip() == str(size)
    assert peak < 4 << 20
