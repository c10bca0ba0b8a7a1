import pytest
from fastcrc import crc64

from oss_wsgi.local.storage.object_writer import combine_crc64

from ..stored import NOW, STRANGE_KEYS, content, put


@pytest.mark.parametrize("sizes", [(0, 0), (0, 5), (5, 0), (1, 1), (7, 1000), (1000, 100_003)])
def test_the_checksum_of_joined_contents_comes_from_their_checksums(sizes):
    first, second = (bytes(number * 7 % 251 for number in range(size)) for size in sizes)
    assert combine_crc64(crc64.xz(first), crc64.xz(second), len(second)) == crc64.xz(first + second)


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
        incoming.commit_part(upload, 1, now=NOW)
    bucket.complete(upload, bucket.parts(upload)[0], now=NOW)
    stored, file = bucket.open("a")
    with file, bucket.incoming() as incoming:
        incoming.copy(stored, file)
        copy = incoming.commit("b", "text/plain", {}, now=NOW)
    assert (copy.etag, copy.crc64) == ("B22E0DC370A7F7067FACF5F75D7FA385", stored.crc64)
    assert content(bucket, "b") == b"hi oss"


def test_content_removed_while_it_is_written_cannot_be_opened(bucket, directory, files):
    with bucket.incoming() as incoming:
        incoming.write(b"hi oss")
        (path,) = directory.rglob(files()[0])
        path.unlink()
        with pytest.raises(FileNotFoundError, match="was removed"):
            incoming.open()
