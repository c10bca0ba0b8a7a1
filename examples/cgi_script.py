"""An old CGI script, `guestbook.cgi`, with uploads that its own login allows.

    oss-wsgi serve --app cgi_script:application --reload

Log in as eric with the password wonderland, and choose a file: it goes to a local OSS until OSS_BUCKET is set.
"""

import os
import re
import subprocess
import sys
from email import message_from_bytes
from pathlib import Path

from oss_wsgi import DirectUpload, Grant, Settings

SCRIPT = Path(__file__).with_name("guestbook.cgi")
SESSIONS = Path(os.environ.get("APP_SESSIONS") or "sessions")


def cgi(environ, start_response):
    """Run the script for one request, as a web server does (RFC 3875)."""
    variables = {name: value for name, value in environ.items() if isinstance(value, str) and name != "HTTP_PROXY"}
    body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    output = subprocess.run(  # noqa: S603 - the script beside this file
        [sys.executable, SCRIPT], input=body, env=os.environ | variables, stdout=subprocess.PIPE, check=True
    ).stdout
    head, _, page = output.partition(b"\n\n")
    headers = message_from_bytes(head)
    status = headers.get("Status", "200 OK")
    del headers["Status"]
    start_response(status, [*headers.items(), ("Content-Length", str(len(page)))])
    return [page]


def authorize(request):  # whom does the script's own session know?
    session = request.cookies.get("session", "")
    file = SESSIONS / session
    if not re.fullmatch("[0-9a-f]{32}", session) or not file.is_file():
        return None
    user = file.read_text()
    return Grant(user=user, dir=f"users/{user}/")


def save(upload):  # OSS stored a file, and the report is verified
    with (SESSIONS / "guestbook.txt").open("a") as book:
        book.write(f"{upload.object}, {upload.size} bytes\n")
    return {"name": upload.object}


application = DirectUpload(cgi, Settings.from_environ(os.environ), authorize=authorize, on_upload=save)
