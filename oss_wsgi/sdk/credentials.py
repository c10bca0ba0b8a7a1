"""Providers of credentials from Alibaba Cloud's official library, and of a role that is assumed with them."""

from __future__ import annotations

import contextlib
import json
import logging
import re
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timezone
from typing import Any

from ..credentials import Credentials, RefreshingCredentialsProvider
from ..exceptions import CredentialsError, SettingsError
from ..explanations.text import Text
from ..settings import Settings

#: The right that an upload by form needs (protocol.md 13.1).
PUT = "oss:PutObject"

#: The further rights that uploads in parts need.
PARTS = ("oss:ListParts", "oss:AbortMultipartUpload", "oss:GetObject")

_MAX_POLICY_CHARACTERS = 1024
_WILDCARDS = frozenset("*?")  # in a resource of a policy

# Matches the parts of an error's text that are not secret: the library's texts hold whole responses, and even keys if a
# response lacks a member.
_STATUS_OR_CODE = re.compile(
    r"""(?:http_?code|HttpCode)\s*[:=]\s*([0-9]{3})|"Code"\s*:\s*"([A-Za-z][A-Za-z0-9.]{0,60})\""""
)


class SDKCredentialsProvider(RefreshingCredentialsProvider):
    """Provider on ``alibabacloud-credentials`` that caches credentials, and refreshes them before they expire.

    The sources are tried in the order of the library's own chain: ``ALIBABA_CLOUD_*`` variables, OIDC (RRSA), the
    profile of the CLI, ``credentials.ini``, the RAM role of the ECS instance, ``ALIBABA_CLOUD_CREDENTIALS_URI``. The
    library reads the environment once, when it is first imported.

        DirectUpload(app, settings, credentials=SDKCredentialsProvider(settings, clock=time.time, role_arn="acs:..."))

    With ``role_arn`` these credentials only assume that role. Its session policy allows nothing but ``oss:PutObject``
    below the settings' ``upload_dir``, and with OSS_MULTIPART=on the rights for uploads in parts.

    Needs ``pip install oss-wsgi[credentials]``; SettingsError without it.

    :param clock: returns Unix seconds.
    :param source: a provider of the library to use instead of the chain.
    :param dirs: the prefixes that your grants name, if they differ from ``upload_dir``.
    :param keys: exact object names instead of prefixes, for credentials that a browser gets.
    :param actions: what the session may do; ``SDKConfirmation`` needs ``oss:GetObject`` too.
    :param duration: seconds for which the role is assumed, from 900 up to the role's own limit.
    :param sts_endpoint: host of STS, such as ``sts-vpc.cn-hangzhou.aliyuncs.com``.
    :param options: those of RefreshingCredentialsProvider: ``ahead``, ``retry``, ``recheck``, ``wait_timeout``.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        clock: Callable[[], float],
        source: Any = None,
        role_arn: str | None = None,
        session_name: str = "oss-wsgi",
        dirs: Sequence[str] | None = None,
        keys: Sequence[str] = (),
        actions: Sequence[str] | None = None,
        duration: int = 3600,
        sts_endpoint: str | None = None,
        **options: float,
    ) -> None:
        library = _import_library()
        provider = source if source is not None else _ProviderChain(library, sts_endpoint)
        if role_arn is not None:
            try:
                provider = library.RamRoleArnCredentialsProvider(
                    credentials_provider=provider,
                    role_arn=role_arn,
                    role_session_name=session_name,
                    duration_seconds=duration,
                    policy=session_policy(settings, dirs, actions, keys=keys),
                    sts_endpoint=sts_endpoint,
                )
            except ValueError as error:
                raise error if isinstance(error, SettingsError) else SettingsError(f"The role: {error}.") from error
        super().__init__(_LibraryProvider(provider), clock=clock, **options)


def library_provider(settings: Settings, clock: Callable[[], float]) -> SDKCredentialsProvider:
    """Return the official library's provider, which caches its key; if it has none yet, the log says so.

    Raises SettingsError without the library.
    """
    provider = SDKCredentialsProvider(settings, clock=clock)
    with contextlib.suppress(CredentialsError):
        provider.get_credentials()
    return provider


def access_key(settings: Settings, clock: Callable[[], float]) -> Credentials:
    """Return the access key of the settings, or the one that the library finds if OSS_CREDENTIALS_LIBRARY is on.

    Raises CredentialsError and SettingsError.
    """
    if settings.credentials_library:
        return SDKCredentialsProvider(settings, clock=clock).get_credentials()
    return settings.credentials()


def session_policy(
    settings: Settings,
    dirs: Sequence[str] | None = None,
    actions: Sequence[str] | None = None,
    *,
    keys: Sequence[str] = (),
) -> str:
    """Return the policy, JSON, that allows ``actions`` on ``<bucket>/<dir>*``, or on exact names, and nothing else.

    ``dirs`` are the prefixes that grants may name, each ending in ``/``; None means only the settings' ``upload_dir``,
    or no prefix if there are ``keys``, which are exact object names. By default ``actions`` are ``oss:PutObject``, and
    with OSS_MULTIPART=on also the rights for uploads in parts.

    Raises SettingsError if the settings name no bucket, or a prefix or a key would allow more than itself.
    """
    bucket, _ = settings.bucket_and_host()
    if actions is None:
        actions = (PUT, *PARTS) if settings.multipart else (PUT,)
    prefixes = tuple(dirs) if dirs is not None else () if keys else (settings.upload_dir,)
    if isinstance(dirs, str) or isinstance(keys, str) or not (prefixes or keys):
        raise SettingsError("dirs must list at least one prefix, such as ['users/'], or keys an exact name.")
    for key in keys:
        if _WILDCARDS & set(key) or "${" in key or not key:
            raise SettingsError(
                f"The key {key!r} has a wildcard or a variable, or is empty, so a session policy "
                "would allow other keys too: use another."
            )
    for prefix in prefixes:
        if _WILDCARDS & set(prefix) or "${" in prefix:
            raise SettingsError(
                f"The prefix {prefix!r} has a wildcard or a variable, so a session policy would allow "
                "other prefixes too: use another."
            )
        if prefix and not prefix.endswith("/"):
            raise SettingsError(f"The prefix {prefix!r} must end in '/'.")
    names = [*(f"{prefix}*" for prefix in prefixes), *keys]
    resources = [f"acs:oss:*:*:{bucket}/{name}" for name in names]
    statement = {"Effect": "Allow", "Action": list(actions), "Resource": resources}
    text = json.dumps({"Version": "1", "Statement": [statement]}, separators=(",", ":"))
    if len(text) > _MAX_POLICY_CHARACTERS:
        raise SettingsError(
            f"The session policy has {len(text)} characters, and STS takes {_MAX_POLICY_CHARACTERS}: use fewer or "
            "shorter prefixes."
        )
    return text


def _import_library() -> Any:
    try:
        from alibabacloud_credentials import provider
    except ImportError as error:
        command = "pip install 'oss-wsgi[credentials]'"
        raise SettingsError(Text("SDKCredentialsProvider needs the official library: {1}.", command)) from error
    # The library logs whole responses of STS, by default to stderr; we log errors ourselves.
    logging.getLogger("credentials").addFilter(_is_of_others)
    return provider


def _is_of_others(record: logging.LogRecord) -> bool:
    """Return whether a record is not the library's: others may use a logger with the same common name."""
    return "alibabacloud_credentials" not in record.pathname


