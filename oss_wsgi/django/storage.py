"""A storage of Django's whose files are objects of the bucket. A file that went straight to OSS is copied there."""

from __future__ import annotations

import contextlib
import logging
import mimetypes
import os
import posixpath
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timezone
from functools import cached_property, partial
from tempfile import SpooledTemporaryFile
from typing import Any
from urllib.parse import quote
from weakref import WeakValueDictionary

from django.conf import settings as django_settings
from django.core.exceptions import ImproperlyConfigured, SuspiciousFileOperation
from django.core.files.base import File
from django.core.files.storage import Storage
from django.db import transaction
from django.utils.deconstruct import deconstructible

from ..bucket import BucketClient, StoredObject, read_on
from ..credentials import CredentialsProvider
from ..exceptions import BucketError, BucketRefusedError, SettingsError
from ..http import is_encodable, runs_in_browsers
from ..object_names import MAX_KEY_BYTES
from ..sdk.bucket import SDKBucket
from ..sdk.credentials import library_provider
from ..settings import TABLE, Settings
from ..settings_check import MAX_EXPIRES
from ..signing.presigned_url import URLPresigner
from .files import Download, Source, StoredFile, download_of

#: Bytes of a part that is sent. A file may have 10,000 parts.
_PART = 8 * 1024 * 1024
#: CopyObject copies up to this many bytes (protocol.md 14.3).
MAX_COPY = 1024**3
_MIN_PART = 100 * 1024
_MAX_SHOWN = 100
_NO_OVERWRITE = {"x-oss-forbid-overwrite": "true"}
_VARIABLES = {row.name: row.variable for row in TABLE}
_COMPRESSED = {"br": "x-brotli", "bzip2": "x-bzip", "compress": "x-compress", "gzip": "gzip", "xz": "x-xz"}

log = logging.getLogger(__name__)


