"""Session middleware of an old application, inside and outside DirectUpload."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import webtest

from oss_wsgi import DirectUpload, Grant, Settings
from oss_wsgi.testing import CallbackSigner, callback_body

from .support.callbacks import post_callback, without_signed_id
from .test_application import VALUES, legacy

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

SESSIONS = {"abc": {"user": "eric"}}


class SessionMiddleware:
    """Finds the session of a cookie, as Beaker does, and sends a new cookie to a client that has none."""

    def __init__(self, app: WSGIApplication) -> None:
        self._app = app

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        name = environ.get("HTTP_COOKIE", "").removeprefix("session=")
        environ["old.session"] = SESSIONS.get(name, {})

        def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            new = [] if name else [("Set-Cookie", "session=new")]
            return start_response(status, [*headers, *new], exc_info)

        return self._app(environ, start)


def by_session(request: Any) -> Grant | None:
    user = request.environ.get("old.session", {}).get("user")
    return Grant(user=user) if user else None


def by_cookie(request: Any) -> Grant | None:
    user = SESSIONS.get(request.cookies.get("session", ""), {}).get("user")
    return Grant(user=user) if user else None


def check(application: WSGIApplication, signer: CallbackSigner) -> None:
    """Check that only the session's user gets a signature, and that OSS's report, which has no cookie, arrives."""
    client = webtest.TestApp(application)
    assert client.get("/oss/signature?filename=a", status=403)
    form = client.get("/oss/signature?filename=a", headers={"Cookie": "session=abc"}).json
    body = callback_body(form, size=6)
    answer = post_callback(webtest.TestApp(application), body, signer)
    assert without_signed_id(answer.json) == {"Status": "Ok", "user": "eric"}


def test_a_session_layer_outside_is_seen_by_authorize() -> None:
    signer = CallbackSigner()
    options = {"on_upload": lambda upload: {"user": upload.user}, "public_keys": signer.public_keys}
    check(SessionMiddleware(DirectUpload(legacy, Settings(**VALUES), authorize=by_session, **options)), signer)


def test_a_session_layer_inside_is_read_by_authorize_itself() -> None:
    signer = CallbackSigner()
    options = {"on_upload": lambda upload: {"user": upload.user}, "public_keys": signer.public_keys}
    check(DirectUpload(SessionMiddleware(legacy), Settings(**VALUES), authorize=by_cookie, **options), signer)
