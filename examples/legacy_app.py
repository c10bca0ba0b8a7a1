"""A WSGI application in the style of 2005, and the few lines that add uploads to OSS.

export OSS_BUCKET=... OSS_REGION=... OSS_ACCESS_KEY_ID=... OSS_ACCESS_KEY_SECRET=... OSS_CALLBACK_URL=...
waitress-serve examples.legacy_app:application
"""

import os
from html import escape

from oss_wsgi import DirectUpload, Grant, Settings

GUESTBOOK = []


def guestbook(environ, start_response):
    """Serve the old page, which knows nothing about OSS."""
    lines = "".join(f"<li>{escape(name)}, {size} bytes" for name, size in GUESTBOOK)
    page = f"<h1>Guest book</h1><ul>{lines}</ul>".encode()
    start_response("200 OK", [("Content-Type", "text/html; charset=utf-8"), ("Content-Length", str(len(page)))])
    return [page]


def authorize(request):
    user = request.remote_user
    return Grant(user=user, dir=f"users/{user}/") if user else None


def save(upload):
    GUESTBOOK.append((upload.object, upload.size))
    return {"entries": len(GUESTBOOK)}


application = DirectUpload(guestbook, Settings.from_environ(os.environ), authorize=authorize, on_upload=save)
