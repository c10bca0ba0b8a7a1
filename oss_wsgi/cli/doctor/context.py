"""What the checks of `doctor` share: findings, the settings, and the responses that several checks read."""

from __future__ import annotations

import errno
import functools
import io
import ipaddress
import re
import socket
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urljoin, urlsplit

from ...application import DEFAULT_PREFIX, RECOVER_PATH, SIGNATURE_PATH, DirectUpload
from ...callback.public_keys import OSS_PUBLIC_KEY_URLS
from ...callback.ticket import TRIAL_WITH_HANDLER, TRIAL_WITHOUT_HANDLER, ReceiptBook, TicketBook
from ...credentials import Credentials, StaticCredentialsProvider, valid_credentials
from ...exceptions import CredentialsError, OSSWSGIError, SettingsError
from ...explanations.regions import sends_callbacks
from ...explanations.text import Text, joined, sentences
from ...http import DEFAULT_PORTS
from ...sdk.client import SDKClient
from ...sdk.credentials import access_key
from ...settings import TABLE, Settings, with_secrets_read
from ...signing.form_body import FormBody
from ...signing.grant import Grant
from ...signing.presigner import PostPresigner, PresignedPost
from ..http_client import Response, UnreachableError, request
from ..options import settings_of
from ..refusals import fix_refusal, read_refusal, see_also
from ..terminal import in_words
from .probe import FIX_NO_URL, ProbeCall, call_callback

#: Seconds for one request: OSS waits 5 s for a callback's answer.
TIMEOUT = 6.0

FIX_SETTINGS = "Fix what `oss-wsgi doctor --only settings` reports."

FIX_BUCKET = (
    "Set OSS_BUCKET and OSS_REGION, or OSS_HOST: `export OSS_BUCKET=NAME OSS_REGION=cn-hangzhou`. "
    "To try it without a bucket and without settings: `oss-wsgi serve`."
)
FIX_NO_SIGNATURE_URL = Text(
    "Give the URL of the application's signature endpoint: `oss-wsgi doctor --signature-url {1}`.",
    f"https://app.example.com{DEFAULT_PREFIX}{SIGNATURE_PATH}",
)
FIX_HOST = "Check OSS_HOST or OSS_ENDPOINT, the DNS and the firewall."
#: What to do in a region without callbacks.
FIX_REGION = "Let the page report: `export OSS_REPORT_BY=page`."
#: The beginning of a finding of a check that could not run.
NOT_CHECKED = "not checked: {1}"
#: The name of the test file.
FILENAME = "oss-wsgi-doctor.txt"
#: The user of the test upload, unless `--user` names another.
DEFAULT_USER = "oss-wsgi-doctor"
_DEFAULT_GRANT = Grant(user=DEFAULT_USER)
_KEY_VARIABLES = ("OSS_ACCESS_KEY_ID", "OSS_ACCESS_KEY_SECRET", "OSS_SESSION_TOKEN")
_BUCKET_VARIABLES = ("OSS_BUCKET", "OSS_REGION", "OSS_ENDPOINT", "OSS_HOST")
# RFC 6761, 6762, 8375 and ICANN's `.internal`; `.svc` is Kubernetes'.
_PRIVATE_DOMAINS = (".localhost", ".local", ".internal", ".home.arpa", ".lan", ".svc")
#: Errors that say that there is no way to any server: no answer of the DNS, or no route.
_OFFLINE = (socket.EAI_AGAIN, errno.ENETUNREACH, errno.ENETDOWN)
_VARIABLE = re.compile(r"OSS_[A-Z_]+")
_KNOWN_VARIABLES = frozenset(row.variable for row in TABLE)


@dataclass(frozen=True)
class Finding:
    """One result of a check.

    :ivar colour: ``green``, ``yellow`` or ``red``.
    :ivar message: what is right or wrong, in lower case and without a full stop.
    :ivar fix: what to do, in sentences, with the line to copy between backticks; "" where nothing is wrong.
    """

    colour: str
    message: str
    fix: str = ""

    @property
    def reason(self) -> str:
        """Return the message without its beginning that says that a check could not run."""
        message = self.message
        return str(message.values["1"]) if isinstance(message, Text) and message.template == NOT_CHECKED else message


