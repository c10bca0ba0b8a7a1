"""The gate before an endpoint: checks the page's origin, asks ``authorize``, limits the rate, and adds CORS."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

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
from ..wsgi.environ import check_length, with_authorization
from ..wsgi.facts import RequestFacts, facts_of
from ..wsgi.responses import SECURITY_HEADERS, AnsweredError, Headers, again_of
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
# For the log, if a callable raises TypeError, as one with other parameters does.
_ABOUT_AUTHORIZE = "it gets the request alone; may_complete says who may complete an upload in parts"
_ABOUT_COMPLETE = "it gets the ticket's user alone"

log = logging.getLogger(__name__)


class Gate:
    """Decides who may use an endpoint, and what each request may upload. Endpoints may share a gate.

    ``SignatureEndpoint`` explains the parameters, and ``DirectUpload`` ``may_complete``.
    """

    def __init__(
        self,
        *,
        authorize: Callable[[webob.Request], Grant | None] | None = None,
        may_complete: Callable[[str | None], bool] | None = None,
        allow_anonymous: bool = False,
        allowed_origins: Sequence[str] = (),
        rate_limit: Callable[[str], float | None] | None = None,
    ) -> None:
        if not isinstance(allow_anonymous, bool):  # the text "off" would count as true
            raise TypeError(f"allow_anonymous must be True or False, not {allow_anonymous!r}.")
        if isinstance(allowed_origins, str):  # '*' in the text "https://*.example.com" is true
            raise TypeError(f"allowed_origins must be a list of origins, not the text {allowed_origins!r}.")
        self._authorize = None if authorize is None else Question("authorize", authorize, _ABOUT_AUTHORIZE, GrantError)
        self._may_complete = None if may_complete is None else Question("may_complete", may_complete, _ABOUT_COMPLETE)
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
            grant = self._authorize(self._authorize.request(environ), environ)
            if grant is None:
                raise NotAuthorizedError("not_authorized", "authorize returned None")
            if not isinstance(grant, Grant):
                hint = f"authorize must return a Grant or None, not {type(grant).__name__}"
                raise CallableFailedError("authorize_failed", hint)
        elif self._allow_anonymous:
            grant = _ANYTHING
        else:
            raise NotAuthorizedError("anonymous", hint_of("anonymous"))
        self.count(grant.user, environ, slot)
        return grant

    def check_completion(self, user: str | None, environ: WSGIEnvironment) -> None:
        """Ask ``may_complete`` whether this user's upload in parts may be completed; `count` counts the rate.

        Raises ReasonedError, or AnsweredError for a response of ``may_complete`` itself.
        """
        if self._may_complete is None:
            return
        answer = self._may_complete(user, environ)
        if not isinstance(answer, bool):
            hint = f"may_complete must return True or False, not {type(answer).__name__}"
            raise CallableFailedError("may_complete_failed", hint)
        if not answer:
            raise NotAuthorizedError("not_authorized", "may_complete returned False")

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

    def takes_body(self, environ: WSGIEnvironment, limit: int) -> bool:
        """Return whether `answer` lets a POST through, and the body that it announces has ``limit`` bytes at most."""
        try:
            check_origin(environ, self.allowed_origins)
            check_length(environ, limit)
        except OSSWSGIError:
            return False
        return environ["REQUEST_METHOD"] == "POST" and not environ.get("PATH_INFO")


class Question:
    """Asks a callable of the application, such as ``authorize``, and returns what it returns.

    Raises AnsweredError if the callable raises a ``webob.exc``, and CallableFailedError if it raises anything else.

    :param advice: is added to the log if the callable raises TypeError.
    :param passing: errors that are raised as they are.
    """

    def __init__(self, name: str, ask: Callable[[Any], Any], advice: str, *passing: type[BaseException]) -> None:
        # Imported here because WebOb is needed only here, and warns about `cgi` when imported.
        import webob
        import webob.exc

        self._name = name
        self._ask = ask
        self._advice = advice
        self._passing = passing
        self._request_class = webob.Request
        self._exception_class = webob.exc.HTTPException

    def request(self, environ: WSGIEnvironment) -> webob.Request:
        """Return the request that a callable gets."""
        return self._request_class(with_authorization(environ))

    def __call__(self, argument: Any, environ: WSGIEnvironment) -> Any:
        try:
            return self._ask(argument)
        except self._exception_class as response:  # a webob.exc is a WSGI application
            status, hint = response.wsgi_response.status_int, f"{self._name} raised {type(response).__name__}"
            facts_of(environ).log_refusal(log, status, "not_authorized", hint)
            raise AnsweredError(_with_security_headers(response)) from None
        except self._passing:
            raise
        except BaseException as error:  # SystemExit too: `endpoints.callback` says why
            advice = f" ({self._advice})" if isinstance(error, TypeError) else ""
            hint = f"{self._name} raised {type(error).__name__}{advice}"
            raise CallableFailedError(f"{self._name}_failed", hint) from error


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
