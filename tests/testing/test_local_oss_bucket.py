"""InProcessBucket: a bucket client on a local OSS's storage, with the same results as SDKBucket."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from local_oss import LocalOSS
from oss_wsgi.bucket import BucketClient, StoredPart
from oss_wsgi.exceptions import BucketRefusedError, BucketUnreachableError, NotStoredError
from oss_wsgi.testing import InProcessBucket

NOW = 1733227932.0
ETAG = "5D41402ABC4B2A76B9719D911017C592"


@pytest.fixture
def oss() -> Iterator[LocalOSS]:
    with LocalOSS(key_bits=512, clock=lambda: NOW) as oss:
        yield oss


@pytest.fixture
def bucket(oss: LocalOSS) -> InProcessBucket:
    client: BucketClient = InProcessBucket(oss)
    assert isinstance(client, InProcessBucket)
    for key in ("b", "a/2", "a/1"):
        with oss.storage.bucket(oss.bucket).incoming() as incoming:
            incoming.write(b"hello")
            incoming.commit(key, "text/plain", {"x-oss-meta-who": "me", "cache-control": "no-store"}, now=NOW)
    return client


def test_head_shows_what_is_stored(bucket: InProcessBucket) -> None:
    stored = bucket.head("a/1")
    assert stored is not None
    assert (stored.key, stored.size, stored.etag, stored.last_modified) == ("a/1", 5, ETAG, NOW)
    assert (stored.content_type, stored.crc64, stored.metadata) == ("text/plain", 11177612005948864433, {"who": "me"})
    assert bucket.head("none") is None


def test_an_object_is_read_from_any_byte_on(bucket: InProcessBucket) -> None:
    assert [b"".join(bucket.read("b", ETAG, start)) for start in (0, 2, 4)] == [b"hello", b"llo", b"o"]
    for key, etag in (("none", ETAG), ("b", "0" * 32)):
        with pytest.raises(NotStoredError):
            next(bucket.read(key, etag, 0))


def test_listing_is_in_order_and_goes_on_after_a_name(bucket: InProcessBucket) -> None:
    assert [listed.key for listed in bucket.list("", "", 2)] == ["a/1", "a/2"]
    assert [listed.key for listed in bucket.list("", "a/2", 2)] == ["b"]
    assert [listed.key for listed in bucket.list("a/", "a/1", 10)] == ["a/2"]
    assert list(bucket.list("", "b", 10)) == []
    assert bucket.list("b", "", 1)[0].etag == ETAG


def test_an_upload_in_parts_begins_and_ends(oss: LocalOSS, bucket: InProcessBucket) -> None:
    upload_id = bucket.begin("big", {"Content-Type": "image/png", "x-oss-meta-a": "1"})
    upload = oss.storage.bucket(oss.bucket).upload("big", upload_id)
    with oss.storage.bucket(oss.bucket).incoming() as incoming:
        incoming.write(b"hello")
        incoming.commit_part(upload, 1, now=NOW)
    assert bucket.list_parts("big", upload_id) == [StoredPart(1, 5, ETAG, 11177612005948864433)]
    stored = bucket.complete("big", upload_id, [(1, ETAG)], {})
    assert (stored.size, stored.metadata, stored.content_type) == (5, {"a": "1"}, "image/png")
    with pytest.raises(NotStoredError):
        bucket.list_parts("big", upload_id)
    bucket.abort("big", upload_id)
    other = bucket.begin("big", {})
    bucket.abort("big", other)
    with pytest.raises(NotStoredError):
        bucket.list_parts("big", other)


def test_an_upload_in_parts_that_forbids_overwriting_is_refused(oss: LocalOSS, bucket: InProcessBucket) -> None:
    forbid = {"x-oss-forbid-overwrite": "true"}
    with pytest.raises(BucketRefusedError):
        bucket.begin("b", forbid)
    upload_id = bucket.begin("b", {})
    with oss.storage.bucket(oss.bucket).incoming() as incoming:
        incoming.write(b"other")
        etag = incoming.commit_part(oss.storage.bucket(oss.bucket).upload("b", upload_id), 1, now=NOW).etag
    with pytest.raises(BucketRefusedError):
        bucket.complete("b", upload_id, [(1, etag)], forbid)
    bucket.complete("b", upload_id, [(1, etag)], {})


def test_a_request_can_be_made_to_fail_and_all_are_recorded(bucket: InProcessBucket) -> None:
    bucket.fail_next(BucketUnreachableError("bucket_unreachable", "test"))
    with pytest.raises(BucketUnreachableError):
        bucket.head("b")
    assert bucket.head("b") is not None
    assert bucket.requests == [("head", "b"), ("head", "b")]


def test_a_public_acl_is_refused_as_by_a_new_bucket(oss: LocalOSS, bucket: InProcessBucket) -> None:
    public = {"x-oss-object-acl": "public-read"}
    upload_id = bucket.begin("big", {})
    for act in (lambda: bucket.begin("big", public), lambda: bucket.complete("big", upload_id, [], public)):
        with pytest.raises(BucketRefusedError) as caught:
            act()
        assert caught.value.code == "AccessDenied"
