"""Reading a media type such as ``image/png`` or ``text/plain; charset=utf-8``."""

from __future__ import annotations

import re

_TOKEN = r"[A-Za-z0-9!#$&^_.+-]{1,127}"
# RFC 9110 section 8.3.1, with the lengths of RFC 6838 section 4.2; no `$` at the start, so that
# a value can never look like a variable of the policy language.
_MEDIA_TYPE = re.compile(rf"({_TOKEN}/{_TOKEN})(?:[ \t]*;[ \t]*{_TOKEN}=(?:{_TOKEN}|\"[^\"\\\x00-\x1f\x7f-\uffff]*\"))*")


def essence(text: str) -> str | None:
    """Give ``type/subtype`` in lower case, or None if the text is no media type."""
    match = _MEDIA_TYPE.fullmatch(text)
    return match.group(1).lower() if match else None
