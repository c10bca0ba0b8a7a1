"""oss2, the first SDK for Python, against the local OSS: objects, by both signatures."""

import base64
import gc
import hashlib
import warnings
from datetime import date

import pytest

with warnings.catch_warnings():
    # Its strings have backslashes that newer Pythons warn of.
    warnings.simplefilter("ignore")
    import oss2

BUCKET = "examplebucket"
pytestmark = [
    # The SDK leaves connections with unread responses to the garbage collector; see `collect_connections`.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore:datetime.datetime.utc:DeprecationWarning"),
]


@pytest.fixture(autouse=True)
def collect_connections():
    """Collect unclosed connections here: their warnings would fail a later test that has nothing to do with them."""
    yield
    gc.collect()


@pytest.fixture(params=["Auth", "AuthV4"])
def bucket(request, local, server):
    auth = getattr(oss2, request.param)(local.access_key_id, local.access_key_secret)
    session = oss2.Session()
    yield oss2.Bucket(auth, server.url, BUCKET, region=local.region, session=session)
    session.session.close()


def test_an_object_is_returned_with_its_headers(bucket):
    headers = {"Content-Type": "text/plain", "x-oss-meta-name": "value", "Cache-Control": "no-cache"}
    assert bucket.put_object("a/照片 +%.txt", b"hi oss", headers=headers).crc == 8707180448768400016
    response = bucket.get_object("a/照片 +%.txt")
    assert response.read() == b"hi oss"
    assert (response.content_type, response.headers["x-oss-meta-name"]) == ("text/plain", "value")
    head = bucket.head_object("a/照片 +%.txt")
    assert (head.content_length, head.etag) == (6, hashlib.md5(b"hi oss").hexdigest().upper())
    assert bucket.get_object_meta("a/照片 +%.txt").content_length == 6
    assert bucket.object_exists("a/照片 +%.txt")
    assert not bucket.object_exists("a")
    with pytest.raises(oss2.exceptions.NoSuchKey):
        bucket.get_object("a")


def test_ranges_and_conditions(bucket):
    etag = bucket.put_object("a", b"hi oss").etag
    assert bucket.get_object("a", byte_range=(3, None)).read() == b"oss"
    assert bucket.get_object("a", byte_range=(None, 3)).read() == b"oss"
    assert bucket.get_object("a", byte_range=(3, 100)).read() == b"hi oss"
    with pytest.raises(oss2.exceptions.NotModified):
        bucket.get_object("a", headers={"If-None-Match": etag})
    with pytest.raises(oss2.exceptions.PreconditionFailed):
        bucket.get_object("a", headers={"If-Match": "x"})


def test_objects_are_deleted_one_by_one_and_together(bucket):
    keys = ["a/1", "a/中 文", "b&<>"]
    for key in keys:
        bucket.put_object(key, b"x")
    assert bucket.delete_object("a/1").status == 204
    assert bucket.batch_delete_objects(keys).deleted_keys == keys
    assert bucket.list_objects_v2().object_list == []


def test_a_copy_has_the_headers_of_its_source_or_new_ones(bucket):
    bucket.put_object("源 +", b"hi oss", headers={"Content-Type": "text/plain", "x-oss-meta-a": "b"})
    bucket.copy_object(BUCKET, "源 +", "copy")
    assert bucket.head_object("copy").headers["x-oss-meta-a"] == "b"
    bucket.update_object_meta("copy", {"Content-Type": "image/png", "x-oss-meta-c": "d"})
    head = bucket.head_object("copy")
    assert (head.content_type, head.headers["x-oss-meta-c"]) == ("image/png", "d")
    assert "x-oss-meta-a" not in head.headers
    assert bucket.get_object("copy").read() == b"hi oss"


def test_lists_have_pages_common_prefixes_and_encoded_names(bucket):
    keys = ["a/1", "a/2", "b c", "c/\x01", "c/中 文", "d&<>"]
    for key in keys:
        bucket.put_object(key, b"x")
    for iterator in (oss2.ObjectIterator, oss2.ObjectIteratorV2):
        assert [entry.key for entry in iterator(bucket, max_keys=2)] == keys
        folded = [(entry.key, entry.is_prefix()) for entry in iterator(bucket, delimiter="/", max_keys=1)]
        assert folded == [("a/", True), ("b c", False), ("c/", True), ("d&<>", False)]
        assert [entry.key for entry in iterator(bucket, prefix="b c")] == ["b c"]
        assert [entry.key for entry in iterator(bucket, prefix="c/中 文")] == ["c/中 文"]


def test_parts_become_one_object(bucket, tmp_path):
    path = tmp_path / "large"
    path.write_bytes(bytes(range(256)) * 8000)
    oss2.resumable_upload(
        bucket,
        "大 file",
        str(path),
        multipart_threshold=1,
        part_size=500 * 1024,
        num_threads=2,
        store=oss2.ResumableStore(root=str(tmp_path)),
    )
    assert bucket.get_object("大 file").read() == path.read_bytes()
    assert bucket.head_object("大 file").object_type == "Multipart"
    upload_id = bucket.init_multipart_upload("copy").upload_id
    assert [(entry.key, entry.upload_id) for entry in oss2.MultipartUploadIterator(bucket)] == [("copy", upload_id)]
    part = bucket.upload_part_copy(BUCKET, "大 file", (1, 200_000), "copy", upload_id, 1)
    assert [entry.part_number for entry in oss2.PartIterator(bucket, "copy", upload_id)] == [1]
    bucket.complete_multipart_upload("copy", upload_id, [oss2.models.PartInfo(1, part.etag)])
    assert bucket.get_object("copy").read() == path.read_bytes()[1:200_001]
    upload_id = bucket.init_multipart_upload("gone").upload_id
    assert bucket.abort_multipart_upload("gone", upload_id).status == 204
    with pytest.raises(oss2.exceptions.NoSuchUpload):
        bucket.list_parts("gone", upload_id)


def test_a_sequential_upload_takes_its_parts_in_order(bucket, tmp_path):
    path = tmp_path / "large"
    path.write_bytes(bytes(range(256)) * 8000)
    options = {"multipart_threshold": 1, "part_size": 500 * 1024, "params": {"sequential": ""}}
    store = oss2.ResumableStore(root=str(tmp_path))
    oss2.resumable_upload(bucket, "one by one", str(path), num_threads=1, store=store, **options)
    digest = base64.b64encode(hashlib.md5(path.read_bytes(), usedforsecurity=False).digest()).decode()
    assert bucket.head_object("one by one").headers["Content-MD5"] == digest
    upload_id = bucket.init_multipart_upload("a", params={"sequential": ""}).upload_id
    with pytest.raises(oss2.exceptions.PartNotSequential):
        bucket.upload_part("a", upload_id, 2, b"x")


def test_lifecycle_rules_are_kept_and_obeyed(bucket, local):
    with pytest.raises(oss2.exceptions.NoSuchLifecycle):
        bucket.get_bucket_lifecycle()
    rule = oss2.models.LifecycleRule(
        "parts", "user/", abort_multipart_upload=oss2.models.AbortMultipartUpload(created_before_date=date(2100, 1, 1))
    )
    bucket.put_bucket_lifecycle(oss2.models.BucketLifecycle([rule]))
    (stored,) = bucket.get_bucket_lifecycle().rules
    assert (stored.id, stored.abort_multipart_upload.created_before_date) == ("parts", date(2100, 1, 1))
    upload_id = bucket.init_multipart_upload("user/a").upload_id
    assert local.apply_lifecycle().aborted == [("user/a", upload_id)]
