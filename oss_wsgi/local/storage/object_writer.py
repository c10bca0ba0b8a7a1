"""Writing of new content, which becomes an object or a part when it is committed."""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from types import TracebackType
from typing import BinaryIO

from fastcrc import crc64

from .blob_folder import BlobFolder, write_all
from .records import MultipartUpload, Part, StoredObject

MAX_STEM_SIZE = 120

CHUNK_SIZE = 1024 * 1024

# The polynomial of ECMA-182, its bits reversed.
POLYNOMIAL = 0xC96C5795D7870F42


class ObjectWriter:
    """A new file, whose MD5 and CRC-64 are computed while it is written.

    It is deleted at the end of the `with` block unless it was committed.

    :param add: records an object; True forbids to overwrite one; the upload in parts is the one that it completes.
    :param add_part: records a part.
    """

    def __init__(
        self,
        blobs: BlobFolder,
        add: Callable[[StoredObject, bool, MultipartUpload | None], None],
        add_part: Callable[[MultipartUpload, Part], None],
    ) -> None:
        self._blobs = blobs
        self._add = add
        self._add_part = add_part
        self._name = secrets.token_hex(8)
        self._file: BinaryIO | None = None
        self._hash = hashlib.md5(usedforsecurity=False)
        self._known_md5 = ""
        self._hashes_parts = False
        self._committed = False
        self.crc64 = 0
        self.size = 0

    def __enter__(self) -> ObjectWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            if self._file:
                self._file.close()
        except OSError:  # the disk is full: what is committed was synced, and the rest is deleted now
            pass
        finally:
            if not self._committed:
                self._blobs.discard(self._name)

    @property
    def md5(self) -> str:
        """The hexadecimal MD5 of the bytes written so far."""
        return self._known_md5 or self._hash.hexdigest()

    def write(self, chunk: bytes) -> None:
        write_all(self._open_file(), chunk)
        self._update_checksums(chunk)

    def receive(self, chunks: Iterable[bytes], source: BinaryIO | None) -> None:
        """Write the whole content.

        :param chunks: the content, read from `source`.
        :param source: a file from `BlobFolder.spool`, which becomes the content itself: that saves a copy.
        """
        if source is None or not self._blobs.adopt(source, self._name):
            for chunk in chunks:
                self.write(chunk)
            return
        self._file = source
        for chunk in chunks:
            self._update_checksums(chunk)
        source.truncate(self.size)

    def copy(self, stored: StoredObject, content: BinaryIO) -> None:
        """Write the whole content of another object, whose checksums are known."""
        if not stored.md5:  # an object made of parts has no MD5 of the whole
            while chunk := content.read(CHUNK_SIZE):
                self.write(chunk)
            return
        self._blobs.copy(content, self._open_file(), stored.size)
        self._known_md5, self.crc64, self.size = stored.md5, stored.crc64, stored.size

    def hash_parts(self) -> None:
        """Compute one MD5 over all parts that follow; without this call the parts are not even read."""
        self._hashes_parts = True

    def append_part(self, part: Part, content: BinaryIO) -> None:
        """Append the whole content of a part."""
        if self._hashes_parts:
            while chunk := content.read(CHUNK_SIZE):
                self._hash.update(chunk)
            content.seek(0)
        self._blobs.copy(content, self._open_file(), part.size)
        self.crc64 = combine_crc64(self.crc64, part.crc64, part.size)
        self.size += part.size

    def open(self) -> BinaryIO:
        """Open the written bytes for reading."""
        self._open_file().flush()
        file = self._blobs.open("", self._name)
        if file is None:
            raise FileNotFoundError("the file of an upload in progress was removed")
        return file

    def commit(
        self, key: str, content_type: str, headers: dict[str, str], *, now: float, forbid_overwrite: bool = False
    ) -> StoredObject:
        """Make the content an object in one step; until then the key has its old content.

        :raises OSSError: 409 FileAlreadyExists, when `forbid_overwrite` is set and the key has an object.
        """
        file = self._finish(key)
        stored = StoredObject(key, self.size, self.md5, self.crc64, content_type, now, headers, file)
        self._add(stored, forbid_overwrite, None)
        self._committed = True
        return stored

    def commit_part(self, upload: MultipartUpload, number: int, *, now: float) -> Part:
        """Make the content a part, which replaces a part of the same number.

        :raises OSSError: 404 NoSuchUpload, when the upload has ended. In a sequential upload 409 PartAlreadyExist for a
            second part of a number, and 400 PartNotSequential for a number that does not follow the last one.
        """
        part = Part(number, self.size, self.md5, self.crc64, now, self._finish(""))
        self._add_part(upload, part)
        self._committed = True
        return part

    def commit_parts(
        self, parts: Sequence[Part], upload: MultipartUpload, *, now: float, forbid_overwrite: bool = False
    ) -> StoredObject:
        """Make the appended parts one object.

        Its ETag is the MD5 of the parts' ETags as they are written, joined, not of the content (the Go SDK's tests have
        one of OSS's). It has an MD5 only after `hash_parts()`.

        :raises OSSError: as of `commit`, and 404 NoSuchUpload when the upload has ended.
        """
        etags = "".join(part.etag for part in parts)
        digest = hashlib.md5(etags.encode(), usedforsecurity=False).hexdigest()
        etag = f"{digest.upper()}-{len(parts)}"
        file = self._finish(upload.key)
        crc = self.crc64
        md5 = self.md5 if self._hashes_parts else ""
        stored = StoredObject(upload.key, self.size, md5, crc, upload.content_type, now, upload.headers, file, etag)
        self._add(stored, forbid_overwrite, upload)
        self._committed = True
        return stored

    def _open_file(self) -> BinaryIO:
        if self._file is None:
            self._file = self._blobs.create(self._name)
        return self._file

    def _update_checksums(self, chunk: bytes) -> None:
        self._hash.update(chunk)
        self.crc64 = crc64.xz(chunk, self.crc64)
        self.size += len(chunk)

    def _finish(self, key: str) -> str:
        """Sync and close the file under its final name; return the name."""
        file = self._open_file()
        name = file_name(key, self._name)
        self._blobs.rename(self._name, name)
        self._name = name
        self._blobs.sync(file)
        file.close()
        return name


