"""The check of `doctor` that uploads test objects, as a form and in parts, reads the answer, and deletes them."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import re
import secrets
import time
from collections.abc import Iterator

from ...callback.parameters import TICKET_MEMBER
from ...callback.ticket import ReceiptBook, TicketBook
from ...credentials import StaticCredentialsProvider
from ...exceptions import BucketError, BucketRefusedError, OSSWSGIError, SettingsError
from ...explanations.rows import APPLICATION, find, row_of, rows_of_status
from ...explanations.text import Text, sentences
from ...sdk.bucket import SDKBucket
from ...sdk.client import SDKCallError, has_sdk
from ...settings_check import MIN_PART_BYTES
from ...signing.form_body import FormBody
from ...signing.presigned_url import URLPresigner
from ...signing.presigner import PresignedPost
from ..http_client import Response, UnreachableError, is_json, json_members, request
from ..refusals import OSSRefusal, fix_status, read_refusal, say_sdk_error, see_also
from ..terminal import plain
from .callback import SLOW
from .context import (
    FILENAME,
    FIX_HOST,
    FIX_NO_SIGNATURE_URL,
    TIMEOUT,
    CheckContext,
    Finding,
    ask_oss,
    error,
    ok,
    refused,
    unreachable,
    warning,
)
from .rights import bucket_client

_CONTENT = b"a test of oss-wsgi doctor\n"
#: Seconds for the upload and the callback together.
_TIMEOUT = 30.0
_STATUS = re.compile(r"Error status ?: ?(-?[0-9]+)", re.IGNORECASE)
_FIX_SLOW = "Do slow work after the answer: OSS waits 5 s."
_FIX_WITHOUT_TICKETS = (
    "Set OSS_TICKET_SECRET to the application's and try again: without it the application cannot accept this upload's "
    "ticket."
)
_TOO_SLOW = "0007-00000202"
_NOT_CALLED = "its own handler was not called: only --handler calls it"
_FIX_FOREIGN = "If its reason is ticket_foreign, OSS_TICKET_SECRET differs from the one here."
_FIX_500 = "Read the log of the application, or of the server in front of it: one of them answered 500."
_FIX_HANDLER = (
    "The handler got an upload of the user {1} with the data {2}: if it needs a user that exists, or data as your "
    "authorize grants it, give them: "
    "`oss-wsgi doctor --only write --handler --user NAME --data JSON`."
)


def check_write(context: CheckContext) -> Iterator[Finding]:
    """Upload a test object all the way to the application's own answer, and delete it afterwards."""
    context.require_all()
    _ = context.host
    settings = context.settings
    tickets = TicketBook(settings.ticket_secret, clock=time.time) if settings.ticket_secret else None
    receipts = None
    if settings.pages_report and settings.ticket_secret:
        receipts = ReceiptBook(settings.ticket_secret, clock=time.time, keep_seconds=settings.ledger_keep)
    content_type = settings.upload_content_types[0] if settings.upload_content_types else "text/plain"
    form = context.signed_form(
        settings, context.grant, size=len(_CONTENT), content_type=content_type, tickets=tickets, receipts=receipts
    )
    body = FormBody(form.fields, FILENAME, io.BytesIO(_CONTENT), len(_CONTENT), content_type)
    try:
        response = ask_oss("POST", form.url, body.headers, body, seconds=_TIMEOUT)
    except KeyboardInterrupt:
        delete_object(form.fields["key"], context)  # perhaps it is stored already
        raise
    key = form.fields["key"]
    if settings.pages_report and response.status == 200:
        yield _check_page_report(form, response.seconds, context)
    else:
        yield _check_upload(key, response, context)
    if response.status in (200, 203):
        yield delete_object(key, context)
    if settings.multipart and has_sdk():
        yield from write_parts(context)


def _check_upload(key: str, response: Response, context: CheckContext) -> Finding:
    settings = context.settings
    refusal = read_refusal(response.body)
    if response.status == 203:
        fix = sentences(_fix_callback(refusal, context), see_also(refusal))
        return error(Text("{1} was stored, but the callback failed: {2}", key, refusal), fix)
    if response.status != 200:
        return refused("the upload was refused", response, settings, "Check OSS_HOST.")
    if not settings.callback_url:
        return ok(Text("{1} was stored", key))
    if not is_json(response.body):
        return error(Text("{1} was stored, but the answer is not JSON", key), "Look for a proxy between here and OSS.")
    message = Text(
        "{1} was stored, and the application answered 200 with JSON, {2} s in all", key, f"{response.seconds:.1f}"
    )
    if json_members(response).get("handler") == "not called":
        message = Text("{1}; {2}", message, _NOT_CALLED)
    return warning(message, _FIX_SLOW) if response.seconds > SLOW else ok(message)


