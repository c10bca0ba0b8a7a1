"""The presigner: it makes one upload's signed form, or PUT, and its JSON, from settings, grant and credentials."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from json.encoder import encode_basestring_ascii as quoted
from os import urandom
from typing import Any, ClassVar, NamedTuple

from ..callback.parameters import (
    TICKET_MEMBER,
    CallbackParameters,
    TicketedCallback,
    body_template,
    encode_variables,
)
from ..callback.ticket import (
    MAX_METADATA_BYTES,
    POST_OBJECT,
    PUT_OBJECT,
    RECEIPT_FIELD,
    ReceiptBook,
    TicketBook,
    new_ticket,
)
from ..credentials import Credentials, CredentialsProvider, valid_credentials
from ..exceptions import GrantError, MalformedRequestError, OutsideGrantError, PolicyError
from ..http import essence, runs_in_browsers
from ..object_names import FILENAME_VARIABLE, MAX_KEY_BYTES, original_folder, original_name, unique_name
from ..settings import Settings
from ..settings_check import MAX_FORM_BYTES, MAX_OBJECT_BYTES
from . import v1, v4
from .grant import Grant
from .policy import content_length_range, encode_policy, eq, exactly, one_of, starts_with
from .presigned_url import PresignedURL, URLPresigner

_MAX_FILENAME = 4096
_METADATA = "x-oss-meta-"
_SMALL_RECEIPT = MAX_METADATA_BYTES // 2  # characters; a receipt of this length alone is never too large
_EMPTY = '""'  # in JSON
_BASE64 = frozenset({"policy", "callback", RECEIPT_FIELD})
_NOBODY_REPORTS = (
    "A form without a filename has no receipt, so nobody could report its upload (OSS_REPORT_BY=page): add the "
    "filename to the request."
)


@dataclass(frozen=True)
class PresignedPost:
    """A signed form: POST ``fields`` in order, then the file as ``file``, to ``url`` before ``expire``.

    ``expire`` is in Unix seconds, ``dir`` is the prefix of the object's name. The form does not contain the secret.
    ``ticket`` is what the page reports the upload with, under OSS_REPORT_BY=page; else None.
    """

    url: str
    fields: dict[str, str] = field(repr=False)
    expire: int
    dir: str
    access_key_id: str
    ticket: str | None = field(default=None, repr=False)
    method: ClassVar[str] = "POST"

    @property
    def key(self) -> str:
        """The object's name, or the prefix with ``${filename}``."""
        return self.fields["key"]

    def payload(self) -> dict[str, Any]:
        """Return the members of ``json()``.

        ``method``, ``url``, ``fields``, ``headers`` and ``expire`` serve any client. The next six are for clients of
        signature V1. The ``x_oss_*`` names, ``version`` and ``security_token`` are for OSS's samples for V4. ``ticket``
        is there under OSS_REPORT_BY=page.
        """
        members: dict[str, Any] = json.loads(self.json())
        return members

    def json(self) -> bytes:
        """Return the endpoint's JSON, in ASCII."""
        # Each text is escaped once. Base64 needs no escape, and json.dumps would search it for one.
        fields = {name: f'"{text}"' if name in _BASE64 else quoted(text) for name, text in self.fields.items()}
        members = ", ".join([f'"{name}": {value}' for name, value in fields.items()])
        url, signature = quoted(self.url), fields.get("Signature") or fields["x-oss-signature"]
        more = ""
        if "x-oss-signature" in fields:
            version, token = fields["x-oss-signature-version"], fields.get("x-oss-security-token", _EMPTY)
            more = (
                f', "x_oss_signature_version": {version}, "version": {version}, '
                f'"x_oss_credential": {fields["x-oss-credential"]}, "x_oss_date": {fields["x-oss-date"]}, '
                f'"security_token": {token}'
            )
        if self.ticket is not None:
            more += f', "{TICKET_MEMBER}": "{self.ticket}"'
        # After "expire": for clients that know only their own signature version. The text, some 7 KB, is made once.
        text = (
            f'{{"method": "POST", "url": {url}, "fields": {{{members}}}, "headers": {{}}, "expire": {self.expire}, '
            f'"accessid": {quoted(self.access_key_id)}, "host": {url}, "policy": {fields["policy"]}, '
            f'"signature": {signature}, "callback": {fields.get("callback", _EMPTY)}, "dir": {quoted(self.dir)}{more}}}'
        )
        return text.encode()


