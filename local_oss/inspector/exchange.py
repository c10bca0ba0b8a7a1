"""The record of one request: the client, the request, the stored object, the callbacks and the answer.

The newest records are kept in bounded memory.
"""

from __future__ import annotations

import re
import secrets
import sys
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields, is_dataclass, replace
from typing import Any
from urllib.parse import parse_qsl, quote

from oss_wsgi.threads import Locked

from ..callbacks.sender import CallbackCall, CallbackRequest
from ..environ import Address
from ..errors import ErrorText, OSSError
from ..signatures.signed_request import read_headers
from ..storage.index import StoredObject

#: The most characters to keep of a field or a header; a longer value is left out as a whole.
MAX_VALUE = 64 * 1024
#: The most characters to keep of all fields, and the most bytes of an answer.
MAX_FIELDS = 512 * 1024
MAX_ANSWER = 64 * 1024
#: The most exchanges and bytes to keep.
MAX_EXCHANGES = 1000
MAX_BYTES = 8 * 1024 * 1024

#: Kind -> what the list calls it.
KINDS = {
    "upload": "Uploads",
    "part": "Parts",
    "callback": "Callbacks sent again",
    "cors": "Preflights and CORS",
    "read": "Reads",
    "call": "Other calls",
}

#: Operations of each kind; all others are calls.
_OPERATIONS = {
    "upload": ("PostObject", "PutObject", "CopyObject", "CompleteMultipartUpload"),
    "part": ("InitiateMultipartUpload", "UploadPart", "UploadPartCopy", "AbortMultipartUpload", "ListParts"),
    "cors": ("Preflight",),
    "read": ("GetObject", "HeadObject"),
}


