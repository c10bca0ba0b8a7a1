import pytest

from ..stored import NOW, STRANGE_KEYS, content, put


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
def test_a_person_recognizes_the_file_of_an_object(bucket, directory, files, key, start, end):
    put(bucket, key)
    (name,) = files()
    assert name.startswith(start)
    assert name.endswith(end)
    assert (directory / "examplebucket" / name).read_bytes() == b"hi oss"


@pytest.mark.parametrize("key", STRANGE_KEYS, ids=range(len(STRANGE_KEYS)))
def test_no_key_leads_out_of_the_directory(bucket, directory, files, key):
    put(bucket, key)
    (name,) = [path.name for path in (directory / "examplebucket").iterdir()]
    assert files() == [name]
    assert not name.startswith(".")
    assert len(name.encode()) < 255
    assert list(directory.parent.iterdir()) == [directory]


def test_a_copy_of_an_object_made_of_parts_has_its_own_md5(bucket):
    upload = bucket.begin("a", "text/plain", {}, now=NOW)
    with bucket.incoming() as incoming:
        incoming.write(b"hi oss")
        bucket.commit_part(incoming, upload, 1, now=NOW)
    bucket.complete(upload, bucket.parts(upload)[0], now=NOW)
    stored, file = bucket.open("a")
    with file, bucket.incoming() as incoming:
        incoming.copy(stored, file)
        copy = bucket.commit(incoming, "b", "text/plain", {}, now=NOW)
    assert (copy.etag, copy.crc64) == ("B22E0DC370A7F7067FACF5F75D7FA385", stored.crc64)
    assert content(bucket, "b") == b"hi oss"


def test_content_removed_while_it_is_written_cannot_be_opened(bucket, directory, files):
    with bucket.incoming() as incoming:
        incoming.write(b"hi oss")
        (path,) = directory.rglob(files()[0])
        path.unlink()
        with pytest.raises(FileNotFoundError):
            incoming.open()
