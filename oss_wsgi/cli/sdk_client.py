"""The official SDK's client for the bucket of the settings, with its errors as sentences."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ..credentials import Credentials
from ..exceptions import BucketRefusedError
from ..sdk.bucket import has_sdk, import_sdk, network_reason, sdk_address
from ..settings import Settings
from .http_client import OSSRefusal, read_refusal
from .refusal_fix import REACH_OSS, fix_refusal
from .terminal import MisuseError, plain

REINSTALL_SDK = "Install it again: `pip install --force-reinstall 'oss-wsgi[sdk]'`."

_NO_REFUSAL = OSSRefusal("", "", "")


class SDKRefusedError(Exception):
    """Raised with one sentence when OSS refuses or cannot be reached.

    ``refusal`` and ``status`` are OSS's; without an answer they are empty and 0.
    """

    def __init__(self, message: str, refusal: OSSRefusal = _NO_REFUSAL, status: int = 0) -> None:
        super().__init__(message)
        self.refusal = refusal
        self.status = status

    @property
    def code(self) -> str:
        """Return the error code of OSS; "" without an answer."""
        return self.refusal.code

    def fix(self, rights: str, bucket: str) -> str:
        """Return the sentences that say what to do; ``rights`` are the RAM actions that the request needs."""
        if not self.status:
            return REACH_OSS
        return fix_refusal(self.refusal, self.status, rights, f"acs:oss:*:*:{bucket}")


@contextlib.contextmanager
def sdk_client(
    settings: Settings, signature_version: str | None = None, key: Credentials | None = None
) -> Iterator[SDKClient]:
    """Yield a client, and close its connections at the end. It signs with V4 if the region is known.

    Raises MisuseError if the SDK is not installed, or cannot be imported.
    """
    client = SDKClient(settings, signature_version or ("v4" if settings.region else "v1"), key)
    try:
        yield client
    finally:
        client.close()


class SDKClient:
    """Calls the SDK for one bucket: ``client.ask("get_bucket_cors", "GetBucketCorsRequest")``."""

    def __init__(
        self, settings: Settings, signature_version: str, key: Credentials | None = None, timeout: float = 10.0
    ) -> None:
        if not has_sdk():
            raise MisuseError("this needs the official SDK: pip install 'oss-wsgi[sdk]'.")
        try:
            sdk = import_sdk()
        except BucketRefusedError as error:
            raise MisuseError(f"{error.hint}. {REINSTALL_SDK}") from error
        self.sdk: Any = sdk
        self.bucket, _ = settings.bucket_and_host()
        key = key or settings.credentials()
        self._transport = sdk.transport.RequestsHttpClient(connect_timeout=timeout, readwrite_timeout=timeout)
        provider = sdk.credentials.StaticCredentialsProvider(
            key.access_key_id, key.access_key_secret, key.security_token
        )
        self._client = sdk.Client(
            sdk.Config(
                region=settings.region,
                signature_version=signature_version,
                credentials_provider=provider,
                http_client=self._transport,
                retry_max_attempts=1,
                **sdk_address(settings),
            )
        )

    def close(self) -> None:
        """Close the idle connections."""
        self._transport.close()

    def ask(self, operation: str, request: str, **members: Any) -> Any:
        """Call one operation, and return its result. Raises SDKRefusedError with what OSS or the network said."""
        return self._send(lambda: getattr(self._client, operation)(self._request(request, members)))

    def _request(self, name: str, members: Mapping[str, Any]) -> Any:
        return getattr(self.sdk, name)(bucket=self.bucket, **members)

    def _send(self, call: Callable[[], Any]) -> Any:
        try:
            return call()
        except Exception as error:
            errors = self.sdk.exceptions
            cause = error.unwrap() if isinstance(error, errors.OperationError) else error
            if isinstance(cause, errors.ServiceError):
                ec = f", EC {cause.ec}" if cause.ec else ""
                reason = f"{cause.status_code} {plain(cause.code or '')}{ec}: {plain(cause.message or '')}"
                raise SDKRefusedError(f"OSS answered {reason}", _refusal(cause), cause.status_code) from error
            raise SDKRefusedError(f"OSS could not be asked: {plain(network_reason(cause))}") from error


def _refusal(error: Any) -> OSSRefusal:
    """Return what an error of the SDK says; the endpoint that OSS names stands only in the answer itself."""
    snapshot = error.snapshot if isinstance(error.snapshot, bytes) else str(error.snapshot or "").encode()
    code, message, ec = (plain(text or "") for text in (error.code, error.message, error.ec))
    return OSSRefusal(code, message, ec, read_refusal(snapshot).endpoint)
