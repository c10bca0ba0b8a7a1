"""A form of an application of one's own: the photo goes to OSS, and the form brings the proof of its upload.

oss-wsgi serve --app form:application
"""

from __future__ import annotations

import html
import os
from collections.abc import Iterable
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

from oss_wsgi import DirectUpload, Grant, Settings
from oss_wsgi.exceptions import SignedIDError

if TYPE_CHECKING:
    import webob
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

# The button may be pressed at once: the browser submits the form when the photo is stored.
FORM = """<!doctype html>
<html lang="en">
<title>New member</title>
<form method="post">
  <p><label>Name <input name="name" required></label></p>
  <p><label>Photo <input type="file" id="photo" name="photo" accept="image/*" required data-oss-upload></label>
     <output for="photo"></output></p>
  <button>Save</button>
</form>
<script type="module" src="/oss/upload.js"></script>
<script type="module" src="/wait.js"></script>
"""

WAIT = """
const form = document.querySelector("form");
const photo = document.getElementById("photo");
let isWaiting = false;

// While the photo is on its way its field is invalid, so that the form is not submitted: remember the wish.
photo.addEventListener("invalid", (event) => {
  if (photo.files.length === 0) return;
  isWaiting = true;
  event.preventDefault();
});
photo.addEventListener("oss:fail", () => { isWaiting = false; });
photo.addEventListener("oss:done", () => {
  if (isWaiting) setTimeout(() => form.requestSubmit());
});
"""


def members(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Show the form, and what was sent with it."""
    kind, text = "text/html; charset=utf-8", FORM
    if environ["PATH_INFO"] == "/wait.js":
        kind, text = "text/javascript", WAIT
    elif environ["REQUEST_METHOD"] == "POST":
        fields = parse_qs(environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"])).decode())
        try:
            # The field holds a signed ID. Nobody but this server makes one, and this one must be of Eric's upload.
            photo = environ["oss_wsgi.find_upload"](fields.get("photo", [""])[0], user="eric")
        except SignedIDError:
            start_response("400 Bad Request", [("Content-Type", "text/plain")])
            return [b"Choose a photo."]
        name = html.escape(fields.get("name", [""])[0])
        text = f"<!doctype html><p>Saved {name} with {html.escape(photo.object)}, {photo.size} bytes."
    start_response("200 OK", [("Content-Type", kind)])
    return [text.encode()]


def authorize(request: webob.Request) -> Grant:
    """Let everybody send a picture; your application asks its session here."""
    return Grant(user="eric", dir="members/eric", content_types=["image/png", "image/jpeg"])


application = DirectUpload(members, Settings.from_environ(os.environ), authorize=authorize)
