"""One callback URL: its parts as sent, and whether OSS may call its address (P§7.1)."""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

from ..errors import OSSError, invalid_argument

_URL = re.compile(r"(?:(https?)://)?([A-Za-z0-9._-]+)(?::([0-9]{1,5}))?(/[^?#]*)?(?:\?([^#]*))?", re.IGNORECASE)
_OUTSIDE_A_URL = re.compile(r"[^!-~]")


@dataclass(frozen=True)
class CallbackURL:
    scheme: str
    host: str
    port: int
    netloc: str
    path: str
    query: str

    @property
    def target(self) -> str:
        """The request target, raw; a bare `?` counts as no query (P§14.9)."""
        return f"{self.path}?{self.query}" if self.query else self.path

    def string_to_sign(self, body: bytes) -> bytes:
        """P§8.2: the path percent-decoded, `+` kept; query and body as they are sent."""
        query = f"?{self.query}" if self.query else ""
        return unquote_to_bytes(self.path) + query.encode() + b"\n" + body


def parse_callback_url(text: str) -> CallbackURL:
    match = _URL.fullmatch(text.strip())
    if not match or _OUTSIDE_A_URL.search(text.strip()):
        raise _invalid(text)
    scheme = (match[1] or "http").lower()
    port = int(match[3]) if match[3] else {"http": 80, "https": 443}[scheme]
    if not 0 < port < 65536:
        raise _invalid(text)
    netloc = match[2] + (f":{match[3]}" if match[3] else "")
    return CallbackURL(scheme, match[2], port, netloc, match[4] or "/", match[5] or "")


def resolve(host: str) -> list[str]:
    """The IPv4 addresses of a host; OSS calls no others."""
    found = socket.getaddrinfo(host, None, socket.AF_INET, socket.SOCK_STREAM)
    return [str(address[4][0]) for address in found]


def check_address(url: CallbackURL, *, allow_private: bool, resolve: Callable[[str], list[str]] | None) -> None:
    """Raises OSSError for a host without an address, or with a private one; without `resolve` nothing is looked up."""
    try:
        addresses = resolve(url.host) if resolve else [url.host]
    except (OSError, UnicodeError):
        message = "Can not get ip by this host."
        raise invalid_argument(message, "0007-00000007", name="callbackUrl", value=url.host) from None
    if not allow_private and any(_is_private(address) for address in addresses):
        message = "Private address is forbidden to callback."
        raise invalid_argument(message, "0007-00000008", name="callbackUrl", value=url.host)


def _is_private(address: str) -> bool:
    try:
        return not ipaddress.ip_address(address).is_global
    except ValueError:
        return address == "localhost" or address.endswith(".localhost")


def _invalid(text: str) -> OSSError:
    message = "The callback url configuration is invalid."
    return invalid_argument(message, "0007-00000004", name="callbackUrl", value=text)
