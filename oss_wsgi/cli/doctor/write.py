"""The check of `doctor` that uploads a test object, reads the application's answer, and deletes the object."""

from __future__ import annotations

import io
import json
import re
import time
from collections.abc import Iterator

from ...callback.ticket import TicketBook
from ...explanations.rows import APPLICATION, find, row_of, rows_of_status
from ...sdk.bucket import has_sdk
from ...signing.form_body import FormBody
from ..http_client import OSSRefusal, Response, is_json, read_refusal
from ..refusal_fix import see_also
from .callback import SLOW
from .context import FILENAME, CheckContext, Finding, ask_oss, error, ok, refused, warning
from .parts import write_parts
from .probe import json_members
from .rights import delete_object

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
_FIX_500 = "Read the log of the application, or of the server in front of it: one of them answered 500."
_FIX_HANDLER = (
    "The handler got an upload of the user {!r} with the data {}: if it needs a user that exists, or data as your "
    "authorize grants it, give them: "
    "`oss-wsgi doctor --only write --handler --user NAME --data JSON`."
)


def check_write(context: CheckContext) -> Iterator[Finding]:
    """Upload a test object all the way to the application's own answer, and delete it afterwards."""
    context.require_all()
    _ = context.host
    settings = context.settings
    tickets = TicketBook(settings.ticket_secret, clock=time.time) if settings.ticket_secret else None
    content_type = settings.upload_content_types[0] if settings.upload_content_types else "text/plain"
    form = context.signed_form(settings, context.grant, size=len(_CONTENT), content_type=content_type, tickets=tickets)
    body = FormBody(form.fields, FILENAME, io.BytesIO(_CONTENT), len(_CONTENT), content_type)
    try:
        response = ask_oss("POST", form.url, body.headers, body, seconds=_TIMEOUT)
    except KeyboardInterrupt:
        delete_object(form.fields["key"], context)  # perhaps it is stored already
        raise
    key = form.fields["key"]
    yield _check_upload(key, response, context)
    if response.status in (200, 203):
        yield delete_object(key, context)
    if settings.multipart and has_sdk():
        yield from write_parts(context)


def _check_upload(key: str, response: Response, context: CheckContext) -> Finding:
    settings = context.settings
    refusal = read_refusal(response.body)
    if response.status == 203:
        fix = f"{_fix_callback(refusal, context)} {see_also(refusal)}".strip()
        return error(f"{key} was stored, but the callback failed: {refusal}", fix)
    if response.status != 200:
        return refused("the upload was refused", response, settings, "Check OSS_HOST.")
    if not settings.callback_url:
        return ok(f"{key} was stored")
    if not is_json(response.body):
        return error(f"{key} was stored, but the answer is not JSON", "Look for a proxy between here and OSS.")
    message = f"{key} was stored, and the application answered 200 with JSON, {response.seconds:.1f} s in all"
    if json_members(response).get("handler") == "not called":
        message += "; its own handler was not called: only --handler calls it"
    return warning(message, _FIX_SLOW) if response.seconds > SLOW else ok(message)


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
        return f"{_FIX_500} {_FIX_HANDLER.format(context.grant.user, json.dumps(context.grant.data))}"
    rows = rows_of_status(status, APPLICATION)
    if rows:
        return f"{rows[0].fix} {_FIX_FOREIGN}" if status == "403" else rows[0].fix
    row = find(refusal.ec)
    return row.fix if row else "Read the application's log, and see the check `callback`."
