"""Checks of `doctor` that ask OSS about the bucket: clock, bucket, region, signature V4, public access and CORS."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

from ...exceptions import SettingsError
from ...explanations.rows import row_of
from ...explanations.text import Text, joined
from ...sdk.client import SDKCallError
from ...sdk.cors import rule_for
from ...signing.v1 import REFUSED_TO_ACCOUNTS_SINCE, REFUSED_TO_BUCKETS_SINCE
from ..refusals import fix_sdk_error, read_refusal, region_of, say_sdk_error
from .context import CheckContext, Finding, ask_oss, error, ok, refused, warning

#: Seconds that OSS tolerates between its clock and a signature's time.
_MAX_SKEW = 15 * 60
#: Seconds above which a clock is a warning.
_SMALL_SKEW = 60

_NO_RULES = "0003-00000601"
_FIX_NOT_OSS = "Check OSS_HOST: another server may answer there."


def check_clock(context: CheckContext) -> Iterator[Finding]:
    """Compare this machine's clock with the Date header of the bucket."""
    response = context.unsigned_response
    try:
        skew = response.moment - parsedate_to_datetime(response.headers.get("Date", "")).timestamp()
    except (TypeError, ValueError):
        fix = "Check for a proxy or firewall between this machine and OSS."
        yield warning("the bucket's answer has no Date header", fix)
        return
    ahead, behind = "this machine's clock is {1} s ahead of OSS's", "this machine's clock is {1} s behind OSS's"
    message = Text(ahead if skew > 0 else behind, f"{abs(skew):.0f}")
    fix = "Synchronize the clock by NTP: `timedatectl set-ntp true`."
    if abs(skew) > _MAX_SKEW:
        yield error(Text("{1}: {2}", message, "OSS refuses signatures that are more than 15 minutes off"), fix)
    elif abs(skew) > _SMALL_SKEW:
        yield warning(message, fix)
    else:
        yield ok(message)


def check_bucket(context: CheckContext) -> Iterator[Finding]:
    """Check that the bucket exists at this endpoint."""
    host, bucket = context.host, context.settings.bucket
    response = context.unsigned_response
    refusal = read_refusal(response.body)
    path = urlsplit(host).path.strip("/")
    if path and path != bucket:
        message = Text("OSS_BUCKET is {1}, but the path of {2} names {3}", bucket, host, path)
        yield error(message, Text("Set both to the same bucket. `export OSS_BUCKET={1}`", path))
    elif refusal.code in ("NoSuchBucket", "NoSuchKey"):  # NoSuchKey: OSS read the bucket's name as an object's
        yield error(
            Text("there is no bucket at {1}", host),
            "Check OSS_BUCKET and OSS_REGION. `export OSS_BUCKET=NAME OSS_REGION=REGION`",
        )
    elif refusal.endpoint and refusal.endpoint not in host:
        line = f"export OSS_REGION={region_of(refusal.endpoint) or 'REGION'} OSS_ENDPOINT=https://{refusal.endpoint}"
        fix = Text("Correct OSS_REGION or OSS_ENDPOINT. `{1}`", line)
        yield error(Text("the bucket is at {1}, not at {2}", refusal.endpoint, host), fix)
    elif not (response.headers.get("x-oss-request-id") or response.headers.get("Server") == "AliyunOSS"):
        yield error(Text("{1} does not answer as OSS does", host), _FIX_NOT_OSS)
    else:
        yield ok(Text("bucket {1} answers at {2}", bucket, host))


