"""The check of `doctor` that stores an object, hears of the callback, and deletes it again."""

from __future__ import annotations

import io
import time
from collections.abc import Iterator

from ..credentials import StaticCredentialsProvider
from ..exceptions import OSSWSGIError
from ..grant import Grant
from ..presigner import PostPresigner
from ..ticket import TicketBook
from .client import UnreachableError, request
from .examination import Examination, Finding, green, red, yellow
from .form_body import FormBody
from .json_text import is_json
from .oss_answer import read_refusal
from .output import MisuseError
from .sdk_client import SDKRefusedError, sdk_client

_NAME = "oss-wsgi-doctor.txt"
_CONTENT = b"a test of oss-wsgi doctor\n"
_USER = "oss-wsgi-doctor"


def write(case: Examination) -> Iterator[Finding]:
    """A test upload, callback included; the object is deleted afterwards."""
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
        answer = request("POST", form.url, body.headers, body, timeout=30)
    except UnreachableError as error:
        yield red(f"{error}", "Check OSS_HOST, and the firewall.")
        return
    refusal = read_refusal(answer.body)
    name = form.fields["key"]
    if answer.status == 200:
        told = " and the application accepted the callback" if settings.callback_url and is_json(answer.body) else ""
        yield green(f"{name} was stored{told}")
    elif answer.status == 203:
        cure = f"See the application's log, and oss-wsgi explain {refusal.ec or refusal.code}."
        yield red(f"{name} was stored, but the application was not told: {refusal}", cure)
    else:
        cure = f"oss-wsgi explain {refusal.ec or refusal.code}"
        yield red(f"the upload was refused: {answer.status} {refusal}", cure)
        return
    try:
        with sdk_client(settings, key=case.key) as client:
            client.ask("delete_object", "DeleteObjectRequest", key=name)
    except (MisuseError, SDKRefusedError) as error:
        cure = "Delete it yourself; to do so here, the key needs oss:DeleteObject, and the command oss-wsgi[sdk]."
        yield yellow(f"{name} stays in the bucket: {error}", cure)
    else:
        yield green(f"{name} was deleted")
