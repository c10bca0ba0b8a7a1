"""Middleware that restores an Authorization header that the web server hid."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from ..wsgi.environ import AUTHORIZATION_KEYS, with_authorization
from ..wsgi.questions import pass_on

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment


class AuthorizationPassthrough:
    """Middleware for any application that reads ``HTTP_AUTHORIZATION``: OSS callbacks, Basic, Bearer.

    Apache hides the header from CGI-style programs, mod_wsgi included. The usual workarounds put it into another
    variable, where applications do not look, such as ``REDIRECT_HTTP_AUTHORIZATION`` after an internal redirect.

        application = AuthorizationPassthrough(application)

    It works without OSS too. Flask-HTTPAuth, for example, then sees the password or the token that a browser sent, and
    so does Django REST framework around ``get_wsgi_application()``:

        app = flask.Flask(__name__)
        auth = flask_httpauth.HTTPBasicAuth()  # or HTTPTokenAuth, for Bearer
        app.wsgi_app = AuthorizationPassthrough(app.wsgi_app)

    A usable ``HTTP_AUTHORIZATION`` is never changed. Where the value comes from another key,
    ``environ["oss_wsgi.authorization_source"]`` names that key.

    :param trusted_keys: further environ keys to use, such as ``HTTP_X_AUTHORIZATION`` or ``REMOTE_USER``. A client can
        send any ``HTTP_X_*`` header, so name one only if the front server sets it for every request.
    """

    def __init__(self, app: WSGIApplication, *, trusted_keys: Sequence[str] = ()) -> None:
        if isinstance(trusted_keys, str):
            raise TypeError(f"trusted_keys must be a sequence of environ keys, not the text {trusted_keys!r}.")
        for key in trusted_keys:
            if not isinstance(key, str) or not key:
                raise TypeError(f"trusted_keys must hold environ keys, which are texts, not {key!r}.")
            if "-" in key and key not in AUTHORIZATION_KEYS:
                environ_key = f"HTTP_{key.upper().replace('-', '_')}"
                raise ValueError(f"trusted_keys: {key!r} is a header's name; its environ key is {environ_key!r}.")
        self._app = app
        self._trusted_keys = tuple(trusted_keys)
        pass_on(self, app)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        return self._app(with_authorization(environ, self._trusted_keys), start_response)