@dataclass
class Exchange:
    """One request; an attribute that is missing, or not known yet, has its default.

    Pages show an exchange while it is under way, so each attribute is set as a whole.

    :param started: Unix seconds.
    :param operation: the operation's name in OSS's documentation; until the name is known, the method.
    :param target: path and query, as they were sent.
    :param fields: the fields of a form, by lower-case name; None for a request that is not a form.
    :param origin: the id of the exchange whose callback was sent again; "" for a request that came from a client.
    :param mistake: the known mistake that leads to the received signature.
    :param dropped: no answer was sent.
    :param is_under_way: the exchange has not ended.
    :param asked: the callback that has no answer yet.
    :param recovered: the id of the exchange by which the application asked for the object whose callback had failed.
    :param clock: the monotonic time at which the exchange began.
    :param begun: the same; once a callback is sent, the monotonic time at which the callback began.
    :param changed: called with the exchange when there is more to show, except at its end.
    """

    id: str = ""
    started: float = 0.0
    method: str = ""
    operation: str = ""
    target: str = ""
    base_url: str = ""
    client: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    bucket: str = ""
    key: str = ""
    query: tuple[tuple[str, str], ...] = ()
    fields: dict[str, str] | None = None
    file_name: str = ""
    file_type: str = ""
    left_out: tuple[str, ...] = ()
    stored: StoredObject | None = None
    calls: list[CallbackCall] = field(default_factory=list)
    error: ErrorText | None = None
    mistake: str = ""
    computed: str = ""
    status: int = 0
    answer_headers: tuple[tuple[str, str], ...] = ()
    answer: bytes = b""
    seconds: float = 0.0
    dropped: bool = False
    origin: str = ""
    again: str = ""
    is_under_way: bool = False
    asked: CallbackRequest | None = None
    recovered: str = ""
    clock: float = field(default_factory=time.monotonic)
    begun: float = field(default_factory=time.monotonic)
    changed: Callable[[Exchange], None] = field(default=lambda exchange: None, repr=False, compare=False)

    @classmethod
    def of(cls, environ: Mapping[str, Any], started: float) -> Exchange:
        """Return the beginning of an exchange: the request without its body."""
        target = str(environ.get("REQUEST_URI") or "")
        query = str(environ.get("QUERY_STRING", ""))
        path = quote(
            f"{environ.get('SCRIPT_NAME', '')}{environ.get('PATH_INFO', '')}".encode("latin-1"), safe="/~:@!$&'()*+,;="
        )
        if not target.startswith("/"):
            target = f"{path}?{query}" if query else path
        host = str(environ.get("HTTP_HOST") or environ.get("SERVER_NAME", ""))
        return cls(
            id=new_request_id(started),
            started=started,
            method=str(environ["REQUEST_METHOD"]),
            operation=str(environ["REQUEST_METHOD"]),
            target=target[:MAX_VALUE],
            base_url=f"{environ.get('wsgi.url_scheme', 'http')}://{host}"[:MAX_VALUE],
            client=str(environ.get("REMOTE_ADDR", "")),
            headers=tuple((name, _kept(value)) for name, value in read_headers(environ).items()),
            query=tuple(parse_qsl(query[:MAX_VALUE], keep_blank_values=True)),
            is_under_way=True,
        )

    def note_address(self, address: Address, operation: str) -> None:
        self.bucket, self.key, self.operation = address.bucket or "", address.key, operation

    def note_form(self, fields: Mapping[str, str], file_name: str, file_type: str) -> None:
        kept: dict[str, str] = {}
        left_out, total = [], 0
        for name, value in fields.items():
            total += len(name) + len(value)
            if len(value) > MAX_VALUE or total > MAX_FIELDS:
                left_out.append(f"{name} ({len(value)} characters)"[:200])
                total -= len(name) + len(value)
            else:
                kept[name] = value
        self.left_out = tuple(left_out[:100])
        self.file_name, self.file_type = file_name[:1024], file_type[:1024]
        self.key = fields.get("key", "").replace("${filename}", file_name)[:2048]
        self.fields = kept
        self.changed(self)

    def note_request(self, request: CallbackRequest) -> None:
        self.begun, self.asked = time.monotonic(), _kept_request(request)
        self.changed(self)

    def note_call(self, call: CallbackCall) -> None:
        """Keep a call of the application, with as much of the bodies as the pages show."""
        reply = call.reply
        if reply and len(reply.body) > MAX_ANSWER:
            reply = replace(reply, body=reply.body[:MAX_ANSWER])
        self.calls = [*self.calls, replace(call, request=_kept_request(call.request), reply=reply)]
        self.asked = None

    def note_error(self, error: OSSError) -> None:
        """Keep the texts of an error, except texts that are too long."""
        members = {name: _kept(value) for name, value in error.members.items()}
        self.error = ErrorText(_kept(error.message), error.ec, error.code, members)

    def finish(self, status: int, headers: Iterable[tuple[str, str]] = (), body: object = b"") -> None:
        """Keep the answer, status 0 for none; a body other than bytes is an object's content, and is not kept."""
        self.status, self.dropped = status, status == 0 and not self.origin
        self.seconds = time.monotonic() - self.clock
        self.answer_headers = tuple((name, value[:MAX_VALUE]) for name, value in headers)
        self.answer = body[:MAX_ANSWER] if isinstance(body, bytes) else b""
        self.is_under_way, self.asked = False, None

    @property
    def name(self) -> str:
        """What the request is about: an object, a bucket, or a path."""
        return self.key or self.bucket or self.target.partition("?")[0]

    @property
    def kind(self) -> str:
        """One of KINDS."""
        kinds = (kind for kind, operations in _OPERATIONS.items() if self.operation in operations)
        return "callback" if self.origin else next(kinds, "call")

    @property
    def has_failed(self) -> bool:
        """Whether a client, or the application, did not get what it wanted."""
        is_lost = self.status == 203 and not self.recovered
        return self.dropped or is_lost or self.status >= 400 or self.is_cors_refusal

    @property
    def is_cors_refusal(self) -> bool:
        """Whether a browser hides the answer from the page that asked."""
        origin = self.header("origin")
        if not origin or self.status == 0 or self.origin:
            return False
        if origin == self.base_url or self.header("sec-fetch-mode") in ("navigate", "no-cors"):
            return False
        return not any(name.lower() == "access-control-allow-origin" for name, _ in self.answer_headers)

    @property
    def user_file(self) -> str:
        """The name of the user's file in a form, unless the object has the same name; else ""."""
        return "" if f"/{self.key}".endswith(f"/{self.file_name}") else self.file_name

    @property
    def upload_id(self) -> str:
        """The ID of the upload in parts that the request begins, or belongs to; else ""."""
        if self.operation == "InitiateMultipartUpload":
            answered = re.search(rb"<UploadId>([^<]+)<", self.answer)
            return answered[1].decode() if answered else ""
        return dict(self.query).get("uploadId", "")

    @property
    def size(self) -> int | None:
        """The bytes of the object or the part; None where nothing was sent."""
        if self.stored:
            return self.stored.size
        length = self.header("content-length")
        return int(length) if self.method == "PUT" and length.isascii() and length.isdigit() else None

    def header(self, name: str) -> str:
        return next((value for header, value in self.headers if header.lower() == name), "")

    def cost(self) -> int:
        return 2048 + _size(self)


