"""OSS's rules for a callback URL, and the request target that it signs for one."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from ..explanations.text import Text

MAX_URLS = 5

_CHARACTERS = re.compile(r"[A-Za-z0-9\-._~:/?#\[\]@!$&'()*+,;=%]*")
_HOST_NAME = re.compile(r"[a-z0-9_]([a-z0-9._-]*[a-z0-9_])?")
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")


def split_urls(text: str) -> list[str]:
    """Split a ``callbackUrl`` value, in which up to five URLs are joined by semicolons."""
    return [url.strip() for url in text.split(";")]


def callback_url_problems(text: str) -> list[str]:
    """Return a sentence for each part of a ``callbackUrl`` that OSS cannot handle or sign (protocol.md 7.1)."""
    urls = split_urls(text)
    problems: list[str] = [Text(problem, repr(without_password(url))) for url in urls for problem in _url_problems(url)]
    if len(urls) > MAX_URLS:
        problems.append(Text("{1} URLs are joined by ';': OSS takes {2} at most.", len(urls), MAX_URLS))
    return problems


def without_password(url: str) -> str:
    """Return a URL that may be shown: without user and password, which stand before an ``@``."""
    scheme, slashes, rest = url.partition("//")
    _, at, host = rest.rpartition("@")
    return f"{scheme}{slashes}...{at}{host}" if at else url


def target_of(url: str) -> str:
    """Return the request target, path and query as written, that OSS sends and signs for a URL (protocol.md 8.2)."""
    parts = urlsplit(url)
    return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


def _url_problems(url: str) -> list[str]:
    """Return templates with a place for the URL."""
    if not _CHARACTERS.fullmatch(url):
        return ["{1} has a character that a URL cannot hold: percent-encode blanks and non-ASCII."]
    if _BAD_ESCAPE.search(url):
        return ["{1} has a '%' without two hex digits after it."]
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return ["{1} is not a URL: write it as https://HOST[:PORT]/PATH, with a port from 1 to 65535."]
    problems = []
    if parts.scheme not in ("http", "https") or not parts.hostname:
        problems.append("{1} must begin with http:// or https:// and name a host.")
    if "[" in parts.netloc:
        problems.append("{1} names an IPv6 address, which OSS does not call: use a host name or IPv4.")
    elif parts.hostname and not _HOST_NAME.fullmatch(parts.hostname):
        problems.append("{1} must name its host with letters, digits, hyphens and dots.")
    if port == 0 or parts.netloc.endswith(":"):
        problems.append("{1} must have a port from 1 to 65535, or none.")
    if "@" in parts.netloc:
        problems.append("{1} must not hold a user name or password.")
    if "#" in url:
        problems.append("{1} has a fragment, which is never sent: remove '#' and what follows.")
    elif url.endswith("?") and url.count("?") == 1:
        problems.append("{1} ends in a bare '?', and it is not known how OSS signs that: remove it.")
    return problems
