"""Checks of the settings: what they imply, and sentences for what is wrong or contradictory in them."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any
from urllib.parse import SplitResult, urlsplit

from .callback.parameters import CallbackParameters
from .callback.secret_file import MIN_TICKET_SECRET
from .callback.url import callback_url_problems, without_password
from .exceptions import PolicyError
from .explanations.text import Text, joined, sentences
from .http import essence
from .ledger.url import check_ledger
from .object_names import dir_problem

MAX_FORM_BYTES = 5 * 1024**3  # protocol.md 2.6
#: Limits of an upload in parts: the most parts, and the bytes of a part; the last part may be smaller.
MAX_PARTS = 10_000
MIN_PART_BYTES = 100 * 1024
MAX_PART_BYTES = 5 * 1024**3
MAX_OBJECT_BYTES = MAX_PARTS * MAX_PART_BYTES
#: The most seconds for which a form or a URL may be valid: OSS refuses a longer V4 signature (protocol.md 5.4).
MAX_EXPIRES = 7 * 24 * 3600
MAX_LEDGER_KEEP = 3660 * 24 * 3600

#: Who may report an upload: OSS by its callback, or the page that has sent the file.
OSS, PAGE = "oss", "page"

_BUCKET = re.compile(r"[a-z0-9][a-z0-9-]{1,61}[a-z0-9]")
_REGION = re.compile(r"[a-z]{2,}(-[a-z0-9]+)+")
_ENDPOINT_HOST = re.compile(r"oss-([a-z0-9-]+?)(?:-internal)?\.aliyuncs\.com")
_NO_REGION = frozenset({"accelerate", "accelerate-overseas"})
_HOST_NAME = re.compile(r"[a-z0-9_]([a-z0-9._-]*[a-z0-9_])?|[0-9a-f:.]*:[0-9a-f:.]*")
_ORIGIN = re.compile(r"https?://([a-z0-9.-]+|\[[0-9a-f:]+\])(:[0-9]{1,5})?")

#: A setting that a program may need -> the sentence for its absence.
MISSING = {
    "bucket": "OSS_BUCKET and OSS_REGION must be set (or OSS_HOST, if it has the usual form).",
    "access_key": "OSS_ACCESS_KEY_ID and OSS_ACCESS_KEY_SECRET must be set.",
}
_MEMBERS = {"bucket": ("bucket", "host"), "access_key": ("access_key_id", "access_key_secret", "credentials_library")}

# A thing that several processes must share -> the line that sets it.
_SHARED = {
    "a ledger": "export OSS_LEDGER=/var/lib/oss-wsgi/ledger.sqlite3",
    "a ticket secret": "export OSS_TICKET_SECRET=$(python3 -c 'import secrets; print(secrets.token_hex(32))')",
}

# Kubernetes documentation, Service, "Environment variables".
_SERVICE_HOST = "_SERVICE_HOST"
_SERVICE_VARIABLE = r"SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT(_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?"
_OWN_SERVICE = "OSS_WSGI"


def service_variables(environ: Mapping[str, str], known: Collection[str]) -> set[str]:
    """Return the variables that Kubernetes makes for a Service named ``oss-...``, except our own settings."""
    services = {name.removesuffix(_SERVICE_HOST) for name in environ if name.endswith(_SERVICE_HOST)} | {_OWN_SERVICE}
    pattern = re.compile(f"({'|'.join(map(re.escape, sorted(services)))})_({_SERVICE_VARIABLE})")
    return {name for name in environ if name.startswith("OSS_") and pattern.fullmatch(name)} - set(known)


def missing_settings(values: Mapping[str, Any], required: Collection[str]) -> list[str]:
    """Return sentences for required settings that are not set at all; half-set ones get a sentence elsewhere."""
    return [
        MISSING[name]
        for name in MISSING
        if name in required and not any(str(values.get(member) or "").strip() for member in _MEMBERS[name])
    ]


def unshared(processes: int, *, has_ledger: bool, has_secret: bool) -> str | None:
    """Return a sentence for what several processes must share but do not, with the lines that set it, or None."""
    missing = [name for name, is_there in zip(_SHARED, (has_ledger, has_secret), strict=True) if not is_there]
    if processes == 1 or not missing:
        return None
    lines = "".join(f"\n    {_SHARED[name]}" for name in missing)
    text = "{1} processes need {2} that they share; set, for example:{3}"
    return Text(text, processes, joined("{1} and {2}", missing), lines)


def unknown_name(name: str, known: list[str]) -> str:
    """Return the sentence for an unknown setting, with the closest known name."""
    close = difflib.get_close_matches(name, known, n=1)
    if close:
        return Text("{1} is not a setting: did you mean {2}?", name, close[0])
    return Text("{1} is not a setting, remove it.", name)


def fill_in_and_check(values: dict[str, Any], stated: Collection[str] = ()) -> list[str]:
    """Fill in what other ``values`` imply, such as the host; return a sentence for each problem.

    :param stated: names of the values that were given as a text: a switch that is off is a contradiction only then.
    """
    return [
        *_fill_in_location(values),
        *_fill_in_reports(values, stated),
        *_key_problems(values),
        *_limit_problems(values),
        *_callback_problems(values),
        *_list_problems(values),
    ]


def _fill_in_location(values: dict[str, Any]) -> Iterator[str]:
    if values["region"]:
        values["region"] = values["region"].removeprefix("oss-")
    if values["endpoint"]:
        yield from _read_endpoint(values)
    if values["host"]:
        yield from _read_host(values)
    if values["bucket"] and not _BUCKET.fullmatch(values["bucket"]):
        yield Text(
            "OSS_BUCKET must be 3 to 63 lower-case letters, digits and hyphens, not {1}.", repr(values["bucket"])
        )
    if values["region"] and not _REGION.fullmatch(values["region"]):
        yield Text("OSS_REGION must be a region's ID such as cn-hangzhou, not {1}.", repr(values["region"]))
    elif values["bucket"] and not values["region"] and values["signature_version"] == "v4":
        yield "OSS_REGION must be set: signature version v4 signs it."
    elif values["bucket"] and not (values["region"] or values["host"] or values["endpoint"]):
        yield "OSS_REGION, OSS_ENDPOINT or OSS_HOST must be set: they tell where the bucket is."
    if values["region"] and not values["endpoint"]:
        values["endpoint"] = f"https://oss-{values['region']}.aliyuncs.com"
    if values["bucket"] and values["endpoint"] and not values["host"]:
        scheme, _, host_name = values["endpoint"].partition("://")
        values["host"] = f"{scheme}://{values['bucket']}.{host_name}"


def _fill_in_reports(values: dict[str, Any], stated: Collection[str]) -> Iterator[str]:
    """Switch on what the reports of pages need, or yield that it is off."""
    if values["report_by"] not in (OSS, PAGE):
        yield Text("OSS_REPORT_BY must be oss or page, not {1}.", repr(values["report_by"]))
    if values["report_by"] != PAGE:
        return
    if not values["receipts"]:
        yield (
            "OSS_REPORT_BY=page needs receipts, with which a page's report is compared: remove OSS_RECEIPTS=off, or "
            "set OSS_REPORT_BY=oss."
        )
    if not values["recover"] and "recover" in stated:
        yield (
            "OSS_REPORT_BY=page needs the endpoint where pages report: remove OSS_RECOVER=off, or set "
            "OSS_REPORT_BY=oss."
        )
    values["recover"] = True


def _read_endpoint(values: dict[str, Any]) -> Iterator[str]:
    """Normalize the endpoint to a web address, and take the region from it."""
    if "://" not in values["endpoint"]:
        values["endpoint"] = f"https://{values['endpoint']}"
    values["endpoint"] = values["endpoint"].rstrip("/")
    endpoint = _web_address(values["endpoint"])
    if endpoint is None or endpoint.path:
        shown = without_password(values["endpoint"])
        yield Text("OSS_ENDPOINT must be like https://oss-cn-hangzhou.aliyuncs.com, not {1}.", repr(shown))
        return
    host_name = endpoint.hostname or ""
    if region_of(host_name.partition(".")[2]) is not None:
        yield (
            Text(
                "OSS_ENDPOINT must not begin with a bucket's name, as {1} does: move the name to OSS_BUCKET.",
                repr(values["endpoint"]),
            )
        )
    yield from _merge(values, "region", region_of(host_name), "OSS_ENDPOINT")


def _read_host(values: dict[str, Any]) -> Iterator[str]:
    """Take bucket and region from the host, if it has the usual form."""
    values["host"] = values["host"].rstrip("/")
    host = _web_address(values["host"])
    if host is None:
        shown = without_password(values["host"])
        yield Text("OSS_HOST must be like https://BUCKET.ENDPOINT, without a query, not {1}.", repr(shown))
        return
    bucket, _, endpoint_host = (host.hostname or "").partition(".")
    region = region_of(endpoint_host)
    if region is not None or endpoint_host.startswith("oss-accelerate"):
        yield from _merge(values, "bucket", bucket, "OSS_HOST")
        yield from _merge(values, "region", region, "OSS_HOST")
    if not values["bucket"]:
        yield "OSS_BUCKET must be set: it cannot be read from OSS_HOST, which is not https://BUCKET.ENDPOINT."


def _merge(values: dict[str, Any], name: str, implied: str | None, source: str) -> Iterator[str]:
    """Fill in a value that another setting implies, or yield the contradiction between the two."""
    if implied and values[name] and values[name] != implied:
        yield Text(
            "OSS_{1} is {2}, but {3} says {4}: make them agree.",
            name.upper(),
            repr(values[name]),
            source,
            repr(implied),
        )
    values[name] = values[name] or implied


def _web_address(text: str) -> SplitResult | None:
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        return None
    if parts.scheme not in ("http", "https") or port == 0 or not _HOST_NAME.fullmatch(parts.hostname or ""):
        return None
    if not text.isascii() or any(character in "@?#" or character.isspace() for character in text):
        return None
    return parts


def region_of(host_name: str) -> str | None:
    """Return the region in an endpoint's host name, or None, as for an acceleration endpoint."""
    match = _ENDPOINT_HOST.fullmatch(host_name)
    return match.group(1) if match and match.group(1) not in _NO_REGION else None


