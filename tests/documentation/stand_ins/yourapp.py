"""The application of the README's reader: a page, and a session that begins at the first visit."""

from http.cookies import SimpleCookie
from pathlib import Path

SESSIONS = {"s3cret": "eric"}


def application(environ, start_response):
    cookie = SimpleCookie(environ.get("HTTP_COOKIE", "")).get("session")
    headers = [("Content-Type", "text/html; charset=utf-8")]
    if cookie is None:
        headers.append(("Set-Cookie", "session=s3cret"))
    start_response("200 OK", headers)
    return [b"<h1>hello from 2005</h1>", Path("page.html").read_bytes()]