def check_region(context: CheckContext) -> Iterator[Finding]:
    """Compare OSS_REGION with the bucket's region."""
    host = context.host
    configured = context.settings.region
    if configured is None:
        fix = "Set OSS_REGION: signature V4 needs it. `export OSS_REGION=cn-hangzhou`"
        yield warning("OSS_REGION is not set", fix)
        return
    refusal = read_refusal(context.unsigned_response.body)
    # An unsigned request to another region's endpoint is told the right endpoint.
    region, reason = region_of(refusal.endpoint), ""
    if region is None:
        region, reason = _ask_for_region(context)
    if region is None and refusal.code == "AccessDenied":  # a bucket refuses unsigned requests in its own region only
        region = region_of(urlsplit(host).hostname or "")
    if region is None:
        yield warning(
            Text("the bucket's region is unknown: {1}", reason),
            "Run the check v4, which needs the right region too. For an answer here, grant the key "
            "oss:GetBucketLocation and install the SDK: `pip install 'oss-wsgi[sdk]'`.",
        )
    elif region == configured:
        yield ok(Text("the bucket is in {1}", region))
    else:
        yield error(
            Text("the bucket is in {1}, but OSS_REGION is {2}", region, configured), Text("Set OSS_REGION={1}.", region)
        )


def _ask_for_region(context: CheckContext) -> tuple[str | None, str]:
    """Return the bucket's region as OSS answers it, or None and what went wrong."""
    reason = ""
    # OSS refuses a V4 signature for a wrong region; V1 has no region, but new accounts do not accept it.
    for version in ("v4", "v1"):
        try:
            with context.sdk_client(version) as client:
                location: str = client.ask("get_bucket_location", "GetBucketLocationRequest").location
                return location.removeprefix("oss-"), ""
        except (SettingsError, SDKCallError) as cause:
            reason = reason or say_sdk_error(cause)
    return None, reason


def check_v4(context: CheckContext) -> Iterator[Finding]:
    """Check that OSS accepts a V4 signature: it must refuse the dry run for the file's size, not for the signature."""
    _ = context.host
    if not context.settings.region:
        fix = "Set OSS_REGION. `export OSS_REGION=cn-hangzhou`"
        yield error("OSS_REGION is not set, but a V4 signature contains the region", fix)
        return
    response = context.dry_run_response
    refusal = read_refusal(response.body)
    if refusal.code == "EntityTooSmall":
        message = "OSS accepts V4 signatures with this key"
        if context.settings.signature_version == "v1":
            yield _check_v1(message, context)
        else:
            yield ok(message)
    elif response.status < 300:
        yield error("OSS stored a file that the policy forbids", _FIX_NOT_OSS)
    else:
        yield refused("OSS refused a form signed with these settings", response, context.settings, _FIX_NOT_OSS)


def _check_v1(v4_is_accepted: str, context: CheckContext) -> Finding:
    """Return whether OSS still accepts the signature V1 of the settings, and why it may end."""
    response = context.dry_run("v1")
    refusal = read_refusal(response.body)
    if refusal.code != "EntityTooSmall":
        message = Text("{1}, but OSS_SIGNATURE_VERSION is v1, which it refuses", v4_is_accepted)
        return refused(message, response, context.settings, _FIX_NOT_OSS)
    message = Text("{1}, but OSS_SIGNATURE_VERSION is v1", v4_is_accepted)
    made = ""
    with contextlib.suppress(SettingsError, SDKCallError):
        created = context.bucket_info.creation_date  # None if the answer has none
        made = f"{created:%Y-%m-%d}" if created else ""
    if made >= REFUSED_TO_BUCKETS_SINCE:
        message = Text(
            "{1}, and OSS refuses it, in phases, for buckets made since {2}: this one was made on {3}",
            message,
            REFUSED_TO_BUCKETS_SINCE,
            made,
        )
    else:
        message = Text(
            "{1}, which it refuses, in phases, for accounts made since {2} and buckets made since {3}",
            message,
            REFUSED_TO_ACCOUNTS_SINCE,
            REFUSED_TO_BUCKETS_SINCE,
        )
    return warning(message, "Set OSS_SIGNATURE_VERSION=v4.")


