"""Content on its way into a bucket: MD5 and CRC-64 are made as it passes."""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from types import TracebackType
from typing import BinaryIO, Protocol

from fastcrc import crc64

from .contents import write_all
from .interface import MultipartUpload, Part, StoredObject

# The polynomial of ECMA-182, its bits reversed.
POLYNOMIAL = 0xC96C5795D7870F42


def combine(first: int, second: int, second_size: int) -> int:
    """:param second_size: in bytes. As zlib does for CRC-32: that many zero bytes are appended to the first."""
    return _apply(_zeros(second_size), first) ^ second


# The parts of one upload have one size, but for the last.
@lru_cache(maxsize=16)
def _zeros(size: int) -> tuple[int, ...]:
    """What becomes of each bit of a CRC when `size` zero bytes follow."""
    whole = tuple(1 << bit for bit in range(64))
    step = (POLYNOMIAL, *(1 << bit for bit in range(63)))
    bits = size * 8
    while bits:
        if bits & 1:
            whole = tuple(_apply(step, row) for row in whole)
        step = tuple(_apply(step, row) for row in step)
        bits >>= 1
    return whole


def _apply(operator: Iterable[int], crc: int) -> int:
    result = 0
    for row in operator:
        if crc & 1:
            result ^= row
        crc >>= 1
    return result


MAX_STEM_SIZE = 120

CHUNK_SIZE = 1024 * 1024


class Contents(Protocol):
    """Where a storage keeps what the index only names; a file lies in a place once it was kept there."""

    def create(self, name: str, /) -> BinaryIO: ...
    def take(self, source: BinaryIO, name: str, /) -> bool: ...
    def spool(self) -> BinaryIO | None: ...
    def rename(self, name: str, new: str, /) -> None: ...
    def open(self, place: str, name: str, /) -> BinaryIO | None: ...
    def sync(self, file: BinaryIO, /) -> None: ...
    def keep(self, place: str, name: str, /) -> None: ...
    def set_aside(self, place: str, name: str, /) -> None: ...
    def discard(self, name: str, /) -> None: ...
    def copy(self, source: BinaryIO, target: BinaryIO, size: int, /) -> None: ...
    def remove_place(self, place: str, /) -> None: ...
    def close(self) -> None: ...


class Keeper(Protocol):
    """The bucket, which alone writes to the index."""

    def add(self, stored: StoredObject, /, *, forbid_overwrite: bool) -> None: ...
    def add_part(self, upload: MultipartUpload, part: Part, /) -> None: ...


class IncomingContent:
    """A file that vanishes unless a commit makes it an object or a part."""

    def __init__(self, contents: Contents, keeper: Keeper) -> None:
        self._contents = contents
        self._keeper = keeper
        self._name = secrets.token_hex(8)
        self._file: BinaryIO | None = None
        self._hash = hashlib.md5(usedforsecurity=False)
        self._known_md5 = ""
        self._committed = False
        self.crc64 = 0
        self.size = 0

    def __enter__(self) -> IncomingContent:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._file:
            self._file.close()
        if not self._committed:
            self._contents.discard(self._name)

    @property
    def md5(self) -> str:
        return self._known_md5 or self._hash.hexdigest()

    def write(self, chunk: bytes) -> None:
        write_all(self._target(), chunk)
        self._count(chunk)

    def receive(self, chunks: Iterable[bytes], source: BinaryIO | None) -> None:
        if source is None or not self._contents.take(source, self._name):
            for chunk in chunks:
                self.write(chunk)
            return
        self._file = source
        for chunk in chunks:
            self._count(chunk)
        source.truncate(self.size)

    def copy(self, stored: StoredObject, content: BinaryIO) -> None:
        if not stored.md5:  # an object made of parts has no MD5 of the whole
            while chunk := content.read(CHUNK_SIZE):
                self.write(chunk)
            return
        self._contents.copy(content, self._target(), stored.size)
        self._known_md5, self.crc64, self.size = stored.md5, stored.crc64, stored.size

    def open(self) -> BinaryIO:
        self._target().flush()
        file = self._contents.open("", self._name)
        if file is None:
            raise FileNotFoundError("an upload under way was removed")
        return file

    def commit(
        self, key: str, content_type: str, headers: dict[str, str], *, now: float, forbid_overwrite: bool = False
    ) -> StoredObject:
        file = self._finish(key)
        stored = StoredObject(key, self.size, self.md5, self.crc64, content_type, now, headers, file)
        self._keeper.add(stored, forbid_overwrite=forbid_overwrite)
        self._committed = True
        return stored

    def append(self, part: Part, content: BinaryIO) -> None:
        """A part's whole content, behind what is there."""
        self._contents.copy(content, self._target(), part.size)
        self.crc64 = combine(self.crc64, part.crc64, part.size)
        self.size += part.size

    def commit_made_of(
        self,
        parts: Sequence[Part],
        upload: MultipartUpload,
        add: Callable[[StoredObject], None],
        *,
        now: float,
    ) -> StoredObject:
        """The object that an upload becomes: its ETag tells of its parts, not of its bytes."""
        digest = hashlib.md5(b"".join(bytes.fromhex(part.md5) for part in parts), usedforsecurity=False).hexdigest()
        etag = f"{digest.upper()}-{len(parts)}"
        file = self._finish(upload.key)
        crc = self.crc64
        stored = StoredObject(upload.key, self.size, "", crc, upload.content_type, now, upload.headers, file, etag)
        add(stored)
        self._committed = True
        return stored

    def commit_part(self, upload: MultipartUpload, number: int, *, now: float) -> Part:
        part = Part(number, self.size, self.md5, self.crc64, now, self._finish(""))
        self._keeper.add_part(upload, part)
        self._committed = True
        return part

    def _target(self) -> BinaryIO:
        if self._file is None:
            self._file = self._contents.create(self._name)
        return self._file

    def _count(self, chunk: bytes) -> None:
        self._hash.update(chunk)
        self.crc64 = crc64.xz(chunk, self.crc64)
        self.size += len(chunk)

    def _finish(self, key: str) -> str:
        """Makes the content last, under the name that it keeps."""
        file = self._target()
        name = file_name(key, self._name)
        self._contents.rename(self._name, name)
        self._name = name
        self._contents.sync(file)
        file.close()
        return name


def file_name(key: str, token: str) -> str:
    """A new name that ends as the key does: readable, portable, and never the name of another upload."""
    base = re.sub(r"[^\w.() -]", "_", key.rstrip("/").rpartition("/")[2]).strip(". ")
    stem, dot, extension = base.rpartition(".")
    if not stem or len(extension.encode()) > 16:
        stem, dot, extension = base, "", ""
    stem = stem.encode()[:MAX_STEM_SIZE].decode(errors="ignore")
    return f"{stem}-{token}{dot}{extension}"
