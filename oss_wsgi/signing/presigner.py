"""Makes the signed form of an upload: settings, a grant and credentials become a policy, signed, and its fields."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from json.encoder import encode_basestring_ascii as quoted
from typing import Any, NamedTuple

from ..callback.parameters import CallbackParameters, TicketedCallback, body_template
from ..callback.ticket import TicketBook
from ..credentials import Credentials, CredentialsProvider, StaticCredentialsProvider
from ..exceptions import CredentialsError, GrantError, MalformedRequestError, OutsideGrantError, PolicyError
from ..http import essence, runs_in_browsers
from ..object_names import FILENAME_VARIABLE, MAX_KEY_BYTES, original_name, unique_name
from ..settings import Settings
from . import v1, v4
from .grant import Grant
from .policy_text import content_length_range, encode, eq, exactly, one_of, starts_with


class Pinned(NamedTuple):
    """``conditions`` is the text of those that pin ``fields``; both are the same for the same ``made_of``."""

    made_of: tuple[object, ...]
    fields: dict[str, str]
    conditions: str


class PinnedFields:
    """Makes them, and keeps the last ones, for most forms of one second have the same. Threads may share one."""

    def __init__(self, signature_version: str, region: str) -> None:
        self._v1 = signature_version == "v1"
        self._region = region
        self._kept: Pinned | None = None

    def of(self, credentials: Credentials, date: str, grant: Grant | None, content_type: str | None) -> Pinned:
        """Give the fields that name the signer and, for an exact object name, those of the grant."""
        further = () if grant is None else grant.plain_fields
        made_of = credentials, date, content_type, further
        kept = self._kept
        if kept is not None and kept.made_of == made_of:
            return kept
        fields = self._identity(credentials, date)
        if grant is not None:
            fields |= _exact_fields(grant, content_type)
        made = Pinned(made_of, fields, ",".join([exactly(name, value) for name, value in fields.items()]))
        if further is not None:
            self._kept = made
        return made

    def _identity(self, credentials: Credentials, date: str) -> dict[str, str]:
        if self._v1:
            fields = v1.identity_fields(credentials.access_key_id)
        else:
            fields = v4.identity_fields(credentials.access_key_id, date, self._region)
        if credentials.security_token:
            fields["x-oss-security-token"] = credentials.security_token
        return fields


def _exact_fields(grant: Grant, content_type: str | None) -> dict[str, str]:
    """Give the further fields of a form whose object name is exact."""
    fields = {
        "x-oss-forbid-overwrite": "true" if grant.forbid_overwrite else "false",
        # "default" is what counts without the field, but a browser could add another one to a form that lacks it.
        "x-oss-object-acl": grant.acl or "default",
    }
    if content_type is not None:
        # x-oss-content-type wins over the part's type and over Content-Type (P§2.3); $content-type reads the latter.
        fields |= {"x-oss-content-type": content_type, "Content-Type": content_type}
    if grant.storage_class is not None:
        fields["x-oss-storage-class"] = grant.storage_class
    disposition = grant.content_disposition
    if disposition is None and (content_type is None or runs_in_browsers(content_type)):
        disposition = "attachment"  # a type that is not pinned may turn out to be one that runs
    if disposition:
        fields["Content-Disposition"] = disposition
    fields |= {f"x-oss-meta-{name}": value for name, value in grant.metadata.items()}
    return fields | {f"x:{name}": value for name, value in grant.custom.items()}


_BASE64 = frozenset({"policy", "callback"})


@dataclass(frozen=True)
class PresignedPost:
    """A signed form: POST ``fields`` in their order, then the file as ``file``, to ``url`` before ``expire``.

    ``expire`` is in Unix seconds; ``dir`` the prefix of the object's name; ``callback`` the field's text or "".
    """

    url: str
    fields: dict[str, str] = field(repr=False)
    expire: int
    dir: str
    access_key_id: str

    def json(self) -> bytes:
        """Give ``payload`` as JSON: its long texts, which are Base64, are not searched for what needs an escape."""
        fields = self.fields
        members = [f'"{name}": {quoted(value)}' for name, value in fields.items() if name not in _BASE64]
        url, policy, callback = quoted(self.url), fields["policy"], fields.get("callback")
        # The order of `fields`, in which policy and callback come after the key.
        members.insert(1, f'"policy": "{policy}"')
        if callback is not None:
            members.insert(2, f'"callback": "{callback}"')
        signature = fields.get("x-oss-signature")
        text = (
            f'{{"method": "POST", "url": {url}, "fields": {{{", ".join(members)}}}, "headers": {{}}, '
            f'"expire": {self.expire}, "accessid": {quoted(self.access_key_id)}, "host": {url}, "policy": "{policy}", '
            f'"signature": {quoted(signature or fields["Signature"])}, "callback": "{callback or ""}", '
            f'"dir": {quoted(self.dir)}'
        )
        if signature is not None:
            version = fields["x-oss-signature-version"]
            text += (
                f', "x_oss_signature_version": "{version}", "version": "{version}", '
                f'"x_oss_credential": {quoted(fields["x-oss-credential"])}, "x_oss_date": "{fields["x-oss-date"]}", '
                f'"security_token": {quoted(fields.get("x-oss-security-token", ""))}'
            )
        return f"{text}}}".encode()

    def payload(self) -> dict[str, Any]:
        """Give the members of the endpoint's JSON: for any client, the seed's (V1) and the current samples' (V4)."""
        fields = self.fields
        members: dict[str, Any] = {
            "method": "POST",
            "url": self.url,
            "fields": fields,
            "headers": {},
            "expire": self.expire,
            "accessid": self.access_key_id,
            "host": self.url,
            "policy": fields["policy"],
            "signature": fields.get("Signature") or fields["x-oss-signature"],
            "callback": fields.get("callback", ""),
            "dir": self.dir,
        }
        if "x-oss-signature" in fields:
            members |= {
                "x_oss_signature_version": fields["x-oss-signature-version"],
                "version": fields["x-oss-signature-version"],
                "x_oss_credential": fields["x-oss-credential"],
                "x_oss_date": fields["x-oss-date"],
                "security_token": fields.get("x-oss-security-token", ""),
            }
        return members


