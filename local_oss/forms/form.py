"""The multipart form of a PostObject request, read as a stream: fields up to `file`, then the file in chunks."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO

import multipart

from ..bodies import OTHER_DIGEST, Readable, chunks, content_length, content_md5
from ..errors import OSSError, invalid_argument, invalid_digest, malformed_post

MAX_NAME_SIZE = 8 * 1024
MAX_VALUE_SIZE = 2 * 1024 * 1024
MAX_FIELDS_SIZE = 8 * 1024 * 1024
#: The largest object, the fields before it, and room for the fields after it.
MAX_BODY_SIZE = 5 * 1024**3 + 2 * MAX_FIELDS_SIZE

#: The fields whose documented spelling has capital letters, or that have no prefix.
DOCUMENTED_NAMES = (
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
_DOCUMENTED_SPELLING = {name.lower(): name for name in DOCUMENTED_NAMES}
# All other names that OSS knows begin with one of these and are documented in lower case.
_PREFIXES = ("x-oss-", "x:")
_METADATA = "x-oss-meta-"
_BLANK_LINE = b"\r\n\r\n"
_FILE_PART = re.compile(rb'[; ]name="?file"?(?=[;\r]).*?\r\n\r\n', re.DOTALL | re.IGNORECASE)


class Form:
    """The form in `environ`: the constructor reads the fields, `chunks` reads the file.

    `fields` has lower-case names, since OSS accepts any case (protocol.md 2.2). `file_name` and `file_type` are
    those of the file, "" if missing. `source` is a file that begins with the content of the form's file and
    may become the object, or None.

    :param exact_names: refuse names that are spelled in another case than documented.
    :raises OSSError: the form is malformed, too large or too long.
    """

    def __init__(self, environ: Mapping[str, Any], *, exact_names: bool = False) -> None:
        boundary = _boundary(environ)
        stream, length = _body(environ)
        # Content-MD5 covers the whole body, not only the file (protocol.md 2.1).
        self._content_md5_header = environ.get("HTTP_CONTENT_MD5", "")
        self._content_md5 = content_md5(self._content_md5_header)
        self._body_md5 = hashlib.md5(usedforsecurity=False) if self._content_md5 else None
        self._exact_names = exact_names
        position = Position()
        self._events = _parse(stream, length, boundary, self._body_md5, position)
        self.fields: dict[str, str] = {}
        file = self._read_fields()
        #: The size of the file unless a field follows it, which only the end of the body shows; 0 if unknown.
        self.announced_size = length - position.read - len(f"\r\n--{boundary}--\r\n") if position.stops else 0
        position.stops = 0
        disposition = file.header("Content-Disposition", "")
        _, options = multipart.parse_options_header(disposition, unquote=lambda value, _: _unquote(value))
        self.file_name: str = options.get("filename", "")
        self.file_type: str = file.header("Content-Type", "").strip()
        self.source = stream.content if isinstance(stream, FormInput) and stream.at_content else None

    def chunks(self) -> Iterator[bytes]:
        """Yield the file's content; then ignore the rest, but raise OSSError for a second file (protocol.md 2.2)."""
        for event in self._events:
            if event is None:
                break
            yield bytes(event)
        for event in self._events:
            if isinstance(event, multipart.MultipartSegment) and (event.name or "").lower() == "file":
                message = "POST requires exactly one file upload per request."
                raise OSSError(400, "IncorrectNumberOfFilesInPOSTRequest", message, "0006-00000107")
        if self._body_md5 and not hmac.compare_digest(self._body_md5.digest(), self._content_md5):
            raise invalid_digest(self._content_md5_header, OTHER_DIGEST)

    def _read_fields(self) -> multipart.MultipartSegment:
        """Read the fields, and return the headers of the file."""
        total = 0
        for segment in self._events:
            if len((segment.name or "").encode()) > MAX_NAME_SIZE:
                raise _field_too_long()
            name = field_name(segment.name or "", exact=self._exact_names)
            if name == "file":
                return segment
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
            self._add_field(name, bytes(value))
        raise malformed_post()

    def _add_field(self, name: str, value: bytes) -> None:
        if name in self.fields:
            raise invalid_argument(f"The form field {name} is given more than once.", name=name)
        try:
            self.fields[name] = value.decode()
        except UnicodeDecodeError:
            raise invalid_argument(f"The form field {name} is not UTF-8.", name=name) from None


