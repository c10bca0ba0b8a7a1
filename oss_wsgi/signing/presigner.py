"""Makes the signed form of an upload: settings, a grant and credentials become a policy, signed, and its fields."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence

from ..callback.parameters import CallbackParameters, TicketedCallback, body_template
from ..callback.ticket import TicketBook
from ..credentials import Credentials, CredentialsProvider, StaticCredentialsProvider
from ..exceptions import CredentialsError, GrantError, MalformedRequestError, OutsideGrantError, PolicyError
from ..http import essence
from ..object_names import FILENAME_VARIABLE, MAX_KEY_BYTES, original_name, unique_name
from ..settings import Settings
from . import v1, v4
from .grant import Grant
from .pinned_fields import PinnedFields
from .policy_text import content_length_range, encode, eq, exactly, one_of, starts_with
from .presigned_post import PresignedPost

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
        bucket, self._url = settings.place()
        self._bucket = bucket
        self._bucket_condition = exactly("bucket", bucket)
        self._settings = settings
        self._credentials = credentials or StaticCredentialsProvider(settings.credentials())
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
