"""Signed URLs of V1 and V4: anybody who has one may send its one request to OSS (protocol.md 15)."""

from __future__ import annotations

import functools
import hashlib
import json
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from ..callback.parameters import TICKET_MEMBER
from ..credentials import Credentials, CredentialsProvider, valid_credentials
from ..exceptions import PresignError
from ..http import is_encodable
from ..object_names import MAX_KEY_BYTES
from ..settings import Settings
from ..settings_check import MAX_EXPIRES
from . import v1, v4

UNSIGNED_PAYLOAD = "UNSIGNED-PAYLOAD"

#: Query parameters of object requests that a V1 signature covers; anybody may change the others. The last two lines are
#: parameters of bucket requests, which the SDKs sign too.
SUB_RESOURCES = frozenset(
    """
    acl append asyncFetch callback callback-var objectInfo objectMeta partNumber position response-cache-control
    response-content-disposition response-content-encoding response-content-language response-content-type
    response-expires restore security-token sequential symlink tagging uploadId uploads versionId
    x-oss-ac-forward-allow x-oss-ac-source-ip x-oss-ac-subnet-mask x-oss-ac-vpc-id x-oss-async-process x-oss-process
    x-oss-request-payer x-oss-traffic-limit
    bucketInfo cloudboxes continuation-token delete location regionList resourceGroup stat versioning
    versions
    """.split()  # noqa: SIM905
)

#: Base64, also in its form for URLs.
_BASE64 = re.compile("[A-Za-z0-9_.~+/=-]*")
_SIGNATURE_V1 = frozenset({"OSSAccessKeyId", "Expires", "Signature", "security-token"})
_SIGNATURE_V4 = frozenset(
    {
        "x-oss-signature-version",
        "x-oss-credential",
        "x-oss-date",
        "x-oss-expires",
        "x-oss-security-token",
        "x-oss-additional-headers",
        "x-oss-signature",
    }
)
#: Every HTTP client sends these by itself, and browsers refuse them from a script.
_SENT_BY_ITSELF = frozenset({"content-length", "host"})
_NOTHING: Mapping[str, str] = {}


@dataclass(frozen=True)
class PresignedURL:
    """One request that OSS accepts: ``method`` to ``url`` with all ``headers``, before ``expire`` (Unix seconds).

    ``key`` is the object's name. ``ticket`` is what the client reports the upload with, under OSS_REPORT_BY=page; else
    None.

    ``headers`` leaves out Content-Length and Host, even if they are signed: each client sends them by itself. Anybody
    who has the URL may send the request, so the repr shows neither its query nor the headers' values.
    """

    method: str
    url: str
    headers: dict[str, str]
    expire: int
    key: str
    ticket: str | None = None

    def payload(self) -> dict[str, Any]:
        """Return the members of the endpoint's JSON; ``fields`` is empty, so clients of forms can read it too."""
        members = {
            "method": self.method,
            "url": self.url,
            "headers": self.headers,
            "fields": {},
            "expire": self.expire,
            "key": self.key,
        }
        return members if self.ticket is None else {**members, TICKET_MEMBER: self.ticket}

    def json(self) -> bytes:
        """Return ``payload()`` as JSON."""
        return json.dumps(self.payload()).encode()

    def __repr__(self) -> str:
        address, names = self.url.partition("?")[0], ", ".join(self.headers)
        return f"PresignedURL({self.method} {address}?..., headers: {names or 'none'}, expire={self.expire})"


class URLPresigner:
    """Signs URLs of one bucket, with the signature version of the settings.

        presigner = URLPresigner(Settings.from_environ(os.environ), clock=time.time)
        url = presigner.presign("GET", "user/1/report.pdf", expires=600)

    It checks no grant: the caller decides what to sign. Threads may share it.

    :param credentials: provides the access key, once for each URL; without it the settings' own key signs.
    :param clock: returns Unix seconds.

    Raises SettingsError when there is no bucket, or no access key.
    """

    def __init__(
        self, settings: Settings, credentials: CredentialsProvider | None = None, *, clock: Callable[[], float]
    ) -> None:
        self._bucket, self._address = settings.bucket_and_host()
        self._credentials = settings.credentials() if credentials is None else credentials
        self._clock = clock
        self._region = settings.region or ""
        #: Whether other headers than Content-Type, Content-MD5 and ``x-oss-*`` can be signed, such as Content-Length:
        #: V4 only.
        self.signs_additional_headers = settings.signature_version == "v4"

    def presign(
        self,
        method: str,
        key: str,
        *,
        expires: int,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        additional_headers: Collection[str] = (),
        credentials: Credentials | None = None,
    ) -> PresignedURL:
        """Sign one request to the object ``key``; with V1 ``additional_headers`` are not signed.

        ``expires`` is the URL's lifetime in seconds, cut short if the access key expires before. For the rest see
        `sign_url_v4`.

        Raises PresignError, CredentialsError.
        """
        now = int(self._clock())
        if credentials is None:
            credentials = valid_credentials(self._credentials, now)
        if credentials.expiration is not None:
            expires = min(expires, int(credentials.expiration.timestamp()) - now)
        request = credentials, method, self._address, self._bucket, key
        if not self.signs_additional_headers:
            return sign_url_v1(*request, now=now, expires=expires, query=query, headers=headers)
        return sign_url_v4(
            *request,
            region=self._region,
            now=now,
            expires=expires,
            query=query,
            headers=headers,
            additional_headers=additional_headers,
        )


