"""`x-oss-process` on pictures that Pillow draws here."""

import io
import struct
import sys
import zlib
from urllib.parse import quote

import pytest
from PIL import Image
from webtest import TestApp

from local_oss import LocalOSS
from local_oss.operations import image_process
from local_oss.operations.routes import PROCESS

from .. import stored

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 128, 0), (0, 0, 255), (255, 255, 255)


def picture(width=200, height=100, mode="RGB", color=RED, image_format="PNG", **options):
    buffer = io.BytesIO()
    Image.new(mode, (width, height), color).save(buffer, image_format, **options)
    return buffer.getvalue()


def halves(width=200, height=100):
    """Return a picture whose left half is red and whose right half is blue."""
    image = Image.new("RGB", (width, height), RED)
    image.paste(BLUE, (width // 2, 0, width, height))
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture(scope="module")
def ask():
    """Yield a function that stores a picture and gets it processed."""
    oss = LocalOSS(key_bits=512, acl="public-read")

    def ask(text, content=None, *, status=200):
        stored.put(oss.storage.bucket("examplebucket"), "p", picture() if content is None else content)
        return TestApp(oss).get(f"/examplebucket/p?{PROCESS}={quote(text)}", status=status)

    yield ask
    oss.close()


def test_without_pillow_the_error_names_it_and_what_installs_it(ask, monkeypatch):
    drawn = picture()
    monkeypatch.setitem(sys.modules, "PIL", None)
    monkeypatch.delitem(sys.modules, image_process.__name__)
    answer = ask("image/info", drawn, status=501)
    assert "x-oss-process needs Pillow, which is not installed here: pip install 'oss-wsgi[local]'." in answer.text


def opened(response):
    image = Image.open(io.BytesIO(response.body))
    image.load()
    return image


def near(pixel, color):
    return all(abs(a - b) < 12 for a, b in zip(pixel[:3], color, strict=True))


@pytest.mark.parametrize(
    ("arguments", "size"),
    [
        # OSS's page of resize has these of a picture of 200 x 100.
        ("m_lfit,w_150,h_80", (150, 75)),
        ("m_mfit,w_150,h_80", (160, 80)),
        ("m_fill,w_150,h_80", (150, 80)),
        ("m_pad,w_150,h_80", (150, 80)),
        ("m_fixed,w_150,h_80", (150, 80)),
        ("w_100", (100, 50)),
        ("h_20", (40, 20)),
        ("l_100", (100, 50)),
        ("s_20", (40, 20)),
        ("l_100,s_20", (40, 20)),
        ("p_50", (100, 50)),
        ("p_150", (300, 150)),
        ("w_3", (3, 2)),
        ("w_1", (1, 1)),
        ("m_fixed,w_50", (50, 50)),
        ("m_fill,h_60", (60, 60)),
        ("w_400", (200, 100)),
        ("w_400,limit_0", (400, 200)),
        ("m_fixed,w_400,h_50", (200, 100)),
        ("m_fixed,w_400,h_50,limit_0", (400, 50)),
        ("m_fill,w_400,h_400", (200, 100)),
        ("m_fill,w_400,h_400,limit_0", (400, 400)),
        ("m_pad,w_400,h_400", (200, 100)),
        ("m_pad,w_400,h_400,limit_0", (400, 400)),
        ("m_pad,w_400,h_50", (400, 50)),
        ("w_100,l_50", (100, 50)),
    ],
)
def test_resize(ask, arguments, size):
    response = ask(f"image/resize,{arguments}")
    assert response.content_type == "image/png"
    assert opened(response).size == size


def test_fill_keeps_the_middle_and_pad_the_whole_on_its_color(ask):
    middle = opened(ask("image/resize,m_fill,w_50,h_100", halves()))
    assert near(middle.getpixel((5, 50)), RED)
    assert near(middle.getpixel((45, 50)), BLUE)
    padded = opened(ask("image/resize,m_pad,w_100,h_100,color_008000", halves()))
    assert near(padded.getpixel((50, 5)), GREEN)
    assert near(padded.getpixel((5, 50)), RED)
    assert near(opened(ask("image/resize,m_pad,w_100,h_100", halves())).getpixel((50, 95)), WHITE)


@pytest.mark.parametrize(
    ("arguments", "size", "color"),
    [
        ("w_50,h_40", (50, 40), RED),
        ("x_150", (50, 100), BLUE),
        ("x_150,y_90,w_500,h_500", (50, 10), BLUE),
        ("w_50,h_40,g_east", (50, 40), BLUE),
        ("w_50,h_40,g_se", (50, 40), BLUE),
        ("w_50,h_40,g_sw", (50, 40), RED),
        ("w_80,g_center,x_70", (70, 100), BLUE),
        ("w_0,h_30,g_north", (200, 30), RED),
        ("w_500,h_500,g_center", (200, 100), RED),
    ],
)
def test_crop(ask, arguments, size, color):
    image = opened(ask(f"image/crop,{arguments}", halves()))
    assert image.size == size
    assert near(image.getpixel((1, 1)), color)


@pytest.mark.parametrize(
    ("mode", "name"),
    [
        *(("RGB", name) for name in ("jpg", "png", "gif", "webp", "bmp", "tiff")),
        *((mode, name) for mode in ("RGBA", "LA", "P", "1", "CMYK") for name in ("jpg", "webp")),
        *(("LA", "bmp"), ("RGBA", "gif"), ("CMYK", "png"), ("L", "jpg")),
    ],
)
def test_format(ask, mode, name):
    source = {"CMYK": "JPEG"}.get(mode, "PNG")
    color = {"RGB": RED, "RGBA": (*RED, 255), "L": 100, "LA": (100, 255), "P": 0, "1": 1, "CMYK": (0, 255, 255, 0)}[
        mode
    ]
    response = ask(f"image/format,{name}", picture(mode=mode, color=color, image_format=source))
    assert response.content_type == ("image/jpeg" if name == "jpg" else f"image/{name}")
    assert opened(response).format == image_process.FORMATS[name]
    assert opened(response).size == (200, 100)


def test_what_is_transparent_becomes_white_in_a_jpg(ask):
    transparent = picture(mode="RGBA", color=(0, 0, 255, 0))
    assert near(opened(ask("image/format,jpg", transparent)).getpixel((5, 5)), WHITE)
    assert opened(ask("image/resize,w_50/format,webp", transparent)).getpixel((5, 5))[3] == 0


def test_a_quality_changes_the_size_of_a_jpg(ask):
    noise = Image.effect_noise((200, 200), 80)
    buffer = io.BytesIO()
    noise.save(buffer, "JPEG", quality=95)
    sizes = [len(ask(f"image/quality,{which}", buffer.getvalue()).body) for which in ("q_10", "Q_50", "q_90")]
    assert sizes == sorted(set(sizes))


def turned():
    """Return a photograph of 200 x 100 pixels that is to be shown turned."""
    exif = Image.Exif()
    exif[0x0112], exif[0x0110] = 6, "a camera"
    return picture(image_format="JPEG", exif=exif)


def test_auto_orient_turns_a_photograph_once(ask):
    assert opened(ask("image/auto-orient,1", turned())).size == (100, 200)
    assert opened(ask("image/auto-orient,1", turned())).getexif().get(0x0112, 1) == 1
    kept = opened(ask("image/auto-orient,0/resize,w_100", turned()))
    assert (kept.size, kept.getexif()[0x0112]) == ((100, 50), 6)


def test_actions_follow_each_other(ask):
    image = opened(ask("image/crop,x_100/resize,w_20/format,jpg/quality,q_90", halves()))
    assert (image.format, image.size) == ("JPEG", (20, 20))
    assert near(image.getpixel((10, 10)), BLUE)


def test_info(ask):
    response = ask("image/info", content := picture(image_format="JPEG"))
    assert response.content_type == "application/json"
    # As on OSS's page of info.
    assert response.json == {
        "FileSize": {"value": str(len(content))},
        "Format": {"value": "jpg"},
        "FrameCount": {"value": "1"},
        "ImageHeight": {"value": "100"},
        "ImageWidth": {"value": "200"},
        "ResolutionUnit": {"value": "1"},
        "XResolution": {"value": "1/1"},
        "YResolution": {"value": "1/1"},
    }
    members = ask("image/info", turned()).json
    assert (members["Orientation"]["value"], members["Model"]["value"]) == ("6", "a camera")
    frames = [Image.new("RGB", (10, 10), color) for color in (RED, GREEN, BLUE)]
    buffer = io.BytesIO()
    frames[0].save(buffer, "GIF", save_all=True, append_images=frames[1:])
    assert ask("image/info", buffer.getvalue()).json["FrameCount"]["value"] == "3"


def test_who_may_not_read_gets_no_thumbnail_and_a_signed_url_does(make_oss):
    oss = make_oss(acl="private")
    app = TestApp(oss)
    stored.put(oss.storage.bucket("examplebucket"), "p", picture())
    assert app.get(f"/examplebucket/p?{PROCESS}=image/info", status=403).xml.findtext("Code") == "AccessDenied"
    # V4 signs the parameter, so one that is added is another request.
    url = f"{oss.signed_url('p')}&{PROCESS}=image/info"
    assert app.get(url, status=403).xml.findtext("Code") == "SignatureDoesNotMatch"


def test_an_object_that_does_not_exist(app):
    assert app.get(f"/examplebucket/none?{PROCESS}=image/info", status=404).xml.findtext("Code") == "NoSuchKey"


@pytest.mark.parametrize(
    "text",
    [
        "video/snapshot,t_1000",
        "style/mine",
        "image/watermark,text_aGk",
        "image/rotate,90",
        "image/format,heic",
        "image/resize,w_10/blur,r_3,s_2",
        "image/resize,w_10|sys/saveas,o_YQ",
    ],
)
def test_what_is_not_done_is_refused_by_name(ask, text):
    response = ask(text, status=501)
    assert response.xml.findtext("Code") == "NotImplemented"
    assert text.split(",")[0].split("/")[0] in response.xml.findtext("Message")


def test_a_head_and_a_put_have_no_such_parameter(app):
    for method in ("HEAD", "PUT", "DELETE"):
        assert app.request(f"/examplebucket/p?{PROCESS}=image/info", method=method, status="*").status_int == 501


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("image", "InvalidArgument"),
        ("image/resize", "MissingArgument"),
        ("image/resize,m_abc,w_10", "InvalidArgument"),
        ("image/resize,w_0", "InvalidArgument"),
        ("image/resize,w_16385", "InvalidArgument"),
        ("image/resize,w_-1", "InvalidArgument"),
        ("image/resize,w_10,w_20", "InvalidArgument"),
        ("image/resize,q_10", "InvalidArgument"),
        ("image/resize,p_1001", "InvalidArgument"),
        ("image/resize,limit_2,w_10", "InvalidArgument"),
        ("image/resize,m_pad,w_10,color_red", "InvalidArgument"),
        ("image/crop,g_middle", "InvalidArgument"),
        ("image/crop,x_200", "BadRequest"),
        ("image/crop,y_100", "BadRequest"),
        ("image/quality,q_101", "InvalidArgument"),
        ("image/quality,q_1,Q_1", "InvalidArgument"),
        ("image/auto-orient,2", "InvalidArgument"),
        ("image/auto-orient", "InvalidArgument"),
        ("image/format", "InvalidArgument"),
        ("image/info,a", "InvalidArgument"),
        ("image/resize,w_10/info", "BadRequest"),
        ("image" + "/auto-orient,0" * 21, "InvalidArgument"),
    ],
)
def test_a_wrong_argument_is_400(ask, text, code):
    assert ask(text, status=400).xml.findtext("Code") == code


