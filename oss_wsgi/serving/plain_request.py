"""Reads the header of a plain HTTP/1.1 request as waitress does, only faster; whatever is not plain it leaves alone.

Plain is: one target that begins with ``/``, fields of visible characters, each name once, and a body of known length or
none. No part of a request is read that waitress would refuse or read in another way: tests compare the two.
"""

from __future__ import annotations

import functools
import re
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

_REQUEST_LINE = re.compile(rb"([A-Z]+) (/(?:[!-\"$-.0->@-~][!-\"$->@-~]*)?)(?:\?([!-\"$-~]*))? HTTP/1\.1\r\n")
_NAME = re.compile(rb"[!#$%&'*+.^`|~0-9A-Za-z-]+")  # a token (RFC 9110 section 5.6.2), but for "_"
_VALUE = re.compile(rb"[\t -~]*")
_NOT_PLAIN = frozenset({"EXPECT", "TRANSFER_ENCODING"})
_LENGTH = re.compile("[0-9]{1,18}")
_LONGEST_KEPT = 100


class PlainRequest(NamedTuple):
    """The parts of a request; ``headers`` by names in the form ``CONTENT_TYPE``, ``length`` of the body in bytes."""

    method: str
    target: str
    path: str
    query: str
    headers: dict[str, str]
    length: int


def read(header: bytes) -> PlainRequest | None:
    """Read a header, with its request line and the empty line at its end; None if it is not plain."""
    start = _REQUEST_LINE.match(header)
    if start is None or not header.endswith(b"\r\n\r\n"):
        return None
    lines = header[start.end() : -4].split(b"\r\n") if len(header) > start.end() + 2 else []
    fields = [_kept_field(line) if len(line) <= _LONGEST_KEPT else _field(line) for line in lines]
    if None in fields:
        return None
    headers: dict[str, str] = dict(fields)  # type: ignore[arg-type]
    length = headers.get("CONTENT_LENGTH", "0")
    if len(headers) != len(lines) or not _LENGTH.fullmatch(length):
        return None
    method, path, query = start.groups(b"")
    decoded = unquote_to_bytes(path) if b"%" in path else path
    target = header[len(method) + 1 : start.end() - len(" HTTP/1.1\r\n")]
    return PlainRequest(
        method.decode(), target.decode(), decoded.decode("latin-1"), query.decode(), headers, int(length)
    )


def _field(line: bytes) -> tuple[str, str] | None:
    name, colon, value = line.partition(b":")
    key = name.upper().replace(b"-", b"_").decode("latin-1")
    if not (colon and _NAME.fullmatch(name) and _VALUE.fullmatch(value)) or key in _NOT_PLAIN:
        return None
    return key, value.strip(b" \t").decode()


_kept_field = functools.lru_cache(maxsize=256)(_field)  # the same few lines come again and again
