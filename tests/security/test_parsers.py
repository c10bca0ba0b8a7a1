"""No input makes the application or the local OSS return 500 or raise an undocumented exception.

Each parser is fuzzed alone beside its other tests. Here the input comes as from a server, through the check of PEP 3333
and signed as OSS would, so that it gets as far as possible.
"""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterator
from contextlib import suppress
from typing import Any
from urllib.parse import quote_from_bytes, unquote_to_bytes

import pytest
from hypothesis import HealthCheck, example, given
from hypothesis import settings as examples
from hypothesis import strategies as st
from webtest.lint import middleware as lint

from local_oss.errors import OSSError
from local_oss.forms.policy import parse_policy
from oss_wsgi import Grant
from oss_wsgi.object_names import MAX_KEY_BYTES
from oss_wsgi.signing.v1 import signature
from oss_wsgi.testing import multipart

from ..support.linted_client import LintedClient
from .attacks import CALLBACK, OSS, Site, legacy, ticket_of

SITE = Site({"upload_names": "original"}, authorize=lambda request: Grant(user="eric", dir="users/eric"))
TICKET = ticket_of(SITE.sign())
FEW = examples(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
HEADER_TEXT = st.text(st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"), max_size=60)


@pytest.fixture(scope="module")
def client() -> Iterator[LintedClient]:
    with LintedClient(legacy, {"signature_version": "v1"}) as linted_client:
        yield linted_client


def call(application: Any, path: bytes, body: bytes = b"", **environ: Any) -> tuple[int, bytes]:
    """Call an application as a server would. The environ may contain what no client library would send."""
    all_environ: dict[str, Any] = {
        "REQUEST_METHOD": "POST",
        "SCRIPT_NAME": "",
        "PATH_INFO": path.decode("latin-1"),
        "QUERY_STRING": "",
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "8080",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "HTTP_HOST": "127.0.0.1:8080",
        "CONTENT_LENGTH": str(len(body)),
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(body),
        "wsgi.errors": io.StringIO(),
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
        **environ,
    }
    statuses: list[int] = []

    def start_response(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
        statuses.append(int(status[:3]))
        return lambda piece: None

    chunks = lint(application)(all_environ, start_response)
    try:
        text = b"".join(chunks)
    finally:
        if hasattr(chunks, "close"):
            chunks.close()
    return statuses[0], text


def post(body: bytes, kind: str = "application/x-www-form-urlencoded", **environ: Any) -> int:
    """Return the status for a body that OSS signed."""
    headers = OSS.headers(CALLBACK, body)
    all_environ = {
        "CONTENT_TYPE": kind,
        "HTTP_AUTHORIZATION": headers["Authorization"],
        "HTTP_X_OSS_PUB_KEY_URL": headers["x-oss-pub-key-url"],
        **environ,
    }
    return call(SITE.app.app, CALLBACK.encode(), body, **all_environ)[0]


@given(
    path=st.binary(max_size=60), query=st.binary(max_size=60), method=st.sampled_from(["GET", "HEAD", "POST", "PUT"])
)
@example(path=b"signature", query=b"filename=%ff", method="GET")
@FEW
def test_any_path_below_the_prefix_is_no_500(path: bytes, query: bytes, method: str) -> None:
    raw = quote_from_bytes(query, safe="%=&+;/?").encode().decode("latin-1")
    status, _ = call(
        SITE.app.app, b"/oss/" + unquote_to_bytes(path), QUERY_STRING=raw, REQUEST_METHOD=method, CONTENT_LENGTH="0"
    )
    assert status in (200, 400, 403, 404, 405)


@given(
    filename=st.one_of(st.text(max_size=300), st.text("./\\${filename}\x00a", max_size=60)),
    content_type=st.text(max_size=60),
    size=st.one_of(st.text(max_size=20), st.integers(-5, 10**12).map(str)),
)
@FEW
def test_any_query_for_a_signature_is_no_500(filename: str, content_type: str, size: str) -> None:
    for values in ({"filename": filename}, {"content_type": content_type}, {"filename": filename, "size": size}):
        encoded = "&".join(
            f"{n}={quote_from_bytes(v.encode('utf-8', 'surrogatepass'), safe='')}" for n, v in values.items()
        )
        environ = {"REQUEST_METHOD": "GET", "QUERY_STRING": encoded, "CONTENT_LENGTH": "0"}
        status, text = call(SITE.app.app, b"/oss/signature", **environ)
        assert status in (200, 400, 403)
        if status == 200:
            fields = json.loads(text)["fields"]
            assert fields["key"].startswith("users/eric/")
            name = fields["key"].removeprefix("users/eric/")
            assert name == "${filename}" if "filename" not in values else not set(name) & set("/\\${}<>\x00")
            assert len(fields["key"].encode()) <= MAX_KEY_BYTES


JSON_VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=8), inner, max_size=3)),
    max_leaves=8,
)
NAMES = st.sampled_from(
    [
        "bucket",
        "object",
        "filename",
        "size",
        "etag",
        "mimeType",
        "imageInfo",
        "height",
        "crc64",
        "x:a",
        "reqId",
        "format",
    ]
)


@given(members=st.dictionaries(NAMES, JSON_VALUES, max_size=6))
@example(members={"object": "users/eric/\x00", "etag": "\x00"})
@FEW
def test_any_report_with_a_valid_ticket_is_no_500(members: dict[str, Any]) -> None:
    SITE.uploads.clear()
    report = {"bucket": "examplebucket", "object": "users/eric/a.txt", "size": 6, "ticket": TICKET, **members}
    assert post(json.dumps(report).encode(), "application/json") in (200, 400, 403, 409)
    for upload in SITE.uploads:
        assert str(upload.object).startswith("users/eric/")
        assert upload.bucket == "examplebucket"
        assert upload.user == "eric"


