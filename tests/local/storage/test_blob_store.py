import io

import pytest

from oss_wsgi.local.storage.blob_store import MemoryBlobStore, write_all


def test_content_in_memory_outlives_the_file_that_wrote_it():
    blobs = MemoryBlobStore()
    with blobs.create("a") as file:
        file.write(b"hi oss")
    blobs.rename("a", "b")
    assert blobs.open("examplebucket", "a") is None
    with blobs.open("examplebucket", "b") as file:
        assert file.read() == b"hi oss"
    blobs.discard("b")
    assert blobs.open("examplebucket", "b") is None


def test_a_memory_store_has_no_file_for_a_body():
    blobs = MemoryBlobStore()
    assert blobs.spool() is None
    assert blobs.adopt(io.BytesIO(b"hi oss"), "a") is False


def test_a_copy_in_memory_of_too_few_bytes_is_an_error():
    with pytest.raises(EOFError, match="shorter than the index says"):
        MemoryBlobStore().copy(io.BytesIO(b"hi"), io.BytesIO(), 6)


def test_a_chunk_is_written_whole_to_a_file_that_takes_it_in_pieces():
    class TwoBytesAtOnce(io.BytesIO):
        def write(self, data):
            return super().write(bytes(data[:2]))

    file = TwoBytesAtOnce()
    write_all(file, b"hi oss")
    assert file.getvalue() == b"hi oss"