@deconstructible(path="oss_wsgi.django.OSSStorage")
class OSSStorage(Storage):
    """A storage in the bucket of the ``OSS_...`` variables.

        STORAGES = {
            "default": {"BACKEND": "oss_wsgi.django.OSSStorage", "OPTIONS": {"location": "media"}},
            "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
        }

    ``save`` of a file of ``PostedFilesHandler`` moves no byte through this server: OSS copies the object to the name
    that ``upload_to`` wants, in parts if it is large. ``open`` reads from OSS what is read, once. Files may be opened
    with ``r``, ``rb``, ``w`` and ``wb``. The Content-Type of an object is that of its name, because validators of
    Django check names; that of the browser proves nothing. Types that a browser would run are stored as attachments.

    Needs ``pip install oss-wsgi[sdk]``, and for its key ``oss:PutObject``, ``oss:GetObject``, ``oss:DeleteObject``,
    ``oss:ListObjects`` and ``oss:AbortMultipartUpload``. Missing settings raise ImproperlyConfigured at the first use.
    A missing file raises FileNotFoundError, a name outside of ``location`` SuspiciousFileOperation, and OSS itself
    BucketError.

    :param location: folder of the bucket for all names.
    :param public: ``url`` returns addresses without a signature, for a bucket or an object that anybody may read.
    :param base_url: what public addresses begin with, such as ``https://cdn.example.com/media/``; it stands for
        ``location``, and makes URLs public.
    :param expires: seconds for which a signed URL is valid, at most 604,800 (7 days).
    :param allow_overwrite: ``save`` replaces a file of the same name, instead of choosing another name.
    :param delete_uploads: delete an upload's own object when it was copied, and the transaction is committed; with
        False a lifecycle rule of the bucket must do so.
    :param max_copy: bytes that are copied at once, at most 1 GiB; a larger object is copied in parts of this size.
    :param bucket_client: a ``BucketClient``; by default an ``SDKBucket``.
    :param options: settings for this storage by their names in ``Settings``, such as ``bucket``, as texts; they come
        before the ``OSS_...`` variables.
    """

    def __init__(
        self,
        *,
        location: str = "",
        public: bool = False,
        base_url: str | None = None,
        expires: int = 3600,
        allow_overwrite: bool = False,
        delete_uploads: bool = True,
        max_copy: int = MAX_COPY,
        bucket_client: BucketClient | None = None,
        **options: str,
    ) -> None:
        _check_options(expires, max_copy, options)
        try:
            folder = _normalized(location)
        except SuspiciousFileOperation as error:
            raise ImproperlyConfigured(f"OSSStorage: location must be a folder of the bucket: {error}") from None
        self._location = f"{folder}/" if folder else ""
        self._public = public
        self._base_url = base_url if base_url is None or base_url.endswith("/") else f"{base_url}/"
        self._expires = expires
        self._allow_overwrite = allow_overwrite
        self._delete_uploads = delete_uploads
        self._max_copy = max_copy
        self._bucket_client = bucket_client
        self._options = options
        self._saved: WeakValueDictionary[str, Download] = WeakValueDictionary()

    # What the storage API asks.

    def exists(self, name: str) -> bool:
        """Return whether there is a file of this name; folders are no files."""
        key = self._key(name, may_be_folder=True)
        return key != self._location and self._client.head(key) is not None

    def is_name_available(self, name: str, max_length: int | None = None) -> bool:
        """Return whether a file may be saved under this name."""
        if max_length and len(name) > max_length:
            return False
        return self._allow_overwrite or not self.exists(name)

    def get_alternative_name(self, file_root: str, file_ext: str) -> str:
        """Return another name for a file whose name is taken or too long."""
        if self._allow_overwrite:
            return f"{file_root}{file_ext}"
        return super().get_alternative_name(file_root, file_ext)  # type: ignore[no-any-return]

    def size(self, name: str) -> int:
        """Return the file's size in bytes."""
        return self._stored(name).size

    def get_modified_time(self, name: str) -> datetime:
        """Return when the file was stored: an aware datetime in UTC, or a naive local one without USE_TZ."""
        zone = timezone.utc if django_settings.USE_TZ else None
        return datetime.fromtimestamp(self._stored(name).last_modified, tz=zone)

    def get_created_time(self, name: str) -> datetime:
        """Return when the file was stored: objects are replaced, not changed."""
        return self.get_modified_time(name)

    def delete(self, name: str) -> None:
        """Delete a file; do nothing if there is none."""
        if not name:
            raise ValueError("delete() needs the name of a file.")
        key = self._key(name)
        self._saved.pop(key, None)
        self._client.delete(key)

    def listdir(self, path: str) -> tuple[list[str], list[str]]:
        """Return the names of the folders and of the files in a folder; both are empty if there is no such folder."""
        prefix = self._key(path, may_be_folder=True)
        prefix = prefix if prefix.endswith("/") or not prefix else f"{prefix}/"
        folders, keys = self._client.list_folder(prefix)
        names = [key.removeprefix(prefix) for key in keys]
        # A console makes an object for a folder itself.
        return [folder.removeprefix(prefix)[:-1] for folder in folders], [name for name in names if name]

    def url(self, name: str, *, expires: int | None = None) -> str:
        """Return the file's address: signed for some time, or public.

        :param expires: seconds for which the URL is valid and signed, instead of the option's.
        """
        key = self._key(name)
        if expires is None and self._base_url is not None:
            return self._base_url + quote(key.removeprefix(self._location))
        if expires is None and self._public:
            return f"{self._settings.bucket_and_host()[1]}/{quote(key)}"
        return self._presigner.presign("GET", key, expires=self._expires if expires is None else expires).url

    def _open(self, name: str, mode: str = "rb") -> File:
        mode = mode.replace("t", "")
        if mode in ("w", "wb"):
            return _NewFile(str(name), mode, partial(self._write, self._key(name), condition={}))
        if mode not in ("r", "rb"):
            raise ValueError(f"A file in OSS can be opened with 'r', 'rb', 'w' or 'wb', not {mode!r}.")
        key = self._key(name)
        saved = self._saved.get(key)
        if saved is not None and saved.has_bytes:  # Django reads a picture's size again when it has saved it
            return StoredFile(saved, str(name), mode, is_owner=False)
        stored = self._stored(name)
        return StoredFile(Download(self._source(key, stored.etag, stored.size)), str(name), mode)

    def _save(self, name: str, content: Any) -> str:
        if not (hasattr(content, "seekable") and content.seekable()):
            with SpooledTemporaryFile(django_settings.FILE_UPLOAD_MAX_MEMORY_SIZE) as spool:
                for part in _parts_of(content.chunks()):
                    spool.write(part)
                return self._save_again(name, File(spool))
        return self._save_again(name, content)

    def _save_again(self, name: str, content: Any) -> str:
        """Save a file that can be read again, where another process takes its name meanwhile."""
        while True:
            key = self._key(name)
            try:
                self._write(key, content, {} if self._allow_overwrite else _NO_OVERWRITE)
            except BucketRefusedError as error:
                if error.code != "FileAlreadyExists" or self._allow_overwrite:
                    raise
                name = self.get_available_name(name)  # another process has taken the name since
            else:
                return key.removeprefix(self._location)

    # Where names and bytes go.

    def _write(self, key: str, content: Any, condition: dict[str, str]) -> None:
        """Store a file: copy it within OSS where it is there, or else send it."""
        self._saved.pop(key, None)
        download = download_of(content)
        if download is None or download.source.bucket != self._bucket:
            self._send(key, content.chunks(), condition)
        elif download.source.key != key:
            self._copy(key, download, condition)

    def _send(self, key: str, chunks: Iterable[bytes | str], condition: dict[str, str]) -> None:
        parts = _parts_of(chunks)
        first = next(parts)
        second = next(parts, None)
        headers = _headers(key)
        if second is None:
            return self._client.put(key, first, headers | condition)

        def send(data: bytes, upload_id: str, number: int) -> str:
            return self._client.put_part(key, upload_id, number, data)

        def steps() -> Iterator[Callable[[str, int], str]]:
            for data in (first, second):
                yield partial(send, data)
            for data in parts:
                yield partial(send, data)

        self._in_parts(key, headers, condition, steps())
        return None

    def _copy(self, key: str, download: Download, condition: dict[str, str]) -> None:
        source, headers = download.source, _headers(key)
        if source.size <= self._max_copy:
            etag = self._client.copy(source.key, source.etag, key, headers | condition)
        else:

            def copy(start: int, upload_id: str, number: int) -> str:
                end = min(start + self._max_copy, source.size)
                return self._client.copy_part(source.key, source.etag, start, end, key, upload_id, number)

            starts = range(0, source.size, self._max_copy)
            etag = self._in_parts(key, headers, condition, (partial(copy, start) for start in starts))
        self._saved[key] = download
        if download.upload is not None and self._delete_uploads:
            # From now on the copy is read: a view may save or read its file again.
            download.source, download.upload = self._source(key, etag, source.size), None
            _after_commit(partial(self._delete_upload, source.key))

    def _in_parts(
        self,
        key: str,
        headers: dict[str, str],
        condition: dict[str, str],
        steps: Iterable[Callable[[str, int], str]],
    ) -> str:
        """Make an object of parts, each of which a step stores, and return its ETag."""
        client = self._client
        upload_id = client.begin(key, headers | condition)
        try:
            parts = [(number, step(upload_id, number)) for number, step in enumerate(steps, 1)]
            return client.complete(key, upload_id, parts, condition).etag
        except BaseException:
            with contextlib.suppress(BucketError):
                client.abort(key, upload_id)
            raise

    def _delete_upload(self, key: str) -> None:
        try:
            self._client.delete(key)
        except Exception as error:  # a client of the user's own may raise any; the text of an unknown one may be secret
            reason = error if isinstance(error, BucketError) else type(error).__name__
            log.warning("the upload %r was copied, and cannot be deleted: %s", key, reason)

    def _stored(self, name: str) -> StoredObject:
        stored = self._client.head(self._key(name))
        if stored is None:
            raise FileNotFoundError(f"OSS holds no file {name!r}")
        return stored

    def _source(self, key: str, etag: str, size: int) -> Source:
        return Source(self._bucket, key, etag, size, partial(read_on, self._client, key, etag, size))

    def _key(self, name: str, *, may_be_folder: bool = False) -> str:
        """Return the object's name of a file. Raises SuspiciousFileOperation for a name that leaves ``location``."""
        normalized = _normalized(name)
        key = self._location + normalized
        if not (normalized or may_be_folder) or not is_encodable(key) or len(key.encode()) > MAX_KEY_BYTES:
            shown = repr(str(name)[:_MAX_SHOWN])
            raise SuspiciousFileOperation(f"A name of 1 to {MAX_KEY_BYTES} bytes of UTF-8 is needed, not {shown}.")
        return key

    # What is made at the first use, because a storage may be made where nothing is stored, as by `makemigrations`.

    @cached_property
    def _settings(self) -> Settings:
        environ = {**os.environ, **{_VARIABLES[name]: value for name, value in self._options.items()}}
        with _as_improperly_configured():
            return Settings.from_environ(environ, required=("bucket", "access_key"))

    @cached_property
    def _credentials(self) -> CredentialsProvider | None:
        """A provider, or None for the settings' own key."""
        return library_provider(self._settings, time.time) if self._settings.credentials_library else None

    @cached_property
    def _client(self) -> BucketClient:
        if self._bucket_client is not None:
            return self._bucket_client
        with _as_improperly_configured():
            return SDKBucket(self._settings, credentials=self._credentials, clock=time.time)

    @cached_property
    def _presigner(self) -> URLPresigner:
        with _as_improperly_configured():
            return URLPresigner(self._settings, self._credentials, clock=time.time)

    @cached_property
    def _bucket(self) -> str:
        return self._settings.bucket_and_host()[0]