class UploadLimits(NamedTuple):
    """The limits of a grant, filled in from the settings: sizes in bytes, types, lifetime in seconds."""

    max_size: int
    min_size: int
    content_types: list[str]
    lifetime: int


class PartsTarget(NamedTuple):
    """The target of an upload in parts: the object's name, the allowed sizes and types, and the object's headers."""

    key: str
    sizes: tuple[int, int]
    content_types: list[str]
    headers: dict[str, str]


class PostPresigner:
    """Signs forms, and PUT requests, for one bucket.

    ``credentials`` provides the access key, once for each signature; without it the settings' own key signs. ``clock``
    returns Unix seconds. ``token`` returns the random part of a unique name, 128 bits in hex. With ``tickets`` each
    form's callback carries a ticket of its own; without tickets, a callback does not prove that this server allowed the
    upload. With ``receipts`` the object of an exact form carries its ticket's receipt. If pages report uploads
    (OSS_REPORT_BY=page), the ticket is beside the form, and there is one only with ``receipts``. ``trial`` goes into
    the tickets of test uploads.

    Raises SettingsError when there is no bucket, or no access key.
    """

    def __init__(
        self,
        settings: Settings,
        credentials: CredentialsProvider | None = None,
        *,
        clock: Callable[[], float],
        token: Callable[[], str] = lambda: urandom(16).hex(),
        tickets: TicketBook | None = None,
        receipts: ReceiptBook | None = None,
        trial: str | None = None,
    ) -> None:
        #: The address of the bucket.
        self.url: str
        self._bucket, self.url = settings.bucket_and_host()
        self._bucket_condition = exactly("bucket", self._bucket)
        self._settings = settings
        #: None for V1, whose signatures name no region.
        self._region = (settings.region or "") if settings.signature_version == "v4" else None
        #: The provider, or without one the settings' own access key.
        self._credentials = settings.credentials() if credentials is None else credentials
        #: The settings' own access key, which does not expire; None if a provider is asked for each signature.
        self._lasting_key = settings.credentials() if credentials is None else None
        #: Whether signing never waits: the user's own credentials provider may ask another host.
        self.is_nonblocking = credentials is None
        self._clock = clock
        self._token = token
        self._tickets = tickets
        self._receipts = receipts
        self._trial = trial
        self._pages_report = settings.pages_report
        urls = settings.callback_urls
        self._callback = TicketedCallback(CallbackParameters(";".join(urls))) if urls else None
        self._urls = URLPresigner(settings, credentials, clock=clock)

    def presign(
        self,
        grant: Grant | None = None,
        *,
        filename: str | None = None,
        content_type: str | None = None,
        size: int | None = None,
    ) -> PresignedPost:
        """Sign one form for ``grant`` (None: everything that the settings allow).

        With ``filename``, or a grant's ``key``, the object's name is exact; otherwise ``key`` ends in
        ``${filename}`` and the prefix is pinned. The form pins ``content_type``, and with ``size`` exactly that many
        bytes.

        Raises MalformedRequestError, OutsideGrantError, GrantError, CredentialsError, PolicyError.
        """
        grant = grant or Grant()
        now = int(self._clock())
        date = v4.format_date(now)
        types = self._types(grant)
        requested_type = None if content_type is None else _check_type(content_type, types)
        sizes = self._sizes(grant, size)
        key: str | None = None
        if filename is not None or grant.key is not None:
            prefix, key = self._prefix_and_key(grant, filename or "", date[:8])
        elif self._pages_report:
            raise MalformedRequestError("filename_required", _NOBODY_REPORTS)
        elif grant.has_fields:
            raise _filename_required()
        else:
            prefix = self._prefix(grant)
        credentials = self._lasting_key or valid_credentials(self._credentials, now)
        expires_at = self._expires_at(grant, credentials, now)
        ticket_types = types if requested_type is None else [requested_type]
        callback, ticket, receipt = self._reporting(grant, key, filename, prefix, sizes, ticket_types, expires_at)
        exact = grant.forbid_overwrite, grant.acl, grant.storage_class, grant.content_disposition, content_type
        pinned, pins = _pinned_fields(
            self._region, credentials.access_key_id, credentials.security_token, date, None if key is None else exact
        )
        if grant.metadata or grant.custom:
            own = {f"{_METADATA}{name}": value for name, value in grant.metadata.items()}
            if not self._pages_report:  # they are variables of the callback
                own |= {f"x:{name}": value for name, value in grant.custom.items()}
            if own:
                pinned, pins = {**pinned, **own}, f"{pins},{_pinning(own)}"
        if grant.metadata or (receipt is not None and len(receipt) > _SMALL_RECEIPT):
            check_metadata_size(pinned, receipt)
        conditions = self._conditions(key, prefix, content_type, types, callback, receipt)
        policy = encode_policy(expires_at, [*conditions, pins, content_length_range(*sizes)])
        fields = {"key": prefix + FILENAME_VARIABLE if key is None else key, "policy": policy}
        if callback is not None:
            fields["callback"] = callback
        fields |= pinned
        if receipt is not None:
            fields[RECEIPT_FIELD] = receipt
        name, signature = self._signature(credentials, date[:8], policy)
        fields[name] = signature
        fields["success_action_status"] = "200"
        return PresignedPost(self.url, fields, expires_at, prefix, credentials.access_key_id, ticket)

    def presign_put(
        self, grant: Grant | None = None, *, filename: str | None, size: int | None, content_type: str | None
    ) -> PresignedURL:
        """Sign the PUT of one file for ``grant``: the body is the file, and the client sends ``headers`` unchanged.

        The signature pins name and type, and with V4 the size. With V1 OSS accepts any size, and only the report's
        ticket limits it; OSS does not check Content-Disposition either.

        Raises what `presign` raises; also raises MalformedRequestError if one of the three parameters is None.
        """
        grant = grant or Grant()
        if filename is None or size is None or content_type is None:
            raise _missing(filename=filename, size=size, content_type=content_type)
        now = int(self._clock())
        types = self._types(grant)
        requested_type = _check_type(content_type, types)
        sizes = self._sizes(grant, size)
        prefix, key = self._prefix_and_key(grant, filename, v4.format_date(now)[:8])
        credentials = self._lasting_key or valid_credentials(self._credentials, now)
        expires_at = self._expires_at(grant, credentials, now)
        callback, ticket, receipt = self._reporting(
            grant, key, filename, prefix, sizes, [requested_type], expires_at, operation=PUT_OBJECT
        )
        headers = _request_headers(grant, content_type)
        check_metadata_size(headers, receipt)
        if receipt is not None:
            headers[RECEIPT_FIELD] = receipt
        signed = self._urls.presign(
            "PUT",
            key,
            expires=expires_at - now,
            query=_callback_query(callback, grant.custom),
            headers={**headers, "Content-Length": str(size)},
            additional_headers=["Content-Length", *({"Content-Disposition"} & headers.keys())],
            credentials=credentials,
        )
        return signed if ticket is None else replace(signed, ticket=ticket)

    def in_folder(self, grant: Grant, relative_path: str | None) -> Grant:
        """Return the grant for a file in a chosen folder: with original names, its object's name keeps the folders.

        Raises MalformedRequestError for an overlong path.
        """
        if not relative_path or grant.key is not None or self._settings.upload_names != "original":
            return grant
        if len(relative_path) > MAX_KEY_BYTES:
            hint = f"The relative_path must have {MAX_KEY_BYTES} characters at most."
            raise MalformedRequestError("filename_malformed", hint)
        return replace(grant, dir=self._prefix(grant) + original_folder(relative_path))

    def limits(self, grant: Grant) -> UploadLimits:
        """Return the limits of a form for ``grant``; an empty list of types means any type. Raises GrantError."""
        low, high = self._sizes(grant, None, MAX_OBJECT_BYTES)
        return UploadLimits(high, low, list(self._types(grant)), grant.expires or self._settings.upload_expires)

    def parts_target(
        self, grant: Grant, *, filename: str | None, content_type: str | None, size: int | None
    ) -> PartsTarget:
        """Return the target of an upload in parts for ``grant``, by the rules of a form with an exact name.

        Without ``content_type`` the type is ``application/octet-stream``, since OSS stores the type from the upload's
        beginning.

        Raises MalformedRequestError, OutsideGrantError, GrantError.
        """
        types = self._types(grant)
        content_type = content_type or "application/octet-stream"
        name = _check_type(content_type, types)
        sizes = self._sizes(grant, size, MAX_OBJECT_BYTES)
        if filename is None and grant.key is None:
            raise _filename_required()
        _, key = self._prefix_and_key(grant, filename or "", v4.format_date(int(self._clock()))[:8])
        headers = _request_headers(grant, content_type)
        return PartsTarget(key, sizes, [name] if types else [], headers)

    def check(self) -> None:
        """Raise CredentialsError if the presigner cannot sign now."""
        valid_credentials(self._credentials, int(self._clock()))

    def _expires_at(self, grant: Grant, credentials: Credentials, now: int) -> int:
        """Return when a signature expires, in Unix seconds: not after its access key."""
        expires_at = now + (grant.expires or self._settings.upload_expires)
        if credentials.expiration is not None:
            expires_at = min(expires_at, int(credentials.expiration.timestamp()))
        return expires_at

    def _sizes(self, grant: Grant, size: int | None, largest: int = MAX_FORM_BYTES) -> tuple[int, int]:
        """Return the smallest and largest allowed size, or ``size`` twice; ``largest`` is the way's own maximum."""
        low = grant.min_size
        granted = self._settings.upload_max_size if grant.max_size is None else grant.max_size
        high = min(granted, largest)
        if granted > MAX_FORM_BYTES and not self._settings.multipart:
            raise GrantError(
                f"The grant's max_size {granted} is over 5 GB: set OSS_MULTIPART=on, which such files need."
            )
        if low > high:
            raise GrantError(
                f"The grant's min_size {low} is over the largest file allowed, {high} bytes: lower it, or raise "
                "max_size or OSS_UPLOAD_MAX_SIZE."
            )
        if size is None:
            return low, high
        if not low <= size <= high:
            raise OutsideGrantError("size_not_allowed", f"A file of {size} bytes is not allowed, only {low} to {high}.")
        return size, size

    def _types(self, grant: Grant) -> Sequence[str]:
        return self._settings.upload_content_types if grant.content_types is None else grant.content_types

    def _prefix(self, grant: Grant) -> str:
        return self._settings.upload_dir if grant.dir is None else grant.dir

    def _prefix_and_key(self, grant: Grant, filename: str, day: str) -> tuple[str, str]:
        if grant.key is not None:
            return grant.dir or grant.key[: grant.key.rfind("/") + 1], grant.key
        if not filename or len(filename) > _MAX_FILENAME:
            hint = f"The filename must have 1 to {_MAX_FILENAME} characters."
            raise MalformedRequestError("filename_malformed", hint)
        if self._settings.upload_names == "unique":
            name = unique_name(filename, day, self._token(), sharded=self._settings.name_shards)
        else:
            name = original_name(filename)
        prefix = self._prefix(grant)
        key = prefix + name
        if len(key.encode()) > MAX_KEY_BYTES:
            hint = f"The prefix and the filename are over {MAX_KEY_BYTES} bytes together: shorten the filename."
            raise MalformedRequestError("filename_malformed", hint)
        return prefix, key

    def _conditions(
        self,
        key: str | None,
        prefix: str,
        content_type: str | None,
        types: Sequence[str],
        callback: str | None,
        receipt: str | None,
    ) -> list[str]:
        """Return the policy's conditions, except those of the pinned fields and the size."""
        conditions = [self._bucket_condition, starts_with("key", prefix) if key is None else eq("key", key)]
        if content_type is None and types:
            conditions.append(one_of("content-type", types))
        elif content_type is not None and key is None:
            conditions.append(eq("content-type", content_type))
        if callback is not None and self._settings.callback_required:
            conditions.append(f'{{"callback":"{callback}"}}')  # Base64 needs no escape
        if receipt is not None:
            conditions.append(f'{{"{RECEIPT_FIELD}":"{receipt}"}}')
        return conditions

    def _reporting(
        self,
        grant: Grant,
        key: str | None,
        filename: str | None,
        prefix: str,
        sizes: tuple[int, int],
        content_types: Sequence[str],
        expires_at: int,
        operation: str = POST_OBJECT,
    ) -> tuple[str | None, str | None, str | None]:
        """Return what reports an upload, the callback for OSS or the ticket for its page, and the receipt.

        The ticket is new, and also in the callback and the receipt. Each is None if it is off; only an exact name has
        a receipt.
        """
        ticketed = self._callback
        if ticketed is not None and grant.custom:
            body = body_template(f"x:{name}" for name in grant.custom)
            ticketed = TicketedCallback(CallbackParameters(ticketed.parameters.url, body))
        if ticketed is not None and self._tickets is None:
            return ticketed.parameters.encode(), None, None
        by_page = self._pages_report and self._receipts is not None
        if self._tickets is None or not (ticketed or by_page):
            return None, None, None
        ticket = new_ticket(
            bucket=self._bucket,
            key=key,
            prefix=prefix,
            sizes=sizes,
            content_types=content_types,
            expires_at=expires_at,
            user=grant.user,
            data=grant.data,
            forbid_overwrite=grant.forbid_overwrite,  # pinned by `_exact_form_fields`
            max_objects=grant.max_objects,
            filename=filename,
            trial=self._trial,
            by_page=by_page,
        )
        sealed = self._tickets.seal(ticket)
        receipt = None
        if key is not None and self._receipts is not None:
            receipt = self._receipts.seal(ticket, operation=operation, custom=grant.custom, metadata=grant.metadata)
        if ticketed is None:
            return None, sealed, receipt
        try:
            return ticketed.encode(sealed), None, receipt
        except PolicyError as error:
            raise GrantError(str(error)) from error

    def _signature(self, credentials: Credentials, day: str, policy: str) -> tuple[str, str]:
        """Return the name of the form field for the signature, and the signature."""
        if self._region is None:
            return "Signature", v1.signature(credentials.access_key_secret, policy)
        key = v4.signing_key(credentials.access_key_secret, day, self._region)
        return "x-oss-signature", v4.signature(key, policy)


