"""The bucket and the object that a request's environ names, and the time at which the request arrived."""

from __future__ import annotations

import ipaddress
import re
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import timezone
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import unquote_to_bytes

from oss_wsgi.threads import cached_property

from .errors import OSSError

#: The environ key for the value of time.monotonic() when the request arrived.
ARRIVED = "local_oss.arrived"

#: Clients of S3 use the second of its forms.
_ENDPOINT = re.compile(r"(?:s3\.)?oss-[a-z0-9-]+\.aliyuncs\.com")
_BUCKET_NAME = re.compile("[a-z0-9][a-z0-9-]{1,61}[a-z0-9]")


@dataclass(frozen=True)
class Address:
    """A bucket and a key in it; `bucket` is None for the service itself, `key` is "" for the bucket itself."""

    bucket: str | None
    key: str


SERVICE = Address(None, "")


@dataclass(frozen=True)
class BucketResolver:
    """Finds the address of a request in its Host and its path.

    :param default: the bucket of a request that names none.
    :param service_host: the host name of this service's own URL.
    :param cnames: the host names that are bound to a bucket.
    :param is_s3: a client of S3 asks, which always names a bucket, and whose signature covers no other address.
    """

    environ: dict[str, Any]
    default: str
    buckets: Collection[str]
    service_host: str
    cnames: Mapping[str, str]
    is_s3: bool = False

    @cached_property
    def candidates(self) -> list[Address]:
        """Every address that the request may mean; its signature fits one of them.

        The first is the address of an unsigned request: the bucket that the Host names, else the one that the path
        names if it exists, else the default bucket. Two cases differ: a GET of the root means the service, and a form
        means the bucket in its path even if there is no such bucket.

        :raises OSSError: the path is not UTF-8.
        """
        path, method = self._path, _method(self.environ)
        segment, _, key = path.partition("/")
        in_path, in_default = Address(segment, key), Address(self.default, path)
        if self.is_s3:
            return [Address(self.bucket_of_host, path) if self.bucket_of_host else in_path if path else SERVICE]
        if self.bucket_of_host:
            # A form goes to the root of a bucket's host; some clients name the bucket in the path as well.
            is_named_twice = method == "POST" and path.rstrip("/") == self.bucket_of_host
            first = Address(self.bucket_of_host, "" if is_named_twice else path)
        elif segment and (method == "POST" or segment in self.buckets):
            first = in_path
        elif not path and method in ("GET", "HEAD"):
            first = SERVICE
        else:
            first = in_default
        addresses = [first, in_default]
        if segment:
            addresses.append(in_path)
        if self._labels[0]:
            addresses.append(Address(self._labels[0], path))
        if not path:
            addresses.append(SERVICE)
        return list(dict.fromkeys(addresses))

    @cached_property
    def bucket_of_host(self) -> str | None:
        """The bucket that the Host is bound to, or its first label if that names a bucket.

        The first label counts below an endpoint, below this service's own host name, and wherever a bucket has that
        name. No bucket belongs to an IP address, a bare name such as localhost, an OSS endpoint or this service's host.
        """
        host = host_name(self.environ)
        if host in self.cnames:
            return self.cnames[host]
        label, parent = self._labels
        if not label:
            return None
        below_endpoint = parent in ("localhost", self.service_host) or bool(_ENDPOINT.fullmatch(parent))
        return label if below_endpoint or label in self.buckets else None

    def names(self, address: Address) -> bool:
        """Return whether the request names the bucket of this address, in the Host or the path."""
        return bool(self.bucket_of_host) or Address(address.bucket or "", self._path) != address

    def in_each_bucket(self) -> list[Address]:
        """Return the path as a key of each bucket, for requests that name no bucket at all.

        ali-oss sends such requests to an endpoint that is an IP address; only their signature names the bucket.
        """
        return [] if self.bucket_of_host or self.is_s3 else [Address(name, self._path) for name in self.buckets]

    @cached_property
    def _path(self) -> str:
        try:
            path = str(self.environ.get("PATH_INFO", "")) if self.is_s3 else _with_blanks(self.environ)
            return path.encode("latin-1").decode().removeprefix("/")
        except UnicodeError:
            raise OSSError(400, "InvalidObjectName", "The specified object is not valid.") from None

    @cached_property
    def _labels(self) -> tuple[str, str]:
        """The first label of the Host and the rest, both empty if the whole host is a name of the service."""
        host = host_name(self.environ)
        label, _, parent = host.partition(".")
        return ("", "") if host == self.service_host or _names_no_bucket(host) else (label, parent)


def is_bucket_name(name: str) -> bool:
    return bool(_BUCKET_NAME.fullmatch(name))


def host_name(environ: Mapping[str, Any]) -> str:
    """Return the Host in lower case, without port and brackets."""
    host = str(environ.get("HTTP_HOST") or environ.get("SERVER_NAME", "")).lower()
    if host.startswith("["):
        return host.partition("]")[0][1:]
    return host.partition(":")[0]


def is_endpoint(environ: Mapping[str, Any]) -> bool:
    """Return whether the Host is an endpoint of OSS, oss-REGION.aliyuncs.com, which names no bucket."""
    return bool(_ENDPOINT.fullmatch(host_name(environ)))


def default_domain(environ: Mapping[str, Any]) -> str:
    """Return the Host if it is a bucket's public default domain, BUCKET.oss-REGION.aliyuncs.com; else ""."""
    host = host_name(environ)
    endpoint = host.partition(".")[2]
    return host if _ENDPOINT.fullmatch(endpoint) and not endpoint.endswith("-internal.aliyuncs.com") else ""


def arrival(environ: Mapping[str, Any], now: float) -> float:
    """Return the time of arrival, on the clock that now reads `now` (a test has a clock of its own).

    Return `now` if the server noted no arrival in `environ`.
    """
    arrived = environ.get(ARRIVED)
    return now if arrived is None else now - (time.monotonic() - arrived)


def http_time(text: str) -> float | None:
    """Return the Unix seconds of a date in a header; None if it is not a date."""
    try:
        moment = parsedate_to_datetime(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)).timestamp()
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


def _names_no_bucket(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return "." not in host or host.startswith(".") or bool(_ENDPOINT.fullmatch(host))
    return True


def _with_blanks(environ: Mapping[str, Any]) -> str:
    """Return PATH_INFO with a blank for each `+` of the URL, as OSS reads it; `%2B` stands for a plus.

    Only REQUEST_URI tells `+` from `%2B`. If it is missing or does not match PATH_INFO, both stand for a plus.
    """
    path, sent = str(environ.get("PATH_INFO", "")), str(environ.get("REQUEST_URI", "")).partition("?")[0]
    if "+" not in path or "+" not in sent:
        return path
    mount = str(environ.get("SCRIPT_NAME", ""))
    if unquote_to_bytes(sent).decode("latin-1") != mount + path:
        return path
    return unquote_to_bytes(sent.replace("+", " ")).decode("latin-1")[len(mount) :]


def _method(environ: Mapping[str, Any]) -> str:
    """Return the method; for a preflight, the method that it asks about."""
    method = str(environ["REQUEST_METHOD"])
    return str(environ.get("HTTP_ACCESS_CONTROL_REQUEST_METHOD", method)) if method == "OPTIONS" else method
