import pytest

from oss_wsgi.testing.storage_contract import content, put

from ..signed_client import SignedClient, code


@pytest.fixture
def bucket(oss):
    bucket = oss.storage.bucket("examplebucket")
    put(bucket, "源 +")
    return bucket


@pytest.fixture
def copy(oss, bucket):
    def copy(source="/examplebucket/%E6%BA%90%20%2B", status=None, **headers):
        headers = {f"x-oss-{name.replace('_', '-')}": value for name, value in headers.items()}
        headers["x-oss-copy-source"] = source
        return SignedClient(oss)("PUT", "examplebucket", key="b", headers=headers, status=status)

    return copy


def test_a_copy_keeps_content_type_and_metadata(copy, bucket):
    response = copy(meta_ignored="x")
    assert response.xml.findtext("ETag") == response.headers["ETag"] == '"B22E0DC370A7F7067FACF5F75D7FA385"'
    stored = bucket.get("b")
    assert (stored.content_type, stored.headers) == ("text/plain", {"x-oss-meta-a": "b"})
    assert content(bucket, "b") == b"hi oss"


def test_a_copy_may_replace_them(copy, bucket):
    copy(metadata_directive="REPLACE", meta_c="d")
    stored = bucket.get("b")
    assert (stored.content_type, stored.headers) == ("application/xml", {"x-oss-meta-c": "d"})


def test_class_and_acl_are_chosen_anew(copy, bucket):
    copy(storage_class="IA", object_acl="private")
    chosen = {"x-oss-storage-class": "IA", "x-oss-object-acl": "private"}
    assert bucket.get("b").headers == {"x-oss-meta-a": "b", **chosen}


@pytest.mark.parametrize(
    ("condition", "value", "status"),
    [
        ("copy_source_if_match", '"x"', 412),
        ("copy_source_if_match", "B22E0DC370A7F7067FACF5F75D7FA385", 200),
        ("copy_source_if_none_match", '"x"', 200),
        ("copy_source_if_none_match", "B22E0DC370A7F7067FACF5F75D7FA385", 304),
        ("copy_source_if_modified_since", "Tue, 03 Dec 2024 12:12:12 GMT", 304),
        ("copy_source_if_unmodified_since", "Tue, 03 Dec 2024 12:12:11 GMT", 412),
    ],
)
def test_conditions_on_the_source(copy, bucket, condition, value, status):
    copy(**{condition: value}, status=status)
    assert bool(bucket.get("b")) == (status == 200)


@pytest.mark.parametrize(
    ("source", "status", "expected"),
    [
        ("/examplebucket/none", 404, "NoSuchKey"),
        ("/nobucket/a", 404, "NoSuchBucket"),
        ("/examplebucket", 400, "InvalidArgument"),
        ("a", 400, "InvalidArgument"),
        ("", 400, "InvalidArgument"),
    ],
)
def test_a_source_that_is_none(copy, source, status, expected):
    assert code(copy(source, status=status)) == (status, expected)


def test_a_directive_is_one_of_two(copy):
    assert code(copy(metadata_directive="MERGE", status=400)) == (400, "InvalidArgument")


def test_what_may_not_be_overwritten_stays(copy, bucket):
    put(bucket, "b", b"first")
    assert code(copy(forbid_overwrite="true", status=409)) == (409, "FileAlreadyExists")
    assert content(bucket, "b") == b"first"