def check_metadata_size(fields: Mapping[str, str], receipt: str | None) -> None:
    """Raise GrantError if a form's user metadata, receipt included, is larger than OSS allows."""
    own = sum(len(name) + len(value.encode()) for name, value in fields.items() if name.startswith(_METADATA))
    sealed = 0 if receipt is None else len(RECEIPT_FIELD) + len(receipt)
    if own + sealed > MAX_METADATA_BYTES:
        raise GrantError(
            f"The grant's metadata is {own} bytes and the receipt of user and data {sealed}: together {own + sealed}, "
            f"and OSS takes {MAX_METADATA_BYTES} (8 KB): shorten metadata, user, data or custom, or set "
            "OSS_RECEIPTS=off."
        )


def _check_type(content_type: str, types: Sequence[str]) -> str:
    """Return the essence of the requested type."""
    name = essence(content_type)
    if name is None:
        raise MalformedRequestError("content_type_malformed", "The content_type must be like image/png.")
    if types and name not in types:
        raise OutsideGrantError("content_type_not_allowed", f"The type {name} is not allowed, only {', '.join(types)}.")
    return name


@functools.lru_cache(maxsize=8)  # most forms of one second have the same of these fields
def _pinned_fields(
    region: str | None, access_key_id: str, token: str | None, date: str, exact: tuple[Any, ...] | None
) -> tuple[Mapping[str, str], str]:
    """Return the fields that name the signer and the further fields of an exact name, and the conditions for them.

    ``region`` is None for V1; ``exact`` has the arguments of `_exact_form_fields`, or is None.
    """
    fields = v1.identity_fields(access_key_id) if region is None else v4.identity_fields(access_key_id, date, region)
    if token:
        fields["x-oss-security-token"] = token
    if exact is not None:
        fields |= _exact_form_fields(*exact)
    return fields, _pinning(fields)


