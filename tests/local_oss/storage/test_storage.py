"""What a storage keeps, in the order of an object's life."""

import hashlib
import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace

import pytest

from local_oss.errors import OSSError
from local_oss.storage.blob_folder import BlobFolder
from local_oss.storage.index import CommonPrefix, MultipartUpload, StoredObject
from local_oss.storage.storage import Bucket, Incoming, Storage

from ...support.sqlite_statements import Statements
from ..stored import NOW, STRANGE_KEYS, content, put

#: Contents and their CRC-64, from OSS's documentation and from the catalogue of CRC algorithms.
CHECKSUMS = ((b"hi oss", 8707180448768400016), (b"123456789", 11051210869376104954), (b"", 0))


@pytest.fixture
def storage(directory):
    storage = Storage(directory)
    yield storage
    storage.close()


@pytest.mark.parametrize(("text", "crc64"), CHECKSUMS)
def test_md5_and_crc64_are_computed_while_writing(bucket: Bucket, text: bytes, crc64: int) -> None:
    with bucket.incoming() as incoming:
        for byte in text:
            incoming.write(bytes([byte]))
        stored = incoming.commit("a", "text/plain", {}, now=NOW)
    assert (stored.crc64, stored.size) == (crc64, len(text))
    assert stored.etag == hashlib.md5(text, usedforsecurity=False).hexdigest().upper()


def test_an_object_comes_back_as_it_was_put(bucket: Bucket) -> None:
    stored = put(bucket, "a/中.txt")
    assert (stored.key, stored.content_type, stored.last_modified) == ("a/中.txt", "text/plain", NOW)
    assert bucket.get("a/中.txt") == stored
    opened = bucket.open("a/中.txt")
    assert opened is not None
    with opened[1] as file:
        assert opened[0] == stored
        assert file.seek(3) == 3
        assert file.read() == b"oss"


def test_a_missing_object_is_none(bucket: Bucket) -> None:
    assert bucket.get("a") is None
    assert bucket.open("a") is None
    assert bucket.delete("a") is False


def test_strange_keys_stay_as_they_are(bucket: Bucket) -> None:
    for key in STRANGE_KEYS:
        put(bucket, key, key.encode())
    assert [content(bucket, key) for key in STRANGE_KEYS] == [key.encode() for key in STRANGE_KEYS]
    listed = [entry.key for entry in bucket.page()[0]]
    assert listed == sorted(STRANGE_KEYS, key=str.encode)


def test_headers_of_an_object_can_be_changed(bucket: Bucket) -> None:
    with bucket.incoming() as incoming:
        stored = incoming.commit("a", "text/plain", {"x-oss-meta-中": "文", "Expires": "never"}, now=NOW)
    assert bucket.change_headers("a", {"Expires": None, "x-oss-object-acl": "private", "x-oss-meta-b": None})
    changed = bucket.get("a")
    assert changed is not None
    assert changed == replace(stored, headers={"x-oss-meta-中": "文", "x-oss-object-acl": "private"})
    assert not bucket.change_headers("b", {"x-oss-object-acl": "private"})
    assert bucket.get("b") is None


def test_forbid_overwrite_keeps_the_first(bucket: Bucket) -> None:
    put(bucket, "a", b"first", forbid_overwrite=True)
    with pytest.raises(OSSError) as caught:
        put(bucket, "a", b"second", forbid_overwrite=True)
    assert (caught.value.status, caught.value.code) == (409, "FileAlreadyExists")
    assert content(bucket, "a") == b"first"


def test_with_forbid_overwrite_one_of_many_writers_wins(bucket: Bucket) -> None:
    def attempt(number: int) -> int:
        try:
            put(bucket, "a", b"%d" % number, forbid_overwrite=True)
        except OSSError:
            return -1
        return number

    with ThreadPoolExecutor(8) as threads:
        winners = [number for number in threads.map(attempt, range(24)) if number >= 0]
    assert len(winners) == 1
    assert content(bucket, "a") == b"%d" % winners[0]


def test_an_open_object_outlives_its_deletion(bucket: Bucket) -> None:
    put(bucket, "a", b"old")
    opened = bucket.open("a")
    assert opened is not None
    put(bucket, "a", b"new")
    bucket.delete("a")
    with opened[1] as file:
        assert file.read() == b"old"


def test_content_can_be_read_before_the_commit(bucket: Bucket) -> None:
    with bucket.incoming() as incoming:
        incoming.write(b"hi ")
        incoming.write(b"oss")
        with incoming.open() as file:
            assert file.read() == b"hi oss"
        assert incoming.commit("a", "text/plain", {}, now=NOW).size == 6
    assert content(bucket, "a") == b"hi oss"


