"""Alibaba Cloud's official SDK for the bucket of the settings: each call ends in time, and fails by one error."""

from __future__ import annotations

import importlib.util
import threading
from collections.abc import Callable
from typing import Any, Literal, TypeVar

from ..credentials import CredentialsProvider, valid_credentials
from ..exceptions import CredentialsError, OSSWSGIError, SettingsError
from ..explanations.text import Text, sentences
from ..settings import Settings
from ..threads import ForkAware, TimeLimitError, call_within, inherited

T = TypeVar("T")

REINSTALL_SDK = "Install it again: `pip install --force-reinstall 'oss-wsgi[sdk]'`."

#: Seconds for a wait of the SDK's own, more than any call may take.
_READ_TIMEOUT = 120.0


class SDKBrokenError(SettingsError):
    """Raised with the fix when the SDK is installed and cannot be imported; ``hint`` is the sentence without it."""

    def __init__(self, hint: str) -> None:
        super().__init__(sentences(Text("{1}.", hint), REINSTALL_SDK))
        self.hint = hint


class SDKCallError(OSSWSGIError):
    """Raised when OSS refuses a call, or cannot be asked; the text is why.

    :ivar kind: ``answer`` of OSS; ``late``; ``network``; ``credentials``; ``failed`` for an error of the SDK itself.
    :ivar status: of OSS's answer; 0 without one. So ``code``, ``ec``, ``message`` and ``document`` are empty then.
    """

    def __init__(
        self,
        kind: Literal["answer", "late", "network", "credentials", "failed"],
        reason: str,
        *,
        status: int = 0,
        code: str = "",
        ec: str = "",
        message: str = "",
        document: bytes = b"",
    ) -> None:
        super().__init__(reason)
        self.kind = kind
        self.status = status
        self.code = code
        self.ec = ec
        self.message = message
        self.document = document


