"""A Bottle application with uploads to OSS that its own signed cookie allows and its own view receives.

    export OSS_BUCKET=... OSS_REGION=... OSS_ACCESS_KEY_ID=... OSS_ACCESS_KEY_SECRET=... OSS_CALLBACK_URL=...
    export APP_SECRET=... APP_PASSWORD=... APP_DATABASE=guestbook.sqlite3
    waitress-serve examples.bottle_app:application

Log in as eric. DirectUpload stays outside Bottle and any login or CSRF plugin, because the callback's signature is its
login. authorize reads Bottle's own cookie.
"""

import hmac
import os
import secrets
import sqlite3
from contextlib import closing

import bottle

from oss_wsgi import DirectUpload, Grant, Settings

DATABASE = os.environ.get("APP_DATABASE") or "guestbook.sqlite3"
SECRET = os.environ.get("APP_SECRET") or secrets.token_urlsafe()
USERS = {"eric": os.environ.get("APP_PASSWORD") or secrets.token_urlsafe()}
BOOK = """<h1>Guest book</h1><ul>
% for name, size in rows:
<li>{{name}}, {{size}} bytes
% end
</ul>"""
LOGIN = '<form method="post"><input name="user"><input name="password" type="password"><button>Log in</button></form>'

app = bottle.Bottle()

with closing(sqlite3.connect(DATABASE)) as db, db:
    db.execute("CREATE TABLE IF NOT EXISTS uploads (object TEXT PRIMARY KEY, size INTEGER)")


@app.get("/")
def book():
    with closing(sqlite3.connect(DATABASE)) as db:
        rows = db.execute("SELECT object, size FROM uploads ORDER BY object").fetchall()
    return bottle.template(BOOK, rows=rows)


@app.get("/login")
def login_form():
    return LOGIN


@app.post("/login")
def login():
    user, password = bottle.request.forms.user, bottle.request.forms.password
    if not hmac.compare_digest(USERS.get(user, "").encode(), password.encode()) or user not in USERS:
        bottle.abort(403)
    bottle.response.set_cookie("user", user, secret=SECRET, path="/", httponly=True, samesite="lax")
    return "Welcome"


@app.post("/oss/callback")
def uploaded():
    upload = bottle.request.environ.get("oss_wsgi.upload")
    if upload is None:  # the request bypassed DirectUpload: nobody verified it
        bottle.abort(403)
    with closing(sqlite3.connect(DATABASE)) as db, db:
        db.execute("REPLACE INTO uploads VALUES (?, ?)", (upload.object, upload.size))
    return {"Status": "Ok", "name": upload.object}


def authorize(request):
    user = bottle.BaseRequest({**request.environ}).get_cookie("user", secret=SECRET)
    return Grant(user=user, dir=f"users/{user}/") if user else None


application = DirectUpload(app, Settings.from_environ(os.environ), authorize=authorize, forward_callback=True)