def check_public_access(context: CheckContext) -> Iterator[Finding]:
    """Check that the bucket allows the public ACL that a grant gives to objects."""
    acl = context.grant.acl or "default"
    if not acl.startswith("public-"):
        yield ok("no public ACL is asked for; if a Grant of the application has one, try it: --acl public-read")
        return
    _ = context.host
    try:
        is_blocked = context.bucket_info.block_public_access
    except (SettingsError, SDKCallError) as cause:
        fix = "Install the SDK: `pip install 'oss-wsgi[sdk]'`."
        if isinstance(cause, SDKCallError):
            fix = fix_sdk_error(cause, "oss:GetBucketInfo", context.settings.bucket or "")
        yield warning(Text("not checked: {1}", say_sdk_error(cause)), fix)
        return
    if is_blocked:
        yield error(
            Text("the bucket blocks public access, so OSS refuses uploads with the ACL {1} (EC 0016-00000901)", acl),
            row_of("ec", "0016-00000901").fix,
        )
    else:
        yield ok(Text("the bucket allows objects with the ACL {1}", acl))


def check_cors(context: CheckContext) -> Iterator[Finding]:
    """Send a browser's preflights from each allowed origin and from the application's own: POST, with parts PUT too."""
    context.require("OSS_ALLOWED_ORIGINS", "OSS_MULTIPART")
    host = context.host
    listed = context.settings.allowed_origins
    for origin in listed:
        yield from _check_preflights(context, host, origin, origin, needed=True)
    own = [] if "*" in listed else [origin for origin in context.own_origins if origin not in listed]
    for origin in own:
        shown = Text("{1} (taken from OSS_CALLBACK_URL)", origin)
        yield from _check_preflights(context, host, origin, shown, needed=not listed)
    if not listed and not own:
        fix = "Set your pages' origins: `export OSS_ALLOWED_ORIGINS=https://app.example.com`."
        yield warning("there is no origin to try", fix)


def _check_preflights(
    context: CheckContext, host: str, listed_origin: str, shown: str, *, needed: bool
) -> Iterator[Finding]:
    """Yield what the preflight of each needed method finds; one finding if all methods are allowed alike."""
    rule = rule_for((), parts=context.settings.multipart)
    findings = [
        _check_preflight(host, method, rule.exposed, listed_origin, shown, needed=needed) for method in rule.methods
    ]
    if len({finding.colour for finding in findings}) == 1 and findings[0].colour == "green":
        in_parts = context.settings.multipart
        yield ok(Text("pages of {1} may upload, in parts too" if in_parts else "pages of {1} may upload", shown))
    else:
        yield from (finding for finding in findings if finding.colour != "green")


def _check_preflight(
    host: str, method: str, exposed: tuple[str, ...], listed_origin: str, shown: str, *, needed: bool
) -> Finding:
    origin = "https://any.example.com" if listed_origin == "*" else listed_origin
    headers = {"Origin": origin, "Access-Control-Request-Method": method}
    response = ask_oss("OPTIONS", host, headers)
    allowed = response.headers.get("Access-Control-Allow-Origin")
    methods = response.headers.get("Access-Control-Allow-Methods", "")
    readable = {name.strip().lower() for name in response.headers.get("Access-Control-Expose-Headers", "").split(",")}
    fix = Text("Add the rule: `oss-wsgi cors apply '{1}'`.", listed_origin)
    if response.status != 200 or allowed not in (origin, "*") or method not in methods:
        refusal = read_refusal(response.body)
        to_forms = "pages of {1} cannot read OSS's answers: {2} {3}"
        to_parts = "pages of {1} cannot read OSS's answers to parts (PUT): {2} {3}"
        message = Text(to_forms if method == "POST" else to_parts, shown, response.status, refusal)
        # With other origins listed, the application may have no pages of its own.
        return error(message, fix) if needed or refusal.ec == _NO_RULES else warning(message, fix)
    hidden = [name for name in exposed if name.lower() not in readable]
    if hidden:
        one, several = "pages of {1} cannot read the header {2}", "pages of {1} cannot read the headers {2}"
        message = Text(one if len(hidden) == 1 else several, shown, joined("{1} and {2}", hidden))
        if method == "PUT" and "ETag" in hidden:
            return error(Text("{1} of a part, and without its ETag no part counts as sent", message), fix)
        return warning(message, fix)
    return ok(Text("pages of {1} may send {2}", shown, method))
