"""The gate before an endpoint: checks the page's origin, asks ``authorize``, limits the rate, and adds CORS."""

from __future__ import annotations

import functools
import inspect
import logging
import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from ..exceptions import (
    CallableFailedError,
    GrantError,
    NotAuthorizedError,
    OSSWSGIError,
    SettingsError,
    TooManyRequestsError,
)
from ..explanations.rows import hint_of
from ..signing.grant import Grant
from ..wsgi.environ import with_authorization
from ..wsgi.facts import RequestFacts, facts_of
from ..wsgi.responses import SECURITY_HEADERS, Headers, again_of
from .rate_limit import RateLimit
from .slots import Slot

if TYPE_CHECKING:
    import webob
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

_ANYTHING = Grant()
_MESSAGES = {"origin_foreign": "A page of this origin may not ask here."}
_NO_MESSAGES: Mapping[str, str] = {}
_PREFLIGHT_SECONDS = "600"
_MAX_LOGGED = 200  # characters of a header

log = logging.getLogger(__name__)


class Gate:
    """Decides who may use an endpoint, and what each request may upload. Endpoints may share a gate.

    ``SignatureEndpoint`` explains the parameters.
    """

    def __init__(
        self,
        *,
        authorize: Callable[[webob.Request], Grant | None] | None = None,
        allow_anonymous: bool = False,
        allowed_origins: Sequence[str] = (),
        rate_limit: Callable[[str], float | None] | None = None,
    ) -> None:
        if not isinstance(allow_anonymous, bool):  # the text "off" would count as true
            raise TypeError(f"allow_anonymous must be True or False, not {allow_anonymous!r}.")
        if isinstance(allowed_origins, str):  # '*' in the text "https://*.example.com" is true
            raise TypeError(f"allowed_origins must be a list of origins, not the text {allowed_origins!r}.")
        self._authorize = _Authorizer(authorize) if authorize is not None else None
        self._allow_anonymous = allow_anonymous
        self.allowed_origins = frozenset(origin.lower() for origin in allowed_origins)
        self._rate_limit = rate_limit
        #: Whether the gate never waits. A RateLimit never waits; the user's own callables may.
        self.is_nonblocking = authorize is None and isinstance(rate_limit, RateLimit | None)

    def grant(self, environ: WSGIEnvironment, slot: Slot | None = None) -> Grant:
        """Return the grant of a request, and count the rate, and the request's slot for the grant's user.

        Raises ReasonedError, or AnsweredError for a response of ``authorize`` itself.
        """
        if self._authorize is not None:
            grant = self._authorize(environ)
        elif self._allow_anonymous:
            grant = _ANYTHING
        else:
            raise NotAuthorizedError("anonymous", hint_of("anonymous"))
        self.count(grant.user, environ, slot)
        return grant

    def second_look(self, user: str | None, environ: WSGIEnvironment) -> None:
        """Ask an ``authorize`` that takes ``user`` whether the ticket's user may finish an upload.

        `count` counts the rate. Raises ReasonedError, also if the grant names another user, and AnsweredError.
        """
        if self._authorize is None or not self._authorize.takes_user:
            return
        grant = self._authorize(environ, user)
        if grant.user is not None and grant.user != user:
            hint = f"authorize returned a Grant for user {grant.user!r}, but user {user!r} began this upload"
            raise NotAuthorizedError("not_authorized", hint)

    def count(
        self, user: str | None, environ: WSGIEnvironment, slot: Slot | None = None, ticket: str | None = None
    ) -> None:
        """Count a request for the rate limit, by its user or else its address; its slot for the user and the ticket.

        Raises TooManyRequestsError, SlotsTakenError, and CallableFailedError from the rate limit itself.
        """
        if slot is not None:
            for caller in (ticket and f"ticket:{ticket}", user and f"user:{user}"):
                if caller:
                    slot.share(caller)
        again = again_of(environ)
        if self._rate_limit is None or (again is not None and again.is_counted):
            return
        if again is not None:
            again.is_counted = True
        who = f"user:{user}" if user else f"address:{environ.get('REMOTE_ADDR') or ''}"
        try:
            wait = self._rate_limit(who)
            if wait is None:
                return
            if isinstance(wait, bool) or not wait > 0:
                raise ValueError(f"rate_limit must return None or more than 0 seconds, not {wait!r}")
            seconds = math.ceil(wait)
        except BaseException as error:  # SystemExit too: `endpoints.callback` says why
            hint = f"rate_limit raised {type(error).__name__}, or returned neither None nor seconds over 0"
            raise CallableFailedError("rate_limit_failed", hint) from error
        raise TooManyRequestsError("too_many_requests", f"{who} asks too often", seconds=seconds)

    def answer(
        self,
        logger: logging.Logger,
        environ: WSGIEnvironment,
        start_response: StartResponse,
        methods: str,
        respond: Callable[[RequestFacts, WSGIEnvironment, StartResponse], Iterable[bytes]],
        messages: Mapping[str, str] = _NO_MESSAGES,
    ) -> Iterable[bytes]:
        """Answer a request by ``respond``, with CORS; refuse it if ``respond`` raises one of our errors.

        The request ends here if it is for a path below the endpoint's, has another method, is a preflight, or comes
        from a page of another origin.

        :param methods: text of ``Allow``, such as ``GET, HEAD, OPTIONS``.
        :param messages: what a browser is told, by the reason of an error.
        """
        facts = facts_of(environ)
        if self.allowed_origins:
            start_response = with_cors(environ, start_response, self.allowed_origins, methods)
        if environ.get("PATH_INFO"):
            return facts.not_found(logger, start_response)
        method = environ["REQUEST_METHOD"]
        if method == "OPTIONS":
            start_response("204 No Content", [("Allow", methods), *SECURITY_HEADERS])
            return []
        if method not in methods.split(", "):
            return facts.method_not_allowed(logger, start_response, methods)
        try:
            check_origin(environ, self.allowed_origins)
            return respond(facts, environ, start_response)
        except AnsweredError as answered:
            return answered.app(environ, start_response)
        except SettingsError:  # misuse, whose traceback says where
            raise
        except OSSWSGIError as error:
            return facts.refuse_error(logger, start_response, error, messages={**_MESSAGES, **messages})


