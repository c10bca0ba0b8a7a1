"""What the checks of `doctor` share: the settings, the answers that several of them look at, and a finding."""

from __future__ import annotations

import functools
import io
import ipaddress
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlsplit

from ...credentials import Credentials, StaticCredentialsProvider
from ...exceptions import CredentialsError, OSSWSGIError, SettingsError
from ...sdk.credentials import SDKCredentialsProvider
from ...settings import TABLE, Settings
from ...signing.grant import Grant
from ...signing.presigner import PostPresigner
from ..form_body import FormBody
from ..http_client import Answer, UnreachableError, request

#: Variables that several checks need.
KEY = ("OSS_ACCESS_KEY_ID", "OSS_ACCESS_KEY_SECRET", "OSS_SESSION_TOKEN")

PLACE = ("OSS_BUCKET", "OSS_REGION", "OSS_ENDPOINT", "OSS_HOST")

_NAME = re.compile(r"OSS_[A-Z_]+")

_KNOWN = frozenset(row.variable for row in TABLE)


@dataclass(frozen=True)
class UsableSettings:
    """:ivar settings: without what ``wrong`` names; None where the rest cannot be used either."""

    settings: Settings | None
    wrong: frozenset[str]
    problems: tuple[str, ...]


def read(environ: Mapping[str, str]) -> UsableSettings:
    """Read the settings, and what is wrong with them, in sentences."""
    try:
        return UsableSettings(Settings.from_environ(environ), frozenset(), ())
    except SettingsError as error:
        problems = error.problems
    wrong = frozenset(name for problem in problems for name in _named(problem))
    right = {name: value for name, value in environ.items() if name not in wrong}
    if not wrong.isdisjoint(KEY):  # which have other names, too
        right = {name: value for name, value in right.items() if not name.startswith("ALIBABA_CLOUD_")}
    try:
        return UsableSettings(Settings.from_environ(right), wrong, problems)
    except SettingsError:
        return UsableSettings(None, wrong, problems)


def _named(problem: str) -> Iterator[str]:
    """Name the variables of which a sentence complains."""
    names = _NAME.findall(problem)
    # Of an unknown one the sentence goes on with one that may have been meant.
    yield from names if not names or names[0] in _KNOWN else names[:1]


TIMEOUT = 6.0


@dataclass(frozen=True)
class Finding:
    """What one check found: green, yellow or red, and the cure where it is not green."""

    colour: str
    said: str
    cure: str = ""


def green(said: str) -> Finding:
    return Finding("green", said)


def yellow(said: str, cure: str) -> Finding:
    return Finding("yellow", said, cure)


def red(said: str, cure: str) -> Finding:
    return Finding("red", said, cure)


class NotCheckedError(Exception):
    """Raised by a check that needs what is not there, with the finding that says so."""

    def __init__(self, finding: Finding) -> None:
        super().__init__(finding.said)
        self.finding = finding


class Examination:
    """One run: everything is asked once, and late.

    :param library: take the access key from where the official library finds it.
    :param writes: whether the check that uploads an object runs too.
    """

    def __init__(self, environ: Mapping[str, str], *, library: bool = False, writes: bool = False) -> None:
        self.environ = environ
        self.writes = writes
        self.calls: list[Any] | None = None
        self._library = library
        self._usable = read(environ)
        self.problems = self._usable.problems

    def need(self, *variables: str) -> None:
        """Say that a check needs these variables; NotCheckedError where one of them is wrong."""
        wrong = [name for name in variables if name in self._usable.wrong]
        if wrong:
            raise _not_checked(f"{' and '.join(wrong)} is wrong")

    def need_all(self) -> None:
        """Say that a check needs all settings; NotCheckedError where one of them is wrong."""
        if self.problems:
            raise _not_checked("the settings are wrong")

    @property
    def settings(self) -> Settings:
        """Give the settings, those that are right; NotCheckedError where they do not suffice."""
        if self._usable.settings is None:
            raise _not_checked("the settings are wrong")
        return self._usable.settings

    @functools.cached_property
    def key(self) -> Credentials:
        """Give the access key: the settings', or that which the official library finds; NotCheckedError without one."""
        settings = self.settings
        if not self._library:
            self.need(*KEY)
        try:
            if self._library:
                return SDKCredentialsProvider(settings, clock=time.time).get_credentials()
            return settings.credentials()
        except (CredentialsError, SettingsError) as error:
            cure = "Set OSS_ACCESS_KEY_ID and OSS_ACCESS_KEY_SECRET, or say --credentials-library if that finds a key."
            raise NotCheckedError(red(f"there is no access key: {error}", cure)) from error

    @property
    def host(self) -> str:
        """Give the bucket's URL; NotCheckedError without one."""
        self.need(*PLACE)
        host = self.settings.host
        if host is None:
            raise NotCheckedError(red("no bucket is set", "Set OSS_BUCKET and OSS_REGION, or OSS_HOST."))
        return host

    @property
    def stand_in(self) -> bool:
        """Tell whether the bucket is a local OSS, which calls private addresses."""
        return is_private(urlsplit(self.host).hostname or "")

    @functools.cached_property
    def unsigned(self) -> Answer:
        """Give OSS's answer to a stranger; NotCheckedError where OSS is not reached."""
        try:
            return request("GET", self.host, deadline=TIMEOUT)
        except UnreachableError as error:
            raise NotCheckedError(
                red(str(error), "Check OSS_HOST or OSS_ENDPOINT, the name server and the firewall.")
            ) from error

    @functools.cached_property
    def dry_form(self) -> Answer:
        """Give OSS's answer to a signed form whose file is too small for its policy: nothing is stored."""
        self.need(*PLACE, "OSS_SIGNATURE_VERSION")
        settings = self.settings
        if settings.region:
            settings = replace(settings, signature_version="v4")
        settings = replace(settings, callback_url=None, upload_content_types=())
        try:
            presigner = PostPresigner(settings, StaticCredentialsProvider(self.key), clock=time.time)
            form = presigner.presign(Grant(), filename="oss-wsgi-doctor.txt", size=1)
        except OSSWSGIError as error:
            raise NotCheckedError(red(f"nothing can be signed: {error}", "Mend the settings.")) from error
        body = FormBody(form.fields, "oss-wsgi-doctor.txt", io.BytesIO(), 0)
        try:
            return request("POST", form.url, body.headers, body, deadline=TIMEOUT)
        except UnreachableError as error:
            raise NotCheckedError(red(str(error), "Check OSS_HOST or OSS_ENDPOINT, and the firewall.")) from error


def _not_checked(why: str) -> NotCheckedError:
    return NotCheckedError(red(f"not checked: {why}", "See what the check `settings` says, and mend that."))


def is_private(host: str) -> bool:
    """Tell whether a host is an address, or the name, that only this machine or its network reaches."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host == "localhost" or host.endswith((".localhost", ".local", ".internal"))
    return not address.is_global or address.is_multicast
