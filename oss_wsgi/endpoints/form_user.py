"""Who sends a form: the user whom ``authorize`` names, which is asked as for a signature, or ``form_user``."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode

from ..callback.upload import Upload
from ..exceptions import CallableFailedError
from .gate import Gate, Question

if TYPE_CHECKING:
    import webob
    from _typeshed.wsgi import WSGIEnvironment

    from ..signing.grant import Grant

# They would tell `authorize` about the form; the request's target is that of a signature.
_OF_THE_FORM = ("CONTENT_TYPE", "CONTENT_LENGTH", "RAW_PATH_INFO", "asgi.scope")
_TARGETS = ("RAW_URI", "REQUEST_URI")


class FormUser:
    """Returns who sends a form, for ``PostedFiles``.

    ``authorize`` gets a GET of the signature endpoint with the name, the size and the type of the form's first file,
    and with the cookies, REMOTE_USER and headers of the form's request. ``form_user`` gets the form's own request
    without its body. The rate limit does not count this.

    :param path: PATH_INFO of the signature endpoint, prefix included, as WSGI has it.
    :param authorize: of ``DirectUpload``, as are ``allow_anonymous`` and ``form_user``.
    """

    def __init__(
        self,
        path: str,
        *,
        authorize: Callable[[webob.Request], Grant | None] | None,
        allow_anonymous: bool,
        form_user: Callable[[webob.Request], str | None] | None = None,
    ) -> None:
        self._path = path
        self._gate = Gate(authorize=authorize, allow_anonymous=allow_anonymous)
        about = "it gets the request of the form alone"
        self._form_user = None if form_user is None else Question("form_user", form_user, about)

    def __call__(self, environ: WSGIEnvironment, uploads: Sequence[Upload]) -> str | None:
        """Return the user; None if uploads have none. Raises ReasonedError, GrantError and AnsweredError."""
        if self._form_user is None:
            return self._gate.grant(self._asking_to_sign(environ, uploads[0])).user
        user = self._form_user(self._form_user.request(environ), environ)
        if not isinstance(user, str | None):
            hint = f"form_user must return a text or None, not {type(user).__name__}"
            raise CallableFailedError("form_user_failed", hint)
        return user

    def _asking_to_sign(self, environ: WSGIEnvironment, upload: Upload) -> WSGIEnvironment:
        """Return the request with which the sender would ask for the signature of an upload."""
        parameters = {"filename": upload.filename, "size": upload.size, "content_type": upload.mime_type}
        query = urlencode({name: value for name, value in parameters.items() if value is not None}, quote_via=quote)
        script_name = (environ.get("SCRIPT_NAME") or "") + self._path
        target = f"{quote(script_name.encode('latin-1', 'replace'))}?{query}"
        return {
            **{key: value for key, value in environ.items() if key not in _OF_THE_FORM},
            **{key: target for key in _TARGETS if key in environ},
            "REQUEST_METHOD": "GET",
            "SCRIPT_NAME": script_name,
            "PATH_INFO": "",
            "QUERY_STRING": query,
            "wsgi.input": io.BytesIO(),
        }
