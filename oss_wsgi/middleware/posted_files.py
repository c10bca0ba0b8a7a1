"""Middleware that puts files of OSS into a posted form, in place of the signed IDs that the page has sent for them.

A form of ``upload.js`` begins with a hidden field, the marker: it lists the names of the fields that hold signed IDs.
The middleware replaces the bytes of the marker and of the listed parts, and no others, so that the application's own
parser reads what the browser would have posted without us.

A line is a delimiter if it is the boundary alone, as in RFC 2046; parsers of applications may see a malformed form
differently. They may also see a delimiter inside an object, if a client uploads a file first and then chooses a
boundary that occurs in it. Neither gives a client more than it has: it may post any form in its own name, and a form
takes no files but those of the user who sends it. Browsers choose each boundary at random.
"""

from __future__ import annotations

import io
import logging
import re
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from tempfile import SpooledTemporaryFile
from typing import IO, TYPE_CHECKING, NamedTuple, Protocol
from urllib.parse import unquote_to_bytes

from ..bucket import StoredObject, read_on
from ..callback.upload import Upload, plain_etag
from ..exceptions import (
    CallableFailedError,
    FormError,
    NotAuthorizedError,
    OSSWSGIError,
    PostedFileChangedError,
    UnverifiedError,
)
from ..explanations.languages import accepted_language, in_language
from ..threads import calls_ahead
from ..wsgi.environ import header, read_up_to
from ..wsgi.facts import RETRY_LATER, RequestFacts, facts_of, reasoned
from ..wsgi.observers import Observers, observed
from ..wsgi.questions import HOLD_KEY, WouldWaitError, callback_test, pass_on
from ..wsgi.responses import AnsweredError, ClosingBody, html_response, status_of
from .form_charset import Encoder, encoder_of

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer
    from _typeshed.wsgi import InputStream, StartResponse, WSGIApplication, WSGIEnvironment

#: The environ key under which an application finds the `FormFiles` of a form.
POSTED_FILES_KEY = "oss_wsgi.posted_files"

#: The name of the hidden field that a form with signed IDs begins with.
MARKER = b"oss_wsgi.files"

#: Most bytes of a form that are read to see the marker.
MAX_FIRST = 512

#: Most signed IDs of a form: each costs the client 400 bytes, and the server a file that it reads from OSS.
MAX_FILES = 1000

_MAX_HEAD = 16 * 1024
_MAX_MARKER = 64 * 1024
_MAX_SIGNED_ID = 4000
_MAX_LENGTH_DIGITS = 18
_MAX_SHOWN = 40

_MAX_IN_MEMORY = 512 * 1024
_PIECE = 64 * 1024
_HEADS_AT_ONCE = 8

# RFC 2046 section 5.1.1 allows blanks after a boundary. No client is known that sends any.
_MAX_PADDING = 64
_CRLF = b"\r\n"
_PARAMETER = re.compile(rb';[ \t]*([^\s=;"]+)[ \t]*=[ \t]*(?:"([^"]*)"|([^;"]*))[ \t]*')
_FOLD = re.compile(rb"\r\n[ \t]+")
_LINE_BREAK = re.compile(r"\r\n|\r|\n")
_POSITION = re.compile(r"[0-9]{1,6}")
_BARE_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
_PRINTABLE = re.compile(r"[\x20-\x7e]{1,255}")

_PAGE = (
    '<!DOCTYPE html>\n<html lang="{0}">\n<meta charset="utf-8">\n<meta name="viewport" content="width=device-width">\n'
    "<title>{1}</title>\n<h1>{1}</h1>\n<p>{2}</p>\n</html>\n"
)
_TITLE = "The form was not sent"
_CHANGED = (
    "A file of this form was changed or deleted after it was uploaded. Go back, choose the files again, and send the "
    "form once more."
)
#: What a person reads, by the reason of the refusal, or else by its status.
_SENTENCES = {
    "signed_id_expired": "Too much time has passed since the files of this form were uploaded. Go back, choose them "
    "again, and send the form once more.",
    "signed_id_other_user": "The files of this form were uploaded by another user, or you are no longer logged in. "
    "Log in, go back, choose the files again, and send the form once more.",
    "posted_file_deleted": _CHANGED,
    "posted_file_replaced": _CHANGED,
}
_SENTENCES_BY_STATUS = {
    400: "The form did not arrive as it was sent. Go back, reload the page, choose the files again, and send the form "
    "once more.",
    403: "You may not send this form. Log in, go back, and send it once more.",
    503: "The files of this form cannot be read right now. Wait a minute, go back, and send the form once more.",
}
_OTHER_SENTENCE = "The server failed to read this form. Go back, and send it once more."

