"""Files of Django whose bytes are in OSS: nothing is read before somebody reads, and each byte once."""

from __future__ import annotations

import io
from collections.abc import Callable, Generator
from tempfile import SpooledTemporaryFile
from typing import IO, TYPE_CHECKING, Any, NamedTuple

from django.conf import settings
from django.core.files.base import File
from django.core.files.uploadedfile import UploadedFile

from ..callback.upload import Upload, plain_etag

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer


class Source(NamedTuple):
    """Where bytes are: an object, and what yields its bytes from a byte on. ``etag`` has no quotes."""

    bucket: str | None
    key: str
    etag: str
    size: int
    read: Callable[[int], Generator[bytes]]


class Download:
    """The bytes of an object, which go to a temporary file as far as they are read, so that OSS sends them once.

    Django's FILE_UPLOAD_MAX_MEMORY_SIZE says how many bytes stay in memory. Several files may share a download.

    :ivar upload: the upload whose own object this is; None for any other object.
    """

    def __init__(self, source: Source, upload: Upload | None = None) -> None:
        self.source = source
        self.upload = upload
        self._spool: IO[bytes] | None = None
        self._pieces: Generator[bytes] | None = None
        self._received = 0

    @property
    def has_bytes(self) -> bool:
        """Whether bytes have come already, and are still here."""
        return self._received > 0

    def read_at(self, position: int, count: int) -> bytes:
        """Return up to ``count`` bytes from a position on; fewer only at the end. Raises OSError."""
        end = min(position + count, self.source.size)
        if position >= end:
            return b""
        if self._spool is None:
            folder = settings.FILE_UPLOAD_TEMP_DIR
            self._spool = SpooledTemporaryFile(settings.FILE_UPLOAD_MAX_MEMORY_SIZE, dir=folder)  # noqa: SIM115
        while self._received < end:
            piece = self._next_piece()
            self._spool.seek(self._received)
            self._spool.write(piece)
            self._received += len(piece)
        self._spool.seek(position)
        return self._spool.read(end - position)

    def close(self) -> None:
        """Forget what has come; who reads later has it sent again."""
        if self._pieces is not None:
            self._pieces.close()
            self._pieces = None
        if self._spool is not None:
            self._spool.close()
            self._spool = None
        self._received = 0

    def _next_piece(self) -> bytes:
        if self._pieces is None:
            self._pieces = self.source.read(self._received)
        try:
            return next(self._pieces)
        except BaseException as error:  # a generator that has raised has ended: the next read begins a new one
            self._pieces = None
            if isinstance(error, StopIteration):
                raise OSError(f"OSS sent fewer bytes than {self.source.key!r} has") from None
            raise


class StoredReader(io.BufferedReader):
    """A seekable file of a download's bytes.

    :param is_owner: whether closing it closes the download.
    """

    def __init__(self, download: Download, *, is_owner: bool = True) -> None:
        super().__init__(_RawReader(download, is_owner=is_owner))
        self.download = download


class StoredFile(File):
    """A file of Django whose bytes are a download's; it can be opened again after it was closed."""

    def __init__(self, download: Download, name: str, mode: str = "rb", *, is_owner: bool = True) -> None:
        self._is_owner = is_owner
        self._download = download
        super().__init__(self._reader(mode), name)
        self.mode = mode
        self.size = download.source.size

    def open(self, mode: str | None = None, *_: Any, **__: Any) -> StoredFile:
        """Begin to read from the first byte."""
        mode = mode or self.mode
        if self.closed or mode != self.mode:
            self.file, self.mode = self._reader(mode), mode
        self.seek(0)
        return self

    def _reader(self, mode: str) -> IO[Any]:
        reader = StoredReader(self._download, is_owner=self._is_owner)
        return reader if "b" in mode else io.TextIOWrapper(reader, encoding="utf-8")


class PostedFile(UploadedFile):
    """A file of ``request.FILES`` that went straight to OSS. Its bytes are sent when somebody reads it.

    :ivar upload: the ``Upload``, which names its object.
    """

    def __init__(self, upload: Upload, read: Callable[[int], Generator[bytes]], **attributes: Any) -> None:
        self.upload = upload
        source = Source(upload.bucket, upload.object or "", plain_etag(upload.etag or ""), upload.size or 0, read)
        self._download = Download(source, upload)
        super().__init__(StoredReader(self._download), size=source.size, **attributes)

    def open(self, mode: str | None = None, *_: Any, **__: Any) -> PostedFile:
        """Begin to read from the first byte."""
        if self.closed:
            self.file = StoredReader(self._download)
        self.seek(0)
        return self


def download_of(content: object) -> Download | None:
    """Return the download of a file's bytes, whatever it is wrapped in; None for any other file."""
    while isinstance(content, File):
        content = content.file
    return content.download if isinstance(content, StoredReader) else None


class _RawReader(io.RawIOBase):
    def __init__(self, download: Download, *, is_owner: bool) -> None:
        self._download = download
        self._is_owner = is_owner
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        origin = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._download.source.size}[whence]
        if origin + offset < 0:
            raise ValueError(f"a file has no byte {origin + offset}")
        self._position = origin + offset
        return self._position

    def tell(self) -> int:
        return self._position

    def readinto(self, buffer: WriteableBuffer) -> int:
        target = memoryview(buffer)
        data = self._download.read_at(self._position, len(target))
        target[: len(data)] = data
        self._position += len(data)
        return len(data)

    def readall(self) -> bytes:
        data = self._download.read_at(self._position, self._download.source.size)
        self._position += len(data)
        return data

    def close(self) -> None:
        if not self.closed and self._is_owner:
            self._download.close()
        super().close()
