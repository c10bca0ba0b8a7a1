"""Objects in a storage of the local OSS, put and read without a request."""

from local_oss.storage.index import StoredObject
from local_oss.storage.storage import Bucket

NOW = 1733227932.0

STRANGE_KEYS = (
    "../../etc/passwd",
    "..",
    ".index.sqlite3",
    "a/../../b",
    "a\\..\\b",
    "a\x00b",
    "a\nb",
    "~root",
    "CON",
    "名" * 341,
    "a" * 1023,
    "a." + "b" * 1021,
    "a/",
    "a//",
    "A",
    "a",
    "😀" * 255 + "abc",
    "e\u0301",
    "é",
    "a?b",
    "a*b",
    "%",
    "\uffff",
)


def put(bucket: Bucket, key: str, content: bytes = b"hi oss", *, forbid_overwrite: bool = False) -> StoredObject:
    """Store an object of type text/plain with one header of its own."""
    with bucket.incoming() as incoming:
        incoming.write(content)
        headers = {"x-oss-meta-a": "b"}
        return incoming.commit(key, "text/plain", headers, now=NOW, forbid_overwrite=forbid_overwrite)


def content(bucket: Bucket, key: str) -> bytes:
    opened = bucket.open(key)
    assert opened is not None
    with opened[1] as file:
        return file.read()