def ok(message: str) -> Finding:
    """Return a green finding."""
    return Finding("green", message)


def warning(message: str, fix: str) -> Finding:
    """Return a yellow finding: it works, but could be better."""
    return Finding("yellow", message, fix)


def error(message: str, fix: str) -> Finding:
    """Return a red finding: something does not work."""
    return Finding("red", message, fix)


def unreachable(cause: UnreachableError, fix: str) -> Finding:
    """Return the finding for a server that does not answer; without a network nothing is known about it."""
    reason = cause.__cause__
    offline = isinstance(reason, OSError) and reason.errno in _OFFLINE
    unknown = isinstance(reason, socket.gaierror) and _is_public_name(cause.host)
    if offline or (unknown and not knows_public_names()):
        return warning(
            Text("not checked, because this machine has no network: {1}", cause),
            "Connect it, or run `oss-wsgi doctor` on a machine that is connected.",
        )
    return error(str(cause), fix)


def _is_public_name(host: str) -> bool:
    """Return whether the public DNS may know a name (RFC 2606 reserves some that it never does)."""
    return "." in host and not is_private(host) and not host.endswith((".invalid", ".test", ".example"))


@functools.cache
def knows_public_names() -> bool:
    """Return whether this machine's DNS knows the host of OSS's public key, which every verification needs."""
    try:
        socket.getaddrinfo(urlsplit(OSS_PUBLIC_KEY_URLS[0]).hostname, None, type=socket.SOCK_STREAM)
    except OSError:
        return False
    return True


class NotCheckedError(Exception):
    """Raised by a check that cannot run, with the finding that says why."""

    def __init__(self, finding: Finding) -> None:
        super().__init__(finding.message)
        self.finding = finding


