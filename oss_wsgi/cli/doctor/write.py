"""The check of `doctor` that stores an object, hears what the application answers, and deletes it again."""

from __future__ import annotations

import io
import re
import time
from collections.abc import Iterator

from ...callback.ticket import TicketBook
from ...credentials import StaticCredentialsProvider
from ...exceptions import OSSWSGIError
from ...settings import Settings
from ...signing.grant import Grant
from ...signing.presigner import PostPresigner
from ..explain import further
from ..form_body import FormBody
from ..http_client import Answer, OSSRefusal, UnreachableError, is_json, read_refusal, request
from ..sdk_client import SDKRefusedError, sdk_client
from ..terminal import MisuseError
from .callback import SLOW
from .context import Examination, Finding, green, red, yellow

_NAME = "oss-wsgi-doctor.txt"
_CONTENT = b"a test of oss-wsgi doctor\n"
_USER = "oss-wsgi-doctor"
_PATIENCE = 30.0
_STATUS = re.compile(r"Error status ?: ?(-?[0-9]+)", re.IGNORECASE)
_LATER = "Do slow work after the answer: OSS waits 5 s."
_LATE = f"The application, or the way to it, takes longer than 5 s. {_LATER}"
_WITHOUT_TICKETS = (
    "OSS_TICKET_SECRET is not set here, so the application cannot know this upload's ticket: set it to the "
    "application's, and try again."
)
#: By the EC number, or by the status that the message names.
_CURES = {
    "0007-00000202": _LATE,
    "0007-00000205": "The application's answer is no JSON: let the handler, or the view, answer JSON.",
    "403": "The application's log has the reason; with ticket_foreign OSS_TICKET_SECRET there is another than here.",
    "500": "The application, or the server in front of it, answered 500: see its log.",
}


def write(case: Examination) -> Iterator[Finding]:
    """A test upload, with the application's own answer to the callback; the object is deleted afterwards."""
    case.need_all()
    _ = case.host
    settings = case.settings
    tickets = TicketBook(settings.ticket_secret, clock=time.time) if settings.ticket_secret else None
    kind = settings.upload_content_types[0] if settings.upload_content_types else "text/plain"
    try:
        presigner = PostPresigner(settings, StaticCredentialsProvider(case.key), clock=time.time, tickets=tickets)
        form = presigner.presign(Grant(user=_USER), filename=_NAME, content_type=kind, size=len(_CONTENT))
    except OSSWSGIError as error:
        yield red(f"nothing can be signed: {error}", "Mend the settings.")
        return
    body = FormBody(form.fields, _NAME, io.BytesIO(_CONTENT), len(_CONTENT), kind)
    try:
        answer = request("POST", form.url, body.headers, body, timeout=_PATIENCE, deadline=_PATIENCE)
    except UnreachableError as error:
        yield red(str(error), "Check OSS_HOST, and the firewall.")
        return
    yield _judged(form.fields["key"], answer, settings)
    if answer.status in (200, 203):
        yield _deleted(form.fields["key"], case)


def _judged(name: str, answer: Answer, settings: Settings) -> Finding:
    refusal = read_refusal(answer.body)
    if answer.status == 203:
        cure = f"{_cure(refusal, settings)} {further(refusal)}".strip()
        return red(f"{name} was stored, but the application was not told: {refusal}", cure)
    if answer.status != 200:
        return red(f"the upload was refused: {answer.status} {refusal}", further(refusal) or "Check OSS_HOST.")
    if not settings.callback_url:
        return green(f"{name} was stored")
    if not is_json(answer.body):
        return red(f"{name} was stored, and what came back is no JSON", "See what stands between here and OSS.")
    said = f"{name} was stored, and the application answered 200 and JSON, {answer.seconds:.1f} s with the upload"
    if answer.seconds > SLOW:
        return yellow(said, _LATER)
    return green(said)


def _cure(refusal: OSSRefusal, settings: Settings) -> str:
    """Say what is likely to help where OSS did not take the application's answer."""
    message = refusal.message.lower()
    if "content-length" in message:
        return "Answer with a Content-Length, and let the server in front neither compress nor chunk."
    if "timeout" in message:
        return _LATE
    named = _STATUS.search(refusal.message)
    status = named[1] if named else ""
    if status == "403" and not settings.ticket_secret:
        return _WITHOUT_TICKETS
    return _CURES.get(refusal.ec) or _CURES.get(status) or "See the application's log, and the check `callback`."


def _deleted(name: str, case: Examination) -> Finding:
    try:
        with sdk_client(case.settings, key=case.key) as client:
            client.ask("delete_object", "DeleteObjectRequest", key=name)
    except (MisuseError, SDKRefusedError) as error:
        cure = "Delete it yourself; to do so here, the key needs oss:DeleteObject, and the command oss-wsgi[sdk]."
        return yellow(f"{name} stays in the bucket: {error}", cure)
    return green(f"{name} was deleted")
