"""Endpoint that answers a verified upload callback."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from ..callback.confirm import Confirm, confirmed
from ..callback.signed_id import SIGNED_ID_MEMBER
from ..callback.upload import Upload
from ..exceptions import CallbackError, HandlerFailedError
from ..ledger.base import StoredResponse
from ..wsgi.facts import facts_of
from ..wsgi.uploads import UploadHandler, guarded_upload, respond

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

_MAX_RESPONSE_BYTES = 1024 * 1024  # protocol.md 8.9
_OK = StoredResponse("200 OK", "application/json", b'{"Status": "Ok"}')
_FIRST_MEMBER = b'{"Status": '
_QUOTED_MEMBER = f'"{SIGNED_ID_MEMBER}"'.encode()
#: The response to the test upload of `oss-wsgi doctor --write`.
NOT_CALLED = StoredResponse("200 OK", "application/json", b'{"Status": "Ok", "handler": "not called"}')

log = logging.getLogger(__name__)


class CallbackEndpoint(UploadHandler):
    """Application behind ``CallbackGuard``: passes the upload to ``on_upload``, and returns the JSON that OSS relays.

    The response is 200 and ``{"Status": "Ok"}``, with the members that ``on_upload(upload) -> dict | None`` adds. The
    browser reads these members, so they must not hold secrets. When ``on_upload`` raises, the response is 500, and OSS
    tells the browser that the file is stored but the callback failed (203).

    The page also gets ``Upload.signed_id`` as the member ``signed_id``, unless ``on_upload`` returns a member of this
    name, or OSS would not relay the longer response. No ledger stores it, so a repeated response has a new one.

    :param confirm: ``(Upload) -> bool``: asks OSS itself before ``on_upload`` is called, and sets
        ``Upload.confirmed``. ``oss_wsgi.callback.confirm`` says what it returns and raises; ``SDKConfirmation`` is one.
        Refusals: 403 when OSS has another object or none, 503 when OSS cannot be asked now.
    :param signed_ids: whether the page gets signed IDs.
    """

    def __init__(
        self,
        on_upload: Callable[[Upload], dict[str, Any] | None] | None = None,
        *,
        confirm: Confirm | None = None,
        signed_ids: bool = True,
    ) -> None:
        self._on_upload = on_upload
        self._confirm = confirm
        self._signed_ids = signed_ids

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        facts = facts_of(environ)
        if environ.get("PATH_INFO"):
            return facts.not_found(log, start_response)
        if environ["REQUEST_METHOD"] != "POST":
            return facts.method_not_allowed(log, start_response, "POST")
        try:
            upload = guarded_upload(environ, "CallbackEndpoint")
            return respond(self.for_page(self.handle(upload), upload), start_response)
        except CallbackError as error:
            return facts.refuse_error(log, start_response, error)

    def handle(self, upload: Upload) -> StoredResponse:
        """Pass an upload to ``on_upload``, and return the response.

        Raises NotConfirmedError, ConfirmationUnavailableError; HandlerFailedError from what ``on_upload`` raised.
        """
        if self._confirm is not None:
            upload = confirmed(self._confirm, upload)
        try:
            if upload.skips_handler:
                return NOT_CALLED
            return _OK if self._on_upload is None else _response_to(self._on_upload(upload))
        except BaseException as error:
            # SystemExit, KeyboardInterrupt and GeneratorExit too: a handler must not end the server's thread or the
            # process, nor leave a connection without a response. Signals raise nothing here: server.py handles them
            # without raising. Python itself raises only KeyboardInterrupt, in the main thread of a server that handles
            # no SIGINT; there the request fails and the next Ctrl-C ends the server.
            hint = f"on_upload raised {type(error).__name__}: the upload does not count as handled"
            raise HandlerFailedError("handler_failed", hint) from error

    def for_page(self, response: StoredResponse, upload: Upload) -> StoredResponse:
        """Return the response with the upload's signed ID as its last member."""
        body = response.body
        # A ledger may return what an application's own view answered before: only this endpoint's JSON begins so.
        if not self._signed_ids or not upload.signed_id or not body.startswith(_FIRST_MEMBER):
            return response
        if _QUOTED_MEMBER in body and SIGNED_ID_MEMBER in json.loads(body):
            return response
        body = b'%s, %s: "%s"}' % (body[:-1], _QUOTED_MEMBER, upload.signed_id.encode())
        if len(body) > _MAX_RESPONSE_BYTES:
            return response
        return StoredResponse(response.status, response.content_type, body)  # faster than _replace

    def is_nonblocking(self, method: str, path: str, headers: Mapping[str, str]) -> bool:
        """Return whether a request is answered without waiting: only without ``on_upload`` and ``confirm``."""
        return self._on_upload is None and self._confirm is None


def _response_to(members: object) -> StoredResponse:
    """Return the response of a handler that returned ``members``."""
    if members is not None and not isinstance(members, dict):
        raise TypeError(f"on_upload must return a dict or None, not {type(members).__name__}")
    if not members:
        return _OK
    body = json.dumps({"Status": "Ok", **members}, allow_nan=False).encode()
    if len(body) > _MAX_RESPONSE_BYTES:
        raise ValueError("on_upload returned more than 1 MB of JSON, which OSS does not relay")
    return StoredResponse("200 OK", "application/json", body)
