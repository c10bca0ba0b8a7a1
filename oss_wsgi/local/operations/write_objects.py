"""PutObject: the body of a request becomes an object."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, BinaryIO
from urllib.parse import unquote

from ..callbacks.message import ACCOUNT_ID
from ..callbacks.upload_callback import call_back, image_info, read_callback
from ..errors import Answer, OSSError, invalid_argument, is_header_value
from ..faults import UploadFaults
from ..object_headers import check_key, content_type, forbids_overwrite, object_headers
from ..request import Request
from ..storage.interface import StoredObject
from ..xml_document import Node, malformed_xml, read_xml, xml_answer
from .bodies import read_small_body, receive_body
from .list_objects import iso_time
from .parameters import EncodingType
from .read_objects import is_unmodified, no_such_key

if TYPE_CHECKING:
    from collections.abc import Iterator


def put_object(request: Request) -> Answer:
    check_key(request.key)
    callback = read_callback(request)
    kind = content_type({"content-type": request.headers.get("content-type", "")}, "")
    headers = object_headers(request.headers)
    forbid_overwrite = forbids_overwrite(request.headers)
    failing = UploadFaults(request.faults)
    with request.storage.incoming() as incoming:
        failing.arriving()
        receive_body(request, incoming)
        failing.arrived()
        image = image_info(callback, incoming)
        now = request.service.clock()
        stored = incoming.commit(request.key, kind, headers, now=now, forbid_overwrite=forbid_overwrite)
    with failing:
        if callback:
            return call_back(request, callback, stored, image, "PutObject")
        return Answer(200, stored.checksum_headers)


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


MAX_KEYS = 1000

MAX_BODY_SIZE = 2 * 1024 * 1024


def delete_object(request: Request) -> Answer:
    check_key(request.key)
    request.storage.delete(request.key)
    return Answer(204)


def delete_multiple_objects(request: Request) -> Answer:
    encoding = EncodingType(request)
    document = read_xml(read_small_body(request.environ, MAX_BODY_SIZE), "Delete")
    quiet = document.findtext("Quiet", "false").strip().lower()
    keys = [element.findtext("Key") or "" for element in document.findall("Object")]
    if quiet not in ("true", "false") or not 0 < len(keys) <= MAX_KEYS:
        raise malformed_xml()
    for key in keys:
        check_key(key)
    for key in keys:
        request.storage.delete(key)
    deleted: list[Node] = [] if quiet == "true" else [("Deleted", [("Key", encoding(key))]) for key in keys]
    return xml_answer("DeleteResult", [*encoding.nodes, *deleted])


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
