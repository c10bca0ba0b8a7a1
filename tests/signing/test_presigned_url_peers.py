"""Each signed URL beside the one that the official SDK makes for the same request, and before the local OSS."""

from __future__ import annotations

import calendar
import time
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

import alibabacloud_oss_v2 as sdk
import pytest
from alibabacloud_oss_v2.credentials import StaticCredentialsProvider
from alibabacloud_oss_v2.signer import SignerV1, SignerV4
from alibabacloud_oss_v2.types import HttpRequest, SigningContext
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from webtest import TestApp, TestResponse

from local_oss import LocalOSS
from local_oss.signatures.v1 import SUB_RESOURCES as THEIR_SUB_RESOURCES
from oss_wsgi.credentials import Credentials
from oss_wsgi.signing.presigned_url import SUB_RESOURCES, PresignedURL, sign_url_v1, sign_url_v4

from .forms import HOST, ID, NOW, SECRET, TOKEN

BUCKET = "examplebucket"
REGION = "cn-hangzhou"
UPLOAD_ID = "0004B9894A22E5B1888A1E29F8230000"
CALLBACK = "eyJjYWxsYmFja1VybCI6Imh0dHBzOi8vYXBwLmV4YW1wbGUuY29tL29zcy9jYWxsYmFjayJ9"
#: Parameters that the SDK signs under V1 only where it is told to.
SDK_SUB_RESOURCES = sorted(SUB_RESOURCES - SignerV1._subresource_key_set)

KEYS = st.text(
    st.characters(codec="utf-8", exclude_characters="\0") | st.sampled_from("/+ ~'%&=?#*()!:;@$,[]|中é"),
    min_size=1,
    max_size=40,
).filter(lambda key: key[0] not in "/\\")
VALUES = st.text(st.characters(min_codepoint=33, max_codepoint=126) | st.sampled_from("中é"), min_size=1, max_size=20)
TEXTS = st.text(st.characters(codec="utf-8"), max_size=20)
QUERIES = st.fixed_dictionaries(
    {},
    optional={
        "partNumber": st.integers(1, 10000).map(str),
        "uploadId": st.just(UPLOAD_ID),
        "callback": st.just(CALLBACK),
        "callback-var": st.just("eyJ4OmEiOiLkuK0ifQ=="),
        "response-content-disposition": TEXTS,
        "x-oss-traffic-limit": st.just("819200"),
        "x-oss-ac-source-ip": st.just("2001:db8::1"),
        "+odd name|": TEXTS,
        "uploads": st.just(""),
    },
)
HEADERS = st.fixed_dictionaries(
    {},
    optional={
        "content-type": VALUES,
        "content-md5": st.just("ICy5YqxZB1uWSwcVLSNLcA=="),
        "x-oss-forbid-overwrite": st.just("true"),
        "x-oss-meta-a": VALUES,
        "x-oss-meta-b-c": VALUES,
        "content-length": st.integers(0, 5 * 1024**3).map(str),
        "content-disposition": VALUES,
        "cache-control": VALUES,
    },
)
CREDENTIALS = st.sampled_from([Credentials(ID, SECRET), Credentials("STS.NExampleTempKeyId0000001", SECRET, TOKEN)])


def signed_by_the_sdk(
    version: str,
    credentials: Credentials,
    method: str,
    key: str,
    query: dict[str, str],
    headers: dict[str, str],
    additional: Any,
) -> str:
    """Return the URL of the SDK's own signer, for a request as its client builds it."""
    url = f"{HOST}/{quote(key)}" + ("?" + urlencode(query, quote_via=quote) if query else "")
    request = HttpRequest(method, url)
    request.headers.update(headers)
    parts = credentials.access_key_id, credentials.access_key_secret, credentials.security_token
    context = SigningContext(
        bucket=BUCKET,
        key=key,
        request=request,
        credentials=StaticCredentialsProvider(*parts).get_credentials(),
        product="oss",
        region=REGION,
        signing_time=datetime.fromtimestamp(NOW, timezone.utc),
        additional_headers=set(additional),
    )
    context.sub_resource = SDK_SUB_RESOURCES
    context.auth_method_query = True
    context.expiration_time = datetime.fromtimestamp(NOW + 3600, timezone.utc)
    {"v1": SignerV1, "v4": SignerV4}[version]().sign(context)
    return str(request.url)


@pytest.mark.slow
@given(
    credentials=CREDENTIALS,
    method=st.sampled_from(["GET", "PUT", "POST", "DELETE", "HEAD"]),
    key=KEYS,
    query=QUERIES,
    headers=HEADERS,
    listed=st.sets(st.sampled_from(["Content-Length", "content-disposition", "CACHE-CONTROL", "content-type"])),
)
@settings(max_examples=60, deadline=None)
def test_a_v4_url_is_the_sdks_letter_for_letter(
    credentials: Credentials, method: str, key: str, query: dict[str, str], headers: dict[str, str], listed: set[str]
) -> None:
    listed = {name for name in listed if name.lower() in headers}
    ours = sign_url_v4(
        *(credentials, method, HOST, BUCKET, key),
        region=REGION, now=NOW, expires=3600, query=query, headers=headers, additional_headers=listed,
    )  # fmt: skip
    assert ours.url == signed_by_the_sdk("v4", credentials, method, key, query, headers, listed)


