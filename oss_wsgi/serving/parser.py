"""waitress's request parser, with a quicker way for a plain request that arrived whole."""

from __future__ import annotations

import copy
import functools
import io
import re
from collections.abc import Callable
from typing import Any, TypeVar
from urllib.parse import unquote_to_bytes

from waitress.buffers import OverflowableBuffer
from waitress.parser import HTTPRequestParser, ParsingError
from waitress.receiver import FixedStreamReceiver
from waitress.utilities import BadRequest, RequestEntityTooLarge, RequestHeaderFieldsTooLarge

from .bounds import OBJECTS_BYTES

_REQUEST_LINE = re.compile(r"([A-Z]+) ((/(?:[!-\"$-.0->@-~][!-\"$->@-~]*)?)(?:\?([!-\"$-~]*))?) HTTP/1\.1\r\n")

_NAME = re.compile(r"[!#$%&'*+.^`|~0-9A-Za-z-]+")  # a token (RFC 9110 section 5.6.2) without "_"
_PRINTABLE = bytes(range(32, 127))

_MAX_DIGITS = 18

MAX_CACHED_NAMES = 256
_MAX_CACHED_NAME_LENGTH = 64

_TRANSFER_ENCODING = re.compile(rb"^transfer-encoding:", re.IGNORECASE | re.MULTILINE)

_HOST_LINE = re.compile(rb"^host:", re.IGNORECASE | re.MULTILINE)
# uri-host [ ":" port ] (RFC 9110 section 7.2, RFC 3986 section 3.2.2)
_HOST = re.compile(
    r"(?:\[(?:[0-9A-Fa-f:.]+|v[0-9A-Fa-f]+\.[!$&'()*+,;=:0-9A-Za-z._~-]+)\]"
    r"|(?:[!$&'()*+,;=0-9A-Za-z._~-]|%[0-9A-Fa-f]{2})*)(?::[0-9]*)?"
)

# waitress's own expressions for these two take time in the square of the length if they fail, and the one for blanks
# also if it matches: 30 kB would stop the loop for a minute.
_REQUEST_LINE_OF_WAITRESS = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+ [^ ]+(?: HTTP/[0-9]\.[0-9])?")
_BLANKS_AFTER_COLON = re.compile(rb"(\r\n[^ \t:\r\n][^:\r\n]*:)(?:(?:\r\n)?[ \t]){16,}")

#: The most lines of a header: waitress joins continued and repeated ones one by one.
MAX_HEADER_LINES = 500

# The most bytes of the line before a chunk, and of the trailer; waitress bounds neither.
_MAX_CHUNK_LINE = 4096

# For each chunk waitress copies all bytes that follow, and takes 3 microseconds.
_PIECE_OF_CHUNKS = 2048

# This many chunks are read at once; the next ones wait until other connections had their turn.
_MAX_CHUNKS_AT_ONCE = 1000
_CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,8})\r\n")

T = TypeVar("T")

#: Method, target, path, query, header fields under names such as ``CONTENT_TYPE``, and the length of the body.
PlainRequest = tuple[str, str, str, str, dict[str, str], int]


