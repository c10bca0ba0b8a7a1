"""A Flask application with uploads to OSS that its own session allows and its own view receives.

    export OSS_BUCKET=... OSS_REGION=... OSS_ACCESS_KEY_ID=... OSS_ACCESS_KEY_SECRET=... OSS_CALLBACK_URL=...
    export APP_SECRET=... APP_PASSWORD=... APP_DATABASE=guestbook.sqlite3
    waitress-serve examples.flask_app:application

Log in as eric. DirectUpload stays outside Flask, because the callback's signature is its login. If Flask has a CSRF
extension, exempt this one view (Flask-WTF: ``csrf.exempt``). authorize reads Flask's own session.
"""

import hmac
import os
import secrets
import sqlite3
from contextlib import closing

from flask import Flask, Request, abort, jsonify, redirect, render_template_string, request, session

from oss_wsgi import DirectUpload, Grant, Settings

DATABASE = os.environ.get("APP_DATABASE") or "guestbook.sqlite3"
USERS = {"eric": os.environ.get("APP_PASSWORD") or secrets.token_urlsafe()}
BOOK = "<h1>Guest book</h1><ul>{% for name, size in rows %}<li>{{ name }}, {{ size }} bytes{% endfor %}</ul>"
LOGIN = '<form method="post"><input name="user"><input name="password" type="password"><button>Log in</button></form>'

app = Flask(__name__)
app.secret_key = os.environ.get("APP_SECRET") or secrets.token_bytes()
app.config["SESSION_COOKIE_SAMESITE"] = "Lax"

with closing(sqlite3.connect(DATABASE)) as db, db:
    db.execute("CREATE TABLE IF NOT EXISTS uploads (object TEXT PRIMARY KEY, size INTEGER)")


@app.get("/")
def book():
    with closing(sqlite3.connect(DATABASE)) as db:
        rows = db.execute("SELECT object, size FROM uploads ORDER BY object").fetchall()
    return render_template_string(BOOK, rows=rows)


@app.get("/login")
def login_form():
    return LOGIN


@app.post("/login")
def login():
    user, password = request.form["user"], request.form["password"]
    if not hmac.compare_digest(USERS.get(user, "").encode(), password.encode()) or user not in USERS:
        abort(403)
    session.clear()
    session["user"] = user
    return redirect("/")


@app.post("/oss/callback")
def uploaded():
    upload = request.environ.get("oss_wsgi.upload")
    if upload is None:  # the request bypassed DirectUpload: nobody verified it
        abort(403)
    with closing(sqlite3.connect(DATABASE)) as db, db:
        db.execute("REPLACE INTO uploads VALUES (?, ?)", (upload.object, upload.size))
    return jsonify(Status="Ok", name=upload.object)


def authorize(request):
    flask_session = app.session_interface.open_session(app, Request(request.environ, populate_request=False))
    user = flask_session.get("user")
    return Grant(user=user, dir=f"users/{user}/") if user else None


application = DirectUpload(app, Settings.from_environ(os.environ), authorize=authorize, forward_callback=True)
