"""Checks a deployment piece by piece, and says of each whether it is green, yellow or red, with the cure."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from ...exceptions import OSSWSGIError
from ..options import EPILOG, add_credentials_library, add_settings, environ_of
from ..terminal import coloured, plain, waiting
from . import bucket, settings
from .bucket import cors
from .callback import answer, callback, callback_url
from .context import Examination, Finding, NotCheckedError, red
from .write import write

if TYPE_CHECKING:
    from argparse import Namespace

CHECKS: dict[str, Callable[[Examination], Iterator[Finding]]] = {
    "settings": settings.settings,
    "credentials": settings.credentials,
    "key": settings.key,
    "clock": bucket.clock,
    "bucket": bucket.bucket,
    "region": bucket.region,
    "v4": bucket.v4,
    "cors": cors,
    "callback-url": callback_url,
    "callback": callback,
    "answer": answer,
    "write": write,
}


def add(subparsers: Any) -> None:
    made = subparsers.add_parser(
        "doctor",
        help="check a deployment piece by piece",
        description="Check a deployment piece by piece, with the settings that the application has: green, yellow or "
        "red, with the cure. Nothing is stored without --write. Exit status 1 if anything is red.",
        epilog="Example: oss-wsgi doctor --only callback --callback-url https://app.example.com/oss/callback. "
        f"The probe of the callback proves itself by OSS_TICKET_SECRET. {EPILOG}",
    )
    made.add_argument("--only", action="append", choices=list(CHECKS), metavar="CHECK", help=f"of {', '.join(CHECKS)}")
    made.add_argument(
        "--write",
        action="store_true",
        help="upload a test object too, beside what --only names; the application hears of it as of any; it is deleted",
    )
    add_credentials_library(made)
    made.add_argument("--json", action="store_true", help="print one JSON array")
    add_settings(made)
    made.set_defaults(run=run)


def run(arguments: Namespace) -> int:
    names = list(dict.fromkeys(arguments.only or (name for name in CHECKS if name != "write")))
    if arguments.write and "write" not in names:
        names.append("write")
    case = Examination(environ_of(arguments), library=arguments.credentials_library, writes="write" in names)
    found: list[dict[str, str]] = []
    for name in names:
        with waiting(f"Checking {name}"):
            findings = _findings(name, case)
        for finding in findings:
            found.append({"check": name, **asdict(finding)})
            if not arguments.json:
                _print(name, finding, arguments)
    if arguments.json:
        print(json.dumps(found, indent=1))
    return 1 if any(finding["colour"] == "red" for finding in found) else 0


def _findings(name: str, case: Examination) -> list[Finding]:
    found: list[Finding] = []
    try:
        found.extend(CHECKS[name](case))
    except NotCheckedError as error:
        found.append(error.finding)
    except OSSWSGIError as error:
        found.append(red(str(error), "Mend the settings."))
    return found


def _print(name: str, finding: Finding, arguments: Namespace) -> None:
    mark = coloured(f"{finding.colour:<6}", finding.colour, arguments.environ)
    print(f"{mark} {name}: {plain(finding.said)}", flush=True)
    if finding.cure:
        print(f"       {plain(finding.cure)}", flush=True)
