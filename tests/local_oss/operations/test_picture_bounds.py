"""Pictures of a few kilobytes that ask for minutes and gigabytes: each is a real file that a library would read."""

import io
import os
import struct
import threading
import zlib
from urllib.parse import quote

import pytest
from PIL import Image
from webtest import TestApp

from local_oss import LocalOSS
from local_oss.callbacks.image_info import BoundedFile, ImageInfo, TooManyReadsError, read_image_info
from local_oss.errors import OSSError
from local_oss.operations import picture_bounds
from local_oss.operations.picture_bounds import MAX_FRAMES, Turns, in_turn
from local_oss.operations.routes import PROCESS

from ...support.waiting import wait_until
from .. import stored

WAIT = 60
RESIZE = "image/resize,w_5"


@pytest.fixture(scope="module")
def ask():
    """Yield a function that stores a picture and gets it processed."""
    oss = LocalOSS(key_bits=512, acl="public-read")

    def ask(text, content, *, status=200):
        stored.put(oss.storage.bucket("examplebucket"), "p", content)
        return TestApp(oss).get(f"/examplebucket/p?{PROCESS}={quote(text)}", status=status)

    yield ask
    oss.close()


def refusal(response):
    return response.xml.findtext("Code"), response.xml.findtext("Message")


def saved(image_format, width=10, height=10, mode="RGB", **options):
    buffer = io.BytesIO()
    Image.new(mode, (width, height)).save(buffer, image_format, **options)
    return buffer.getvalue()


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_with(*chunks, after=()):
    """Return a PNG with further chunks before and after its pixels."""
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 10, 10, 8, 0, 0, 0, 0))
    pixels = chunk(b"IDAT", zlib.compress(bytes(11) * 10))
    return b"\x89PNG\r\n\x1a\n" + head + b"".join(chunks) + pixels + b"".join(after) + chunk(b"IEND", b"")


ENTRIES = [(256, 3, 1, 1), (257, 3, 1, 1), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1), (273, 4, 1, 8)]
ENTRIES += [(277, 3, 1, 1), (278, 3, 1, 1), (279, 4, 1, 1)]


def directory(entries, following=0):
    packed = b"".join(struct.pack("<HHII", *entry) for entry in sorted(entries))
    return struct.pack("<H", len(entries)) + packed + struct.pack("<I", following)


def tiff(pictures=1, *more, data=b""):
    """Return a TIFF of pictures of a pixel, each with further entries."""
    size = len(directory([*ENTRIES, *more]))
    after = [8 + size * number for number in range(1, pictures)] + [0]
    return b"II*\0" + struct.pack("<I", 8) + b"".join(directory([*ENTRIES, *more], each) for each in after) + data


def gif(frames):
    frame = b"\x2c" + struct.pack("<HHHHB", 0, 0, 1, 1, 0) + b"\x02\x02\x44\x01\x00"
    return b"GIF89a" + struct.pack("<HH", 1, 1) + b"\x80\0\0" + bytes(6) + frame * frames + b";"


def webp(frames):
    def block(kind, data):
        return kind + struct.pack("<I", len(data)) + data + bytes(len(data) % 2)

    picture = saved("WEBP", 1, 1, lossless=True)[12:]
    frame = block(b"ANMF", bytes(12) + b"\x64\0\0\0" + picture)
    blocks = b"WEBP" + block(b"VP8X", b"\x02" + bytes(9)) + block(b"ANIM", bytes(6)) + frame * frames
    return b"RIFF" + struct.pack("<I", len(blocks)) + blocks


def apng(frames):
    first = struct.pack(">IIIIIHHBB", 0, 10, 10, 0, 0, 1, 1, 0, 0)
    return png_with(chunk(b"acTL", struct.pack(">II", frames, 0)), chunk(b"fcTL", first))


