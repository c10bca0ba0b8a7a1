import base64
import hashlib
import io

import pytest

from local_oss.bodies import CHUNK_SIZE
from local_oss.errors import OSSError
from local_oss.forms.form import Form, FormInput, content_start, field_name

from ..form_client import BOUNDARY, body, part


def environ(payload, **changes):
    return {
        "CONTENT_TYPE": f"multipart/form-data; boundary={BOUNDARY}",
        "CONTENT_LENGTH": str(len(payload)),
        "wsgi.input": io.BytesIO(payload),
        **changes,
    }


def read(payload, **changes):
    form = Form(environ(payload, **changes))
    return form, b"".join(form.chunks())


def refusal(payload, **changes):
    with pytest.raises(OSSError) as caught:
        read(payload, **changes)
    return caught.value.status, caught.value.code


FILE = part("file", "hi oss", filename="a.txt", content_type="text/plain; charset=utf-8")


def test_fields_have_lower_case_names():
    form, content = read(body(part("Key", "a/中.txt"), part("x-oss-meta-A", ""), FILE))
    assert form.fields == {"key": "a/中.txt", "x-oss-meta-a": ""}
    assert (form.file_name, form.file_type) == ("a.txt", "text/plain; charset=utf-8")
    assert content == b"hi oss"


def test_a_plain_part_named_file_is_a_file():
    form, content = read(body(part("key", "a"), part("file", b"\r\n--\r\n")))
    assert (form.file_name, form.file_type, content) == ("", "", b"\r\n--\r\n")


@pytest.mark.parametrize("filename", [r"C:\x\y.png", "照片.png", "a%22b%0D%0A"], ids=ascii)
def test_the_file_name_is_not_changed(filename):
    form, _ = read(body(part("file", "", filename=filename)))
    assert form.file_name == filename


@pytest.mark.parametrize(
    ("header", "filename"), [(r'"a\"b.png"', 'a"b.png'), (r'"\"a\\b\""', r'"a\b"'), ("a.png", "a.png"), ('""', "")]
)
def test_a_quoted_file_name_is_unquoted(header, filename):
    head = f'Content-Disposition: form-data; name="file"; filename={header}'
    form, _ = read(body(f"{head}\r\n\r\n".encode()))
    assert form.file_name == filename


def test_fields_after_the_file_are_ignored():
    form, _ = read(body(part("key", "a"), FILE, part("policy", "p"), part("key", "b")))
    assert form.fields == {"key": "a"}


def test_what_follows_the_last_boundary_is_ignored():
    _, content = read(body(part("key", "a"), FILE) + b"anything\r\n--x")
    assert content == b"hi oss"


def test_a_large_file_comes_in_chunks():
    content = bytes(range(256)) * 4096 + b"\r\n--" + BOUNDARY.encode()[:-1]
    form = Form(environ(body(FILE.replace(b"hi oss", content))))
    pieces = list(form.chunks())
    assert b"".join(pieces) == content
    assert max(map(len, pieces)) <= CHUNK_SIZE + len(BOUNDARY) + 8


@pytest.mark.parametrize("padding", [0, CHUNK_SIZE - 120, CHUNK_SIZE - 60, 2 * CHUNK_SIZE])
@pytest.mark.parametrize("value", ["a", "a\r\n\r\nb"])
def test_the_size_of_the_file_is_known_before_it_is_read(padding, value):
    content = b"\r\n\r\n" * 100_000
    form = Form(environ(body(part("x", value * 9 + "-" * padding), part("file", content, filename="a"))))
    assert form.announced_size == len(content)
    assert b"".join(form.chunks()) == content


def test_a_field_of_blank_lines_hides_the_size_of_the_file():
    """To stop at each of them would take seconds."""
    form = Form(environ(body(part("x", "\r\n" * 5000), part("file", b"hi", filename="a"))))
    assert (form.announced_size, b"".join(form.chunks())) == (0, b"hi")


def test_the_file_is_read_only_on_demand():
    stream = io.BytesIO(body(FILE.replace(b"hi oss", bytes(10 * CHUNK_SIZE))))
    Form(environ(stream.getvalue(), **{"wsgi.input": stream}))
    assert stream.tell() == CHUNK_SIZE


def test_exact_names_refuses_another_spelling():
    payload = body(part("Content-Type", "a/b"), part("Name", "x"), FILE)
    assert Form(environ(payload), exact_names=True).fields == {"content-type": "a/b", "name": "x"}
    with pytest.raises(OSSError, match="unrecognized field name"):
        Form(environ(body(part("content-type", "a/b"), FILE)), exact_names=True)


def test_a_wrong_content_type_is_reported_first():
    changes = {"CONTENT_TYPE": "text/plain", "CONTENT_LENGTH": "", "HTTP_CONTENT_MD5": "x"}
    assert refusal(b"", **changes) == (400, "RequestIsNotMultiPartContent")


