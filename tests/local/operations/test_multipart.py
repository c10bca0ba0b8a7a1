import pytest

from oss_wsgi.testing.storage_contract import content, put

from ..signed_client import SignedClient, code

PART = b"x" * 100 * 1024


@pytest.fixture
def bucket(oss):
    return oss.storage.bucket("examplebucket")


@pytest.fixture
def ask(oss):
    def ask(method, query, body=b"", *, key="a", **options):
        return SignedClient(oss)(method, "examplebucket", query, body, key=key, **options)

    return ask


@pytest.fixture
def upload_id(ask):
    return ask("POST", "uploads").xml.findtext("UploadId")


def listed(*parts):
    inner = "".join(f"<Part><PartNumber>{number}</PartNumber><ETag>{tag}</ETag></Part>" for number, tag in parts)
    return f"<CompleteMultipartUpload>{inner}</CompleteMultipartUpload>".encode()


def test_parts_become_an_object(ask, upload_id, bucket):
    first = ask("PUT", f"partNumber=1&uploadId={upload_id}", PART).headers["ETag"]
    second = ask("PUT", f"partNumber=2&uploadId={upload_id}", b"end").headers["ETag"]
    assert bucket.get("a") is None
    response = ask("POST", f"uploadId={upload_id}", listed((1, first), (2, second.strip('"').lower())))
    assert response.xml.findtext("Location") == "http://127.0.0.1:8081/examplebucket/a"
    assert response.xml.findtext("ETag") == response.headers["ETag"]
    assert content(bucket, "a") == PART + b"end"
    assert code(ask("POST", f"uploadId={upload_id}", listed((1, first)), status=404)) == (404, "NoSuchUpload")


def test_what_may_not_be_overwritten_stays(ask, bucket, upload_id):
    tag = ask("PUT", f"partNumber=1&uploadId={upload_id}", PART).headers["ETag"]
    kept = {"x-oss-forbid-overwrite": "true"}
    ask("POST", "uploads", headers=kept)
    put(bucket, "a")
    for query, body in (("uploads", b""), (f"uploadId={upload_id}", listed((1, tag)))):
        assert code(ask("POST", query, body, headers=kept, status=409)) == (409, "FileAlreadyExists")
        wrong = {"x-oss-forbid-overwrite": "yes"}
        assert code(ask("POST", query, body, headers=wrong, status=400)) == (400, "InvalidArgument")
    assert content(bucket, "a") == b"hi oss"
    ask("POST", f"uploadId={upload_id}", listed((1, tag)))
    assert content(bucket, "a") == PART


def test_all_parts_there_are_may_be_taken(ask, upload_id, bucket):
    for number in (2, 5):
        ask("PUT", f"partNumber={number}&uploadId={upload_id}", PART)
    everything = {"x-oss-complete-all": "yes"}
    assert code(ask("POST", f"uploadId={upload_id}", b"<a/>", headers=everything, status=400))[1] == "InvalidArgument"
    ask("POST", f"uploadId={upload_id}", headers=everything)
    assert content(bucket, "a") == PART + PART


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ([(1, "small"), (2, "big")], "EntityTooSmall"),
        ([(2, "big"), (1, "small")], "InvalidPartOrder"),
        ([(2, "big"), (2, "big")], "InvalidPartOrder"),
        ([(2, "small")], "InvalidPart"),
        ([(3, "big")], "InvalidPart"),
        ([("x", "big")], "MalformedXML"),
        ([], "MalformedXML"),
    ],
)
def test_a_wrong_list_completes_nothing(ask, upload_id, bucket, parts, expected):
    tags = {
        name: ask("PUT", f"partNumber={number}&uploadId={upload_id}", body).headers["ETag"]
        for number, name, body in ((1, "small", b"x"), (2, "big", PART))
    }
    body = listed(*((number, tags[name]) for number, name in parts))
    assert code(ask("POST", f"uploadId={upload_id}", body, status=400)) == (400, expected)
    assert bucket.get("a") is None


@pytest.mark.parametrize("number", ["0", "10001", "x", ""])
def test_a_part_has_a_number_from_1_to_10000(ask, upload_id, number):
    response = ask("PUT", f"partNumber={number}&uploadId={upload_id}", b"x", status=400)
    assert code(response) == (400, "InvalidArgument")


def test_a_part_without_an_upload_is_no_object(ask, bucket):
    assert code(ask("PUT", "partNumber=1", b"x", status=400)) == (400, "InvalidArgument")
    assert code(ask("PUT", "partNumber=1&uploadId=none", b"x", status=404)) == (404, "NoSuchUpload")
    assert bucket.page() == ([], False)


def test_an_upload_belongs_to_its_key(ask, upload_id):
    response = ask("PUT", f"partNumber=1&uploadId={upload_id}", b"x", key="b", status=404)
    assert code(response) == (404, "NoSuchUpload")


@pytest.mark.parametrize(
    ("asked", "start", "stop"), [(None, 0, 6), ("bytes=3-5", 3, 6), ("bytes=0-0", 0, 1), ("bytes=3-6", 0, 0)]
)
def test_a_part_is_copied_from_an_object(ask, upload_id, bucket, asked, start, stop):
    put(bucket, "source")
    headers = {"x-oss-copy-source": "/examplebucket/source"} | ({"x-oss-copy-source-range": asked} if asked else {})
    response = ask("PUT", f"partNumber=1&uploadId={upload_id}", headers=headers, status=200 if stop else 416)
    if not stop:
        assert code(response) == (416, "InvalidRange")
        return
    ask("POST", f"uploadId={upload_id}", listed((1, response.xml.findtext("ETag"))))
    assert content(bucket, "a") == b"hi oss"[start:stop]


def test_an_aborted_upload_is_over(ask, upload_id):
    assert ask("DELETE", f"uploadId={upload_id}").status_int == 204
    assert code(ask("DELETE", f"uploadId={upload_id}", status=404)) == (404, "NoSuchUpload")
