"""Bodies of requests that send a file, alone or in a form, without holding the file in memory."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Mapping
from typing import BinaryIO

_CHUNK = 64 * 1024


class FileChangedError(Exception):
    """Raised, with a sentence, when a file is shorter than its announced size."""


class FileBody:
    """The bytes of a file as the body of a request; iterate over it to get them.

    :param size: bytes to read from ``file``.
    :param progress: called with the number of file bytes read so far.
    :ivar length: bytes of the whole body.
    """

    def __init__(
        self,
        file: BinaryIO,
        size: int,
        progress: Callable[[int], object] = lambda _: None,
        *,
        head: bytes = b"",
        tail: bytes = b"",
    ) -> None:
        self._head = head
        self._tail = tail
        self._file = file
        self._size = size
        self._progress = progress
        self.length = len(head) + size + len(tail)

    @property
    def headers(self) -> dict[str, str]:
        """Return the headers that describe the body."""
        return {"Content-Length": str(self.length)}

    def __iter__(self) -> Iterator[bytes]:
        yield self._head
        remaining = self._size
        while chunk := self._file.read(min(_CHUNK, remaining)):
            remaining -= len(chunk)
            yield chunk
            self._progress(self._size - remaining)
        if remaining:
            raise FileChangedError(f"the file became shorter by {remaining} bytes while it was read")
        if not self._size:
            self._progress(0)
        yield self._tail


class FormBody(FileBody):
    """The body of a form (RFC 7578): the fields in their order, then the file."""

    def __init__(
        self,
        fields: Mapping[str, str],
        filename: str,
        file: BinaryIO,
        size: int,
        content_type: str | None = None,
        progress: Callable[[int], object] = lambda _: None,
    ) -> None:
        boundary = f"----oss-wsgi-{secrets.token_hex(12)}"
        parts = [
            f'--{boundary}\r\nContent-Disposition: form-data; name="{_quoted(name)}"\r\n\r\n{value}\r\n'
            for name, value in fields.items()
        ]
        parts.append(
            f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{_quoted(filename)}"\r\n'
            f"Content-Type: {content_type or 'application/octet-stream'}\r\n\r\n"
        )
        super().__init__(file, size, progress, head="".join(parts).encode(), tail=f"\r\n--{boundary}--\r\n".encode())
        self.content_type = f"multipart/form-data; boundary={boundary}"

    @property
    def headers(self) -> dict[str, str]:
        """Return the headers that describe the body."""
        return {"Content-Type": self.content_type, **super().headers}


def _quoted(name: str) -> str:
    """Return a name as browsers write it into a header (HTML standard, multipart/form-data encoding algorithm)."""
    return name.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")