_MAX_FILENAME = 4096


class PostPresigner:
    """Signs forms for one bucket.

    ``credentials`` is asked once for each signature; without it the settings' own access key signs.
    ``clock`` gives Unix seconds. ``token`` gives the random part of a unique name, 128 bits in hex. With ``tickets``
    the callback of each form carries a ticket of its own; without, it does not prove that the upload was asked for.

    Raises SettingsError when there is no bucket, or no access key.
    """

    def __init__(
        self,
        settings: Settings,
        credentials: CredentialsProvider | None = None,
        *,
        clock: Callable[[], float],
        token: Callable[[], str] = lambda: secrets.token_hex(16),
        tickets: TicketBook | None = None,
    ) -> None:
        bucket, self._url = settings.bucket_and_host()
        self._bucket = bucket
        self._bucket_condition = exactly("bucket", bucket)
        self._settings = settings
        self._credentials = credentials or StaticCredentialsProvider(settings.credentials())
        #: Whether signing never waits: a credentials provider of the user's own may ask another host.
        self.is_nonblocking = credentials is None
        self._clock = clock
        self._token = token
        self._tickets = tickets
        self._callback = CallbackParameters(settings.callback_url) if settings.callback_url else None
        self._ticketed = TicketedCallback(self._callback) if self._callback is not None else None
        self._v4_key: tuple[tuple[str, str, str], bytes] | None = None
        self._pinned_fields = PinnedFields(settings.signature_version, settings.region or "")

    def presign(
        self,
        grant: Grant | None = None,
        *,
        filename: str | None = None,
        content_type: str | None = None,
        size: int | None = None,
    ) -> PresignedPost:
        """Sign one form for ``grant`` (None: all that the settings allow).

        With ``filename``, or a grant's ``key``, the object's name is exact; otherwise ``key`` ends in
        ``${filename}`` and the prefix is pinned. ``content_type`` is pinned, ``size`` pins that many bytes.

        Raises MalformedRequestError, OutsideGrantError, GrantError, CredentialsError, PolicyError.
        """
        grant = grant or Grant()
        settings = self._settings
        now = int(self._clock())
        date = v4.format_date(now)
        types = settings.upload_content_types if grant.content_types is None else grant.content_types
        asked_type = _check_type(content_type, types)
        sizes = self._sizes(grant, size)
        prefix, key = self._key(grant, filename, date[:8])
        if key is None and grant.has_fields:
            raise MalformedRequestError("filename_required", "This upload needs its filename in the request.")

        credentials = self._get_credentials(now)
        expire = now + (grant.expires or settings.upload_expires)
        if credentials.expiration is not None:
            expire = min(expire, int(credentials.expiration.timestamp()))

        fields = {"key": prefix + FILENAME_VARIABLE if key is None else key, "policy": ""}
        conditions = [self._bucket_condition, starts_with("key", prefix) if key is None else eq("key", key)]
        if content_type is None and types:
            conditions.append(one_of("content-type", types))
        elif content_type is not None and key is None:
            conditions.append(eq("content-type", content_type))
        callback = self._callback_text(grant, key, prefix, sizes, types if asked_type is None else [asked_type], expire)
        if callback is not None:
            fields["callback"] = callback
            if settings.callback_required:
                conditions.append(f'{{"callback":"{callback}"}}')  # Base64 needs no escape
        pinned = self._pinned_fields.of(credentials, date, None if key is None else grant, content_type)
        conditions += [pinned.conditions, content_length_range(*sizes)]

        text = encode(expire, conditions)
        fields["policy"] = text
        fields.update(pinned.fields)
        name, signature = self._signature(credentials, date[:8], text)
        fields[name] = signature
        fields["success_action_status"] = "200"
        return PresignedPost(self._url, fields, expire, prefix, credentials.access_key_id)

    def check(self) -> None:
        """Raise CredentialsError when nothing could be signed now."""
        self._get_credentials(int(self._clock()))

    def _sizes(self, grant: Grant, size: int | None) -> tuple[int, int]:
        low = grant.min_size
        high = self._settings.upload_max_size if grant.max_size is None else grant.max_size
        if low > high:
            raise GrantError(f"min_size {low} is over the largest file allowed, {high} bytes (OSS_UPLOAD_MAX_SIZE).")
        if size is None:
            return low, high
        if not low <= size <= high:
            raise OutsideGrantError("size_not_allowed", f"A file of {size} bytes is not allowed, only {low} to {high}.")
        return size, size

    def _key(self, grant: Grant, filename: str | None, day: str) -> tuple[str, str | None]:
        """Give the prefix, and the exact object name if there is one."""
        prefix = self._settings.upload_dir if grant.dir is None else grant.dir
        if grant.key is not None:
            return grant.dir or grant.key[: grant.key.rfind("/") + 1], grant.key
        if filename is None:
            return prefix, None
        if not filename or len(filename) > _MAX_FILENAME:
            hint = f"The filename must have 1 to {_MAX_FILENAME} characters."
            raise MalformedRequestError("filename_malformed", hint)
        if self._settings.upload_names == "unique":
            name = unique_name(filename, day, self._token())
        else:
            name = original_name(filename)
        key = prefix + name
        if len(key.encode()) > MAX_KEY_BYTES:
            raise MalformedRequestError("filename_malformed", "The filename is too long, together with the prefix.")
        return prefix, key

    def _get_credentials(self, now: int) -> Credentials:
        credentials = self._credentials.get_credentials()
        if credentials.expiration is not None and credentials.expiration.timestamp() < now + 1:
            raise CredentialsError("The credentials have expired: nothing can be signed with them.")
        return credentials

    def _signature(self, credentials: Credentials, day: str, text: str) -> tuple[str, str]:
        """Give the name of the signature's field, and the signature."""
        if self._settings.signature_version == "v1":
            return "Signature", v1.signature(credentials.access_key_secret, text)
        parts = credentials.access_key_secret, day, self._settings.region or ""
        kept = self._v4_key
        if kept is None or kept[0] != parts:
            kept = self._v4_key = parts, v4.signing_key(*parts)
        return "x-oss-signature", v4.signature(kept[1], text)

    def _callback_text(
        self,
        grant: Grant,
        key: str | None,
        prefix: str,
        sizes: tuple[int, int],
        types: Sequence[str],
        expire: int,
    ) -> str | None:
        parameters, ticketed = self._callback, self._ticketed
        if parameters is None or ticketed is None:
            return None
        if grant.custom:
            body = body_template(custom=[f"x:{name}" for name in grant.custom])
            parameters = CallbackParameters(parameters.url, body)
            ticketed = TicketedCallback(parameters)
        if self._tickets is None:
            return parameters.encode()
        ticket = self._tickets.issue(
            bucket=self._bucket,
            key=key,
            prefix=prefix,
            sizes=sizes,
            content_types=types,
            expires=expire,
            user=grant.user,
            data=grant.data,
        )
        try:
            return ticketed.encode(ticket)
        except PolicyError as error:
            raise GrantError(str(error)) from error


def _check_type(content_type: str | None, types: Sequence[str]) -> str | None:
    """Give the essence of the type that was asked for, if one was."""
    if content_type is None:
        return None
    name = essence(content_type)
    if name is None:
        raise MalformedRequestError("content_type_malformed", "The content_type must be like image/png.")
    if types and name not in types:
        raise OutsideGrantError("content_type_not_allowed", f"The type {name} is not allowed, only {', '.join(types)}.")
    return name
