"""The body of a request while it arrives: in memory while it is small, then in a file that may become an object."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from contextlib import suppress
from typing import BinaryIO

from ..forms.form import FormInput, content_start

#: Opens a named file for a body.
Spool = Callable[[], BinaryIO]


class RequestBody:
    """A buffer that waitress fills and then reads.

    :param limit: a body of so many bytes or more goes into a file.
    :param is_form: keep the fields in memory, so that the file begins with what the form uploads.
    """

    def __init__(self, limit: int, spool: Spool, *, is_form: bool) -> None:
        self._limit = limit
        self._spool = spool
        self._is_form = is_form
        self._memory = io.BytesIO()
        self._file: BinaryIO | None = None
        self._error: OSError | None = None
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def append(self, data: bytes) -> None:
        self._size += len(data)
        if self._error is not None:
            return  # the rest is only counted
        try:
            (self._file or self._memory).write(data)
            if self._file is None and self._size >= self._limit:
                self._move_to_file()
        except OSError as error:
            self._fail(error)

    def getfile(self) -> BinaryIO | FormInput:
        """Return the whole body, to be read from its start; reading raises the error of a full disk."""
        if self._file is not None and self._error is None:
            try:
                self._file.seek(0)  # writes what is still in its buffer
            except OSError as error:
                self._fail(error)
        if self._error is not None:
            return io.BufferedReader(_Unreadable(self._error))
        if self._file is None:
            self._memory.seek(0)
            return self._memory
        head = self._memory.getvalue()
        return FormInput(head, self._file) if head else self._file

    def close(self) -> None:
        if self._file is not None:
            with suppress(OSError):
                self._file.close()
            with suppress(FileNotFoundError):  # the file became an object
                os.unlink(self._file.name)

    def _fail(self, error: OSError) -> None:
        """Drop a body that does not fit on the disk: free its space now, and raise the error when the body is read."""
        self._error = error
        self._memory = io.BytesIO()
        self.close()

    def _move_to_file(self) -> None:
        beginning = self._memory.getvalue()
        start = content_start(beginning) if self._is_form else 0
        self._memory = io.BytesIO(beginning[:start])
        self._file = self._spool()
        self._file.write(beginning[start:])


class _Unreadable(io.RawIOBase):
    """A body that could not be stored: reading it raises the error."""

    def __init__(self, error: OSError) -> None:
        self._error = error

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        raise self._error
