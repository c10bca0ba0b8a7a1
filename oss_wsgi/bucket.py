"""The interface of a bucket's client: the methods that this server needs, and the values that they return."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol


class ListedObject(NamedTuple):
    """An object of a listing: ``etag`` is in upper case without quotes, ``last_modified`` in Unix seconds."""

    key: str
    size: int
    etag: str
    last_modified: float


class StoredObject(NamedTuple):
    """What HEAD returns for an object (never-lost.md 7.1).

    ``etag`` is in upper case without quotes, ``crc64`` a whole number or None, ``last_modified`` in Unix seconds.
    ``metadata`` has the user metadata by name, in lower case and without ``x-oss-meta-``. ``request_id`` is OSS's ID of
    the HEAD request. ``object_type`` is OSS's ``x-oss-object-type``: ``Normal``, ``Multipart`` or ``Appendable``; None
    where the client does not say.
    """

    key: str
    size: int
    etag: str
    last_modified: float
    content_type: str | None = None
    crc64: int | None = None
    metadata: Mapping[str, str] = {}
    request_id: str | None = None
    object_type: str | None = None


class StoredPart(NamedTuple):
    """A part of an upload in parts: its number from 1, its size in bytes, its ETag as OSS returns it.

    ``crc64`` is a whole number, or None if it is not known.
    """

    number: int
    size: int
    etag: str
    crc64: int | None = None


class BucketClient(Protocol):
    """A client of one bucket. ``SDKBucket`` uses the official SDK; any object with these methods works.

    Each call ends within a time limit of its own. Several threads may call at once: a sweep calls ``head`` in up to
    eight. Each method raises BucketUnreachableError when OSS does not answer in time, and BucketRefusedError when it
    refuses; that error names the right that the access key lacks. (A client with ``head`` and ``list`` alone is enough
    for recover, reconcile and events, and one with ``head`` and ``read`` for ``PostedFiles``.)
    """

    def head(self, key: str) -> StoredObject | None:
        """Return the object stored under a name; None if no object has it. Needs ``oss:GetObject``."""
        ...

    def list(self, prefix: str, start_after: str, limit: int) -> Sequence[ListedObject]:
        """Return the first objects whose names begin with ``prefix`` and come after ``start_after``, in UTF-8 order.

        Returns up to ``limit`` (1 to 1,000) objects; an empty sequence only if there are no more. Needs
        ``oss:ListObjects``.
        """
        ...

    def read(self, key: str, etag: str, start: int) -> Iterator[bytes]:
        """Yield the bytes of an object from ``start`` on, in pieces of up to 1 MiB. Needs ``oss:GetObject``.

        :param etag: the object's ETag, without quotes.
        :param start: fewer bytes than the object has.

        The errors may come while the bytes are read. A connection that breaks is a BucketUnreachableError. Raises
        NotStoredError if no object has this name and this ETag.
        """
        ...

    def begin(self, key: str, headers: Mapping[str, str]) -> str:
        """Begin an upload in parts, and return its ID. Needs ``oss:PutObject``.

        :param headers: of the object, such as Content-Type and ``x-oss-meta-*``.
        """
        ...

    def list_parts(self, key: str, upload_id: str) -> Sequence[StoredPart]:
        """Return all parts that are stored, in the order of their numbers. Needs ``oss:ListParts``.

        Raises NotStoredError if there is no such upload.
        """
        ...

    def complete(
        self, key: str, upload_id: str, parts: Sequence[tuple[int, str]], headers: Mapping[str, str]
    ) -> StoredObject:
        """Join parts, (number, ETag) in order, and return the object. Needs ``oss:PutObject``.

        :param headers: of the request, such as ``x-oss-forbid-overwrite``.

        Raises NotStoredError if there is no such upload.
        """
        ...

    def abort(self, key: str, upload_id: str) -> None:
        """Remove an upload and its parts; do nothing if it does not exist. Needs ``oss:AbortMultipartUpload``."""
        ...
