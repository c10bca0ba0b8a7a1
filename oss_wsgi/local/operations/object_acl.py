"""GetObjectACL and PutObjectACL: the x-oss-object-acl that an upload came with, or that it was given since."""

from __future__ import annotations

from ..answer import Answer
from ..callbacks.message import ACCOUNT_ID
from ..errors import invalid_argument
from ..object_headers import object_headers
from ..request import Request
from .read_objects import no_such_key

HEADER = "x-oss-object-acl"


def get_object_acl(request: Request) -> Answer:
    stored = request.storage.get(request.key)
    if stored is None:
        raise no_such_key(request.key)
    document = (
        '<?xml version="1.0" encoding="UTF-8"?>\n<AccessControlPolicy>\n'
        f"  <Owner>\n    <ID>{ACCOUNT_ID}</ID>\n    <DisplayName>{ACCOUNT_ID}</DisplayName>\n  </Owner>\n"
        "  <AccessControlList>\n"
        f"    <Grant>{stored.headers.get(HEADER, 'default')}</Grant>\n"
        "  </AccessControlList>\n</AccessControlPolicy>\n"
    )
    return Answer(200, [("Content-Type", "application/xml")], document.encode())


def put_object_acl(request: Request) -> Answer:
    if not request.headers.get(HEADER):
        raise invalid_argument(f"The {HEADER} header is missing.", name=HEADER)
    acl = object_headers(request.headers).get(HEADER)
    if not request.storage.change_headers(request.key, {HEADER: acl}):
        raise no_such_key(request.key)
    return Answer(200)
