"""The size and format of a picture, for ${imageInfo.*} in callbacks (protocol.md 7.2)."""

from __future__ import annotations

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


@dataclass(frozen=True)
class ImageInfo:
    """Width and height in pixels, as the file has them: a photograph is not turned."""

    width: int
    height: int
    format: str


def read_image_info(file: BinaryIO) -> ImageInfo | None:
    """Return size and format, None if the file is not a picture.

    The first bytes decide, not the content type, which the browser chooses.
    """
    image_format = _format_of(file.read(32))
    if image_format is None:
        return None
    file.seek(0)
    width, height = imagesize.get(file, exif_rotation=False)
    return ImageInfo(width, height, image_format) if width > 0 and height > 0 else None


def _format_of(head: bytes) -> str | None:
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "webp"
    return next((name for signature, name in SIGNATURES.items() if head.startswith(signature)), None)
