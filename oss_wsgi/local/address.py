"""Which bucket and which object a request means, in the path or in the Host."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from .errors import OSSError

_NONE: Mapping[str, str] = MappingProxyType({})
_ENDPOINT = re.compile(r"oss-[a-z0-9-]+\.aliyuncs\.com")


@dataclass(frozen=True)
class Address:
    """`bucket` is None for the service itself: the root of a path-style host."""

    bucket: str | None
    key: str


def locate(
    environ: Mapping[str, Any], is_bucket: Callable[[str], bool], service_host: str, cnames: Mapping[str, str] = _NONE
) -> Address:
    """OSS takes the bucket from a Host that is bound to one (`cnames`), or from the first label of the Host.

    An IP address, a bare name such as localhost, an endpoint of OSS and `service_host` (our own URL's) have none:
    there, and wherever the first segment of the path is a bucket and the label is none, it comes from the path.
    """
    try:
        path = environ.get("PATH_INFO", "").encode("latin-1").decode().removeprefix("/")
    except UnicodeError:
        raise OSSError(400, "InvalidObjectName", "The specified object is not valid.") from None
    host = host_name(environ)
    label = host.partition(".")[0]
    by_path = host == service_host or _names_no_bucket(host)
    bound = cnames.get(host) or (label if not by_path and is_bucket(label) else None)
    if bound:
        # A form goes to the root of a bucket's host; some clients name the bucket in the path as well.
        return Address(bound, "" if environ["REQUEST_METHOD"] == "POST" and path.rstrip("/") == bound else path)
    segment, _, key = path.partition("/")
    if by_path or is_bucket(segment):
        return Address(segment or None, key)
    return Address(label, path)


def named_twice(address: Address) -> Address | None:
    """What a client means that names the bucket in the Host and in the path, as ali-oss does for an IP address."""
    bucket, _, key = address.key.partition("/")
    return Address(bucket, key) if bucket and bucket == address.bucket else None


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
