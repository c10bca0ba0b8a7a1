"""The form as it is written: lengths that are true, names that cannot break out, and a file that changes."""

from __future__ import annotations

import io

import pytest
from webob.multidict import MultiDict

from oss_wsgi.cli.form_body import FileChangedError, FormBody


def parts(body: FormBody) -> MultiDict:
    import webob

    request = webob.Request.blank("/", method="POST", body=b"".join(body), headers=body.headers)
    return request.POST


def test_fields_and_file_arrive_and_the_length_is_true() -> None:
    body = FormBody({"key": "中", "x": 'a"\r\n--b'}, "cat.png", io.BytesIO(b"x" * 200_000), 200_000, "image/png")
    assert body.length == len(b"".join(FormBody({"key": "中", "x": 'a"\r\n--b'}, "cat.png", io.BytesIO(b"x" * 200_000),
                                                200_000, "image/png")))  # fmt: skip
    found = parts(body)
    assert found["key"] == "中"
    assert found["file"].filename == "cat.png"
    assert found["file"].file.read() == b"x" * 200_000


def test_names_are_quoted_as_browsers_do() -> None:
    head = next(iter(FormBody({'a"b\r\nc': "v"}, 'x"; filename="y\r\n', io.BytesIO(b""), 0)))
    assert b'name="a%22b%0D%0Ac"' in head
    assert b'filename="x%22; filename=%22y%0D%0A"' in head


def test_progress_comes_to_the_size_and_a_file_that_grows_ends_there() -> None:
    done: list[int] = []
    body = FormBody({}, "a", io.BytesIO(b"x" * 100_000), 70_000, progress=done.append)
    assert len(b"".join(body)) == body.length
    assert done == [65536, 70_000]


def test_a_file_that_becomes_shorter_is_said() -> None:
    with pytest.raises(FileChangedError, match="shorter by 1 bytes"):
        b"".join(FormBody({}, "a", io.BytesIO(b"x"), 2))
