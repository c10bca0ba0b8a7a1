"""A recorded request as a line for curl."""

from __future__ import annotations

import shlex

from .exchange import Exchange
from .masks import HIDDEN, masked

#: Headers that curl makes itself, or that belong to the connection.
_OWN = ("host", "content-length", "connection", "accept-encoding", "cookie", "user-agent", "accept", "expect")


def curl_line(exchange: Exchange) -> str:
    """Return the command, without security tokens; a file comes from the folder of the person who runs it."""
    words = ["curl", "-i"]
    if exchange.method == "HEAD":
        words[1] = "-I"
    elif exchange.fields is None and exchange.method != "GET":
        words += ["-X", exchange.method]
    headers = [(name, value) for name, value in exchange.headers if name not in _OWN and not name.startswith("sec-")]
    if exchange.fields is not None:
        headers = [(name, value) for name, value in headers if name != "content-type"]
    for name, value in headers:
        words += ["-H", f"{name}: {masked(value, name)}"]
    if exchange.fields is not None:
        for name, value in exchange.fields.items():
            shown = masked(value, name)
            words += ["--form-string", f"{name}={shown}"]
        file = f'file=@"{_quoted(exchange.file_name.rpartition("/")[2] or "FILE")}"'
        words += ["-F", f"{file};type={exchange.file_type}" if exchange.file_type else file]
    elif exchange.method == "PUT" and not exchange.header("x-oss-copy-source"):
        words += ["--data-binary", "@" + (exchange.key.rpartition("/")[2] or "FILE")]
    target = masked(exchange.target)
    words.append(f"{exchange.base_url}{target}")
    line = " ".join(map(shlex.quote, words))
    return f"# {HIDDEN} stands for a secret that is not shown.\n{line}" if HIDDEN in line else line


def _quoted(name: str) -> str:
    return name.replace("\\", "\\\\").replace('"', '\\"')
