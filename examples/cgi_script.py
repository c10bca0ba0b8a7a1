"""An old CGI script, `guestbook.cgi`, with uploads that its own login allows.

    oss-wsgi serve --app cgi_script:application --reload

Log in as eric with the password wonderland, and choose a file: it goes to a local OSS until OSS_BUCKET is set.
"""

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from oss_wsgi import DirectUpload, Grant, Settings

SCRIPT = Path(__file__).with_name("guestbook.cgi")
#: What the script sees of this process's environment. OSS_... are secrets, and not for it.
PASSED = ["PATH", "LANG", "TZ", "APP_SESSIONS", "APP_PASSWORD"]
SESSIONS = SCRIPT.parent / (os.environ.get("APP_SESSIONS") or "sessions")


def cgi(environ, start_response):
    """Run the script for one request, as a web server does (RFC 3875)."""
    length = int(environ.get("CONTENT_LENGTH") or 0)
    with tempfile.TemporaryFile() as body:  # a form may be larger than memory
        while piece := environ["wsgi.input"].read(min(length - body.tell(), 65536)):
            body.write(piece)
        body.seek(0)
        process = subprocess.run(  # noqa: S603 - the script beside this file
            [sys.executable, SCRIPT],
            stdin=body,
            env=variables(environ),
            cwd=SCRIPT.parent,
            stdout=subprocess.PIPE,
            check=True,
        )
    head, page, *_ = *re.split(rb"\r?\n\r?\n", process.stdout, maxsplit=1), b""
    pairs = [line.partition(":")[::2] for line in head.decode("latin-1").splitlines()]
    headers = [(name, value.strip()) for name, value in pairs if name.lower() not in ("status", "content-length")]
    status = "302 Found" if any(name.lower() == "location" for name, _ in headers) else "200 OK"
    status = next((value.strip() for name, value in pairs if name.lower() == "status"), status)
    start_response(status, [*headers, ("Content-Length", str(len(page)))])
    return [page]


def variables(environ):
    """Return the environment that a web server gives a CGI script (RFC 3875 section 4.1)."""
    own = {name: os.environ[name] for name in PASSED if name in os.environ}
    request = {
        name: value.encode("latin-1")  # the bytes of the request, as PEP 3333 keeps them
        for name, value in environ.items()
        if name.isupper() and name != "HTTP_PROXY" and not name.startswith("OSS_") and isinstance(value, str)
    }
    fixed = {
        "GATEWAY_INTERFACE": "CGI/1.1",
        "SERVER_SOFTWARE": "oss_wsgi",
        "SERVER_NAME": re.sub(r":[0-9]*$", "", environ.get("HTTP_HOST") or environ["SERVER_NAME"]),
        "SCRIPT_FILENAME": SCRIPT,
        "DOCUMENT_ROOT": SCRIPT.parent,
    }
    return {**own, **request, **fixed}


def authorize(request):  # whom does the script's own session know?
    session = request.cookies.get("session", "")
    file = SESSIONS / session
    if not re.fullmatch("[0-9a-f]{32}", session) or not file.is_file():
        return None
    user = file.read_text()
    return Grant(user=user, dir=f"users/{user}/")


def save(upload):  # OSS stored a file, and the callback is verified
    with (SESSIONS / "guestbook.txt").open("a") as book:
        book.write(f"{upload.object}, {upload.size} bytes\n")
    return {"name": upload.object}


application = DirectUpload(cgi, Settings.from_environ(os.environ), authorize=authorize, on_upload=save)