class SDKClient(ForkAware):
    """Calls the SDK for one bucket: ``client.ask("get_bucket_cors", "GetBucketCorsRequest")``.

    The SDK is imported and its client made at the first call. Its retries are off: the caller decides whether to ask
    again. As a context manager it closes its connections at the end.

    SettingsError without the SDK, and for settings without a bucket or a key.

    :param credentials: provider of the access key, called for each request; without it the settings' own key.
    :param clock: returns Unix seconds: an access key that has expired by this clock is not used.
    :param timeout: seconds for a whole call, including the name look-up.
    :param who: what needs the SDK, for the error without it.
    :param signature_version: by default v4, which OSS accepts from every account; without a region only v1 can sign.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        credentials: CredentialsProvider | None = None,
        clock: Callable[[], float],
        timeout: float,
        who: str = "this",
        signature_version: str | None = None,
    ) -> None:
        require_sdk(who)
        self.bucket, _ = settings.bucket_and_host()
        self.sdk: Any = None
        self._settings = settings
        self._credentials = credentials or settings.credentials()
        self._clock = clock
        self._timeout = timeout
        self._signature_version = signature_version or ("v4" if settings.region else "v1")
        self._lock = threading.Lock()
        self._transport: Any = None
        self._client: Any = None
        super().__init__()

    def _renew_in_child(self) -> None:
        self._lock = threading.Lock()
        if self._transport is not None:
            inherited.append(self._transport)
            self._transport = self._client = None

    def __enter__(self) -> SDKClient:
        self.connect()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def connect(self) -> None:
        """Import the SDK and make its client, as the first call would do; this sends nothing. Raises SDKBrokenError."""
        with self._lock:
            if self._client is not None:
                return
            sdk = self.sdk = _import_sdk()
            self._transport = sdk.transport.RequestsHttpClient(
                connect_timeout=self._timeout, readwrite_timeout=_READ_TIMEOUT
            )
            configuration = sdk.Config(
                region=self._settings.region,
                signature_version=self._signature_version,
                credentials_provider=sdk.credentials.CredentialsProviderFunc(self._access_key),
                http_client=self._transport,
                retry_max_attempts=1,
                **_address(self._settings),
            )
            self._client = sdk.Client(configuration)

    def close(self) -> None:
        """Close the open connections; the next call opens new ones."""
        with self._lock:
            transport, self._transport, self._client = self._transport, None, None
        if transport is not None:
            transport.close()

    def ask(self, operation: str, request: str, *, seconds: float | None = None, **members: Any) -> Any:
        """Call one operation, and return its result. Raises SDKCallError and SDKBrokenError."""
        return self.within(seconds or self._timeout, lambda: self.send(operation, request, **members))

    def within(self, seconds: float, function: Callable[[], T]) -> T:
        """Return the result of a function that calls ``send``, several times perhaps. Raises as ``ask`` does."""
        self.connect()
        try:
            return call_within(seconds, function, thread_name="oss_wsgi-bucket")
        except TimeLimitError:
            raise SDKCallError("late", "no answer in time") from None
        except Exception as error:
            raise self._error(error) from error

    def send(self, operation: str, request: str, **members: Any) -> Any:
        """Call one operation within a function of ``within``, and return its result; errors are the SDK's."""
        return getattr(self._client, operation)(getattr(self.sdk, request)(bucket=self.bucket, **members))

    def _access_key(self) -> Any:
        key = valid_credentials(self._credentials, self._clock())
        return self.sdk.credentials.Credentials(key.access_key_id, key.access_key_secret, key.security_token)

    def _error(self, error: Exception) -> SDKCallError:
        """Return the error that an exception of the SDK means."""
        errors = self.sdk.exceptions
        cause = error.unwrap() if isinstance(error, errors.OperationError) else error
        if isinstance(cause, errors.ServiceError):
            code, ec, message = cause.code or "", cause.ec or "", cause.message or ""
            # Some of what OSS names, such as the right endpoint, stands only in the answer itself.
            document = cause.snapshot if isinstance(cause.snapshot, bytes) else str(cause.snapshot or "").encode()
            reason = f"{cause.status_code} {code}"
            return SDKCallError(
                "answer", reason, status=cause.status_code, code=code, ec=ec, message=message, document=document
            )
        if isinstance(cause, errors.RequestError | errors.ResponseError | OSError):  # OSError while a body is read
            return SDKCallError("network", _network_reason(cause))
        if isinstance(cause, errors.CredentialsBaseError):
            inner = cause.kwargs.get("error")
            problem = f"{inner}" if isinstance(inner, CredentialsError) else type(inner or cause).__name__
            return SDKCallError("credentials", Text("there is no access key to ask OSS with: {1}", problem))
        return SDKCallError("failed", Text("the SDK raised {1}", type(cause).__name__))


def has_sdk() -> bool:
    """Return whether the official SDK is installed, without importing it."""
    return importlib.util.find_spec("alibabacloud_oss_v2") is not None


def require_sdk(who: str) -> None:
    """Raise SettingsError if the official SDK is not installed."""
    if not has_sdk():
        raise SettingsError(Text("{1} needs the official SDK: pip install 'oss-wsgi[sdk]'.", who))


def _import_sdk() -> Any:
    try:
        import alibabacloud_oss_v2 as sdk  # written out, so that PyInstaller finds it
    except Exception as error:
        text = str(error) or type(error).__name__
        raise SDKBrokenError(Text("the official SDK is installed and cannot be imported: {1}", text)) from error
    return sdk


def _network_reason(error: BaseException) -> str:
    """Return in words why the network failed, without the text of any other error, which may hold a secret."""
    # The SDK wraps errors in its own way, besides Python's causes.
    inner = error.unwrap() if hasattr(error, "unwrap") else error.__cause__ or error.__context__
    if isinstance(inner, BaseException):
        return _network_reason(inner)
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return "no answer in time" if "timeout" in type(error).__name__.lower() else "the connection failed"


def _address(settings: Settings) -> dict[str, Any]:
    """Return the address as options of the SDK's Config; a host URL that ends in the bucket's name means path style."""
    bucket, host = settings.bucket_and_host()
    base = host.removesuffix(f"/{bucket}")
    if base != host:
        return {"endpoint": base, "use_path_style": True}
    if settings.endpoint:
        return {"endpoint": settings.endpoint}
    return {"endpoint": host, "use_cname": True}
