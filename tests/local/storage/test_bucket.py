import os

import pytest

from oss_wsgi.local.errors import OSSError
from oss_wsgi.local.storage.index import READER, WRITER
from oss_wsgi.local.storage.object_writer import ObjectWriter

from ..stored import NOW, content, put


def put_part(bucket, upload, number, body=b"x"):
    with bucket.incoming() as incoming:
        incoming.write(body)
        bucket.commit_part(incoming, upload, number, now=NOW)


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
    monkeypatch.setattr("oss_wsgi.local.storage.bucket.to_row", lambda stored: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        put(bucket, "a", b"new")
    monkeypatch.undo()
    assert content(bucket, "a") == b"old"
    assert len(files()) == 1
    put(bucket, "a", b"new")
    assert len(files()) == 1


@pytest.mark.slow
def test_a_forked_child_opens_its_own_connections(bucket):
    inherited = [bucket._index._connection(purpose) for purpose in (WRITER, READER)]
    child = os.fork()
    if not child:
        put(bucket, "a", b"child")
        # SQLite forbids to use inherited connections, though it often goes well.
        os._exit(any(bucket._index._connection(purpose) in inherited for purpose in (WRITER, READER)))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert content(bucket, "a") == b"child"


def test_an_object_replaced_while_it_is_opened_is_opened_anew(bucket, monkeypatch):
    put(bucket, "a", b"old")
    open_blob = bucket._blobs.open

    def replace_and_open(folder, name):
        monkeypatch.undo()
        put(bucket, "a", b"new")
        return open_blob(folder, name)

    monkeypatch.setattr(bucket._blobs, "open", replace_and_open)
    assert content(bucket, "a") == b"new"


def test_an_upload_aborted_while_it_is_completed_makes_no_object(bucket, files, monkeypatch):
    upload = bucket.begin("a", "text/plain", {}, now=NOW)
    put_part(bucket, upload, 1)
    join = ObjectWriter.join

    def join_and_abort(*arguments, **options):
        join(*arguments, **options)
        bucket.abort(upload)

    monkeypatch.setattr(ObjectWriter, "join", join_and_abort)
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
