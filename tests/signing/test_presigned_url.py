"""Signed URLs: the published vectors and those of the study; what each signature leaves open; what is refused."""

from __future__ import annotations

import calendar
import hashlib
import json
import time
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from oss_wsgi.credentials import Credentials
from oss_wsgi.signing import v4
from oss_wsgi.signing.presigned_url import (
    PresignedURL,
    canonical_request,
    sign_url_v1,
    sign_url_v4,
    string_to_sign_v4,
)

from .forms import HOST, ID, SECRET

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "presigned_urls.json").read_text(encoding="utf-8"))
KEY = "user/eric/大 file+1.bin"
M3_CANONICAL = """\
PUT
/examplebucket/user/eric/%E5%A4%A7%20file%2B1.bin
partNumber=1&uploadId=0004B9894A22E5B1888A1E29F8230000&x-oss-additional-headers=content-length\
&x-oss-credential=LTAI5tExampleKeyId000001%2F20241203%2Fcn-hangzhou%2Foss%2Faliyun_v4_request\
&x-oss-date=20241203T121212Z&x-oss-expires=3600&x-oss-signature-version=OSS4-HMAC-SHA256
content-length:5242880

content-length
UNSIGNED-PAYLOAD"""


def parameters(url: PresignedURL) -> dict[str, str]:
    return dict(parse_qsl(urlsplit(url.url).query, keep_blank_values=True, strict_parsing=False))


def arguments(vector: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    credentials = Credentials(vector.get("id", ID), vector.get("secret", SECRET), vector.get("token"))
    bucket = vector.get("bucket", "examplebucket")
    query = {name: VECTORS["callback"] if value == "CB" else value for name, value in vector["query"].items()}
    positional = credentials, vector["method"], HOST, bucket, vector.get("key", KEY)
    return positional, {"query": query, "headers": vector.get("headers")}


def unix(date: str) -> int:
    return calendar.timegm(time.strptime(date, "%Y%m%dT%H%M%SZ"))


@pytest.mark.parametrize("vector", VECTORS["v4"], ids=lambda vector: vector["name"])
def test_a_v4_url_has_the_signature_of_its_vector(vector: dict[str, Any]) -> None:
    positional, named = arguments(vector)
    now = unix(vector.get("date", "20241203T121212Z"))
    named |= {"additional_headers": vector.get("additional", ())}
    url = sign_url_v4(*positional, region="cn-hangzhou", now=now, expires=vector["expires"], **named)
    assert parameters(url)["x-oss-signature"] == vector["signature"]
    assert url.expire == now + vector["expires"]


@pytest.mark.parametrize("vector", VECTORS["v1"], ids=lambda vector: vector["name"])
def test_a_v1_url_has_the_signature_of_its_vector(vector: dict[str, Any]) -> None:
    positional, named = arguments(vector)
    expire = vector.get("expire", 1733231532)
    url = sign_url_v1(*positional, now=expire - 3600, expires=3600, **named)
    assert parameters(url)["Signature"] == vector["signature"]
    assert url.expire == expire


def test_the_canonical_request_is_that_of_the_study() -> None:
    pairs = [
        ("partNumber", "1"),
        ("uploadId", "0004B9894A22E5B1888A1E29F8230000"),
        ("x-oss-signature-version", "OSS4-HMAC-SHA256"),
        ("x-oss-date", "20241203T121212Z"),
        ("x-oss-expires", "3600"),
        ("x-oss-credential", f"{ID}%2F20241203%2Fcn-hangzhou%2Foss%2Faliyun_v4_request"),
        ("x-oss-additional-headers", "content-length"),
    ]
    path, headers = "/examplebucket/user/eric/%E5%A4%A7%20file%2B1.bin", {"content-length": "5242880"}
    text = canonical_request("PUT", path, pairs, headers, "content-length")
    assert text == M3_CANONICAL
    (vector,) = (vector for vector in VECTORS["v4"] if vector["name"] == "M3")
    assert hashlib.sha256(text.encode()).hexdigest() == vector["canonical_sha256"]


def test_the_signature_in_a_header_is_that_of_the_documentation() -> None:
    vector = VECTORS["v4_header"]
    canonical = canonical_request("PUT", vector["path"], [], vector["headers"], "content-disposition;content-length")
    assert hashlib.sha256(canonical.encode()).hexdigest() == vector["canonical_sha256"]
    day = vector["date"][:8]
    key = v4.signing_key(vector["secret"], day, vector["region"])
    assert key.hex() == vector["signing_key"]
    text = string_to_sign_v4(vector["date"], v4.scope(day, vector["region"]), canonical)
    assert v4.signature(key, text) == vector["signature"]