def _pinning(fields: Mapping[str, str]) -> str:
    """Return the conditions that require exactly these fields."""
    return ",".join([exactly(name, value) for name, value in fields.items()])


def _exact_form_fields(
    forbid_overwrite: bool,
    acl: str | None,
    storage_class: str | None,
    content_disposition: str | None,
    content_type: str | None,
) -> dict[str, str]:
    """Return the extra fields of a form whose object name is exact, without those of the grant's mappings."""
    fields = {
        "x-oss-forbid-overwrite": "true" if forbid_overwrite else "false",
        # Without the field OSS assumes "default", but then a browser could add the field with another value.
        "x-oss-object-acl": acl or "default",
    }
    if content_type is not None:
        # x-oss-content-type wins over the part's type and Content-Type (protocol.md 2.3), which $content-type reads.
        fields |= {"x-oss-content-type": content_type, "Content-Type": content_type}
    if storage_class is not None:
        fields["x-oss-storage-class"] = storage_class
    disposition = _disposition(content_disposition, content_type)
    if disposition:
        fields["Content-Disposition"] = disposition
    return fields


def _request_headers(grant: Grant, content_type: str) -> dict[str, str]:
    """Return the headers of a PUT, or of an upload in parts.

    Defaults are left out: the signature covers every ``x-oss-*``, so a client cannot add one.
    """
    headers = {"Content-Type": content_type}
    if grant.forbid_overwrite:
        headers["x-oss-forbid-overwrite"] = "true"
    if grant.acl is not None:
        headers["x-oss-object-acl"] = grant.acl
    if grant.storage_class is not None:
        headers["x-oss-storage-class"] = grant.storage_class
    disposition = _disposition(grant.content_disposition, content_type)
    if disposition:
        headers["Content-Disposition"] = disposition
    headers |= {f"{_METADATA}{name}": value for name, value in grant.metadata.items() if value}
    for name, value in headers.items():
        if not value.isascii():
            raise GrantError(
                f"{name} is a header of a PUT or of parts, so {value!r} must be ASCII: percent-encode it, or upload by "
                "form."
            )
    return headers


def _disposition(granted: str | None, content_type: str | None) -> str | None:
    """Return an object's Content-Disposition, "" or None for none; ``content_type`` is None if it is unknown."""
    if granted is None and (content_type is None or runs_in_browsers(content_type)):
        return "attachment"
    return granted


def _callback_query(callback: str | None, custom: Mapping[str, str]) -> dict[str, str]:
    """Return the query parameters that make OSS send a callback; ``custom`` has the ``x:`` variables by name."""
    if callback is None:
        return {}
    if not custom:
        return {"callback": callback}
    try:
        return {"callback": callback, "callback-var": encode_variables(custom)}
    except PolicyError as error:
        raise GrantError(str(error)) from error


def _filename_required() -> MalformedRequestError:
    return MalformedRequestError("filename_required", "This upload needs a filename: add it to the request.")


def _missing(**parameters: object) -> MalformedRequestError:
    """Return the error for a PUT that lacks parameters; its reason names the first of them."""
    missing = [name for name, value in parameters.items() if value is None]
    hint = f"A PUT needs filename, size and content_type: add {', '.join(missing)} to the request."
    return MalformedRequestError(f"{missing[0]}_required", hint)
