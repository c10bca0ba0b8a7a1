"""CopyObject: an object becomes another, without its content coming from the client again."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, BinaryIO
from urllib.parse import unquote

from ..answer import Answer, is_header_value
from ..errors import OSSError, invalid_argument
from ..object_headers import check_key, content_type, forbids_overwrite, object_headers
from ..request import Request
from ..storage.stored_object import StoredObject
from ..xml_document import xml_answer
from .conditions import is_unmodified
from .list_objects import iso_time
from .read_objects import no_such_key

if TYPE_CHECKING:
    from collections.abc import Iterator

SOURCE = "x-oss-copy-source"
CHOSEN = ("x-oss-object-acl", "x-oss-storage-class")


def copy_object(request: Request) -> Answer:
    check_key(request.key)
    directive = request.headers.get("x-oss-metadata-directive", "COPY").upper()
    if directive not in ("COPY", "REPLACE"):
        message = "The x-oss-metadata-directive must be COPY or REPLACE."
        raise invalid_argument(message, name="x-oss-metadata-directive", value=directive)
    given = object_headers(request.headers)
    forbid_overwrite = forbids_overwrite(request.headers)
    with open_source(request) as (source, content):
        if directive == "REPLACE":
            kind = content_type({"content-type": request.headers.get("content-type", "")}, "")
            headers = given
        else:
            kind = source.content_type
            headers = {name: value for name, value in source.headers.items() if name not in CHOSEN}
            headers |= {name: value for name, value in given.items() if name in CHOSEN}
        with request.storage.incoming() as incoming:
            incoming.copy(source, content)
            now = request.service.clock()
            stored = incoming.commit(request.key, kind, headers, now=now, forbid_overwrite=forbid_overwrite)
    members = [("ETag", f'"{stored.etag}"'), ("LastModified", iso_time(stored.last_modified))]
    return xml_answer("CopyObjectResult", members, stored.checksum_headers)


@contextmanager
def open_source(request: Request) -> Iterator[tuple[StoredObject, BinaryIO]]:
    """The object that the headers name, if it keeps their conditions."""
    source = unquote(request.headers[SOURCE].partition("?")[0])
    bucket, _, key = source.removeprefix("/").partition("/")
    if not bucket or not key or not is_header_value(bucket):
        message = "The x-oss-copy-source must be /bucket/object, percent-encoded."
        raise invalid_argument(message, name=SOURCE, value=source)
    found = request.service.storage.bucket(bucket).open(key)
    if found is None:
        raise no_such_key(key)
    with found[1]:
        if is_unmodified(found[0], request.headers, f"{SOURCE}-"):
            raise OSSError(304, "NotModified", "The object has not been modified.")
        yield found