def _key_problems(values: dict[str, Any]) -> Iterator[str]:
    key_id, secret, token = values["access_key_id"], values["access_key_secret"], values["session_token"]
    if key_id and not secret:
        yield "OSS_ACCESS_KEY_SECRET must be set too: there is an OSS_ACCESS_KEY_ID."
    if secret and not key_id:
        yield "OSS_ACCESS_KEY_ID must be set too: there is an OSS_ACCESS_KEY_SECRET."
    if token and not (key_id or secret):
        yield "OSS_SESSION_TOKEN belongs to a temporary access key: set its ID and secret too."
    for name in ("access_key_id", "access_key_secret", "session_token"):
        if values[name] and not (values[name].isascii() and values[name].isprintable() and " " not in values[name]):
            yield Text("OSS_{1} must be printable ASCII without spaces.", name.upper())
    if any(len(secret) < MIN_TICKET_SECRET for secret in values["ticket_secret"]):
        yield Text(
            "OSS_TICKET_SECRET must be at least {1} characters long (each, if there are several).", MIN_TICKET_SECRET
        )
    if values["ticket_secret"] and values["ticket_secret_file"]:
        yield "OSS_TICKET_SECRET and OSS_TICKET_SECRET_FILE are both set: keep one."


def _limit_problems(values: dict[str, Any]) -> Iterator[str]:
    if values["signature_version"] not in ("v1", "v4"):
        yield Text("OSS_SIGNATURE_VERSION must be v4 or v1, not {1}.", repr(values["signature_version"]))
    if values["upload_names"] not in ("unique", "original"):
        yield Text("OSS_UPLOAD_NAMES must be unique or original, not {1}.", repr(values["upload_names"]))
    if not 0 < values["upload_expires"] <= MAX_EXPIRES:
        yield Text(
            "OSS_UPLOAD_EXPIRES must be 1 to {1} seconds (7 days), not {2}.", MAX_EXPIRES, values["upload_expires"]
        )
    if values["ledger"]:
        try:
            check_ledger(values["ledger"])
        except ValueError as error:
            yield Text("OSS_LEDGER {1}.", error)
    largest = MAX_OBJECT_BYTES if values["multipart"] else MAX_FORM_BYTES
    if not 0 < values["upload_max_size"] <= largest:
        size = values["upload_max_size"]
        more = "Larger files go in parts: set OSS_MULTIPART=on." if largest < size <= MAX_OBJECT_BYTES else ""
        name = "48.8 TB" if values["multipart"] else "5 GB"
        limit = Text("OSS_UPLOAD_MAX_SIZE must be 1 to {1} bytes ({2}), not {3}.", largest, name, size)
        yield sentences(limit, more)
    if not MIN_PART_BYTES <= values["part_size"] <= MAX_PART_BYTES:
        yield (
            Text(
                "OSS_PART_SIZE must be {1} to {2} bytes (100 KB to 5 GB), not {3}.",
                MIN_PART_BYTES,
                MAX_PART_BYTES,
                values["part_size"],
            )
        )
    if not 0 < values["ledger_keep"] <= MAX_LEDGER_KEEP:
        yield Text("OSS_LEDGER_KEEP must be 1 second to 10 years, not {1} s.", values["ledger_keep"])
    problem = dir_problem(values["upload_dir"])
    if problem:
        yield Text("OSS_UPLOAD_DIR: {1}", problem)