log = logging.getLogger(__name__)


#: Where a form is cut, where it goes on, and what comes between: bytes, and then the bytes of an upload.
_Cut = tuple[int, int, bytes, Upload | None]


class FileBucket(Protocol):
    """What `PostedFiles` needs of a ``BucketClient``."""

    def head(self, key: str) -> StoredObject | None:
        """Return what is stored under a name, or None."""
        ...

    def read(self, key: str, etag: str, start: int) -> Iterator[bytes]:
        """Return the bytes of an object from ``start`` on."""
        ...


class PostedFiles:
    """Middleware: the application finds files that went straight to OSS where it looks for posted files.

    A form of ``upload.js`` brings a signed ID for each file. ``app`` reads the form that the browser would have posted
    without it: each signed ID has become a part with a ``filename`` and a ``Content-Type``, whose bytes come from OSS
    while ``app`` reads ``wsgi.input``. ``CONTENT_LENGTH`` is the length of that form. Everything else in the form stays
    as it is; files that were posted beside the signed IDs are spooled to disk, if the server has not done so.

        application = PostedFiles(legacy_app, open_signed_id, SDKBucket(settings, clock=time.time), user_of=user_of)

    Only a POST of ``multipart/form-data`` with a ``Content-Length`` can be such a form. Its first 512 bytes are read,
    and ``app`` reads them again; every other request goes to ``app`` unread.

    A form is checked before ``app`` is called, and refused with a page that tells a person what to do: 400 for a
    malformed form or a signed ID that proves nothing, 403 for files of another user, 409 for an object that was
    replaced or deleted, 503 if OSS cannot be asked. The reason is in the log. A form may have 1,000 signed IDs.

    If OSS fails while ``app`` reads, reading goes on where it stopped; after three tries it raises OSError.

    ``environ["oss_wsgi.posted_files"]`` is the form's ``FormFiles``, for an application that wants objects, not bytes.

    :param open_signed_id: ``(str) -> Upload``: returns the upload of a signed ID, whoever its user is; raises
        UnverifiedError.
    :param bucket: a ``BucketClient``; only ``head`` and ``read`` are called. A form asks for up to eight objects at
        once.
    :param observers: called for each form that brings signed IDs, with ``form`` as the name of its endpoint.
    :param user_of: ``(environ, uploads) -> str | None``: returns the user who sends the form, which must be the user of
        each upload. The environ has no body. It may raise NotAuthorizedError for nobody, other errors of this package,
        and AnsweredError for a response of its own.
    """

    def __init__(
        self,
        app: WSGIApplication,
        open_signed_id: Callable[[str], Upload],
        bucket: FileBucket,
        *,
        user_of: Callable[[WSGIEnvironment, Sequence[Upload]], str | None],
        observers: Observers | None = None,
    ) -> None:
        self._app = app
        self._open_signed_id = open_signed_id
        self._bucket = bucket
        self._user_of = user_of
        self._observers = observers
        self._is_callback = callback_test(app)
        pass_on(self, app)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        length = _form_length(environ) if environ.get("REQUEST_METHOD") == "POST" else None
        if length is None or self._may_have_callback_thread(environ):
            return self._app(environ, start_response)
        if HOLD_KEY in environ:
            raise WouldWaitError
        stream = environ["wsgi.input"]
        start = _position(stream)
        try:
            first = read_up_to(stream, min(length, MAX_FIRST))
        except OSSWSGIError as error:
            return self._observed(_refusal(error))(environ, start_response)
        boundary = _boundary_of_marked(first, header(environ, "CONTENT_TYPE"))
        if start is None:
            stream = _FromFirst(first, stream)
            environ = {**environ, "wsgi.input": stream}
        else:
            stream.seek(start)
        if boundary is None:
            return self._app(environ, start_response)
        form = partial(self._pass_with_files, position=start, length=length, boundary=boundary)
        return self._observed(form)(environ, start_response)

    def _observed(self, app: WSGIApplication) -> WSGIApplication:
        if self._observers is None:
            return app
        return observed(app, lambda method, path: "form", self._observers)

    def _may_have_callback_thread(self, environ: WSGIEnvironment) -> bool:
        """Return whether a request may be handled in a thread that is kept for callbacks, and must not wait for OSS."""
        key_url = environ.get("HTTP_X_OSS_PUB_KEY_URL")
        path = header(environ, "PATH_INFO")
        return key_url is not None and self._is_callback("POST", path, {"X_OSS_PUB_KEY_URL": key_url})

    def _pass_with_files(
        self,
        environ: WSGIEnvironment,
        start_response: StartResponse,
        *,
        position: int | None,
        length: int,
        boundary: bytes,
    ) -> Iterable[bytes]:
        """Pass on a form that begins with the marker, with its files; or refuse it."""
        stream = environ["wsgi.input"]
        facts = facts_of(environ)  # before the environ is copied, so that its copies have the same facts
        with ExitStack() as at_end:
            try:
                if position is None:
                    stream, position = at_end.enter_context(_spooled(stream, length)), 0
                files = self._files(_Body(stream, position, length), boundary, facts)
                uploads = [upload for uploads in files.uploads.values() for upload in uploads]
                self._check_user(environ, uploads)
                self._check_stored(uploads)
            except AnsweredError as answered:
                return answered.app(environ, start_response)
            except OSSWSGIError as error:
                return _refusal(error)(environ, start_response)
            reader, new_length = files.with_files()
            at_end.callback(reader.close)
            environ = _with_body(environ, reader, new_length)
            response = self._app({**environ, POSTED_FILES_KEY: files}, start_response)
            return ClosingBody(response, at_end.pop_all().close)

    def _files(self, body: _Body, boundary: bytes, facts: RequestFacts) -> FormFiles:
        """Return the files of a form, in its order; FormError for a malformed form, UnverifiedError for a signed ID."""
        parts = _parts(body, boundary)
        marker = next(parts)
        fields, encoder = _marked_fields(body.read(marker.value, marker.end, _MAX_MARKER))
        listed = {_escaped(_LINE_BREAK.sub("\r\n", field.name), encoder): field for field in fields}
        files: list[_PostedFile] = []
        for part in parts:
            name, is_file = _name_of(part.head)
            if name == MARKER:
                raise FormError("form_malformed", "the form has two fields oss_wsgi.files")
            if name not in listed or not listed[name].next_is_id(is_file):
                continue
            if len(files) == MAX_FILES:
                raise FormError("form_malformed", f"the form has more than {MAX_FILES} signed IDs")
            upload = self._open_signed_id(body.read(part.value, part.end, _MAX_SIGNED_ID).decode("latin-1"))
            files.append(_PostedFile(listed[name].name, upload, part, _head_of_file(name, upload, encoder)))
        missing = [field.name for field in listed.values() if field.is_short_of_ids]
        if missing:
            hint = f"oss_wsgi.files lists {min(missing)[:_MAX_SHOWN]!r}, and no field of this name holds a signed ID"
            raise FormError("form_malformed", hint)
        return FormFiles(body, marker.next_line, files, self._bucket, facts)

    def _check_user(self, environ: WSGIEnvironment, uploads: Sequence[Upload]) -> None:
        """Raise UnverifiedError unless all uploads are of the user who sends the form."""
        if not uploads:
            return
        try:
            user = self._user_of({**_with_body(environ, io.BytesIO(), 0), "CONTENT_TYPE": ""}, uploads)
        except NotAuthorizedError as error:
            raise UnverifiedError("signed_id_other_user", f"nobody may send the form: {error}") from error
        facts_of(environ).user = user
        owner = next((upload.user for upload in uploads if upload.user != user), user)
        if owner != user:
            hint = f"user {user!r} sends the form, and user {owner!r} uploaded a file of it"
            raise UnverifiedError("signed_id_other_user", hint)

    def _check_stored(self, uploads: Sequence[Upload]) -> None:
        """Raise PostedFileChangedError unless OSS holds all objects as they were uploaded; BucketError if unknown."""
        by_object = {(upload.object, upload.etag): upload for upload in uploads}
        names = [upload.object or "" for upload in by_object.values()]
        with calls_ahead(self._bucket.head, names, limit=_HEADS_AT_ONCE, thread_name="oss_wsgi-form") as next_stored:
            for upload in by_object.values():
                stored = next_stored()
                if stored is None:
                    raise PostedFileChangedError("posted_file_deleted", f"OSS holds no object {upload.object!r}")
                if (plain_etag(stored.etag), stored.size) != (plain_etag(upload.etag or ""), upload.size):
                    hint = f"OSS holds another object as {upload.object!r} than the one that was uploaded"
                    raise PostedFileChangedError("posted_file_replaced", hint)


