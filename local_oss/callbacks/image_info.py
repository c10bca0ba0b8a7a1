"""The size and format of a picture, for ${imageInfo.*} in callbacks (protocol.md 7.2)."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import BinaryIO

import imagesize

#: The first bytes of each format except webp.
SIGNATURES = {
    b"\xff\xd8\xff": "jpg",
    b"\x89PNG\r\n\x1a\n": "png",
    b"GIF87a": "gif",
    b"GIF89a": "gif",
    b"BM": "bmp",
    b"II*\x00": "tiff",
    b"MM\x00*": "tiff",
}

#: The most reads to find a picture's size: a JPEG takes four for each segment before the size.
_MAX_READS = 20_000
_MAX_BYTES = 4 * 1024 * 1024


class TooManyReadsError(Exception):
    """Raised for a picture that takes more reads, or more bytes, than any that a program writes."""


class BoundedFile:
    """A file that limits the number of reads and of bytes: libraries read a picture block by block."""

    def __init__(self, file: BinaryIO, reads: int, size: int) -> None:
        self._file = file
        self._reads = reads
        self._size = size

    def read(self, size: int = -1, /) -> bytes:
        data = self._file.read(size)
        self._reads -= 1
        self._size -= len(data)
        if self._reads < 0 or self._size < 0:
            raise TooManyReadsError
        return data

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def close(self) -> None:
        """Do nothing: the caller, which opened the file, closes it."""


@dataclass(frozen=True)
class ImageInfo:
    """Format, and width and height in pixels as stored: the EXIF orientation does not count."""

    width: int
    height: int
    format: str


def read_image_info(file: BinaryIO) -> ImageInfo | None:
    """Return size and format, None if the file is not a picture or its size takes too many reads to find.

    The first bytes decide, not the content type, which the browser chooses.
    """
    image_format = _format_of(file.read(32))
    if image_format is None:
        return None
    file.seek(0)
    width, height = imagesize.get(BoundedFile(file, _MAX_READS, _MAX_BYTES), exif_rotation=False)
    return ImageInfo(width, height, image_format) if width > 0 and height > 0 else None


def _format_of(head: bytes) -> str | None:
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "webp"
    return next((name for signature, name in SIGNATURES.items() if head.startswith(signature)), None)