@pytest.mark.parametrize("make", [tiff, gif, webp, apng])
def test_a_picture_of_too_many_frames_is_too_large(ask, make):
    assert ask("image/info", make(3)).json["FrameCount"]["value"] == "3"
    content = make(MAX_FRAMES + 1)
    for text in ("image/info", RESIZE):
        assert refusal(ask(text, content, status=400)) == ("ImageTooLarge", "The picture has more than 10000 frames.")


def test_the_directories_of_a_tiff_may_be_a_circle(ask):
    circle = b"II*\0" + struct.pack("<I", 8) + directory(ENTRIES, 8)
    assert ask("image/info", circle).json["FrameCount"]["value"] == "1"
    assert ask(RESIZE, circle)


def test_a_jpeg_that_is_decoded_again_and_again_is_too_large(ask):
    content = saved("JPEG", 100, 100, mode="L", progressive=True)
    last = content.rindex(b"\xff\xda")
    assert ask(RESIZE, content)
    many = content[:-2] + content[last:-2] * 100 + content[-2:]
    assert refusal(ask(RESIZE, many, status=400))[0] == "ImageTooLarge"


def test_a_large_jpeg_may_have_fewer_scans(ask):
    content = saved("JPEG", 9000, 9000, mode="L", progressive=True)
    last = content.rindex(b"\xff\xda")
    some = content[:-2] + content[last:-2] * 10 + content[-2:]
    assert refusal(ask(RESIZE, some, status=400)) == ("ImageTooLarge", "The picture has 16 scans of all its pixels.")


RATIONALS = bytes([1]) * 8 * 100_001
EXIF = b"II*\0" + struct.pack("<I", 8) + directory([(282, 5, 32_000, 26)]) + bytes(32_000 * 8)
EXIF_SEGMENT = b"\xff\xe1" + struct.pack(">H", 60_008) + b"Exif\0\0" + EXIF[:60_000]


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(tiff(1, (282, 5, 100_001, 134), data=RATIONALS), id="in a TIFF"),
        pytest.param(
            tiff(1, (0x8769, 4, 1, 134), data=directory([(37_386, 5, 100_001, 152)]) + RATIONALS), id="in its EXIF"
        ),
        pytest.param(png_with(chunk(b"eXIf", EXIF + bytes(10_000))), id="in a PNG"),
        pytest.param(b"\xff\xd8" + EXIF_SEGMENT * 5 + saved("JPEG")[2:], id="in a JPEG"),
    ],
)
def test_more_values_than_a_picture_needs_are_too_large(ask, content):
    for text in ("image/info", "image/auto-orient,1"):
        assert refusal(ask(text, content, status=400))[0] == "ImageTooLarge"


def test_exif_data_behind_the_pixels_are_looked_at(ask):
    content = png_with(after=[chunk(b"eXIf", EXIF + bytes(10_000))])
    assert refusal(ask("image/auto-orient,1", content, status=400))[0] == "ImageTooLarge"


@pytest.mark.slow
@pytest.mark.parametrize(
    "content",
    [
        pytest.param(png_with(chunk(b"teSt", b"") * 400_000), id="PNG"),
        pytest.param(gif(1)[:-1] + b"\x21\xfe" + b"\x01a" * 400_000 + b"\0;", id="GIF"),
    ],
)
def test_more_blocks_than_a_picture_needs_are_too_large(ask, content):
    assert refusal(ask("image/info", content, status=400)) == ("ImageTooLarge", "The picture has too many blocks.")


@pytest.mark.parametrize("filler", [b"\xff\xe3\x00\x02", b"\xff"])
def test_the_size_of_a_jpeg_is_not_searched_for_ever(ask, filler):
    content = saved("JPEG")
    assert read_image_info(io.BytesIO(content[:2] + filler * 100 + content[2:])) == ImageInfo(10, 10, "jpg")
    assert read_image_info(io.BytesIO(content[:2] + filler * 40_000 + content[2:])) is None


def test_a_bounded_file_counts_reads_and_bytes():
    for reads, size in ((1, 100), (100, 5)):
        bounded = BoundedFile(io.BytesIO(bytes(10)), reads, size)
        assert bounded.read(4) == bytes(4)
        with pytest.raises(TooManyReadsError):
            bounded.read(4)


