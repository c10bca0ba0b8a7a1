"""A handler of Django's for uploaded files: those that went straight to OSS are read when somebody reads them."""

from __future__ import annotations

import functools
import secrets
from collections.abc import Sequence
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.files.uploadhandler import FileUploadHandler, StopFutureHandlers
from django.http.multipartparser import MultiPartParser

from ..callback.upload import Upload
from ..middleware.posted_files import POSTED_FILES_KEY, FormFiles
from .files import PostedFile

_ALONE = (
    "FILE_UPLOAD_HANDLERS has no handler that stores a posted file: add Django's own after "
    "'oss_wsgi.django.PostedFilesHandler': 'django.core.files.uploadhandler.MemoryFileUploadHandler' and "
    "'django.core.files.uploadhandler.TemporaryFileUploadHandler'."
)
_RANDOM_BITS = 64


class PostedFilesHandler(FileUploadHandler):
    """Lets ``request.FILES`` hold files that went straight to OSS, without their bytes.

        FILE_UPLOAD_HANDLERS = [
            "oss_wsgi.django.PostedFilesHandler",
            "django.core.files.uploadhandler.MemoryFileUploadHandler",
            "django.core.files.uploadhandler.TemporaryFileUploadHandler",
        ]

    Each such file is a ``PostedFile``: Django's UploadedFile with the name and the type that Django would have read,
    with ``upload``, and whose bytes come from OSS when they are read. Other files of the form, and forms without files
    in OSS, go to the other handlers. Django's limits count all fields and files.

    It needs ``DirectUpload(..., forms=...)`` around Django; without it, nothing changes.
    """

    def handle_raw_input(
        self,
        input_data: Any,
        META: Any,  # noqa: N803 - Django's own name
        content_length: int,
        boundary: bytes,
        encoding: str | None = None,
    ) -> tuple[Any, Any] | None:
        """Return the fields and files of a form with files in OSS; None for any other form."""
        files = META.get(POSTED_FILES_KEY)
        if files is None or not files.uploads:
            return None
        number = secrets.randbits(_RANDOM_BITS)
        stream, length, uploads = files.with_empty_files(number)
        handlers = [_EmptyFiles(files, number, uploads), *self.request.upload_handlers]
        with stream:
            # This handler is asked again, about a form that has its files already.
            meta = {**META, "CONTENT_LENGTH": str(length), POSTED_FILES_KEY: None}
            fields_and_files: tuple[Any, Any] = MultiPartParser(meta, stream, handlers, encoding).parse()
        return fields_and_files

    def new_file(self, *args: Any, **kwargs: Any) -> None:
        """Take no posted file. Raises ImproperlyConfigured if no other handler takes it."""
        if len(self.request.upload_handlers) == 1:
            raise ImproperlyConfigured(_ALONE)

    def receive_data_chunk(self, raw_data: bytes, start: int) -> bytes:
        """Return the bytes of a posted file, for the next handler."""
        return raw_data

    def file_complete(self, file_size: int) -> None:
        """Return no file."""


class _EmptyFiles(FileUploadHandler):
    """Takes the empty files of a form, each of which stands for an upload; ``FormFiles`` numbers them."""

    def __init__(self, files: FormFiles, number: int, uploads: Sequence[Upload]) -> None:
        super().__init__()
        self._files = files
        self._uploads = {number + n: upload for n, upload in enumerate(uploads)}
        self._upload: Upload | None = None

    def new_file(self, *args: Any, **kwargs: Any) -> None:
        super().new_file(*args, **kwargs)
        self._upload = self._uploads.get(self.content_length)
        if self._upload is not None:
            raise StopFutureHandlers

    def receive_data_chunk(self, raw_data: bytes, start: int) -> bytes:
        return raw_data

    def file_complete(self, file_size: int) -> PostedFile | None:
        upload, self._upload = self._upload, None
        if upload is None:
            return None
        return PostedFile(
            upload,
            functools.partial(self._files.open, upload),
            name=self.file_name,
            content_type=self.content_type,
            charset=self.charset,
            content_type_extra=self.content_type_extra,
        )
