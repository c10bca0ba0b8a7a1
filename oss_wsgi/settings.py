"""The settings: one table from which dataclass, environment variables, command line and reference are made."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from .callback.secret_file import read_secrets
from .callback.url import split_urls
from .credentials import Credentials, access_key_from
from .exceptions import SettingsError
from .explanations.text import Text
from .ledger.url import passwords_in
from .settings_check import MISSING, PAGE, fill_in_and_check, missing_settings, service_variables, unknown_name

_TRUE = frozenset({"1", "true", "yes", "on"})
#: The words that turn a switch off.
OFF = frozenset({"0", "false", "no", "off"})

_DURATION = re.compile(r"([0-9]{1,9}) ?(s|m|h|d|seconds?|minutes?|hours?|days?)?")
_UNIT_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 24 * 3600}

# Names of other programs' variables that begin as ours do (protocol.md 13.2).
_FOREIGN_VARIABLES = frozenset({"OSS_STS_ROLE_ARN"})


@dataclass(frozen=True)
class Setting:
    """One row of the table.

    ``cast`` reads the text of the environment ``variable``; its ValueError says what the text must be.
    ``placeholder`` and ``shown_default`` stand for the value and the default in ``--help`` and the reference.
    """

    name: str
    variable: str
    help: str
    cast: Callable[[str], Any]
    default: Any
    secret: bool
    placeholder: str
    shown_default: str


def text(value: str) -> str:
    """Return the text without the blanks around it."""
    return value.strip()


def lower(value: str) -> str:
    """Return a word in lower case, without the blanks around it."""
    return value.strip().lower()


def switch(value: str) -> bool:
    """Read ``on`` or ``off`` (also 1/0, true/false, yes/no), in any case."""
    word = value.strip().lower()
    if word in _TRUE:
        return True
    if word in OFF:
        return False
    raise ValueError("must be 'on' or 'off'")


def whole_number(value: str) -> int:
    """Read a whole number written in digits."""
    word = value.strip()
    if not (word.isascii() and word.isdigit() and len(word) < 20):
        raise ValueError("must be a whole number, written in digits")
    return int(word)


def duration(value: str) -> int:
    """Read a duration such as ``90``, ``15m``, ``26h`` or ``7 days``; return seconds."""
    match = _DURATION.fullmatch(value.strip().lower())
    if match is None:
        raise ValueError("must be a duration such as 15m, 26h or 7d")
    return int(match[1]) * _UNIT_SECONDS[(match[2] or "")[:1]]


def items(value: str) -> tuple[str, ...]:
    """Read a comma-separated list; ignore blanks around the items, and empty items."""
    return tuple(item.strip() for item in value.split(",") if item.strip())


def words(value: str) -> tuple[str, ...]:
    """Read a comma-separated list of words, in lower case."""
    return tuple(item.lower() for item in items(value))


def pairs(value: str) -> tuple[tuple[str, str], ...]:
    """Read comma-separated ``URL=FILE`` pairs, each split at its last ``=``."""
    url_files = []
    for item in items(value):
        url, equals, file = item.rpartition("=")
        if not (equals and url and file):
            raise ValueError("must be KEY_URL=PEM_FILE pairs, joined by commas")
        url_files.append((url.strip(), file.strip()))
    return tuple(url_files)


def _row(
    variable: str,
    default: Any,
    help_text: str,
    cast: Callable[[str], Any] = text,
    placeholder: str | None = None,
    *,
    secret: bool = False,
    shown: str | None = None,
    hidden: bool = False,
) -> Any:
    if shown is None:
        shown = {True: "on", False: "off", None: ""}.get(default, str(default))
    return field(
        default=default,
        repr=not (secret or hidden),
        metadata={
            "variable": variable,
            "help": help_text,
            "cast": cast,
            "secret": secret,
            "placeholder": placeholder or ("on|off" if cast is switch else "TEXT"),
            "shown_default": shown,
        },
    )


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What this application may sign, and for which bucket.

    A value has the field's type, or is the text of its environment variable. ``bucket``, ``region``, ``endpoint`` and
    ``host`` fill in each other if they have the usual form ``https://<bucket>.oss-<region>.aliyuncs.com``.

    Raises SettingsError with one sentence for each problem.
    """

    access_key_id: str | None = _row(
        "OSS_ACCESS_KEY_ID", None, "AccessKey ID (or ALIBABA_CLOUD_ACCESS_KEY_ID)", text, "ID"
    )
    access_key_secret: str | None = _row(
        "OSS_ACCESS_KEY_SECRET", None, "AccessKey secret (or ALIBABA_CLOUD_ACCESS_KEY_SECRET)", secret=True
    )
    session_token: str | None = _row(
        "OSS_SESSION_TOKEN", None, "security token of a temporary key (or ALIBABA_CLOUD_SECURITY_TOKEN)", secret=True
    )
    credentials_library: bool = _row(
        "OSS_CREDENTIALS_LIBRARY",
        False,
        "take the access key from where SDKCredentialsProvider finds it (needs oss-wsgi[credentials])",
        switch,
    )
    bucket: str | None = _row("OSS_BUCKET", None, "bucket for the uploads, e.g. examplebucket", text, "NAME")
    region: str | None = _row("OSS_REGION", None, "region of the bucket, e.g. cn-hangzhou", text, "REGION")
    endpoint: str | None = _row(
        "OSS_ENDPOINT", None, "endpoint of OSS", text, "URL", shown="https://oss-<region>.aliyuncs.com"
    )
    host: str | None = _row(
        "OSS_HOST",
        None,
        "address that forms are posted to; set it for a custom domain",
        text,
        "URL",
        shown="https://<bucket>.<endpoint>",
    )
    signature_version: str = _row(
        "OSS_SIGNATURE_VERSION", "v4", "v4 or v1 (new accounts and buckets no longer accept v1)", lower, "v4|v1"
    )
    callback_url: str | None = _row(
        "OSS_CALLBACK_URL",
        None,
        "public URL of the callback endpoint; up to 5 joined by ';'",
        text,
        "URL",
        shown="no callback",
    )
    report_by: str = _row(
        "OSS_REPORT_BY",
        "oss",
        "who reports an upload: oss (its callback), or page, where OSS cannot send callbacks (needs oss-wsgi[sdk])",
        lower,
        "oss|page",
    )
    callback_required: bool = _row("OSS_CALLBACK_REQUIRED", True, "OSS refuses uploads without our callback", switch)
    upload_dir: str = _row(
        "OSS_UPLOAD_DIR",
        "user-dir-prefix/",
        "prefix of the object names; must end in '/', empty for none",
        text,
        "PREFIX",
    )
    upload_expires: int = _row("OSS_UPLOAD_EXPIRES", 300, "seconds that a signature is valid", whole_number, "SECONDS")
    upload_max_size: int = _row(
        "OSS_UPLOAD_MAX_SIZE", 1048576000, "largest file allowed, in bytes", whole_number, "BYTES"
    )
    upload_content_types: tuple[str, ...] = _row(
        "OSS_UPLOAD_CONTENT_TYPES", (), "comma-separated types allowed, e.g. image/png", words, "TYPES", shown="any"
    )
    upload_names: str = _row(
        "OSS_UPLOAD_NAMES",
        "unique",
        "unique (made by the server) or original (the file's own name, cleaned)",
        lower,
        "unique|original",
    )
    name_shards: bool = _row(
        "OSS_NAME_SHARDS",
        False,
        "put two hex digits before the date in unique names; needed above 1,500 uploads a second",
        switch,
    )
    ticket_secret: tuple[str, ...] = _row(
        "OSS_TICKET_SECRET",
        (),
        "secret of the upload tickets, at least 32 characters; to rotate it, set OLD,NEW everywhere, then NEW,OLD",
        items,
        secret=True,
        shown="made at start",
    )
    ticket_secret_file: str | None = _row(
        "OSS_TICKET_SECRET_FILE",
        None,
        "file of the ticket secrets instead: one a line, the first seals; read again when it changes",
        text,
        "FILE",
        shown="none",
    )
    ledger: str | None = _row(
        "OSS_LEDGER",
        None,
        "where handled uploads are recorded: a SQLite file, or the URL of PostgreSQL, MySQL or Redis",
        text,
        "FILE|URL",
        shown="in memory",
        hidden=True,
    )
    ledger_keep: int = _row(
        "OSS_LEDGER_KEEP",
        7 * 24 * 3600,
        "how long a handled upload is remembered, and how far recover and reconcile look back: seconds, or 7d",
        duration,
        "DURATION",
    )
    receipts: bool = _row(
        "OSS_RECEIPTS", True, "uploaded objects carry a sealed receipt, by which a lost report is found", switch
    )
    signed_ids: bool = _row(
        "OSS_SIGNED_IDS", True, "pages get a signed ID of each upload, which a form gives to the application", switch
    )
    recover: bool = _row(
        "OSS_RECOVER", False, "pages may ask for an upload whose report was lost (needs oss-wsgi[sdk])", switch
    )
    multipart: bool = _row(
        "OSS_MULTIPART", False, "large files go in parts, with pause and resume (needs oss-wsgi[sdk])", switch
    )
    part_size: int = _row(
        "OSS_PART_SIZE",
        16 * 1024 * 1024,
        "size of a part, in bytes, 100 KB to 5 GB; grows where a file would need more than 10,000 parts",
        whole_number,
        "BYTES",
    )
    allow_anonymous: bool = _row(
        "OSS_ALLOW_ANONYMOUS", False, "sign for everybody if the application has no authorize", switch
    )
    allowed_origins: tuple[str, ...] = _row(
        "OSS_ALLOWED_ORIGINS",
        (),
        "comma-separated origins whose pages may request a signature",
        words,
        "ORIGINS",
        shown="none",
    )
    trusted_keys: tuple[tuple[str, str], ...] = _row(
        "OSS_TRUSTED_KEYS",
        (),
        "more KEY_URL=PEM_FILE pairs, comma-separated, for a stand-in for OSS",
        pairs,
        "KEY_URL=PEM_FILE",
        shown="none",
    )

    def __post_init__(self) -> None:
        problems: list[str] = []
        values: dict[str, Any] = {}
        for row in TABLE:
            try:
                values[row.name] = _read(getattr(self, row.name), row)
            except ValueError as error:
                problems.append(Text("{1} {2}.", row.variable, error))
                values[row.name] = row.default
        given = {row.name: getattr(self, row.name) for row in TABLE}
        stated = [name for name, value in given.items() if isinstance(value, str) and value.strip()]
        problems += fill_in_and_check(values, stated)
        if problems:
            raise SettingsError(*problems)
        for name, value in values.items():
            object.__setattr__(self, name, value)

    @classmethod
    def from_environ(cls, environ: Mapping[str, str], *, required: Collection[str] = ()) -> Settings:
        """Read the settings from environment variables; empty means unset, except for OSS_UPLOAD_DIR.

        The variables that Kubernetes makes for a Service, such as OSS_WSGI_PORT, are ignored.

        :param required: names of settings without which the program cannot work: ``bucket``, ``access_key``.

        Raises SettingsError with one sentence for each problem, unknown ``OSS_*`` names included.
        """
        known = {row.variable: row.name for row in TABLE}
        expected = {*known, *_FOREIGN_VARIABLES, *service_variables(environ, known)}
        unknown = sorted(name for name in environ if name.startswith("OSS_") and name not in expected)
        problems = [unknown_name(name, list(known)) for name in unknown]
        values: dict[str, Any] = {name: environ[variable] for variable, name in known.items() if variable in environ}
        values["access_key_id"], values["access_key_secret"], values["session_token"] = access_key_from(environ)
        problems += missing_settings(values, required)
        try:
            settings = cls(**values)
        except SettingsError as error:
            raise SettingsError(*problems, *error.problems) from None
        if problems:
            raise SettingsError(*problems)
        return settings

    @property
    def pages_report(self) -> bool:
        """Return whether pages report uploads, so that nothing which is signed asks OSS for a callback."""
        return self.report_by == PAGE

    @property
    def callback_urls(self) -> list[str]:
        """Return the URLs at which OSS reports uploads, one by one; none if pages report them."""
        return [] if self.pages_report or self.callback_url is None else split_urls(self.callback_url)

    @property
    def configured(self) -> bool:
        """Return whether there is a bucket to upload to."""
        return self.bucket is not None

    def secrets(self) -> list[str]:
        """Return every secret that is set, so that a log can mask them."""
        values = [getattr(self, row.name) for row in TABLE if row.secret]
        secrets = [secret for value in values for secret in (value if isinstance(value, tuple) else (value,)) if secret]
        return secrets + (passwords_in(self.ledger) if self.ledger else [])

    def credentials(self) -> Credentials:
        """Return the access key of the settings; SettingsError if it is not set."""
        if self.access_key_id is None or self.access_key_secret is None:
            raise SettingsError(MISSING["access_key"])
        return Credentials(self.access_key_id, self.access_key_secret, self.session_token)

    def bucket_and_host(self) -> tuple[str, str]:
        """Return the bucket, and the address for its forms; SettingsError if no bucket is set."""
        if self.bucket is None or self.host is None:
            fix = (
                ", or try it without a bucket: `oss-wsgi serve --app MODULE:NAME` serves a WSGI application, and "
                "`oss-wsgi local -- COMMAND` runs any command."
            )
            raise SettingsError(MISSING["bucket"].removesuffix(".") + fix)
        return self.bucket, self.host


