import base64
import hashlib

import pytest

from oss_wsgi.local.body_headers import content_length, content_md5
from oss_wsgi.local.errors import OSSError


@pytest.mark.parametrize(("text", "length"), [("0", 0), ("5368709120", 5 * 1024**3), ("9" * 18, 10**18 - 1)])
def test_a_length_is_parsed(text, length):
    assert content_length(text) == length


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", (411, "MissingContentLength")),
        ("x", (400, "InvalidArgument")),
        ("-1", (400, "InvalidArgument")),
        ("1.5", (400, "InvalidArgument")),
        ("\u0663", (400, "InvalidArgument")),
        ("1" * 19, (400, "InvalidArgument")),
    ],
    ids=ascii,
)
def test_an_invalid_length_is_refused(text, expected):
    with pytest.raises(OSSError) as caught:
        content_length(text)
    assert (caught.value.status, caught.value.code) == expected


def test_a_digest_is_decoded():
    digest = hashlib.md5(b"hi oss").digest()
    assert content_md5(base64.b64encode(digest).decode()) == digest
    assert content_md5("") == b""


@pytest.mark.parametrize("text", ["x", "AAAA", "A" * 24, "\xff"], ids=ascii)
def test_an_invalid_digest_is_refused(text):
    with pytest.raises(OSSError) as caught:
        content_md5(text)
    assert (caught.value.status, caught.value.code) == (400, "InvalidDigest")