class AnsweredError(Exception):
    """Raised when ``authorize`` answers a request by itself: ``app`` is its response."""

    def __init__(self, app: WSGIApplication) -> None:
        super().__init__("authorize has answered the request")
        self.app = app


class _Authorizer:
    """Calls ``authorize`` with a webob.Request, and returns its grant. Raises ReasonedError and AnsweredError."""

    def __init__(self, authorize: Callable[..., Grant | None]) -> None:
        # Imported here because WebOb is needed only here, and warns about `cgi` when imported.
        import webob
        import webob.exc

        self._authorize = authorize
        self._request_class = webob.Request
        self._exception_class = webob.exc.HTTPException
        self._user_parameter = _user_parameter(authorize)

    @property
    def takes_user(self) -> bool:
        """Return whether the callable takes the user of a ticket beside the request."""
        return self._user_parameter is not None

    def __call__(self, environ: WSGIEnvironment, user: str | None = None) -> Grant:
        try:
            request = self._request_class(with_authorization(environ))
            parameter = self._user_parameter
            if parameter is None or (user is None and not parameter.is_required):
                grant = self._authorize(request)
            elif parameter.by_name:
                grant = self._authorize(request, user=user)
            else:
                grant = self._authorize(request, user)
        except self._exception_class as response:  # a webob.exc is a WSGI application
            status = response.wsgi_response.status_int
            facts_of(environ).log_refusal(log, status, "not_authorized", f"authorize raised {type(response).__name__}")
            raise AnsweredError(_with_security_headers(response)) from None
        except GrantError:
            raise
        except BaseException as error:  # SystemExit too: `endpoints.callback` says why
            raise CallableFailedError("authorize_failed", f"authorize raised {type(error).__name__}") from error
        if grant is None:
            raise NotAuthorizedError("not_authorized", "authorize returned None")
        if not isinstance(grant, Grant):
            hint = f"authorize must return a Grant or None, not {type(grant).__name__}"
            raise CallableFailedError("authorize_failed", hint)
        return grant


class _UserParameter(NamedTuple):
    """How ``authorize`` takes the user of a ticket: by name or as the second argument, and whether it is required."""

    by_name: bool
    is_required: bool


def _user_parameter(authorize: Callable[..., Any]) -> _UserParameter | None:
    """Return how a callable takes the user of a ticket, or None if it does not.

    A callable takes the user if it has a parameter named ``user``, a second parameter without a default, or ``**``
    after a parameter for the request. Parameters that a decorator or a ``functools.partial`` fills in do not count. A
    wrapper with ``(*arguments, **named)`` is judged by the signature of the function that ``functools.wraps`` names.
    """
    if isinstance(authorize, functools.partial) and "user" in authorize.keywords:
        return None
    try:
        outer, inner = inspect.signature(authorize, follow_wrapped=False), inspect.signature(authorize)
    except (TypeError, ValueError):  # a callable written in C
        return None
    parameter = _named_or_second(outer) or _named_or_second(inner) or _rest(inner)
    if parameter is None:
        return None
    is_required = parameter.default is parameter.empty and parameter.kind is not parameter.VAR_KEYWORD
    # Python 3.13.0 would bind a positional-only parameter with a default by its name.
    takes_name = parameter.name == "user" and parameter.kind is not parameter.POSITIONAL_ONLY
    if (takes_name or parameter.kind is parameter.VAR_KEYWORD) and _can_be_called(outer, None, user=None):
        return _UserParameter(True, is_required)
    is_second = parameter in _positional(inner)[1:2] or parameter in _positional(outer)[1:2]
    return _UserParameter(False, is_required) if is_second and _can_be_called(outer, None, None) else None


def _named_or_second(signature: inspect.Signature) -> inspect.Parameter | None:
    """Return the parameter named ``user`` after the request's, or else a second one without a default."""
    for parameter in list(signature.parameters.values())[1:]:
        if parameter.name == "user" and parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            return parameter
    return next((second for second in _positional(signature)[1:2] if second.default is second.empty), None)


