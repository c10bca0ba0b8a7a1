"""Fills in what the settings imply, and says in sentences what is wrong or contradictory in them."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import SplitResult, urlsplit

from .callback.parameters import CallbackParameters
from .callback.url import without_password
from .exceptions import PolicyError
from .http import essence
from .object_names import dir_problem

MAX_FORM_BYTES = 5 * 1024**3  # P§2.6
MAX_EXPIRES = 7 * 24 * 3600  # P§5.4
MIN_TICKET_SECRET = 32

_BUCKET = re.compile(r"[a-z0-9][a-z0-9-]{1,61}[a-z0-9]")
_REGION = re.compile(r"[a-z]{2,}(-[a-z0-9]+)+")
_ENDPOINT_HOST = re.compile(r"oss-([a-z0-9-]+?)(?:-internal)?\.aliyuncs\.com")
_NO_REGION = frozenset({"accelerate", "accelerate-overseas"})
_HOST_NAME = re.compile(r"[a-z0-9_]([a-z0-9._-]*[a-z0-9_])?|[0-9a-f:.]*:[0-9a-f:.]*")
_ORIGIN = re.compile(r"https?://([a-z0-9.-]+|\[[0-9a-f:]+\])(:[0-9]{1,5})?")


def unknown_name(name: str, known: list[str]) -> str:
    """Say that a variable is unknown, and which one may have been meant."""
    close = difflib.get_close_matches(name, known, n=1)
    return f"{name} is not a setting{f': did you mean {close[0]}?' if close else ', remove it.'}"


def complete(values: dict[str, Any]) -> list[str]:
    """Fill bucket, region, endpoint and host in ``values`` from each other; give a sentence for each problem."""
    return [*_place(values), *_keys(values), *_limits(values), *_callback(values), *_lists(values)]


def _place(values: dict[str, Any]) -> Iterator[str]:
    if values["region"]:
        values["region"] = values["region"].removeprefix("oss-")
    host = endpoint = None
    if values["host"]:
        values["host"] = values["host"].rstrip("/")
        host = _web_address(values["host"], path=True)
        if host is None:
            shown = without_password(values["host"])
            yield f"OSS_HOST must be like https://BUCKET.ENDPOINT, without a query, not {shown!r}."
    if values["endpoint"]:
        if "://" not in values["endpoint"]:
            values["endpoint"] = f"https://{values['endpoint']}"
        values["endpoint"] = values["endpoint"].rstrip("/")
        endpoint = _web_address(values["endpoint"], path=False)
        if endpoint is None:
            shown = without_password(values["endpoint"])
            yield f"OSS_ENDPOINT must be like https://oss-cn-hangzhou.aliyuncs.com, not {shown!r}."
        elif _region_of((endpoint.hostname or "").partition(".")[2]) is not None:
            yield f"OSS_ENDPOINT must not begin with a bucket's name, as {values['endpoint']!r} does."
    if endpoint is not None:
        yield from _agree(values, "region", _region_of(endpoint.hostname or ""), "OSS_ENDPOINT")
    if host is not None:
        bucket, _, rest = (host.hostname or "").partition(".")
        region = _region_of(rest)
        if region is not None or rest.startswith("oss-accelerate"):
            yield from _agree(values, "bucket", bucket, "OSS_HOST")
            yield from _agree(values, "region", region, "OSS_HOST")
    if values["bucket"] and not _BUCKET.fullmatch(values["bucket"]):
        yield f"OSS_BUCKET must be 3 to 63 lower-case letters, digits and hyphens, not {values['bucket']!r}."
    if host is not None and not values["bucket"]:
        yield "OSS_BUCKET must be set: it cannot be read from OSS_HOST, which is not https://BUCKET.ENDPOINT."
    if values["region"] and not _REGION.fullmatch(values["region"]):
        yield f"OSS_REGION must be a region's ID such as cn-hangzhou, not {values['region']!r}."
    elif values["bucket"] and not values["region"] and values["signature_version"] == "v4":
        yield "OSS_REGION must be set: signature version v4 signs it."
    elif values["bucket"] and not (values["region"] or values["host"] or values["endpoint"]):
        yield "OSS_REGION, OSS_ENDPOINT or OSS_HOST must be set, to know where the bucket is."
    if values["region"] and not values["endpoint"]:
        values["endpoint"] = f"https://oss-{values['region']}.aliyuncs.com"
    if values["bucket"] and values["endpoint"] and not values["host"]:
        scheme, _, rest = values["endpoint"].partition("://")
        values["host"] = f"{scheme}://{values['bucket']}.{rest}"


def _agree(values: dict[str, Any], name: str, found: str | None, source: str) -> Iterator[str]:
    """Take a value that another setting's text implies, or say that the two contradict each other."""
    if found and values[name] and values[name] != found:
        yield f"OSS_{name.upper()} is {values[name]!r}, but {source} says {found!r}: make them agree."
    values[name] = values[name] or found