def test_the_largest_field_is_accepted():
    form, _ = read(body(part("a" * 8192, b"x" * 2 * 1024**2), FILE))
    assert len(form.fields["a" * 8192]) == 2 * 1024**2


@pytest.mark.parametrize(
    "content_type",
    [
        "multipart/mixed; boundary=x",
        "multipart/form-data",
        "multipart/form-data; boundary=",
        "multipart/form-data; boundary=\xe9",
        "",
    ],
)
def test_another_content_type_is_refused(content_type):
    assert refusal(b"", CONTENT_LENGTH="9", CONTENT_TYPE=content_type) == (400, "RequestIsNotMultiPartContent")


@pytest.mark.parametrize(
    ("length", "expected"),
    [
        pytest.param(str(6 * 1024**3), (400, "InvalidArgument"), id="more than 5 GB"),
        pytest.param("10", (400, "MalformedPOSTRequest"), id="too short"),
        pytest.param(str(len(body(FILE)) + 1), (400, "MalformedPOSTRequest"), id="too long"),
    ],
)
def test_a_wrong_content_length_is_refused(length, expected):
    assert refusal(body(FILE), CONTENT_LENGTH=length) == expected


def test_content_md5_covers_the_whole_body():
    payload = body(part("key", "a"), FILE)
    whole, of_the_file = (base64.b64encode(hashlib.md5(text).digest()).decode() for text in (payload, b"hi oss"))
    assert read(payload, HTTP_CONTENT_MD5=whole)[1] == b"hi oss"
    assert refusal(payload, HTTP_CONTENT_MD5=of_the_file) == (400, "InvalidDigest")


@pytest.mark.parametrize(
    "payload",
    [
        pytest.param(body(part("key", "a"), FILE), id="usual"),
        pytest.param(body(part("key", 'x; name="file"\r\n\r\ny'), FILE), id="a value like headers"),
        pytest.param(body(part("key", "a"), part("file", b"\r\n\r\n-\r\n--")), id="content like the end of headers"),
        pytest.param(body(part("key", "a"), part("file", "")), id="empty content"),
    ],
)
def test_only_a_source_that_begins_with_the_content_is_offered(payload):
    expected = read(payload)[1]
    start = payload.rindex(b'name="file"')
    start = payload.index(b"\r\n\r\n", start) + 4
    offered = []
    for split in range(1, len(payload)):
        source = io.BytesIO(payload[split:])
        form = Form(environ(payload, **{"wsgi.input": FormInput(payload[:split], source)}))
        if form.source:
            assert form.source is source
            offered.append(split)
        assert b"".join(form.chunks()) == expected
    assert offered == [start]


def test_a_plain_input_offers_no_source():
    assert read(body(part("key", "a"), FILE))[0].source is None


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
def test_the_content_starts_after_the_headers_of_the_file(headers):
    beginning = FIELDS + headers + b"\r\n\r\n"
    assert content_start(beginning + b"hi\r\n\r\noss") == len(beginning)


@pytest.mark.parametrize("beginning", [FIELDS + part("file", "x")[:30], body(part("files", "x"))])
def test_without_a_file_part_the_content_start_is_0(beginning):
    assert content_start(beginning) == 0


def test_head_and_content_are_read_as_one():
    source = FormInput(b"abc", io.BytesIO(b"defg"))
    pieces = list(iter(lambda: source.read(3), b""))
    assert b"".join(pieces) == b"abcdefg"


def test_the_last_byte_of_the_head_is_read_separately():
    source = FormInput(b"abc", io.BytesIO(b"defg"))
    seen = [(source.read(9), source.at_content) for _ in range(4)]
    assert seen == [(b"ab", False), (b"c", True), (b"defg", False), (b"", False)]


@pytest.mark.parametrize(
    ("name", "known_as"),
    [
        ("Signature", "signature"),
        ("OSSAccessKeyId", "ossaccesskeyid"),
        ("Content-Type", "content-type"),
        ("x-oss-meta-Foo", "x-oss-meta-foo"),
        ("x:uid", "x:uid"),
        ("relativePath", "relativepath"),
    ],
)
def test_exact_accepts_documented_and_unknown_names(name, known_as):
    assert field_name(name, exact=True) == known_as


@pytest.mark.parametrize("name", ["signature", "Key", "X-OSS-Meta-a", "X:uid"])
def test_exact_refuses_another_spelling(name):
    with pytest.raises(OSSError) as caught:
        field_name(name, exact=True)
    assert (caught.value.status, caught.value.code) == (400, "InvalidArgument")
    assert caught.value.message == "The bucket POST contains unrecognized field name."
    assert caught.value.members == {"ArgumentName": name, "ArgumentValue": name}