def sign_url_v4(
    credentials: Credentials,
    method: str,
    address: str,
    bucket: str,
    key: str,
    *,
    region: str,
    now: float,
    expires: int,
    query: Mapping[str, str] | None = None,
    headers: Mapping[str, str] | None = None,
    additional_headers: Collection[str] = (),
) -> PresignedURL:
    """Sign a request with OSS4-HMAC-SHA256.

    The signature covers the whole query, and the headers Content-Type, Content-MD5, all ``x-oss-*`` and
    ``additional_headers``. OSS refuses a request in which one of these differs, or that has a further ``x-oss-*``
    header, Content-Type, Content-MD5 or parameter. Content-Length in ``additional_headers`` makes the size exact.

    :param address: the beginning of the URL: ``https://<bucket>.<endpoint>``, your own domain, or
        ``http://<host>/<bucket>``.
    :param key: the object's name, not encoded.
    :param region: the bare ID, such as ``cn-hangzhou``.
    :param now: Unix seconds; a fraction is cut off.
    :param expires: the URL's lifetime in seconds, 1 to 604,800 (7 days).
    :param query: parameters by name, not encoded; "" is a parameter without a value. ``callback`` and ``callback-var``
        belong here.
    :param headers: the headers that the client must send; those that are neither always signed nor in
        ``additional_headers`` are not signed.
    :param additional_headers: names of further headers to sign; each must be in ``headers``.

    Raises PresignError.
    """
    method, now = _method(method), int(now)
    _check(expires, query, _SIGNATURE_V4)
    names, sent = _read_headers(headers)
    additional = _additional(additional_headers, names) if additional_headers else ""
    date = v4.format_date(now)
    day = date[:8]
    scope = v4.scope(day, region)
    encoded = [(_encoded(name), _encoded(value)) for name, value in (query or _NOTHING).items()]
    encoded += [
        ("x-oss-signature-version", v4.ALGORITHM),
        ("x-oss-date", date),
        ("x-oss-expires", str(expires)),
        ("x-oss-credential", f"{_encoded(credentials.access_key_id)}%2F{scope.replace('/', '%2F')}"),
    ]
    if credentials.security_token:
        encoded.append(("x-oss-security-token", _encoded_token(credentials.security_token)))
    if additional:
        encoded.append(("x-oss-additional-headers", _encoded(additional)))
    path = _encoded_key(key)
    canonical = canonical_request(method, f"/{bucket}/{path}", encoded, names, additional)
    secret = v4.signing_key(credentials.access_key_secret, day, region)
    signature = v4.signature(secret, string_to_sign_v4(date, scope, canonical))
    encoded.append(("x-oss-signature", signature))
    return PresignedURL(method, f"{address}/{path}?{_join(encoded)}", sent, now + expires, key)


def sign_url_v1(
    credentials: Credentials,
    method: str,
    address: str,
    bucket: str,
    key: str,
    *,
    now: float,
    expires: int,
    query: Mapping[str, str] | None = None,
    headers: Mapping[str, str] | None = None,
) -> PresignedURL:
    """Sign a request with HMAC-SHA1; the parameters are those of `sign_url_v4`.

    The signature covers Content-Type, Content-MD5, all ``x-oss-*`` headers, and the query's SUB_RESOURCES. It does not
    cover the size or any other header, so OSS accepts these with any value.

    Raises PresignError.
    """
    method, now = _method(method), int(now)
    _check(expires, query, _SIGNATURE_V1)
    path = _encoded_key(key)
    names, sent = _read_headers(headers)
    encoded = [(_encoded(name), _encoded(value)) for name, value in (query or _NOTHING).items()]
    encoded += [("OSSAccessKeyId", _encoded(credentials.access_key_id)), ("Expires", str(now + expires))]
    signed = dict(query or _NOTHING)
    if credentials.security_token:
        encoded.append(("security-token", _encoded_token(credentials.security_token)))
        signed["security-token"] = credentials.security_token
    text = string_to_sign_v1(method, f"/{bucket}/{key}", str(now + expires), signed, names)
    encoded.append(("Signature", _encoded(v1.signature(credentials.access_key_secret, text))))
    return PresignedURL(method, f"{address}/{path}?{_join(encoded)}", sent, now + expires, key)


