"""Credentials from wherever Alibaba Cloud's official library finds them, and of a role assumed with them."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timezone
from typing import Any

from ..credentials import Credentials, RefreshingCredentialsProvider
from ..exceptions import CredentialsError, SettingsError
from ..settings import Settings

#: All that an upload by form needs (P§13.1).
PUT = "oss:PutObject"

_MAX_CHARACTERS = 1024

# In a resource they stand for other names.
_WILDCARDS = frozenset("*?")


def session_policy(settings: Settings, dirs: Sequence[str] | None = None, actions: Sequence[str] = (PUT,)) -> str:
    """Give the policy, JSON, that allows ``actions`` on ``<bucket>/<dir>*`` and nothing else.

    ``dirs`` are the prefixes that grants may name, each ending in ``/``; None is the settings' ``upload_dir`` alone.

    Raises SettingsError where the settings name no bucket, or a prefix would allow more than itself.
    """
    bucket, _ = settings.bucket_and_host()
    prefixes = (settings.upload_dir,) if dirs is None else tuple(dirs)
    if isinstance(dirs, str) or not prefixes:
        raise SettingsError("dirs must list at least one prefix, such as ['users/'].")
    for prefix in prefixes:
        if _WILDCARDS & set(prefix) or "${" in prefix:
            raise SettingsError(f"The prefix {prefix!r} stands for others too in a session policy: use another.")
        if prefix and not prefix.endswith("/"):
            raise SettingsError(f"The prefix {prefix!r} must end in '/'.")
    resources = [f"acs:oss:*:*:{bucket}/{prefix}*" for prefix in prefixes]
    statement = {"Effect": "Allow", "Action": list(actions), "Resource": resources}
    text = json.dumps({"Version": "1", "Statement": [statement]}, separators=(",", ":"))
    if len(text) > _MAX_CHARACTERS:
        raise SettingsError(f"The session policy has {len(text)} characters, of which STS takes {_MAX_CHARACTERS}.")
    return text


# What of a failure is no secret: the library's texts hold whole answers, and keys where an answer lacks a member.
_SAID = re.compile(r"""(?:http_?code|HttpCode)\s*[:=]\s*([0-9]{3})|"Code"\s*:\s*"([A-Za-z][A-Za-z0-9.]{0,60})\"""")


class SDKCredentialsProvider(RefreshingCredentialsProvider):
    """Provider on ``alibabacloud-credentials``: kept, refreshed ahead of expiry, never used beyond it.

    Asked in this order, as the library's own chain does: ``ALIBABA_CLOUD_*`` variables, OIDC (RRSA), the profile of
    the CLI, ``credentials.ini``, the RAM role of the ECS instance, ``ALIBABA_CLOUD_CREDENTIALS_URI``. The library
    reads the environment once, when it is first imported.

        DirectUpload(app, settings, credentials=SDKCredentialsProvider(settings, clock=time.time, role_arn="acs:..."))

    With ``role_arn`` these credentials only assume that role, under a session policy that allows nothing but
    ``oss:PutObject`` below the settings' ``upload_dir``.

    Needs ``pip install oss-wsgi[credentials]``; SettingsError without it.

    :param clock: gives Unix seconds.
    :param source: a provider of the library to ask instead of the chain.
    :param dirs: the prefixes that your grants name, where they are others than ``upload_dir``.
    :param actions: what the session may do; ``SDKConfirmation`` needs ``oss:GetObject`` too.
    :param duration: seconds for which the role is assumed, from 900 up to the role's own limit.
    :param sts_endpoint: host of STS, such as ``sts-vpc.cn-hangzhou.aliyuncs.com``.
    :param options: what RefreshingCredentialsProvider takes: ``ahead``, ``retry``, ``recheck``, ``wait_timeout``.
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
        actions: Sequence[str] = (PUT,),
        duration: int = 3600,
        sts_endpoint: str | None = None,
        **options: float,
    ) -> None:
        library = _library()
        found = source if source is not None else _Chain(library, sts_endpoint)
        if role_arn is not None:
            try:
                found = library.RamRoleArnCredentialsProvider(
                    credentials_provider=found,
                    role_arn=role_arn,
                    role_session_name=session_name,
                    duration_seconds=duration,
                    policy=session_policy(settings, dirs, actions),
                    sts_endpoint=sts_endpoint,
                )
            except ValueError as error:
                raise error if isinstance(error, SettingsError) else SettingsError(f"The role: {error}.") from error
        super().__init__(_Asked(found), clock=clock, **options)


def _library() -> Any:
    try:
        from alibabacloud_credentials import provider
    except ImportError as error:
        needed = "pip install 'oss-wsgi[credentials]'"
        raise SettingsError(f"SDKCredentialsProvider needs the official library: {needed}.") from error
    # It logs whole answers of STS, and to stderr by itself; what went wrong is said by us.
    logger = logging.getLogger("credentials")
    if not any(isinstance(each, _Silence) for each in logger.filters):
        logger.addFilter(_Silence())
    return provider


class _Silence(logging.Filter):
    """Drops the library's records, and no others of a logger that has so common a name."""

    def filter(self, record: logging.LogRecord) -> bool:
        return "alibabacloud_credentials" not in record.pathname


class _Chain:
    """The library's providers in the order of its own chain, which would forget when credentials expire.

    It would also start a scheduler, for a refresh that is ours here.
    """

    def __init__(self, library: Any, sts_endpoint: str | None) -> None:
        self._links = list(_links(library, sts_endpoint))
        self._last: Any = None

    def get_credentials(self) -> Any:
        if self._last is not None:
            return _with_expiration(self._last)
        problems = []
        for link in self._links:
            try:
                found = _with_expiration(link)
            except Exception as error:
                problems.append(f"{link.get_provider_name()} ({_summary(error)})")
            else:
                self._last = link
                return found
        raise CredentialsError(f"No credentials were found. Asked were: {', '.join(problems)}.")

    def get_provider_name(self) -> str:
        return "oss_wsgi"


def _links(library: Any, sts_endpoint: str | None) -> Iterator[Any]:
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


class _Asked:
    """A provider of the library as we ask one."""

    def __init__(self, provider: Any) -> None:
        self._provider = provider

    def get_credentials(self) -> Credentials:
        try:
            found = _with_expiration(self._provider)
        except CredentialsError:
            raise
        except Exception as error:
            name = self._provider.get_provider_name()
            raise CredentialsError(f"The credentials library has none: {name} ({_summary(error)}).") from None
        seconds = found.get_expiration()
        return Credentials(
            found.get_access_key_id() or "",
            found.get_access_key_secret() or "",
            found.get_security_token() or None,
            None if seconds is None else datetime.fromtimestamp(seconds, timezone.utc),
        )


def _with_expiration(provider: Any) -> Any:
    """Ask a provider of the library; those of profiles wrap another one, and forget when its credentials expire."""
    found = provider.get_credentials()
    inner = getattr(provider, f"_{type(provider).__name__}__innerProvider", None)
    if inner is None or found.get_expiration() is not None:
        return found
    return _with_expiration(inner)


def _summary(error: Exception) -> str:
    """Tell an exception's type, and of its text the status and the error code alone."""
    said = [status or code for status, code in _SAID.findall(str(error))]
    return " ".join(dict.fromkeys([type(error).__name__, *said]))
