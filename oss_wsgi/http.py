"""Reading a media type such as ``image/png`` or ``text/plain; charset=utf-8``."""

from __future__ import annotations

import functools
import re
from urllib.parse import unquote_to_bytes

# RFC 9110 section 8.3.1, with the characters and lengths of RFC 6838 section 4.2, but no `$`: in a policy it marks
# a variable.
_NAME = r"[A-Za-z0-9!#&^_.+-]{1,127}"

_PARAMETER = rf"[ \t]*;[ \t]*{_NAME}=(?:{_NAME}|\"[ !#%-\[\]-~]*\")"

_LONGEST = 255

_MEDIA_TYPE = re.compile(rf"({_NAME}/{_NAME})(?:{_PARAMETER})*")


def essence(text: str) -> str | None:
    """Give ``type/subtype`` in lower case, or None if the text is no media type, or has over 255 characters."""
    return _essence(text) if len(text) <= _LONGEST else None


@functools.lru_cache(maxsize=256)  # the same few types come again and again
def _essence(text: str) -> str | None:
    match = _MEDIA_TYPE.fullmatch(text)
    return match.group(1).lower() if match else None


# What browsers show as a document that may hold scripts, and the types that they guess about (MIME Sniffing
# standard, section 7).
_RUNS = frozenset(
    {
        "text/html",
        "text/xml",
        "text/xsl",
        "application/xml",
        "application/x-shockwave-flash",
        "message/rfc822",
        "multipart/related",
        "multipart/x-mixed-replace",
        "unknown/unknown",
        "application/unknown",
    }
)


def runs_in_browsers(text: str) -> bool:
    """Tell whether a browser that opens such a file would run scripts in it: HTML, SVG, XML and their like."""
    name = essence(text) or "unknown/unknown"
    return name in _RUNS or name.endswith(("+xml", "/javascript", "/ecmascript", "/x-javascript"))


def urlencoded_pairs(text: str, limit: int) -> list[tuple[str, str]]:
    """Give names and values in their order, decoded; a name without ``=`` has the value "".

    Raises ValueError for what is not UTF-8, and for more than ``limit`` pairs.
    """
    pieces = text.split("&")
    if len(pieces) > limit:
        raise ValueError(f"more than {limit} pairs")
    found = []
    for piece in pieces:
        if piece:
            name, _, value = piece.partition("=")
            found.append((urldecoded(name), urldecoded(value)))
    return found


def urldecoded(text: str) -> str:
    """Decode a name or a value; ValueError for what is not UTF-8."""
    if "+" in text:
        text = text.replace("+", " ")
    if "%" in text:
        text = text.replace("%2F", "/")  # mostly all that there is, and quick
        if "%" in text:
            return unquote_to_bytes(text).decode()
    return text