def file_name(key: str, token: str) -> str:
    """Return a name that ends as the key does: readable, valid on any system, and unique by its token."""
    base = re.sub(r"[^\w.() -]", "_", key.rstrip("/").rpartition("/")[2]).strip(". ")
    stem, dot, extension = base.rpartition(".")
    if not stem or len(extension.encode()) > 16:
        stem, dot, extension = base, "", ""
    stem = stem.encode()[:MAX_STEM_SIZE].decode(errors="ignore")
    return f"{stem}-{token}{dot}{extension}"


def combine_crc64(first: int, second: int, second_size: int) -> int:
    """Return the CRC-64 of two contents joined, from the CRC-64 of each.

    As zlib's crc32_combine does, it appends as many zero bytes to the first as the second has.

    :param second_size: in bytes.
    """
    return _apply(_zeros_operator(second_size), first) ^ second


# All parts of an upload but the last have one size.
@lru_cache(maxsize=16)
def _zeros_operator(size: int) -> tuple[int, ...]:
    """Return the operator that appends `size` zero bytes: for each bit of a CRC, the CRC that it becomes."""
    operator = tuple(1 << bit for bit in range(64))
    power = (POLYNOMIAL, *(1 << bit for bit in range(63)))
    bits = size * 8
    while bits:
        if bits & 1:
            operator = tuple(_apply(power, row) for row in operator)
        power = tuple(_apply(power, row) for row in power)
        bits >>= 1
    return operator


def _apply(operator: Iterable[int], crc: int) -> int:
    result = 0
    for row in operator:
        if crc & 1:
            result ^= row
        crc >>= 1
    return result