class FormFiles:
    """The files of one form that are in OSS: ``environ["oss_wsgi.posted_files"]``.

    :ivar uploads: the ``Upload`` objects by the name of their field, in the form's order.
    """

    def __init__(
        self, body: _Body, begin: int, files: Sequence[_PostedFile], bucket: FileBucket, facts: RequestFacts
    ) -> None:
        self._body = body
        self._begin = begin
        self._files = files
        self._bucket = bucket
        self._facts = facts
        self.uploads: dict[str, list[Upload]] = {}
        for file in files:
            self.uploads.setdefault(file.name, []).append(file.upload)

    def with_files(self) -> tuple[IO[bytes], int]:
        """Return the form with the files in it, which ``wsgi.input`` is, and its length."""
        return self._form([(file.part.begin, file.part.end, file.head, file.upload) for file in self._files])

    def with_empty_files(self, number: int) -> tuple[IO[bytes], int, list[Upload]]:
        """Return the form with empty files, its length, and the uploads in the form's order.

        For a parser that asks for each file where its bytes are: the n-th upload has become a part without bytes, with
        the header ``Content-Length: number + n``, n from 0. Browsers do not send this header in a part; take a random
        number, so that no client can name it.
        """
        cuts = []
        for n, file in enumerate(self._files):
            head = b"Content-Length: %d\r\n%b" % (number + n, file.head)
            cuts.append((file.part.begin, file.part.end, head, None))
        return *self._form(cuts), [file.upload for file in self._files]

    def without_files(self) -> tuple[IO[bytes], int]:
        """Return the form without the files, as a new input that reads nothing from OSS, and its length in bytes.

        It can be read until the response is closed.
        """
        return self._form([(file.part.line, file.part.next_line, b"", None) for file in self._files])

    def open(self, upload: Upload, start: int = 0) -> Generator[bytes]:
        """Yield the bytes of a file from ``start`` on, as OSS sends them.

        Raises OSError if OSS does not send all of them; the log says why.
        """
        key, etag = upload.object or "", plain_etag(upload.etag or "")
        return read_on(self._bucket, key, etag, upload.size or 0, start, fields=self._facts.fields())

    def _form(self, cuts: Sequence[_Cut]) -> tuple[IO[bytes], int]:
        """Return the form without its marker, and with other bytes in place of each cut; and its length."""
        length = self._body.length - self._begin
        for begin, end, head, upload in cuts:
            length += len(head) + begin - end
            if upload is not None:
                length += upload.size or 0
        return _reader(self._pieces(cuts)), length

    def _pieces(self, cuts: Sequence[_Cut]) -> Generator[bytes]:
        position = self._begin
        for begin, end, head, upload in cuts:
            yield from self._body.pieces(position, begin)
            yield head
            if upload is not None:
                yield from self.open(upload)
            position = end
        yield from self._body.pieces(position, self._body.length)


