"""Writing of new content, which a bucket makes an object or a part."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

from fastcrc import crc64

from ...parts.crc64 import joined
from .blob_folder import CHUNK_SIZE, BlobFolder, copy_bytes
from .records import Part, StoredObject


class ObjectWriter:
    """A new file, whose MD5 and CRC-64 are computed while it is written.

    It is deleted at the end of the `with` block unless a bucket has made it an object or a part.

    :ivar path: where the file is.
    :ivar is_stored: whether a bucket has made it an object or a part.
    """

    def __init__(self, blobs: BlobFolder) -> None:
        self._blobs = blobs
        self._file: BinaryIO | None = None
        self._hash = hashlib.md5(usedforsecurity=False)
        self._known_md5: str | None = None
        self.path: Path | None = None
        self.is_stored = False
        self.crc64 = 0
        self.size = 0

    def __enter__(self) -> ObjectWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with suppress(OSError):  # the disk is full: what is stored was synced, and the rest is deleted now
            if self._file:
                self._file.close()
        if self.path and not self.is_stored:
            self.path.unlink(missing_ok=True)

    @property
    def md5(self) -> str:
        """The hexadecimal MD5 of the bytes written so far; "" after parts that were not hashed."""
        return self._hash.hexdigest() if self._known_md5 is None else self._known_md5

    def write(self, chunk: bytes) -> None:
        self._open_file().write(chunk)
        self._update_checksums(chunk)

    def receive(self, chunks: Iterable[bytes], source: BinaryIO | None) -> None:
        """Write the whole content.

        :param chunks: the content, read from `source`.
        :param source: a file from `BlobFolder.create`, which becomes the content itself: that saves a copy.
        """
        if source is None or not self._blobs.has_created(source):
            for chunk in chunks:
                self.write(chunk)
            return
        self._file, self.path = source, Path(source.name)
        for chunk in chunks:
            self._update_checksums(chunk)
        source.truncate(self.size)

    def copy(self, stored: StoredObject, content: BinaryIO) -> None:
        """Write the whole content of another object, whose checksums are known."""
        if not stored.md5:  # an object made of parts has no MD5 of the whole
            while chunk := content.read(CHUNK_SIZE):
                self.write(chunk)
            return
        copy_bytes(content, self._open_file(), stored.size)
        self._known_md5, self.crc64, self.size = stored.md5, stored.crc64, stored.size

    def join(self, parts: Iterable[tuple[Part, BinaryIO]], *, is_hashed: bool) -> None:
        """Write the whole contents of parts.

        :param is_hashed: compute the MD5 of them all; without it they are not even read.
        """
        checksums = []
        for part, content in parts:
            with content:
                if is_hashed:
                    while chunk := content.read(CHUNK_SIZE):
                        self._hash.update(chunk)
                    content.seek(0)
                copy_bytes(content, self._open_file(), part.size)
            checksums.append((part.crc64, part.size))
        self.crc64, self.size = joined(checksums), sum(size for _, size in checksums)
        self._known_md5 = None if is_hashed else ""

    def open(self) -> BinaryIO:
        """Open the written bytes for reading."""
        file = self._open_file()
        file.flush()
        return open(file.name, "rb")

    def finish(self, key: str = "") -> str:
        """Close the file under the name that it keeps, which ends as the key does; return the name."""
        self.path = self._blobs.finish(self._open_file(), key)
        return self.path.name

    def publish(self, folder: str) -> None:
        """Move the file to a folder, in the transaction that names it."""
        if self.path:
            self.path = self._blobs.publish(self.path, folder)

    def _open_file(self) -> BinaryIO:
        if self._file is None:
            self._file = self._blobs.create()
            self.path = Path(self._file.name)
        return self._file

    def _update_checksums(self, chunk: bytes) -> None:
        self._hash.update(chunk)
        self.crc64 = crc64.xz(chunk, self.crc64)
        self.size += len(chunk)
