"""A callback as somebody captured it: JSON of target, headers and body, or the raw HTTP request."""

from __future__ import annotations

import base64
import io
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import unquote_to_bytes

from ..wsgi.environ import request_target
from .json_text import parsed
from .terminal import MisuseError

_REQUEST_LINE = re.compile(rb"([A-Z]+) (\S+) HTTP/[0-9.]+\r?\n")
_BLANK_LINE = re.compile(rb"\r?\n\r?\n")
_SHAPE = (
    "what was given is no captured callback: give JSON with target, headers and body (or body_base64), as "
    "CallbackRecorder keeps it, or a raw HTTP request that begins with 'POST /PATH HTTP/1.1'."
)


@dataclass(frozen=True)
class CapturedCallback:
    """One request: ``target`` is path and query as OSS signs them, headers have lower-case names.

    ``received`` is in Unix seconds, where that is known.
    """

    target: bytes
    headers: Mapping[str, str]
    body: bytes
    received: float | None = None
    method: str = "POST"

    @classmethod
    def read(cls, data: bytes) -> CapturedCallback:
        """Read either shape; MisuseError for what is neither."""
        found = _from_json(data) if data.lstrip()[:1] == b"{" else _from_http(data)
        # Through some proxies the target comes in absolute form.
        return replace(found, target=request_target(found.environ()))

    def environ(self) -> dict[str, Any]:
        """Give the environ of a server that changes nothing on the way."""
        path, _, query = self.target.partition(b"?")
        environ: dict[str, Any] = {
            "REQUEST_METHOD": self.method,
            "REQUEST_URI": self.target.decode("latin-1"),
            "SCRIPT_NAME": "",
            "PATH_INFO": unquote_to_bytes(path).decode("latin-1"),
            "QUERY_STRING": query.decode("latin-1"),
            "wsgi.input": io.BytesIO(self.body),
        }
        for name, value in self.headers.items():
            key = name.upper().replace("-", "_")
            environ[key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{key}"] = value
        return environ


def _from_json(data: bytes) -> CapturedCallback:
    try:
        members = parsed(data)
        text = members["body"] if "body" in members else members["body_base64"]
        body = text.encode() if "body" in members else base64.b64decode(text, validate=True)
        headers = _joined((str(name), str(value)) for name, value in members["headers"].items())
        received = float(members.get("received") or 0) or None
        target = members["target"].encode()
        if not math.isfinite(received or 0):
            raise ValueError("received is no moment")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise MisuseError(_SHAPE) from error
    # The length is the body's own: recordings do not keep the header.
    return CapturedCallback(target, {**headers, "content-length": str(len(body))}, body, received)


def _from_http(data: bytes) -> CapturedCallback:
    line = _REQUEST_LINE.match(data)
    blank = _BLANK_LINE.search(data)
    if line is None or blank is None:
        raise MisuseError(_SHAPE)
    headers = _joined(_lines(data[line.end() : blank.start()].decode("latin-1")))
    body, length = data[blank.end() :], headers.get("content-length", "")
    if length.isascii() and length.isdigit() and len(length) < 10:  # what an editor put after it is not the body's
        body = body[: int(length)]
    return CapturedCallback(line[2], headers, body, None, line[1].decode())


def _lines(text: str) -> Iterator[tuple[str, str]]:
    for line in text.splitlines():
        name, colon, value = line.partition(":")
        if not colon or not name.strip():
            raise MisuseError(_SHAPE)
        yield name, value


def _joined(pairs: Iterator[tuple[str, str]]) -> dict[str, str]:
    """Join what came twice by commas, as servers do."""
    found: dict[str, str] = {}
    for name, value in pairs:
        name, value = name.strip().lower(), value.strip()
        found[name] = f"{found[name]},{value}" if name in found else value
    return found
