"""Endpoints of uploads in parts, ``{prefix}/s3/...``, with the requests that Uppy's clients send to Companion."""

from __future__ import annotations

import functools
import io
import json
import logging
import re
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote

from ..callback.parameters import TICKET_MEMBER
from ..callback.upload import plain_etag
from ..exceptions import CallableFailedError, MalformedRequestError, OSSWSGIError, ReasonedError
from ..explanations.rows import hint_of
from ..http import byte_count, json_object
from ..parts.ticket import PartsTicket
from ..parts.uploads import PartUploads
from ..settings_check import MAX_PARTS
from ..signing.grant import Grant
from ..signing.presigner import PostPresigner
from ..wsgi.environ import MAX_BODY_BYTES as USUAL_BODY_BYTES
from ..wsgi.environ import query_pairs, read_body
from ..wsgi.facts import RequestFacts, ask_again, facts_of, no_such_path
from ..wsgi.observers import Observers
from ..wsgi.responses import AnsweredError, json_response, read_response, status_of
from ..wsgi.uploads import respond
from .gate import Gate, readable
from .slots import SLOTS, Slot

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

    from ..wsgi.uploads import Deliver

#: Longest body that is read: the list of 10,000 parts has 700 KB.
MAX_BODY_BYTES = 1024 * 1024

_MAX_PARAMETERS = 1000
_MULTIPART = "/multipart"
_PATH = re.compile(r"/multipart/([^/]+)(?:/([0-9]+|complete))?")
_MESSAGES = {
    "parts_missing": "Parts are missing, or differ from those that were sent: list the parts, and send the missing "
    "ones.",
    "part_too_small": "A part other than the last has less than 100 KB: send larger parts.",
    "parts_size": "The file does not have the size that was allowed, so its parts were removed.",
    "file_exists": "There is a file of this name already.",
    "upload_gone": "This upload no longer exists: begin again.",
    "crc64_mismatch": "The file was damaged in storage: send it again.",
    "upload_unsettled": "The upload is just being completed: ask again.",
}

log = logging.getLogger(__name__)


class _Step(NamedTuple):
    """The step that a request asks for: its name for the metrics, the upload's ID, and the part's number."""

    name: str
    id: str = ""
    number: str = ""

    def __repr__(self) -> str:
        return f"_Step({self.name!r}, number={self.number!r})"  # the ID is a ticket


def step_of(method: str, path: str) -> _Step | None:
    """Return the step that a request below ``{prefix}/s3`` asks for, with any method; None for an unknown path."""
    if path == "/params":
        return _Step("params")
    if path == _MULTIPART:
        return _Step("begin")
    match = _PATH.fullmatch(path)
    if match is None:
        return None
    upload_id, last = match.groups()
    if last is None:
        return _Step("abort" if method == "DELETE" else "list", upload_id)
    return _Step("complete", upload_id) if last == "complete" else _Step("part", upload_id, last)


def step_name(method: str, path: str) -> str | None:
    """Return the name of the step that a request asks for, for the metrics."""
    step = step_of(method, path)
    return None if step is None else step.name


def longest_body(method: str, path: str) -> int:
    """Return how long a request's body may be: longer where an upload is completed."""
    return MAX_BODY_BYTES if method == "POST" and step_name(method, path) == "complete" else USUAL_BODY_BYTES


_METHODS = {
    "params": "GET, HEAD, OPTIONS",
    "begin": "POST, OPTIONS",
    "list": "GET, HEAD, DELETE, OPTIONS",
    "abort": "GET, HEAD, DELETE, OPTIONS",
    "part": "GET, HEAD, OPTIONS",
    "complete": "POST, OPTIONS",
}
# These steps ask neither OSS nor a ledger.
_ONLY_SIGN = ("params", "part")
_ANY_METHOD = "GET, HEAD, POST, DELETE, OPTIONS"