@pytest.mark.parametrize(
    "arguments", ["m_fixed,w_16384,h_16384,limit_0", "w_8192,limit_0", "m_pad,w_8000,h_8000,limit_0", "p_1000"]
)
def test_a_picture_that_would_be_too_large_is_not_made(ask, arguments):
    response = ask(f"image/resize,{arguments}", picture(2000, 1000), status=400)
    assert (response.xml.findtext("Code"), response.xml.findtext("EC")) == ("ImageTooLarge", "0040-00000007")


def test_a_long_strip_is_filled_without_a_picture_between(ask):
    assert opened(ask("image/resize,m_fill,w_1000,h_10,limit_0", picture(1, 3000))).size == (1000, 10)
    assert ask("image/resize,m_mfit,w_1000,h_10,limit_0", picture(1, 3000), status=400)


@pytest.mark.parametrize(("size", "arguments"), [((1, 3000), "w_3000,h_1"), ((3000, 1), "w_1,h_3000")])
def test_the_picture_between_two_long_strips_is_small(ask, size, arguments, monkeypatch):
    between = []
    resize = Image.Image.resize

    def watched(image, size, *args, **kwargs):
        between.append(size[0] * image.height)  # Pillow resizes across first
        return resize(image, size, *args, **kwargs)

    monkeypatch.setattr(Image.Image, "resize", watched)
    ask(f"image/resize,m_fixed,limit_0,{arguments}", picture(*size))
    assert max(between) <= 3000