@pytest.mark.slow
@given(
    credentials=CREDENTIALS,
    method=st.sampled_from(["GET", "PUT", "POST", "DELETE"]),
    key=KEYS,
    query=QUERIES,
    headers=HEADERS,
)
@settings(max_examples=60, deadline=None)
def test_a_v1_url_is_the_sdks_letter_for_letter(
    credentials: Credentials, method: str, key: str, query: dict[str, str], headers: dict[str, str]
) -> None:
    ours = sign_url_v1(*(credentials, method, HOST, BUCKET, key), now=NOW, expires=3600, query=query, headers=headers)
    assert ours.url == signed_by_the_sdk("v1", credentials, method, key, query, headers, ())


REQUESTS = {
    "put": (
        sdk.PutObjectRequest(
            *(BUCKET, "a/大 +~'.bin"),
            content_type="image/png",
            forbid_overwrite="true",
            metadata={"a": "b"},
            parameters={"callback": CALLBACK},
        ),
        {"callback": CALLBACK},
        {"content-type": "image/png", "x-oss-forbid-overwrite": "true", "x-oss-meta-a": "b"},
    ),
    "part": (
        sdk.UploadPartRequest(BUCKET, "a/大 +~'.bin", part_number=7, upload_id=UPLOAD_ID),
        {"partNumber": "7", "uploadId": UPLOAD_ID},
        {},
    ),
}


@pytest.mark.parametrize("version", ["v1", "v4"])
@pytest.mark.parametrize("name", REQUESTS)
def test_the_sdks_client_makes_the_same_url(name: str, version: str) -> None:
    request, query, headers = REQUESTS[name]
    config = sdk.config.load_default()
    config.region, config.signature_version = REGION, version
    config.credentials_provider = StaticCredentialsProvider(ID, SECRET, TOKEN)
    expiration = datetime.now(timezone.utc).replace(microsecond=0) + timedelta(seconds=900)
    result = sdk.Client(config).presign(request, expiration=expiration)
    signed = dict(parse_qsl(urlsplit(result.url).query))
    positional = Credentials(ID, SECRET, TOKEN), str(result.method), HOST, BUCKET, request.key
    if version == "v1":
        now = int(signed["Expires"]) - 900
        ours = sign_url_v1(*positional, now=now, expires=900, query=query, headers=headers)
    else:
        now, expires = unix(signed["x-oss-date"]), int(signed["x-oss-expires"])
        ours = sign_url_v4(*positional, region=REGION, now=now, expires=expires, query=query, headers=headers)
    assert (ours.method, ours.url) == (result.method, result.url)
    assert ours.headers == {name.lower(): value for name, value in result.signed_headers.items()}


def unix(date: str) -> int:
    return calendar.timegm(time.strptime(date, "%Y%m%dT%H%M%SZ"))


@pytest.fixture(scope="module", params=[None, TOKEN], ids=["lasting", "STS"])
def oss(request: pytest.FixtureRequest) -> Iterator[LocalOSS]:
    with LocalOSS(security_token=request.param, key_bits=512, clock=lambda: float(NOW)) as oss:
        oss.token = request.param  # type: ignore[attr-defined]
        yield oss


def sign(oss: LocalOSS, version: str, method: str, key: str, **options: Any) -> PresignedURL:
    credentials = Credentials(oss.access_key_id, oss.access_key_secret, oss.token)  # type: ignore[attr-defined]
    positional = credentials, method, oss.host, oss.bucket, key
    if version == "v1":
        options.pop("additional_headers", None)
        return sign_url_v1(*positional, now=NOW, expires=60, **options)
    return sign_url_v4(*positional, region=oss.region, now=NOW, expires=60, **options)


def send(oss: LocalOSS, url: PresignedURL, body: bytes = b"", **headers: str) -> TestResponse:
    """Send the request that was signed; a keyword such as ``content_type`` replaces one of its headers."""
    changed = {name.replace("_", "-").title(): value for name, value in headers.items()}
    sent = {name.title(): value.encode().decode("latin-1") for name, value in {**url.headers, **changed}.items()}
    return TestApp(oss, lint=False).request(url.url, method=url.method, headers=sent, body=body, expect_errors=True)


@pytest.mark.slow
@pytest.mark.parametrize("version", ["v1", "v4"])
@given(
    key=KEYS,
    body=st.binary(max_size=20),
    headers=HEADERS,
)
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_local_oss_stores_what_a_url_allows(
    oss: LocalOSS, version: str, key: str, body: bytes, headers: dict[str, str]
) -> None:
    headers = {name: value for name, value in headers.items() if name not in ("content-md5", "x-oss-forbid-overwrite")}
    headers["content-length"] = str(len(body))
    listed = [name for name in headers if name in ("content-length", "content-disposition", "cache-control")]
    put = sign(oss, version, "PUT", key, headers=headers, additional_headers=listed)
    assert send(oss, put, body).status_int == 200
    response = send(oss, sign(oss, version, "GET", key))
    assert (response.status_int, response.body) == (200, body)


def test_v1_signs_the_sub_resources_that_the_local_oss_takes_for_some() -> None:
    """The local OSS has its own list, of the documentation: what only one of the two signs is refused."""
    assert SUB_RESOURCES <= THEIR_SUB_RESOURCES
    beside = {"x-oss-traffic-limit", "x-oss-process", "x-oss-async-process", "x-oss-request-payer", "objectInfo"}
    beside |= {f"x-oss-ac-{name}" for name in ("source-ip", "subnet-mask", "vpc-id", "forward-allow")} | {"asyncFetch"}
    assert beside <= SUB_RESOURCES