def test_a_copy_has_content_and_checksums(bucket: Bucket) -> None:
    put(bucket, "a", b"hi oss" * 100)
    opened = bucket.open("a")
    assert opened is not None
    with opened[1] as file, bucket.incoming() as incoming:
        incoming.copy(opened[0], file)
        copied = incoming.commit("b", "image/png", {}, now=NOW + 1)
    assert (copied.md5, copied.crc64, copied.size) == (opened[0].md5, opened[0].crc64, 600)
    assert (copied.content_type, copied.headers) == ("image/png", {})
    assert content(bucket, "b") == b"hi oss" * 100


def test_a_deleted_object_is_gone(bucket: Bucket) -> None:
    put(bucket, "a")
    assert bucket.delete("a") is True
    assert bucket.get("a") is None
    assert bucket.page() == ([], False)


def test_pages_follow_each_other_without_gaps(bucket: Bucket) -> None:
    keys = [f"a/{number:02}" for number in range(25)]
    for key in keys:
        put(bucket, key)
    listed: list[str] = []
    more = True
    while more:
        page, more = bucket.page(after=listed[-1] if listed else "", limit=10)
        assert len(page) <= 10
        listed += [entry.key for entry in page]
    assert listed == keys


def test_an_exactly_full_page_is_the_last(bucket: Bucket) -> None:
    for key in "abc":
        put(bucket, key)
    assert [bucket.page(limit=limit)[1] for limit in (2, 3, 4)] == [True, False, False]


def test_a_prefix_is_text_and_not_a_folder(bucket: Bucket) -> None:
    for key in ("a", "ab", "a/b", "b", "中a", "中"):
        put(bucket, key)
    assert [entry.key for entry in bucket.page(prefix="a")[0]] == ["a", "a/b", "ab"]
    assert [entry.key for entry in bucket.page(prefix="中")[0]] == ["中", "中a"]
    assert bucket.page(prefix="x") == ([], False)


def test_a_delimiter_groups_keys(bucket: Bucket) -> None:
    for key in ("a", "a/1", "a/2", "b/1", "c", "d/e/1"):
        put(bucket, key)
    names = ["a", CommonPrefix("a/"), CommonPrefix("b/"), "c", CommonPrefix("d/")]
    assert [name_of(entry) for entry in bucket.page(delimiter="/")[0]] == names
    assert [name_of(entry) for entry in bucket.page(prefix="a/", delimiter="/")[0]] == ["a/1", "a/2"]
    assert bucket.page(prefix="d/", delimiter="/")[0] == [CommonPrefix("d/e/")]
    listed = []
    after = ""
    for _ in names:
        (entry,), _ = bucket.page(delimiter="/", after=after, limit=1)
        listed.append(name_of(entry))
        after = entry.key
    assert listed == names
    assert bucket.page(delimiter="/", after=after) == ([], False)


def test_buckets_are_separate(storage: Storage) -> None:
    assert storage.create_bucket("two", now=NOW) is True
    assert storage.create_bucket("one", now=NOW + 1) is True
    assert storage.create_bucket("two", now=NOW + 2) is False
    assert [(bucket.name, bucket.created) for bucket in storage.buckets()] == [("one", NOW + 1), ("two", NOW)]
    put(storage.bucket("one"), "a")
    assert storage.bucket("two").get("a") is None
    assert storage.bucket("two").page() == ([], False)


def test_only_an_empty_bucket_can_be_deleted(storage: Storage, bucket: Bucket) -> None:
    put(bucket, "a")
    with pytest.raises(OSSError, match="BucketNotEmpty") as caught:
        storage.delete_bucket("examplebucket")
    assert caught.value.status == 409
    bucket.delete("a")
    upload = bucket.begin("a", "text/plain", {}, now=NOW)
    with pytest.raises(OSSError, match="BucketNotEmpty"):
        storage.delete_bucket("examplebucket")
    bucket.abort(upload)
    storage.delete_bucket("examplebucket")
    assert list(storage.buckets()) == []
    for operation in (storage.bucket, storage.delete_bucket):
        with pytest.raises(OSSError, match="NoSuchBucket"):
            operation("examplebucket")


def test_a_deleted_bucket_takes_nothing(storage: Storage, bucket: Bucket) -> None:
    storage.delete_bucket("examplebucket")
    with pytest.raises(OSSError, match="NoSuchBucket"):
        put(bucket, "a")
    with pytest.raises(OSSError, match="NoSuchBucket"):
        bucket.begin("a", "text/plain", {}, now=NOW)


