"""The local OSS: the `local` command, and the one that `serve` starts beside the page."""

from __future__ import annotations

import contextlib
import os
import secrets
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..callback.secret_file import MIN_TICKET_SECRET
from ..credentials import access_key_from
from ..ledger.url import is_url
from ..private_file import open_private, write_private
from ..sdk.bucket import has_sdk
from ..serving.until_stopped import (
    CannotStartError,
    cannot_listen_error,
    is_urgent,
    run_until_stopped,
)
from ..settings import OFF, Settings
from ..signing.presigned_url import URLPresigner

if TYPE_CHECKING:
    from argparse import Namespace

    from ..local import LocalOSS

# Servers in production import this module through server.py, so the functions import `..local`.

LOCAL_BUCKET = "local-bucket"
LOCAL_REGION = "cn-hangzhou"
#: Seconds that the page's link to an upload is valid.
LINK_LIFETIME = 3600

KEPT_NOWHERE = "Files go to a temporary folder, removed at the end (keep them with --local-dir DIR)."


def add(subparsers: Any) -> None:
    """Add the command to the command line."""
    from ..local.command_line import parser

    options = parser()
    example = "Example: oss-wsgi local --bucket my-bucket --cors http://localhost:3000."
    subparsers.add_parser(
        "local",
        help="run only a local OSS",
        description=options.description,
        epilog=f"{example} {options.epilog}",
        parents=[options],
        add_help=False,
        allow_abbrev=False,
    ).set_defaults(run=run)


def run(arguments: Namespace) -> int:
    """Run until SIGTERM, SIGHUP or Ctrl-C and return 0, or return 2 if the local OSS cannot start."""
    from ..local.__main__ import serve

    return run_until_stopped(arguments.program, lambda stack: serve(arguments, stack))


def is_set(environ: Mapping[str, str], name: str) -> bool:
    """Return whether a variable has a value other than blanks."""
    return bool(environ.get(name, "").strip())


def no_bucket(environ: Mapping[str, str]) -> str:
    """Return why a local OSS takes the files: no bucket is set, although other settings of a real one may be."""
    names = ("OSS_ACCESS_KEY_ID", "OSS_ACCESS_KEY_SECRET", "OSS_REGION", "OSS_ENDPOINT")
    for name in names:
        if is_set(environ, name):
            return f"{name} is set but OSS_BUCKET is not"
    return "No bucket is configured"


def local_environ(environ: Mapping[str, str], local_dir: str | None) -> dict[str, str]:
    """Return the environment with what the local OSS needs filled in; a variable that is set keeps its value."""
    defaults = {"OSS_BUCKET": LOCAL_BUCKET, "OSS_REGION": LOCAL_REGION, "OSS_ALLOW_ANONYMOUS": "on"}
    if has_sdk() and environ.get("OSS_RECEIPTS", "").strip().lower() not in OFF:
        defaults["OSS_RECOVER"] = "on"
    if has_sdk():
        defaults["OSS_MULTIPART"] = "on"
    if not (is_set(environ, "OSS_TICKET_SECRET") or is_set(environ, "OSS_TICKET_SECRET_FILE")):
        ledger = environ.get("OSS_LEDGER", "").strip()
        lasting = ledger if ledger and not is_url(ledger) else local_dir
        defaults["OSS_TICKET_SECRET"] = _stored_secret(lasting) if lasting else secrets.token_hex(32)
    if not any(access_key_from(environ)):
        defaults["OSS_ACCESS_KEY_ID"], defaults["OSS_ACCESS_KEY_SECRET"] = _access_key(local_dir)
    missing = {name: value for name, value in defaults.items() if not is_set(environ, name)}
    # Forms go to the local OSS, so the address of a real one and the key for it must be ignored.
    return {**environ, **missing, "OSS_HOST": "", "OSS_ENDPOINT": "", "OSS_CREDENTIALS_LIBRARY": ""}


