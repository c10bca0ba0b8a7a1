import hashlib
import os

import pytest

from oss_wsgi.local.errors import OSSError
from oss_wsgi.local.storage import Storage

NOW = 1733227932.0


@pytest.fixture
def directory(tmp_path):
    return tmp_path / "bucket"


@pytest.fixture
def storage(directory):
    return Storage(directory)


def put(storage, key, content=b"hi oss", **options):
    with storage.incoming() as incoming:
        incoming.write(content)
        return incoming.commit(key, "text/plain", {"x-oss-meta-a": "b"}, now=NOW, **options)


def content(storage, key):
    _, file = storage.open(key)
    with file:
        return file.read()


def files(directory):
    return sorted(path.name for path in directory.iterdir() if path.is_file())


@pytest.mark.parametrize(
    ("text", "crc64"), [(b"hi oss", 8707180448768400016), (b"123456789", 11051210869376104954), (b"", 0)]
)
def test_crc64_and_md5_are_made_while_writing(storage, text, crc64):
    with storage.incoming() as incoming:
        for byte in text:
            incoming.write(bytes([byte]))
        stored = incoming.commit("a", "text/plain", {}, now=NOW)
    assert stored.crc64 == crc64
    assert stored.etag == hashlib.md5(text).hexdigest().upper()
    assert stored.size == len(text)


def test_an_object_is_found_again_by_another_process(storage, directory):
    stored = put(storage, "a/中.txt")
    again = Storage(directory)
    assert again.get("a/中.txt") == stored
    assert content(again, "a/中.txt") == b"hi oss"


def test_a_key_that_nobody_stored_is_none(storage):
    assert storage.get("a") is None
    assert storage.open("a") is None


@pytest.mark.parametrize(
    "key",
    [
        "../../etc/passwd",
        "..",
        ".",
        ".records/x.json",
        "a/../../b",
        "a\\..\\b",
        "a\x00b",
        "a\nb",
        "~root",
        "-rf",
        "CON",
        "名" * 341,
        "a" * 1023,
        "a." + "b" * 1021,
        "/",
        "a/",
        "//",
        "😀" * 255 + "abc",
        "e\u0301",
    ],
    ids=ascii,
)
def test_no_key_leaves_the_directory(storage, directory, key):
    before = {path for path in directory.parent.rglob("*") if directory not in path.parents}
    put(storage, key)
    assert content(storage, key) == b"hi oss"
    (name,) = files(directory)
    assert not name.startswith(".")
    assert len(os.fsencode(name)) < 255
    assert {path for path in directory.parent.rglob("*") if directory not in path.parents} == before


def test_keys_that_look_alike_are_different_objects(storage):
    keys = ["a", "A", "a/", "a//", "a/b", "é", "e\u0301", "a_b", "a?b", "a*b"]
    for key in keys:
        put(storage, key, key.encode())
    assert [content(storage, key) for key in keys] == [key.encode() for key in keys]


@pytest.mark.parametrize(
    ("key", "start", "end"),
    [
        ("users/eric/照片 1.png", "照片 1-", ".png"),
        ("users/eric/archive.tar.gz", "archive.tar-", ".gz"),
        ("README", "README-", ""),
        (".profile", "profile-", ""),
        ("a/b/", "b-", ""),
    ],
)
def test_a_person_recognises_the_file(storage, directory, key, start, end):
    put(storage, key)
    (name,) = files(directory)
    assert name.startswith(start)
    assert name.endswith(end)


def test_a_new_upload_replaces_the_old_one_and_leaves_nothing_behind(storage, directory):
    put(storage, "a.txt", b"old")
    put(storage, "a.txt", b"new")
    assert content(storage, "a.txt") == b"new"
    assert len(files(directory)) == 1
    assert len(list((directory / ".records").iterdir())) == 1
    assert list((directory / ".incoming").iterdir()) == []


def test_an_open_object_stays_readable_while_it_is_replaced(storage):
    put(storage, "a", b"old")
    _, file = storage.open("a")
    put(storage, "a", b"new")
    with file:
        assert file.read() == b"old"


def test_forbid_overwrite_keeps_the_first(storage, directory):
    put(storage, "a", b"first", forbid_overwrite=True)
    with pytest.raises(OSSError) as caught:
        put(storage, "a", b"second", forbid_overwrite=True)
    assert (caught.value.status, caught.value.code) == (409, "FileAlreadyExists")
    assert content(storage, "a") == b"first"
    assert list((directory / ".incoming").iterdir()) == []


def test_an_upload_that_is_not_committed_vanishes(storage, directory):
    with storage.incoming() as incoming:
        incoming.write(b"half")
    assert list((directory / ".incoming").iterdir()) == []
    assert files(directory) == []


def test_a_crash_before_the_record_leaves_the_old_object(storage, directory, monkeypatch):
    put(storage, "a", b"old")
    monkeypatch.setattr(storage, "_record", lambda key: directory / "no" / "such" / "place", raising=True)
    with pytest.raises(FileNotFoundError):
        put(storage, "a", b"new")
    monkeypatch.undo()
    assert content(Storage(directory), "a") == b"old"


def test_leftovers_of_a_crash_are_removed_at_start(storage, directory):
    (directory / ".incoming" / "0123").write_bytes(b"half")
    Storage(directory)
    assert list((directory / ".incoming").iterdir()) == []


def test_an_object_whose_file_somebody_removed_is_gone(storage):
    storage.path(put(storage, "a")).unlink()
    assert storage.open("a") is None
    put(storage, "a", b"again")
    assert content(storage, "a") == b"again"
