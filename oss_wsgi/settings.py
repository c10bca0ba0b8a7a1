"""The settings: one table makes the dataclass, the environment variables, the command line and the README's list."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from .credentials import Credentials, from_environ
from .exceptions import SettingsError
from .settings_check import complete, unknown_name

_TRUE = frozenset({"1", "true", "yes", "on"})

_FALSE = frozenset({"0", "false", "no", "off"})


def text(value: str) -> str:
    """Take the text as it is, without blanks around it."""
    return value.strip()


def lower(value: str) -> str:
    """Take a word whose case does not matter."""
    return value.strip().lower()


def switch(value: str) -> bool:
    """Read ``on`` or ``off`` (also 1/0, true/false, yes/no)."""
    word = value.strip().lower()
    if word in _TRUE:
        return True
    if word in _FALSE:
        return False
    raise ValueError("must be 'on' or 'off'")


def whole_number(value: str) -> int:
    """Read a whole number written in digits."""
    word = value.strip()
    if not (word.isascii() and word.isdigit() and len(word) < 20):
        raise ValueError("must be a whole number, written in digits")
    return int(word)


def items(value: str) -> tuple[str, ...]:
    """Read a comma-separated list; blanks around the items and empty items do not count."""
    return tuple(item.strip() for item in value.split(",") if item.strip())


def words(value: str) -> tuple[str, ...]:
    """Read a comma-separated list of words whose case does not matter."""
    return tuple(item.lower() for item in items(value))


def pairs(value: str) -> tuple[tuple[str, str], ...]:
    """Read comma-separated ``URL=FILE`` pairs, each split at its last ``=``."""
    found = []
    for item in items(value):
        url, equals, file = item.rpartition("=")
        if not (equals and url and file):
            raise ValueError("must be KEY_URL=PEM_FILE pairs, joined by commas")
        found.append((url.strip(), file.strip()))
    return tuple(found)


# Variables of other programs that share the prefix (P§13.2) and are none of our business.
_OTHERS = frozenset({"OSS_STS_ROLE_ARN"})


@dataclass(frozen=True)
class Setting:
    """One row of the table: where a setting is read, how, and what it means."""

    name: str
    variable: str
    help: str
    cast: Callable[[str], Any]
    default: Any
    secret: bool
    shown_default: str


def _row(
    variable: str,
    default: Any,
    meaning: str,
    cast: Callable[[str], Any] = text,
    *,
    secret: bool = False,
    shown: str | None = None,
) -> Any:
    if shown is None:
        shown = {True: "on", False: "off", None: ""}.get(default, str(default))
    metadata = {"variable": variable, "help": meaning, "cast": cast, "secret": secret, "shown": shown}
    return field(default=default, repr=not secret, metadata=metadata)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What this application may sign and for which bucket; frozen, and checked when made.

    Each value may be given as what it is or as the text of its environment variable.
    ``bucket``, ``region``, ``endpoint`` and ``host`` fill each other where they have the usual form
    ``https://<bucket>.oss-<region>.aliyuncs.com``.

    Raises SettingsError with a sentence for each thing that is wrong.
    """

    access_key_id: str | None = _row("OSS_ACCESS_KEY_ID", None, "AccessKey ID (or ALIBABA_CLOUD_ACCESS_KEY_ID)")
    access_key_secret: str | None = _row(
        "OSS_ACCESS_KEY_SECRET", None, "AccessKey secret (or ALIBABA_CLOUD_ACCESS_KEY_SECRET)", secret=True
    )
    session_token: str | None = _row(
        "OSS_SESSION_TOKEN", None, "token of a temporary key, STS (or ALIBABA_CLOUD_SECURITY_TOKEN)", secret=True
    )
    bucket: str | None = _row("OSS_BUCKET", None, "bucket that takes the uploads, e.g. examplebucket")
    region: str | None = _row("OSS_REGION", None, "region of the bucket, e.g. cn-hangzhou")
    endpoint: str | None = _row("OSS_ENDPOINT", None, "endpoint of OSS", shown="https://oss-<region>.aliyuncs.com")
    host: str | None = _row(
        "OSS_HOST", None, "where the form is posted; a custom domain goes here", shown="https://<bucket>.<endpoint>"
    )
    signature_version: str = _row(
        "OSS_SIGNATURE_VERSION", "v4", "v4 or v1 (new accounts and buckets no longer accept v1)", lower
    )
    callback_url: str | None = _row(
        "OSS_CALLBACK_URL", None, "public URL of the callback endpoint; up to 5 joined by ';'", shown="no callback"
    )
    callback_required: bool = _row(
        "OSS_CALLBACK_REQUIRED", True, "OSS refuses an upload whose form lacks our callback", switch
    )
    upload_dir: str = _row(
        "OSS_UPLOAD_DIR", "user-dir-prefix/", "prefix of the object names; ends in '/', or is empty for none"
    )
    upload_expires: int = _row("OSS_UPLOAD_EXPIRES", 300, "seconds that a signature is valid", whole_number)
    upload_max_size: int = _row("OSS_UPLOAD_MAX_SIZE", 1048576000, "largest file, in bytes", whole_number)
    upload_content_types: tuple[str, ...] = _row(
        "OSS_UPLOAD_CONTENT_TYPES", (), "comma-separated list of the types allowed", words, shown="any"
    )
    upload_names: str = _row(
        "OSS_UPLOAD_NAMES", "unique", "unique (made by the server) or original (the file's own, cleaned)", lower
    )
    ticket_secret: tuple[str, ...] = _row(
        "OSS_TICKET_SECRET",
        (),
        "secret of upload tickets, 32 characters or more; several, comma-separated, rotate",
        items,
        secret=True,
        shown="made at start",
    )
    ledger: str | None = _row(
        "OSS_LEDGER", None, "SQLite file that knows which uploads were handled", shown="in memory"
    )
    allow_anonymous: bool = _row(
        "OSS_ALLOW_ANONYMOUS", False, "sign for everybody when the application has no authorize", switch
    )
    allowed_origins: tuple[str, ...] = _row(
        "OSS_ALLOWED_ORIGINS", (), "comma-separated origins that may read the signature", words, shown="none"
    )
    trusted_keys: tuple[tuple[str, str], ...] = _row(
        "OSS_TRUSTED_KEYS",
        (),
        "further KEY_URL=PEM_FILE pairs, comma-separated, for a stand-in",
        pairs,
        shown="none",
    )

    def __post_init__(self) -> None:
        problems: list[str] = []
        values: dict[str, Any] = {}
        for row in TABLE:
            value = getattr(self, row.name)
            if isinstance(value, str) and not value.strip() and row.name != "upload_dir":
                value = row.default
            if isinstance(value, str):
                try:
                    value = row.cast(value)
                except ValueError as error:
                    problems.append(f"{row.variable} {error}{'' if row.secret else f', not {value!r}'}.")
                    value = row.default
            elif isinstance(value, Mapping):
                value = tuple(value.items())
            elif isinstance(value, list):
                value = tuple(value)
            if not _fits(value, row.default):
                problems.append(f"{row.variable} cannot be of the type {type(value).__name__}.")
                value = row.default
            values[row.name] = value
        problems += complete(values)
        if problems:
            raise SettingsError(*problems)
        for name, value in values.items():
            object.__setattr__(self, name, value)

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> Settings:
        """Read the settings from environment variables; an empty one counts as unset, but for OSS_UPLOAD_DIR.

        Raises SettingsError with everything that is wrong, an unknown ``OSS_*`` name included.
        """
        known = {row.variable: row.name for row in TABLE}
        unknown = sorted(name for name in environ if name.startswith("OSS_") and name not in {*known, *_OTHERS})
        problems = [unknown_name(name, list(known)) for name in unknown]
        values: dict[str, Any] = {name: environ[variable] for variable, name in known.items() if variable in environ}
        values["access_key_id"], values["access_key_secret"], values["session_token"] = from_environ(environ)
        try:
            settings = cls(**values)
        except SettingsError as error:
            raise SettingsError(*problems, *error.problems) from None
        if problems:
            raise SettingsError(*problems)
        return settings

    @property
    def configured(self) -> bool:
        """Tell whether there is a bucket to upload to."""
        return self.bucket is not None

    def secrets(self) -> list[str]:
        """Give every secret that is set here, so that they can be kept out of a log."""
        values = [getattr(self, row.name) for row in TABLE if row.secret]
        return [text for value in values for text in (value if isinstance(value, tuple) else (value,)) if text]

    def credentials(self) -> Credentials:
        """Give the access key that is set here; SettingsError if none is."""
        if self.access_key_id is None or self.access_key_secret is None:
            raise SettingsError("OSS_ACCESS_KEY_ID and OSS_ACCESS_KEY_SECRET must be set.")
        return Credentials(self.access_key_id, self.access_key_secret, self.session_token)

    def bucket_and_host(self) -> tuple[str, str]:
        """Give the bucket, and the host that takes its forms; SettingsError if none is set."""
        if self.bucket is None or self.host is None:
            raise SettingsError("OSS_BUCKET and OSS_REGION must be set (or OSS_HOST, if it has the usual form).")
        return self.bucket, self.host


def _fits(value: object, default: object) -> bool:
    """Tell whether a value has its row's type; lists hold texts, or pairs of texts."""
    if isinstance(value, tuple) and isinstance(default, tuple):
        flat = [part for item in value for part in (item if isinstance(item, tuple) else (item,))]
        return all(isinstance(part, str) for part in flat)
    return value is default or type(value) is (str if default is None else type(default))


TABLE: tuple[Setting, ...] = tuple(
    Setting(
        name=row.name,
        variable=row.metadata["variable"],
        help=row.metadata["help"],
        cast=row.metadata["cast"],
        default=row.default,
        secret=row.metadata["secret"],
        shown_default=row.metadata["shown"],
    )
    for row in fields(Settings)
)