TABLE: tuple[Setting, ...] = tuple(
    Setting(name=row.name, default=row.default, **row.metadata) for row in fields(Settings)
)


def _read(value: Any, row: Setting) -> Any:
    """Return a row's value from its text, or from a value of its type; ValueError says what it must be."""
    if isinstance(value, str) and not value.strip() and row.name != "upload_dir":
        return row.default
    if isinstance(value, str):
        try:
            return row.cast(value)
        except ValueError as error:
            raise ValueError(str(error) if row.secret else Text("{1}, not {2}", error, repr(value))) from None
    if isinstance(row.default, tuple):
        return _pairs_of(value) if row.cast is pairs else _texts_of(value)
    expected = str if row.default is None else type(row.default)
    if value is not row.default and type(value) is not expected:
        raise ValueError(f"must be of type {expected.__name__}, not {type(value).__name__}")
    return value


def _texts_of(value: Any) -> tuple[str, ...]:
    if not isinstance(value, (list, tuple)) or not all(isinstance(item, str) for item in value):
        raise ValueError("must be a list of texts")
    return tuple(value)


def _pairs_of(value: Any) -> tuple[tuple[str, str], ...]:
    entries = list(value.items()) if isinstance(value, Mapping) else value
    if not isinstance(entries, (list, tuple)) or not all(_is_pair(entry) for entry in entries):
        raise ValueError("must be a mapping of texts, or a list of pairs of texts")
    return tuple(entries)


def _is_pair(entry: object) -> bool:
    return isinstance(entry, tuple) and len(entry) == 2 and all(isinstance(part, str) for part in entry)


def with_secrets_read(settings: Settings) -> Settings:
    """Return the settings with the current secrets from OSS_TICKET_SECRET_FILE in them. Raises SettingsError."""
    if settings.ticket_secret_file is None:
        return settings
    return replace(settings, ticket_secret=read_secrets(settings.ticket_secret_file), ticket_secret_file=None)
