"""A bucket's client on Alibaba Cloud's official SDK, with a time limit for each call and errors that name the fix."""

from __future__ import annotations

import importlib.util
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from ..bucket import ListedObject, StoredObject, StoredPart
from ..callback.upload import plain_etag
from ..credentials import CredentialsProvider, valid_credentials
from ..exceptions import BucketRefusedError, BucketUnreachableError, CredentialsError, NotStoredError, SettingsError
from ..settings import Settings
from ..threads import TimeLimitError, call_within

T = TypeVar("T")

#: Seconds for listing, which takes OSS longer than a HEAD; and the factor for joining up to 10,000 parts, which takes
#: longer still.
LONG_TIMEOUT = 30.0
_COMPLETE_TIMES = 4


class SDKBucket:
    """A ``BucketClient`` on ``alibabacloud-oss-v2``, for the bucket of the settings.

        DirectUpload(app, settings, bucket_client=SDKBucket(settings, credentials=provider, clock=time.time))

    The SDK is imported at the first call. The SDK's retries are off: the caller decides whether to ask again.

    Needs ``pip install oss-wsgi[sdk]``; SettingsError without it, and for settings without a bucket or a key.

    :param credentials: provider of the access key, called for each request; without it the settings' own key.
    :param clock: returns Unix seconds: an access key that has expired by this clock is not used.
    :param timeout: seconds for a whole call, including the name look-up; listing may take 30, and completing 120.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        credentials: CredentialsProvider | None = None,
        clock: Callable[[], float],
        timeout: float = 3.0,
    ) -> None:
        if timeout <= 0:
            raise ValueError(f"timeout must be more than 0 s, not {timeout!r}.")
        require_sdk("SDKBucket")
        self._settings = settings
        self._bucket, _ = settings.bucket_and_host()
        self._credentials = credentials or settings.credentials()
        self._clock = clock
        self._timeout = timeout
        self._lock = threading.Lock()
        self._sdk: Any = None
        self._transport: Any = None
        self._client: Any = None

    def head(self, key: str) -> StoredObject | None:
        """Return what is stored under a name, or None, as ``BucketClient.head`` describes."""

        def head() -> StoredObject:
            result = self._client.head_object(self._sdk.HeadObjectRequest(self._bucket, key))
            return StoredObject(
                key,
                result.content_length or 0,
                plain_etag(result.etag or ""),
                result.last_modified.timestamp() if result.last_modified else 0.0,
                result.content_type,
                int(result.hash_crc64) if result.hash_crc64 else None,
                {name.lower(): value for name, value in (result.metadata or {}).items()},
                result.headers.get("x-oss-request-id"),
                result.object_type,
            )

        try:
            return self._call(head, "HEAD of the object", "oss:GetObject", self._timeout)
        except NotStoredError:
            return None

    def list(self, prefix: str, start_after: str, limit: int) -> Sequence[ListedObject]:
        """Return objects in order, as ``BucketClient.list`` describes."""

        def page() -> Sequence[ListedObject]:
            request = self._sdk.ListObjectsV2Request(
                self._bucket, prefix=prefix, start_after=start_after or None, max_keys=limit, encoding_type="url"
            )
            return [
                ListedObject(
                    entry.key,
                    entry.size or 0,
                    plain_etag(entry.etag or ""),
                    entry.last_modified.timestamp() if entry.last_modified else 0.0,
                )
                for entry in self._client.list_objects_v2(request).contents or ()
            ]

        return self._call(page, "listing the bucket", "oss:ListObjects", LONG_TIMEOUT)

    def begin(self, key: str, headers: Mapping[str, str]) -> str:
        """Begin an upload in parts, and return its ID, as ``BucketClient.begin`` describes."""

        def begin() -> str:
            request = self._sdk.InitiateMultipartUploadRequest(
                self._bucket, key, headers=dict(headers), disable_auto_detect_mime_type=True
            )
            return str(self._client.initiate_multipart_upload(request).upload_id)

        return self._call(begin, "beginning an upload in parts", "oss:PutObject", self._timeout)

    def list_parts(self, key: str, upload_id: str) -> Sequence[StoredPart]:
        """Return the stored parts, as ``BucketClient.list_parts`` describes."""

        def parts() -> Sequence[StoredPart]:
            stored: list[StoredPart] = []
            while True:
                marker = stored[-1].number if stored else None
                request = self._sdk.ListPartsRequest(
                    self._bucket, key, upload_id, max_parts=1000, part_number_marker=marker
                )
                result = self._client.list_parts(request)
                for part in result.parts or ():
                    crc64 = int(part.hash_crc64) if part.hash_crc64 else None
                    stored.append(StoredPart(part.part_number, part.size, part.etag, crc64))
                if not (result.is_truncated and result.parts):
                    return stored

        return self._call(parts, "listing the parts of an upload", "oss:ListParts", LONG_TIMEOUT)

    def complete(
        self, key: str, upload_id: str, parts: Sequence[tuple[int, str]], headers: Mapping[str, str]
    ) -> StoredObject:
        """Join parts to the object, and return it, as ``BucketClient.complete`` describes."""

        def complete() -> str | None:
            joined = self._sdk.CompleteMultipartUpload(
                parts=[self._sdk.UploadPart(part_number=number, etag=etag) for number, etag in parts]
            )
            request = self._sdk.CompleteMultipartUploadRequest(
                self._bucket, key, upload_id, complete_multipart_upload=joined, headers=dict(headers)
            )
            identifier: str | None = self._client.complete_multipart_upload(request).headers.get("x-oss-request-id")
            return identifier

        limit = _COMPLETE_TIMES * LONG_TIMEOUT
        request_id = self._call(complete, "completing an upload in parts", "oss:PutObject", limit)
        stored = self.head(key)
        if stored is None:
            raise NotStoredError("not_stored", "OSS completed the upload, but holds no object now: was it deleted?")
        return stored._replace(request_id=request_id)

    def abort(self, key: str, upload_id: str) -> None:
        """Remove an upload and its parts, as ``BucketClient.abort`` describes."""

        def abort() -> None:
            self._client.abort_multipart_upload(self._sdk.AbortMultipartUploadRequest(self._bucket, key, upload_id))

        try:
            self._call(abort, "aborting an upload in parts", "oss:AbortMultipartUpload", self._timeout)
        except NotStoredError:
            return

    def close(self) -> None:
        """Close the open connections; the next call opens new ones."""
        with self._lock:
            transport, self._transport, self._client = self._transport, None, None
        if transport is not None:
            transport.close()

    def _call(self, function: Callable[[], T], action: str, right: str, timeout: float) -> T:
        """Return the result of a call of the SDK that ends within ``timeout``, or raise a BucketError."""
        self.connect()
        try:
            return call_within(timeout, function, thread_name="oss_wsgi-bucket")
        except TimeLimitError:
            hint = f"{action}: OSS did not answer within {timeout:g} s"
            raise BucketUnreachableError("bucket_unreachable", hint) from None
        except Exception as error:
            raise self._error(error, action, right) from error

    def connect(self) -> None:
        """Import the SDK and make its client, as the first call would do; this sends nothing.

        Raises BucketRefusedError if the SDK cannot be imported.
        """
        with self._lock:
            if self._client is not None:
                return
            sdk = self._sdk = import_sdk()
            self._client, self._transport = new_client(
                sdk,
                self._settings,
                sdk.credentials.CredentialsProviderFunc(self._access_key),
                connect_timeout=self._timeout,
                read_timeout=_COMPLETE_TIMES * LONG_TIMEOUT,
            )

    def _access_key(self) -> Any:
        key = valid_credentials(self._credentials, self._clock())
        return self._sdk.credentials.Credentials(key.access_key_id, key.access_key_secret, key.security_token)

    def _error(
        self, error: Exception, action: str, right: str
    ) -> BucketUnreachableError | BucketRefusedError | NotStoredError:
        """Return the error that an exception of the SDK means."""
        errors = self._sdk.exceptions
        cause = error.unwrap() if isinstance(error, errors.OperationError) else error
        if isinstance(cause, errors.ServiceError):
            code = cause.code or ""
            hint = f"OSS answered {cause.status_code} {code} ({cause.ec or 'no EC'})"
            if cause.status_code == 404 and code != "NoSuchBucket":
                return NotStoredError("not_stored", f"OSS does not hold the object: {hint}")
            if cause.status_code >= 500:
                return BucketUnreachableError("bucket_unreachable", f"{action}: {hint}")
            needed = f", and that it has {right}" if cause.status_code == 403 else ""
            hint = f"{action}: {hint}: check the access key, bucket and region{needed}"
            return BucketRefusedError("bucket_refused", hint, code=code, right=right)
        if isinstance(cause, errors.RequestError | errors.ResponseError):
            reason = network_reason(cause)
            return BucketUnreachableError("bucket_unreachable", f"{action}: OSS could not be reached: {reason}")
        if isinstance(cause, errors.CredentialsBaseError):
            inner_error = cause.kwargs.get("error")
            known = isinstance(inner_error, CredentialsError)
            problem = f"{inner_error}" if known else type(inner_error or cause).__name__
            return BucketRefusedError(
                "credentials_unavailable", f"there is no access key to ask OSS with: {problem}", right=right
            )
        return BucketRefusedError("bucket_failed", f"{action}: the SDK raised {type(cause).__name__}", right=right)


def network_reason(error: BaseException) -> str:
    """Return in words why the network failed, without the text of any other error, which may hold a secret."""
    # The SDK wraps errors in its own way, besides Python's causes.
    inner = error.unwrap() if hasattr(error, "unwrap") else error.__cause__ or error.__context__
    if isinstance(inner, BaseException):
        return network_reason(inner)
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return "no answer in time" if "timeout" in type(error).__name__.lower() else "the connection failed"


def has_sdk() -> bool:
    """Return whether the official SDK is installed, without importing it."""
    return importlib.util.find_spec("alibabacloud_oss_v2") is not None


def require_sdk(who: str) -> None:
    """Raise SettingsError if the official SDK is not installed."""
    if not has_sdk():
        raise SettingsError(f"{who} needs the official SDK: pip install 'oss-wsgi[sdk]'.")


def import_sdk() -> Any:
    """Import the installed SDK and return it. Raises BucketRefusedError if it cannot be imported."""
    try:
        import alibabacloud_oss_v2 as sdk  # written out, so that PyInstaller finds it
    except Exception as error:
        hint = f"the official SDK is installed and cannot be imported: {str(error) or type(error).__name__}"
        raise BucketRefusedError("bucket_failed", hint) from error
    return sdk


def new_client(
    sdk: Any,
    settings: Settings,
    credentials: Any,
    *,
    connect_timeout: float,
    read_timeout: float,
    signature_version: str | None = None,
) -> tuple[Any, Any]:
    """Return a client of the SDK that never repeats a call, and its transport, which the caller closes.

    :param credentials: a provider of the SDK's.
    :param signature_version: by default v4, which OSS accepts from every account; without a region only v1 can sign.
    """
    transport = sdk.transport.RequestsHttpClient(connect_timeout=connect_timeout, readwrite_timeout=read_timeout)
    configuration = sdk.Config(
        region=settings.region,
        signature_version=signature_version or ("v4" if settings.region else "v1"),
        credentials_provider=credentials,
        http_client=transport,
        retry_max_attempts=1,
        **_address(settings),
    )
    return sdk.Client(configuration), transport


def _address(settings: Settings) -> dict[str, Any]:
    """Return the address as options of the SDK's Config; a host URL that ends in the bucket's name means path style."""
    bucket, host = settings.bucket_and_host()
    base = host.removesuffix(f"/{bucket}")
    if base != host:
        return {"endpoint": base, "use_path_style": True}
    if settings.endpoint:
        return {"endpoint": settings.endpoint}
    return {"endpoint": host, "use_cname": True}
