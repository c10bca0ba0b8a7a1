"""opendal, a client in Rust that is not of Alibaba Cloud, against the local OSS."""

import opendal
import pytest

KEY = "目录/a b+c.txt"


@pytest.fixture
def server(serve):
    return serve(bucket="my-bucket")


@pytest.fixture
def operator(server):
    def operator(**changes):
        oss = server.oss
        options = {
            "bucket": oss.bucket,
            "endpoint": server.url,
            "addressing_style": "path",
            "access_key_id": oss.access_key_id,
            "access_key_secret": oss.access_key_secret,
        }
        return opendal.Operator("oss", **{**options, **changes})

    return operator


def test_objects_are_written_read_listed_copied_and_deleted(operator):
    client = operator()
    client.write(KEY, b"hello opendal", content_type="text/plain", cache_control="no-cache")
    assert client.read(KEY) == b"hello opendal"
    described = client.stat(KEY)
    assert (described.content_length, described.content_type) == (13, "text/plain")
    client.copy(KEY, "copy/a")
    assert client.read("copy/a") == b"hello opendal"
    assert sorted(entry.path for entry in client.list("")) == ["copy/", "目录/"]
    assert [entry.path for entry in client.scan("copy/")] == ["copy/a"]
    client.delete("copy/a")
    with pytest.raises(opendal.exceptions.NotFound):
        client.read("copy/a")
    client.remove_all("")
    assert list(client.scan("")) == []


def test_a_large_object_goes_in_parts_and_comes_in_ranges(operator, server):
    content = bytes(range(256)) * 1024  # parts of 100 KiB, the smallest that OSS takes
    client = operator()
    with client.open("large", "wb", chunk=100 * 1024) as file:
        file.write(content)
    stored = server.oss.storage.bucket("my-bucket").get("large")
    assert (stored.type, stored.size) == ("Multipart", len(content))
    with client.open("large", "rb") as file:
        file.seek(100_000)
        assert file.read(10) == content[100_000:100_010]
    assert client.read("large") == content


def test_a_wrong_secret_is_refused(operator):
    with pytest.raises(opendal.exceptions.PermissionDenied, match="SignatureDoesNotMatch"):
        operator(access_key_secret="another").write("a", b"")
