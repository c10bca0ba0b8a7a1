"""Which bucket and which object a request means, in the path or in the Host."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .errors import OSSError


@dataclass(frozen=True)
class Address:
    """`bucket` is None for the service itself: the root of a path-style host."""

    bucket: str | None
    key: str


def locate(environ: Mapping[str, Any], bucket: str, service_host: str) -> Address:
    """OSS takes the bucket from the first label of the Host.

    An IP address, a bare name such as localhost and `service_host` (our own URL's) have none: there, and wherever the
    first segment of the path is our bucket, it comes from the path.
    """
    try:
        path = environ.get("PATH_INFO", "").encode("latin-1").decode().removeprefix("/")
    except UnicodeError:
        raise OSSError(400, "InvalidObjectName", "The specified object is not valid.") from None
    host = host_name(environ)
    label = host.partition(".")[0]
    if label == bucket and host != service_host:
        # A form goes to the root of a bucket's host; some clients name the bucket in the path as well.
        return Address(bucket, "" if environ["REQUEST_METHOD"] == "POST" and path.rstrip("/") == bucket else path)
    segment, _, key = path.partition("/")
    if segment == bucket or host == service_host or _names_no_bucket(host):
        return Address(segment or None, key)
    return Address(label, path)


def host_name(environ: Mapping[str, Any]) -> str:
    host = str(environ.get("HTTP_HOST") or environ.get("SERVER_NAME", "")).lower()
    if host.startswith("["):
        return host.partition("]")[0][1:]
    return host.partition(":")[0]


def _names_no_bucket(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return "." not in host
    return True
