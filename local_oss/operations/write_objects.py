"""Operations that change objects: PutObject, CopyObject, DeleteObject, DeleteMultipleObjects, and the ACL."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import BinaryIO
from urllib.parse import parse_qsl, unquote_plus

from ..bodies import read_small_body, receive_body
from ..callbacks.image_info import read_image_info
from ..callbacks.parameters import CallbackParameters
from ..callbacks.upload_callback import call_back, read_callback
from ..errors import Headers, OSSError, Response, invalid_argument, is_header_value, not_implemented
from ..faults import UploadFaults
from ..object_headers import (
    COPY_SOURCE,
    check_key,
    content_type,
    encryption_headers,
    forbids_overwrite,
    headers_to_store,
    upload_headers,
)
from ..request import EncodingType, Request
from ..storage.index import Part, StoredObject
from ..storage.storage import Incoming
from ..xml_document import Node, iso_time, malformed_xml, read_xml, xml_response
from .buckets import acl_response
from .read_objects import OBJECT_ACL, is_unmodified, no_such_key

# Headers that a copy never takes from its source.
NOT_COPIED = (OBJECT_ACL, "x-oss-storage-class")

MAX_DELETED_KEYS = 1000

#: The EC for a body that is not XML, or not a list of keys.
_MALFORMED = "0016-00000608"

MAX_BODY_SIZE = 2 * 1024 * 1024


def put_object(request: Request) -> Response:
    check_key(request.key)
    callback = read_callback(request)
    return store(
        request,
        lambda incoming: receive_body(request, incoming),
        lambda stored: Response(200, upload_headers(stored)),
        described(request),
        forbid_overwrite=forbids_overwrite(request.headers),
        callback=callback,
        operation="PutObject",
    )


def store(
    request: Request,
    receive: Callable[[Incoming], None],
    respond: Callable[[StoredObject], Response],
    metadata: tuple[str, str, dict[str, str]],
    *,
    forbid_overwrite: bool,
    callback: CallbackParameters | None,
    operation: str,
) -> Response:
    """Store the content of an upload, and return the response: the application's if there is a callback.

    :param receive: writes the content.
    :param respond: makes the response without a callback.
    :param metadata: the key, the content type and the headers of the object.
    :param operation: the name of the upload in callbacks.
    """
    faults = UploadFaults(request.faults)
    with request.storage.incoming() as incoming:
        receive(incoming)
        faults.arrived()
        image = None
        if callback:  # before the commit: after it, another upload may replace the content
            with incoming.open() as content:
                image = read_image_info(content)
        now = request.oss.options.clock()
        stored = incoming.commit(*metadata, now=now, forbid_overwrite=forbid_overwrite)
    request.exchange.stored = stored
    with faults:
        return call_back(request, callback, stored, image, operation) if callback else respond(stored)


def copy_object(request: Request) -> Response:
    check_key(request.key)
    directive = request.headers.get("x-oss-metadata-directive", "COPY").upper()
    if directive not in ("COPY", "REPLACE"):
        message = "The x-oss-metadata-directive must be COPY or REPLACE."
        raise invalid_argument(message, name="x-oss-metadata-directive", value=directive)
    key, media_type, headers = described(request)
    forbid_overwrite = forbids_overwrite(request.headers)
    with open_source(request) as (source, content):
        # Copying an object onto itself changes only its metadata, whatever the directive.
        keeps_metadata = directive == "COPY" and _source(request) != (request.bucket, key)
        if keeps_metadata or not request.headers.get("content-type"):
            media_type = source.content_type
        if keeps_metadata:
            copied = {name: value for name, value in source.headers.items() if name not in NOT_COPIED}
            headers = copied | {name: value for name, value in headers.items() if name in NOT_COPIED}
        with request.storage.incoming() as incoming:
            incoming.copy(source, content)
            now = request.oss.options.clock()
            stored = incoming.commit(key, media_type, headers, now=now, forbid_overwrite=forbid_overwrite)
            request.exchange.stored = stored
    nodes = [("ETag", f'"{stored.etag}"'), ("LastModified", iso_time(stored.last_modified))]
    return xml_response("CopyObjectResult", nodes, copied_headers(stored, stored.headers))


def copied_headers(copied: StoredObject | Part, headers: Mapping[str, str]) -> Headers:
    """Return the headers of a response about a copy, in which OSS sends no Content-MD5.

    :param headers: those of the object, or of the upload in parts.
    """
    return [
        ("ETag", f'"{copied.etag}"'),
        copied.crc64_header,
        ("x-oss-copied-size", str(copied.size)),
        ("x-oss-ia-retrieve-flow-type", "0"),  # as recorded; OSS does not say what it counts
        *encryption_headers(headers),
    ]


def delete_object(request: Request) -> Response:
    """DELETE: delete an object; 204 even if it does not exist."""
    check_key(request.key)
    request.storage.delete(request.key)
    return Response(204)


def delete_multiple_objects(request: Request) -> Response:
    encoding = EncodingType(request)
    if not request.headers.get("content-md5"):
        message = "Missing Some Required Arguments."
        raise OSSError(400, "MissingArgument", message, "0016-00000606", ArgumentName="Content-MD5")
    body = read_small_body(request.environ, MAX_BODY_SIZE)
    document = read_xml(body, "Delete", any_character=True, ec=_MALFORMED)
    quiet = document.findtext("Quiet", "false").strip().lower()
    keys = [element.findtext("Key") or "" for element in document.findall("Object")]
    if quiet not in ("true", "false") or not 0 < len(keys) <= MAX_DELETED_KEYS:
        raise malformed_xml(_MALFORMED, f"the list of Object must have from 1 to {MAX_DELETED_KEYS} members.")
    for key in keys:
        check_key(key)
    for version in document.iterfind("Object/VersionId"):
        check_version(version.text or "")
    for key in keys:
        request.check_right("oss:DeleteObject", request.bucket, key)
    for key in keys:
        request.storage.delete(key)
    deleted: list[Node] = [] if quiet == "true" else [("Deleted", [("Key", encoding(key))]) for key in keys]
    return xml_response("DeleteResult", [*encoding.nodes, *deleted])


def get_object_acl(request: Request) -> Response:
    stored = request.storage.get(request.key)
    if stored is None:
        raise no_such_key(request.key)
    return acl_response(stored.headers.get(OBJECT_ACL, "default"))


def get_tags(request: Request) -> Response:
    """GET `?tagging` of a bucket or an object: return no tags."""
    if request.key and request.storage.get(request.key) is None:
        raise no_such_key(request.key)
    return xml_response("Tagging", [("TagSet", "")])


def put_object_acl(request: Request) -> Response:
    if not request.headers.get(OBJECT_ACL):
        raise invalid_argument(f"The {OBJECT_ACL} header is missing.", name=OBJECT_ACL)
    acl = headers_to_store(request.storage, request.headers).get(OBJECT_ACL)
    if not request.storage.change_headers(request.key, {OBJECT_ACL: acl}):
        raise no_such_key(request.key)
    return Response(200)


def check_version(version: str) -> None:
    """Raise OSSError for any version but `null`, the one of objects in a bucket without versioning."""
    if version not in ("", "null"):
        raise not_implemented(f"version {version}: it keeps one of each object")


def described(request: Request) -> tuple[str, str, dict[str, str]]:
    """Return the key, the content type and the headers of the object that a request uploads."""
    media_type = content_type({"content-type": request.headers.get("content-type", "")}, "")
    return request.key, media_type, headers_to_store(request.storage, request.headers)


@contextmanager
def open_source(request: Request) -> Iterator[tuple[StoredObject, BinaryIO]]:
    """Open the object that a request copies; raise OSSError if it is missing, or a condition does not hold."""
    bucket, key = _source(request)
    request.check_right("oss:GetObject", bucket, key)
    opened = request.oss.storage.bucket(bucket).open(key)
    if opened is None:
        raise no_such_key(key)
    stored, content = opened
    with content:
        if is_unmodified(stored, request.headers, f"{COPY_SOURCE}-"):
            raise OSSError(304, "NotModified", "The object has not been modified.")
        yield stored, content


def _source(request: Request) -> tuple[str, str]:
    """Return the bucket and the key that a request copies; as in a URL's path, `+` is a blank (protocol.md 14)."""
    path, _, query = request.headers[COPY_SOURCE].partition("?")
    source = unquote_plus(path)
    for name, value in parse_qsl(query, keep_blank_values=True):
        check_version(value if name == "versionId" else f"{name}={value}")
    bucket, _, key = source.removeprefix("/").partition("/")
    if not bucket or not key or not is_header_value(bucket):
        message = "The x-oss-copy-source must be /bucket/object, percent-encoded."
        raise invalid_argument(message, name=COPY_SOURCE, value=source)
    return bucket, key
