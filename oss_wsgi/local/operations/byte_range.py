"""Which bytes of an object a Range header asks for."""

from __future__ import annotations

import re

from ..errors import OSSError

_RANGE = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})")


def asked_range(header: str, size: int, *, standard: bool = False) -> tuple[int, int] | None:
    """Start and length; None for the whole.

    OSS answers the whole to a header that is no single range, and to a range that does not lie in the object, unless
    `standard`: then one that begins behind its end is 416, and one that goes on beyond it ends there, as in HTTP.
    """
    match = _RANGE.fullmatch(header.strip())
    if not match or match[0] == "bytes=-" or (match[1] and match[2] and int(match[2]) < int(match[1])):
        return None
    if match[1]:
        start, last = int(match[1]), int(match[2] or max(size - 1, int(match[1])))
    else:
        start, last = size - int(match[2]), size - 1
    if 0 <= start <= last < size:
        return start, last - start + 1
    if not standard:
        return None
    start, last = max(start, 0), min(last, size - 1)
    if start > last:
        message = "The requested range cannot be satisfied."
        error = OSSError(416, "InvalidRange", message, ActualObjectSize=str(size), RangeRequested=header)
        error.headers = [("Content-Range", f"bytes */{size}")]
        raise error
    return start, last - start + 1