def test_settings_change_one_by_one(storage: Storage, bucket: Bucket) -> None:
    assert bucket.settings == {}
    bucket.change({"acl": "private", "cors": "[]"})
    storage.bucket("examplebucket").change({"acl": "public-read", "cors": None})
    assert storage.bucket("examplebucket").settings == {"acl": "public-read"}


def test_parts_become_one_object(bucket: Bucket) -> None:
    put(bucket, "a", b"old")
    upload = bucket.begin("a", "text/plain", {"x-oss-meta-a": "b"}, now=NOW)
    pieces = [b"a" * 1000, b"b" * 2000, b"c"]
    for number in (3, 1, 2):
        put_part(bucket, upload, number, pieces[number - 1])
    assert content(bucket, "a") == b"old"
    parts, more = bucket.parts(upload)
    assert ([part.number for part in parts], more) == ([1, 2, 3], False)
    stored = bucket.complete(upload, parts, now=NOW + 1)
    whole = b"".join(pieces)
    etags = "".join(hashlib.md5(piece).hexdigest().upper() for piece in pieces)
    assert stored.etag == hashlib.md5(etags.encode()).hexdigest().upper() + "-3"
    assert (stored.size, stored.content_md5, stored.headers) == (len(whole), None, {"x-oss-meta-a": "b"})
    assert stored.crc64 == put(bucket, "b", whole).crc64
    assert content(bucket, "a") == whole
    assert bucket.get("a") == stored
    assert_ended(bucket, upload.id)


def test_a_part_replaces_the_part_of_its_number(bucket: Bucket) -> None:
    upload = bucket.begin("a", "text/plain", {}, now=NOW)
    for number, piece in ((1, b"old"), (2, b"two"), (1, b"new"), (7, b"end")):
        put_part(bucket, upload, number, piece)
    parts, _ = bucket.parts(upload)
    assert [part.size for part in parts] == [3, 3, 3]
    bucket.complete(upload, [parts[0], parts[2]], now=NOW)
    assert content(bucket, "a") == b"newend"


def test_of_many_sequential_parts_at_once_each_number_is_taken_once(bucket: Bucket) -> None:
    upload = bucket.begin("a", "text/plain", {}, now=NOW, sequential=True)

    def attempt(_: int) -> int:
        with suppress(OSSError):
            put_part(bucket, upload, 1, b"x")
            return 1
        return 0

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(attempt, range(8))) == 1


def test_an_aborted_upload_leaves_nothing(bucket: Bucket) -> None:
    upload = bucket.begin("a", "text/plain", {}, now=NOW)
    put_part(bucket, upload, 1, b"x")
    bucket.abort(upload)
    assert bucket.get("a") is None
    assert_ended(bucket, upload.id)
    with pytest.raises(OSSError, match="NoSuchUpload"):
        bucket.abort(upload)
    with pytest.raises(OSSError, match="NoSuchUpload"), bucket.incoming() as incoming:
        incoming.commit_part(upload, 2, now=NOW)


def test_uploads_are_listed_in_the_order_of_their_keys(bucket: Bucket) -> None:
    uploads = [bucket.begin(key, "text/plain", {}, now=NOW) for key in ("b", "a", "b", "c/d")]
    expected = sorted((upload.key, upload.id) for upload in uploads)
    assert [(upload.key, upload.id) for upload in bucket.uploads()] == expected
    assert [upload.key for upload in bucket.uploads("c/")] == ["c/d"]


def name_of(entry: StoredObject | CommonPrefix) -> str | CommonPrefix:
    return entry if isinstance(entry, CommonPrefix) else entry.key


def put_part(bucket: Bucket, upload: MultipartUpload, number: int, piece: bytes = b"x") -> None:
    with bucket.incoming() as incoming:
        incoming.write(piece)
        part = incoming.commit_part(upload, number, now=NOW)
    assert (part.number, part.size) == (number, len(piece))
    assert part.etag == hashlib.md5(piece, usedforsecurity=False).hexdigest().upper()


def assert_ended(bucket: Bucket, upload_id: str) -> None:
    with pytest.raises(OSSError, match="NoSuchUpload"):
        bucket.upload("a", upload_id)
    assert bucket.uploads() == []


def test_a_directory_that_cannot_be_used_closes_its_index(tmp_path):
    (tmp_path / ".incoming").write_text("a file in the place of the folder")
    with pytest.raises(NotADirectoryError):
        Storage(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".incoming", ".index.sqlite3"]


