"""Whole uploads over real sockets: server.py in a process, and a client that sends the fields in a loop."""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import pytest

from oss_wsgi.testing import multipart

from ..support.callbacks import without_signed_id
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
            assert (status, without_signed_id(json.loads(answer))) == (200, {"Status": "Ok"})
            assert headers["Access-Control-Allow-Origin"] == server.url
            assert "ETag" in headers["Access-Control-Expose-Headers"]
            key = form["fields"]["key"].replace("${filename}", "图片.bin")
            with urllib.request.urlopen(f"{server.url}/link/{quote(key)}") as stored:
                assert stored.read() == data


def test_each_start_makes_a_new_key_that_is_never_printed() -> None:
    ids = set()
    for _ in range(2):
        with running_server() as server:
            ids.add(sign(server.url)["accessid"])
        assert ids & set(server.log().split()) == set()
    assert len(ids) == 2
