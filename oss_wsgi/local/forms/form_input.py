"""A form whose fields are apart from a file that begins with what it uploads, and so may become the object."""

from __future__ import annotations

import re
from typing import BinaryIO

_FILE_PART = re.compile(rb'[; ]name="?file"?(?=[;\r]).*?\r\n\r\n', re.DOTALL | re.IGNORECASE)


def content_start(beginning: bytes) -> int:
    """Where the uploaded content seems to start; 0 when that is not to be seen. Only a parser knows."""
    match = _FILE_PART.search(beginning)
    return match.end() if match else 0


class FormInput:
    """:param head: the fields and the headers of the file; :param content: the rest, from its present position."""

    def __init__(self, head: bytes, content: BinaryIO) -> None:
        self._head = memoryview(head)
        self.content = content

    @property
    def at_content(self) -> bool:
        """The head is read. When a parser has found the file just now, `content` begins with the file's content."""
        return not self._head and self.content.tell() == 0

    def read(self, size: int) -> bytes:
        if not self._head:
            return self.content.read(size)
        # The last byte comes alone: who sees the file's headers end by it, and not before, sees them end there.
        piece = self._head[: min(size, max(1, len(self._head) - 1))]
        self._head = self._head[len(piece) :]
        return bytes(piece)
