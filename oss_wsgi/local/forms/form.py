"""The multipart form of a PostObject request, read as a stream: fields until `file`, then the file in chunks."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO, Protocol

import multipart

from ..errors import OSSError, content_length, content_md5, invalid_argument, invalid_digest, malformed_post

DOCUMENTED = (
    "key",
    "file",
    "policy",
    "OSSAccessKeyId",
    "Signature",
    "Cache-Control",
    "Content-Type",
    "Content-Disposition",
    "Content-Encoding",
    "Expires",
    "success_action_status",
    "success_action_redirect",
    "callback",
)

_SPELLED = {name.lower(): name for name in DOCUMENTED}

# All other names that mean something are written in lower case.
_PREFIXES = ("x-oss-", "x:")

_METADATA = "x-oss-meta-"


def _spelled(name: str, lower: str) -> str:
    if lower.startswith(_METADATA):  # what follows is the user's
        return _METADATA + name[len(_METADATA) :]
    return _SPELLED.get(lower, lower if lower.startswith(_PREFIXES) else name)


def field_name(name: str, *, exact: bool) -> str:
    """The name by which the rest of the house knows a field; raises OSSError for one without a name.

    :param exact: refuse a name of OSS's that is spelled in another case than documented.
    """
    lower = name.lower()
    if not name or (exact and name != _spelled(name, lower)):
        raise invalid_argument("The bucket POST contains unrecognized field name.", name=name or "name", value=name)
    return lower


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


CHUNK_SIZE = 256 * 1024

MAX_NAME_SIZE = 8 * 1024

MAX_VALUE_SIZE = 2 * 1024 * 1024

MAX_FIELDS_SIZE = 8 * 1024 * 1024

# An object of the largest size, the fields before it, and room for what follows it.
MAX_BODY_SIZE = 5 * 1024**3 + 2 * MAX_FIELDS_SIZE


class Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


class FilePart:
    """What the headers of the `file` part say."""

    def __init__(self, segment: multipart.MultipartSegment) -> None:
        disposition = segment.header("Content-Disposition", "")
        _, options = multipart.parse_options_header(disposition, unquote=lambda value, _: _unquoted(value))
        self.filename: str = options.get("filename", "")
        self.content_type: str = segment.header("Content-Type", "").strip()


class Form:
    """The form in `environ`; after construction the fields are read and the file is not.

    `fields` has lower-case names, since OSS takes them in any case (P§2.2).

    :param exact_names: refuse names in another case than documented.
    """

    def __init__(self, environ: Mapping[str, Any], *, exact_names: bool = False) -> None:
        boundary = _boundary(environ)
        stream, length = _body(environ)
        # The header covers the whole body, not the file (P§2.1).
        self._content_md5 = content_md5(environ.get("HTTP_CONTENT_MD5", ""))
        self._whole = hashlib.md5(usedforsecurity=False) if self._content_md5 else None
        self._exact_names = exact_names
        self._events = self._parse(stream, length, boundary)
        self.fields: dict[str, str] = {}
        self.file = self._read_fields()
        #: a file that begins with the content of the form's, and may become it
        self.source = stream.content if isinstance(stream, FormInput) and stream.at_content else None

    def chunks(self) -> Iterator[bytes]:
        """The content of the file, then what follows it: ignored, unless it is a second file (P§2.2)."""
        for event in self._events:
            if event is None:
                break
            yield bytes(event)
        for event in self._events:
            if isinstance(event, multipart.MultipartSegment) and (event.name or "").lower() == "file":
                message = "POST requires exactly one file upload per request."
                raise OSSError(400, "IncorrectNumberOfFilesInPOSTRequest", message, "0006-00000107")
        if self._whole and not hmac.compare_digest(self._whole.digest(), self._content_md5):
            raise invalid_digest()

    def _parse(self, stream: Readable, length: int, boundary: str) -> Iterator[Any]:
        """The parser's events: a segment, the pieces of its content, None at its end."""
        try:
            parser = multipart.PushMultipartParser(boundary, length, max_header_size=2 * MAX_NAME_SIZE)
            while length > 0 and (chunk := stream.read(min(CHUNK_SIZE, length))):
                length -= len(chunk)
                if self._whole:
                    self._whole.update(chunk)
                yield from parser.parse(chunk)
            parser.close()
        except multipart.ParserLimitReached:
            raise _field_too_long() from None
        except multipart.MultipartError:
            raise malformed_post() from None
        if length:
            raise malformed_post()

    def _read_fields(self) -> FilePart:
        total = 0
        for segment in self._events:
            if len((segment.name or "").encode()) > MAX_NAME_SIZE:
                raise _field_too_long()
            name = field_name(segment.name or "", exact=self._exact_names)
            if name == "file":
                return FilePart(segment)
            total += sum(len(header) + len(value) for header, value in segment.headerlist)
            value = bytearray()
            for event in self._events:
                if event is None:
                    break
                value += event
                if len(value) > MAX_VALUE_SIZE:
                    raise _field_too_long()
            total += len(value)
            if total > MAX_FIELDS_SIZE:
                message = "Your POST request fields preceding the upload file were too large."
                raise OSSError(400, "MaxPOSTPreDataLengthExceededError", message, "0006-00000112")
            self._add(name, bytes(value))
        raise malformed_post()

    def _add(self, name: str, value: bytes) -> None:
        if name in self.fields:
            raise invalid_argument(f"The form field {name} is given more than once.", name=name)
        try:
            self.fields[name] = value.decode()
        except UnicodeDecodeError:
            raise invalid_argument(f"The form field {name} is not UTF-8.", name=name) from None


def _unquoted(value: str) -> str:
    """A filename as it was sent: a Windows path is not cut, nor a browser's %22 for a quotation mark read (P§2.4)."""
    text = value[1:-1] if value[:1] == '"' else value
    return text.replace("\\\\", "\\").replace('\\"', '"') if '\\"' in text else text


def _body(environ: Mapping[str, Any]) -> tuple[Readable, int]:
    text = environ.get("CONTENT_LENGTH", "")
    length = content_length(text)
    if length > MAX_BODY_SIZE:
        raise invalid_argument("Post body size must be less than 5G.", name="Content-Length", value=text)
    return environ["wsgi.input"], length


def _boundary(environ: Mapping[str, Any]) -> str:
    kind, options = multipart.parse_options_header(environ.get("CONTENT_TYPE", ""))
    boundary: str = options.get("boundary", "")
    if kind != "multipart/form-data" or not boundary.isascii() or not boundary:
        message = "Bucket POST must be of the enclosure-type multipart/form-data."
        raise OSSError(400, "RequestIsNotMultiPartContent", message)
    return boundary


def _field_too_long() -> OSSError:
    # OSS has this one text for names and for values (P§2.6, 10.2).
    return OSSError(400, "FieldItemTooLong", "Your name of form field is too long.", "0006-00000110")
