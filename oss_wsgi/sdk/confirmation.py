"""Confirms an upload by a HEAD of the object, with Alibaba Cloud's official SDK."""

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
    """Callable for ``confirm``: HEADs the object with our own access key, and compares what the report says of it.

    Size, ETag, CRC-64 and type are compared, those that the report names; with a ticket it must name the ETag, by which
    uploads are told apart. True when all agree; NotConfirmedError when one differs, the object is not there, or the
    report names too little; ConfirmationUnavailableError when OSS cannot be reached within ``timeout``, or does not
    let us ask. The key needs ``oss:GetObject`` for the objects.

        DirectUpload(app, settings, confirm=SDKConfirmation(settings), ...)

    Needs ``pip install oss-wsgi[sdk]``; SettingsError without it, and for settings that name no bucket.

    :param credentials: provider of the access key, asked for each confirmation; without it the settings' own.
    :param timeout: seconds for the whole confirmation, name look-up included. OSS waits 5 s for the whole callback,
        of which the application's own work needs its share.
    :param when_unreachable: ``"refuse"`` or ``"accept"`` a report when OSS does not answer in time, cannot be
        connected to, or answers 5xx; accepted, it has ``Upload.confirmed = False``. A refused access key is
        no passing trouble, and always refuses.
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
                # OSS takes V4 from every account; without a region only V1 can be signed.
                signature_version="v4" if settings.region else "v1",
                credentials_provider=_SDKCredentials(sdk, self._credentials),
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
            raise NotConfirmedError("not_confirmed", "the report names no etag, by which uploads are told apart")
        held = self._head(upload.object)
        for name, reported, found in _compared(upload, held):
            if reported != found:
                raise NotConfirmedError("not_confirmed", f"{name} is {found!r}, and the report says {reported!r}")
        return True

    def close(self) -> None:
        """Close the connections that are kept open."""
        self._transport.close()

    def _head(self, key: str) -> Any:
        """HEAD the object within the time that is left for it."""

        def head() -> Any:
            return self._client.head_object(self._sdk.HeadObjectRequest(self._bucket, key))

        try:
            return call_within(self._timeout, head, thread_name="oss_wsgi-confirm")
        except TimeLimitError:
            raise self._unreachable(f"OSS did not answer within {self._timeout} s") from None
        except Exception as error:
            raise self._failure(error) from error

    def _failure(self, error: Exception) -> NotConfirmedError | ConfirmationUnavailableError:
        """Tell what an exception of the SDK means for the report."""
        errors = self._sdk.exceptions
        cause = error.unwrap() if isinstance(error, errors.OperationError) else error
        if isinstance(cause, errors.ServiceError):
            hint = f"OSS answered {cause.status_code} {cause.code} ({cause.ec or 'no EC'})"
            if cause.status_code == 404 and cause.code != "NoSuchBucket":
                return NotConfirmedError("not_confirmed", f"OSS does not hold the object: {hint}")
            if cause.status_code >= 500:
                return self._unreachable(hint)
            return ConfirmationUnavailableError("confirmation_refused", f"{hint}: see its access key and permissions")
        if isinstance(cause, errors.RequestError | errors.ResponseError):
            inner = cause.unwrap()
            return self._unreachable(f"OSS could not be reached: {type(inner).__name__}")
        if isinstance(cause, errors.CredentialsBaseError):
            inner = cause.kwargs.get("error")
            known = f"{inner}" if isinstance(inner, CredentialsError) else type(inner or cause).__name__
            return ConfirmationUnavailableError("credentials_unavailable", f"no access key to ask with: {known}")
        return ConfirmationUnavailableError("confirm_failed", f"the SDK raised {type(cause).__name__}")

    def _unreachable(self, hint: str) -> ConfirmationUnavailableError:
        return ConfirmationUnavailableError("oss_unreachable", hint, accept=self._accept)


class _SDKCredentials:
    """Our provider of credentials as the SDK asks one."""

    def __init__(self, sdk: Any, provider: CredentialsProvider) -> None:
        self._sdk = sdk
        self._provider = provider

    def get_credentials(self) -> Any:
        key = self._provider.get_credentials()
        return self._sdk.credentials.Credentials(key.access_key_id, key.access_key_secret, key.security_token)


def sdk_address(settings: Settings) -> dict[str, Any]:
    """Give the endpoint in the SDK's terms; a host that ends in the bucket's name is the path style of a stand-in."""
    bucket, host = settings.bucket_and_host()
    base = host.removesuffix(f"/{bucket}")
    if base != host:
        return {"endpoint": base, "use_path_style": True}
    if settings.endpoint:
        return {"endpoint": settings.endpoint}
    return {"endpoint": host, "use_cname": True}


def _compared(upload: Upload, held: Any) -> list[tuple[str, Any, Any]]:
    """Pair what the report names with what OSS holds."""
    pairs: list[tuple[str, Any, Any]] = []
    if upload.size is not None:
        pairs.append(("size", upload.size, held.content_length))
    if upload.etag is not None:
        pairs.append(("etag", plain_etag(upload.etag), plain_etag(held.etag or "")))
    if upload.crc64 is not None:
        pairs.append(("crc64", str(upload.crc64), held.hash_crc64))
    if upload.mime_type is not None:
        pairs.append(("type", essence(upload.mime_type), essence(held.content_type or "")))
    return pairs