class _Part(NamedTuple):
    """A part of a form, as positions in it, and its headers.

    ``line`` is where its delimiter line begins, ``begin`` where that ends, ``value`` and ``end`` where its value begins
    and ends, and ``next_line`` where the next delimiter line begins.
    """

    line: int
    begin: int
    head: bytes
    value: int
    end: int
    next_line: int


class _PostedFile(NamedTuple):
    name: str
    upload: Upload
    part: _Part
    head: bytes


class _Field:
    """A field that the marker lists. Without ``positions`` each part of it that is no file holds a signed ID."""

    def __init__(self, name: str, positions: frozenset[int]) -> None:
        self.name = name
        self._positions = positions
        self._parts = self._ids = 0

    def next_is_id(self, is_file: bool) -> bool:
        """Return whether the next part of the field holds a signed ID."""
        position = self._parts
        self._parts += 1
        is_id = not is_file and (not self._positions or position in self._positions)
        self._ids += is_id
        return is_id

    @property
    def is_short_of_ids(self) -> bool:
        """Whether a part is missing that should hold a signed ID."""
        return self._ids < max(1, len(self._positions))


class _Body:
    """The body of a form as it was sent, in a file where it can be read again."""

    def __init__(self, file: IO[bytes], start: int, length: int) -> None:
        self._file = file
        self._start = start
        self.length = length

    def read(self, begin: int, end: int, most: int) -> bytes:
        """Return what is between two positions; FormError if it is more than ``most`` bytes."""
        if end - begin > most:
            raise FormError("form_malformed", f"a value of the form has {end - begin} bytes, and may have {most}")
        return b"".join(self.pieces(begin, end))

    def pieces(self, begin: int, end: int) -> Generator[bytes]:
        """Yield what is between two positions; others may read the file meanwhile."""
        while begin < end:
            self._file.seek(self._start + begin)
            piece = self._file.read(min(end - begin, _PIECE))
            if not piece:
                raise FormError("form_malformed", f"the form ends at byte {begin}, before its Content-Length")
            yield piece
            begin += len(piece)


