import io

import pytest

from oss_wsgi.local.forms.form import FormInput
from oss_wsgi.local.serving.body import RequestBody

from ..form_client import form

FORM = form({"key": "a"}, b"hi oss")
START = FORM.index(b"hi oss")


@pytest.fixture
def spooled(tmp_path):
    """The folder of the files that bodies open."""
    return tmp_path


@pytest.fixture
def make_body(spooled):
    bodies = []

    def make(limit=4, *, is_form=False, spool=lambda: (spooled / "spool").open("x+b")):
        bodies.append(RequestBody(limit, spool, is_form=is_form))
        return bodies[-1]

    yield make
    for body in bodies:
        body.close()


def test_a_small_body_needs_no_file(make_body, spooled):
    body = make_body()
    body.append(b"abc")
    assert (len(body), body.getfile().read()) == (3, b"abc")
    assert list(spooled.iterdir()) == []


def test_a_large_body_is_in_a_file_until_it_is_closed(make_body, spooled):
    body = make_body()
    for piece in (b"abc", b"def", b"ghi"):
        body.append(piece)
    assert (len(body), body.getfile().read()) == (9, b"abcdefghi")
    assert (spooled / "spool").read_bytes() == b"abcdefghi"
    body.close()
    assert list(spooled.iterdir()) == []


def test_a_file_that_became_an_object_stays(make_body, spooled):
    body = make_body()
    body.append(b"abcdef")
    (spooled / "spool").rename(spooled / "object")
    body.close()
    assert [path.name for path in spooled.iterdir()] == ["object"]


def test_the_file_of_a_form_begins_with_the_uploaded_content(make_body, spooled):
    body = make_body(START + 2, is_form=True)
    body.append(FORM[: START + 3])
    body.append(FORM[START + 3 :])
    source = body.getfile()
    assert isinstance(source, FormInput)
    assert (spooled / "spool").read_bytes() == FORM[START:]
    assert len(body) == len(FORM)
    assert b"".join(iter(lambda: source.read(50), b"")) == FORM


@pytest.mark.parametrize("limit", [10, START - 1])
def test_a_form_whose_content_starts_after_the_limit_is_one_file(make_body, limit):
    body = make_body(limit, is_form=True)
    for byte in io.BytesIO(FORM).getvalue():
        body.append(bytes([byte]))
    assert not isinstance(source := body.getfile(), FormInput)
    assert source.read() == FORM