class FormInput:
    """The body of a form whose file may become the object without a copy.

    :param head: the fields and the headers of the file.
    :param content: a file with the rest of the body, read from its present position.
    """

    def __init__(self, head: bytes, content: BinaryIO) -> None:
        self._head = memoryview(head)
        self.content = content

    @property
    def at_content(self) -> bool:
        """Whether exactly the head was read: a parser that has just found the file finds its bytes in `content`."""
        return not self._head and self.content.tell() == 0

    def read(self, size: int) -> bytes:
        if not self._head:
            return self.content.read(size)
        # Return the last byte separately, so that the parser finishes the headers of the file exactly there.
        piece = self._head[: min(size, max(1, len(self._head) - 1))]
        self._head = self._head[len(piece) :]
        return bytes(piece)


class Position:
    """Counts the bytes that a parser has read, and cuts the body at blank lines: there a part's headers may end.

    After the last of the `stops` cuts, the count no longer shows where the file begins.
    """

    def __init__(self) -> None:
        self.read = 0
        self.stops = 1000

    def pieces(self, chunk: bytes, before: bytes) -> Iterator[bytes]:
        """Yield a chunk in pieces, and count each.

        :param before: the end of the chunk before this one.
        """
        text, start = before + chunk, len(before)
        while self.stops and (end := text.find(_BLANK_LINE, max(0, start - 3))) >= 0:
            self.stops -= 1
            piece, start = text[start : end + len(_BLANK_LINE)], end + len(_BLANK_LINE)
            self.read += len(piece)
            yield piece
        if start < len(text):
            self.read += len(text) - start
            yield text[start:] if start else chunk


def _parse(stream: Readable, length: int, boundary: str, body_md5: Any, position: Position) -> Iterator[Any]:
    """Yield the parser's events: a segment, the pieces of its content, None at its end.

    The generator does not refer to the form: such a cycle would keep the body until garbage is collected.
    """
    try:
        parser = multipart.PushMultipartParser(boundary, length, max_header_size=2 * MAX_NAME_SIZE)
        end = b""
        for chunk in chunks(stream, length):
            length -= len(chunk)
            if body_md5:
                body_md5.update(chunk)
            for piece in position.pieces(chunk, end):
                yield from parser.parse(piece)
            end = chunk[-3:] if position.stops else b""
        parser.close()
    except multipart.ParserLimitReached:
        raise _field_too_long() from None
    except multipart.MultipartError:
        raise malformed_post() from None
    if length:
        raise malformed_post()


def content_start(beginning: bytes) -> int:
    """Return where the content of the file seems to start, 0 if that is not in sight. Only a parser knows for sure."""
    match = _FILE_PART.search(beginning)
    return match.end() if match else 0


def field_name(name: str, *, exact: bool) -> str:
    """Return the name in lower case; raise OSSError for an empty one.

    :param exact: also refuse a name that OSS documents in another spelling.
    """
    lower = name.lower()
    if not name or (exact and name != _documented_spelling(name, lower)):
        raise invalid_argument("The bucket POST contains unrecognized field name.", name=name or "name", value=name)
    return lower


def _documented_spelling(name: str, lower: str) -> str:
    if lower.startswith(_METADATA):  # the user chose the rest
        return _METADATA + name[len(_METADATA) :]
    return _DOCUMENTED_SPELLING.get(lower, lower if lower.startswith(_PREFIXES) else name)


def _unquote(value: str) -> str:
    """Return a file name as it was sent: a Windows path is not cut, and a browser's %22 stays (protocol.md 2.4)."""
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
    # OSS has one text for names and for values (protocol.md 2.6, protocol.md 10.2).
    return OSSError(400, "FieldItemTooLong", "Your name of form field is too long.", "0006-00000110")
