"""The official SDK's client for the bucket of the settings, with its errors as sentences."""

from __future__ import annotations

from typing import Any

from ..credentials import Credentials
from ..exceptions import BucketRefusedError, OSSWSGIError, SettingsError
from ..sdk.bucket import import_sdk, network_reason, new_client, require_sdk
from ..settings import Settings
from .refusals import REACH_OSS, OSSRefusal, fix_refusal, read_refusal
from .terminal import plain

REINSTALL_SDK = "Install it again: `pip install --force-reinstall 'oss-wsgi[sdk]'`."

_NO_REFUSAL = OSSRefusal("", "", "")
_TIMEOUT = 10.0  # seconds


class SDKRefusedError(OSSWSGIError):
    """Raised with one sentence when OSS refuses or cannot be reached.

    ``refusal`` and ``status`` are OSS's; without an answer they are empty and 0.
    """

    def __init__(self, message: str, refusal: OSSRefusal = _NO_REFUSAL, status: int = 0) -> None:
        super().__init__(message)
        self.refusal = refusal
        self.status = status

    def fix(self, rights: str, bucket: str) -> str:
        """Return the sentences that say what to do; ``rights`` are the RAM actions that the request needs."""
        if not self.status:
            return REACH_OSS
        return fix_refusal(self.refusal, self.status, rights, f"acs:oss:*:*:{bucket}")


class SDKClient:
    """Calls the SDK for one bucket: ``client.ask("get_bucket_cors", "GetBucketCorsRequest")``.

    As a context manager it closes its connections at the end. Raises SettingsError if the SDK is not installed, or
    cannot be imported.
    """

    def __init__(self, settings: Settings, key: Credentials, signature_version: str | None = None) -> None:
        require_sdk("this")
        try:
            sdk = import_sdk()
        except BucketRefusedError as error:
            raise SettingsError(f"{error.hint}. {REINSTALL_SDK}") from error
        self.sdk: Any = sdk
        self.bucket, _ = settings.bucket_and_host()
        self._client, self._transport = new_client(
            sdk,
            settings,
            sdk.credentials.StaticCredentialsProvider(key.access_key_id, key.access_key_secret, key.security_token),
            connect_timeout=_TIMEOUT,
            read_timeout=_TIMEOUT,
            signature_version=signature_version,
        )

    def __enter__(self) -> SDKClient:
        return self

    def __exit__(self, *_: object) -> None:
        self._transport.close()

    def ask(self, operation: str, request: str, **members: Any) -> Any:
        """Call one operation, and return its result. Raises SDKRefusedError with what OSS or the network said."""
        try:
            return getattr(self._client, operation)(getattr(self.sdk, request)(bucket=self.bucket, **members))
        except Exception as error:
            errors = self.sdk.exceptions
            cause = error.unwrap() if isinstance(error, errors.OperationError) else error
            if not isinstance(cause, errors.ServiceError):
                raise SDKRefusedError(f"OSS could not be asked: {plain(network_reason(cause))}") from error
            code, message, ec = (plain(text or "") for text in (cause.code, cause.message, cause.ec))
            # The endpoint that OSS names stands only in the answer itself.
            answer = cause.snapshot if isinstance(cause.snapshot, bytes) else str(cause.snapshot or "").encode()
            refusal = OSSRefusal(code, message, ec, read_refusal(answer).endpoint)
            reason = f"{cause.status_code} {code}{f', EC {ec}' if ec else ''}: {message}"
            raise SDKRefusedError(f"OSS answered {reason}", refusal, cause.status_code) from error
