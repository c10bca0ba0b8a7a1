"""The application of legacy_app.py for paste.ini, where PasteDeploy adds the uploads without a line of Python.

paste.ini lists its variables and shows how to serve it.
"""

from html import escape

from oss_wsgi import Grant

GUESTBOOK = []


def make_guestbook(global_conf, title="Guest book"):
    """Return the old application, which knows nothing about OSS. PasteDeploy calls this factory."""

    def guestbook(environ, start_response):
        lines = "".join(f"<li>{escape(name)}, {size} bytes" for name, size in GUESTBOOK)
        page = f"<h1>{escape(title)}</h1><ul>{lines}</ul>".encode()
        start_response("200 OK", [("Content-Type", "text/html; charset=utf-8"), ("Content-Length", str(len(page)))])
        return [page]

    return guestbook


def authorize(request):
    user = request.remote_user
    return Grant(user=user, dir=f"users/{user}/") if user else None


def save(upload):
    GUESTBOOK.append((upload.object, upload.size))
    return {"entries": len(GUESTBOOK)}
