"""The `reconcile` command: sweeps the bucket for uploads whose report was lost, and hands them to the application."""

from __future__ import annotations

import json
import logging
import signal
import sys
import threading
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime, timezone
from types import FrameType
from typing import Any

from ..application import DirectUpload
from ..exceptions import BucketError, LedgerUnavailableError, SweepRunningError
from ..ledger.memory import MemoryLedger
from ..recovery.sweep import OUTCOMES, Reconciliation
from ..settings import Settings
from ..site import site
from .loader import load_direct_upload
from .options import BUCKET_SETTINGS, EPILOG, add_settings, duration_argument, environ_of, refuse_settings
from .terminal import FailedError, MisuseError, plain, progress

#: As tqdm reads it.
_BAR = "{desc} {percentage:3.0f}%|{bar:20}|{postfix}"
_SWEEP_SETTINGS = frozenset({"callback_url", "upload_dir", "upload_names", "name_shards", "ledger", "ledger_keep"})

_MEANINGS = {
    "known": "handled before",
    "recovered": "handled now",
    "untold": "would be handled",
    "failed": "not accepted by the application",
    "unavailable": "OSS or the ledger could not be asked",
    "refused": "not allowed by ticket, ledger, confirm or the CRC of its parts, or OSS cannot be asked for its name",
    "settled": "refused by an earlier sweep or event, which reported it",
    "no_receipt": "without a receipt",
    "foreign": "with a receipt of another secret, altered or expired",
    "gone": "deleted meanwhile",
}


def add(subparsers: Any) -> None:
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
        ("since", "26h", "look back this far"),
        ("until", "15m", "leave objects newer than this to their callbacks"),
    ):
        parser.add_argument(
            f"--{name}", type=duration_argument, default=default, metavar="DURATION", help=f"{meaning}; %(default)s"
        )
    parser.add_argument("--dry-run", action="store_true", help="handle nothing, only count")
    parser.add_argument(
        "--prefix",
        action="append",
        metavar="PREFIX",
        help="look only at object names with this prefix; may be repeated; default: OSS_UPLOAD_DIR, or all names if "
        "there is an authorize",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    add_settings(parser, BUCKET_SETTINGS | _SWEEP_SETTINGS)
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
        with progress("Sweeping", 1.0, arguments.environ, _BAR) as show, _noted_signals() as signals:

            def note(so_far: Reconciliation) -> None:
                show(so_far.progress, f"{so_far.listed} objects, {so_far.recovered} recovered")
                if signals:
                    raise KeyboardInterrupt(*signals)

            report = application.reconcile(
                since=arguments.since,
                until=arguments.until,
                dry_run=arguments.dry_run,
                prefixes=arguments.prefix,
                progress=note,
            )
    except (BucketError, LedgerUnavailableError, SweepRunningError, OSError) as error:
        message = getattr(error, "hint", None) or str(error)
        code = getattr(error, "reason", None) or type(error).__name__
        raise FailedError(f"{plain(message)} ({code})", code=code, message=message) from error
    except ValueError as error:  # a window that ends before it begins
        raise MisuseError(str(error)) from error
    finally:
        log.removeHandler(handler)
    if arguments.json:
        print(json.dumps({**asdict(report), "counts": report.counts, "left": report.left}, indent=1))
    else:
        _print(report)
    return 1 if report.left else 0


@contextmanager
def _noted_signals() -> Iterator[list[int]]:
    """Note the signals that come: what they raise in a handler counts as the handler's failure, and ends nothing."""
    numbers = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
    is_main = threading.current_thread() is threading.main_thread()  # only this thread may set handlers
    handlers = {number: signal.getsignal(number) for number in numbers if is_main}
    before = {number: handler for number, handler in handlers.items() if callable(handler)}
    noted: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        noted.append(number)
        before[number](number, frame)

    for number in before:
        signal.signal(number, note)
    try:
        yield noted
    finally:
        for number, handler in before.items():
            if signal.getsignal(number) is note:
                signal.signal(number, handler)


def _application(arguments: Namespace) -> DirectUpload:
    environ = environ_of(arguments)  # refuses --ledger beside another OSS_LEDGER, for any application
    if arguments.application is None:
        settings = Settings.from_environ(environ)
        if not settings.configured:
            raise MisuseError(
                "no bucket is set: name your application as MODULE:NAME, or set the OSS_* variables of your server."
            )
        return site(settings)
    refuse_settings(arguments, arguments.application)
    return load_direct_upload(arguments.application)


def _check_memory(application: DirectUpload, *, dry_run: bool) -> None:
    """Refuse a sweep that would handle the server's uploads again, or that could not open its receipts."""
    if not (application.settings.ticket_secret or application.settings.ticket_secret_file):
        raise MisuseError(
            "OSS_TICKET_SECRET is not set: set the server's, without which its receipts cannot be opened."
        )
    if isinstance(application.ledger, MemoryLedger) and not (dry_run or application.has_known):
        raise MisuseError(
            "the ledger is this process's memory, so every upload would be handled again: set the server's OSS_LEDGER, "
            "or give DirectUpload a known=."
        )


def _print(report: Reconciliation) -> None:
    window = f"from {_moment(report.since)} to {_moment(report.until)}"
    print(f"{report.listed} objects were stored {window}.")
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
