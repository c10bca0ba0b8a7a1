"""A CherryPy application with uploads to OSS that its own session allows and its own view receives.

    export OSS_BUCKET=... OSS_REGION=... OSS_ACCESS_KEY_ID=... OSS_ACCESS_KEY_SECRET=... OSS_CALLBACK_URL=...
    export APP_PASSWORD=... APP_DATABASE=guestbook.sqlite3
    waitress-serve examples.cherrypy_app:application

Log in as eric. DirectUpload stays outside the session and login tools of CherryPy, because the callback's signature is
its login. authorize reads CherryPy's own session, which is in the memory of this one process.
"""

import hmac
import os
import secrets
import sqlite3
from contextlib import closing
from html import escape

import cherrypy
from cherrypy.lib.sessions import RamSession

from oss_wsgi import DirectUpload, Grant, Settings

DATABASE = os.environ.get("APP_DATABASE") or "guestbook.sqlite3"
USERS = {"eric": os.environ.get("APP_PASSWORD") or secrets.token_urlsafe()}
LOGIN = '<form method="post"><input name="user"><input name="password" type="password"><button>Log in</button></form>'

with closing(sqlite3.connect(DATABASE)) as db, db:
    db.execute("CREATE TABLE IF NOT EXISTS uploads (object TEXT PRIMARY KEY, size INTEGER)")


class Uploads:
    @cherrypy.expose
    @cherrypy.config(**{"tools.sessions.on": False})
    @cherrypy.tools.allow(methods=["POST"])
    @cherrypy.tools.json_out()
    def callback(self, **reported):
        upload = cherrypy.request.wsgi_environ.get("oss_wsgi.upload")
        if upload is None:  # the request bypassed DirectUpload: nobody verified it
            raise cherrypy.HTTPError(403)
        with closing(sqlite3.connect(DATABASE)) as db, db:
            db.execute("REPLACE INTO uploads VALUES (?, ?)", (upload.object, upload.size))
        return {"Status": "Ok", "name": upload.object}


class Guestbook:
    oss = Uploads()

    @cherrypy.expose
    def index(self):
        with closing(sqlite3.connect(DATABASE)) as db:
            rows = db.execute("SELECT object, size FROM uploads ORDER BY object").fetchall()
        lines = "".join(f"<li>{escape(name)}, {size} bytes" for name, size in rows)
        return f"<h1>Guest book</h1><ul>{lines}</ul>"

    @cherrypy.expose
    def login(self, user="", password=""):
        if cherrypy.request.method != "POST":
            return LOGIN
        if not hmac.compare_digest(USERS.get(user, "").encode(), password.encode()) or user not in USERS:
            raise cherrypy.HTTPError(403)
        cherrypy.session.regenerate()
        cherrypy.session["user"] = user
        raise cherrypy.HTTPRedirect("/")


cherrypy.config.update({"environment": "embedded"})
sessions = {"tools.sessions.on": True, "tools.sessions.httponly": True}
app = cherrypy.Application(Guestbook(), config={"/": sessions})


def authorize(request):
    user = RamSession(request.cookies.get("session_id")).get("user")
    return Grant(user=user, dir=f"users/{user}/") if user else None


application = DirectUpload(app, Settings.from_environ(os.environ), authorize=authorize, forward_callback=True)
