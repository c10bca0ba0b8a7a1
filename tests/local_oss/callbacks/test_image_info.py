import struct
import zlib

import pytest

from local_oss.callbacks.image_info import ImageInfo, read_image_info


def png(width, height):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    rows = zlib.compress((b"\0" + b"\0" * width) * height)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def jpeg(width, height, orientation=None):
    exif = b""
    if orientation:
        tiff = b"MM\x00*\x00\x00\x00\x08\x00\x01\x01\x12\x00\x03\x00\x00\x00\x01" + struct.pack(">HH", orientation, 0)
        tiff += b"\x00\x00\x00\x00"
        exif = b"\xff\xe1" + struct.pack(">H", len(tiff) + 8) + b"Exif\x00\x00" + tiff
    start_of_frame = b"\xff\xc0" + struct.pack(">HBHHB", 11, 8, height, width, 1) + b"\x01\x11\x00"
    return b"\xff\xd8" + exif + start_of_frame + b"\xff\xda\x00\x08\x01\x01\x00\x00\x3f\x00\x00\xff\xd9"


def gif(width, height):
    return b"GIF89a" + struct.pack("<HHBBB", width, height, 0, 0, 0) + b";"


def bmp(width, height):
    return b"BM" + struct.pack("<IHHI", 54, 0, 0, 54) + struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, *[0] * 6)


def webp(width, height):
    size = struct.pack("<I", width - 1)[:3] + struct.pack("<I", height - 1)[:3]
    return b"RIFF" + struct.pack("<I", 22) + b"WEBPVP8X" + struct.pack("<I", 10) + b"\0\0\0\0" + size


def tiff(width, height):
    entries = struct.pack("<HHII", 256, 4, 1, width) + struct.pack("<HHII", 257, 4, 1, height)
    return b"II*\x00" + struct.pack("<IH", 8, 2) + entries + struct.pack("<I", 0)


def read(path):
    with path.open("rb") as file:
        return read_image_info(file)


@pytest.mark.parametrize(
    ("content", "kind"),
    [(png, "png"), (jpeg, "jpg"), (gif, "gif"), (bmp, "bmp"), (webp, "webp"), (tiff, "tiff")],
    ids=["png", "jpg", "gif", "bmp", "webp", "tiff"],
)
def test_a_picture_has_its_size_and_format(tmp_path, content, kind):
    path = tmp_path / "picture"
    path.write_bytes(content(200, 278))
    assert read(path) == ImageInfo(200, 278, kind)


def test_the_exif_orientation_is_ignored(tmp_path):
    path = tmp_path / "photograph"
    path.write_bytes(jpeg(200, 278, orientation=6))
    assert read(path) == ImageInfo(200, 278, "jpg")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"hi oss",
        b"RIFF\0\0\0\0WAVE",
        b"\x89PNG\r\n\x1a\n",
        b"\xff\xd8\xff\xe0",
        b"GIF89a",
        b"BM",
        b"II*\x00\xff\xff\xff\xff",
        b'<svg xmlns="http://www.w3.org/2000/svg" width="1" height="1"/>',
    ],
)
def test_a_file_that_is_not_a_picture_has_none(tmp_path, content):
    path = tmp_path / "file.png"
    path.write_bytes(content)
    assert read(path) is None
