"""`x-oss-process`: thumbnails by Pillow, and the information about a picture (protocol.md 14.2)."""

from __future__ import annotations

import io
import json
import re
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import BinaryIO

from PIL import ExifTags, Image, ImageOps

from ..callbacks.image_info import ImageInfo, TooManyReadsError, read_image_info
from ..errors import OSSError, Response, invalid_argument, not_implemented
from ..storage.index import StoredObject
from .picture_bounds import (
    MAX_EXIF,
    MAX_SIDE,
    MAX_SOURCE_PIXELS,
    MAX_SOURCE_SIDE,
    MAX_SOURCE_SIZE,
    ResultPixels,
    bounded,
    check_frames,
    check_result,
    check_source,
    check_structure,
    in_turn,
    too_large,
)

_MAX_ACTIONS = 20

#: OSS's names of formats, and Pillow's.
FORMATS = {"jpg": "JPEG", "png": "PNG", "gif": "GIF", "webp": "WEBP", "bmp": "BMP", "tiff": "TIFF"}
#: Texts of EXIF that `image/info` shows; OSS shows all.
_SHOWN = ("DateTime", "Make", "Model", "Orientation", "Software")
_MODES = ("lfit", "mfit", "fill", "pad", "fixed")
#: Where the area of a crop begins: the share of the remaining width to its left, and of the remaining height above it.
_TILES: dict[str, tuple[float, float]] = {
    "nw": (0, 0),
    "north": (0.5, 0),
    "ne": (1, 0),
    "west": (0, 0.5),
    "center": (0.5, 0.5),
    "east": (1, 0.5),
    "sw": (0, 1),
    "south": (0.5, 1),
    "se": (1, 1),
}
#: The errors that Pillow raises for a damaged picture; it only warns of some damage, and tests may raise the warning.
_BROKEN = (OSError, ValueError, SyntaxError, EOFError, ArithmeticError, TypeError, LookupError, struct.error, Warning)


@dataclass
class Output:
    """The format and quality of the result, and how many pixels the results of all actions may have."""

    format: str
    pixels: ResultPixels
    quality: int | None = None


Arguments = list[str]
Action = Callable[[Image.Image, Arguments, Output], Image.Image]


def process(text: str, stored: StoredObject, file: BinaryIO) -> Response:
    """Return the response to an `x-oss-process`; raise OSSError 501 if unsupported, 400 if invalid."""
    kind, *actions = text.split("/")
    if kind != "image":
        raise not_implemented(f"x-oss-process={kind}/")
    if not actions or len(actions) > _MAX_ACTIONS:
        raise invalid_argument("The x-oss-process must name an action.", name="x-oss-process", value=text)
    steps = [] if actions == ["info"] else [_step(action) for action in actions]
    if stored.size > MAX_SOURCE_SIZE:
        raise too_large(f"The picture has more than {MAX_SOURCE_SIZE} bytes.")
    info = read_image_info(file)
    if info is None:
        raise _bad_request("The object is not a picture in a format that the local OSS reads.")
    check_source(info.width, info.height)
    with in_turn(info):
        try:
            return _answer(steps, info, stored.size, file)
        except (Image.DecompressionBombError, Image.DecompressionBombWarning):
            raise too_large(f"The picture has more than {MAX_SOURCE_PIXELS} pixels.") from None
        except TooManyReadsError:
            raise too_large("The picture has too many blocks.") from None
        except _BROKEN:
            raise _bad_request("The picture is damaged.") from None


def _answer(steps: list[tuple[Action, Arguments]], info: ImageInfo, size: int, file: BinaryIO) -> Response:
    file.seek(0)
    frames = check_structure(file, info, size)
    file.seek(0)
    with Image.open(bounded(file, size), formats=[*FORMATS.values()]) as image:
        # A crafted header may have deceived imagesize, and Pillow only warns up to twice its own limit.
        check_source(*image.size)
        if image.width * image.height > info.width * info.height:
            raise _bad_request("The picture is damaged: it says two sizes.")
        _check_exif(image)
        frames = frames or getattr(image, "n_frames", 1)
        check_frames(frames)
        if not steps:
            body = _described(image, info, size, frames)
            return Response(200, [("Content-Type", "application/json")], body)
        return _processed(image, steps, Output(info.format, ResultPixels(image.size)))


def _check_exif(image: Image.Image) -> None:
    """Raise OSSError for EXIF data that a JPEG could not have: Pillow makes an object of each value."""
    if len(image.info.get("exif") or b"") > MAX_EXIF:
        raise too_large(f"The picture has EXIF data of more than {MAX_EXIF} bytes.")


