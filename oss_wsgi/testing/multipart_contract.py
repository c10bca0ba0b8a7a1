"""What every storage of the local OSS must keep of uploads in parts; a half of the storage contract."""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from collections.abc import Iterator

import pytest

from ..local.errors import OSSError
from ..local.storage.interface import Bucket, Storage
from ..local.storage.stored_object import StoredObject

NOW = 1733227932.0


def put(bucket: Bucket, key: str, content: bytes = b"hi oss", *, forbid_overwrite: bool = False) -> StoredObject:
    with bucket.incoming() as incoming:
        incoming.write(content)
        headers = {"x-oss-meta-a": "b"}
        return incoming.commit(key, "text/plain", headers, now=NOW, forbid_overwrite=forbid_overwrite)


def content(bucket: Bucket, key: str) -> bytes:
    found = bucket.open(key)
    assert found is not None
    with found[1] as file:
        return file.read()


class MultipartContract:
    @abstractmethod
    def make_storage(self) -> Storage:
        """Make an empty storage."""

    @pytest.fixture
    def storage(self) -> Iterator[Storage]:
        storage = self.make_storage()
        yield storage
        storage.close()

    @pytest.fixture
    def bucket(self, storage: Storage) -> Bucket:
        storage.create_bucket("examplebucket", now=NOW)
        return storage.bucket("examplebucket")

    def test_parts_become_one_object(self, bucket: Bucket) -> None:
        put(bucket, "a", b"old")
        upload = bucket.begin("a", "text/plain", {"x-oss-meta-a": "b"}, now=NOW)
        pieces = [b"a" * 1000, b"b" * 2000, b"c"]
        for number in (3, 1, 2):
            self._put_part(bucket, upload.id, number, pieces[number - 1])
        assert content(bucket, "a") == b"old"
        parts, more = bucket.parts(upload)
        assert ([part.number for part in parts], more) == ([1, 2, 3], False)
        stored = bucket.complete(upload, parts, now=NOW + 1)
        whole = b"".join(pieces)
        digests = b"".join(hashlib.md5(piece, usedforsecurity=False).digest() for piece in pieces)
        assert stored.etag == hashlib.md5(digests, usedforsecurity=False).hexdigest().upper() + "-3"
        assert (stored.size, stored.content_md5, stored.headers) == (len(whole), None, {"x-oss-meta-a": "b"})
        assert stored.crc64 == put(bucket, "b", whole).crc64
        assert content(bucket, "a") == whole
        assert bucket.get("a") == stored
        self._has_ended(bucket, upload.id)

    def test_a_part_replaces_that_of_its_number_and_some_may_be_left_out(self, bucket: Bucket) -> None:
        upload = bucket.begin("a", "text/plain", {}, now=NOW)
        for number, piece in ((1, b"old"), (2, b"two"), (1, b"new"), (7, b"end")):
            self._put_part(bucket, upload.id, number, piece)
        parts, _ = bucket.parts(upload)
        assert [part.size for part in parts] == [3, 3, 3]
        bucket.complete(upload, [parts[0], parts[2]], now=NOW)
        assert content(bucket, "a") == b"newend"

    def test_an_aborted_upload_leaves_nothing(self, bucket: Bucket) -> None:
        upload = bucket.begin("a", "text/plain", {}, now=NOW)
        self._put_part(bucket, upload.id, 1, b"x")
        bucket.abort(upload)
        assert bucket.get("a") is None
        self._has_ended(bucket, upload.id)
        with pytest.raises(OSSError, match="NoSuchUpload"):
            bucket.abort(upload)
        with pytest.raises(OSSError, match="NoSuchUpload"), bucket.incoming() as incoming:
            incoming.commit_part(upload, 2, now=NOW)

    def test_an_upload_in_parts_keeps_what_may_not_be_overwritten(self, bucket: Bucket) -> None:
        put(bucket, "a", b"first")
        upload = bucket.begin("a", "text/plain", {}, now=NOW)
        self._put_part(bucket, upload.id, 1, b"x")
        with pytest.raises(OSSError, match="FileAlreadyExists"):
            bucket.complete(upload, bucket.parts(upload)[0], now=NOW, forbid_overwrite=True)
        assert content(bucket, "a") == b"first"
        assert bucket.upload("a", upload.id) == upload

    def test_uploads_are_listed_in_order(self, bucket: Bucket) -> None:
        begun = [bucket.begin(key, "text/plain", {}, now=NOW) for key in ("b", "a", "b", "c/d")]
        expected = sorted((upload.key, upload.id) for upload in begun)
        found: list[tuple[str, str]] = []
        more = True
        while more:
            page, more = bucket.uploads(after=found[-1] if found else ("", ""), limit=1)
            found += [(upload.key, upload.id) for upload in page]
        assert found == expected
        assert [upload.key for upload in bucket.uploads(after=("b", ""))[0]] == ["c/d"]
        assert [upload.key for upload in bucket.uploads(prefix="c/")[0]] == ["c/d"]

    @staticmethod
    def _put_part(bucket: Bucket, upload_id: str, number: int, piece: bytes) -> None:
        with bucket.incoming() as incoming:
            incoming.write(piece)
            part = incoming.commit_part(bucket.upload("a", upload_id), number, now=NOW)
        assert (part.number, part.size) == (number, len(piece))
        assert part.etag == hashlib.md5(piece, usedforsecurity=False).hexdigest().upper()

    @staticmethod
    def _has_ended(bucket: Bucket, upload_id: str) -> None:
        with pytest.raises(OSSError, match="NoSuchUpload"):
            bucket.upload("a", upload_id)
        assert bucket.uploads() == ([], False)
