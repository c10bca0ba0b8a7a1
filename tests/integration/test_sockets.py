"""Whole uploads over real sockets: server.py in a process, and a client that sends the fields in a loop."""

from __future__ import annotations

import contextlib
import http.client
import json
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import pytest

from oss_wsgi.testing import multipart

from ..support.running_server import running_server


def sign(url: str, **parameters: Any) -> dict[str, Any]:
    with urllib.request.urlopen(f"{url}/oss/signature?{urlencode(parameters)}") as response:
        return dict(json.load(response))


def post(url: str, content_type: str, body: bytes, **headers: str) -> tuple[int, bytes, http.client.HTTPMessage]:
    request = urllib.request.Request(url, body, {"Content-Type": content_type, **headers})
    try:
        with urllib.request.urlopen(request) as response:
            return response.status, response.read(), response.headers
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read(), error.headers


@pytest.mark.parametrize("version", ["v1", "v4"])
def test_an_upload_returns_the_applications_response(version: str, tmp_path: Path) -> None:
    data = bytes(range(256)) * 5000
    with running_server("--local-dir", str(tmp_path), "--prefix", "/oss", OSS_SIGNATURE_VERSION=version) as server:
        for parameters in ({"filename": "图片.bin", "size": len(data)}, {}):
            form = sign(server.url, **parameters)
            content_type, body = multipart(form["fields"], "图片.bin", data)
            status, answer, headers = post(form["url"], content_type, body, Origin=server.url)
            assert (status, json.loads(answer)) == (200, {"Status": "Ok"})
            assert headers["Access-Control-Allow-Origin"] == server.url
            assert "ETag" in headers["Access-Control-Expose-Headers"]
            key = form["fields"]["key"].replace("${filename}", "图片.bin")
            with urllib.request.urlopen(f"{server.url}/link/{quote(key)}") as stored:
                assert stored.read() == data


def test_simultaneous_uploads_of_one_name_are_all_reported() -> None:
    with running_server() as server:
        form = sign(server.url)
        content_type, body = multipart(form["fields"], "same.bin", b"x" * 200_000)
        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda _: post(form["url"], content_type, body)[:2], range(80)))
        assert set(answers) == {(200, b'{"Status": "Ok"}')}


def test_stored_objects_survive_a_restart(tmp_path: Path) -> None:
    with running_server("--local-dir", str(tmp_path)) as server:
        form = sign(server.url, filename="a.txt")
        content_type, body = multipart(form["fields"], "a.txt", b"hello")
        assert post(form["url"], content_type, body)[0] == 200
    with running_server("--local-dir", str(tmp_path)) as server:
        with urllib.request.urlopen(f"{server.url}/link/{form['fields']['key']}") as stored:
            assert stored.read() == b"hello"


def test_an_unreachable_callback_url_returns_203(tmp_path: Path) -> None:
    with running_server(OSS_CALLBACK_URL="http://127.0.0.1:9/oss/callback") as server:
        form = sign(server.url, filename="a.txt")
        content_type, body = multipart(form["fields"], "a.txt", b"hello")
        status, answer, _ = post(form["url"], content_type, body)
        assert status == 203
        assert b"CallbackFailed" in answer


def test_a_forged_callback_is_refused_with_a_reason_in_the_log() -> None:
    with running_server() as server:
        status, answer, _ = post(
            f"{server.url}/oss/callback", "application/x-www-form-urlencoded", b"filename=a&size=1&bucket=local-bucket"
        )
        assert status == 403
        assert json.loads(answer)["error"]["code"] == "forbidden"
    assert "reason=authorization_missing" in server.log()


def test_each_start_makes_a_new_key_that_is_never_printed() -> None:
    ids = set()
    for _ in range(2):
        with running_server() as server:
            ids.add(sign(server.url)["accessid"])
        assert ids & set(server.log().split()) == set()
    assert len(ids) == 2


def test_a_request_that_waitress_refuses_shows_no_traceback() -> None:
    with running_server() as server:
        parts = urlsplit(server.url)
        with contextlib.closing(http.client.HTTPConnection(parts.hostname or "", parts.port)) as connection:
            connection.putrequest("GET", "/", skip_host=True)
            connection.putheader("X-Long", "a" * 40000)
            connection.endheaders()
            response = connection.getresponse()
            assert response.status == 431
            assert b"Traceback" not in response.read()