def png_that_claims(width, height):
    """Return a PNG of a few bytes with the header of a huge one."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")


@pytest.mark.parametrize(("width", "height"), [(30_001, 1), (1, 30_001), (30_000, 3_000), (2**31 - 1, 2**31 - 1)])
def test_a_bomb_is_not_opened(ask, width, height, monkeypatch):
    monkeypatch.setattr(image_process.Image, "open", None)
    for text in ("image/info", "image/resize,w_10"):
        response = ask(text, png_that_claims(width, height), status=400)
        assert response.xml.findtext("Code") == "ImageTooLarge"


@pytest.mark.parametrize(("width", "height"), [(10_000, 9_000), (30_000, 30_000)])
def test_a_bomb_that_says_two_sizes_is_not_loaded(ask, width, height, monkeypatch):
    small = image_process.ImageInfo(10, 10, "png")
    monkeypatch.setattr(image_process, "read_image_info", lambda file: small)
    response = ask("image/resize,w_10", png_that_claims(width, height), status=400)
    assert response.xml.findtext("Code") == "ImageTooLarge"


def test_a_file_that_is_too_large_is_not_read(ask, monkeypatch):
    monkeypatch.setattr(image_process, "MAX_SOURCE_SIZE", 10)
    assert ask("image/info", status=400).xml.findtext("Code") == "ImageTooLarge"


@pytest.mark.parametrize("content", [b"", b"\x89PNG\r\n\x1a\n"])
def test_what_is_no_picture_is_a_bad_request(ask, content):
    for text in ("image/info", "image/resize,w_10"):
        assert ask(text, content, status=400).xml.findtext("Code") == "BadRequest"


@pytest.mark.slow
@pytest.mark.parametrize("image_format", ["PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF"])
def test_a_damaged_picture_is_answered(ask, image_format):
    content = picture(30, 30, image_format=image_format)
    for position in range(0, len(content), max(1, len(content) // 60)):
        for damaged in (content[:position], content[:position] + b"\xff" + content[position + 1 :]):
            assert ask("image/resize,w_10", damaged, status="*").status_int in (200, 400)