def _step(text: str) -> tuple[Action, Arguments]:
    name, *arguments = text.split(",")
    if name == "info":
        message = "The action info cannot be used together with others."
        raise _wrong("info", text) if arguments else _bad_request(message)
    if name not in ACTIONS:
        raise not_implemented(f"x-oss-process=image/{name}")
    return ACTIONS[name], arguments


def _processed(image: Image.Image, steps: list[tuple[Action, Arguments]], output: Output) -> Response:
    image.load()
    _check_exif(image)  # a PNG may have EXIF data after the pixels
    for action, arguments in steps:
        result = action(image, arguments, output)
        if result is not image:
            image.close()  # else its pixels stay in memory until the end
        image = result
    buffer = io.BytesIO()
    options: dict[str, object] = {}
    if output.format in ("jpg", "webp"):
        options = {"quality": output.quality or 75, "exif": image.info.get("exif", b"")}
    _writable(image, output.format).save(buffer, FORMATS[output.format], **options)
    media_type = "image/jpeg" if output.format == "jpg" else f"image/{output.format}"
    return Response(200, [("Content-Type", media_type)], buffer.getvalue())


def _writable(image: Image.Image, image_format: str) -> Image.Image:
    """Return the picture in a colour mode of its format; a format without transparency gets a white background."""
    image = _plain(image)
    if image_format in ("jpg", "bmp") and image.mode in ("RGBA", "LA"):
        return _on_canvas(image, image.size, "white")
    return image


def _on_canvas(image: Image.Image, size: tuple[int, int], color: str) -> Image.Image:
    """Return an opaque picture of this size with the given picture in its middle."""
    canvas = Image.new("RGB", size, color)
    canvas.info = image.info
    corner = (size[0] - image.width) // 2, (size[1] - image.height) // 2
    canvas.paste(image.convert("RGB"), corner, image.getchannel("A") if image.mode in ("RGBA", "LA") else None)
    return canvas


def _plain(image: Image.Image) -> Image.Image:
    """Return the picture with a value for each colour of a pixel, so that pixels can be blended."""
    if image.mode in ("L", "LA", "RGB", "RGBA"):
        return image
    return image.convert("RGBA" if image.has_transparency_data else "RGB")


def _resize(image: Image.Image, arguments: Arguments, output: Output) -> Image.Image:
    values = _pairs("resize", arguments, "m w h l s p limit color")
    mode = values.get("m", "lfit")
    if mode not in _MODES:
        raise _wrong("resize", f"m_{mode}", "0040-00000311")
    width, height, longest, shortest = (_number("resize", values, name, MAX_SIDE) for name in "whls")
    percentage = _number("resize", values, "p", 1000)
    may_grow = _number("resize", values, "limit", 1, least=0) == 0
    color = values.get("color", "FFFFFF")
    if not re.fullmatch("[0-9A-Fa-f]{6}", color):
        raise _wrong("resize", f"color_{color}")
    size = image.size
    if percentage:
        return _scaled(image, percentage / 100, output, may_grow=True)
    if not width and not height:
        if not longest and not shortest:
            raise OSSError(400, "MissingArgument", "The action resize needs w, h, l, s or p.")
        scales = [longest / max(size)] if longest else []
        scales += [shortest / min(size)] if shortest else []
        return _scaled(image, min(scales), output, may_grow=may_grow)
    if mode in ("lfit", "mfit"):
        scales = [wanted / side for wanted, side in zip((width, height), size, strict=True) if wanted]
        return _scaled(image, (min if mode == "lfit" else max)(scales), output, may_grow=may_grow)
    target = width or height or 1, height or width or 1
    check_result(*target)
    across, down = target[0] / size[0], target[1] / size[1]
    if not may_grow and {"fixed": max(across, down), "fill": max(across, down), "pad": min(across, down)}[mode] > 1:
        return image
    output.pixels.take(*target)
    if mode == "fixed":
        return _resized(image, *target)
    if mode == "fill":
        # `fit` crops before it resizes: the whole picture could grow beyond all bounds.
        return ImageOps.fit(_plain(image), target, Image.Resampling.LANCZOS)
    return _on_canvas(_plain(_scaled(image, min(across, down), output, may_grow=True)), target, f"#{color}")


def _scaled(image: Image.Image, scale: float, output: Output, *, may_grow: bool) -> Image.Image:
    if scale > 1 and not may_grow:
        return image
    width, height = (max(1, int(side * scale + 0.5)) for side in image.size)
    check_result(width, height)
    output.pixels.take(width, height)
    return _resized(image, width, height)


