"""Signed URLs: the published vectors and those of the study; what each signature leaves open; what is refused."""

from __future__ import annotations

import calendar
import hashlib
import json
import re
import time
from dataclasses import FrozenInstanceError
from datetime import datetime, timezone
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from oss_wsgi.credentials import Credentials
from oss_wsgi.exceptions import CredentialsError, PresignError
from oss_wsgi.settings import Settings
from oss_wsgi.signing import v1, v4
from oss_wsgi.signing.presigned_url import (
    PresignedURL,
    URLPresigner,
    canonical_request,
    sign_url_v1,
    sign_url_v4,
    string_to_sign_v1,
    string_to_sign_v4,
)

from .forms import HOST, ID, NOW, SECRET, TOKEN, Provider

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


def sign(**changes: Any) -> PresignedURL:
    """Sign a PUT of one object, V4, with some arguments changed."""
    usual = {"method": "PUT", "address": HOST, "bucket": "examplebucket", "key": "a", "region": "cn-hangzhou"}
    return sign_url_v4(Credentials(ID, SECRET), **{**usual, "now": NOW, "expires": 60, **changes})


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"key": ""}, "1 to 1023 bytes of UTF-8, not 0"),
        ({"key": "中" * 342}, "not 1026"),
        ({"key": "a\ud800"}, "half a surrogate pair"),
        ({"key": "/a"}, "must not begin with '/'"),
        ({"key": "\\a"}, "must not begin with"),
        ({"expires": 0}, "1 to 604800 seconds (7 days), not 0"),
        ({"expires": 604801}, "not 604801"),
        ({"expires": 60.5}, "not 60.5"),
        ({"method": "PUT /b"}, "like GET or PUT, not 'PUT /b'"),
        ({"method": ""}, "like GET or PUT"),
        ({"method": "GÉT"}, "like GET or PUT"),
        *(
            ({"query": {name: "1"}}, f"must not have {name}")
            for name in (
                *("x-oss-signature-version", "x-oss-credential", "x-oss-date", "x-oss-expires", "x-oss-signature"),
                *("x-oss-security-token", "x-oss-additional-headers"),
            )
        ),
        ({"headers": {"a": "b\r\nx: y"}}, "The header a must not have control"),
        ({"headers": {"Content-Type": "a/b", "content-type": "a/c"}}, "content-type only once"),
        ({"additional_headers": ["content-length"]}, "additional_headers names content-length"),
        ({"additional_headers": ["a"], "headers": {"a": ""}}, "give the value in headers"),
    ],
)
def test_what_oss_would_refuse_is_refused_with_a_sentence(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(PresignError, match=re.escape(said)):
        sign(**changes)


def test_a_method_in_small_letters_and_the_fraction_of_a_second_do_not_count() -> None:
    assert sign(method="put", now=NOW + 0.9) == sign()
    usual = {"address": HOST, "bucket": "examplebucket", "key": "a", "expires": 60}
    key = Credentials(ID, SECRET)
    assert sign_url_v1(key, "get", **usual, now=NOW + 0.9) == sign_url_v1(key, "GET", **usual, now=NOW)


@pytest.mark.parametrize("name", ["OSSAccessKeyId", "Expires", "Signature", "security-token"])
def test_v1_refuses_its_own_parameters_too(name: str) -> None:
    with pytest.raises(PresignError, match=f"must not have {name}"):
        sign_url_v1(Credentials(ID, SECRET), "GET", HOST, "b", "a", now=NOW, expires=1, query={name: "1"})


def test_the_longest_name_and_life_are_signed() -> None:
    assert sign(key="k" * 1023, expires=604_800).expire == NOW + 604_800


def test_the_text_that_v1_signs_has_the_sub_resources_alone() -> None:
    headers = {"content-md5": "M", "content-type": "T", "x-oss-b": "2", "x-oss-a": "1", "host": "h"}
    query = {"uploadId": "U", "partNumber": "1", "other": "x"}
    text = string_to_sign_v1("PUT", "/b/k", "123", query, headers)
    assert text == "PUT\nM\nT\n123\nx-oss-a:1\nx-oss-b:2\n/b/k?partNumber=1&uploadId=U"
    assert string_to_sign_v1("GET", "/b/k", "123", {"other": "x"}, {}) == "GET\n\n\n123\n/b/k"


def test_nobody_can_change_a_sub_resource_of_a_v1_url() -> None:
    names = "append callback callback-var objectMeta partNumber position security-token symlink tagging uploadId"
    names += " uploads versionId x-oss-process x-oss-traffic-limit response-expires response-cache-control"
    names += " response-content-disposition response-content-encoding response-content-language response-content-type"
    for name in names.split():
        texts = {string_to_sign_v1("GET", "/b/k", "123", query, {}) for query in ({}, {name: "1"}, {name: "2"})}
        assert len(texts) == 3, name


def test_a_v1_url_has_the_key_the_expiry_the_token_and_the_whole_query() -> None:
    query = {"uploadId": "U", "other": "a b/c", "名": "中"}
    url = sign_url_v1(Credentials(ID, SECRET, TOKEN), "GET", HOST, "b", "a", now=NOW, expires=60, query=query)
    text = string_to_sign_v1("GET", "/b/a", str(NOW + 60), {**query, "security-token": TOKEN}, {})
    own = {"OSSAccessKeyId": ID, "Expires": str(NOW + 60), "security-token": TOKEN}
    assert parameters(url) == {**query, **own, "Signature": v1.signature(SECRET, text)}
    assert "&other=a%20b%2Fc&%E5%90%8D=%E4%B8%AD&" in url.url


def test_the_headers_to_send_are_those_given_but_what_clients_send_by_themselves() -> None:
    headers = {"Content-Type": " image/png ", "content-length": "5", "Host": "h", "abc": "d"}
    url = sign(headers=headers)
    assert url.headers == {"Content-Type": "image/png", "abc": "d"}
    with pytest.raises(FrozenInstanceError):
        url.expire = NOW + 9000  # type: ignore[misc]


def test_space_around_a_value_is_not_signed() -> None:
    assert sign(headers={"Content-Type": " image/png "}).url == sign(headers={"content-type": "image/png"}).url


def test_headers_that_are_signed_always_are_not_listed() -> None:
    url = sign(
        headers={"content-type": "a/b", "x-oss-meta-a": "b"}, additional_headers=["Content-Type", "x-oss-meta-a"]
    )
    assert "x-oss-additional-headers" not in parameters(url), "OSS refuses an empty one"


def test_the_repr_shows_neither_signature_nor_token_nor_receipt() -> None:
    credentials = Credentials(ID, SECRET, TOKEN)
    headers = {"x-oss-meta-oss-wsgi": "the-receipt"}
    shown = repr(
        sign_url_v4(
            credentials, "PUT", HOST, "b", "a", region="r", now=NOW, expires=60, headers=headers, query={"c": "d"}
        )
    )
    assert shown == f"PresignedURL(PUT {HOST}/a?..., headers: x-oss-meta-oss-wsgi, expire={NOW + 60})"


def presigner(credentials: Any = None, clock: Any = lambda: NOW + 0.9, **settings: Any) -> URLPresigner:
    usual = {"bucket": "examplebucket", "region": "cn-hangzhou", "access_key_id": ID, "access_key_secret": SECRET}
    return URLPresigner(Settings(**{**usual, **settings}), credentials, clock=clock)


PART = {"query": {"partNumber": "1", "uploadId": "u"}, "headers": {"content-length": "5"}}


def test_a_presigner_signs_with_the_version_of_the_settings() -> None:
    headers = {**PART["headers"], "x-oss-meta-a": "b"}
    part = {**PART, "headers": headers, "additional_headers": ["content-length"]}
    v4_url = presigner().presign("PUT", KEY, expires=60, **part)
    assert v4_url == sign(key=KEY, **part)
    v1_presigner = presigner(signature_version="v1")
    v1_url = v1_presigner.presign("PUT", KEY, expires=60, **part)
    assert v1_url == sign_url_v1(
        *(Credentials(ID, SECRET), "PUT", HOST, "examplebucket", KEY),
        now=NOW,
        expires=60,
        query=PART["query"],
        headers=headers,
    )
    assert (presigner().signs_additional_headers, v1_presigner.signs_additional_headers) == (True, False)


def test_no_url_outlives_its_access_key() -> None:
    expiration = datetime.fromtimestamp(NOW + 30.5, timezone.utc)
    provider = Provider(Credentials("STS.N", SECRET, TOKEN, expiration))
    url = presigner(provider).presign("GET", "a", expires=600)
    assert (url.expire, parameters(url)["x-oss-expires"], provider.calls) == (NOW + 30, "30", 1)
    with pytest.raises(CredentialsError):
        presigner(provider, clock=lambda: NOW + 30).presign("GET", "a", expires=600)


def test_each_url_has_the_key_that_the_provider_has_then() -> None:
    provider = Provider(Credentials("STS.1", SECRET, TOKEN))
    signer = presigner(provider)
    for key_id in ("STS.1", "STS.2"):
        provider.credentials = Credentials(key_id, SECRET, TOKEN)
        url = signer.presign("GET", "a", expires=600)
        assert parameters(url)["x-oss-credential"].startswith(f"{key_id}/")
    assert url.payload()["key"] == "a"


def test_a_key_that_was_asked_for_before_is_not_asked_for_again() -> None:
    provider = Provider(CredentialsError("none"))
    url = presigner(provider).presign("GET", "a", expires=60, credentials=Credentials(ID, SECRET))
    assert url == sign(method="GET")