def _rest(signature: inspect.Signature) -> inspect.Parameter | None:
    """Return the ``**`` of a callable that names a parameter for the request."""
    rests = (rest for rest in signature.parameters.values() if rest.kind is rest.VAR_KEYWORD)
    return next(rests, None) if _positional(signature) else None


def _positional(signature: inspect.Signature) -> list[inspect.Parameter]:
    return [each for each in signature.parameters.values() if each.kind <= each.POSITIONAL_OR_KEYWORD]


def _can_be_called(signature: inspect.Signature, *arguments: Any, **named: Any) -> bool:
    try:
        signature.bind(*arguments, **named)
    except TypeError:
        return False
    return True


def _with_security_headers(app: WSGIApplication) -> WSGIApplication:
    """Return an application that adds our security headers to the response of ``app``, where it sets none itself."""

    def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        def start(status: str, headers: Headers, exc_info: Any = None) -> Any:
            own = {name.lower() for name, _ in headers}
            added = [(name, value) for name, value in SECURITY_HEADERS if name.lower() not in own]
            return start_response(status, [*headers, *added], exc_info)

        return app(environ, start)

    return application


def with_cors(
    environ: WSGIEnvironment, start_response: StartResponse, allowed_origins: Collection[str], methods: str
) -> StartResponse:
    """Return a ``start_response`` that adds the CORS headers, also to refusals (Fetch standard, CORS protocol).

    :param allowed_origins: origins in lower case; ``*`` is any.
    :param methods: text of ``Access-Control-Allow-Methods``.
    """
    origin = environ.get("HTTP_ORIGIN") or ""
    anybody = "*" in allowed_origins
    listed = origin.lower() in allowed_origins
    cors: Headers = [("Access-Control-Allow-Origin", "*")] if anybody else [("Vary", "Origin")]
    if listed and not anybody:
        cors += [("Access-Control-Allow-Origin", origin), ("Access-Control-Allow-Credentials", "true")]
    preflight = environ["REQUEST_METHOD"] == "OPTIONS"
    if (anybody or listed) and not preflight:
        cors.append(("Access-Control-Expose-Headers", "Retry-After"))
    if preflight and (anybody or listed):
        cors += [("Access-Control-Allow-Methods", methods), ("Access-Control-Max-Age", _PREFLIGHT_SECONDS)]
        requested = environ.get("HTTP_ACCESS_CONTROL_REQUEST_HEADERS")
        if requested:
            cors.append(("Access-Control-Allow-Headers", requested))

    def start(status: str, headers: Headers, exc_info: Any = None) -> Any:
        return start_response(status, [*headers, *cors], exc_info)

    return start


def readable(app: WSGIApplication, allowed_origins: Collection[str], methods: str) -> WSGIApplication:
    """Return an application that answers every path as ``app`` does; pages of allowed origins can read its response.

    Their preflights succeed for every path: the refusal that follows says more than a failed preflight.
    """
    if not allowed_origins:
        return app

    def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        start_response = with_cors(environ, start_response, allowed_origins, methods)
        if environ["REQUEST_METHOD"] == "OPTIONS" and "HTTP_ACCESS_CONTROL_REQUEST_METHOD" in environ:
            start_response("204 No Content", [("Allow", methods), *SECURITY_HEADERS])
            return []
        return app(environ, start_response)

    return application


def check_origin(environ: WSGIEnvironment, allowed: Collection[str]) -> None:
    """Raise NotAuthorizedError for a request from a page of another origin, unless it is allowed.

    Browsers send ``Sec-Fetch-Site`` over https and to loopback, and no script can change it. Where it is missing (old
    browsers, plain http, programs other than browsers), an ``Origin`` must be allowed or name the requested host. Over
    plain http browsers send neither header for another site's image or link: only https closes that gap.

    :param allowed: origins in lower case; ``*`` is any, but a page must ask by CORS, that is with an ``Origin``.
    """
    site = environ.get("HTTP_SEC_FETCH_SITE") or ""
    origin = environ.get("HTTP_ORIGIN") or ""
    if site in ("same-origin", "none") or not (site or origin):  # "none": the visitor typed the address
        return
    if origin and ("*" in allowed or origin.lower() in allowed):
        return
    if not site and _names_host(origin, environ.get("HTTP_HOST") or ""):
        return
    page = f"origin {origin[:_MAX_LOGGED]!r}" if origin else f"a link or an element ({site[:_MAX_LOGGED]!r}, no origin)"
    hint = f"the request comes from another site, {page}; to allow it, list its origin in OSS_ALLOWED_ORIGINS"
    raise NotAuthorizedError("origin_foreign", hint)


def _names_host(origin: str, host: str) -> bool:
    """Return whether an origin has this host and port. A proxy that ends TLS hides the scheme and its default port."""
    scheme, _, authority = origin.lower().partition("://")
    without_port = _without_default_port(authority)
    return scheme in ("http", "https") and bool(authority) and without_port == _without_default_port(host.lower())


def _without_default_port(authority: str) -> str:
    return authority.removesuffix(":80").removesuffix(":443")
