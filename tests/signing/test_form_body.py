"""The form body: its length is true, names cannot break out of their header, and a file may change."""

from __future__ import annotations

import io

import pytest
from webob.multidict import MultiDict

from oss_wsgi.signing.form_body import FileBody, FileChangedError, FormBody


def parts(body: FormBody) -> MultiDict:
    import webob

    request = webob.Request.blank("/", method="POST", body=b"".join(body), headers=body.headers)
    return request.POST


def test_fields_and_file_arrive_with_the_announced_length() -> None:
    body = FormBody({"key": "中", "x": 'a"\r\n--b'}, "cat.png", io.BytesIO(b"x" * 200_000), 200_000, "image/png")
    assert body.length == len(b"".join(FormBody({"key": "中", "x": 'a"\r\n--b'}, "cat.png", io.BytesIO(b"x" * 200_000),
                                                200_000, "image/png")))  # fmt: skip
    post = parts(body)
    assert post["key"] == "中"
    assert post["file"].filename == "cat.png"
    assert post["file"].file.read() == b"x" * 200_000


def test_a_file_alone_is_its_bytes_and_their_length() -> None:
    body = FileBody(io.BytesIO(b"abc"), 3)
    assert (b"".join(body), body.headers) == (b"abc", {"Content-Length": "3"})


def test_a_form_ends_with_its_boundary_and_an_empty_file_is_told_too() -> None:
    done: list[int] = []
    body = FormBody({}, "a", io.BytesIO(b""), 0, progress=done.append)
    boundary = body.headers["Content-Type"].partition("boundary=")[2]
    assert b"".join(body).endswith(f"\r\n--{boundary}--\r\n".encode())
    assert done == [0]
    assert body.headers != FormBody({}, "a", io.BytesIO(b""), 0).headers  # nobody can guess it and end a part


def test_names_are_quoted_as_browsers_do() -> None:
    head = next(iter(FormBody({'a"b\r\nc': "v"}, 'x"; filename="y\r\n', io.BytesIO(b""), 0)))
    assert b'name="a%22b%0D%0Ac"' in head
    assert b'filename="x%22; filename=%22y%0D%0A"' in head


def test_a_file_that_grows_is_cut_at_its_size() -> None:
    done: list[int] = []
    body = FormBody({}, "a", io.BytesIO(b"x" * 100_000), 70_000, progress=done.append)
    assert len(b"".join(body)) == body.length
    assert done == [65536, 70_000]


def test_a_file_that_shrinks_is_an_error() -> None:
    with pytest.raises(FileChangedError, match="shorter by 1 bytes"):
        b"".join(FormBody({}, "a", io.BytesIO(b"x"), 2))
