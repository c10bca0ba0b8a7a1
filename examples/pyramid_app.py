"""A Pyramid application with uploads to OSS that its own security policy allows and its own view receives.

    export OSS_BUCKET=... OSS_REGION=... OSS_ACCESS_KEY_ID=... OSS_ACCESS_KEY_SECRET=... OSS_CALLBACK_URL=...
    export APP_SECRET=... APP_PASSWORD=... APP_DATABASE=guestbook.sqlite3
    waitress-serve examples.pyramid_app:application

Log in as eric. DirectUpload stays outside the session, CSRF and login of Pyramid for the callback, because the
callback's signature is its login. Only that view has require_csrf=False; every other view keeps its CSRF check.
authorize asks Pyramid's own security policy.
"""

import hmac
import os
import secrets
import sqlite3
from contextlib import closing
from html import escape

from pyramid.authentication import SessionAuthenticationHelper
from pyramid.config import Configurator
from pyramid.csrf import get_csrf_token
from pyramid.httpexceptions import HTTPForbidden, HTTPFound
from pyramid.request import Request
from pyramid.response import Response
from pyramid.security import remember
from pyramid.session import SignedCookieSessionFactory

from oss_wsgi import DirectUpload, Grant, Settings

DATABASE = os.environ.get("APP_DATABASE") or "guestbook.sqlite3"
USERS = {"eric": os.environ.get("APP_PASSWORD") or secrets.token_urlsafe()}

with closing(sqlite3.connect(DATABASE)) as db, db:
    db.execute("CREATE TABLE IF NOT EXISTS uploads (object TEXT PRIMARY KEY, size INTEGER)")


class SessionUser(SessionAuthenticationHelper):
    def identity(self, request):
        return self.authenticated_userid(request)


def book(request):
    with closing(sqlite3.connect(DATABASE)) as db:
        rows = db.execute("SELECT object, size FROM uploads ORDER BY object").fetchall()
    lines = "".join(f"<li>{escape(name)}, {size} bytes" for name, size in rows)
    return Response(f"<h1>Guest book</h1><ul>{lines}</ul>")


def login(request):
    if request.method != "POST":
        field = f'<input type="hidden" name="csrf_token" value="{get_csrf_token(request)}">'
        inputs = '<input name="user"><input name="password" type="password"><button>Log in</button>'
        return Response(f'<form method="post">{field}{inputs}</form>')
    user, password = request.POST.get("user", ""), request.POST.get("password", "")
    if not hmac.compare_digest(USERS.get(user, "").encode(), password.encode()) or user not in USERS:
        raise HTTPForbidden
    return HTTPFound("/", headers=remember(request, user))


def uploaded(request):
    upload = request.environ.get("oss_wsgi.upload")
    if upload is None:  # the request bypassed DirectUpload: nobody verified it
        raise HTTPForbidden
    with closing(sqlite3.connect(DATABASE)) as db, db:
        db.execute("REPLACE INTO uploads VALUES (?, ?)", (upload.object, upload.size))
    return {"Status": "Ok", "name": upload.object}


config = Configurator(session_factory=SignedCookieSessionFactory(os.environ.get("APP_SECRET") or secrets.token_hex()))
config.set_security_policy(SessionUser())
config.set_default_csrf_options(require_csrf=True)
for name, pattern, view, options in [
    ("book", "/", book, {}),
    ("login", "/login", login, {}),
    ("uploaded", "/oss/callback", uploaded, {"renderer": "json", "require_csrf": False, "request_method": "POST"}),
]:
    config.add_route(name, pattern)
    config.add_view(view, route_name=name, **options)
legacy = config.make_wsgi_app()


def authorize(request):
    pyramid_request = Request({**request.environ})
    pyramid_request.registry = legacy.registry
    user = pyramid_request.authenticated_userid
    return Grant(user=user, dir=f"users/{user}/") if user else None


application = DirectUpload(legacy, Settings.from_environ(os.environ), authorize=authorize, forward_callback=True)
