import base64
import hashlib
import io

import pytest

from local_oss.bodies import content_length, content_md5, read_small_body
from local_oss.errors import OSSError

HELLO = {"CONTENT_LENGTH": "5", "HTTP_CONTENT_MD5": "XUFAKrxLKna5cZ2REBfFkg=="}


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


def read(body=b"hello", **environ):
    return read_small_body({"wsgi.input": io.BytesIO(body), **environ}, 5)


def test_only_the_announced_bytes_are_read():
    assert read(b"hello, and another request", CONTENT_LENGTH="5") == b"hello"
    assert read(**HELLO) == b"hello"


@pytest.mark.parametrize("environ", [{}, {"CONTENT_LENGTH": ""}, {"CONTENT_LENGTH": "0"}], ids=str)
def test_without_a_length_there_is_no_body(environ):
    assert read(**environ) == b""


@pytest.mark.parametrize(
    ("environ", "status", "code"),
    [
        ({"CONTENT_LENGTH": "-1"}, 400, "InvalidArgument"),
        ({"CONTENT_LENGTH": "5x"}, 400, "InvalidArgument"),
        ({"CONTENT_LENGTH": "\u0665"}, 400, "InvalidArgument"),
        ({"CONTENT_LENGTH": "6"}, 400, "EntityTooLarge"),
        ({**HELLO, "body": b"hell"}, 400, "IncompleteBody"),
        ({**HELLO, "body": b"hellO"}, 400, "InvalidDigest"),
        ({**HELLO, "HTTP_CONTENT_MD5": "hello"}, 400, "InvalidDigest"),
    ],
    ids=str,
)
def test_an_invalid_body_is_rejected(environ, status, code):
    with pytest.raises(OSSError) as raised:
        read(**environ)
    assert (raised.value.status, raised.value.code) == (status, code)
