import pytest
from fastcrc import crc64

from oss_wsgi.local.storage.object_writer import combine_crc64
from oss_wsgi.testing.storage_contract import STRANGE_KEYS, put


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
