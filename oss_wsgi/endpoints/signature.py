"""Endpoint that signs what a browser may upload."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..exceptions import CredentialsError, GrantError, MalformedRequestError, OSSWSGIError, UploadRequestError
from ..http import urlencoded_pairs
from ..signing.grant import Grant
from ..signing.presigner import PostPresigner
from ..wsgi.environ import header, with_authorization
from ..wsgi.observers import CONTEXT_KEY, Observers, context_of
from ..wsgi.responses import (
    SECURITY_HEADERS,
    Headers,
    json_bytes,
    log_refusal,
    method_not_allowed,
    not_found,
    refuse,
    status_of,
)
from .rate_limit import RateLimit

if TYPE_CHECKING:
    import webob
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

_ALLOWED = "GET, HEAD, OPTIONS"
_PARAMETERS = frozenset({"filename", "content_type", "size"})
_MAX_PARAMETERS = 100
_ANYTHING = Grant()
_PREFLIGHT_SECONDS = "600"
_MAX_LOGGED = 200  # characters of a header

log = logging.getLogger(__name__)


class SignatureEndpoint:
    """Application: ``GET ?filename=NAME&content_type=TYPE&size=N`` returns a signed form as JSON.

    ``authorize(request: webob.Request) -> Grant | None`` decides; None refuses with 403, and it may raise a
    ``webob.exc`` of its own. Without it every request is refused, unless ``allow_anonymous`` is True. It sees the
    Authorization header also where the web server hid it from ``HTTP_AUTHORIZATION``.

    A malformed parameter is refused with 400, one that the grant does not cover with 403, both with a sentence; without
    credentials to sign with the status is 503. Other parameters are ignored.

    A page of another origin is refused, 403, before ``authorize`` is called: it could use a visitor's cookie.

    :param allowed_origins: origins whose pages may ask and read the response (CORS), with cookies; ``*`` alone is any
        page, which may not read what it asks for with cookies.
    :param rate_limit: ``(who: str) -> float | None``, such as ``RateLimit``: None lets a request pass, a number is the
        seconds to wait and gives 429 with ``Retry-After``. It is called after ``authorize`` has granted something, so
        requests refused before do not count, with ``user:NAME`` of the grant or else ``address:REMOTE_ADDR``.
        Behind a proxy that is the proxy's address, the same for all: have the server take it from the proxy's header
        (``trusted_proxy`` of waitress, mod_remoteip), or give each grant a user. One IPv6 subscriber has 2**64
        addresses.
    :param observers: are called for each signed form.
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
        if not isinstance(allow_anonymous, bool):  # the text "off" is true
            raise TypeError(f"allow_anonymous must be True or False, not {allow_anonymous!r}.")
        if isinstance(allowed_origins, str):  # the text "https://*.example.com" contains a '*'
            raise TypeError(f"allowed_origins must be a list of origins, not the text {allowed_origins!r}.")
        self._presigner = presigner
        self._authorize = _Authorizer(authorize) if authorize is not None else None
        self._allow_anonymous = allow_anonymous
        self._allowed_origins = frozenset(origin.lower() for origin in allowed_origins)
        self._rate_limit = rate_limit
        self._observers = observers
        # A RateLimit never waits; the user's own callables may.
        self._signs_without_waiting = (
            authorize is None and presigner.is_nonblocking and isinstance(rate_limit, RateLimit | None)
        )

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if self._allowed_origins:
            start_response = with_cors(environ, start_response, self._allowed_origins, _ALLOWED)
        if environ.get("PATH_INFO"):
            return not_found(log, environ, start_response)
        method = environ["REQUEST_METHOD"]
        if method == "OPTIONS":
            start_response("204 No Content", [("Allow", _ALLOWED), *SECURITY_HEADERS])
            return []
        if method not in ("GET", "HEAD"):
            return method_not_allowed(log, environ, start_response, _ALLOWED)
        source = foreign_origin(environ, self._allowed_origins)
        if source is not None:
            return refuse_foreign_origin(log, environ, start_response, source)
        try:
            return self._sign(environ, start_response)
        except UploadRequestError as error:
            reason, hint = error.reason, error.hint
            return refuse(log, environ, start_response, status_of(error), reason, hint, code=reason, message=hint)
        except GrantError as error:
            return refuse(log, environ, start_response, status_of(error), "grant_refused", str(error))
        except CredentialsError as error:
            return refuse(log, environ, start_response, status_of(error), "credentials_unavailable", str(error))
        except OSSWSGIError as error:
            return refuse(log, environ, start_response, status_of(error), "not_signed", str(error))

    def is_nonblocking(self, method: str, path: str, headers: Mapping[str, str]) -> bool:
        """Return whether a request is answered without waiting: none of the user's callables decides or signs."""
        return method == "GET" and self._signs_without_waiting

    def _sign(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        parameters = _parameters(environ)
        if self._authorize is not None:
            grant = self._authorize(environ)
            if not isinstance(grant, Grant):
                return grant(environ, start_response)
        elif self._allow_anonymous:
            grant = _ANYTHING
        else:
            hint = "nobody may upload yet: give DirectUpload an authorize callable, or set OSS_ALLOW_ANONYMOUS=on"
            return refuse(log, environ, start_response, 403, "anonymous", hint)
        if self._rate_limit is not None:
            refusal = rate_limit_refusal(self._rate_limit, grant.user, environ)
            if refusal is not None:
                return refusal(environ, start_response)
        size = parameters.get("size")
        try:
            form = self._presigner.presign(
                grant,
                filename=parameters.get("filename"),
                content_type=parameters.get("content_type") or None,
                size=None if size is None else _size(size),
            )
        except Exception:
            context_of(environ).user = grant.user
            raise
        if self._observers is not None or CONTEXT_KEY in environ:
            context = context_of(environ)
            context.user, context.object = grant.user, form.fields["key"]
            if self._observers is not None:
                facts = {**context.fields(environ), "expires": form.expire, "url": form.url}
                self._observers.issued(grant, facts)
        return json_bytes(environ, start_response, 200, form.json())


class _Authorizer:
    """Calls ``authorize`` with a webob.Request, and returns its grant, or a WSGI application that refuses."""

    def __init__(self, authorize: Callable[[webob.Request], Grant | None]) -> None:
        # Imported here because WebOb is needed only here, and warns about `cgi` when imported.
        import webob
        import webob.exc

        self._authorize = authorize
        self._request_class = webob.Request
        self._exception_class = webob.exc.HTTPException

    def __call__(self, environ: WSGIEnvironment) -> Grant | WSGIApplication:
        try:
            grant = self._authorize(self._request_class(with_authorization(environ)))
        except self._exception_class as response:  # a webob.exc is a WSGI application
            status = response.wsgi_response.status_int
            log_refusal(log, environ, status, "not_authorized", f"authorize raised {type(response).__name__}")
            return _with_security_headers(response)
        except GrantError:
            raise
        except BaseException as error:  # SystemExit too: `endpoints.callback` says why
            return _refusal(500, "authorize_failed", f"authorize raised {type(error).__name__}", error)
        if grant is None:
            return _refusal(403, "not_authorized", "authorize returned None")
        if not isinstance(grant, Grant):
            hint = f"authorize must return a Grant or None, not {type(grant).__name__}"
            return _refusal(500, "authorize_failed", hint)
        return grant


def _with_security_headers(app: WSGIApplication) -> WSGIApplication:
    """Return an application that adds our security headers to the response; those that it sets itself stay."""

    def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        def start(status: str, headers: Headers, exc_info: Any = None) -> Any:
            own = {name.lower() for name, _ in headers}
            added = [(name, value) for name, value in SECURITY_HEADERS if name.lower() not in own]
            return start_response(status, [*headers, *added], exc_info)

        return app(environ, start)

    return application


def rate_limit_refusal(
    rate_limit: Callable[[str], float | None], user: str | None, environ: WSGIEnvironment
) -> WSGIApplication | None:
    """Call the rate limit; return a WSGI application that refuses, or None to let the request pass."""
    who = f"user:{user}" if user else f"address:{environ.get('REMOTE_ADDR') or ''}"
    try:
        wait = rate_limit(who)
        if wait is None:
            return None
        if isinstance(wait, bool) or not wait > 0:
            raise ValueError(f"rate_limit must return None or seconds over 0, not {wait!r}")
        seconds = math.ceil(wait)
    except BaseException as error:  # SystemExit too: `endpoints.callback` says why
        hint = f"rate_limit raised {type(error).__name__}, or returned neither None nor seconds over 0"
        return _refusal(500, "rate_limit_failed", hint, error)
    message = f"Too many requests: try again in {seconds} s."
    headers = [("Retry-After", str(seconds))]
    return _refusal(429, "too_many_requests", f"{who} asks too often", message=message, headers=headers)


def _refusal(
    status: int,
    reason: str,
    hint: str,
    error: BaseException | None = None,
    *,
    message: str | None = None,
    headers: Headers | None = None,
) -> WSGIApplication:
    return lambda environ, start_response: refuse(
        log, environ, start_response, status, reason, hint, message=message, headers=headers, exc_info=error
    )


def _parameters(environ: WSGIEnvironment) -> dict[str, str]:
    """Read the parameters that we know; MalformedRequestError for a malformed query or a repeated parameter."""
    try:
        pairs = urlencoded_pairs(header(environ, "QUERY_STRING"), _MAX_PARAMETERS)
    except ValueError:
        hint = f"The query must be percent-encoded UTF-8, with {_MAX_PARAMETERS} parameters at most."
        raise MalformedRequestError("query_malformed", hint) from None
    parameters: dict[str, str] = {}
    for name, value in pairs:
        if name in _PARAMETERS:
            if name in parameters:
                raise MalformedRequestError(f"{name}_malformed", f"Send {name} only once.")
            parameters[name] = value
    return parameters


def _size(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 15):
        raise MalformedRequestError("size_malformed", "The size must be a number of bytes, in digits.")
    return int(text)


def with_cors(
    environ: WSGIEnvironment, start_response: StartResponse, origins: Collection[str], methods: str
) -> StartResponse:
    """Return a ``start_response`` that adds the CORS headers, to refusals too (Fetch standard, CORS protocol).

    :param origins: the allowed ones, in lower case.
    :param methods: what a preflight allows, such as ``GET, HEAD, OPTIONS``.
    """
    origin = environ.get("HTTP_ORIGIN") or ""
    anybody = "*" in origins
    listed = origin.lower() in origins
    cors: Headers = [("Access-Control-Allow-Origin", "*")] if anybody else [("Vary", "Origin")]
    if listed and not anybody:
        cors += [("Access-Control-Allow-Origin", origin), ("Access-Control-Allow-Credentials", "true")]
    if environ["REQUEST_METHOD"] == "OPTIONS" and (anybody or listed):
        cors += [("Access-Control-Allow-Methods", methods), ("Access-Control-Max-Age", _PREFLIGHT_SECONDS)]
        requested = environ.get("HTTP_ACCESS_CONTROL_REQUEST_HEADERS")
        if requested:
            cors.append(("Access-Control-Allow-Headers", requested))

    def start(status: str, headers: Headers, exc_info: Any = None) -> Any:
        return start_response(status, [*headers, *cors], exc_info)

    return start


def refuse_foreign_origin(
    logger: logging.Logger, environ: WSGIEnvironment, start_response: StartResponse, source: str
) -> Iterable[bytes]:
    """Refuse a request of a page that ``foreign_origin`` describes as ``source``, 403."""
    hint = f"the request comes from another site, {source}; to allow it, list its origin in OSS_ALLOWED_ORIGINS"
    message = "A page of this origin may not ask here."
    return refuse(
        logger, environ, start_response, 403, "origin_foreign", hint, code="origin_foreign", message=message
    )


def foreign_origin(environ: WSGIEnvironment, allowed: Collection[str]) -> str | None:
    """Describe the page of another origin that sent a request; None for our own page, an allowed one, or no page.

    Browsers send ``Sec-Fetch-Site`` over https and to loopback, and no script can change it. Where it is missing (old
    browsers, plain http, programs other than browsers), an ``Origin`` must be allowed or name the requested host.
    Neither is sent for an image or a link of another site over plain http: only https closes that gap.

    :param allowed: origins in lower case; ``*`` is any, but a page must ask by CORS, that is with an ``Origin``.
    """
    site = environ.get("HTTP_SEC_FETCH_SITE") or ""
    origin = environ.get("HTTP_ORIGIN") or ""
    if site in ("same-origin", "none") or not (site or origin):  # "none": the visitor typed the address
        return None
    if origin and ("*" in allowed or origin.lower() in allowed):
        return None
    if not site and _names_host(origin, environ.get("HTTP_HOST") or ""):
        return None
    return f"origin {origin[:_MAX_LOGGED]!r}" if origin else f"a link or an element ({site[:_MAX_LOGGED]!r}, no origin)"


def _names_host(origin: str, host: str) -> bool:
    """Compare only host and port: a proxy that ends TLS hides the scheme, and with it the default port."""
    scheme, _, authority = origin.lower().partition("://")
    without_port = _without_default_port(authority)
    return scheme in ("http", "https") and bool(authority) and without_port == _without_default_port(host.lower())


def _without_default_port(authority: str) -> str:
    return authority.removesuffix(":80").removesuffix(":443")