class _PieceReader(io.RawIOBase):
    """A stream of pieces of bytes, which are made while it is read."""

    def __init__(self, pieces: Generator[bytes]) -> None:
        self._pieces = pieces
        self._piece = memoryview(b"")
        self._error: Exception | None = None

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        if self._error is not None:  # the generator has ended, which must not look like the end of the form
            raise self._error
        try:
            while not self._piece:
                self._piece = memoryview(next(self._pieces))
        except StopIteration:
            return 0
        except Exception as error:
            self._error = error
            raise
        target = memoryview(buffer)
        count = min(len(target), len(self._piece))
        target[:count] = self._piece[:count]
        self._piece = self._piece[count:]
        return count

    def close(self) -> None:
        if not self.closed:
            self._pieces.close()
        super().close()


def _reader(pieces: Generator[bytes]) -> IO[bytes]:
    return io.BufferedReader(_PieceReader(pieces), _PIECE)


class _FromFirst:
    """An input of which the first bytes were read already, and are read again (PEP 3333, input and error streams)."""

    def __init__(self, first: bytes, stream: InputStream) -> None:
        self._first = first
        self._stream = stream

    def read(self, size: int | None = None, /) -> bytes:
        first, self._first = self._first, b""
        if size is None or size < 0:
            return first + self._stream.read()
        if size <= len(first):
            self._first = first[size:]
            return first[:size]
        return first + self._stream.read(size - len(first))

    def readline(self, size: int | None = None, /) -> bytes:
        limit = (size,) if size is not None and size >= 0 else ()
        if not self._first:
            return self._stream.readline(*limit)
        end = min(self._first.find(b"\n") + 1 or len(self._first), *limit, len(self._first))
        line = self.read(end)
        if self._first or line.endswith(b"\n") or size == end:
            return line
        return line + self._stream.readline(*(left - end for left in limit))

    def readlines(self, hint: int | None = None, /) -> list[bytes]:
        lines: list[bytes] = []
        size = 0
        for line in self:
            lines.append(line)
            size += len(line)
            if hint is not None and 0 < hint <= size:
                break
        return lines

    def __iter__(self) -> Iterator[bytes]:
        return iter(self.readline, b"")


