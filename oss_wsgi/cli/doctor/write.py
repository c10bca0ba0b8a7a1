"""The check of `doctor` that uploads a test object, reads the application's answer, and deletes the object."""

from __future__ import annotations

import io
import re
import time
from collections.abc import Iterator

from ...callback.ticket import TicketBook
from ...credentials import StaticCredentialsProvider
from ...exceptions import OSSWSGIError
from ...explanations.rows import APPLICATION, find, row_of, rows_of_status
from ...sdk.bucket import has_sdk
from ...settings import Settings
from ...signing.grant import Grant
from ...signing.presigner import PostPresigner
from ..form_body import FormBody
from ..http_client import OSSRefusal, Response, UnreachableError, is_json, read_refusal, request
from ..refusal_fix import fix_refusal, see_also
from .callback import SLOW
from .context import FIX_HOST, FIX_SETTINGS, CheckContext, Finding, error, ok, unreachable, warning
from .parts import write_parts
from .rights import delete_object

_FILENAME = "oss-wsgi-doctor.txt"
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
_FIX_FOREIGN = "If its reason is ticket_foreign, OSS_TICKET_SECRET differs from the one here."
_FIX_HANDLER = (
    "Read the log of the application, or of the server in front of it: one of them answered 500. The application got "
    "the upload as one of the user {!r}: if its handler knows only real users, name one: "
    "`oss-wsgi doctor --only write --user NAME`."
)


def check_write(context: CheckContext) -> Iterator[Finding]:
    """Upload a test object through the whole road, with the application's own answer, and delete it afterwards."""
    context.require_all()
    _ = context.host
    settings = context.settings
    tickets = TicketBook(settings.ticket_secret, clock=time.time) if settings.ticket_secret else None
    content_type = settings.upload_content_types[0] if settings.upload_content_types else "text/plain"
    provider = StaticCredentialsProvider(context.credentials)
    try:
        presigner = PostPresigner(settings, provider, clock=time.time, tickets=tickets)
        form = presigner.presign(
            Grant(user=context.user), filename=_FILENAME, content_type=content_type, size=len(_CONTENT)
        )
    except OSSWSGIError as cause:
        yield error(f"nothing can be signed: {cause}", FIX_SETTINGS)
        return
    body = FormBody(form.fields, _FILENAME, io.BytesIO(_CONTENT), len(_CONTENT), content_type)
    try:
        response = request("POST", form.url, body.headers, body, timeout=_TIMEOUT, deadline=_TIMEOUT)
    except UnreachableError as cause:
        yield unreachable(cause, FIX_HOST)
        return
    except KeyboardInterrupt:
        delete_object(form.fields["key"], context)  # perhaps it is stored already
        raise
    key = form.fields["key"]
    yield _check_upload(key, response, settings, context.user)
    if response.status in (200, 203):
        yield delete_object(key, context)
    if settings.multipart and has_sdk():
        yield from write_parts(context)


def _check_upload(key: str, response: Response, settings: Settings, user: str) -> Finding:
    refusal = read_refusal(response.body)
    if response.status == 203:
        fix = f"{_fix_callback(refusal, settings, user)} {see_also(refusal)}".strip()
        return error(f"{key} was stored, but the callback failed: {refusal}", fix)
    if response.status != 200:
        message = f"the upload was refused: {response.status} {refusal}"
        rights = "oss:PutObject", f"acs:oss:*:*:{settings.bucket}/{settings.upload_dir}*"
        fix = fix_refusal(refusal, response.status, *rights) if refusal.code else "Check OSS_HOST."
        return error(message, f"{fix} {see_also(refusal)}".strip())
    if not settings.callback_url:
        return ok(f"{key} was stored")
    if not is_json(response.body):
        return error(f"{key} was stored, but the answer is not JSON", "Find out what stands between here and OSS.")
    message = f"{key} was stored, and the application answered 200 and JSON, {response.seconds:.1f} s with the upload"
    return warning(message, _FIX_SLOW) if response.seconds > SLOW else ok(message)


def _fix_callback(refusal: OSSRefusal, settings: Settings, user: str) -> str:
    """Return what is likely to help if OSS did not accept the application's answer."""
    message = refusal.message.lower()
    if "content-length" in message:
        return "Answer with a Content-Length, and switch compression and chunked encoding off in the server in front."
    if "timeout" in message:
        return row_of("ec", _TOO_SLOW).fix
    match = _STATUS.search(refusal.message)
    status = match[1] if match else ""
    if status == "403" and not settings.ticket_secret:
        return _FIX_WITHOUT_TICKETS
    if status == "500":
        return _FIX_HANDLER.format(user)
    rows = rows_of_status(status, APPLICATION)
    if rows:
        return f"{rows[0].fix} {_FIX_FOREIGN}" if status == "403" else rows[0].fix
    row = find(refusal.ec)
    return row.fix if row else "Read the application's log, and see the check `callback`."
