"""Checks of `doctor` that ask OSS: clock, region, bucket, signature V4."""

from __future__ import annotations

import re
from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

from ...callback.url import split_urls
from ..cors import EXPOSED
from ..explain import further
from ..http_client import UnreachableError, read_refusal, request
from ..sdk_client import SDKRefusedError, sdk_client
from ..terminal import MisuseError
from .context import TIMEOUT, Examination, Finding, NotCheckedError, green, red, yellow

_SKEW = 15 * 60

_DRIFT = 60

# Acceleration has endpoints too, which tell no region.
_ENDPOINT = re.compile(r"(?:^|\.)oss-(?!accelerate)([a-z0-9-]+?)(?:-internal)?\.aliyuncs\.com$")


def clock(case: Examination) -> Iterator[Finding]:
    """This machine's clock against the bucket's Date header."""
    text = case.unsigned.headers.get("Date", "")
    try:
        apart = case.unsigned.moment - parsedate_to_datetime(text).timestamp()
    except (TypeError, ValueError):
        yield yellow("the bucket's answer has no Date", "See what stands between here and OSS.")
        return
    said = f"this machine's clock is {abs(apart):.0f} s {'ahead of' if apart > 0 else 'behind'} OSS's"
    cure = "Set the clock by NTP."
    if abs(apart) > _SKEW:
        yield red(f"{said}: OSS refuses what is signed more than 15 minutes off", cure)
    elif abs(apart) > _DRIFT:
        yield yellow(said, cure)
    else:
        yield green(said)


def bucket(case: Examination) -> Iterator[Finding]:
    """The bucket is there, at this endpoint."""
    answer = case.unsigned
    refusal = read_refusal(answer.body)
    name, named = case.settings.bucket, urlsplit(case.host).path.strip("/")
    if named and named != name:
        said = f"OSS_BUCKET is {name}, and the path of {case.host} names {named}"
        yield red(said, "Set both to the same bucket.")
    elif refusal.code in ("NoSuchBucket", "NoSuchKey"):  # the latter where a bucket's name was taken for an object's
        yield red(f"there is no bucket at {case.host}", "Check OSS_BUCKET and OSS_REGION.")
    elif refusal.endpoint and refusal.endpoint not in case.host:
        yield red(f"the bucket is at {refusal.endpoint}, not at {case.host}", "Set OSS_REGION or OSS_ENDPOINT so.")
    elif not (answer.headers.get("x-oss-request-id") or answer.headers.get("Server") == "AliyunOSS"):
        yield red(f"{case.host} does not answer as OSS does", "Check OSS_HOST: something else answers there.")
    else:
        yield green(f"bucket {case.settings.bucket} answers at {case.host}")


def region(case: Examination) -> Iterator[Finding]:
    """OSS_REGION against the region that the bucket says it is in."""
    host = case.host
    wanted = case.settings.region
    if wanted is None:
        yield yellow("OSS_REGION is not set", "Set it: signature V4 needs it.")
        return
    refusal = read_refusal(case.unsigned.body)
    said = ""
    # Whoever asks at another region's endpoint, without any key, is told the right one.
    found = _region_of(refusal.endpoint)
    if found is None:
        found, said = _told_by_oss(case)
    if found is None and refusal.code == "AccessDenied":
        found = _region_of(urlsplit(host).hostname or "")  # a stranger is refused where the bucket is
    if found is None:
        cure = "The check v4 proves it too; to ask, the key needs oss:GetBucketLocation, and the command oss-wsgi[sdk]."
        yield yellow(f"the bucket's region could not be asked: {said}", cure)
    elif found == wanted:
        yield green(f"the bucket is in {found}")
    else:
        yield red(f"the bucket is in {found}, and OSS_REGION is {wanted}", f"Set OSS_REGION={found}.")