class _NewFile(File):
    """A file that is written, and stored when it is closed."""

    def __init__(self, name: str, mode: str, store: Callable[[File], None]) -> None:
        text: dict[str, Any] = {} if "b" in mode else {"encoding": "utf-8", "newline": ""}
        most = django_settings.FILE_UPLOAD_MAX_MEMORY_SIZE
        spool = SpooledTemporaryFile(most, mode.replace("w", "w+"), **text)  # noqa: SIM115 - close() closes it
        super().__init__(spool, name)
        self._store = store

    def close(self) -> None:
        if not self.closed:
            with self.file:
                self._store(self)


@contextlib.contextmanager
def _as_improperly_configured() -> Iterator[None]:
    try:
        yield
    except SettingsError as error:
        raise ImproperlyConfigured(f"OSSStorage: {error}") from error


def _check_options(expires: object, max_copy: object, options: dict[str, Any]) -> None:
    unknown = sorted(set(options) - set(_VARIABLES))
    if unknown:
        raise ImproperlyConfigured(f"OSSStorage has no option {unknown[0]!r}: see OPTIONS in STORAGES.")
    for name, value in options.items():
        if not isinstance(value, str):
            raise ImproperlyConfigured(f"OSSStorage: the option {name!r} must be a text, not {type(value).__name__}.")
    if type(expires) is not int or not 1 <= expires <= MAX_EXPIRES:
        raise ImproperlyConfigured(f"OSSStorage: expires must be 1 to {MAX_EXPIRES} seconds, not {expires!r}.")
    if type(max_copy) is not int or not _MIN_PART <= max_copy <= MAX_COPY:
        raise ImproperlyConfigured(f"OSSStorage: max_copy must be {_MIN_PART} to {MAX_COPY} bytes, not {max_copy!r}.")


