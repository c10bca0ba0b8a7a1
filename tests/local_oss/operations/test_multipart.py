import base64
import hashlib

import pytest

from local_oss.storage.storage import Incoming

from ..callbacks.test_image_info import png
from ..form_client import callback_field
from ..signed_client import code, code_and_ec
from ..stored import NOW, content, put

PART = b"x" * 100 * 1024


@pytest.fixture
def ask(client):
    def ask(method, query, body=b"", *, key="a", **options):
        return client(method, "examplebucket", query, body, key=key, **options)

    return ask


@pytest.fixture
def upload_id(ask):
    return ask("POST", "uploads").xml.findtext("UploadId")


def part_list(*parts):
    inner = "".join(f"<Part><PartNumber>{number}</PartNumber><ETag>{tag}</ETag></Part>" for number, tag in parts)
    return f"<CompleteMultipartUpload>{inner}</CompleteMultipartUpload>".encode()


def test_parts_become_an_object(ask, upload_id, bucket):
    first = ask("PUT", f"partNumber=1&uploadId={upload_id}", PART).headers["ETag"]
    second = ask("PUT", f"partNumber=2&uploadId={upload_id}", b"end").headers["ETag"]
    assert bucket.get("a") is None
    response = ask("POST", f"uploadId={upload_id}", part_list((1, first), (2, second.strip('"').lower())))
    assert response.xml.findtext("Location") == "http://127.0.0.1:8081/examplebucket/a"
    assert response.xml.findtext("ETag") == response.headers["ETag"]
    assert content(bucket, "a") == PART + b"end"
    assert code(ask("POST", f"uploadId={upload_id}", part_list((1, first)), status=404)) == (404, "NoSuchUpload")


@pytest.mark.parametrize(
    ("begun", "completed", "acl"),
    [
        ("public-read", None, "public-read"),
        ("public-read", "default", None),
        ("public-read", "private", "private"),
        (None, "public-read", "public-read"),
    ],
)
def test_the_acl_of_the_completion_wins(ask, bucket, begun, completed, acl):
    """The samples of oss2 set it there."""
    name = "x-oss-object-acl"
    upload_id = ask("POST", "uploads", headers={name: begun} if begun else {}).xml.findtext("UploadId")
    ask("POST", f"uploadId={upload_id}", part_list(), headers={name: completed} if completed else {})
    assert bucket.get("a").headers.get(name) == acl


def test_an_upload_does_not_overwrite_when_forbidden(ask, bucket, upload_id):
    tag = ask("PUT", f"partNumber=1&uploadId={upload_id}", PART).headers["ETag"]
    forbid = {"x-oss-forbid-overwrite": "true"}
    ask("POST", "uploads", headers=forbid)
    put(bucket, "a")
    for query, body in (("uploads", b""), (f"uploadId={upload_id}", part_list((1, tag)))):
        assert code(ask("POST", query, body, headers=forbid, status=409)) == (409, "FileAlreadyExists")
        wrong = {"x-oss-forbid-overwrite": "yes"}
        assert code(ask("POST", query, body, headers=wrong, status=400)) == (400, "InvalidArgument")
    assert content(bucket, "a") == b"hi oss"
    ask("POST", f"uploadId={upload_id}", part_list((1, tag)))
    assert content(bucket, "a") == PART


def test_a_header_completes_with_all_parts(ask, upload_id, bucket):
    for number in (2, 5):
        ask("PUT", f"partNumber={number}&uploadId={upload_id}", PART)
    everything = {"x-oss-complete-all": "yes"}
    response = ask("POST", f"uploadId={upload_id}", b"<a/>", headers=everything, status=400)
    assert (code(response)[1], response.headers["x-oss-ec"]) == ("InvalidArgument", "0042-00000216")
    ask("POST", f"uploadId={upload_id}", headers=everything)
    assert content(bucket, "a") == PART + PART


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ([(1, "small"), (2, "big")], ("EntityTooSmall", "0042-00000213")),
        ([(2, "big"), (1, "small")], ("InvalidPartOrder", "0042-00000209")),
        ([(2, "big"), (2, "big")], ("InvalidPartOrder", "0042-00000209")),
        ([(2, "small")], ("InvalidPart", None)),
        ([(3, "big")], ("InvalidPart", None)),
        ([("x", "big")], ("MalformedXML", "0042-00000205")),
    ],
)
def test_an_invalid_list_of_parts_completes_nothing(ask, upload_id, bucket, parts, expected):
    tags = {
        name: ask("PUT", f"partNumber={number}&uploadId={upload_id}", body).headers["ETag"]
        for number, name, body in ((1, "small", b"x"), (2, "big", PART))
    }
    body = part_list(*((number, tags[name]) for number, name in parts))
    response = ask("POST", f"uploadId={upload_id}", body, status=400)
    assert code_and_ec(response) == (400, *expected)
    assert bucket.get("a") is None