def canonical_request(
    method: str, path: str, query: Collection[tuple[str, str]], headers: Mapping[str, str], additional: str
) -> str:
    """Return the canonical request of V4.

    ``path`` is ``/bucket/key`` and ``query`` the parameters, both percent-encoded; ``headers`` have lower-case names;
    ``additional`` is as in ``x-oss-additional-headers``: lower case, sorted, joined by ``;``.
    """
    listed = additional.split(";")
    signed = [
        f"{name}:{value}\n" for name, value in sorted(headers.items()) if _is_always_signed(name) or name in listed
    ]
    return f"{method}\n{path}\n{_join(sorted(query))}\n{''.join(signed)}\n{additional}\n{UNSIGNED_PAYLOAD}"


def string_to_sign_v4(date: str, scope: str, canonical: str) -> str:
    """Return the text that V4 signs; ``scope`` is ``<day>/<region>/oss/aliyun_v4_request``."""
    return f"{v4.ALGORITHM}\n{date}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"


def string_to_sign_v1(
    method: str, resource: str, expires: str, query: Mapping[str, str], headers: Mapping[str, str]
) -> str:
    """Return the text that V1 signs; ``resource`` is ``/bucket/key``; no part is percent-encoded."""
    sub_resources = sorted((name, value) for name, value in query.items() if name in SUB_RESOURCES)
    lines = [
        method,
        headers.get("content-md5", ""),
        headers.get("content-type", ""),
        expires,
        *(f"{name}:{headers[name]}" for name in sorted(headers) if name.startswith("x-oss-")),
        f"{resource}?{_join(sub_resources)}" if sub_resources else resource,
    ]
    return "\n".join(lines)


def _is_always_signed(name: str) -> bool:
    return name.startswith("x-oss-") or name in ("content-type", "content-md5")


def _join(pairs: Collection[tuple[str, str]]) -> str:
    return "&".join([f"{name}={value}" if value else name for name, value in pairs])


@functools.lru_cache(maxsize=8)  # an hour's URLs have the same token
def _encoded_token(token: str) -> str:
    return _encoded(token)


def _encoded(text: str) -> str:
    if text.isalnum() and text.isascii():
        return text
    if _BASE64.fullmatch(text):  # for a token or callback of 1,000 characters quote takes 100 us
        return text.replace("+", "%2B").replace("/", "%2F").replace("=", "%3D")
    return quote(text, safe="")


@functools.lru_cache(maxsize=64)  # the parts of an upload have the same key
def _encoded_key(key: str) -> str:
    if not is_encodable(key):
        raise PresignError("The object's name must be Unicode text, without half a surrogate pair.")
    size = len(key.encode())
    if not 1 <= size <= MAX_KEY_BYTES:
        raise PresignError(f"The object's name must be 1 to {MAX_KEY_BYTES} bytes of UTF-8, not {size}.")
    if key[0] in "/\\":
        raise PresignError(f"The object's name must not begin with {key[0]!r}.")
    return quote(key)


def _method(method: str) -> str:
    """Return a method in upper case, as clients send it and OSS signs it."""
    if not (method.isascii() and method.isalpha()):
        raise PresignError(f"The method must be like GET or PUT, not {method!r}.")
    return method.upper()


def _check(expires: int, query: Mapping[str, str] | None, own: frozenset[str]) -> None:
    if not (isinstance(expires, int) and 1 <= expires <= MAX_EXPIRES):
        raise PresignError(f"expires must be 1 to {MAX_EXPIRES} seconds (7 days), not {expires!r}.")
    if query and not own.isdisjoint(query):
        names = ", ".join(sorted(own.intersection(query)))
        raise PresignError(f"The query must not have {names}: the signature adds it.")


def _read_headers(headers: Mapping[str, str] | None) -> tuple[Mapping[str, str], dict[str, str]]:
    """Return the headers to sign, by lower-case name with trimmed values, and the headers to send, as given."""
    if not headers:
        return _NOTHING, {}
    lower: dict[str, str] = {}
    sent: dict[str, str] = {}
    for name, given in headers.items():
        value, small = given.strip(" \t"), name.lower()
        if small in lower:
            raise PresignError(f"The headers must have {small} only once.")
        if not value.isprintable():
            raise PresignError(f"The header {name} must not have control or invisible characters.")
        lower[small] = value
        if small not in _SENT_BY_ITSELF:
            sent[name] = value
    return lower, sent


def _additional(additional_headers: Collection[str], headers: Mapping[str, str]) -> str:
    """Return the text of ``x-oss-additional-headers``: the names without those that are always signed."""
    names = sorted({name.lower() for name in additional_headers})
    missing = [name for name in names if not headers.get(name)]
    if missing:
        raise PresignError(f"additional_headers names {', '.join(missing)}: give the value in headers.")
    return ";".join(name for name in names if not _is_always_signed(name))