class _ProviderChain:
    """Calls the library's providers in the order of its own chain.

    The library's chain loses the expiry of credentials, and starts a scheduler for refreshes, which are done here.
    """

    def __init__(self, library: Any, sts_endpoint: str | None) -> None:
        self._providers = list(_chain_providers(library, sts_endpoint))
        self._last_used: Any = None

    def get_credentials(self) -> Any:
        if self._last_used is not None:
            return _credentials_with_expiry(self._last_used)
        problems = []
        for provider in self._providers:
            try:
                credentials = _credentials_with_expiry(provider)
            except Exception as error:
                problems.append(f"{provider.get_provider_name()} ({_summary(error)})")
            else:
                self._last_used = provider
                return credentials
        raise CredentialsError(Text("No credentials were found. Tried: {1}.", ", ".join(problems)))

    def get_provider_name(self) -> str:
        return "oss_wsgi"


def _chain_providers(library: Any, sts_endpoint: str | None) -> Iterator[Any]:
    from alibabacloud_credentials.utils import auth_util as environment

    yield library.EnvironmentVariableCredentialsProvider()
    if environment.enable_oidc_credential:
        yield library.OIDCRoleArnCredentialsProvider(sts_endpoint=sts_endpoint)
    yield library.CLIProfileCredentialsProvider()
    yield library.ProfileCredentialsProvider()
    if environment.environment_ecs_metadata_disabled.lower() != "true":
        yield library.EcsRamRoleCredentialsProvider(async_update_enabled=False)
    if environment.environment_credentials_uri:
        yield library.URLCredentialsProvider()


class _LibraryProvider:
    """Adapts a provider of the library to ``CredentialsProvider``."""

    def __init__(self, provider: Any) -> None:
        self._provider = provider

    def get_credentials(self) -> Credentials:
        try:
            credentials = _credentials_with_expiry(self._provider)
        except CredentialsError:
            raise
        except Exception as error:
            name = self._provider.get_provider_name()
            raise CredentialsError(
                Text("The credentials library has none: {1} ({2}).", name, _summary(error))
            ) from None
        seconds = credentials.get_expiration()
        return Credentials(
            credentials.get_access_key_id() or "",
            credentials.get_access_key_secret() or "",
            credentials.get_security_token() or None,
            None if seconds is None else datetime.fromtimestamp(seconds, timezone.utc),
        )


def _credentials_with_expiry(provider: Any) -> Any:
    """Return a provider's credentials; a profile's come from the provider that it wraps, with the expiry."""
    credentials = provider.get_credentials()
    inner = getattr(provider, f"_{type(provider).__name__}__innerProvider", None)
    if inner is None or credentials.get_expiration() is not None:
        return credentials
    return _credentials_with_expiry(inner)


def _summary(error: Exception) -> str:
    """Return an exception's type, and only the status and the error code from its text."""
    parts = [status or code for status, code in _STATUS_OR_CODE.findall(str(error))]
    return " ".join(dict.fromkeys([type(error).__name__, *parts]))
