"""A recorded request as a line for curl, in sh, bash, zsh and fish.

Anybody can have a request recorded, and a developer pastes the line into a shell. So the line holds only values that
are plain text to a terminal, a shell and curl. Files have a fixed name, and the address is the one at which the
developer opened the inspector.
"""

from __future__ import annotations

import re
from urllib.parse import quote, unquote

from .exchange import Exchange
from .masks import HIDDEN, masked

#: The name of the file that curl sends, in the current folder.
FILE = "FILE"

#: Headers that curl makes itself, or that belong to the connection.
_OWN = frozenset(
    """
    host content-length connection accept-encoding cookie user-agent accept expect transfer-encoding te trailer upgrade
    keep-alive
    """.split()  # noqa: SIM905
)
_METHOD = re.compile("[A-Z]{1,20}")
#: Names that curl takes literally in `--form-string NAME=VALUE` and in `-H NAME: VALUE`.
_NAME = re.compile("[A-Za-z0-9][A-Za-z0-9:._-]*")
#: The value of `type=`: after a `;` curl would read another option, and one of those names a file.
_MEDIA_TYPE = re.compile("[A-Za-z0-9][A-Za-z0-9.+_-]*/[A-Za-z0-9][A-Za-z0-9.+_-]*")
_PLAIN_WORD = re.compile("[A-Za-z0-9@%+=:,./_-]+")
#: Characters to percent-encode in a URL: all except printable ASCII and the mark of a hidden token.
_NOT_IN_URL = re.compile(f"[^!-~{HIDDEN}]")


def curl_line(exchange: Exchange, address: str) -> str:
    """Return the command, without security tokens, after comments that say what the command lacks.

    :param address: scheme, host and port to send the request to.
    """
    words = ["curl", "-i"]
    left_out = len(exchange.left_out)
    is_form = exchange.fields is not None
    if exchange.method == "HEAD":
        words[1] = "-I"
    elif not is_form and exchange.method != "GET":
        if _METHOD.fullmatch(exchange.method):
            words += ["-X", exchange.method]
        else:
            left_out += 1
    own = _OWN | {"content-type"} if is_form else _OWN
    for name, value in exchange.headers:
        if name in own or name.startswith(("sec-", "proxy-")):
            continue
        if _is_text(name, value):
            words += ["-H", f"{name}: {masked(value, name)}" if value else f"{name};"]
        else:
            left_out += 1
    for name, value in (exchange.fields or {}).items():
        if _is_text(name, value):
            words += ["--form-string", f"{name}={masked(value, name)}"]
        else:
            left_out += 1
    if is_form:
        has_type = bool(_MEDIA_TYPE.fullmatch(exchange.file_type))
        left_out += bool(exchange.file_type) and not has_type
        words += ["-F", f"file=@{FILE};type={exchange.file_type}" if has_type else f"file=@{FILE}"]
    elif exchange.method == "PUT" and not (
        exchange.header("x-oss-copy-source") or exchange.header("x-amz-copy-source")
    ):
        words += ["--data-binary", f"@{FILE}"]
    target = _NOT_IN_URL.sub(lambda match: quote(match[0].encode("latin-1", "replace")), masked(_target(exchange)))
    words += ["--globoff"] if re.search(r"[][{}]", target) else []  # else curl requests several URLs
    words += ["--path-as-is"] if "/." in target else []
    line = " ".join(map(_quoted, [*words, address + target]))
    comments = []
    if HIDDEN in line:
        comments.append(f"# {HIDDEN} stands for a secret that is not shown.")
    if left_out:
        comments.append(f"# Left out: {left_out} of the values, too long, or more than text to a shell or to curl.")
    return "\n".join([*comments, line])


def _is_text(name: str, value: str) -> bool:
    """Return whether a value is only text, without characters that control a terminal or reverse the text."""
    return bool(_NAME.fullmatch(name)) and value.isprintable()


def _target(exchange: Exchange) -> str:
    """Return path and query; the path names the bucket, even if the request's host named it."""
    path, mark, query = exchange.target.partition("?")
    if exchange.fields is not None and exchange.bucket:
        path = f"/{quote(exchange.bucket)}"
    elif exchange.bucket and unquote(path.replace("+", " ")).removeprefix("/") == exchange.key:
        path = f"/{quote(exchange.bucket)}{path}"
    # A target that does not begin with a slash, such as `@host/`, would change the host.
    return path + mark + query if path.startswith("/") else f"/{path}{mark}{query}"


def _quoted(word: str) -> str:
    """Return a word for a POSIX shell and fish: outside the quotes both read a backslash in the same way."""
    return word if _PLAIN_WORD.fullmatch(word) else "'" + re.sub(r"['\\]", r"'\\\g<0>'", word) + "'"
