"""GetObjectACL: the x-oss-object-acl that an upload came with."""

from __future__ import annotations

from .answer import Answer
from .callback_request import ACCOUNT_ID
from .errors import OSSError
from .request import Request


def get_object_acl(request: Request) -> Answer:
    stored = request.storage.get(request.key)
    if stored is None:
        raise OSSError(404, "NoSuchKey", "The specified key does not exist.", "0026-00000001", Key=request.key)
    document = (
        '<?xml version="1.0" encoding="UTF-8"?>\n<AccessControlPolicy>\n'
        f"  <Owner>\n    <ID>{ACCOUNT_ID}</ID>\n    <DisplayName>{ACCOUNT_ID}</DisplayName>\n  </Owner>\n"
        "  <AccessControlList>\n"
        f"    <Grant>{stored.headers.get('x-oss-object-acl', 'default')}</Grant>\n"
        "  </AccessControlList>\n</AccessControlPolicy>\n"
    )
    return Answer(200, [("Content-Type", "application/xml")], document.encode())
