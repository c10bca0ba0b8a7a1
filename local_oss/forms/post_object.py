"""PostObject: store the file of a form as an object and call the application back (protocol.md 2)."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import quote

from ..callbacks.upload_callback import read_form_callback
from ..environ import arrival
from ..errors import Headers, Response, header_value, missing_field
from ..object_headers import check_key, content_type, forbids_overwrite, headers_to_store, redirect, upload_headers
from ..operations.write_objects import store
from ..request import Request
from ..signatures.request_check import check_form_signature
from ..storage.index import StoredObject
from ..storage.storage import Incoming
from ..xml_document import write_xml
from .form import Form
from .policy import SizeRange, check_policy, parse_policy, size_range, too_large, too_small


def post_object(request: Request) -> Response:
    """Return the response to a form; raise OSSError for the first check that fails, in the order of protocol.md 2.7."""
    environ, oss, bucket = request.environ, request.oss, request.storage
    form = Form(environ, exact_names=oss.options.exact_field_names)
    fields = form.fields
    request.exchange.note_form(fields, form.file_name, form.file_type)
    if "key" not in fields:
        raise missing_field("key")
    now = arrival(environ, oss.options.clock())
    signer = check_form_signature(fields, oss.account, oss.options.region, now, refuse_v1=oss.options.refuse_v1)
    policy = parse_policy(fields["policy"])
    file_type = form.file_type
    check_policy(policy, fields, bucket=request.bucket, file_type=file_type, now=now, strict=oss.options.strict)
    callback = read_form_callback(request, fields, signer)
    # This follows the policy's check, which compares the key as it was sent (protocol.md 2.4).
    key = fields["key"].replace("${filename}", form.file_name)
    check_key(key)
    signer.check_right("oss:PutObject", request.bucket, key)
    stored_type = content_type(fields, file_type)
    headers = headers_to_store(bucket, fields, environ.get("HTTP_X_OSS_OBJECT_ACL", ""))
    forbid_overwrite = forbids_overwrite(fields)
    location = redirect(fields)
    limit = size_range(policy)

    def receive(incoming: Incoming) -> None:
        incoming.receive(_limited(form, limit), form.source)
        if incoming.size < limit.minimum:
            raise too_small(incoming.size, limit)

    return store(
        request,
        receive,
        lambda stored: _response(request, stored, fields.get("success_action_status", ""), location),
        (key, stored_type, headers),
        forbid_overwrite=forbid_overwrite,
        callback=callback,
        operation="PostObject",
    )


def _limited(form: Form, limit: SizeRange) -> Iterator[bytes]:
    size = 0
    for chunk in form.chunks():
        size += len(chunk)
        if size > limit.maximum:  # the rest is not read
            raise too_large(max(size, form.announced_size), limit)
        yield chunk


def _response(request: Request, stored: StoredObject, status: str, redirect_url: str) -> Response:
    """Return the response to an upload without a callback (protocol.md 2.5)."""
    headers: Headers = upload_headers(stored)
    if redirect_url:
        return Response(303, [*headers, ("Location", header_value(redirect_url))])
    if status == "201":
        location = f"{request.oss.url}/{request.bucket}/{quote(stored.key)}"
        nodes = [("Bucket", request.bucket), ("ETag", f'"{stored.etag}"'), ("Key", stored.key), ("Location", location)]
        document = write_xml("PostResponse", nodes)
        return Response(201, [*headers, ("Content-Type", "application/xml"), ("Location", location)], document)
    return Response(200 if status == "200" else 204, headers)
