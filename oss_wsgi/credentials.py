"""The access key that signs, and where it comes from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from .exceptions import CredentialsError

_ENVIRONMENT = (
    ("OSS_ACCESS_KEY_ID", "OSS_ACCESS_KEY_SECRET", "OSS_SESSION_TOKEN"),
    ("ALIBABA_CLOUD_ACCESS_KEY_ID", "ALIBABA_CLOUD_ACCESS_KEY_SECRET", "ALIBABA_CLOUD_SECURITY_TOKEN"),
)


@dataclass(frozen=True)
class Credentials:
    """An access key, with a security token and an expiry when it is a temporary one (STS).

    ``expiration`` is an aware datetime or None. The secret and the token are in no repr.
    """

    access_key_id: str
    access_key_secret: str = field(repr=False)
    security_token: str | None = field(default=None, repr=False)
    expiration: datetime | None = None

    def __post_init__(self) -> None:
        if not self.access_key_id or not self.access_key_secret:
            raise CredentialsError("An access key needs both its ID and its secret.")
        if self.expiration is not None and self.expiration.tzinfo is None:
            raise CredentialsError("The expiration of credentials must be an aware datetime (UTC, say).")


class CredentialsProvider(Protocol):
    """Anything that hands out the credentials to sign with now; asked once for each signature."""

    def get_credentials(self) -> Credentials:
        """Give credentials that are valid now, or raise CredentialsError."""


class StaticCredentialsProvider:
    """Gives the same credentials for ever."""

    def __init__(self, credentials: Credentials) -> None:
        self._credentials = credentials

    def get_credentials(self) -> Credentials:
        return self._credentials


class EnvironmentVariableCredentialsProvider:
    """Reads the SDKs' variables from a mapping at each call, so that a changed key is seen.

    ``OSS_ACCESS_KEY_ID``, ``OSS_ACCESS_KEY_SECRET`` and ``OSS_SESSION_TOKEN`` come first, then the
    ``ALIBABA_CLOUD_*`` names; the three of one set belong together and are never mixed.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ

    def get_credentials(self) -> Credentials:
        key_id, secret, token = from_environ(self._environ)
        if not key_id or not secret:
            raise CredentialsError("Set OSS_ACCESS_KEY_ID and OSS_ACCESS_KEY_SECRET.")
        return Credentials(key_id, secret, token)


def from_environ(environ: Mapping[str, str]) -> tuple[str | None, str | None, str | None]:
    """Read ID, secret and token from the first set of variables of which any is there; a blank one counts as unset."""
    for names in _ENVIRONMENT:
        key_id, secret, token = (environ.get(name, "").strip() or None for name in names)
        if key_id or secret or token:
            return key_id, secret, token
    return None, None, None
