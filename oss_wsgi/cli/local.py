"""The local OSS: the `local` command, and the one that `serve` starts beside the page."""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
import tempfile
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from ..application import CALLBACK_PATH, DEFAULT_PREFIX
from ..callback.secret_file import MIN_TICKET_SECRET
from ..explanations.text import Text
from ..ledger.url import is_url
from ..private_file import open_own, write_private
from ..sdk.client import has_sdk
from ..serving.listeners import local_url
from ..serving.until_stopped import CannotStartError, signals_deferred
from ..settings import OFF, Settings
from .options import is_set

# Servers in production import this module through server.py, so the functions import `..local`.

LOCAL_BUCKET = "local-bucket"
LOCAL_REGION = "cn-hangzhou"


def add(subparsers: Any) -> None:
    from local_oss.command_line import parser

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
    """Do what `local-oss` does: run until SIGTERM, SIGHUP or Ctrl-C, or until the command after `--` ends."""
    from local_oss.__main__ import run as run_local_oss

    return run_local_oss(arguments, arguments.program)


def why_local(arguments: Namespace, environ: Mapping[str, str]) -> str | None:
    """Return why a local OSS takes the files, or None if a real bucket does."""
    if arguments.local:
        return "Because of --local"
    if is_set(environ, "OSS_BUCKET") or is_set(environ, "OSS_HOST"):
        return None
    for name in ("OSS_ACCESS_KEY_ID", "OSS_ACCESS_KEY_SECRET", "OSS_REGION", "OSS_ENDPOINT"):
        if is_set(environ, name):
            return Text("{1} is set but OSS_BUCKET is not", name)
    return "No bucket is configured"


def local_environ(environ: Mapping[str, str], local_dir: str | None) -> dict[str, str]:
    """Return the environment with what uploads to a local OSS need; a variable that is set keeps its value."""
    defaults = {"OSS_BUCKET": LOCAL_BUCKET, "OSS_REGION": LOCAL_REGION, "OSS_ALLOW_ANONYMOUS": "on"}
    if has_sdk() and environ.get("OSS_RECEIPTS", "").strip().lower() not in OFF:
        defaults["OSS_RECOVER"] = "on"
    if has_sdk():
        defaults["OSS_MULTIPART"] = "on"
    if local_dir:
        defaults["OSS_LEDGER"] = f"{os.path.abspath(local_dir)}.ledger.sqlite3"
    if not (is_set(environ, "OSS_TICKET_SECRET") or is_set(environ, "OSS_TICKET_SECRET_FILE")):
        ledger = environ.get("OSS_LEDGER", "").strip()
        lasting = ledger if ledger and not is_url(ledger) else local_dir
        defaults["OSS_TICKET_SECRET"] = _stored_secret(lasting) if lasting else secrets.token_hex(32)
    missing = {name: value for name, value in defaults.items() if not is_set(environ, name)}
    # Forms go to the local OSS, so the address of a real one and the key for it must be ignored.
    return {**environ, **missing, "OSS_HOST": "", "OSS_ENDPOINT": "", "OSS_CREDENTIALS_LIBRARY": ""}


def _stored_secret(lasting: str) -> str:
    """Return the ticket secret from a file beside a folder or a ledger, created if missing.

    Tickets are then valid as long as the folder or the ledger lasts.
    """
    path = f"{os.path.abspath(lasting)}.ticket-secret"
    try:
        if not os.path.lexists(path):
            write_private(Path(path), secrets.token_hex(32), replace=False)
        with open(path, encoding="ascii", opener=open_own) as file:
            secret = file.read().strip()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it is not text"
        fix = Text("Check the path {1}, or set OSS_TICKET_SECRET.", repr(lasting))
        raise CannotStartError(Text("cannot keep a ticket secret in {1}: {2}. {3}", repr(path), reason, fix)) from error
    if len(secret) < MIN_TICKET_SECRET:
        raise CannotStartError(
            Text("{1} holds no ticket secret: remove the file, or set OSS_TICKET_SECRET.", repr(path))
        )
    return secret


def start_local_oss(
    environ: dict[str, str],
    settings: Settings,
    arguments: Namespace,
    listener: socket.socket,
    stack: contextlib.ExitStack,
) -> str | None:
    """Start the local OSS for ``serve``, which stops with the stack, and set the variables that lead to it.

    Return the callback URL if this chose it.

    :param listener: of the application.
    :raises CannotStartError: the extra is missing, or the folder or the port cannot be used.
    """
    from local_oss.__main__ import start

    callback_url = None
    if settings.callback_url is None and not settings.pages_report:
        callback_url = environ["OSS_CALLBACK_URL"] = _callback_url_of(listener, arguments.prefix)
    options = _options_of(settings, arguments, local_url(listener))
    try:
        with signals_deferred():
            oss = start(options, stack, "--local-")
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="oss-wsgi-"))
    except ModuleNotFoundError as error:
        raise CannotStartError(
            Text(
                "the local OSS needs {1}: pip install 'oss-wsgi[local]', or set OSS_BUCKET for the real OSS.",
                error.name,
            )
        ) from error
    key_file = os.path.join(folder, "callback_pub_key.pem")
    with open(key_file, "w", encoding="ascii") as file:
        file.write(oss.public_key_pem)
    trusted = environ.get("OSS_TRUSTED_KEYS", "").strip()
    environ["OSS_TRUSTED_KEYS"] = f"{trusted}{',' if trusted else ''}{oss.public_key_url}={key_file}"
    environ |= {"OSS_HOST": oss.host, "OSS_ENDPOINT": oss.url}
    if settings.access_key_id is None:
        environ |= {"OSS_ACCESS_KEY_ID": oss.access_key_id, "OSS_ACCESS_KEY_SECRET": oss.access_key_secret}
    if settings.ledger is None and (arguments.app is not None or arguments.processes > 1):
        environ["OSS_LEDGER"] = os.path.join(folder, "ledger.sqlite3")
    return callback_url


def _callback_url_of(listener: socket.socket, prefix: str) -> str:
    """Return the URL at which the local OSS reaches the callback. Raises CannotStartError if it cannot."""
    if listener.family not in (socket.AF_INET, socket.AF_INET6):
        raise CannotStartError("LISTEN_FDS: OSS cannot call a Unix socket: set OSS_CALLBACK_URL.")
    if listener.family == socket.AF_INET6:
        raise CannotStartError("--listen: OSS calls no IPv6 address: use IPv4, or set OSS_CALLBACK_URL.")
    # Without another prefix each DirectUpload adds its own.
    path = "" if prefix == DEFAULT_PREFIX else quote(prefix) + CALLBACK_PATH
    return local_url(listener) + path


def _options_of(settings: Settings, arguments: Namespace, page: str) -> Namespace:
    """Return options of the local OSS for the settings; pages of the origin ``page`` may send forms to it."""
    from local_oss.command_line import parser

    options = parser().parse_args([])
    options.listen, options.directory = arguments.local_listen, arguments.local_dir
    options.bucket, options.region = [settings.bucket_and_host()[0]], settings.region or LOCAL_REGION
    options.access_key_id, options.access_key_secret = settings.access_key_id, settings.access_key_secret
    options.security_token = settings.session_token
    options.allow_public = arguments.local_allow_public
    options.cors = [page, *settings.allowed_origins]
    if page.startswith("http://127.0.0.1:"):
        options.cors.append(page.replace("127.0.0.1", "localhost", 1))
    return options