class RequestParser(HTTPRequestParser):  # type: ignore[misc]
    """Reads a plain header, a body that came with it, and whole chunks, in one step; waitress reads everything else.

    ``adj.body_limit`` may be a `wsgi.questions.BodyLimit`, which is asked about bodies that do not come with
    their header.
    """

    adj: Any
    completed = False
    body_rcv: Any = None
    _head: bytearray | None = None
    _whole_body: bytes | None = None

    def received(self, data: bytes) -> int:
        if self.body_rcv is not None:
            return self._received_body(data)
        begins = self._head is None and not self.completed
        end = data.find(b"\r\n\r\n") + 4 if begins else 0
        plain = read_plain_request(data[:end]) if 4 <= end < self.adj.max_request_header_size else None
        length = 0 if plain is None else plain[-1]
        if plain is None or not length <= len(data) - end or length >= self.adj.max_request_body_size:
            consumed = self._received_head(data)
            if self.completed:  # waitress would ask for a body that never comes
                self.expect_continue = False
            return consumed
        self.command, self.request_uri, self.path, self.query, self.headers, self.content_length = plain
        self.version, self.url_scheme = "1.1", self.adj.url_scheme
        self.header_bytes_received = end
        self.headers_finished = self.completed = True
        self._whole_body = data[end : end + length]
        self.body_bytes_received = length
        return end + length

    def _received_head(self, data: bytes) -> int:
        """Keep a part of a header; waitress gets whole headers, since it would search from the start at each part."""
        head = self._head
        if head is None:
            head = self._head = bytearray()
        before = len(head)
        if not self.completed and before + len(data) < self.adj.max_request_header_size:
            head += data
            if head.find(b"\r\n\r\n", max(before - 3, 0)) < 0:
                self.header_bytes_received += len(data)
                return len(data)
        self.header_plus = bytes(head[:before])
        self._head = None
        return int(super().received(data))

    def _received_body(self, data: bytes) -> int:
        if not self.chunked:
            return int(super().received(data))
        chunks = self.body_rcv
        between_chunks = not (chunks.chunk_remainder or chunks.validate_chunk_end or chunks.control_line)
        if between_chunks and not chunks.all_chunks_received:
            body, consumed = _whole_chunks(data)
            if consumed:
                chunks.buf.append(body)
                self.body_bytes_received += consumed
                if self.body_bytes_received >= self.adj.max_request_body_size:
                    self.error = RequestEntityTooLarge(f"exceeds max_body of {self.adj.max_request_body_size}")
                    self.completed = True
                return consumed
        consumed = int(super().received(data[: max(chunks.chunk_remainder, _PIECE_OF_CHUNKS)]))
        if not self.completed:
            self._check_chunks()
        return consumed

    def parse_header(self, header_plus: bytes) -> None:
        self._parse_header(header_plus)
        body_limit = getattr(self.adj, "body_limit", None)
        if body_limit is not None and self.body_rcv is not None:
            most = body_limit(self.command, self.path)
            if most is not None:
                self.adj = _with_body_limit(self.adj, most)

    def _parse_header(self, header_plus: bytes) -> None:
        plain = read_plain_request(header_plus)
        self.header_plus = b""
        if plain is None:
            if header_plus.count(b"\n") > MAX_HEADER_LINES:
                super().parse_header(b"GET / HTTP/1.0\r\n")  # as waitress does for a header that is too large
                self.error = RequestHeaderFieldsTooLarge(f"more than {MAX_HEADER_LINES} lines")
                return
            try:
                super().parse_header(_quick_to_read(header_plus))
            except ValueError as error:  # of urlsplit, for a target such as http://a]/
                raise ParsingError("Malformed target") from error
            self.path = _with_one_slash(self.path)
            if _TRANSFER_ENCODING.search(header_plus):
                # A proxy that obeys the header that is ignored here would see another request.
                if "CONTENT_LENGTH" in self.headers:  # RFC 9112 section 6.3
                    raise ParsingError("Content-Length together with Transfer-Encoding")
                if not self.chunked:  # in HTTP/1.0, or without a value (RFC 9112 section 6.1)
                    raise ParsingError("Transfer-Encoding without chunks")
            self._check_target()
            self._check_host(header_plus)
            if "CONNECTION" in self.headers:
                self.headers["CONNECTION"] = _connection(self.headers["CONNECTION"])
            return
        self.command, self.request_uri, self.path, self.query, self.headers, self.content_length = plain
        self.version, self.url_scheme = "1.1", self.adj.url_scheme
        if self.content_length:
            self.body_rcv = FixedStreamReceiver(self.content_length, OverflowableBuffer(self.adj.inbuf_overflow))

    def _check_target(self) -> None:
        """Raise ParsingError unless the target is a path, ``*``, or a URL with a host (RFC 9112 section 3.2)."""
        host = self.proxy_netloc
        if self.proxy_scheme:
            is_valid = host[:1] not in ("", ":") and _IS_HOST[host]
        else:
            is_valid = self.path == "*" or self.path.startswith("/")
        if not is_valid:
            raise ParsingError("Malformed target")

    def _check_host(self, header_plus: bytes) -> None:
        """Raise ParsingError unless the request names one host; the host of an absolute target counts.

        RFC 9112 section 3.2: of two hosts a proxy may take the other one, and pass the request on for that host.
        """
        count = len(_HOST_LINE.findall(header_plus))
        if count > 1:
            raise ParsingError("More than one Host")
        if not count and self.version >= "1.1":
            raise ParsingError("Host is missing")
        if not _IS_HOST[self.headers.get("HOST", "")]:
            raise ParsingError("Host is invalid")
        if self.proxy_netloc:
            self.headers["HOST"] = self.proxy_netloc  # RFC 9112 section 3.2.2

    def _check_chunks(self) -> None:
        chunks = self.body_rcv
        if max(len(chunks.control_line), len(chunks.trailer)) > _MAX_CHUNK_LINE:
            self.error = BadRequest("the line before a chunk, or the trailer, is too long")
            self.completed = True

    def longest_body(self) -> int:
        """Return how many bytes the body may have."""
        return int(self.adj.max_request_body_size - 1 if self.chunked else self.content_length)

    def held_bytes(self) -> int:
        """Return about how much memory a request takes that is not complete, or waits for a thread."""
        held = OBJECTS_BYTES + self.header_bytes_received
        if self._whole_body is not None:
            held += len(self._whole_body)
        elif self.body_rcv is not None:
            body = self.body_rcv.getbuf()
            held += 0 if body.overflowed else len(body)
        return int(held)

    def file_bytes(self) -> int:
        """Return how many bytes of the body are in a temporary file."""
        body = None if self.body_rcv is None else self.body_rcv.getbuf()
        return len(body) if body is not None and body.overflowed else 0

    def get_body_stream(self) -> Any:
        return super().get_body_stream() if self._whole_body is None else io.BytesIO(self._whole_body)


