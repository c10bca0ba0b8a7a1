"""Signs what a browser may upload."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from ..exceptions import CredentialsError, GrantError, MalformedRequestError, OSSWSGIError, OutsideGrantError
from ..http import urlencoded_pairs
from ..signing.grant import Grant
from ..signing.presigner import PostPresigner
from ..wsgi.environ import header
from ..wsgi.observers import context_of
from ..wsgi.responses import SECURITY_HEADERS, Headers, json_bytes, log_refusal, method_not_allowed, not_found, refuse

if TYPE_CHECKING:
    import webob
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment


_OWN = ("same-origin", "none")  # `none`: the visitor typed the address

_MAX_SHOWN = 200


def foreign_origin(environ: WSGIEnvironment, allowed: Collection[str]) -> str | None:
    """Say which page of another origin asks, one that is not allowed; None if there is no such page.

    Browsers say ``Sec-Fetch-Site`` over https and to loopback, and no script can change it. Where it is missing (old
    browsers, plain http, programs that are no browser) an ``Origin`` that is there must be allowed or name the host
    that was asked. Neither is sent for an image or a link of another site over plain http: only https closes that.

    :param allowed: origins in lower case; ``*`` is any, but a page must ask by CORS, that is with an ``Origin``.
    """
    site = environ.get("HTTP_SEC_FETCH_SITE") or ""
    origin = environ.get("HTTP_ORIGIN") or ""
    if site in _OWN or not (site or origin):
        return None
    if origin and ("*" in allowed or origin.lower() in allowed):
        return None
    if not site and _names_host(origin, environ.get("HTTP_HOST") or ""):
        return None
    return f"origin {origin[:_MAX_SHOWN]!r}" if origin else f"a link or an element ({site[:_MAX_SHOWN]!r}, no origin)"


def _names_host(origin: str, host: str) -> bool:
    """Compare host and port alone, for a proxy that ends TLS hides the scheme, and with it the default port."""
    scheme, _, authority = origin.lower().partition("://")
    return scheme in ("http", "https") and bool(authority) and _bare(authority) == _bare(host.lower())


def _bare(authority: str) -> str:
    return authority.removesuffix(":80").removesuffix(":443")


_ALLOWED = "GET, HEAD, OPTIONS"

_PARAMETERS = frozenset({"filename", "content_type", "size"})

_MAX_PARAMETERS = 100

_ANYTHING = Grant()

_PREFLIGHT_SECONDS = "600"

log = logging.getLogger(__name__)


class SignatureEndpoint:
    """Application: ``GET ?filename=NAME&content_type=TYPE&size=N`` answers a signed form as JSON.

    ``authorize(request: webob.Request) -> Grant | None`` decides; None refuses with 403, and it may raise a
    ``webob.exc`` of its own. Without it everybody is refused, unless ``allow_anonymous`` says otherwise.

    A parameter that is not well-formed is answered 400, one that the grant does not cover 403, both with a sentence;
    503 when there are no credentials to sign with. Parameters of other names do not count.

    A page of another origin is refused, 403, before ``authorize`` is asked: it could spend a visitor's cookie.

    :param allowed_origins: origins whose pages may ask and read the answer (CORS), with cookies; ``*`` alone is any
        page, which may not read what it asks for with cookies.
    :param rate_limit: ``(who: str) -> float | None``, such as ``RateLimit``: None lets a request pass, a number is the
        seconds to wait and answers 429 with ``Retry-After``. It is asked once ``authorize`` has granted something, so
        what is refused before does not count, with ``user:NAME`` of the grant or else ``address:REMOTE_ADDR``.
        Behind a proxy that is the proxy's address, one for all: have the server take it from the proxy's header
        (``trusted_proxy`` of waitress, mod_remoteip), or give each grant a user. One IPv6 subscriber has 2**64.
    """

    def __init__(
        self,
        presigner: PostPresigner,
        *,
        authorize: Callable[[webob.Request], Grant | None] | None = None,
        allow_anonymous: bool = False,
        allowed_origins: Sequence[str] = (),
        rate_limit: Callable[[str], float | None] | None = None,
    ) -> None:
        if not isinstance(allow_anonymous, bool):  # "off" is true
            raise TypeError(f"allow_anonymous must be True or False, not {allow_anonymous!r}.")
        if isinstance(allowed_origins, str):  # there is a '*' in "https://*.example.com"
            raise TypeError(f"allowed_origins must be a list of origins, not the text {allowed_origins!r}.")
        self._presigner = presigner
        self._authorize = _Authorizer(authorize) if authorize is not None else None
        self._allow_anonymous = allow_anonymous
        self._allowed_origins = frozenset(origin.lower() for origin in allowed_origins)
        self._rate_limit = rate_limit

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if self._allowed_origins:
            start_response = self._with_cors(environ, start_response)
        if environ.get("PATH_INFO"):
            return not_found(log, environ, start_response)
        method = environ["REQUEST_METHOD"]
        if method == "OPTIONS":
            start_response("204 No Content", [("Allow", _ALLOWED), *SECURITY_HEADERS])
            return []
        if method not in ("GET", "HEAD"):
            return method_not_allowed(log, environ, start_response, _ALLOWED)
        foreign = foreign_origin(environ, self._allowed_origins)
        if foreign is not None:
            hint = f"a page of another site asks, {foreign}; if it may, list its origin in OSS_ALLOWED_ORIGINS"
            message = "A page of this origin may not ask here."
            return refuse(
                log, environ, start_response, 403, "origin_foreign", hint, code="origin_foreign", message=message
            )
        try:
            return self._sign(environ, start_response)
        except (MalformedRequestError, OutsideGrantError) as error:
            status = 400 if isinstance(error, MalformedRequestError) else 403
            return refuse(
                log, environ, start_response, status, error.reason, error.hint, code=error.reason, message=error.hint
            )
        except GrantError as error:
            return refuse(log, environ, start_response, 403, "grant_refused", str(error))
        except CredentialsError as error:
            return refuse(log, environ, start_response, 503, "credentials_unavailable", str(error))
        except OSSWSGIError as error:
            return refuse(log, environ, start_response, 500, "not_signed", str(error))

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
            refusal = _too_many(self._rate_limit, grant, environ)
            if refusal is not None:
                return refusal(environ, start_response)
        facts = context_of(environ)
        facts.user = grant.user
        size = parameters.get("size")
        form = self._presigner.presign(
            grant,
            filename=parameters.get("filename"),
            content_type=parameters.get("content_type") or None,
            size=None if size is None else _size(size),
        )
        facts.object = form.fields["key"]
        if facts.events is not None:
            facts.events.issued(grant, {**facts.fields(environ), "expires": form.expire, "url": form.url})
        return json_bytes(environ, start_response, 200, form.json())

    def _with_cors(self, environ: WSGIEnvironment, start_response: StartResponse) -> StartResponse:
        """Add the CORS headers to whatever is answered, refusals included (Fetch standard, CORS protocol)."""
        origin = environ.get("HTTP_ORIGIN") or ""
        anybody = "*" in self._allowed_origins
        listed = origin.lower() in self._allowed_origins
        headers: Headers = [("Access-Control-Allow-Origin", "*")] if anybody else [("Vary", "Origin")]
        if listed and not anybody:
            headers += [("Access-Control-Allow-Origin", origin), ("Access-Control-Allow-Credentials", "true")]
        if environ["REQUEST_METHOD"] == "OPTIONS" and (anybody or listed):
            headers += [("Access-Control-Allow-Methods", _ALLOWED), ("Access-Control-Max-Age", _PREFLIGHT_SECONDS)]
            asked = environ.get("HTTP_ACCESS_CONTROL_REQUEST_HEADERS")
            if asked:
                headers.append(("Access-Control-Allow-Headers", asked))

        def start(status: str, answered: Headers, exc_info: Any = None) -> Any:
            return start_response(status, [*answered, *headers], exc_info)

        return start


class _Authorizer:
    """Asks the application, with a webob.Request, for a grant; gives it, or a WSGI application that refuses."""

    def __init__(self, authorize: Callable[[webob.Request], Grant | None]) -> None:
        # Not at the module's top: WebOb warns of `cgi` when imported, and is needed only here.
        import webob
        import webob.exc

        self._authorize = authorize
        self._request = webob.Request
        self._answer = webob.exc.HTTPException

    def __call__(self, environ: WSGIEnvironment) -> Grant | WSGIApplication:
        try:
            grant = self._authorize(self._request(environ))
        except self._answer as answer:
            status = answer.wsgi_response.status_int
            log_refusal(log, environ, status, "not_authorized", f"authorize raised {type(answer).__name__}")
            return _with_security_headers(answer)  # a webob.exc is an application
        except GrantError:
            raise
        except Exception as error:
            return _refusal(500, "authorize_failed", f"authorize raised {type(error).__name__}", error)
        if grant is None:
            return _refusal(403, "not_authorized", "authorize returned None")
        if not isinstance(grant, Grant):
            hint = f"authorize must return a Grant or None, not {type(grant).__name__}"
            return _refusal(500, "authorize_failed", hint)
        return grant


def _with_security_headers(app: WSGIApplication) -> WSGIApplication:
    """Give an application whose answer has our usual headers too; those that it sets itself stay."""

    def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        def start(status: str, headers: Headers, exc_info: Any = None) -> Any:
            own = {name.lower() for name, _ in headers}
            added = [(name, value) for name, value in SECURITY_HEADERS if name.lower() not in own]
            return start_response(status, [*headers, *added], exc_info)

        return app(environ, start)

    return application


def _too_many(
    rate_limit: Callable[[str], float | None], grant: Grant, environ: WSGIEnvironment
) -> WSGIApplication | None:
    """Ask the limit; give a WSGI application that refuses, or None."""
    who = f"user:{grant.user}" if grant.user else f"address:{environ.get('REMOTE_ADDR') or ''}"
    try:
        wait = rate_limit(who)
        if wait is None:
            return None
        if isinstance(wait, bool) or not wait > 0:
            raise ValueError(f"rate_limit must return None or seconds over 0, not {wait!r}")
        seconds = math.ceil(wait)
    except Exception as error:
        hint = f"rate_limit raised {type(error).__name__}, or returned neither None nor seconds over 0"
        return _refusal(500, "rate_limit_failed", hint, error)
    message = f"Too many requests: try again in {seconds} s."
    headers = [("Retry-After", str(seconds))]
    return _refusal(429, "too_many_requests", f"{who} asks too often", message=message, headers=headers)


def _refusal(
    status: int,
    reason: str,
    hint: str,
    error: Exception | None = None,
    *,
    message: str | None = None,
    headers: Headers | None = None,
) -> WSGIApplication:
    return lambda environ, start_response: refuse(
        log, environ, start_response, status, reason, hint, message=message, headers=headers, exc_info=error
    )


def _parameters(environ: WSGIEnvironment) -> dict[str, str]:
    try:
        given = urlencoded_pairs(header(environ, "QUERY_STRING"), _MAX_PARAMETERS)
    except ValueError:
        hint = f"The query must be percent-encoded UTF-8, with {_MAX_PARAMETERS} parameters at the most."
        raise MalformedRequestError("query_malformed", hint) from None
    parameters: dict[str, str] = {}
    for name, value in given:
        if name in _PARAMETERS:
            if name in parameters:
                raise MalformedRequestError(f"{name}_malformed", f"The {name} must come once.")
            parameters[name] = value
    return parameters


def _size(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 15):
        raise MalformedRequestError("size_malformed", "The size must be a number of bytes, in digits.")
    return int(text)