def test_a_picture_that_says_two_sizes_is_damaged(ask, monkeypatch):
    monkeypatch.setattr("local_oss.operations.image_process.read_image_info", lambda file: ImageInfo(9, 9, "png"))
    assert refusal(ask(RESIZE, saved("PNG"), status=400))[0] == "BadRequest"


def test_the_results_of_all_actions_together_are_bounded(ask):
    large = "/resize,m_fixed,w_4096,h_4096,limit_0"
    assert ask("image" + "/resize,w_100,limit_0/crop,w_90" * 10, saved("PNG")).status_int == 200
    response = ask("image" + large * 3, saved("PNG"), status=400)
    assert (response.xml.findtext("Code"), response.xml.findtext("EC")) == ("ImageTooLarge", "0040-00000007")
    assert "all actions" in response.xml.findtext("Message")


@pytest.mark.parametrize("action", ["fixed", "fill", "pad", "mfit"])
def test_each_way_to_resize_counts(ask, action):
    text = "image" + f"/resize,m_{action},w_4096,h_4096,limit_0/crop,w_10,h_10" * 3
    assert refusal(ask(text, saved("PNG", mode="1"), status=400))[0] == "ImageTooLarge"


@pytest.mark.parametrize("action", ["crop,x_1", "auto-orient,1"])
def test_what_keeps_most_of_a_picture_counts(ask, action):
    content = saved("PNG", 6000, 6000, mode="1")
    assert ask(f"image/{action}/resize,w_10", content)
    assert refusal(ask(f"image/{action}/{action}/resize,w_10", content, status=400))[0] == "ImageTooLarge"


def test_a_photograph_may_be_turned_cut_and_made_smaller(ask):
    content = saved("JPEG", 4000, 3000)
    assert ask("image/auto-orient,1/crop,w_3900/resize,w_3000/resize,w_200/format,png/quality,q_80", content)


def test_pictures_wait_for_each_other_and_not_for_ever(ask, monkeypatch):
    monkeypatch.setattr(picture_bounds, "MAX_WAIT", 0.01)
    with in_turn(ImageInfo(9000, 9000, "png")):
        assert ask(RESIZE, saved("PNG"))
        with in_turn(ImageInfo(1, 1, "png")):
            for text in (RESIZE, "image/info"):
                message = "Other pictures take all memory that the local OSS has for pictures: ask again later."
                assert refusal(ask(text, saved("PNG", 4000, 3000, mode="1"), status=400)) == ("ImageTooLarge", message)
    assert ask(RESIZE, saved("PNG", 4000, 3000, mode="1"))


def test_a_picture_that_is_refused_gives_its_turn_back(ask, monkeypatch):
    monkeypatch.setattr(picture_bounds, "MAX_WAIT", 0.01)
    for _ in range(20):
        ask(RESIZE, saved("PNG")[:41], status=400)
    assert ask(RESIZE, saved("PNG", 4000, 3000, mode="1"))


def test_a_large_picture_is_not_overtaken_for_ever():
    turns, order = Turns(10), []

    def large():
        with turns.turn(10, WAIT):
            order.append("large")

    def has_to_wait():
        try:
            with turns.turn(1, 0):
                return False
        except OSSError:
            return True

    thread = threading.Thread(target=large)
    with turns.turn(6, WAIT):
        thread.start()
        wait_until(has_to_wait)  # although there is room for it
        assert order == []
    thread.join(WAIT)
    assert order == ["large"]
    assert not has_to_wait()


@pytest.mark.slow
def test_a_fork_has_no_picture_of_its_parent():
    turns = Turns(10)
    with turns.turn(10, WAIT):
        child = os.fork()
        if not child:
            try:
                with turns.turn(10, 0):
                    os._exit(0)
            finally:
                os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    with turns.turn(10, 0):
        pass
