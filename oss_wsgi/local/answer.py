"""What a handler hands back: status, headers and body, before the headers that every answer of OSS carries."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from http import HTTPStatus

Headers = list[tuple[str, str]]

_NOT_IN_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_NOT_IN_HEADER = re.compile("[\x00-\x1f\x7f]")


@dataclass
class Answer:
    status: int
    headers: Headers = field(default_factory=list)
    body: Iterable[bytes] | bytes = b""

    @property
    def status_line(self) -> str:
        return f"{self.status} {HTTPStatus(self.status).phrase}"


def xml_text(value: str) -> str:
    """`value` without the characters that XML 1.0 cannot hold, not even escaped."""
    return _NOT_IN_XML.sub("\ufffd", value)


def is_header_value(value: str) -> bool:
    return not _NOT_IN_HEADER.search(value)


def header_value(value: str) -> str:
    """Text as the UTF-8 bytes that OSS sends, in the latin-1 form that WSGI wants."""
    return value.encode().decode("latin-1")