def signed_links(settings: Settings) -> Callable[[str], str]:
    """Return a function that signs an object's URL for the page, because the local bucket is private, as most are."""
    presigner = URLPresigner(settings, clock=time.time)
    return lambda key: presigner.presign("GET", key, expires=LINK_LIFETIME).url


def _access_key(local_dir: str | None) -> tuple[str, str]:
    """Return the access key that is kept with the objects, or a new one without a folder."""
    if not local_dir:
        return f"local-{secrets.token_hex(8)}", secrets.token_hex(16)
    from ..local.kept_keys import DamagedKeysError, access_key

    try:
        return access_key(local_dir)
    except DamagedKeysError as error:
        raise CannotStartError(f"--local-dir: {error}.") from error
    except OSError as error:
        raise CannotStartError(f"--local-dir: {local_dir!r} cannot be used: {error.strerror}.") from error


def _stored_secret(lasting: str) -> str:
    """Return the ticket secret from a file beside a folder or a ledger, created if missing.

    Tickets are then valid as long as the folder or the ledger lasts.
    """
    path = f"{os.path.abspath(lasting)}.ticket-secret"
    try:
        if not os.path.exists(path):
            write_private(Path(path), secrets.token_hex(32), replace=False)
        with open(path, encoding="ascii", opener=open_private) as file:
            secret = file.read().strip()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it is not text"
        fix = f"Check the path {lasting!r}, or set OSS_TICKET_SECRET."
        raise CannotStartError(f"cannot keep a ticket secret in {path!r}: {reason}. {fix}") from error
    if len(secret) < MIN_TICKET_SECRET:
        raise CannotStartError(f"{path!r} holds no ticket secret: remove the file, or set OSS_TICKET_SECRET.")
    return secret


def start_local_oss(settings: Settings, arguments: Namespace, page: str, stack: contextlib.ExitStack) -> LocalOSS:
    """Start the local OSS for ``serve``; it stops with the stack.

    :param page: the URL of the upload page, whose origin may send forms.
    :raises CannotStartError: the extra is missing, or the folder or the port cannot be used.
    """
    try:
        from ..local import CORSRule, LocalOSS, LocalOSSServer
    except ModuleNotFoundError as error:
        raise CannotStartError(
            f"the local OSS needs {error.name}: pip install 'oss-wsgi[local]', or set OSS_BUCKET for the real OSS."
        ) from error
    key = settings.credentials()
    bucket, _ = settings.bucket_and_host()
    origins = [page, *settings.allowed_origins]
    if page.startswith("http://127.0.0.1:"):
        origins.append(page.replace("127.0.0.1", "localhost", 1))
    try:
        oss = LocalOSS(
            bucket=bucket,
            region=settings.region or LOCAL_REGION,
            access_key_id=key.access_key_id,
            access_key_secret=key.access_key_secret,
            security_token=key.security_token,
            directory=arguments.local_dir,
            cors_rules=[
                CORSRule(
                    allowed_origins=tuple(origins),
                    allowed_methods=("GET", "HEAD", "POST", "PUT"),
                    expose_headers=("ETag", "x-oss-request-id", "x-oss-hash-crc64ecma"),
                )
            ],
        )
    except OSError as error:
        raise CannotStartError(f"--local-dir: {arguments.local_dir!r} cannot be used: {error.strerror}.") from error
    stack.enter_context(oss)
    host, port = arguments.local_listen
    try:
        server = LocalOSSServer(oss, host, port)
    except OSError as error:
        raise cannot_listen_error("--local-listen", host, port, error) from error
    stack.callback(server.stop, is_urgent)
    server.start()
    return oss


def ledger_beside(local_dir: str | None) -> str | None:
    """Return the file of the ledger that lasts as long as the local OSS's folder, or None without a folder."""
    return f"{os.path.abspath(local_dir)}.ledger.sqlite3" if local_dir else None
