"""Signs what a browser may upload."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from ..exceptions import CredentialsError, GrantError, MalformedRequestError, OSSWSGIError, OutsideGrantError
from ..grant import Grant
from ..presigner import PostPresigner
from ..responses import Headers, json_response, log_refusal, method_not_allowed, not_found, refuse

if TYPE_CHECKING:
    import webob
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

_ALLOWED = "GET, HEAD, OPTIONS"
_PARAMETERS = frozenset({"filename", "content_type", "size"})
_MAX_PARAMETERS = 100
_PREFLIGHT_SECONDS = "600"

log = logging.getLogger(__name__)


class SignatureEndpoint:
    """Application: ``GET ?filename=NAME&content_type=TYPE&size=N`` answers a signed form as JSON.

    ``authorize(request: webob.Request) -> Grant | None`` decides; None refuses with 403, and it may raise a
    ``webob.exc`` of its own. Without it everybody is refused, unless ``allow_anonymous`` says otherwise.

    A parameter that is not well-formed is answered 400, one that the grant does not cover 403, both with a sentence;
    503 when there are no credentials to sign with. Parameters of other names do not count.

    :param allowed_origins: origins whose pages may read the answer (CORS), with cookies; ``*`` alone is any, without.
    """

    def __init__(
        self,
        presigner: PostPresigner,
        *,
        authorize: Callable[[webob.Request], Grant | None] | None = None,
        allow_anonymous: bool = False,
        allowed_origins: Sequence[str] = (),
    ) -> None:
        self._presigner = presigner
        self._authorize = _Authorizer(authorize) if authorize is not None else None
        self._allow_anonymous = allow_anonymous
        self._allowed_origins = frozenset(allowed_origins)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if self._allowed_origins:
            start_response = self._with_cors(environ, start_response)
        if environ.get("PATH_INFO"):
            return not_found(log, environ, start_response)
        method = environ["REQUEST_METHOD"]
        if method == "OPTIONS":
            start_response("204 No Content", [("Allow", _ALLOWED)])
            return []
        if method not in ("GET", "HEAD"):
            return method_not_allowed(log, environ, start_response, _ALLOWED)
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
            grant = Grant()
        else:
            hint = "nobody may upload yet: give DirectUpload an authorize callable, or set OSS_ALLOW_ANONYMOUS=on"
            return refuse(log, environ, start_response, 403, "anonymous", hint)
        size = parameters.get("size")
        form = self._presigner.presign(
            grant,
            filename=parameters.get("filename"),
            content_type=parameters.get("content_type") or None,
            size=None if size is None else _size(size),
        )
        return json_response(environ, start_response, 200, form.payload())

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
            return answer  # a webob.exc is an application
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


def _refusal(status: int, reason: str, hint: str, error: Exception | None = None) -> WSGIApplication:
    return lambda environ, start_response: refuse(
        log, environ, start_response, status, reason, hint, exc_info=error
    )


def _parameters(environ: WSGIEnvironment) -> dict[str, str]:
    try:
        query = environ.get("QUERY_STRING") or ""
        pairs = parse_qsl(query, keep_blank_values=True, errors="strict", max_num_fields=_MAX_PARAMETERS)
    except ValueError:
        hint = f"The query must be percent-encoded UTF-8, with {_MAX_PARAMETERS} parameters at the most."
        raise MalformedRequestError("query_malformed", hint) from None
    parameters: dict[str, str] = {}
    for name, value in pairs:
        if name in _PARAMETERS:
            if name in parameters:
                raise MalformedRequestError(f"{name}_malformed", f"The {name} must come once.")
            parameters[name] = value
    return parameters


def _size(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 15):
        raise MalformedRequestError("size_malformed", "The size must be a number of bytes, in digits.")
    return int(text)
