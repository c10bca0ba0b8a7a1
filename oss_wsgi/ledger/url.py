"""The ledger that OSS_LEDGER names: a SQLite file, or a database or Redis by its URL."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from ..exceptions import SettingsError
from ..explanations.text import Text
from .base import Ledger

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_WITHOUT_SCHEME = re.compile(r"[^/\\\s@]+:[^/\\\s]*@")
_REDIS = {"redis", "rediss", "valkey", "valkeys"}
_SQL = {"postgresql": "postgresql", "postgres": "postgresql", "mysql": "mysql", "mariadb": "mysql"}
_EXPECTED = "a path, or a URL that begins with postgresql://, mysql://, redis:// or rediss://"


def is_url(text: str) -> bool:
    """Return whether a text is a ledger's URL; otherwise it is a file's path."""
    return _SCHEME.match(text) is not None


def check_ledger(text: str) -> None:
    """Raise ValueError, with neither user nor password, for a text that names no ledger."""
    match = _SCHEME.match(text)
    if match is None:
        if _WITHOUT_SCHEME.match(text):  # a path would be shown, password included
            raise ValueError(
                f"must be {_EXPECTED}, not one without its beginning; for a file of this name write ./ before it"
            )
        return
    kind = match[1].lower().partition("+")[0]
    if kind not in _REDIS and kind not in _SQL:
        raise ValueError(f"must be {_EXPECTED}, not one that begins with {match[0]}")
    try:
        parts = urlsplit(text)
        parts.port  # noqa: B018
        names = [item.partition("=")[0] for item in parts.query.split("&")]
        if any("@" in each for each in (parts.path, parts.fragment, *names)):
            raise ValueError("a password with /, ? or #")
        if kind in _SQL and parts.netloc.count("@") > 1:
            raise ValueError("a password with @")
    except ValueError:
        raise ValueError(
            "must have a host and a port that can be read; percent-encode each character of the password that is not "
            "a letter or digit"
        ) from None
    if kind in _SQL and not parts.path.strip("/"):
        raise ValueError(f"must name the database, as in {match[0]}USER:PASSWORD@HOST/DATABASE")


def passwords_in(text: str) -> list[str]:
    """Return the password in a ledger's URL, as written and decoded, so that a log can mask both."""
    if not is_url(text):
        return []
    authority = re.split("[/?#]", text.partition("://")[2])[0]
    written = authority.rpartition("@")[0].partition(":")[2]
    query = text.partition("?")[2]
    found = [written, *(value for name, value in parse_qsl(query) if "passw" in name.lower())]
    return list(dict.fromkeys(form for value in found for form in (value, unquote(value)) if form))


def shown(text: str) -> str:
    """Return a ledger's path, or its URL without user, password and query; only the scheme if no ledger has the URL."""
    try:
        check_ledger(text)
    except ValueError:
        return f"{text.partition('://')[0]}://..." if is_url(text) else "..."
    if not is_url(text):
        return text
    parts = urlsplit(text)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def ledger_from(text: str, *, clock: Callable[[], float], threads: int | None = None, **options: Any) -> Ledger:
    """Open the ledger that a path or a URL names.

    Raises SettingsError, which shows no password, for a ledger that cannot be used or a driver that is not installed.

    :param clock: returns Unix seconds.
    :param threads: how many threads use the ledger.
    :param options: further options of the ledger's class, such as ``wait_timeout``.
    """
    try:
        check_ledger(text)
    except ValueError as error:
        raise SettingsError(Text("OSS_LEDGER {1}.", error)) from None
    match = _SCHEME.match(text)
    if match is None:
        from .sqlite import SQLiteLedger  # imported here because SQLite takes a megabyte

        return SQLiteLedger(text, clock=clock, **options)
    kind = match[1].lower().partition("+")[0]
    if kind in _REDIS:
        from .redis import RedisLedger

        return RedisLedger(text, clock=clock, **options)
    try:
        from .sql import DEFAULT_THREADS, SQLLedger
    except ModuleNotFoundError as error:
        name = (error.name or "a package").partition(".")[0]
        fix = f"pip install 'oss-wsgi[{_SQL[kind]}]'"
        raise SettingsError(Text("OSS_LEDGER={1} needs {2}: {3}.", shown(text), name, fix)) from None
    return SQLLedger(text, clock=clock, threads=threads or DEFAULT_THREADS, **options)