class Journal(Locked):
    """The newest exchanges by their ids, from their beginning on; a new one drops the oldest. Threads may share it.

    :ivar bytes: about how many bytes the exchanges take.
    :ivar count: the number of changes, for pages that ask for news: exchanges that began, went on, or ended.
    """

    def __init__(self) -> None:
        self._exchanges: OrderedDict[str, tuple[Exchange, int]] = OrderedDict()
        self.bytes = 0
        self.count = 0
        super().__init__()

    def add(self, exchange: Exchange) -> None:
        """Add an exchange, or update one that is already there, which keeps its place."""
        cost = exchange.cost()
        with self._lock:
            _, former = self._exchanges.get(exchange.id, (None, 0))
            self._exchanges[exchange.id] = exchange, cost
            self.bytes += cost - former
            self.count += 1
            while self._exchanges and (len(self._exchanges) > MAX_EXCHANGES or self.bytes > MAX_BYTES):
                _, (_, dropped) = self._exchanges.popitem(last=False)
                self.bytes -= dropped

    def exchanges(self) -> list[Exchange]:
        """Return the exchanges, the newest first."""
        with self._lock:
            return [exchange for exchange, _ in reversed(self._exchanges.values())]

    def exchange(self, request_id: str) -> Exchange | None:
        with self._lock:
            return self._exchanges.get(request_id, (None, 0))[0]

    def clear(self) -> None:
        """Forget all exchanges that have ended."""
        with self._lock:
            for name in [name for name, (exchange, _) in self._exchanges.items() if not exchange.is_under_way]:
                self.bytes -= self._exchanges.pop(name)[1]
            self.count += 1


def new_request_id(started: float) -> str:
    return f"{int(started) & 0xFFFFFFFF:08X}{secrets.token_hex(8).upper()}"


def _size(value: object) -> int:
    """Return about how many bytes a value takes with all that it holds: texts, and objects made of texts."""
    if isinstance(value, str | bytes):
        return sys.getsizeof(value)
    parts: Iterable[object] = ()
    if isinstance(value, Mapping):
        parts = value.items()
    elif isinstance(value, list | tuple):
        parts = value
    elif is_dataclass(value):
        parts = [getattr(value, each.name) for each in fields(value)]
    return sum(64 + _size(part) for part in parts)


def _kept_request(request: CallbackRequest) -> CallbackRequest:
    """Return the request with as much of its body as the pages show."""
    return replace(request, body=b"") if len(request.body) > MAX_FIELDS else request


def _kept(value: str) -> str:
    """Return a text, or its length where it is too long to keep."""
    return value if len(value) <= MAX_VALUE else f"({len(value)} characters)"