@pytest.mark.parametrize(
    ("number", "argument"),
    [("0", ("PartNumber", "0")), ("x", ("PartNumber", "x")), ("", ("ResourceType", "partNumber"))],
)
def test_a_wrong_part_number_is_named_as_on_osss_pages(ask, upload_id, number, argument):
    response = ask("PUT", f"partNumber={number}&uploadId={upload_id}", b"x", status=400)
    assert tuple(response.xml.findtext(f"Argument{part}") for part in ("Name", "Value")) == argument


def test_a_part_without_an_upload_is_rejected(ask, bucket):
    assert code(ask("PUT", "partNumber=1", b"x", status=400)) == (400, "InvalidArgument")
    assert code(ask("PUT", "partNumber=1&uploadId=none", b"x", status=404)) == (404, "NoSuchUpload")
    assert bucket.page() == ([], False)


def test_an_upload_belongs_to_its_key(ask, upload_id):
    response = ask("PUT", f"partNumber=1&uploadId={upload_id}", b"x", key="b", status=404)
    assert code(response) == (404, "NoSuchUpload")


@pytest.mark.parametrize(
    ("header", "start", "stop"),
    [
        (None, 0, 6),
        ("bytes=3-5", 3, 6),
        ("bytes=3-", 3, 6),
    ],
)
def test_a_part_is_copied_from_a_range_of_an_object(ask, upload_id, bucket, header, start, stop):
    """A range without an end is what oss2 (upload_part_copy, byte_range=(3, None)) and the PHP SDK 2 send."""
    put(bucket, "source")
    headers = {"x-oss-copy-source": "/examplebucket/source"} | ({"x-oss-copy-source-range": header} if header else {})
    response = ask("PUT", f"partNumber=1&uploadId={upload_id}", headers=headers)
    expected = f"bytes {start}-{stop - 1}/6" if header else None
    assert response.headers.get("Content-Range") == expected
    ask("POST", f"uploadId={upload_id}", part_list((1, response.xml.findtext("ETag"))))
    assert content(bucket, "a") == b"hi oss"[start:stop]


@pytest.mark.parametrize("header", ["bytes=3-6", "bytes=6-", "bytes=5-3", "bytes=-7", "bytes=-", "0-2", "bytes=a-b"])
def test_of_a_range_that_is_not_inside_the_object_all_is_copied(ask, upload_id, bucket, header):
    """UploadPartCopy's page; the Java SDK's testUnormalUploadPartCopyByRange."""
    put(bucket, "source")
    headers = {"x-oss-copy-source": "/examplebucket/source", "x-oss-copy-source-range": header}
    response = ask("PUT", f"partNumber=1&uploadId={upload_id}", headers=headers)
    assert "Content-Range" not in response.headers
    ask("POST", f"uploadId={upload_id}", part_list((1, response.xml.findtext("ETag"))))
    assert content(bucket, "a") == b"hi oss"


def test_a_sequential_upload_takes_parts_in_order_and_has_an_md5(ask):
    upload_id = ask("POST", "uploads&sequential").xml.findtext("UploadId")
    tags = [ask("PUT", f"partNumber=1&uploadId={upload_id}", PART).headers["ETag"]]
    refusals = [
        code(ask("PUT", f"partNumber={number}&uploadId={upload_id}", b"x", status=status))
        for number, status in ((3, 400), (1, 409))
    ]
    assert refusals == [(400, "PartNotSequential"), (409, "PartAlreadyExist")]
    tags.append(ask("PUT", f"partNumber=2&uploadId={upload_id}", b"end").headers["ETag"])
    ask("POST", f"uploadId={upload_id}", part_list(*enumerate(tags, 1)))
    expected = base64.b64encode(hashlib.md5(PART + b"end", usedforsecurity=False).digest()).decode()
    for method in ("HEAD", "GET"):
        assert ask(method, "").headers["Content-MD5"] == expected


def test_a_part_is_copied_into_a_sequential_upload_in_order(ask, bucket):
    put(bucket, "source")
    upload_id = ask("POST", "uploads&sequential").xml.findtext("UploadId")
    copy = {"x-oss-copy-source": "/examplebucket/source"}
    response = ask("PUT", f"partNumber=2&uploadId={upload_id}", headers=copy, status=400)
    assert code(response) == (400, "PartNotSequential")
    ask("PUT", f"partNumber=1&uploadId={upload_id}", headers=copy)


def test_an_ordinary_upload_has_no_md5(ask, upload_id):
    tag = ask("PUT", f"partNumber=1&uploadId={upload_id}", PART).headers["ETag"]
    ask("POST", f"uploadId={upload_id}", part_list((1, tag)))
    assert "Content-MD5" not in ask("HEAD", "").headers


def test_an_aborted_upload_has_ended(ask, upload_id):
    assert ask("DELETE", f"uploadId={upload_id}").status_int == 204
    assert code(ask("DELETE", f"uploadId={upload_id}", status=404)) == (404, "NoSuchUpload")