@functools.lru_cache(maxsize=16)
def _with_body_limit(adj: Any, most: int) -> Any:
    """Return waitress's adjustments for ``most`` bytes, but no more than any body may have or fits in memory."""
    bounded = copy.copy(adj)
    bounded.max_request_body_size = min(most + 1, max(adj.max_request_body_size, adj.inbuf_overflow + 1))
    return bounded


def _whole_chunks(data: bytes) -> tuple[bytes, int]:
    """Return the content of the plain chunks at the start of data, and the length of these chunks."""
    pieces: list[bytes] = []
    consumed = 0
    while len(pieces) < _MAX_CHUNKS_AT_ONCE and (line := _CHUNK_SIZE.match(data, consumed)):
        begin = line.end()
        end = begin + int(line[1], 16)
        if begin == end or data[end : end + 2] != b"\r\n":
            break
        pieces.append(data[begin:end])
        consumed = end + 2
    return b"".join(pieces), consumed


def read_plain_request(header: bytes) -> PlainRequest | None:
    """Read a header, from the request line to the empty line; return None if it is not plain.

    Plain is a target in origin form, printable header fields that come once, with one blank after the colon, a valid
    Host, and a body of known length.

    waitress reads such a header in the same way, but for `_connection`; tests compare the two on mutated requests.
    """
    text = header.decode("latin-1")
    start = _REQUEST_LINE.match(text)
    lines = text.split("\r\n", MAX_HEADER_LINES + 2)
    if start is None or ":  " in text or " \r\n" in text or lines[-2:] != ["", ""]:
        return None
    headers = {}
    for line in lines[1:-2]:
        name, colon, value = line.partition(": ")
        headers[_NAMES[name] if colon else ""] = value
    if "" in headers or "EXPECT" in headers or "TRANSFER_ENCODING" in headers:
        return None
    if not ("HOST" in headers and _IS_HOST[headers["HOST"]]):
        return None
    length = headers.get("CONTENT_LENGTH", "0")
    if not (length.isdigit() and len(length) <= _MAX_DIGITS):
        return None
    # Nothing else may break a line, and no field may come twice.
    if header.translate(None, _PRINTABLE) != b"\r\n" * (len(headers) + 2):
        return None
    method, target, path, query = start.groups("")
    if "%" in path:
        path = _with_one_slash(unquote_to_bytes(path).decode("latin-1"))
    if "CONNECTION" in headers:
        headers["CONNECTION"] = _connection(headers["CONNECTION"])
    return method, target, path, query, headers, int(length)


def _with_one_slash(path: str) -> str:
    """Return a path with one slash at its start, as PATH_INFO has it."""
    return "/" + path.lstrip("/") if path.startswith("//") else path


def _connection(value: str) -> str:
    """Return the value of Connection; for a list, the one option that says whether the connection stays.

    Tasks, waitress's too, compare the whole value with ``close`` and ``keep-alive``, where HTTP has a list of options
    (RFC 9110 section 7.6.1). ``close`` wins.
    """
    if "," not in value:
        return value
    options = [option.strip(" \t").lower() for option in value.split(",")]
    return next((option for option in ("close", "keep-alive") if option in options), value)


def _quick_to_read(header: bytes) -> bytes:
    """Return a header that waitress reads or refuses as it would this one, but in linear time."""
    breaks = header.count(b"\r\n")
    if not header.count(b"\r") == header.count(b"\n") == breaks:
        return header  # waitress refuses it before it uses those expressions
    line = header.partition(b"\r\n")[0]
    if not _REQUEST_LINE_OF_WAITRESS.fullmatch(line.rstrip()):
        header = b"?" + header[len(line) :]
    return _BLANKS_AFTER_COLON.sub(rb"\1", header)


class Names(dict[str, T]):
    """The results of ``derive`` for names that clients choose (header fields, hosts), in a bounded number."""

    def __init__(self, derive: Callable[[str], T]) -> None:
        super().__init__()
        self._derive = derive

    def __missing__(self, name: str) -> T:
        derived = self._derive(name)
        if len(name) <= _MAX_CACHED_NAME_LENGTH:
            if len(self) >= MAX_CACHED_NAMES:
                self.clear()
            self[name] = derived
        return derived


# Names in the form ``CONTENT_TYPE``; "" for one that is not plain.
_NAMES = Names(lambda name: name.upper().replace("-", "_") if _NAME.fullmatch(name) else "")
_IS_HOST = Names(lambda host: _HOST.fullmatch(host) is not None)