class MultipartEndpoint:
    """Application below ``{prefix}/s3``: signs small forms, and begins, signs, lists, completes and aborts parts.

    ======================================  ============================================================================
    ``GET /params?filename&type``           a signed form: ``method``, ``url``, ``fields``, ``headers``, ``expires``;
                                            ``ticket`` where the page reports what it sends so
    ``POST /multipart``                     begins; ``key``, ``uploadId``, ``part_size``, ``parts``, ``headers``,
                                            ``expire``
    ``GET /multipart/ID/N?key``             the URL of part N: ``method``, ``url``, ``headers``, ``expires``
    ``GET /multipart/ID?key``               ``[{"PartNumber", "ETag", "Size"}]``
    ``POST /multipart/ID/complete?key``     ``location``, ``bucket``, ``key``, and the application's JSON as ``answer``
    ``DELETE /multipart/ID?key``            ``{}``
    ======================================  ============================================================================

    ``expires`` is a lifetime in seconds, ``expire`` a time in Unix seconds. Refusals are JSON as everywhere, with
    ``message`` at the top level too, where Uppy looks for it.

    A completed upload goes through the ledger to the application's handler. So even if several pages complete it, or
    one does so repeatedly, the application handles it once, and every page gets the same answer. Each step except
    ``params`` and the URL of a part holds a slot. No step waits for another request: it responds 503 with Retry-After,
    and the client asks again.

    :param gate: asks ``authorize`` for forms and for uploads that begin, and ``may_complete`` before an upload is
        completed, and counts the rate of each step except the URL of a part.
    :param deliver: passes a completed upload through the ledger to the application.
    :param address: what the object's URL begins with.
    :param clock: returns Unix seconds.
    :param observers: called for each form and each upload that begins.
    """

    def __init__(
        self,
        uploads: PartUploads,
        presigner: PostPresigner,
        gate: Gate,
        deliver: Deliver,
        *,
        bucket: str,
        address: str,
        clock: Callable[[], float],
        observers: Observers | None = None,
    ) -> None:
        self._uploads = uploads
        self._presigner = presigner
        self._gate = gate
        self._deliver = deliver
        self._bucket = bucket
        self._address = address
        self._clock = clock
        self._observers = observers
        self._unknown_path = readable(no_such_path, gate.allowed_origins, _ANY_METHOD)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        facts_of(environ)  # the copies below share them
        try:
            return _with_message(self._respond, environ, start_response)
        finally:
            ask_again(environ)

    def is_nonblocking(self, method: str, path: str, headers: Mapping[str, str]) -> bool:
        """Return whether a request is answered without waiting: true if it only signs, with the settings' own key."""
        step = step_of(method, path)
        if method != "GET" or step is None or not self._presigner.is_nonblocking:
            return False
        return step.name == "part" or (step.name == "params" and self._gate.is_nonblocking)

    def reads_body(self, environ: WSGIEnvironment) -> bool:
        """Return whether a request's body is read: to begin an upload, or to complete one whose ID is valid."""
        step = step_of(environ["REQUEST_METHOD"], environ.get("PATH_INFO") or "")
        if step is None or step.name not in ("begin", "complete"):
            return False
        if not self._gate.takes_body({**environ, "PATH_INFO": ""}, MAX_BODY_BYTES):
            return False
        try:
            if step.name == "complete":
                self._open(step, environ)
        except OSSWSGIError:
            return False
        return True

    def _respond(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        path, below = environ.get("PATH_INFO") or "", environ["SCRIPT_NAME"]
        step = step_of(environ["REQUEST_METHOD"], path)
        if step is None:
            return self._unknown_path(environ, start_response)
        moved = {**environ, "SCRIPT_NAME": below + path, "PATH_INFO": ""}
        take = functools.partial(self._take, step, below)
        return self._gate.answer(log, moved, start_response, _METHODS[step.name], take, _MESSAGES)

    def _take(
        self,
        step: _Step,
        below: str,
        facts: RequestFacts,
        environ: WSGIEnvironment,
        start_response: StartResponse,
    ) -> Iterable[bytes]:
        """Take a step; hold a slot for it unless it only signs."""
        try:
            if step.name in _ONLY_SIGN:
                return self._take_in_slot(step, None, below, facts, environ, start_response)
            with SLOTS.hold(environ) as slot:
                return self._take_in_slot(step, slot, below, facts, environ, start_response)
        except (OSSWSGIError, AnsweredError):
            raise
        except Exception as error:  # from the bucket's client or the application's own view
            hint = f"the bucket_client, or the view that answers callbacks, raised {type(error).__name__}"
            raise CallableFailedError("multipart_failed", hint) from error

    def _take_in_slot(
        self,
        step: _Step,
        slot: Slot | None,
        below: str,
        facts: RequestFacts,
        environ: WSGIEnvironment,
        start_response: StartResponse,
    ) -> Iterable[bytes]:
        if step.name == "params":
            return self._params(facts, environ, start_response)
        if step.name == "begin":
            return self._begin(slot, facts, environ, start_response)
        is_complete = step.name == "complete"
        body = read_body(environ, MAX_BODY_BYTES, lambda: self._open(step, environ)) if is_complete else b""
        opened = self._open(step, environ)
        facts.user, facts.object = opened.ticket.user, opened.key
        if step.name == "part":
            return self._part(opened, step.number, environ, start_response)
        self._gate.count(opened.ticket.user, environ, slot, opened.ticket.id)
        if step.name == "list":
            parts = self._uploads.list(opened)
            payload = [
                {"PartNumber": part.number, "ETag": f'"{plain_etag(part.etag)}"', "Size": part.size} for part in parts
            ]
            return json_response(environ, start_response, 200, payload)
        # The application sees the upload as a request to its callback's path, below the same SCRIPT_NAME.
        beside = {**environ, "SCRIPT_NAME": below}
        if step.name == "abort":
            return self._abort(opened, beside, environ, start_response)
        claimed = _claimed_parts(body)
        self._gate.check_completion(opened.ticket.user, environ)
        return self._complete(opened, claimed, beside, environ, start_response)

    def _open(self, step: _Step, environ: WSGIEnvironment) -> PartsTicket:
        """Return the ticket of the upload that a request names by its ID and its key."""
        key = _query(environ).get("key")
        if not key:
            raise MalformedRequestError("key_malformed", "Send the upload's key exactly once: ?key=KEY.")
        return self._uploads.open(step.id, key)

    def _params(self, facts: RequestFacts, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        parameters = _query(environ)
        filename = parameters.get("filename")
        grant = self._gate.grant(environ)
        facts.user = grant.user
        if filename is None and grant.key is None:
            raise MalformedRequestError("filename_required", "This upload needs a filename: add it to the request.")
        form = self._presigner.presign(
            grant,
            filename=filename,
            content_type=parameters.get("type") or None,
            size=byte_count(parameters.get("metadata[size]")),
        )
        facts.object = form.fields["key"]
        self._issued(grant, form.expire, "POST", facts)
        payload = {
            "method": "POST",
            "url": form.url,
            "fields": form.fields,
            "headers": {},
            "expires": max(1, form.expire - int(self._clock())),
        }
        if form.ticket is not None:
            payload[TICKET_MEMBER] = form.ticket
        return json_response(environ, start_response, 200, payload)

    def _begin(
        self, slot: Slot | None, facts: RequestFacts, environ: WSGIEnvironment, start_response: StartResponse
    ) -> Iterable[bytes]:
        body = read_body(environ, MAX_BODY_BYTES)
        members = _members(body)
        filename, content_type = _text(members, "filename"), _text(members, "type")
        size, part_size = _number(members, "size"), _number(members, "part_size")
        if size is None:
            metadata = members.get("metadata")
            size = byte_count(metadata.get("size")) if isinstance(metadata, dict) else None
        environ = _with_body(environ, body)
        grant = self._gate.grant(environ, slot)
        facts.user = grant.user
        grant = self._presigner.in_folder(grant, _text(members, "relative_path"))
        begun = self._uploads.begin(
            grant, filename=filename, content_type=content_type or None, size=size, part_size=part_size
        )
        facts.object = begun.key
        self._issued(grant, begun.expire, "MULTIPART", facts)
        payload = {
            "key": begun.key,
            "uploadId": begun.id,
            "bucket": self._bucket,
            "part_size": begun.part_size,
            "parts": begun.parts,
            "headers": {},
            "expire": begun.expire,
        }
        return json_response(environ, start_response, 200, payload)

    def _issued(self, grant: Grant, expires_at: int, method: str, facts: RequestFacts) -> None:
        if self._observers is not None:
            issued = {**facts.fields(), "expires": expires_at, "url": self._address}
            if method != "POST":
                issued["upload_method"] = method
            self._observers.issued(grant, issued)

    def _part(
        self, opened: PartsTicket, number: str, environ: WSGIEnvironment, start_response: StartResponse
    ) -> Iterable[bytes]:
        # Uppy 5 sends a file of up to 5 MiB whole, with the headers that the response names; Uppy 6 sends slices
        # without headers.
        typed = environ.get("HTTP_ACCEPT") == "application/json"
        signed = self._uploads.sign(opened, int(number[:6]), typed=typed)
        lifetime = max(1, signed.expire - int(self._clock()))
        payload = {"method": signed.method, "url": signed.url, "headers": signed.headers, "expires": lifetime}
        return json_response(environ, start_response, 200, payload)

    def _abort(
        self, opened: PartsTicket, beside: WSGIEnvironment, environ: WSGIEnvironment, start_response: StartResponse
    ) -> Iterable[bytes]:
        upload = self._uploads.abort(opened)
        if upload is not None:
            try:
                response, _, headers = self._deliver(upload, beside)
            except ReasonedError as error:
                if status_of(error) == 503:  # the client aborts again, and the application gets the upload then
                    raise
                facts_of(environ).log_refusal(log, status_of(error), error.reason, error.hint, error.__cause__)
            else:
                if response.status.startswith("503"):
                    return respond(response, start_response, headers)
        # Whether or not the application has accepted the upload, there is nothing left to abort.
        return json_response(environ, start_response, 200, {})

    def _complete(
        self,
        opened: PartsTicket,
        claimed: Mapping[int, str],
        beside: WSGIEnvironment,
        environ: WSGIEnvironment,
        start_response: StartResponse,
    ) -> Iterable[bytes]:
        key = opened.key
        response, _, headers = self._deliver(self._uploads.complete(opened, claimed), beside)
        if not response.is_success:
            return respond(response, start_response, headers)
        payload = {
            "location": f"{self._address}/{quote(key)}",
            "bucket": self._bucket,
            "key": key,
            "answer": _json_or_text(response.body),
        }
        return json_response(environ, start_response, 200, payload)


def multipart_is_off(allowed_origins: Iterable[str]) -> WSGIApplication:
    """Return an application that refuses with 404 instead of a ``MultipartEndpoint``; the log names the setting."""

    def respond(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        hint, message = hint_of("multipart_off"), "Uploads in parts are off here."
        return facts_of(environ).refuse(log, start_response, 404, "multipart_off", hint, message=message)

    origins = frozenset(origin.lower() for origin in allowed_origins)
    return functools.partial(_with_message, readable(respond, origins, _ANY_METHOD))


def _with_message(app: WSGIApplication, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Respond as ``app``, with the message of a JSON refusal at the top too."""
    status, headers, body = read_response(app, environ)
    if status[:1] in "45":
        try:
            members = json.loads(body)
            body = json.dumps({**members, "message": members["error"]["message"]}).encode()
        except (ValueError, LookupError, TypeError):
            pass  # HEAD, or the application's own response
        else:
            headers = [(name, value) for name, value in headers if name.lower() != "content-length"]
            headers.append(("Content-Length", str(len(body))))
    start_response(status, headers)
    return [body]


def _with_body(environ: WSGIEnvironment, body: bytes) -> WSGIEnvironment:
    """Return an environ whose body ``authorize`` can read again."""
    return {**environ, "wsgi.input": io.BytesIO(body), "CONTENT_LENGTH": str(len(body))}


def _query(environ: WSGIEnvironment) -> dict[str, str]:
    """Return the query's parameters; a parameter that occurs twice counts as malformed where it is used."""
    parameters: dict[str, str] = {}
    for name, value in query_pairs(environ, _MAX_PARAMETERS):
        if name in parameters and name in ("filename", "type", "key"):
            raise MalformedRequestError("query_malformed", f"Send {name} only once.")
        parameters[name] = value
    return parameters


def _members(body: bytes) -> dict[str, Any]:
    members = json_object(body)
    if members is None:
        raise MalformedRequestError("multipart_malformed", "The body must be a JSON object.")
    return members


def _text(members: Mapping[str, Any], name: str) -> str | None:
    value = members.get(name)
    if not isinstance(value, str | None):
        raise MalformedRequestError("multipart_malformed", f"{name} must be a text.")
    return value


def _number(members: Mapping[str, Any], name: str) -> int | None:
    value = members.get(name)
    count = None if isinstance(value, str) else byte_count(value)
    if count is None and value is not None:
        raise MalformedRequestError(f"{name}_malformed", f"The {name} must be a whole number of bytes.")
    return count


def _claimed_parts(body: bytes) -> dict[int, str]:
    """Return the ETags of the parts that a client has sent, by number."""
    parts = _members(body).get("parts")
    hint = 'The body must be {"parts": [{"PartNumber": NUMBER, "ETag": TEXT}, ...]}, each number once.'
    if not isinstance(parts, list) or len(parts) > MAX_PARTS:
        raise MalformedRequestError("multipart_malformed", hint)
    claimed: dict[int, str] = {}
    for part in parts:
        number = part.get("PartNumber") if isinstance(part, dict) else None
        etag = part.get("ETag") if isinstance(part, dict) else None
        if type(number) is not int or number in claimed or not isinstance(etag, str):
            raise MalformedRequestError("multipart_malformed", hint)
        claimed[number] = plain_etag(etag)
    return claimed


def _json_or_text(body: bytes) -> Any:
    """Return the application's response as the value of its JSON, or as text."""
    try:
        return json.loads(body)
    except ValueError:
        return body.decode("utf-8", "replace")