@pytest.mark.slow
@pytest.mark.parametrize("change", ["deleted", "replaced"])
def test_a_callback_has_the_image_of_its_own_upload(ask, upload_id, bucket, recorder, monkeypatch, change):
    tag = ask("PUT", f"partNumber=1&uploadId={upload_id}", png(3, 2)).headers["ETag"]
    commit = Incoming.commit

    def commit_and_change(self, *arguments, **options):
        stored = commit(self, *arguments, **options)
        monkeypatch.undo()
        bucket.delete("a")
        if change == "replaced":
            put(bucket, "a", png(7, 5))
        return stored

    monkeypatch.setattr(Incoming, "commit", commit_and_change)
    headers = {"x-oss-callback": callback_field(callbackBody="size=${size}&width=${imageInfo.width}")}
    ask("POST", f"uploadId={upload_id}", part_list((1, tag)), headers=headers)
    assert recorder.body_received.decode() == f"size={len(png(3, 2))}&width=3"


@pytest.fixture
def uploads(bucket):
    return [bucket.begin(key, "text/plain", {}, now=NOW) for key in ("a/1", "a/2", "b +", "b +")]


def texts(response, path):
    return [element.text for element in response.xml.iterfind(path)]


def test_uploads_are_listed_in_pages(ask, uploads):
    listed, marker = [], ""
    for _ in range(2):
        response = ask("GET", f"uploads&max-uploads=2&encoding-type=url{marker}", key="")
        listed += zip(texts(response, "Upload/Key"), texts(response, "Upload/UploadId"), strict=True)
        markers = [response.xml.findtext(f"Next{name}") for name in ("KeyMarker", "UploadIdMarker")]
        marker = "&key-marker={}&upload-id-marker={}".format(*markers)
    assert response.xml.findtext("IsTruncated") == "false"
    assert listed == sorted((upload.key.replace("/", "%2F").replace(" +", "%20%2B"), upload.id) for upload in uploads)
    assert response.xml.findtext("Upload/Initiated") == "2024-12-03T12:12:12.000Z"


def test_a_list_of_uploads_continues_after_a_common_prefix(ask, uploads):
    response = ask("GET", "uploads&delimiter=%2F", key="")
    assert texts(response, "CommonPrefixes/Prefix") == ["a/"]
    assert texts(response, "Upload/Key") == ["b +", "b +"]
    response = ask("GET", "uploads&delimiter=%2F&max-uploads=1", key="")
    assert response.xml.findtext("NextKeyMarker") == "a/"
    response = ask("GET", "uploads&delimiter=%2F&key-marker=a%2F", key="")
    assert texts(response, "CommonPrefixes/Prefix") == []
    assert texts(response, "Upload/Key") == ["b +", "b +"]
    assert texts(ask("GET", "uploads&prefix=a%2F&delimiter=%2F", key=""), "Upload/Key") == ["a/1", "a/2"]


def test_parts_are_listed_in_pages(bucket, ask, uploads):
    for number in (1, 2, 7):
        with bucket.incoming() as incoming:
            incoming.write(b"hi oss")
            incoming.commit_part(uploads[0], number, now=NOW)
    response = ask("GET", f"uploadId={uploads[0].id}&max-parts=2", key=uploads[0].key)
    assert texts(response, "Part/PartNumber") == ["1", "2"]
    assert response.xml.findtext("NextPartNumberMarker") == "2"
    response = ask("GET", f"uploadId={uploads[0].id}&part-number-marker=2", key=uploads[0].key)
    assert texts(response, "Part/PartNumber") == ["7"]
    assert (texts(response, "Part/Size"), response.xml.findtext("IsTruncated")) == (["6"], "false")


def test_the_answer_to_a_part_has_its_content_md5(ask, upload_id):
    """UploadPart's page: the response has Content-MD5 beside the ETag."""
    response = ask("PUT", f"partNumber=1&uploadId={upload_id}", PART)
    assert response.headers["Content-MD5"] == base64.b64encode(hashlib.md5(PART).digest()).decode()


@pytest.mark.parametrize("has_parts", [True, False])
@pytest.mark.parametrize("complete_all", [True, False])
def test_completing_without_parts_makes_an_empty_object(ask, upload_id, bucket, has_parts, complete_all):
    """The suites of the SDKs complete an upload of which they sent nothing (issue 29, 1.14)."""
    if has_parts and not complete_all:
        ask("PUT", f"partNumber=1&uploadId={upload_id}", PART)
    headers = {"x-oss-complete-all": "yes"} if complete_all else {}
    ask("POST", f"uploadId={upload_id}", b"" if complete_all else part_list(), headers=headers)
    assert content(bucket, "a") == b""
    assert bucket.get("a").crc64 == 0
    assert bucket.uploads() == []
