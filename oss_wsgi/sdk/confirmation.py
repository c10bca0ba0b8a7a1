"""Confirms an upload by a HEAD request for the object, with Alibaba Cloud's official SDK."""

from __future__ import annotations

from typing import Any, Literal

from ..callback.upload import Upload, plain_etag
from ..credentials import CredentialsProvider, StaticCredentialsProvider
from ..exceptions import ConfirmationUnavailableError, CredentialsError, NotConfirmedError, SettingsError
from ..http import essence
from ..settings import Settings
from ..time_limit import TimeLimitError, call_within

OSS_CALLBACK_TIMEOUT = 5.0


class SDKConfirmation:
    """Callable for ``confirm``: HEADs the object with our own access key, and compares it with the report.

    Size, ETag, CRC-64 and type are compared as far as the report names them. With a ticket it must name the ETag, which
    tells uploads apart. Returns True when all agree. Raises NotConfirmedError when one differs, the object does not
    exist, or the report names too little; ConfirmationUnavailableError when OSS cannot be reached within ``timeout``,
    or refuses the request. The key needs ``oss:GetObject`` for the objects.

        DirectUpload(app, settings, confirm=SDKConfirmation(settings), ...)

    Needs ``pip install oss-wsgi[sdk]``; SettingsError without it, and for settings without a bucket.

    :param credentials: provider of the access key, called for each confirmation; without it the settings' own key.
    :param timeout: seconds for the whole confirmation, including the name look-up. OSS waits 5 s for the whole
        callback, and the application's own work needs part of them.
    :param when_unreachable: ``"refuse"`` or ``"accept"`` a report when OSS does not answer in time, cannot be
        connected to, or answers 5xx; an accepted one has ``Upload.confirmed = False``. A refused access key does not
        recover by itself, so the report is always refused.
    """

    def __init__(
        self,
        settings: Settings,
        credentials: CredentialsProvider | None = None,
        *,
        timeout: float = 3.0,
        when_unreachable: Literal["refuse", "accept"] = "refuse",
    ) -> None:
        if not 0 < timeout < OSS_CALLBACK_TIMEOUT:
            raise ValueError(f"timeout must be more than 0 and less than {OSS_CALLBACK_TIMEOUT} s, not {timeout!r}.")
        if when_unreachable not in ("refuse", "accept"):
            raise ValueError(f"when_unreachable must be 'refuse' or 'accept', not {when_unreachable!r}.")
        try:
            import alibabacloud_oss_v2 as sdk
        except ImportError as error:
            raise SettingsError("SDKConfirmation needs the official SDK: pip install 'oss-wsgi[sdk]'.") from error
        self._sdk = sdk
        self._timeout = timeout
        self._accept = when_unreachable == "accept"
        self._bucket, _ = settings.bucket_and_host()
        self._credentials = credentials or StaticCredentialsProvider(settings.credentials())
        self._transport = sdk.transport.RequestsHttpClient(connect_timeout=timeout, readwrite_timeout=timeout)
        self._client = sdk.Client(
            sdk.Config(
                region=settings.region,
                # OSS accepts V4 from every account; without a region only V1 can be signed.
                signature_version="v4" if settings.region else "v1",
                credentials_provider=_CredentialsForSDK(sdk, self._credentials),
                http_client=self._transport,
                retry_max_attempts=1,
                **sdk_address(settings),
            )
        )

    def __call__(self, upload: Upload) -> bool:
        if upload.bucket not in (None, self._bucket):
            raise NotConfirmedError("not_confirmed", "the report is of another bucket than ours")
        if not upload.object or (upload.etag is None and upload.size is None and upload.crc64 is None):
            hint = "the report names no object, or none of etag, size and crc64: the callback's body must have them"
            raise NotConfirmedError("not_confirmed", hint)
        if upload.etag is None and upload.ticket_id is not None:
            hint = "the report names no etag, by which uploads are told apart: add etag to the callback's body"
            raise NotConfirmedError("not_confirmed", hint)
        stored = self._head(upload.object)
        for name, reported_value, stored_value in _comparisons(upload, stored):
            if reported_value != stored_value:
                hint = f"{name} is {stored_value!r}, and the report says {reported_value!r}"
                raise NotConfirmedError("not_confirmed", hint)
        return True

    def close(self) -> None:
        """Close the open connections."""
        self._transport.close()

    def _head(self, key: str) -> Any:
        """Return the result of a HEAD request that ends within the time limit."""

        def head() -> Any:
            return self._client.head_object(self._sdk.HeadObjectRequest(self._bucket, key))

        try:
            return call_within(self._timeout, head, thread_name="oss_wsgi-confirm")
        except TimeLimitError:
            raise self._unreachable(f"OSS did not answer within {self._timeout} s") from None
        except Exception as error:
            raise self._refusal(error) from error

    def _refusal(self, error: Exception) -> NotConfirmedError | ConfirmationUnavailableError:
        """Return what an exception of the SDK means for the report."""
        errors = self._sdk.exceptions
        cause = error.unwrap() if isinstance(error, errors.OperationError) else error
        if isinstance(cause, errors.ServiceError):
            hint = f"OSS answered {cause.status_code} {cause.code} ({cause.ec or 'no EC'})"
            if cause.status_code == 404 and cause.code != "NoSuchBucket":
                return NotConfirmedError("not_confirmed", f"OSS does not hold the object: {hint}")
            if cause.status_code >= 500:
                return self._unreachable(hint)
            hint = f"{hint}: check the access key and its permissions"
            return ConfirmationUnavailableError("confirmation_refused", hint)
        if isinstance(cause, errors.RequestError | errors.ResponseError):
            inner = cause.unwrap()
            return self._unreachable(f"OSS could not be reached: {type(inner).__name__}")
        if isinstance(cause, errors.CredentialsBaseError):
            inner = cause.kwargs.get("error")
            problem = f"{inner}" if isinstance(inner, CredentialsError) else type(inner or cause).__name__
            return ConfirmationUnavailableError("credentials_unavailable", f"no access key to ask with: {problem}")
        return ConfirmationUnavailableError("confirm_failed", f"the SDK raised {type(cause).__name__}")

    def _unreachable(self, hint: str) -> ConfirmationUnavailableError:
        return ConfirmationUnavailableError("oss_unreachable", hint, accept=self._accept)


