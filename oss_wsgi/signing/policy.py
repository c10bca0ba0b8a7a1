"""The PostObject policy: an expiry and conditions on the form, as compact JSON in Base64 (protocol.md 3)."""

from __future__ import annotations

import binascii
import functools
from collections.abc import Iterable, Sequence
from datetime import datetime, timezone
from json.encoder import encode_basestring as quoted


def escape(value: str) -> str:
    """Return a value with each ``$`` as ``\\$``: a bare one marks a variable in a policy value (protocol.md 3.5)."""
    return value.replace("$", "\\$")


def exactly(field: str, value: str) -> str:
    """Return a condition that requires this value of the form field, in the object form ``{"field":"value"}``."""
    return f"{{{quoted(field)}:{quoted(escape(value))}}}"


def eq(field: str, value: str) -> str:
    """Return a condition that requires this value of the form field, in the array form ``["eq","$field","value"]``."""
    return f'["eq",{quoted("$" + field)},{quoted(escape(value))}]'


def starts_with(field: str, prefix: str) -> str:
    """Return a condition that the form field begins with the prefix; an empty prefix only requires the field."""
    return f'["starts-with",{quoted("$" + field)},{quoted(escape(prefix))}]'


def one_of(field: str, values: Sequence[str]) -> str:
    """Return a condition that requires one of the values of the form field (``in``)."""
    return f'["in",{quoted("$" + field)},[{",".join([quoted(escape(value)) for value in values])}]]'


def content_length_range(minimum: int, maximum: int) -> str:
    """Return a condition that requires a file of ``minimum`` to ``maximum`` bytes, both included."""
    return f'["content-length-range",{minimum},{maximum}]'


@functools.lru_cache(maxsize=8)  # many forms expire in one second
def format_time(timestamp: int) -> str:
    """Return a Unix time in seconds as ISO 8601 in GMT: ``2014-12-01T12:00:00.000Z`` (protocol.md 3.1)."""
    return f"{datetime.fromtimestamp(timestamp, timezone.utc):%Y-%m-%dT%H:%M:%S}.000Z"


def encode_policy(expiration: int, conditions: Iterable[str]) -> str:
    """Return the text of the ``policy`` form field, which is also the text to sign: compact JSON in Base64.

    ``expiration`` is in Unix seconds, ``conditions`` are texts of the functions above.
    """
    document = f'{{"expiration":"{format_time(expiration)}","conditions":[{",".join(conditions)}]}}'
    return binascii.b2a_base64(document.encode(), newline=False).decode()
