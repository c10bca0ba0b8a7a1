"""Endpoint that signs what a browser may upload."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from ..exceptions import MalformedRequestError
from ..http import byte_count
from ..signing.grant import Grant
from ..signing.presigned_url import PresignedURL
from ..signing.presigner import PostPresigner, PresignedPost
from ..wsgi.environ import query_pairs
from ..wsgi.facts import RequestFacts
from ..wsgi.observers import Observers
from ..wsgi.responses import json_bytes
from .gate import Gate

if TYPE_CHECKING:
    import webob
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

_ALLOWED = "GET, HEAD, OPTIONS"
_PARAMETERS = frozenset({"filename", "content_type", "size", "method", "relative_path"})
_MAX_PARAMETERS = 100

log = logging.getLogger(__name__)


class SignatureEndpoint:
    """Application: ``GET ?filename=NAME&content_type=TYPE&size=N`` returns a signed form as JSON.

    With ``&method=put`` it returns the signed URL and the headers of one PUT; then all three parameters are required.

    ``authorize(request: webob.Request) -> Grant | None`` decides; None refuses with 403, and it may raise a
    ``webob.exc`` of its own. Without ``authorize`` every request is refused, unless ``allow_anonymous`` is True. Its
    request has the Authorization header even if the web server hid it from ``HTTP_AUTHORIZATION``.

    ``relative_path`` is the file's path in a folder that a person chose, such as ``holidays/sea.jpg``: with original
    names, the object's name keeps the folders.

    A malformed parameter is refused with 400, and one that the grant does not cover with 403, both with a sentence.
    Without credentials to sign with the status is 503. Unknown parameters are ignored.

    A page of another origin is refused with 403 before ``authorize`` is called, because it could use a visitor's
    cookie.

    :param allowed_origins: origins whose pages may ask and read the response (CORS), with cookies; ``*`` alone is any
        page, but such a page cannot read the response to a request with cookies.
    :param rate_limit: ``(who: str) -> float | None``, such as ``RateLimit``: None lets a request pass, a number is the
        seconds to wait and gives 429 with ``Retry-After``. It is called with ``user:NAME`` of the grant, or else
        ``address:REMOTE_ADDR``, after ``authorize`` has granted something, so requests that ``authorize`` refuses do
        not count. Behind a proxy REMOTE_ADDR is the proxy's address, the same for all: have the server take the
        client's from the proxy's header (``trusted_proxy`` of waitress, mod_remoteip), or give each grant a user. One
        IPv6 subscriber has 2**64 addresses.
    :param observers: called for each signed form and PUT.
    """

    def __init__(
        self,
        presigner: PostPresigner,
        *,
        authorize: Callable[[webob.Request], Grant | None] | None = None,
        allow_anonymous: bool = False,
        allowed_origins: Sequence[str] = (),
        rate_limit: Callable[[str], float | None] | None = None,
        observers: Observers | None = None,
    ) -> None:
        self._presigner = presigner
        self._gate = Gate(
            authorize=authorize,
            allow_anonymous=allow_anonymous,
            allowed_origins=allowed_origins,
            rate_limit=rate_limit,
        )
        self._observers = observers
        self._signs_without_waiting = self._gate.is_nonblocking and presigner.is_nonblocking

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        return self._gate.answer(log, environ, start_response, _ALLOWED, self._sign)

    def is_nonblocking(self, method: str, path: str, headers: Mapping[str, str]) -> bool:
        """Return whether a request is answered without waiting: true if no callable of the user decides or signs."""
        return method == "GET" and self._signs_without_waiting

    def _sign(self, facts: RequestFacts, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        parameters = _parameters(environ)
        grant = self._gate.grant(environ)
        facts.user = grant.user
        signed = self._signed(grant, parameters)
        facts.object = signed.key
        if self._observers is not None:
            issued = {**facts.fields(), "expires": signed.expire, "url": self._presigner.url}
            if signed.method != "POST":
                issued["upload_method"] = signed.method
            self._observers.issued(grant, issued)
        return json_bytes(environ, start_response, 200, signed.json())

    def _signed(self, grant: Grant, parameters: Mapping[str, str]) -> PresignedPost | PresignedURL:
        method, size = parameters.get("method", "post").lower(), parameters.get("size")
        if method not in ("post", "put"):
            raise MalformedRequestError("method_malformed", "The method must be post, which is the default, or put.")
        sign = self._presigner.presign if method == "post" else self._presigner.presign_put
        return sign(
            self._presigner.in_folder(grant, parameters.get("relative_path")),
            filename=parameters.get("filename"),
            content_type=parameters.get("content_type") or None,
            size=None if size is None else _size(size),
        )


def _parameters(environ: WSGIEnvironment) -> dict[str, str]:
    """Return the known parameters; MalformedRequestError for a malformed query or a repeated parameter."""
    parameters: dict[str, str] = {}
    for name, value in query_pairs(environ, _MAX_PARAMETERS):
        if name in _PARAMETERS:
            if name in parameters:
                raise MalformedRequestError(f"{name}_malformed", f"Send {name} only once.")
            parameters[name] = value
    return parameters


def _size(text: str) -> int:
    size = byte_count(text)
    if size is None:
        raise MalformedRequestError("size_malformed", "The size must be a number of bytes, in digits.")
    return size
