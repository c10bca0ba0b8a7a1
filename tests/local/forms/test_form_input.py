import io

import pytest

from oss_wsgi.local.forms.form import FormInput, content_start

from ..form_client import body, part

FIELDS = body(part("key", "a"))[: -len("--\r\n")] + b"\r\n"


@pytest.mark.parametrize(
    "headers",
    [
        b'Content-Disposition: form-data; name="file"; filename="a.txt"\r\nContent-Type: text/plain',
        b'Content-Disposition: form-data; name="file"',
        b"content-disposition: form-data; name=file; filename=a",
        b'Content-Disposition: form-data; filename="a"; name="file"',
        b'Content-Type: text/plain\r\nContent-Disposition: form-data; name="FILE"',
    ],
)
def test_the_content_seems_to_start_behind_the_headers_of_the_file(headers):
    beginning = FIELDS + headers + b"\r\n\r\n"
    assert content_start(beginning + b"hi\r\n\r\noss") == len(beginning)


@pytest.mark.parametrize("beginning", [b"", FIELDS, FIELDS + part("file", "x")[:30], body(part("files", "x"))])
def test_where_no_file_begins_no_start_is_seen(beginning):
    assert content_start(beginning) == 0


def test_both_parts_are_read_as_one():
    source = FormInput(b"abc", io.BytesIO(b"defg"))
    pieces = list(iter(lambda: source.read(3), b""))
    assert b"".join(pieces) == b"abcdefg"


def test_the_last_byte_of_the_head_comes_alone_and_then_the_content_is_next():
    source = FormInput(b"abc", io.BytesIO(b"defg"))
    seen = [(source.read(9), source.at_content) for _ in range(4)]
    assert seen == [(b"ab", False), (b"c", True), (b"defg", False), (b"", False)]
