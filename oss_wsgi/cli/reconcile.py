"""The `reconcile` command: sweeps the bucket for uploads whose report was lost, and hands them to the application."""

from __future__ import annotations

import importlib
import json
import logging
import os
import sys
import time
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from ..application import DirectUpload
from ..exceptions import BucketError, LedgerUnavailableError, OSSWSGIError, SweepRunningError
from ..ledger.memory import MemoryLedger
from ..recovery.sweep import OUTCOMES, Reconciliation
from ..sdk.credentials import SDKCredentialsProvider
from ..settings import TABLE, Settings
from ..site import site
from .load_application import failure
from .options import EPILOG, add_credentials_library, add_settings, duration_argument, environ_of
from .terminal import MisuseError, note, plain

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Iterator

_WIDTH = 20
_INTERVAL = 0.1
_MEANINGS = {
    "known": "handled before",
    "recovered": "handled now",
    "untold": "would be handled",
    "failed": "not accepted by the application",
    "unavailable": "OSS or the ledger could not be asked",
    "refused": "not allowed by ticket, ledger, confirm or the CRC of its parts, or not to be asked for",
    "settled": "refused before, and told of then",
    "no_receipt": "without a receipt",
    "foreign": "with a receipt of another secret, altered or expired",
    "gone": "deleted meanwhile",
}