def _check_page_report(form: PresignedPost, seconds: float, context: CheckContext) -> Finding:
    """Report the stored object as its page would, and return what the application answered.

    :param seconds: how long the upload took.
    """
    if form.ticket is None:
        return warning(Text("{1} was stored, and nobody can report it", form.key), _FIX_WITHOUT_TICKETS)
    if context.signature_url is None:
        return warning(
            Text("{1} was stored, and not reported: no --signature-url says where", form.key), FIX_NO_SIGNATURE_URL
        )
    body = json.dumps({TICKET_MEMBER: form.ticket, "object": form.key}).encode()
    try:
        response = request("POST", context.report_url, {"Content-Type": "application/json"}, body, deadline=_TIMEOUT)
    except UnreachableError as cause:
        return unreachable(cause, FIX_NO_SIGNATURE_URL)
    members = json_members(response)
    if response.status != 200 or not is_json(response.body):
        failure = members.get("error")
        code = str(failure.get("code", "")) if isinstance(failure, dict) else ""
        reason = f"{response.status} {plain(code)}".rstrip()
        fix = sentences(fix_status(response.status, code), "Read the application's log.")
        return error(Text("{1} was stored, but the report failed: {2}", form.key, reason), fix)
    message = Text(
        "{1} was stored, and the application answered its report with JSON, {2} s in all",
        form.key,
        f"{seconds + response.seconds:.1f}",
    )
    return ok(Text("{1}; {2}", message, _NOT_CALLED) if members.get("handler") == "not called" else message)


def _fix_callback(refusal: OSSRefusal, context: CheckContext) -> str:
    """Return what is likely to help if OSS did not accept the application's answer."""
    message = refusal.message.lower()
    if "content-length" in message:
        return "Answer with a Content-Length, and switch compression and chunked encoding off in the server in front."
    if "timeout" in message:
        return row_of("ec", _TOO_SLOW).fix
    match = _STATUS.search(refusal.message)
    status = match[1] if match else ""
    if status == "403" and not context.settings.ticket_secret:
        return _FIX_WITHOUT_TICKETS
    if status == "500":
        if not context.calls_handler:
            return _FIX_500
        return sentences(_FIX_500, Text(_FIX_HANDLER, repr(context.grant.user), json.dumps(context.grant.data)))
    rows = rows_of_status(status, APPLICATION)
    if rows:
        return sentences(rows[0].fix, _FIX_FOREIGN) if status == "403" else rows[0].fix
    row = find(refusal.ec)
    return row.fix if row else "Read the application's log, and see the check `callback`."


def write_parts(context: CheckContext) -> Iterator[Finding]:
    """Upload an object of two parts by signed URLs, as a page does, without a callback, and delete it afterwards."""
    key = f"{context.settings.upload_dir}oss-wsgi-doctor-{secrets.token_hex(8)}.txt"
    upload_id, is_stored = "", False
    with contextlib.closing(bucket_client(context)) as bucket:
        try:
            upload_id = bucket.begin(key, {"Content-Type": "text/plain"})
            finding = _send_parts(bucket, context, key, upload_id)
            if finding is None:
                listed = bucket.list_parts(key, upload_id)
                stored = bucket.complete(key, upload_id, [(part.number, part.etag) for part in listed], {})
                upload_id, is_stored = "", True
                size = MIN_PART_BYTES + 1
                finding = ok(Text("{1} was stored in two parts", key))
                if stored.size != size:
                    message = Text(
                        "{1} has {2} bytes, but its two parts have {3} bytes together", key, stored.size, size
                    )
                    finding = error(message, "Check OSS_HOST.")
            yield finding
        except BucketRefusedError as cause:
            fix = Text("For more run `oss-wsgi explain {1}`.", cause.code or cause.reason)
            if cause.code == "AccessDenied":
                fix = Text("Grant the access key {1}.", cause.right)
            yield error(Text("an upload in two parts was refused: {1}", cause.hint), fix)
        except BucketError as cause:
            yield error(Text("an upload in two parts failed: {1}", cause.hint), FIX_HOST)
        except OSSWSGIError as cause:
            yield error(
                Text("an upload in two parts cannot be signed: {1}", cause), "Check OSS_ACCESS_KEY_ID and OSS_REGION."
            )
        finally:
            if upload_id:
                with contextlib.suppress(BucketError):  # the lifecycle rule removes it
                    bucket.abort(key, upload_id)
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
            return refused(
                Text("part {1} of a test upload was refused", number), response, context.settings, "Check OSS_HOST."
            )
        etag = (response.headers.get("ETag") or "").strip('"').lower()
        if etag != hashlib.md5(content, usedforsecurity=False).hexdigest():
            message = Text(
                "part {1} of a test upload was answered with the ETag {2}, not with its MD5", number, etag or "missing"
            )
            return error(message, "Look for a proxy between here and OSS that changes bodies or drops headers.")
    return None


def delete_object(key: str, context: CheckContext) -> Finding:
    """Delete a test object, and return whether that worked."""
    try:
        with context.sdk_client() as client:
            client.ask("delete_object", "DeleteObjectRequest", key=key)
    except (SettingsError, SDKCallError) as cause:
        fix = (
            "Delete it yourself. To have it deleted, grant the key oss:DeleteObject and install the SDK: "
            "`pip install 'oss-wsgi[sdk]'`."
        )
        return warning(Text("{1} stays in the bucket: {2}", key, say_sdk_error(cause)), fix)
    return ok(Text("{1} was deleted", key))
