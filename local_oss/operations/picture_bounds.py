"""Limits on the cost of pictures: bytes, pixels, frames, and the pictures that are processed at once.

A file of a few kilobytes can cost minutes and gigabytes. These checks read the file before Pillow decodes it. Pillow
reads the file through a BoundedFile.
"""

from __future__ import annotations

import struct
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO, cast

from oss_wsgi.threads import ForkAware

from ..callbacks.image_info import BoundedFile, ImageInfo
from ..errors import OSSError

MAX_SOURCE_SIZE = 20 * 1024 * 1024
MAX_SOURCE_SIDE = 30_000
#: Pillow's own limit, 4 bytes each. OSS has 250 million.
MAX_SOURCE_PIXELS = 89_478_485
MAX_SIDE = 16_384
MAX_PIXELS = 16_777_216
MAX_FRAMES = 10_000

#: All results of a source's actions together may have this many pixels more than the source.
_MORE_PIXELS = 2 * MAX_PIXELS
#: The most pixels of the pictures processed at once. Each picture counts as its source and one largest result, so one
#: of the largest sources fits, or seven thumbnails.
_PIXELS_AT_ONCE = 8 * MAX_PIXELS
MAX_WAIT = 60.0

#: Pillow reads a GIF of the largest size twice, with two reads for each 128 bytes.
_MAX_READS = 700_000
#: A progressive JPEG has 10 scans, each of which is decoded over all pixels.
_MAX_SCANS = 100
_MAX_SCANNED_PIXELS = 12 * MAX_SOURCE_PIXELS
#: A block of EXIF data in a JPEG has at most 64 KiB; there may be several blocks.
_MAX_EXIF_BLOCKS = 4
MAX_EXIF = _MAX_EXIF_BLOCKS * 64 * 1024
#: The most values that are not bytes: Pillow makes an object of each. A TIFF has one for each strip.
_MAX_NUMBERS = 100_000
#: The types of TIFF whose values stay bytes: BYTE, ASCII and UNDEFINED.
_BYTES = (1, 2, 7)
#: Tags that point to further values of the same picture: EXIF, GPS, interoperability.
_FURTHER = (0x8769, 0x8825, 0xA005)


def bounded(file: BinaryIO, size: int) -> BinaryIO:
    """Return the file of a picture as a BoundedFile, which has the methods that Pillow uses."""
    return cast(BinaryIO, BoundedFile(file, _MAX_READS, 4 * size + 16 * 1024 * 1024))


def check_source(width: int, height: int) -> None:
    """Raise OSSError for a source with too many pixels."""
    if max(width, height) > MAX_SOURCE_SIDE or width * height > MAX_SOURCE_PIXELS:
        message = f"The picture has a side of more than {MAX_SOURCE_SIDE} pixels, or more than {MAX_SOURCE_PIXELS}."
        raise too_large(message)


def check_structure(file: BinaryIO, info: ImageInfo, size: int) -> int:
    """Raise OSSError for a JPEG or a TIFF that costs more than its pixels say, before Pillow opens it.

    Return how many frames a TIFF has, and 0 for other formats, whose frames Pillow counts in linear time.

    :raises struct.error: a TIFF is cut off.
    """
    if info.format == "jpg":
        data = file.read()
        # In coded data, FF is followed by 00.
        scans = data.count(b"\xff\xda")
        if scans > _MAX_SCANS or scans * info.width * info.height > _MAX_SCANNED_PIXELS:
            raise too_large(f"The picture has {scans} scans of all its pixels.")
        if data.count(b"Exif\0\0") > _MAX_EXIF_BLOCKS:
            raise too_large(f"The picture has EXIF data of more than {MAX_EXIF} bytes.")
    elif info.format == "tiff":
        return _directories(bounded(file, size))
    return 0


def check_frames(count: int) -> None:
    """Raise OSSError for a picture of too many frames."""
    if count > MAX_FRAMES:
        raise too_large(f"The picture has more than {MAX_FRAMES} frames.")


