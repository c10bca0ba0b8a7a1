"""Runs the local OSS, as `python -m oss_wsgi.local` does."""

from __future__ import annotations

import contextlib
import os
import secrets
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..credentials import access_key_from
from ..local import __main__ as program
from ..local.command_line import greeting, parser
from ..settings import Settings
from ..settings_check import MIN_TICKET_SECRET
from .process import CannotStartError, cannot_listen, end_quietly, until_stopped

if TYPE_CHECKING:
    from argparse import Namespace

    from ..local import LocalOSS


def add(subparsers: Any) -> None:
    own = parser()
    example = "Example: oss-wsgi local --bucket my-bucket --cors http://localhost:3000."
    made = subparsers.add_parser(
        "local",
        help="run a local OSS alone",
        description=own.description,
        epilog=f"{example} {own.epilog}",
        parents=[own],
        add_help=False,
        allow_abbrev=False,
    )
    made.set_defaults(run=run)


def run(arguments: Namespace) -> int:
    """Run until SIGTERM or Ctrl-C; exit status 0 then, 2 when it cannot start."""
    return until_stopped(arguments.program, lambda stack: _serve(arguments, stack))


def _serve(arguments: Namespace, stack: contextlib.ExitStack) -> None:
    try:
        oss = program.start(arguments, stack)
    except program.CannotStartError as error:
        raise CannotStartError(str(error)) from error
    for line in greeting(oss, arguments):
        print(line, flush=True)
    try:
        threading.Event().wait()
    finally:
        end_quietly()


LOCAL_BUCKET = "local-bucket"

LOCAL_REGION = "cn-hangzhou"


def is_set(environ: Mapping[str, str], name: str) -> bool:
    """Tell whether a variable has a value; blanks are none."""
    return bool(environ.get(name, "").strip())


def local_environ(environ: Mapping[str, str], local_dir: str | None) -> dict[str, str]:
    """Give the environment with what the local OSS needs filled in; what is set keeps its meaning."""
    defaults = {"OSS_BUCKET": LOCAL_BUCKET, "OSS_REGION": LOCAL_REGION, "OSS_ALLOW_ANONYMOUS": "on"}
    if not is_set(environ, "OSS_TICKET_SECRET"):
        kept = environ.get("OSS_LEDGER", "").strip() or local_dir
        defaults["OSS_TICKET_SECRET"] = _kept_secret(kept) if kept else secrets.token_hex(32)
    if not any(access_key_from(environ)):
        defaults["OSS_ACCESS_KEY_ID"] = f"local-{secrets.token_hex(8)}"
        defaults["OSS_ACCESS_KEY_SECRET"] = secrets.token_hex(16)
    filled = {name: value for name, value in defaults.items() if not is_set(environ, name)}
    # The local OSS is where the form goes, so where a real one would be does not count.
    return {**environ, **filled, "OSS_HOST": "", "OSS_ENDPOINT": ""}


def _kept_secret(beside: str) -> str:
    """Give the ticket secret in a file beside a folder or a ledger, made if need be: tickets live as long as those."""
    path = f"{os.path.abspath(beside)}.ticket-secret"
    try:
        with contextlib.suppress(FileExistsError), open(path, "x", encoding="ascii", opener=_private) as file:
            file.write(secrets.token_hex(32))
        with open(path, encoding="ascii") as file:
            secret = file.read().strip()
    except (OSError, ValueError) as error:
        said = getattr(error, "strerror", None) or type(error).__name__
        raise CannotStartError(f"the ticket secret {path!r} cannot be kept: {said}. Set OSS_TICKET_SECRET.") from error
    if len(secret) < MIN_TICKET_SECRET:
        raise CannotStartError(f"{path!r} holds no ticket secret: remove it, or set OSS_TICKET_SECRET.")
    return secret


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def start_local_oss(settings: Settings, arguments: Namespace, page: str, stack: contextlib.ExitStack) -> LocalOSS:
    """Start the local OSS; it ends with the stack."""
    try:
        from ..local import CORSRule, LocalOSS, LocalOSSServer
    except ModuleNotFoundError as error:
        raise CannotStartError(
            f"the local OSS needs {error.name}: pip install 'oss-wsgi[local]', or set OSS_BUCKET for the real one."
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
            cors_rules=[CORSRule(allowed_origins=tuple(origins))],
        )
    except OSError as error:
        raise CannotStartError(f"--local-dir: {arguments.local_dir!r} cannot be used: {error.strerror}.") from error
    stack.enter_context(oss)
    host, port = arguments.local_listen
    try:
        server = LocalOSSServer(oss, host, port)
    except OSError as error:
        raise cannot_listen("--local-listen", host, port, error) from error
    stack.callback(server.stop)
    server.start()
    return oss


def ledger_beside(local_dir: str | None) -> str | None:
    """Give the ledger's file for a folder of the local OSS, which lives as long as the folder; None in memory."""
    return f"{os.path.abspath(local_dir)}.ledger.sqlite3" if local_dir else None
