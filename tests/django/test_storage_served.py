"""OSSStorage with the official SDK and a local OSS that is served."""

from __future__ import annotations

import os
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.core.files.base import ContentFile

from local_oss import LocalOSS, LocalOSSServer
from oss_wsgi import SDKBucket, Settings, Upload
from oss_wsgi.bucket import read_on
from oss_wsgi.django import OSSStorage
from oss_wsgi.django.files import PostedFile
from oss_wsgi.testing.local_oss import environ_for

from ..support.server_threads import serving_oss

pytestmark = pytest.mark.slow


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalOSSServer]:
    with serving_oss(LocalOSS(directory=tmp_path / "objects", key_bits=512)) as server:
        for name, value in environ_for(server.oss, tmp_path).items():
            monkeypatch.setenv(name, value)
        yield server


def test_the_variables_of_the_environment_are_enough(server: LocalOSSServer) -> None:
    storage = OSSStorage(location="media")
    name = storage.save("猫/a b.txt", ContentFile(b"hello"))
    assert (storage.size(name), storage.listdir("猫")) == (5, ([], ["a b.txt"]))
    with storage.open(name) as file, urllib.request.urlopen(storage.url(name)) as response:
        assert file.read() == response.read() == b"hello"
    assert storage.save(name, ContentFile(b"other")) != name
    storage.delete(name)
    assert not storage.exists(name)


def test_a_large_posted_file_is_copied_in_parts_by_oss(server: LocalOSSServer) -> None:
    data = bytes(range(256)) * 1000
    bucket = SDKBucket(Settings.from_environ(os.environ), clock=time.time, timeout=60.0)
    bucket.put("uploads/1", data, {"Content-Type": "text/html"})
    stored = bucket.head("uploads/1")
    assert stored is not None
    upload = Upload(bucket=server.oss.bucket, object="uploads/1", etag=stored.etag, size=len(data))
    posted = PostedFile(
        upload, lambda start: read_on(bucket, "uploads/1", stored.etag, len(data), start), name="big.bin"
    )
    storage = OSSStorage(max_copy=102_400)
    name = storage.save("big.bin", posted)
    with storage.open(name) as file:
        assert file.read() == data
    copied = bucket.head(name)
    assert copied is not None and copied.object_type == "Multipart" and bucket.head("uploads/1") is None
    bucket.close()