@dataclass
class CheckContext:
    """One run of `doctor`: each request is sent once, when a check first needs its response.

    A member that cannot be computed raises NotCheckedError, which ends the check that needs it.

    :param app: the application; its settings count in place of those of ``environ``.
    :param writes: whether the check that uploads an object runs too.
    :param grant: what the application reads of that upload as ``Upload.user`` and ``Upload.data``.
    :param calls_handler: whether the application's handler gets that upload.
    :param signature_url: the URL of the application's signature endpoint, beside which pages report uploads; None if it
        is unknown.
    """

    environ: Mapping[str, str]
    app: DirectUpload | None = None
    writes: bool = False
    grant: Grant = _DEFAULT_GRANT
    calls_handler: bool = False
    signature_url: str | None = None

    def __post_init__(self) -> None:
        if self.app is None:
            self._settings, self._invalid, self.problems = _read_settings(self.environ)
        else:
            self._settings, self._invalid, self.problems = with_secrets_read(self.app.settings), frozenset(), ()

    def require(self, *variables: str) -> None:
        """Raise NotCheckedError if one of these variables is invalid."""
        invalid = [name for name in variables if name in self._invalid]
        if invalid:
            is_are = "{1} is missing or invalid" if len(invalid) == 1 else "{1} are missing or invalid"
            raise _not_checked(Text(is_are, joined("{1} and {2}", invalid)))

    def require_all(self) -> None:
        """Raise NotCheckedError if any setting is invalid."""
        if self.problems:
            raise _not_checked("the settings are invalid")

    @property
    def settings(self) -> Settings:
        """Return the settings without the invalid ones."""
        if self._settings is None:
            raise _not_checked("the settings are invalid")
        return self._settings

    @functools.cached_property
    def credentials(self) -> Credentials:
        """Return the access key of the application's provider, of the settings, or that the official library finds."""
        settings = self.settings
        if self.app is not None and self.app.credentials is not None:
            try:
                return valid_credentials(self.app.credentials, time.time())
            except CredentialsError as cause:
                raise NotCheckedError(
                    error(Text("there is no access key: {1}", in_words(str(cause))), "Fix the application's provider.")
                ) from cause
        if not settings.credentials_library:
            self.require(*_KEY_VARIABLES)
        try:
            return access_key(settings, time.time)
        except (CredentialsError, SettingsError) as cause:
            fix = (
                "Set OSS_ACCESS_KEY_ID and OSS_ACCESS_KEY_SECRET, or use --credentials-library if that finds a key: "
                "`export OSS_ACCESS_KEY_ID=ID; read -rs OSS_ACCESS_KEY_SECRET; export OSS_ACCESS_KEY_SECRET`"
            )
            raise NotCheckedError(error(Text("there is no access key: {1}", in_words(str(cause))), fix)) from cause

    def sdk_client(self, signature_version: str | None = None) -> SDKClient:
        """Return a client for what no upload asks OSS, which the caller closes. Raises SettingsError."""
        return SDKClient(
            self.settings,
            credentials=StaticCredentialsProvider(self.credentials),
            clock=time.time,
            timeout=TIMEOUT,
            signature_version=signature_version,
        )

    @property
    def host(self) -> str:
        self.require(*_BUCKET_VARIABLES)
        host = self.settings.host
        if host is None:
            raise NotCheckedError(error("no bucket is set", FIX_BUCKET))
        return host

    @property
    def is_local_oss(self) -> bool:
        """Return whether the bucket is one of a local OSS, which calls private addresses too."""
        return is_private(urlsplit(self.host).hostname or "")

    @property
    def callback_url(self) -> str:
        """Return OSS_CALLBACK_URL as it is written, or the application's; "" if there is none."""
        if self.app is not None:
            return self.app.settings.callback_url or ""
        return self.environ.get("OSS_CALLBACK_URL", "").strip()

    @property
    def callback_urls(self) -> list[str]:
        return self.settings.callback_urls

    @property
    def own_origins(self) -> list[str]:
        """Return the origins of the application's own pages, assuming those of its callbacks or of its signature."""
        origins = []
        for parts in map(urlsplit, [self.signature_url] if self.signature_url else self.callback_urls):
            port = "" if parts.port in (None, DEFAULT_PORTS.get(parts.scheme)) else f":{parts.port}"
            origins.append(f"{parts.scheme}://{parts.hostname}{port}")
        return list(dict.fromkeys(origins))

    @property
    def secret(self) -> str | None:
        """Return the secret that authenticates a probe; None if none is set."""
        return self.settings.ticket_secret[0] if self.settings.ticket_secret else None

    @functools.cached_property
    def unsigned_response(self) -> Response:
        """Return OSS's response to an unsigned request for the bucket."""
        return ask_oss("GET", self.host)

    @functools.cached_property
    def dry_run_response(self) -> Response:
        """Return OSS's response to a dry run, signed with V4 if the region is known."""
        self.require(*_BUCKET_VARIABLES, "OSS_SIGNATURE_VERSION")
        return self.dry_run("v4" if self.settings.region else self.settings.signature_version)

    @functools.cached_property
    def bucket_info(self) -> Any:
        """Return the SDK's BucketInfo; this needs the right oss:GetBucketInfo. Raises SettingsError, SDKCallError."""
        with self.sdk_client() as client:
            return client.ask("get_bucket_info", "GetBucketInfoRequest").bucket_info

    def dry_run(self, signature_version: str) -> Response:
        """Return OSS's response to a signed form whose file is too small for its policy: OSS stores nothing."""
        settings = replace(
            self.settings, signature_version=signature_version, callback_url=None, upload_content_types=()
        )
        form = self.signed_form(settings, Grant(), size=1)
        body = FormBody(form.fields, FILENAME, io.BytesIO(), 0)
        return ask_oss("POST", form.url, body.headers, body)

    def signed_form(
        self,
        settings: Settings,
        grant: Grant,
        *,
        size: int,
        content_type: str | None = None,
        tickets: TicketBook | None = None,
        receipts: ReceiptBook | None = None,
    ) -> PresignedPost:
        """Return a form for a test file, signed with the access key. Raises NotCheckedError.

        Only the ticket says that the upload is a trial: no browser can make one.
        """
        trial = TRIAL_WITH_HANDLER if self.calls_handler else TRIAL_WITHOUT_HANDLER
        provider = StaticCredentialsProvider(self.credentials)
        try:
            presigner = PostPresigner(
                settings, provider, clock=time.time, tickets=tickets, receipts=receipts, trial=trial
            )
            return presigner.presign(grant, filename=FILENAME, content_type=content_type, size=size)
        except OSSWSGIError as cause:
            raise NotCheckedError(error(Text("nothing can be signed: {1}", cause), FIX_SETTINGS)) from cause

    @property
    def fix_no_url(self) -> str:
        """Return what to do where OSS_CALLBACK_URL is not set; in a region without callbacks the URL would not help."""
        return FIX_REGION if sends_callbacks(self.settings.region) is False else FIX_NO_URL

    @property
    def report_url(self) -> str:
        """Return the URL where pages report uploads, beside that of the signature."""
        if self.signature_url is None:
            reason = "pages report uploads (OSS_REPORT_BY=page), and no --signature-url says where"
            raise NotCheckedError(warning(Text(NOT_CHECKED, reason), FIX_NO_SIGNATURE_URL))
        return urljoin(self.signature_url, RECOVER_PATH[1:])

    @functools.cached_property
    def probe_calls(self) -> list[ProbeCall]:
        """Return one call of each URL where uploads are reported, as a probe if the ticket secret is set."""
        self.require("OSS_CALLBACK_URL", "OSS_REPORT_BY", "OSS_TICKET_SECRET", "OSS_TICKET_SECRET_FILE")
        if self.settings.pages_report:
            return [call_callback(self.report_url, self.secret, TIMEOUT)]
        if not self.callback_urls:
            raise NotCheckedError(warning(Text(NOT_CHECKED, "OSS_CALLBACK_URL is not set"), self.fix_no_url))
        return [call_callback(url, self.secret, TIMEOUT) for url in self.callback_urls]


