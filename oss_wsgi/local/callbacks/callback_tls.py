"""TLS to the application, with the host's name in the handshake or without it, as `callbackSNI` says (P§7.1)."""

from __future__ import annotations

import ipaddress
import socket
import ssl
from collections.abc import Mapping
from typing import Any


def secured(connection: socket.socket, host: str, context: ssl.SSLContext, *, sni: bool) -> ssl.SSLSocket:
    """Raises OSError unless the certificate is `host`'s and somebody vouches for it."""
    if sni or _is_address(host):  # of an address Python sends nothing
        return context.wrap_socket(connection, server_hostname=host)
    # Python compares names only with the one that it sends.
    context.check_hostname = False
    wrapped = context.wrap_socket(connection)
    if not is_certificate_of(host, wrapped.getpeercert() or {}):
        wrapped.close()
        raise ssl.SSLCertVerificationError(f"the certificate is not of {host}")
    return wrapped


def is_certificate_of(host: str, certificate: Mapping[str, Any]) -> bool:
    """A `*` stands for the whole first label, and for nothing else."""
    host = host.lower()
    names = {value.lower() for kind, value in certificate.get("subjectAltName", ()) if kind == "DNS"}
    return host in names or f"*.{host.partition('.')[2]}" in names


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
