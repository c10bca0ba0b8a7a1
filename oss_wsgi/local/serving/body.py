"""The body of a request as it arrives: in memory while small, then in a file that may become an object by a rename."""

from __future__ import annotations

import io
import os
import tempfile
from collections.abc import Callable
from contextlib import suppress
from typing import BinaryIO

from ..forms.form import FormInput, content_start

Spool = Callable[[], "BinaryIO | None"]


class RequestBody:
    """What waitress fills, then reads.

    :param limit: so many bytes stay in memory.
    :param spool: opens a named file; None for an unnamed one in the folder for temporary files.
    :param is_form: the fields stay in memory, so that the file begins with what the form uploads.
    """

    def __init__(self, limit: int, spool: Spool, *, is_form: bool) -> None:
        self._limit = limit
        self._spool = spool
        self._is_form = is_form
        self._memory = io.BytesIO()
        self._file: BinaryIO | None = None
        self._size = 0
        self._path = ""

    def __len__(self) -> int:
        return self._size

    def append(self, data: bytes) -> None:
        (self._file or self._memory).write(data)
        self._size += len(data)
        if self._file is None and self._size >= self._limit:
            self._overflow()

    def _overflow(self) -> None:
        beginning = self._memory.getvalue()
        start = content_start(beginning) if self._is_form else 0
        self._memory = io.BytesIO(beginning[:start])
        self._file = self._spool()
        if self._file is None:
            self._file = tempfile.TemporaryFile()  # noqa: SIM115
        else:
            self._path = self._file.name
        self._file.write(beginning[start:])

    def getfile(self) -> BinaryIO | FormInput:
        if self._file is None:
            self._memory.seek(0)
            return self._memory
        self._file.seek(0)
        head = self._memory.getvalue()
        return FormInput(head, self._file) if head else self._file

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
        if self._path:
            with suppress(FileNotFoundError):  # an object by now
                os.unlink(self._path)