def check_result(width: int, height: int) -> None:
    """Raise OSSError for a resized picture with too many pixels."""
    if max(width, height) > MAX_SIDE or width * height > MAX_PIXELS:
        message = f"The picture would have a side of more than {MAX_SIDE} pixels, or more than {MAX_PIXELS}."
        raise too_large(message, "0040-00000007")


class ResultPixels:
    """Counts the pixels of the results of all actions on a source."""

    def __init__(self, source: tuple[int, int]) -> None:
        self._left = source[0] * source[1] + _MORE_PIXELS

    def take(self, width: int, height: int) -> None:
        """Count the next result; raise OSSError if the results then have too many pixels."""
        self._left -= width * height
        if self._left < 0:
            message = (
                f"The results of all actions would have more than {_MORE_PIXELS} pixels beside those of the picture."
            )
            raise too_large(message, "0040-00000007")


class Turns(ForkAware):
    """Lets pictures be processed at once as long as they fit into memory; the others wait, in their order."""

    def __init__(self, pixels: int) -> None:
        self._pixels = pixels
        self._begin()
        super().__init__()

    def _begin(self) -> None:
        self._free = self._pixels
        self._waiting: deque[object] = deque()
        self._changed = threading.Condition()

    @contextmanager
    def turn(self, pixels: int, seconds: float) -> Iterator[None]:
        """Wait until a picture of so many pixels may be processed; raise OSSError after `seconds`."""
        ticket = object()
        with self._changed:
            self._waiting.append(ticket)
            try:
                may_begin = self._changed.wait_for(lambda: self._waiting[0] is ticket and pixels <= self._free, seconds)
            finally:
                self._waiting.remove(ticket)
                self._changed.notify_all()
            if may_begin:
                self._free -= pixels
        if not may_begin:
            raise too_large("Other pictures take all memory that the local OSS has for pictures: ask again later.")
        try:
            yield
        finally:
            with self._changed:
                self._free += pixels
                self._changed.notify_all()

    @contextmanager
    def _paused(self) -> Iterator[None]:
        with self._changed:
            yield

    def _renew_in_child(self) -> None:
        self._begin()  # the child has no other threads


#: The whole process shares this: it may have several LocalOSS.
_TURNS = Turns(_PIXELS_AT_ONCE)


@contextmanager
def in_turn(info: ImageInfo) -> Iterator[None]:
    """Process a picture when there is memory for it; raise OSSError if there is none for a minute."""
    with _TURNS.turn(info.width * info.height + MAX_PIXELS, MAX_WAIT):
        yield


def too_large(message: str, ec: str = "") -> OSSError:
    return OSSError(400, "ImageTooLarge", message, ec)


def _directories(file: BinaryIO) -> int:
    """Check the values of a TIFF's first picture, and count the pictures up to MAX_FRAMES + 1."""
    head = file.read(8)
    order = "<" if head[:2] == b"II" else ">"
    offset = first = struct.unpack(f"{order}I", head[4:])[0]
    seen: set[int] = set()
    while offset and offset not in seen and len(seen) <= MAX_FRAMES:
        seen.add(offset)
        file.seek(offset)
        file.seek(12 * struct.unpack(f"{order}H", file.read(2))[0], 1)
        after = file.read(4)
        offset = struct.unpack(f"{order}I", after)[0] if len(after) == 4 else 0
    if first:
        _check_values(file, order, first)
    return len(seen)


def _check_values(file: BinaryIO, order: str, first: int) -> None:
    numbers, seen, left = 0, set[int](), [first]
    while left:
        offset = left.pop()
        if offset in seen:
            continue
        seen.add(offset)
        file.seek(offset)
        count = file.read(2)
        entries = file.read(12 * struct.unpack(f"{order}H", count)[0]) if len(count) == 2 else b""
        for tag, kind, values, value in struct.iter_unpack(f"{order}HHII", entries[: len(entries) // 12 * 12]):
            numbers += values if kind not in _BYTES else 0
            if tag in _FURTHER:
                left.append(value)
    if numbers > _MAX_NUMBERS:
        raise too_large(f"The picture has {numbers} values beside its pixels.")
