"""Which bucket and which object a request means, in the path or in the Host."""

from __future__ import annotations

import ipaddress
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from .errors import OSSError

_ENDPOINT = re.compile(r"oss-[a-z0-9-]+\.aliyuncs\.com")


@dataclass(frozen=True)
class Address:
    """`bucket` is None for the service itself."""

    bucket: str | None
    key: str


SERVICE = Address(None, "")


@dataclass(frozen=True)
class Names:
    """By what names the buckets are known.

    :param default: the bucket of a request that names none.
    :param service_host: of our own URL.
    :param cnames: hosts that are bound to a bucket.
    """

    default: str
    is_bucket: Callable[[str], bool]
    service_host: str
    cnames: Mapping[str, str]

    def bucket_of_host(self, environ: Mapping[str, Any]) -> str | None:
        """The bucket that a Host is bound to, or its first label: of a bucket's name, or below an endpoint.

        An IP address, a bare name such as localhost, an endpoint of OSS and our own host name none.
        """
        host = host_name(environ)
        if host in self.cnames:
            return self.cnames[host]
        label, parent = self._label(host)
        if not label:
            return None
        below = parent in ("localhost", self.service_host) or bool(_ENDPOINT.fullmatch(parent))
        return label if below or self.is_bucket(label) else None

    def readings(self, environ: Mapping[str, Any]) -> list[Address]:
        """All that a request may mean, of which its signature fits one; first what a stranger means.

        That is the bucket of the Host, else that of the path where there is one, else the default bucket. But the root
        is the service's to read, and a form is posted to the bucket that its path names.
        """
        path, method = _path(environ), _method(environ)
        segment, _, key = path.partition("/")
        in_host, (label, _) = self.bucket_of_host(environ), self._label(host_name(environ))
        in_path, default = Address(segment, key), Address(self.default, path)
        if in_host:
            # A form goes to the root of a bucket's host; some clients name the bucket in the path as well.
            first = Address(in_host, "" if method == "POST" and path.rstrip("/") == in_host else path)
        elif segment and (method == "POST" or self.is_bucket(segment)):
            first = in_path
        elif not path and method in ("GET", "HEAD"):
            first = SERVICE
        else:
            first = default
        found = [first, default]
        if segment:
            found.append(in_path)
        if label:
            found.append(Address(label, path))
        if not path:
            found.append(SERVICE)
        return list(dict.fromkeys(found))

    def whole_path(self, environ: Mapping[str, Any], bucket: str) -> Address:
        """The path as a key of a bucket."""
        return Address(bucket, _path(environ))

    def _label(self, host: str) -> tuple[str, str]:
        """The first label of a Host and what follows it; both empty where the whole is a name of the service."""
        label, _, parent = host.partition(".")
        return ("", "") if host == self.service_host or _names_no_bucket(host) else (label, parent)


def host_name(environ: Mapping[str, Any]) -> str:
    host = str(environ.get("HTTP_HOST") or environ.get("SERVER_NAME", "")).lower()
    if host.startswith("["):
        return host.partition("]")[0][1:]
    return host.partition(":")[0]


def _names_no_bucket(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return "." not in host or host.startswith(".") or bool(_ENDPOINT.fullmatch(host))
    return True


def _path(environ: Mapping[str, Any]) -> str:
    try:
        return str(environ.get("PATH_INFO", "")).encode("latin-1").decode().removeprefix("/")
    except UnicodeError:
        raise OSSError(400, "InvalidObjectName", "The specified object is not valid.") from None


def _method(environ: Mapping[str, Any]) -> str:
    """A preflight means what the request after it will."""
    method = str(environ["REQUEST_METHOD"])
    return str(environ.get("HTTP_ACCESS_CONTROL_REQUEST_METHOD", method)) if method == "OPTIONS" else method


#: in the environ: what time.monotonic() was
ARRIVED = "oss_wsgi.local.arrived"


def arrival(environ: Mapping[str, Any], now: float) -> float:
    """By the clock that says `now`, which may be a test's own; now, where the server noted nothing."""
    noted = environ.get(ARRIVED)
    return now if noted is None else now - (time.monotonic() - noted)