class _CredentialsForSDK:
    """Our credentials provider in the shape of the SDK's."""

    def __init__(self, sdk: Any, provider: CredentialsProvider) -> None:
        self._sdk = sdk
        self._provider = provider

    def get_credentials(self) -> Any:
        key = self._provider.get_credentials()
        return self._sdk.credentials.Credentials(key.access_key_id, key.access_key_secret, key.security_token)


def sdk_address(settings: Settings) -> dict[str, Any]:
    """Return the address as options of the SDK's Config; a host that ends in the bucket's name means path style."""
    bucket, host = settings.bucket_and_host()
    base = host.removesuffix(f"/{bucket}")
    if base != host:
        return {"endpoint": base, "use_path_style": True}
    if settings.endpoint:
        return {"endpoint": settings.endpoint}
    return {"endpoint": host, "use_cname": True}


def _comparisons(upload: Upload, stored: Any) -> list[tuple[str, Any, Any]]:
    """Return name, reported value and stored value of what the report names."""
    comparisons: list[tuple[str, Any, Any]] = []
    if upload.size is not None:
        comparisons.append(("size", upload.size, stored.content_length))
    if upload.etag is not None:
        comparisons.append(("etag", plain_etag(upload.etag), plain_etag(stored.etag or "")))
    if upload.crc64 is not None:
        comparisons.append(("crc64", str(upload.crc64), stored.hash_crc64))
    if upload.mime_type is not None:
        comparisons.append(("type", essence(upload.mime_type), essence(stored.content_type or "")))
    return comparisons