def _normalized(name: str) -> str:
    """Return a name with ``/`` between its parts, without ``.`` and ``..``. Raises SuspiciousFileOperation."""
    path = str(name).replace("\\", "/")
    normalized = posixpath.normpath(path) if path else ""
    if normalized.startswith(("/", "../")) or normalized == "..":
        raise SuspiciousFileOperation(f"The name {str(name)[:_MAX_SHOWN]!r} leaves the storage.")
    return "" if normalized == "." else normalized


def _headers(key: str) -> dict[str, str]:
    """Return the headers of an object, by its name; what a browser would run is an attachment, as in a grant."""
    kind, encoding = mimetypes.guess_type(posixpath.basename(key))
    if encoding is not None:  # the object itself is compressed: browsers must not unpack it
        kind = f"application/{_COMPRESSED.get(encoding, 'octet-stream')}"
    content_type = kind or "application/octet-stream"
    disposition = {"Content-Disposition": "attachment"} if runs_in_browsers(content_type) else {}
    return {"Content-Type": content_type, **disposition}


def _parts_of(chunks: Iterable[bytes | str]) -> Iterator[bytes]:
    """Yield the bytes of a file in parts that OSS takes: at least one, and all but the last of the same size."""
    part = bytearray()
    for chunk in chunks:
        part += chunk.encode() if isinstance(chunk, str) else chunk
        while len(part) > _PART:
            yield bytes(part[:_PART])
            del part[:_PART]
    yield bytes(part)


def _after_commit(function: Callable[[], None]) -> None:
    """Call a function when the transaction is committed; at once without one, or without a database."""
    if transaction.get_connection().in_atomic_block:
        transaction.on_commit(function)
    else:
        function()
