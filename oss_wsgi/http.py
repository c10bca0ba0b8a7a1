"""Reading a media type such as ``image/png`` or ``text/plain; charset=utf-8``."""

from __future__ import annotations

import functools
import re

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