def _callback_problems(values: dict[str, Any]) -> Iterator[str]:
    if values["callback_url"] and values["report_by"] != PAGE:
        problems = callback_url_problems(values["callback_url"])
        if not problems:
            try:
                CallbackParameters(values["callback_url"])
            except PolicyError as error:
                problems = [str(error)]
        yield from (Text("OSS_CALLBACK_URL: {1}", problem) for problem in problems)


def _list_problems(values: dict[str, Any]) -> Iterator[str]:
    for name in values["upload_content_types"]:
        if essence(name) != name:
            yield (
                Text(
                    "OSS_UPLOAD_CONTENT_TYPES must list types like image/png, no wildcards or parameters, not {1}.",
                    repr(name),
                )
            )
    for origin in values["allowed_origins"]:
        if origin != "*" and not _ORIGIN.fullmatch(origin):
            yield Text(
                "OSS_ALLOWED_ORIGINS must list origins like https://app.example.com, no path or '/', not {1}.",
                repr(origin),
            )
    if "*" in values["allowed_origins"] and len(values["allowed_origins"]) > 1:
        yield "OSS_ALLOWED_ORIGINS has '*', which means every origin: remove the others."
    urls = [url for url, _ in values["trusted_keys"]]
    for url in urls:
        if not url.startswith(("http://", "https://")):
            yield Text("OSS_TRUSTED_KEYS must name each key by its URL, http:// or https://, not {1}.", repr(url))
    if len(set(urls)) < len(urls):
        yield "OSS_TRUSTED_KEYS names a key URL twice: keep one."
