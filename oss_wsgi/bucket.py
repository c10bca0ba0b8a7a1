"""The interface of a bucket's client: the methods that this server needs, and the values that they return."""

from __future__ import annotations

import logging
from collections.abc import Generator, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from .exceptions import BucketRefusedError, NotStoredError, OSSWSGIError

#: How often an object is read on after its connection broke.
_TRIES = 3

log = logging.getLogger(__name__)


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


class ReadingClient(Protocol):
    """What `read_on` needs of a ``BucketClient``."""

    def read(self, key: str, etag: str, start: int) -> Iterator[bytes]:
        """Return the bytes of an object from ``start`` on."""
        ...


def read_on(
    bucket: ReadingClient, key: str, etag: str, size: int, start: int = 0, *, fields: Mapping[str, Any] | None = None
) -> Generator[bytes]:
    """Yield the bytes of an object from ``start`` on; where a connection breaks, go on where it stopped.

    Raises OSError if OSS does not send all ``size`` bytes; the log says why.

    :param etag: the object's ETag, without quotes.
    :param fields: further fields of the log's records.
    """
    tries = _TRIES
    while start < size:
        try:
            for piece in bucket.read(key, etag, start):
                part = piece[: size - start]
                start += len(part)
                yield part
                if len(part) < len(piece):  # OSS sends more bytes than the object has
                    return
            if start < size:
                raise EOFError("OSS sent fewer bytes than the object has")
        except Exception as error:  # a client of the user's own may raise any
            # The text of an unknown error may hold a secret.
            reason = error if isinstance(error, OSSWSGIError | EOFError) else type(error).__name__
            line = f"reading {key!r} from OSS stopped at byte {start} of {size}: {reason}"
            is_final = tries == 0 or isinstance(error, NotStoredError | BucketRefusedError)
            log.log(logging.ERROR if is_final else logging.WARNING, "%s", line, extra=fields)
            if is_final:
                raise OSError(line) from error
            tries -= 1


class BucketClient(Protocol):
    """A client of one bucket. ``SDKBucket`` uses the official SDK; any object with these methods works.

    Each call ends within a time limit of its own. Several threads may call at once: a sweep calls ``head`` in up to
    eight. Each method raises BucketUnreachableError when OSS does not answer in time, and BucketRefusedError when it
    refuses; that error names the right that the access key lacks. (A client with ``head`` and ``list`` alone is enough
    for recover, reconcile and events, one with ``head`` and ``read`` for ``PostedFiles``; the methods from ``put`` on
    are for ``oss_wsgi.django.OSSStorage``.)
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

    def put(self, key: str, data: bytes, headers: Mapping[str, str]) -> None:
        """Store an object. Needs ``oss:PutObject``.

        :param headers: of the object, such as Content-Type, and ``x-oss-forbid-overwrite``: where it is ``true`` and an
            object has this name, BucketRefusedError with the code ``FileAlreadyExists``.
        """
        ...

    def put_part(self, key: str, upload_id: str, number: int, data: bytes) -> str:
        """Store a part of an upload in parts, and return its ETag. Needs ``oss:PutObject``."""
        ...

    def copy(self, source: str, etag: str, key: str, headers: Mapping[str, str]) -> str:
        """Copy an object of up to 1 GB within the bucket, and return the copy's ETag as ``StoredObject`` has it.

        Needs ``oss:GetObject`` and ``oss:PutObject``.

        :param etag: the source's ETag, without quotes.
        :param headers: of the copy, as in ``put``; the source's are not copied.

        Raises NotStoredError if no object has the source's name and ETag.
        """
        ...

    def copy_part(self, source: str, etag: str, start: int, end: int, key: str, upload_id: str, number: int) -> str:
        """Copy bytes of an object as a part of an upload in parts, and return the ETag. Needs the rights of ``copy``.

        :param start: the first byte; ``end`` is the one after the last.

        Raises NotStoredError if no object has the source's name and ETag.
        """
        ...

    def delete(self, key: str) -> None:
        """Delete an object; do nothing if there is none. Needs ``oss:DeleteObject``."""
        ...

    def list_folder(self, prefix: str) -> tuple[Sequence[str], Sequence[str]]:
        """Return the folders and the objects directly below ``prefix``, which ends in ``/`` or is empty.

        The names are whole ones; those of folders end in ``/``. Needs ``oss:ListObjects``.
        """
        ...