def _spooled(stream: InputStream, length: int) -> IO[bytes]:
    """Return a file with a form's body: in memory if it is small, else on disk."""
    spool: IO[bytes] = SpooledTemporaryFile(_MAX_IN_MEMORY)  # noqa: SIM115 - the caller closes it
    try:
        while length > 0 and (piece := read_up_to(stream, min(length, _PIECE))):
            spool.write(piece)
            length -= len(piece)
    except BaseException:
        spool.close()
        raise
    return spool


def _position(stream: IO[bytes]) -> int | None:
    """Return where a stream stands, if what was read can be read again; else None."""
    try:
        return stream.tell() if stream.seekable() else None
    except (AttributeError, OSError, ValueError):  # a WSGI server's stream needs none of these methods
        return None


def _with_body(environ: WSGIEnvironment, body: IO[bytes], length: int) -> WSGIEnvironment:
    """Return a copy of the environ with another body."""
    # WebOb sets a key where it knows that it can seek the body that it has put there.
    kept = {key: value for key, value in environ.items() if key != "webob.is_body_seekable"}
    return {**kept, "wsgi.input": body, "CONTENT_LENGTH": str(length)}


def _form_length(environ: WSGIEnvironment) -> int | None:
    """Return the length of a posted multipart form; None for any other body, and for an unknown length."""
    if "HTTP_TRANSFER_ENCODING" in environ:
        return None
    if header(environ, "CONTENT_TYPE").partition(";")[0].strip().lower() != "multipart/form-data":
        return None
    text = str(environ.get("CONTENT_LENGTH") or "")
    is_number = text.isascii() and text.isdigit() and len(text) <= _MAX_LENGTH_DIGITS
    return int(text) if is_number else None


def _boundary_of_marked(first: bytes, content_type: str) -> bytes | None:
    """Return the boundary of a form whose first part is the marker; None for any other form."""
    if MARKER not in first:
        return None
    _, _, parameters = content_type.encode("latin-1", "replace").partition(b";")
    boundary = _parameters(b";" + parameters).get(b"boundary", b"")
    line = b"--" + boundary + b"\r\n"
    if not boundary or not first.startswith(line):
        return None
    head, end, _ = first[len(line) :].partition(b"\r\n\r\n")
    return boundary if end and _name_of(head) == (MARKER, False) else None


def _parts(body: _Body, boundary: bytes) -> Generator[_Part]:
    """Yield the parts of a form whose first line is a delimiter. Raises FormError."""
    lines = _delimiter_lines(body, boundary)
    line, begin = next(lines)
    for next_line, next_begin in lines:
        end = next_line - len(_CRLF)
        head, blank, _ = (_CRLF + b"".join(body.pieces(begin, min(end, begin + _MAX_HEAD)))).partition(_CRLF + _CRLF)
        if not blank:
            raise FormError("form_malformed", f"the headers of a part have no end within {_MAX_HEAD} bytes")
        yield _Part(line, begin, head, begin + len(head) + len(_CRLF), end, next_line)
        line, begin = next_line, next_begin


def _delimiter_lines(body: _Body, boundary: bytes) -> Generator[tuple[int, int]]:
    """Yield where each delimiter line begins and ends, as far as the last one.

    Raises FormError if there is no last one, or the body ends before its length.
    """
    delimiter = _CRLF + b"--" + boundary
    padding = rb"[ \t]{0,%d}" % _MAX_PADDING
    line = re.compile(re.escape(delimiter) + rb"(?:--%b(\r\n|\Z)|%b\r\n)" % (padding, padding))
    longest = len(delimiter) + len(b"--") + _MAX_PADDING + len(_CRLF)
    # A form begins with a delimiter, so the line break that belongs to it is put before the form.
    window, offset = _CRLF, -len(_CRLF)
    pieces = body.pieces(0, body.length)
    for piece in pieces:
        window += piece
        is_whole = offset + len(window) == body.length
        position = 0
        while (found := window.find(delimiter, position)) >= 0 and (is_whole or len(window) - found >= longest):
            match = line.match(window, found)
            position = match.end() if match else found + 1
            if match:
                yield offset + found + len(_CRLF), offset + position
                if match[1] is not None:
                    for _ in pieces:  # the application reads what follows too, so it must be there
                        pass
                    return
        done = found if found >= 0 else max(position, len(window) - len(delimiter) + 1)
        window, offset = window[done:], offset + done
    raise FormError("form_malformed", "the form has no last delimiter")