CONDITIONS = st.one_of(
    JSON_VALUES,
    st.tuples(
        st.sampled_from(["eq", "starts-with", "in", "not-in", "content-length-range", "EQ"]),
        st.one_of(st.sampled_from(["$key", "$bucket", "$x", "key"]), JSON_VALUES),
        st.one_of(st.sampled_from(["a.txt", ""]), JSON_VALUES),
    ).map(list),
)
POLICIES = st.one_of(
    st.binary(max_size=80),
    JSON_VALUES.map(lambda value: json.dumps(value).encode()),
    st.fixed_dictionaries(
        {
            "expiration": st.one_of(
                st.just("2099-01-01T00:00:00Z"),
                st.from_regex(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{0,9})?Z", fullmatch=True),
                JSON_VALUES,
            ),
            "conditions": st.lists(CONDITIONS, max_size=4),
        }
    ).map(lambda document: json.dumps(document).encode()),
)


@given(policy=POLICIES)
@example(policy=b'{"expiration": "0000-00-00T00:00:00Z", "conditions": [1]}')
@example(policy=b'{"expiration": "9999-12-31T23:59:60Z", "conditions": [["eq", "$a", "\\ud800"]]}')
@FEW
def test_any_signed_policy_is_no_500_of_the_local_oss(policy: bytes, client: LintedClient) -> None:
    text = base64.b64encode(policy).decode()
    with suppress(OSSError):
        parse_policy(text)
    key = client.settings.credentials()
    fields = {
        "key": "a.txt",
        "OSSAccessKeyId": key.access_key_id,
        "policy": text,
        "Signature": signature(key.access_key_secret, text),
    }
    kind, body = multipart(fields, "a.txt", b"hello")
    assert call(client.local_oss, b"/examplebucket", body, CONTENT_TYPE=kind)[0] < 500


FIELDS_OF_OSS = (
    "key callback file x-oss-content-type x-oss-meta-a x:a Expires success_action_redirect success_action_status "
    "x-oss-object-acl x-oss-signature-version x-oss-credential x-oss-date x-oss-storage-class Content-Type"
)
FIELD_NAMES = st.one_of(
    st.sampled_from(FIELDS_OF_OSS.split()),
    st.text(st.characters(exclude_characters='"\r\n\\', exclude_categories=["Cs"]), max_size=12),
)
FIELD_VALUES = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=30),
    JSON_VALUES.map(lambda value: base64.b64encode(json.dumps(value).encode()).decode()),
    st.dictionaries(
        st.sampled_from(["callbackUrl", "callbackBody", "callbackBodyType", "callbackHost", "callbackSNI"]),
        st.one_of(
            st.sampled_from(["http://127.0.0.1:8080/oss/callback", "a=${object}", "application/json"]), JSON_VALUES
        ),
    ).map(lambda members: base64.b64encode(json.dumps(members).encode()).decode()),
)


@given(added=st.dictionaries(FIELD_NAMES, FIELD_VALUES, max_size=4), filename=st.text(max_size=40), first=st.booleans())
@FEW
def test_any_added_form_field_is_no_500_of_the_local_oss(
    added: dict[str, str], filename: str, first: bool, client: LintedClient
) -> None:
    signed = client.sign().json["fields"]
    fields = {**added, **signed} if first else {**signed, **added}
    kind, body = multipart(fields, filename.encode("utf-8", "replace").decode(), b"hello")
    status, text = call(client.local_oss, b"/examplebucket", body, CONTENT_TYPE=kind)
    assert status < 500, text


PIECES = b"""--X
--X--
--X|
|Content-Disposition: form-data; name="key"|name=file|Content-Disposition: form-data; name="file"; filename="|\"|;|:
Content-Type: text/plain|a|Content-Disposition: form-data; name=|filename*=UTF-8''%ff|\xff|

""".replace(b"\n", b"\r\n").split(b"|")


@given(
    body=st.one_of(st.binary(max_size=200), st.lists(st.sampled_from(PIECES), max_size=20).map(b"".join)),
    kind=st.one_of(st.just(""), HEADER_TEXT, st.just("; boundary=X"), HEADER_TEXT.map("; boundary={}".format)),
    md5=st.one_of(st.just(""), HEADER_TEXT),
)
@FEW
def test_any_form_body_is_refused_by_the_local_oss(body: bytes, kind: str, md5: str, client: LintedClient) -> None:
    status, text = call(
        client.local_oss, b"/examplebucket", body, CONTENT_TYPE=f"multipart/form-data{kind}", HTTP_CONTENT_MD5=md5
    )
    assert 400 <= status < 500, text


@given(
    path=st.binary(max_size=60),
    method=st.sampled_from(["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"]),
    host=HEADER_TEXT,
    header=HEADER_TEXT,
)
@FEW
def test_any_path_host_and_header_is_no_500_of_the_local_oss(
    path: bytes, method: str, host: str, header: str, client: LintedClient
) -> None:
    environ = {"HTTP_HOST": host, "HTTP_RANGE": header, "HTTP_X_OSS_OBJECT_ACL": header, "CONTENT_LENGTH": "0"}
    status, text = call(client.local_oss, b"/" + path, REQUEST_METHOD=method, **environ)
    assert status < 500, text
