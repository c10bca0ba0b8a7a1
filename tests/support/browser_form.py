"""Forms as browsers post them (HTML standard, multipart/form-data encoding algorithm)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from oss_wsgi.middleware.form_charset import encoder_of

BOUNDARY = "----WebKitFormBoundaryq2Gk5oWXnTbBzJ0A"
CONTENT_TYPE = f"multipart/form-data; boundary={BOUNDARY}"


class File(NamedTuple):
    name: str
    type: str
    data: bytes


def browser_form(
    entries: Iterable[tuple[str, str | File]], *, charset: str = "utf-8", boundary: str = BOUNDARY
) -> bytes:
    """Return the body that a browser posts for the entries of a form, in the charset of its page."""
    encoded = encoder_of(charset)
    assert encoded is not None

    def with_line_breaks(text: str) -> bytes:
        return encoded(re.sub(r"\r\n|\r|\n", "\r\n", text))

    def escaped(data: bytes) -> bytes:
        return data.replace(b"\n", b"%0A").replace(b"\r", b"%0D").replace(b'"', b"%22")

    pieces: list[bytes] = []
    for name, value in entries:
        pieces.append(b"--%s\r\n" % boundary.encode())
        pieces.append(b'Content-Disposition: form-data; name="%s"' % escaped(with_line_breaks(name)))
        if isinstance(value, File):
            filename, content_type = escaped(encoded(value.name)), value.type or "application/octet-stream"
            pieces.append(b'; filename="%s"\r\nContent-Type: %s' % (filename, content_type.encode()))
        data = value.data if isinstance(value, File) else with_line_breaks(value)
        pieces.append(b"\r\n\r\n%s\r\n" % data)
    return b"".join([*pieces, b"--%s--\r\n" % boundary.encode()])