def _name_of(head: bytes) -> tuple[bytes | None, bool]:
    """Return the name of a part as it is in its headers, and whether the part is a file."""
    for line in _FOLD.sub(b" ", head).split(_CRLF):
        field, _, value = line.partition(b":")
        if field.strip().lower() == b"content-disposition":
            parameters = _parameters(value)
            return parameters.get(b"name"), b"filename" in parameters or b"filename*" in parameters
    return None, False


def _parameters(value: bytes) -> dict[bytes, bytes]:
    """Return the parameters of a header's value by their names in lower case; of a repeated one the first."""
    parameters: dict[bytes, bytes] = {}
    position = value.find(b";")
    while position >= 0 and (match := _PARAMETER.match(value, position)):
        name, quoted, token = match.groups()
        parameters.setdefault(name.lower(), token.strip() if quoted is None else quoted)
        position = match.end()
    return parameters


def _marked_fields(value: bytes) -> tuple[list[_Field], Encoder]:
    """Return the fields that the marker lists, and how the form's charset is encoded. Raises FormError.

    A field is ``NAME``, or ``NAME:1:3`` if only its second and fourth part hold signed IDs.
    """
    text, separator, parameter = value.decode("latin-1").partition(";")
    attribute, _, charset = parameter.lower().partition("=")
    charset = charset if separator else "utf-8"
    encoder = encoder_of(charset)
    if encoder is None or attribute not in ("", "charset"):
        raise FormError("form_malformed", f"oss_wsgi.files names an unknown charset, {charset[:_MAX_SHOWN]!r}")
    if not text.isascii() or _BARE_PERCENT.search(text):
        raise FormError("form_malformed", "oss_wsgi.files is not percent-encoded")
    fields = []
    for field in text.split(",") if text else []:
        name, *positions = field.split(":")
        if not all(_POSITION.fullmatch(position) for position in positions):
            raise FormError("form_malformed", "oss_wsgi.files has a position that is no number")
        try:
            fields.append(_Field(unquote_to_bytes(name).decode(), frozenset(map(int, positions))))
        except UnicodeDecodeError:
            raise FormError("form_malformed", "oss_wsgi.files is not UTF-8") from None
    return fields, encoder


def _escaped(text: str, encoder: Encoder) -> bytes:
    """Return a name as browsers write it into a header (HTML standard, multipart/form-data encoding algorithm)."""
    return encoder(text).replace(b'"', b"%22").replace(b"\r", b"%0D").replace(b"\n", b"%0A")


def _head_of_file(name: bytes, upload: Upload, encoder: Encoder) -> bytes:
    """Return the headers of a file's part, with the blank line after them. ``name`` is escaped already."""
    filename = upload.filename or (upload.object or "").rpartition("/")[2] or "blob"
    mime_type = upload.mime_type or ""
    content_type = mime_type if _PRINTABLE.fullmatch(mime_type) else "application/octet-stream"
    disposition = b'form-data; name="%s"; filename="%s"' % (name, _escaped(filename, encoder))
    return b"Content-Disposition: %s\r\nContent-Type: %s\r\n\r\n" % (disposition, content_type.encode())


def _refusal(error: OSSWSGIError) -> WSGIApplication:
    """Return an application that logs a refusal, and responds with a page that tells a person what to do."""
    refusal = reasoned(error)
    status = status_of(error)
    if isinstance(error, UnverifiedError) and error.reason != "signed_id_other_user":
        status = 400
    cause = error.__cause__ if isinstance(error, CallableFailedError) else None

    def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        facts_of(environ).log_refusal(log, status, refusal.reason, refusal.hint, cause)
        language = accepted_language(environ.get("HTTP_ACCEPT_LANGUAGE"))
        sentence = _SENTENCES.get(refusal.reason) or _SENTENCES_BY_STATUS.get(status, _OTHER_SENTENCE)
        page = _PAGE.format(language, in_language(_TITLE, language), in_language(sentence, language))
        return html_response(environ, start_response, status, page.encode(), [RETRY_LATER] if status == 503 else [])

    return application
