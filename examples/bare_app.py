"""A WSGI application without a framework, with uploads to OSS that its own session allows and its own view receives.

    export OSS_BUCKET=... OSS_REGION=... OSS_ACCESS_KEY_ID=... OSS_ACCESS_KEY_SECRET=... OSS_CALLBACK_URL=...
    export APP_PASSWORD=... APP_DATABASE=guestbook.sqlite3
    waitress-serve examples.bare_app:application

Log in as eric. DirectUpload stays outside the session and the CSRF check for the callback, whose signature is its
login. Every other POST keeps its CSRF check. authorize reads the application's own session, a row of its database.
"""

import hmac
import os
import secrets
import sqlite3
from contextlib import closing
from hashlib import sha256
from html import escape
from http.cookies import CookieError, SimpleCookie
from json import dumps
from urllib.parse import parse_qs

from oss_wsgi import DirectUpload, Grant, Settings

DATABASE = os.environ.get("APP_DATABASE") or "guestbook.sqlite3"
USERS = {"eric": os.environ.get("APP_PASSWORD") or secrets.token_urlsafe()}
LONGEST_FORM = 1024


def query(statement, *values):
    with closing(sqlite3.connect(DATABASE)) as db, db:
        return db.execute(statement, values).fetchall()


query("CREATE TABLE IF NOT EXISTS uploads (object TEXT PRIMARY KEY, size INTEGER)")
query("CREATE TABLE IF NOT EXISTS sessions (id TEXT PRIMARY KEY, user TEXT)")


def session_of(environ):
    try:
        return SimpleCookie(environ.get("HTTP_COOKIE", ""))["session"].value
    except (CookieError, KeyError):
        return ""


def session_cookie(session):
    return "Set-Cookie", f"session={session}; Path=/; HttpOnly; SameSite=Lax"


def csrf_token(session):
    return hmac.new(session.encode(), b"csrf", sha256).hexdigest()


def book(environ):
    rows = query("SELECT object, size FROM uploads ORDER BY object")
    lines = "".join(f"<li>{escape(name)}, {size} bytes" for name, size in rows)
    return "200 OK", f"<h1>Guest book</h1><ul>{lines}</ul>", []


def login_form(environ):
    session = secrets.token_urlsafe()
    field = f'<input type="hidden" name="csrf" value="{csrf_token(session)}">'
    inputs = '<input name="user"><input name="password" type="password"><button>Log in</button>'
    return "200 OK", f'<form method="post">{field}{inputs}</form>', [session_cookie(session)]


def login(environ):
    sent = environ["wsgi.input"].read(min(int(environ.get("CONTENT_LENGTH") or 0), LONGEST_FORM))
    form = {name: values[0] for name, values in parse_qs(sent.decode("latin-1")).items()}
    session, user, password = session_of(environ), form.get("user", ""), form.get("password", "")
    if not (session and hmac.compare_digest(csrf_token(session).encode(), form.get("csrf", "").encode())):
        return "403 Forbidden", "", []
    if not hmac.compare_digest(USERS.get(user, "").encode(), password.encode()) or user not in USERS:
        return "403 Forbidden", "", []
    new = secrets.token_urlsafe()
    query("INSERT INTO sessions VALUES (?, ?)", new, user)
    return "303 See Other", "", [("Location", "/"), session_cookie(new)]


def uploaded(environ):
    upload = environ.get("oss_wsgi.upload")
    if upload is None:  # the request bypassed DirectUpload: nobody verified it
        return "403 Forbidden", "", []
    query("REPLACE INTO uploads VALUES (?, ?)", upload.object, upload.size)
    return "200 OK", dumps({"Status": "Ok", "name": upload.object}), [("Content-Type", "application/json")]


VIEWS = {
    ("GET", "/"): book,
    ("GET", "/login"): login_form,
    ("POST", "/login"): login,
    ("POST", "/oss/callback"): uploaded,
}


def app(environ, start_response):
    view = VIEWS.get((environ["REQUEST_METHOD"], environ["PATH_INFO"]))
    status, text, headers = view(environ) if view else ("404 Not Found", "", [])
    body = text.encode()
    kind = [] if "Content-Type" in dict(headers) else [("Content-Type", "text/html; charset=utf-8")]
    start_response(status, [*kind, *headers, ("Content-Length", str(len(body)))])
    return [body]


def authorize(request):
    rows = query("SELECT user FROM sessions WHERE id = ?", session_of(request.environ))
    return Grant(user=rows[0][0], dir=f"users/{rows[0][0]}/") if rows else None


application = DirectUpload(app, Settings.from_environ(os.environ), authorize=authorize, forward_callback=True)
