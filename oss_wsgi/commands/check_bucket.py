"""Checks of `doctor` that ask OSS: clock, region, bucket, CORS, signature V4."""

from __future__ import annotations

import time
from collections.abc import Iterator
from email.utils import parsedate_to_datetime

from .client import UnreachableError, request
from .cors_rule import EXPOSED
from .examination import TIMEOUT, Examination, Finding, NotCheckedError, green, red, yellow
from .oss_answer import read_refusal
from .output import MisuseError
from .sdk_client import SDKRefusedError, sdk_client

_SKEW = 15 * 60
_DRIFT = 60


def clock(case: Examination) -> Iterator[Finding]:
    """This machine's clock against the bucket's Date header."""
    text = case.unsigned.headers.get("Date", "")
    now = time.time()
    try:
        apart = now - parsedate_to_datetime(text).timestamp()
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
    if refusal.code == "NoSuchBucket":
        yield red(f"there is no bucket at {case.host}", "Check OSS_BUCKET and OSS_REGION.")
    elif refusal.endpoint and refusal.endpoint not in case.host:
        yield red(f"the bucket is at {refusal.endpoint}, not at {case.host}", "Set OSS_REGION or OSS_ENDPOINT so.")
    elif not (answer.headers.get("x-oss-request-id") or answer.headers.get("Server") == "AliyunOSS"):
        yield red(f"{case.host} does not answer as OSS does", "Check OSS_HOST: something else answers there.")
    else:
        yield green(f"bucket {case.settings.bucket} answers at {case.host}")


def region(case: Examination) -> Iterator[Finding]:
    """OSS_REGION against the region that the bucket says it is in."""
    _ = case.host
    wanted = case.settings.region
    if wanted is None:
        yield yellow("OSS_REGION is not set", "Set it: signature V4 needs it.")
        return
    said = ""
    # Signed for a wrong region a request of V4 is refused; where V1 is still taken, it brings the true one.
    for version in ("v4", "v1"):
        try:
            with sdk_client(case.settings, version, case.key) as client:
                found = client.ask("get_bucket_location", "GetBucketLocationRequest").location.removeprefix("oss-")
        except (MisuseError, SDKRefusedError) as error:
            said = said or str(error)
            continue
        if found == wanted:
            yield green(f"the bucket is in {found}")
        else:
            yield red(f"the bucket is in {found}, and OSS_REGION is {wanted}", f"Set OSS_REGION={found}.")
        return
    cure = "The check v4 proves it too; to ask, the key needs oss:GetBucketLocation, and the command oss-wsgi[sdk]."
    yield yellow(f"the bucket's region could not be asked: {said}", cure)


def cors(case: Examination) -> Iterator[Finding]:
    """The preflight that a browser would send from each allowed origin."""
    host, origins = case.host, case.settings.allowed_origins
    if not origins:
        yield yellow("no origin to try", "Name your pages' origins: --allowed-origins https://app.example.com.")
    for origin in origins:
        asked = "https://any.example.com" if origin == "*" else origin
        try:
            answer = request(
                "OPTIONS", host, {"Origin": asked, "Access-Control-Request-Method": "POST"}, timeout=TIMEOUT
            )
        except UnreachableError as error:
            raise NotCheckedError(red(str(error), "Check OSS_HOST, and the firewall.")) from error
        allowed = answer.headers.get("Access-Control-Allow-Origin")
        methods = answer.headers.get("Access-Control-Allow-Methods", "")
        exposed = {name.strip().lower() for name in answer.headers.get("Access-Control-Expose-Headers", "").split(",")}
        cure = f"oss-wsgi cors apply '{origin}'"
        if answer.status != 200 or allowed not in (asked, "*") or "POST" not in methods:
            yield red(f"pages of {origin} cannot read OSS's answers: {answer.status} {read_refusal(answer.body)}", cure)
        elif not exposed >= {name.lower() for name in EXPOSED}:
            yield yellow(f"pages of {origin} do not see {' and '.join(EXPOSED)}", cure)
        else:
            yield green(f"pages of {origin} may upload")


def v4(case: Examination) -> Iterator[Finding]:
    """A form signed with V4, whose file is too small for its policy: OSS refuses that, and so took the signature."""
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
        cure = f"oss-wsgi explain {refusal.ec or refusal.code}" if refusal.code else "Check OSS_HOST."
        yield red(f"OSS does not take a form signed here: {answer.status} {refusal}", cure)
