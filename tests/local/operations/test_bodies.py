import io

import pytest

from oss_wsgi.local.errors import OSSError
from oss_wsgi.local.operations.bodies import read_small_body

HELLO = {"CONTENT_LENGTH": "5", "HTTP_CONTENT_MD5": "XUFAKrxLKna5cZ2REBfFkg=="}


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
