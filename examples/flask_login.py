"""A Flask application whose session login decides who may upload.

    oss-wsgi serve --app flask_login:application --reload

Log in as eric with the password wonderland, and choose a file: it goes to a local OSS until OSS_BUCKET is set.
"""

import hmac
import os

from flask import Flask, redirect, render_template_string, request, session

from oss_wsgi import DirectUpload, Grant, Settings

PAGE = """<!doctype html><title>Guest book</title>
{% if session.user %}
  <p>Hello {{ session.user }}.</p>
  <input type="file" id="file" data-oss-upload>
  <output for="file"></output>
  <script type="module" src="/oss/upload.js"></script>
{% else %}
  <form method="post" action="/login"><input name="user"><input name="password" type="password"><button>Log in</button>
  </form>
{% endif %}
<ul>{% for name, size in uploads %}<li>{{ name }}, {{ size }} bytes{% endfor %}</ul>"""
PASSWORDS = {"eric": os.environ.get("APP_PASSWORD") or "wonderland"}
UPLOADS = []

app = Flask(__name__)
app.secret_key = os.environ.get("APP_SECRET") or "only for trying it out"


@app.get("/")
def page():
    return render_template_string(PAGE, uploads=UPLOADS)


@app.post("/login")
def login():
    user, password = request.form["user"], request.form["password"]
    if user in PASSWORDS and hmac.compare_digest(PASSWORDS[user].encode(), password.encode()):
        session["user"] = user
    return redirect("/")


def authorize(request):  # whom does Flask's own session know?
    with app.request_context(request.environ):
        user = session.get("user")
    return Grant(user=user, dir=f"users/{user}/") if user else None


def save(upload):  # OSS stored a file, and the report is verified
    UPLOADS.append((upload.object, upload.size))
    return {"name": upload.object}


application = DirectUpload(app, Settings.from_environ(os.environ), authorize=authorize, on_upload=save)