def _told_by_oss(case: Examination) -> tuple[str | None, str]:
    """Ask for the bucket's location; give it, or None and what went wrong."""
    said = ""
    # Signed for a wrong region a request of V4 is refused; where V1 is still taken, it brings the true one.
    for version in ("v4", "v1"):
        try:
            with sdk_client(case.settings, version, case.key) as client:
                location: str = client.ask("get_bucket_location", "GetBucketLocationRequest").location
                return location.removeprefix("oss-"), ""
        except (MisuseError, SDKRefusedError) as error:
            said = said or str(error)
    return None, said


def _region_of(endpoint: str) -> str | None:
    found = _ENDPOINT.search(endpoint)
    return found[1] if found else None


def v4(case: Examination) -> Iterator[Finding]:
    """A form signed with V4, whose file is too small for its policy: OSS refuses that, and so took the signature."""
    _ = case.host
    if not case.settings.region:
        yield red("OSS_REGION is not set, and signature V4 signs it", "Set OSS_REGION.")
        return
    answer = case.dry_form
    refusal = read_refusal(answer.body)
    if refusal.code == "EntityTooSmall":
        old = case.settings.signature_version == "v1"
        said = "OSS takes signatures V4 of this key"
        yield yellow(f"{said}, but OSS_SIGNATURE_VERSION is v1", "Set it to v4.") if old else green(said)
    elif answer.status < 300:
        yield red("OSS stored a file that the policy forbids", "Check OSS_HOST: is it OSS that answers there?")
    else:
        cure = further(refusal) or "Check OSS_HOST: is it OSS that answers there?"
        yield red(f"OSS does not take a form signed here: {answer.status} {refusal}", cure)


_NO_RULES = "0003-00000601"

_DEFAULT_PORTS = {"http": 80, "https": 443}


def cors(case: Examination) -> Iterator[Finding]:
    """The preflight that a browser would send from each allowed origin, and from the application's own."""
    case.need("OSS_ALLOWED_ORIGINS")
    host, listed = case.host, case.settings.allowed_origins
    for origin in listed:
        yield _preflight(host, origin, origin, needed=True)
    own = [] if "*" in listed else [origin for origin in _own_origins(case) if origin not in listed]
    for origin in own:
        yield _preflight(host, origin, f"{origin} (taken from OSS_CALLBACK_URL)", needed=not listed)
    if not listed and not own:
        yield yellow("no origin to try", "Name your pages' origins: --allowed-origins https://app.example.com.")


def _own_origins(case: Examination) -> list[str]:
    """Give the origins that the application's own pages have, if they are where its callbacks are."""
    text = case.settings.callback_url
    return list(dict.fromkeys(_origin(url) for url in split_urls(text))) if text else []


def _origin(url: str) -> str:
    parts = urlsplit(url)
    port = "" if parts.port in (None, _DEFAULT_PORTS.get(parts.scheme)) else f":{parts.port}"
    return f"{parts.scheme}://{parts.hostname}{port}"


def _preflight(host: str, origin: str, shown: str, *, needed: bool) -> Finding:
    asked = "https://any.example.com" if origin == "*" else origin
    try:
        answer = request("OPTIONS", host, {"Origin": asked, "Access-Control-Request-Method": "POST"}, deadline=TIMEOUT)
    except UnreachableError as error:
        raise NotCheckedError(red(str(error), "Check OSS_HOST, and the firewall.")) from error
    allowed = answer.headers.get("Access-Control-Allow-Origin")
    methods = answer.headers.get("Access-Control-Allow-Methods", "")
    exposed = {name.strip().lower() for name in answer.headers.get("Access-Control-Expose-Headers", "").split(",")}
    cure = f"Add the rule: `oss-wsgi cors apply '{origin}'`."
    if answer.status != 200 or allowed not in (asked, "*") or "POST" not in methods:
        refusal = read_refusal(answer.body)
        said = f"pages of {shown} cannot read OSS's answers: {answer.status} {refusal}"
        # Where pages of other origins are named, there may be none of the application's own.
        return red(said, cure) if needed or refusal.ec == _NO_RULES else yellow(said, cure)
    if not exposed >= {name.lower() for name in EXPOSED}:
        return yellow(f"pages of {shown} do not see {' and '.join(EXPOSED)}", cure)
    return green(f"pages of {shown} may upload")