def _resized(image: Image.Image, width: int, height: int) -> Image.Image:
    """Return the resized picture; change first the side that leaves the smaller intermediate picture.

    Pillow up to 12 always changes the width first: from 1 x 16,384 pixels to 16,384 x 1 that takes a gigabyte.
    """
    image = _plain(image)
    if image.width * height < width * image.height:
        image = image.resize((image.width, height), Image.Resampling.LANCZOS)
    return image.resize((width, height), Image.Resampling.LANCZOS)


def _crop(image: Image.Image, arguments: Arguments, output: Output) -> Image.Image:
    values = _pairs("crop", arguments, "x y w h g")
    x, y, width, height = (_number("crop", values, name, MAX_SOURCE_SIDE, least=0) for name in "xywh")
    tile = values.get("g", "nw")
    if tile not in _TILES:
        raise _wrong("crop", f"g_{tile}")
    width, height = width or image.width, height or image.height
    across, down = _TILES[tile]
    left = max(0, int((image.width - width) * across)) + (x or 0)
    upper = max(0, int((image.height - height) * down)) + (y or 0)
    if left >= image.width or upper >= image.height:
        raise _bad_request("Advance cut's position is out of image.")
    right, lower = min(left + width, image.width), min(upper + height, image.height)
    output.pixels.take(right - left, lower - upper)
    return image.crop((left, upper, right, lower))


def _format(image: Image.Image, arguments: Arguments, output: Output) -> Image.Image:
    if len(arguments) != 1:
        raise _wrong("format", ",".join(arguments))
    if arguments[0] not in FORMATS:
        raise not_implemented(f"x-oss-process=image/format,{arguments[0]}")
    output.format = arguments[0]
    return image


def _quality(image: Image.Image, arguments: Arguments, output: Output) -> Image.Image:
    values = _pairs("quality", arguments, "q Q")
    if len(values) != 1:
        raise _wrong("quality", ",".join(arguments))
    output.quality = _number("quality", values, next(iter(values)), 100)
    return image


def _auto_orient(image: Image.Image, arguments: Arguments, output: Output) -> Image.Image:
    if arguments not in (["0"], ["1"]):
        raise _wrong("auto-orient", ",".join(arguments))
    if arguments == ["1"]:
        output.pixels.take(*image.size)
        ImageOps.exif_transpose(image, in_place=True)
    return image


ACTIONS: dict[str, Action] = {
    "resize": _resize,
    "crop": _crop,
    "format": _format,
    "quality": _quality,
    "auto-orient": _auto_orient,
}


def _described(image: Image.Image, info: ImageInfo, size: int, frames: int) -> bytes:
    members = {"FileSize": str(size), "Format": info.format, "FrameCount": str(frames)}
    members |= {"ImageHeight": str(info.height), "ImageWidth": str(info.width)}
    if "jfif_density" in image.info:
        across, down = image.info["jfif_density"]
        members["ResolutionUnit"] = str(image.info.get("jfif_unit", 0) + 1)
        members |= {"XResolution": f"{across}/1", "YResolution": f"{down}/1"}
    if info.format != "png":
        tags = {ExifTags.TAGS.get(number, ""): str(value) for number, value in image.getexif().items()}
        members |= {name: tags[name].strip("\0 ") for name in _SHOWN if name in tags}
    document = {name: {"value": value} for name, value in sorted(members.items())}
    return json.dumps(document, indent=2).encode()


def _pairs(action: str, arguments: Arguments, known: str) -> dict[str, str]:
    """Return the values of arguments such as `w_100`."""
    values: dict[str, str] = {}
    for argument in arguments:
        name, underscore, value = argument.partition("_")
        if not underscore or name not in known.split() or name in values:
            raise _wrong(action, argument)
        values[name] = value
    return values


def _number(action: str, values: Mapping[str, str], name: str, most: int, *, least: int = 1) -> int | None:
    value = values.get(name)
    if value is None:
        return None
    if not re.fullmatch("[0-9]{1,6}", value) or not least <= int(value) <= most:
        raise _wrong(action, f"{name}_{value}")
    return int(value)


def _wrong(action: str, argument: str, ec: str = "") -> OSSError:
    return invalid_argument(f"The argument of the action {action} is not valid.", ec, name=action, value=argument)


def _bad_request(message: str) -> OSSError:
    return OSSError(400, "BadRequest", message)
