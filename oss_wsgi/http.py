"""Functions for texts of HTTP: media types such as ``text/plain``, origins, urlencoded pairs, and JSON."""

from __future__ import annotations

import functools
import json
import re
from typing import Any
from urllib.parse import unquote_to_bytes, urlsplit

DEFAULT_PORTS = {"http": 80, "https": 443}

# RFC 9110 section 8.3.1, with the characters and lengths of RFC 6838 section 4.2, but without `$`, which marks a
# variable in a policy.
_NAME = r"[A-Za-z0-9!#&^_.+-]{1,127}"
_PARAMETER = rf"[ \t]*;[ \t]*{_NAME}=(?:{_NAME}|\"[ !#%-\[\]-~]*\")"
_MEDIA_TYPE = re.compile(rf"({_NAME}/{_NAME})(?:{_PARAMETER})*")
_MAX_LENGTH = 255

# Types that browsers show as documents with scripts, and types for which they guess another (MIME Sniffing standard,
# section 7).
_RUN_BY_BROWSERS = frozenset(
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


def essence(text: str) -> str | None:
    """Return ``type/subtype`` in lower case, or None if the text is not a media type of up to 255 characters."""
    return _essence(text) if len(text) <= _MAX_LENGTH else None


@functools.lru_cache(maxsize=256)  # most calls have one of a few types
def _essence(text: str) -> str | None:
    match = _MEDIA_TYPE.fullmatch(text)
    return match.group(1).lower() if match else None


def runs_in_browsers(text: str) -> bool:
    """Return whether a browser that opens a file of this type may run scripts in it: HTML, SVG, XML and their like."""
    name = essence(text) or "unknown/unknown"
    return name in _RUN_BY_BROWSERS or name.endswith(("+xml", "/javascript", "/ecmascript", "/x-javascript"))


def origin_of(url: str) -> str:
    """Return the origin of a URL: ``https://oss.example.com`` of ``https://oss.example.com/bucket``."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def urlencoded_pairs(text: str, limit: int) -> list[tuple[str, str]]:
    """Return the decoded names and values in order; the value of a name without ``=`` is "".

    Raises ValueError for text that is not UTF-8, and for more than ``limit`` pairs.
    """
    pieces = text.split("&")
    if len(pieces) > limit:
        raise ValueError(f"more than {limit} pairs")
    pairs = []
    for piece in pieces:
        if piece:
            name, _, value = piece.partition("=")
            if "%" in piece or "+" in piece:
                name, value = urldecoded(name), urldecoded(value)
            pairs.append((name, value))
    return pairs


def urldecoded(text: str) -> str:
    """Return the decoded name or value; ValueError if it is not UTF-8."""
    if "+" in text:
        text = text.replace("+", " ")
    if "%" in text:
        text = text.replace("%2F", "/")  # faster: it is usually the only escape
        if "%" in text:
            return unquote_to_bytes(text).decode()
    return text


def json_object(body: str | bytes) -> dict[str, Any] | None:
    """Return the members of a JSON object; None for any other text, and if a text in it cannot be UTF-8."""
    try:
        members = json.loads(body)
        if isinstance(members, dict) and is_encodable(json.dumps(members, ensure_ascii=False)):
            return members
    except (ValueError, RecursionError):
        pass
    return None


def is_encodable(text: str) -> bool:
    """Return whether a text has no lone surrogate, which JSON can express and UTF-8 cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def byte_count(value: object) -> int | None:
    """Return a number of bytes, of up to 15 digits, from a text or a value of JSON; None for anything else."""
    if isinstance(value, str):
        return int(value) if value.isascii() and value.isdigit() and len(value) <= 15 else None
    return value if type(value) is int and 0 <= value < 10**15 else None
