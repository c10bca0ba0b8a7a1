"""Checks of `doctor` on uploads in parts: the rights, the lifecycle rule, and with --write an upload of two parts."""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Iterator

from ...credentials import StaticCredentialsProvider
from ...exceptions import BucketError, BucketRefusedError, OSSWSGIError
from ...parts.uploads import UPLOAD_SECONDS
from ...sdk.bucket import SDKBucket, has_sdk
from ...settings_check import MIN_PART_BYTES
from ...signing.presigned_url import URLPresigner
from ..http_client import UnreachableError, read_refusal, request
from ..lifecycle import RIGHTS, read_rules
from ..refusal_fix import fix_refusal, see_also
from ..sdk_client import SDKRefusedError, sdk_client
from .context import FIX_HOST, TIMEOUT, CheckContext, Finding, error, ok, unreachable, warning
from .rights import ABSENT, Right, bucket_client, delete_object, try_rights

_UPLOAD_DAYS = UPLOAD_SECONDS // 86400
#: An upload ID that OSS does not know.
_NO_UPLOAD = "0" * 32
_RULE_LINE = "oss-wsgi lifecycle apply"
_LONG = 36500


def check_parts(context: CheckContext) -> Iterator[Finding]:
    """Try the rights that parts need, and look for the rule that removes unfinished ones."""
    context.require("OSS_MULTIPART", "OSS_PART_SIZE", "OSS_UPLOAD_DIR")
    settings = context.settings
    if not settings.multipart:
        yield ok("OSS_MULTIPART is off: each file is one form of 5 GB at most")
        return
    _ = context.host
    if not has_sdk():
        yield error("uploads in parts need oss-wsgi[sdk], which is not installed", "pip install 'oss-wsgi[sdk]'.")
        return
    if settings.signature_version == "v1":
        yield warning(
            "signature V1 does not sign the length of a part, so a wrong size is found only when an upload completes",
            "Set OSS_SIGNATURE_VERSION=v4.",
        )
    key = settings.upload_dir + ABSENT
    rights: list[Right] = [
        ("HEAD objects", "oss:GetObject", lambda bucket: bucket.head(key)),
        ("list parts", "oss:ListParts", lambda bucket: bucket.list_parts(key, _NO_UPLOAD)),
        ("abort uploads in parts", "oss:AbortMultipartUpload", lambda bucket: bucket.abort(key, _NO_UPLOAD)),
    ]
    needs = "parts need oss:PutObject, oss:ListParts, oss:AbortMultipartUpload and oss:GetObject."
    findings = list(try_rights(context, rights, error, needs))
    yield from findings
    if all(finding.colour == "green" for finding in findings):
        yield _check_rule(context)


def _check_rule(context: CheckContext) -> Finding:
    """Check that OSS removes parts that nobody finished, and not before their upload's time is over."""
    prefix = context.settings.upload_dir
    names = f"under {prefix}" if prefix else "in the bucket"
    try:
        with sdk_client(context.settings, key=context.credentials) as client:
            rules, _ = read_rules(client)
    except SDKRefusedError as cause:
        fix = f"{cause.fix(RIGHTS, client.bucket)} Or see in the console whether there is a rule."
        return warning(f"the lifecycle rules cannot be read: {cause}", fix)
    days = [rule.abort_days for rule in rules if rule.aborts(prefix, _LONG)]
    shortest = min((day for day in days if day is not None), default=None)
    if shortest is None:
        message = f"no lifecycle rule removes unfinished parts {names}, and they cost money until somebody aborts them"
        return warning(message, f"Add the rule: `{_RULE_LINE}`.")
    if shortest < _UPLOAD_DAYS:
        message = f"OSS removes unfinished parts {names} after {shortest} days, but a page may go on for {_UPLOAD_DAYS}"
        # `lifecycle apply` leaves a rule that removes parts earlier as it is.
        fix = f"Set its days to {_UPLOAD_DAYS} or more in the console, Data Management > Lifecycle."
        return warning(message, fix)
    return ok(f"OSS removes unfinished parts {names} after {shortest} days")


def write_parts(context: CheckContext) -> Iterator[Finding]:
    """Upload an object of two parts by signed URLs, as a page does, without a callback, and delete it afterwards."""
    bucket = bucket_client(context)
    key = f"{context.settings.upload_dir}oss-wsgi-doctor-{secrets.token_hex(8)}.txt"
    upload_id, is_stored = "", False
    try:
        upload_id = bucket.begin(key, {"Content-Type": "text/plain"})
        finding = _send_parts(bucket, context, key, upload_id)
        if finding is None:
            listed = bucket.list_parts(key, upload_id)
            stored = bucket.complete(key, upload_id, [(part.number, part.etag) for part in listed], {})
            upload_id, is_stored = "", True
            size = MIN_PART_BYTES + 1
            finding = (
                ok(f"{key} was stored in two parts")
                if stored.size == size
                else error(f"{key} has {stored.size} bytes after two parts of {size} bytes together", "Check OSS_HOST.")
            )
        yield finding
    except BucketRefusedError as cause:
        fix = f"Grant the access key {cause.right}." if cause.code == "AccessDenied" else f"See `{_explain(cause)}`."
        yield error(f"an upload in two parts was refused: {cause.hint}", fix)
    except BucketError as cause:
        yield error(f"an upload in two parts failed: {cause.hint}", FIX_HOST)
    except OSSWSGIError as cause:
        yield error(f"an upload in two parts cannot be signed: {cause}", "Check OSS_ACCESS_KEY_ID and OSS_REGION.")
    finally:
        try:
            if upload_id:
                bucket.abort(key, upload_id)
        except BucketError:
            pass  # the lifecycle rule does it
        finally:
            bucket.close()
    if is_stored:
        yield delete_object(key, context)


def _send_parts(bucket: SDKBucket, context: CheckContext, key: str, upload_id: str) -> Finding | None:
    """Send two parts, the first as small as OSS allows; return what went wrong, or None."""
    provider = StaticCredentialsProvider(context.credentials)
    urls = URLPresigner(context.settings, provider, clock=time.time)
    for number, content in enumerate((secrets.token_bytes(MIN_PART_BYTES), b"\n"), start=1):
        length = {"Content-Length": str(len(content))}
        exact = urls.signs_additional_headers
        signed = urls.presign(
            "PUT",
            key,
            expires=600,
            query={"partNumber": str(number), "uploadId": upload_id},
            headers=length if exact else None,
            additional_headers=("content-length",) if exact else (),
        )
        try:
            response = request("PUT", signed.url, {**signed.headers, **length}, content, deadline=5 * TIMEOUT)
        except UnreachableError as cause:
            return unreachable(cause, FIX_HOST)
        if response.status != 200:
            refusal = read_refusal(response.body)
            rights = "oss:PutObject", f"acs:oss:*:*:{context.settings.bucket}/{context.settings.upload_dir}*"
            fix = fix_refusal(refusal, response.status, *rights) if refusal.code else "Check OSS_HOST."
            message = f"part {number} of a test upload was refused: {response.status} {refusal}"
            return error(message, f"{fix} {see_also(refusal)}".strip())
        etag = (response.headers.get("ETag") or "").strip('"').lower()
        if etag != hashlib.md5(content, usedforsecurity=False).hexdigest():
            message = f"part {number} of a test upload was answered with the ETag {etag or 'missing'}, not with its MD5"
            return error(message, "Look for a proxy between here and OSS that changes bodies or drops headers.")
    return None


def _explain(cause: BucketRefusedError) -> str:
    return f"oss-wsgi explain {cause.code or cause.reason}"
