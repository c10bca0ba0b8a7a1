#!/usr/bin/env python3
"""A CGI script in the style of 2005, with a login of its own. `cgi_script.py` adds uploads to it."""

import html
import os
import re
import secrets
import sys
from pathlib import Path
from urllib.parse import parse_qs

SESSIONS = Path(os.environ.get("APP_SESSIONS") or "sessions")
BOOK = SESSIONS / "guestbook.txt"
PASSWORD = os.environ.get("APP_PASSWORD") or "wonderland"

SESSIONS.mkdir(mode=0o700, exist_ok=True)
if os.environ["REQUEST_METHOD"] == "POST":
    form = parse_qs(sys.stdin.read(int(os.environ.get("CONTENT_LENGTH") or 0)))
    print("Status: 303 See Other\nLocation: /")
    if form.get("user") == ["eric"] and secrets.compare_digest(form.get("password", [""])[0], PASSWORD):
        session = secrets.token_hex(16)
        (SESSIONS / session).write_text("eric")
        print(f"Set-Cookie: session={session}; Path=/; HttpOnly; SameSite=Lax")
    print()
    sys.exit()

cookie = re.search(r"\bsession=([0-9a-f]{32})\b", os.environ.get("HTTP_COOKIE", ""))
is_known = cookie and (SESSIONS / cookie[1]).is_file()
print("Content-Type: text/html; charset=utf-8\n")
print("<!doctype html><title>Guest book</title>")
if is_known:
    print("<p>Hello eric.</p>")
    print('<input type="file" id="file" data-oss-upload>')
    print('<output for="file"></output>')
    print('<script type="module" src="/oss/upload.js"></script>')
else:
    print('<form method="post"><input name="user"><input name="password" type="password"><button>Log in</button></form>')
print("<ul>", *(f"<li>{html.escape(line)}" for line in (BOOK.read_text().splitlines() if BOOK.exists() else [])), "</ul>")
