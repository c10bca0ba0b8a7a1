"""A callback as it was received, read from a file: JSON or a raw HTTP request."""

from __future__ import annotations

import base64
import io
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import unquote_to_bytes

_REQUEST_LINE = re.compile(rb"([A-Z]+) (\S+) HTTP/[0-9.]+\r?\n")
_BLANK_LINE = re.compile(rb"\r?\n\r?\n")

R = TypeVar("R", bound="Recording")


@dataclass(frozen=True)
class Recording:
    """One request: ``target`` is the path and query as sent, ``received`` is in Unix seconds, 0 if unknown."""

    target: str
    headers: Mapping[str, str]
    body: bytes
    received: float = 0.0
    method: str = "POST"

    @classmethod
    def from_json(cls: type[R], text: str | bytes) -> R:
        """Read what ``to_json`` writes. Raises ValueError for anything else."""
        try:
            members = json.loads(text)
            if "body" in members:
                body = members["body"].encode()
            else:
                body = base64.b64decode(members["body_base64"], validate=True)
            headers = {str(name): str(value) for name, value in members["headers"].items()}
            # Somebody may have edited the body, so its length is counted again.
            headers = {name: value for name, value in headers.items() if name.strip().lower() != "content-length"}
            received = float(members.get("received") or 0)
            _encoded(members["target"])
            if not math.isfinite(received):
                raise ValueError("received is infinite")
        except (ValueError, KeyError, TypeError, AttributeError, ArithmeticError, RecursionError) as error:
            raise ValueError("A recorded callback is a JSON object of target, headers and body.") from error
        return cls(members["target"], headers, body, received)

    @classmethod
    def from_http(cls: type[R], data: bytes) -> R:
        """Read a raw HTTP/1 request. Raises ValueError for anything else."""
        line = _REQUEST_LINE.match(data)
        blank = _BLANK_LINE.search(data)
        if line is None or blank is None:
            raise ValueError("A raw request begins with a line such as 'POST /PATH HTTP/1.1'.")
        headers: dict[str, str] = {}
        for field in data[line.end() : blank.start()].splitlines():  # of bytes: a text has more line ends
            name, colon, value = (part.strip().decode("latin-1") for part in field.partition(b":"))
            name = name.lower()
            if not colon or not name:
                raise ValueError("Each header of a raw request is a line 'Name: value'.")
            headers[name] = f"{headers[name]},{value}" if name in headers else value  # as servers join them
        # An empty text says that the request had no Content-Length.
        length = headers.setdefault("content-length", "")
        body = data[blank.end() :]
        if length.isascii() and length.isdigit() and len(length) < 10:  # an editor may have added a line end
            body = body[: int(length)]
        return cls(line[2].decode("utf-8", "surrogateescape"), headers, body, method=line[1].decode())

    def to_json(self) -> str:
        """Return the recording as a JSON object; ``body_base64`` replaces ``body`` where the body is not UTF-8."""
        try:
            content = {"body": self.body.decode()}
        except UnicodeDecodeError:
            content = {"body_base64": base64.b64encode(self.body).decode()}
        members = {"target": self.target, "headers": dict(self.headers), **content, "received": self.received}
        return json.dumps(members, ensure_ascii=False, indent=1) + "\n"

    def environ(self, mount: str = "") -> dict[str, Any]:
        """Return the request's part of the WSGI environ, as if a server had received the request unchanged.

        :param mount: SCRIPT_NAME, decoded: the path below which the server mounts the application.
        """
        target = _encoded(self.target)
        path, _, query = target.partition(b"?")
        script_name = mount.encode().decode("latin-1")
        environ: dict[str, Any] = {
            "REQUEST_METHOD": self.method,
            "REQUEST_URI": target.decode("latin-1"),
            "SCRIPT_NAME": script_name,
            "PATH_INFO": unquote_to_bytes(path).decode("latin-1").removeprefix(script_name),
            "QUERY_STRING": query.decode("latin-1"),
            "wsgi.input": io.BytesIO(self.body),
        }
        for name, value in self.headers.items():
            key = name.strip().upper().replace("-", "_")
            key = key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{key}"
            environ[key] = f"{environ[key]},{value.strip()}" if key in environ else value.strip()
        environ.setdefault("CONTENT_LENGTH", str(len(self.body)))
        return environ


def _encoded(target: str) -> bytes:
    """Return the bytes of a target; bytes of a raw request that are not UTF-8 are kept as surrogates."""
    return target.encode("utf-8", "surrogateescape")