def _web_address(text: str, *, path: bool) -> SplitResult | None:
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        return None
    if parts.scheme not in ("http", "https") or port == 0 or not _HOST_NAME.fullmatch(parts.hostname or ""):
        return None
    if not text.isascii() or any(c in "@?#" or c.isspace() for c in text):
        return None
    return parts if path or not parts.path else None


def _region_of(hostname: str) -> str | None:
    match = _ENDPOINT_HOST.fullmatch(hostname)
    return match.group(1) if match and match.group(1) not in _NO_REGION else None


def _keys(values: dict[str, Any]) -> Iterator[str]:
    key_id, secret, token = values["access_key_id"], values["access_key_secret"], values["session_token"]
    if key_id and not secret:
        yield "OSS_ACCESS_KEY_SECRET must be set too: there is an OSS_ACCESS_KEY_ID."
    if secret and not key_id:
        yield "OSS_ACCESS_KEY_ID must be set too: there is an OSS_ACCESS_KEY_SECRET."
    if token and not (key_id or secret):
        yield "OSS_SESSION_TOKEN belongs to a temporary access key: set its ID and secret too."
    for name in ("access_key_id", "access_key_secret", "session_token"):
        if values[name] and not (values[name].isascii() and values[name].isprintable() and " " not in values[name]):
            yield f"OSS_{name.upper()} must be ASCII without blanks."
    if any(len(secret) < MIN_TICKET_SECRET for secret in values["ticket_secret"]):
        yield f"OSS_TICKET_SECRET must be at least {MIN_TICKET_SECRET} characters long (each, if there are several)."


def _limits(values: dict[str, Any]) -> Iterator[str]:
    if values["signature_version"] not in ("v1", "v4"):
        yield f"OSS_SIGNATURE_VERSION must be v4 or v1, not {values['signature_version']!r}."
    if values["upload_names"] not in ("unique", "original"):
        yield f"OSS_UPLOAD_NAMES must be unique or original, not {values['upload_names']!r}."
    if not 0 < values["upload_expires"] <= MAX_EXPIRES:
        yield f"OSS_UPLOAD_EXPIRES must be 1 to {MAX_EXPIRES} seconds (7 days), not {values['upload_expires']}."
    if not 0 < values["upload_max_size"] <= MAX_FORM_BYTES:
        yield f"OSS_UPLOAD_MAX_SIZE must be 1 to {MAX_FORM_BYTES} bytes (5 GB), not {values['upload_max_size']}."
    problem = dir_problem(values["upload_dir"])
    if problem:
        yield f"OSS_UPLOAD_DIR: {problem}"


def _callback(values: dict[str, Any]) -> Iterator[str]:
    if values["callback_url"]:
        try:
            CallbackParameters(values["callback_url"])
        except PolicyError as error:
            for problem in str(error).splitlines():
                yield f"OSS_CALLBACK_URL: {problem}"


def _lists(values: dict[str, Any]) -> Iterator[str]:
    for name in values["upload_content_types"]:
        if essence(name) != name or "*" in name:
            yield f"OSS_UPLOAD_CONTENT_TYPES must list types like image/png, written out, not {name!r}."
    for origin in values["allowed_origins"]:
        if origin != "*" and not _ORIGIN.fullmatch(origin):
            yield f"OSS_ALLOWED_ORIGINS must list origins like https://app.example.com, no path or '/', not {origin!r}."
    if "*" in values["allowed_origins"] and len(values["allowed_origins"]) > 1:
        yield "OSS_ALLOWED_ORIGINS: '*' means every origin, so the others have no meaning beside it."
    urls = [url for url, _ in values["trusted_keys"]]
    for url in urls:
        if not url.startswith(("http://", "https://")):
            yield f"OSS_TRUSTED_KEYS must name each key by its URL, http:// or https://, not {url!r}."
    if len(set(urls)) < len(urls):
        yield "OSS_TRUSTED_KEYS names a key URL twice."