def test_replaced_deleted_and_uncommitted_content_leaves_no_file(bucket, files):
    put(bucket, "a", b"old")
    put(bucket, "a", b"new")
    put(bucket, "b")
    bucket.delete("b")
    upload = bucket.begin("c", "text/plain", {}, now=NOW)
    for number in (1, 1, 2):
        put_part(bucket, upload, number)
    assert len(files()) == 3
    bucket.complete(upload, bucket.parts(upload)[0], now=NOW)
    with bucket.incoming() as incoming:
        incoming.write(b"half")
    assert len(files()) == 2


def test_an_object_whose_file_was_removed_by_hand_is_gone(bucket, directory, files):
    put(bucket, "a")
    (directory / "examplebucket" / files()[0]).unlink()
    assert bucket.open("a") is None
    put(bucket, "a", b"again")
    assert content(bucket, "a") == b"again"


def test_a_failed_transaction_leaves_the_old_object(bucket, files, monkeypatch):
    put(bucket, "a", b"old")
    monkeypatch.setattr("local_oss.storage.storage.to_text", lambda stored: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        put(bucket, "a", b"new")
    monkeypatch.undo()
    assert content(bucket, "a") == b"old"
    assert len(files()) == 1
    put(bucket, "a", b"new")
    assert len(files()) == 1


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_a_forked_child_opens_its_own_connections(monkeypatch, open_storage):
    statements = Statements(monkeypatch)
    storage = open_storage()
    bucket = storage.bucket("examplebucket")
    bucket.get("a")
    inherited = list(statements.connections)
    begun = threading.Event()

    def change():
        with bucket.changes():
            begun.set()
            time.sleep(0.1)

    thread = threading.Thread(target=change)  # it does not run in the child
    thread.start()
    begun.wait()
    child = os.fork()
    if not child:
        signal.alarm(60)  # with a lock that nobody releases it would wait for ever
        statements.used.clear()
        bucket.get("a")
        put(bucket, "a", b"child")
        # SQLite forbids to use inherited connections, though it often goes well.
        os._exit(not statements.used or any(connection in inherited for connection in statements.used))
    thread.join()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert content(bucket, "a") == b"child"


def test_an_object_replaced_while_it_is_opened_is_opened_anew(bucket, monkeypatch):
    put(bucket, "a", b"old")
    open_blob = BlobFolder.open

    def replace_and_open(self, folder, name):
        monkeypatch.undo()
        put(bucket, "a", b"new")
        return open_blob(self, folder, name)

    monkeypatch.setattr(BlobFolder, "open", replace_and_open)
    assert content(bucket, "a") == b"new"


def test_an_upload_aborted_while_it_is_completed_makes_no_object(bucket, files, monkeypatch):
    upload = bucket.begin("a", "text/plain", {}, now=NOW)
    put_part(bucket, upload, 1)
    join = Incoming.join

    def join_and_abort(*arguments, **options):
        join(*arguments, **options)
        bucket.abort(upload)

    monkeypatch.setattr(Incoming, "join", join_and_abort)
    with pytest.raises(OSSError, match="NoSuchUpload"):
        bucket.complete(upload, bucket.parts(upload)[0], now=NOW)
    assert bucket.get("a") is None
    assert files() == []


@pytest.mark.parametrize("body", [b"a part", b"another"])
def test_a_part_that_is_sent_again_while_the_upload_is_completed(bucket, files, body):
    upload = bucket.begin("a", "text/plain", {}, now=NOW)
    put_part(bucket, upload, 1, b"a part")
    parts, _ = bucket.parts(upload)
    put_part(bucket, upload, 1, body)
    if body == b"a part":
        assert bucket.complete(upload, parts, now=NOW).crc64 == parts[0].crc64
        assert len(files()) == 1
    else:
        with pytest.raises(OSSError, match="InvalidPart"):
            bucket.complete(upload, parts, now=NOW)
        bucket.complete(upload, bucket.parts(upload)[0], now=NOW)
    assert content(bucket, "a") == body


def test_settings_of_a_deleted_bucket_cannot_be_changed(open_storage):
    storage = open_storage()
    bucket = storage.bucket("examplebucket")
    storage.delete_bucket("examplebucket")
    with pytest.raises(OSSError, match="NoSuchBucket"):
        bucket.change({"acl": "private"})


def test_an_upload_whose_part_was_removed_by_hand_is_not_completed(bucket, directory):
    upload = bucket.begin("a", "text/plain", {}, now=NOW)
    put_part(bucket, upload, 1)
    parts, _ = bucket.parts(upload)
    (directory / ".parts" / parts[0].file).unlink()
    with pytest.raises(OSSError, match="NoSuchUpload"):
        bucket.complete(upload, parts, now=NOW)
