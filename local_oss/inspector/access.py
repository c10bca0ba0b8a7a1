"""Access to the inspector, and the headers of objects that share its origin."""

from __future__ import annotations

import hmac
import ipaddress
import re
import secrets
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from oss_wsgi.explanations.text import sentences

from ..environ import host_name
from ..errors import Headers, Response

_HOST = re.compile(r"[a-z0-9.-]+(:[0-9]{1,5})?|\[[0-9a-f:.]+\](:[0-9]{1,5})?", re.IGNORECASE)
_NAME = "[A-Za-z0-9!#$&^_.+-]{1,127}"
_MEDIA_TYPE = re.compile(rf"({_NAME}/{_NAME})(?:[ \t]*;[ \t]*{_NAME}=(?:{_NAME}|\"{_NAME}\"))*")
#: Pictures that a browser shows and that run nothing.
PICTURES = frozenset(
    """
    image/apng image/avif image/bmp image/gif image/jpeg image/png image/vnd.microsoft.icon image/webp image/x-icon
    """.split()  # noqa: SIM905
)
#: Types that a browser shows without running anything in them.
_HARMLESS = PICTURES.union(
    """
    text/plain text/css text/csv application/json font/otf font/ttf font/woff font/woff2
    audio/aac audio/flac audio/mp4 audio/mpeg audio/ogg audio/wav audio/webm
    video/mp4 video/mpeg video/ogg video/quicktime video/webm
    """.split()  # noqa: SIM905
)
_ADVICE = "Open the inspector on this machine, at a loopback address."


class Access:
    """The rules of one inspector, and the token of its forms.

    :param everywhere: let other machines use it, at any IP address or at the host of its own URL.
    """

    def __init__(self, *, everywhere: bool = False) -> None:
        self.token = secrets.token_urlsafe(24)
        self._everywhere = everywhere

    def is_known_host(self, environ: Mapping[str, Any], own_url: str) -> bool:
        """Return whether the Host is a name or an address that no stranger's DNS can point to this server."""
        if not _HOST.fullmatch(str(environ.get("HTTP_HOST") or "localhost")):
            return False
        host = host_name(environ) if environ.get("HTTP_HOST") else "localhost"
        if host == "localhost" or host.endswith(".localhost"):
            return True
        try:
            return ipaddress.ip_address(host).is_loopback or self._everywhere
        except ValueError:
            return self._everywhere and host == (urlsplit(own_url).hostname or "")

    def is_near(self, environ: Mapping[str, Any]) -> bool:
        """Return whether the request comes from this machine, or from anywhere if that is allowed."""
        client = str(environ.get("REMOTE_ADDR", ""))
        try:
            address = ipaddress.ip_address(client.partition("%")[0])
        except ValueError:
            return self._everywhere or not client  # a call in this process has no address
        mapped = getattr(address, "ipv4_mapped", None) or address
        return self._everywhere or bool(mapped.is_loopback)

    def refusal(self, environ: Mapping[str, Any], own_url: str) -> tuple[int, str] | None:
        """Return the status and the sentence for a request that may not read; None for one that may."""
        if not self.is_known_host(environ, own_url):
            return 421, sentences("This Host is not the inspector's.", _ADVICE)
        if not self.is_near(environ):
            return 403, sentences("The inspector answers this machine only.", _ADVICE)
        origin, site = environ.get("HTTP_ORIGIN"), environ.get("HTTP_SEC_FETCH_SITE", "none")
        if origin is not None and not _is_own(str(origin), environ):
            return 403, "A page of another origin may not use the inspector."
        is_link = environ.get("HTTP_SEC_FETCH_MODE") == "navigate" and environ["REQUEST_METHOD"] == "GET"
        if site not in ("none", "same-origin") and not (is_link and environ.get("HTTP_SEC_FETCH_DEST") == "document"):
            return 403, "A page of another origin may not use the inspector."
        return None

    def is_token(self, token: str) -> bool:
        return hmac.compare_digest(token.encode(), self.token.encode())


def plain(status: int, text: str, headers: Headers | None = None) -> Response:
    """Return a line of plain text, which no other origin can read."""
    own = [("Content-Type", "text/plain; charset=utf-8"), ("Cache-Control", "no-store"), *SAFE]
    return Response(status, [*own, *(headers or [])], f"{text}\n".encode())


#: The headers of all answers of the inspector.
SAFE: Headers = [
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "same-origin"),  # with no-referrer our own forms would send `Origin: null`
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
]


def essence(content_type: str) -> str:
    """Return `type/subtype` in lower case; "" for a text that is not exactly one media type.

    Browsers guess the type of such a text: of `image/png,text/html` they take the last.
    """
    match = _MEDIA_TYPE.fullmatch(content_type)
    return match[1].lower() if match else ""


def object_headers(content_type: str) -> Headers:
    """Return headers that keep a browser from running an object; none for a type that browsers do not run.

    The headers give the object an origin of its own, which cannot touch the inspector's pages.
    """
    if essence(content_type) in _HARMLESS:
        return []
    return [("X-Content-Type-Options", "nosniff"), ("Content-Security-Policy", "sandbox")]


def _is_own(origin: str, environ: Mapping[str, Any]) -> bool:
    return urlsplit(origin).netloc.lower() == str(environ.get("HTTP_HOST", "")).lower() != ""