def add(subparsers: Any) -> None:
    """Add the command to the command line."""
    parser = subparsers.add_parser(
        "reconcile",
        help="find uploads whose report was lost, and handle them",
        description="List the bucket, and hand the application each upload that no callback reported. Nothing is "
        "deleted. Exit status 0 if nothing is left, 1 if something is, 2 misuse.",
        epilog=f"Example: oss-wsgi reconcile yourapp:application --since 26h --until 15m. {EPILOG}",
    )
    parser.add_argument(
        "application",
        nargs="?",
        metavar="MODULE:NAME",
        help="the DirectUpload of your application; default: one with the settings of the environment, as server.py's",
    )
    for name, default, meaning in (
        ("since", "26h", "look at what was stored this long ago or later"),
        ("until", "15m", "leave what was stored less long ago to its callback"),
    ):
        parser.add_argument(
            f"--{name}", type=duration_argument, default=default, metavar="DURATION", help=f"{meaning}; %(default)s"
        )
    parser.add_argument("--dry-run", action="store_true", help="handle nothing, only count")
    parser.add_argument(
        "--prefix",
        action="append",
        metavar="PREFIX",
        help="of the object names; may be repeated; default: OSS_UPLOAD_DIR, or all names if there is an authorize",
    )
    parser.add_argument(
        "--checkpoint", metavar="FILE", help="says where a stopped sweep goes on; default: the ledger does"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    add_credentials_library(parser)
    add_settings(parser)
    parser.set_defaults(run=run)


def run(arguments: Namespace) -> int:
    """Sweep and print what was found; return 1 if something is left or the sweep could not end, else 0."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setLevel(logging.WARNING)
    handler.setFormatter(logging.Formatter("%(message)s"))
    log = logging.getLogger("oss_wsgi")
    log.addHandler(handler)
    try:
        application = _application(arguments)
        _check_memory(application, dry_run=arguments.dry_run)
        with _progress_bar() as progress:
            report = application.reconcile(
                since=arguments.since,
                until=arguments.until,
                dry_run=arguments.dry_run,
                prefixes=arguments.prefix,
                checkpoint=arguments.checkpoint,
                progress=progress,
            )
    except (BucketError, LedgerUnavailableError, SweepRunningError, OSError) as error:
        message = getattr(error, "hint", None) or str(error)
        code = getattr(error, "reason", None) or type(error).__name__
        if arguments.json:
            print(json.dumps({"error": {"code": code, "message": message}}, indent=1))
        note(f"{arguments.program}: {plain(message)} ({code})")
        return 1
    except ValueError as error:  # a window that ends before it begins
        raise MisuseError(str(error)) from error
    finally:
        log.removeHandler(handler)
    if arguments.json:
        print(json.dumps({**asdict(report), "counts": report.counts, "left": report.left}, indent=1))
    else:
        _print(report)
    return 1 if report.left else 0


def _application(arguments: Namespace) -> DirectUpload:
    if arguments.application is None:
        settings = Settings.from_environ(environ_of(arguments))
        if not settings.configured:
            raise MisuseError(
                "no bucket is set: name your application as MODULE:NAME, or set the OSS_* variables of your server."
            )
        credentials = SDKCredentialsProvider(settings, clock=time.time) if arguments.credentials_library else None
        return site(settings, credentials=credentials)
    given = [row.variable for row in TABLE if getattr(arguments, row.variable, None) is not None]
    if given or arguments.credentials_library:
        options = ", ".join([*given, *(["--credentials-library"] if arguments.credentials_library else [])])
        raise MisuseError(f"{arguments.application} has settings of its own: leave out {options}.")
    return _imported(arguments.application)


def _imported(text: str) -> DirectUpload:
    """Import ``module:name``, also from the current folder, and return the DirectUpload there."""
    module_name, colon, name = text.partition(":")
    if not (module_name and colon and name):
        raise MisuseError(f"the application must be MODULE:NAME, such as yourapp:application, not {plain(text)!r}.")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        found: Any = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise MisuseError(f"the import of {module_name} fails {failure(error)}") from error
        raise MisuseError(f"there is no module {module_name}: run this in the folder that holds it.") from error
    except (OSSWSGIError, KeyboardInterrupt):
        raise
    except BaseException as error:  # SystemExit too, of a module that reads the command line
        raise MisuseError(f"the import of {module_name} fails {failure(error)}") from error
    for part in name.split("."):
        if not hasattr(found, part):
            raise MisuseError(f"{module_name} has no {name}.")
        found = getattr(found, part)
    if not isinstance(found, DirectUpload):
        found = getattr(found, "wsgi", found)  # that of oss_wsgi.asgi has one
    if not isinstance(found, DirectUpload):
        raise MisuseError(
            f"{text} is a {type(found).__name__}, not a DirectUpload: where middleware is around it, give the "
            "DirectUpload a name of its own, and name that."
        )
    return found


def _check_memory(application: DirectUpload, *, dry_run: bool) -> None:
    """Refuse a sweep that would handle again what the server has handled, or could open no receipt of it."""
    if not (application.settings.ticket_secret or application.settings.ticket_secret_file):
        raise MisuseError("OSS_TICKET_SECRET is not set: set the server's, or its receipts cannot be opened here.")
    if isinstance(application.ledger, MemoryLedger) and not (dry_run or application.has_known):
        raise MisuseError(
            "the ledger is this process's memory, so every upload would be handled again: set the server's OSS_LEDGER, "
            "or give DirectUpload a known=."
        )


@contextmanager
def _progress_bar() -> Iterator[Any]:
    """Yield what shows a report on a terminal, and remove it at the end; None where there is no terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    shown_at, width = 0.0, 0

    def show(report: Reconciliation) -> None:
        nonlocal shown_at, width
        now = time.monotonic()
        if now - shown_at < _INTERVAL:
            return
        shown_at = now
        bar = f"[{'#' * int(report.progress * _WIDTH):<{_WIDTH}}]"
        line = f"Sweeping {bar} {report.listed} objects, {report.recovered} recovered"
        print(f"\r{line:<{width}}", end="", file=sys.stderr, flush=True)
        width = len(line)

    try:
        yield show
    finally:
        print(f"\r{'':<{width}}\r", end="", file=sys.stderr, flush=True)


def _print(report: Reconciliation) -> None:
    window = f"from {_moment(report.since)} to {_moment(report.until)}"
    resumed = ", going on where the last sweep was stopped" if report.resumed else ""
    print(f"{report.listed} objects were stored {window}{resumed}.")
    for outcome in OUTCOMES:
        count = report.counts[outcome]
        if count:
            print(f"{count:>9} {outcome}: {_MEANINGS[outcome]}")
            for name in report.samples.get(outcome, []):
                print(f"          {plain(name)}")
    if report.reasons:
        print(f"Reasons: {', '.join(f'{reason} ({count})' for reason, count in report.reasons.items())}.")
        print("For more run `oss-wsgi explain REASON`.")
    if not report.left:
        print("Nothing is left.")


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(max(seconds, 0), timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
