"""PostObject: a form becomes an object, and the application hears of it (P§2)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote
from xml.sax.saxutils import escape

from ..callbacks.image_info import ImageInfo, read_image_info
from ..callbacks.message import CallbackError
from ..callbacks.parameters import CallbackParameters, check_address, check_given_once, parse_callback
from ..callbacks.sender import CallbackSender
from ..callbacks.variables import callback_values
from ..environ import arrival
from ..errors import Answer, Headers, OSSError, header_value, invalid_argument, xml_text
from ..faults import Faults, UploadFaults
from ..object_headers import check_key, content_type, forbids_overwrite, object_headers, redirect
from ..signatures.form_check import Account, check_signature
from ..storage.interface import Bucket, Incoming, StoredObject
from .form import Form
from .policy import SizeRange, parse_policy
from .policy_check import check_policy, size_range, too_large, too_small


@dataclass(frozen=True)
class PostObject:
    bucket: str
    region: str
    account: Account
    storage: Bucket
    sender: CallbackSender
    clock: Callable[[], float]
    allow_private_callback: bool
    resolve: Callable[[str], list[str]] | None
    strict: bool = False
    exact_field_names: bool = False

    def __call__(
        self, environ: Mapping[str, Any], *, request_id: str, host: str, public_key_url: str, faults: Faults
    ) -> Answer:
        """:param host: the bucket's own URL, for the `Location` of a 201."""
        # The order of the checks is P§2.7's.
        form = Form(environ, exact_names=self.exact_field_names)
        fields = form.fields
        if "key" not in fields:
            message = (
                "The bucket POST must contain the specified 'key'. If it is specified, please check the order of the"
                " fields"
            )
            raise invalid_argument(message, name="key")
        now = arrival(environ, self.clock())
        check_signature(fields, self.account, self.region, now)
        policy = parse_policy(fields["policy"])
        file_type = form.file.content_type
        check_policy(policy, fields, bucket=self.bucket, file_type=file_type, now=now, strict=self.strict)
        check_given_once("callback", fields.get("callback", ""), environ.get("HTTP_X_OSS_CALLBACK", ""))
        callback = self.read_callback(fields.get("callback", ""))
        key = _object_key(fields["key"], form.file.filename)
        kind = content_type(fields, file_type)
        headers = object_headers(fields, environ.get("HTTP_X_OSS_OBJECT_ACL", ""))
        forbid_overwrite = forbids_overwrite(fields)
        location = redirect(fields)
        limit = size_range(policy)
        failing = UploadFaults(faults)
        with self.storage.incoming() as incoming:
            failing.arriving()
            incoming.receive(_within(limit, form.chunks()), form.source)
            if incoming.size < limit.minimum:
                raise too_small(incoming.size, limit)
            failing.arrived()
            # Once committed, the content is another upload's to replace.
            image = _image_info(incoming) if callback else None
            stored = incoming.commit(key, kind, headers, now=self.clock(), forbid_overwrite=forbid_overwrite)
        with failing:
            if callback:
                return self._call_back(callback, stored, image, form, environ, request_id, public_key_url, faults)
            return _answer(stored, fields.get("success_action_status", ""), location, self.bucket, host)

    def read_callback(self, text: str) -> CallbackParameters | None:
        callback = parse_callback(text)
        for url in callback.urls if callback else []:
            check_address(url, allow_private=self.allow_private_callback, resolve=self.resolve)
        return callback

    def _call_back(
        self,
        callback: CallbackParameters,
        stored: StoredObject,
        image: ImageInfo | None,
        form: Form,
        environ: Mapping[str, Any],
        request_id: str,
        public_key_url: str,
        faults: Faults,
    ) -> Answer:
        client_ip = environ.get("REMOTE_ADDR", "")
        values = callback_values(
            stored, image, form.fields, bucket=self.bucket, client_ip=client_ip, request_id=request_id
        )
        try:
            body = self.sender.send(
                callback,
                values,
                bucket=self.bucket,
                request_id=request_id,
                public_key_url=public_key_url,
                faults=faults,
            )
        except CallbackError as error:
            # 203 is a 2xx: the object stays, and only this answer says that the application was not told.
            failure = OSSError(203, "CallbackFailed", error.message, error.ec)
            failure.headers = stored.checksum_headers
            raise failure from None
        return Answer(200, [*stored.checksum_headers, ("Content-Type", "application/json")], body)


def _within(limit: SizeRange, chunks: Iterable[bytes]) -> Iterator[bytes]:
    size = 0
    for chunk in chunks:
        size += len(chunk)
        if size > limit.maximum:
            raise too_large(limit)  # and how large it is, nobody knows who has not read it
        yield chunk


def _image_info(incoming: Incoming) -> ImageInfo | None:
    with incoming.open() as content:
        return read_image_info(content)


def _object_key(key: str, filename: str) -> str:
    # After the policy check: the policy saw the unreplaced text (P§2.4).
    key = key.replace("${filename}", filename)
    check_key(key)
    return key


def _answer(stored: StoredObject, status: str, redirect: str, bucket: str, host: str) -> Answer:
    """P§2.5, when no callback was asked for."""
    headers: Headers = stored.checksum_headers
    if redirect:
        return Answer(303, [*headers, ("Location", header_value(redirect))])
    if status == "201":
        location = f"{host}/{quote(stored.key)}"
        document = (
            '<?xml version="1.0" encoding="UTF-8"?>\n'
            f'<PostResponse>\n  <Bucket>{escape(bucket)}</Bucket>\n  <ETag>"{stored.etag}"</ETag>\n'
            f"  <Key>{escape(xml_text(stored.key))}</Key>\n  <Location>{escape(location)}</Location>\n</PostResponse>\n"
        )
        return Answer(201, [*headers, ("Content-Type", "application/xml"), ("Location", location)], document.encode())
    return Answer(200 if status == "200" else 204, headers)