def ask_oss(
    method: str,
    url: str,
    headers: Mapping[str, str] | None = None,
    body: bytes | Iterable[bytes] | None = None,
    seconds: float | None = None,
) -> Response:
    """Return OSS's response. Raises NotCheckedError if it cannot be reached."""
    limit = TIMEOUT if seconds is None else seconds
    try:
        return request(method, url, headers, body, timeout=limit, deadline=limit)
    except UnreachableError as cause:
        raise NotCheckedError(unreachable(cause, FIX_HOST)) from cause


def refused(message: str, response: Response, settings: Settings, otherwise: str) -> Finding:
    """Return the finding for an upload that OSS refused; ``otherwise`` is the fix where the answer is not OSS's."""
    refusal = read_refusal(response.body)
    rights = "oss:PutObject", f"acs:oss:*:*:{settings.bucket}/{settings.upload_dir}*"
    fix = fix_refusal(refusal, response.status, *rights) if refusal.code else otherwise
    return error(Text("{1}: {2} {3}", message, response.status, refusal), sentences(fix, see_also(refusal)))


def _not_checked(reason: str) -> NotCheckedError:
    return NotCheckedError(error(Text(NOT_CHECKED, reason), FIX_SETTINGS))


def address_of(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Return the address that a host of a URL is, or None for a name."""
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def is_private(host: str) -> bool:
    """Return whether a host is an address or a name that only this machine or its network reaches."""
    address = address_of(host)
    if address is None:
        return host == "localhost" or host.endswith(_PRIVATE_DOMAINS)
    return not address.is_global or address.is_multicast


def is_loopback(host: str) -> bool:
    address = address_of(host)
    return host == "localhost" or host.endswith(".localhost") if address is None else address.is_loopback


def _read_settings(environ: Mapping[str, str]) -> tuple[Settings | None, frozenset[str], tuple[str, ...]]:
    """Return the settings without the invalid variables, None if they cannot be used alone; these; all problems."""
    try:
        return settings_of(environ), frozenset(), ()
    except SettingsError as cause:
        problems = cause.problems
    invalid = frozenset(name for problem in problems for name in _variables_in(problem))
    valid = {name: value for name, value in environ.items() if name not in invalid}
    if not invalid.isdisjoint(_KEY_VARIABLES):  # the key has a second set of names
        valid = {name: value for name, value in valid.items() if not name.startswith("ALIBABA_CLOUD_")}
    try:
        return settings_of(valid), invalid, problems
    except SettingsError:
        return None, invalid, problems


def _variables_in(problem: str) -> Iterator[str]:
    """Yield the variables that a sentence complains about."""
    names = _VARIABLE.findall(problem)
    # A sentence about an unknown variable goes on with a known one as a suggestion.
    yield from names if not names or names[0] in _KNOWN_VARIABLES else names[:1]
