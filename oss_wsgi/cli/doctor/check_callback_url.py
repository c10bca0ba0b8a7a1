"""The check of `doctor` that holds OSS_CALLBACK_URL against OSS's rules."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterator
from urllib.parse import urlsplit

from ...callback.url import problems, split_urls
from .context import Examination, Finding, green, is_private, red, yellow


def callback_url(case: Examination) -> Iterator[Finding]:
    """OSS's rules for the URL: at most five, http or https, no IPv6, a public address; SNI."""
    text = case.environ.get("OSS_CALLBACK_URL", "").strip()
    if not text:
        yield yellow("OSS_CALLBACK_URL is not set", "Set it to the public URL of the callback endpoint.")
        return
    found = problems(text)
    for problem in found:
        yield red(problem, "Change OSS_CALLBACK_URL.")
    if found:
        return
    for url in split_urls(text):
        yield _address(url, stand_in=case.stand_in)


def _address(url: str, *, stand_in: bool) -> Finding:
    parts = urlsplit(url)
    try:
        addresses = {str(entry[4][0]) for entry in socket.getaddrinfo(parts.hostname, None, type=socket.SOCK_STREAM)}
    except (OSError, UnicodeError):  # the latter of a name that cannot be one
        return red(f"{parts.hostname} has no address", "Publish the name in the public DNS.")
    fours = [address for address in addresses if ":" not in address]
    if not fours:
        return red(f"{parts.hostname} has an IPv6 address alone, which OSS does not call", "Give it an IPv4 address.")
    private = [address for address in fours if is_private(address)]
    if private and not stand_in:
        return red(
            f"{parts.hostname} is {private[0]}, no public address, and OSS calls no other",
            "Use a public name, or a tunnel while you develop.",
        )
    if parts.scheme == "https" and _is_address(parts.hostname or ""):
        return yellow(
            f"{url} names an address: TLS has no name to send then (SNI), and few certificates are for addresses",
            "Use a host name.",
        )
    if parts.scheme == "https":
        return green(f"{url}: OSS will send the name in the TLS handshake (SNI)")
    if private:
        return green(f"{url}: a private address, which the local OSS calls")
    return yellow(f"{url} is http: anybody on the way reads the reports", "Use https.")


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
