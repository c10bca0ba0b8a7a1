"""Checks of `doctor` on uploads in parts: the rights, the lifecycle rule, and with --write an upload of two parts."""

from __future__ import annotations

import hashlib
import html
import secrets
import time
from collections.abc import Iterator

from ...credentials import StaticCredentialsProvider
from ...exceptions import BucketError, BucketRefusedError, OSSWSGIError
from ...parts.uploads import UPLOAD_SECONDS
from ...sdk.bucket import SDKBucket, has_sdk
from ...settings_check import MIN_PART_BYTES
from ...signing.presigned_url import URLPresigner
from ..sdk_client import SDKClient, SDKRefusedError, sdk_client
from .context import FIX_HOST, TIMEOUT, CheckContext, Finding, ask_oss, error, ok, refused, warning
from .rights import ABSENT, Right, bucket_client, delete_object, try_rights

_UPLOAD_DAYS = UPLOAD_SECONDS // 86400
#: An upload ID that OSS does not know.
_NO_UPLOAD = "0" * 32


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
    """Check that OSS removes unfinished parts, but not while their upload may still be completed."""
    prefix = context.settings.upload_dir
    names = f"under {prefix}" if prefix else "in the bucket"
    try:
        with sdk_client(context.settings, key=context.credentials) as client:
            days = _abort_days(client, prefix)
    except SDKRefusedError as cause:
        fix = f"{cause.fix('oss:GetBucketLifecycle', client.bucket)} Or see in the console whether there is a rule."
        return warning(f"the lifecycle rules cannot be read: {cause}", fix)
    if not days:
        message = f"no lifecycle rule removes unfinished parts {names}, and they cost money until somebody aborts them"
        applied_to = f"Files with Specified Prefix: {prefix}" if prefix else "Whole Bucket"
        fix = (
            "Add the rule in the console, Data Management > Lifecycle > Create Rule: Status: Enabled, "
            f"Applied To: {applied_to}, Delete Parts: Validity Period (Days): {_UPLOAD_DAYS}. As XML, beside the "
            "bucket's other rules:"
        )
        rule = (
            f"<Rule><ID>oss-wsgi-parts</ID><Prefix>{html.escape(prefix, quote=False)}</Prefix><Status>Enabled</Status>"
            f"<AbortMultipartUpload><Days>{_UPLOAD_DAYS}</Days></AbortMultipartUpload></Rule>"
        )
        return warning(message, fix, rule)
    if min(days) < _UPLOAD_DAYS:
        message = (
            f"OSS removes unfinished parts {names} after {min(days)} days, but a page may continue an upload for "
            f"{_UPLOAD_DAYS}"
        )
        fix = f"Set its days to {_UPLOAD_DAYS} or more in the console, Data Management > Lifecycle."
        return warning(message, fix)
    return ok(f"OSS removes unfinished parts {names} after {min(days)} days")


def _abort_days(client: SDKClient, prefix: str) -> list[int]:
    """Return after how many days the bucket's rules abort all uploads under a prefix. Raises SDKRefusedError."""
    try:
        rules = client.ask("get_bucket_lifecycle", "GetBucketLifecycleRequest").lifecycle_configuration.rules
    except SDKRefusedError as error:
        if error.code == "NoSuchLifecycle":
            return []
        raise
    return [
        rule.abort_multipart_upload.days
        for rule in rules or ()
        if rule.status == "Enabled"
        and prefix.startswith(rule.prefix or "")
        and not rule.tags
        and not rule.filter
        and rule.abort_multipart_upload
        and rule.abort_multipart_upload.days
    ]


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
                else error(
                    f"{key} has {stored.size} bytes, but its two parts have {size} bytes together", "Check OSS_HOST."
                )
            )
        yield finding
    except BucketRefusedError as cause:
        fix = (
            f"Grant the access key {cause.right}."
            if cause.code == "AccessDenied"
            else f"For more run `{_explain(cause)}`."
        )
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
        response = ask_oss("PUT", signed.url, {**signed.headers, **length}, content, seconds=5 * TIMEOUT)
        if response.status != 200:
            return refused(f"part {number} of a test upload was refused", response, context.settings, "Check OSS_HOST.")
        etag = (response.headers.get("ETag") or "").strip('"').lower()
        if etag != hashlib.md5(content, usedforsecurity=False).hexdigest():
            message = f"part {number} of a test upload was answered with the ETag {etag or 'missing'}, not with its MD5"
            return error(message, "Look for a proxy between here and OSS that changes bodies or drops headers.")
    return None


def _explain(cause: BucketRefusedError) -> str:
    return f"oss-wsgi explain {cause.code or cause.reason}"
