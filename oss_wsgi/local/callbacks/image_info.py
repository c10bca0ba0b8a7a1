"""Size and format of a stored picture, for ${imageInfo.*} (P§7.2)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import BinaryIO

import imagesize

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
    width: int
    height: int
    format: str


def read_image_info(file: BinaryIO) -> ImageInfo | None:
    """None for what is no picture. The first bytes decide, not the content type, which the browser chose."""
    head = file.read(32)
    kind = "webp" if head[:4] == b"RIFF" and head[8:12] == b"WEBP" else None
    kind = kind or next((kind for signature, kind in SIGNATURES.items() if head.startswith(signature)), None)
    if kind is None:
        return None
    file.seek(0)
    width, height = imagesize.get(file, exif_rotation=False)
    return ImageInfo(width, height, kind) if width > 0 and height > 0 else None
