"""The `doctor` command: runs the checks and prints each finding, green, yellow or red, with its fix."""

from __future__ import annotations

import json
import re
from argparse import Namespace
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from ...exceptions import GrantError, OSSWSGIError
from ...explanations.text import Text, sentences
from ...signing.grant import ACLS, Grant
from ..http_client import signature_endpoint
from ..loader import load_direct_upload
from ..options import EPILOG, add_settings, environ_of, refuse_settings
from ..terminal import MisuseError, coloured, plain, said, waiting
from .browser import check_host, check_page, check_signature
from .callback import check_answer, check_callback, check_callback_url
from .context import DEFAULT_USER, FIX_SETTINGS, NOT_CHECKED, CheckContext, Finding, NotCheckedError, error
from .machines import check_machines
from .oss import check_bucket, check_clock, check_cors, check_public_access, check_region, check_v4
from .rights import check_lifecycle, check_parts, check_recovery
from .settings import check_credentials, check_keys, check_settings
from .write import check_write

CHECKS: dict[str, Callable[[CheckContext], Iterator[Finding]]] = {
    "settings": check_settings,
    "credentials": check_credentials,
    "key": check_keys,
    "host": check_host,
    "page": check_page,
    "clock": check_clock,
    "bucket": check_bucket,
    "region": check_region,
    "v4": check_v4,
    "public": check_public_access,
    "cors": check_cors,
    "callback-url": check_callback_url,
    "callback": check_callback,
    "signature": check_signature,
    "machines": check_machines,
    "answer": check_answer,
    "recovery": check_recovery,
    "parts": check_parts,
    "lifecycle": check_lifecycle,
    "write": check_write,
}

_ASSIGNMENT = re.compile(r"OSS_[A-Z_]+=\w")


def add(subparsers: Any) -> None:
    parser = subparsers.add_parser(
        "doctor",
        help="check a deployment piece by piece",
        description="Check a deployment piece by piece, with the settings that the application has, and print each "
        "finding green, yellow or red, with its fix. Nothing is stored without --write. Exit status 1 if anything is "
        "red.",
        epilog="Example: oss-wsgi doctor --only callback --callback-url https://app.example.com/oss/callback. "
        f"OSS_TICKET_SECRET authenticates the probe of the callback. {EPILOG}",
    )
    parser.add_argument(
        "--only",
        action="append",
        choices=list(CHECKS),
        metavar="CHECK",
        help=f"run this check only; may be repeated; one of {', '.join(CHECKS)}",
    )
    parser.add_argument(
        "--signature-url",
        type=signature_endpoint,
        metavar="URL",
        help="URL of the signature, beside which pages report: OSS_REPORT_BY=page needs it to check the application",
    )
    parser.add_argument(
        "--write",
        action="store_true",
        help="also upload a test object, report it to the application like any upload, and delete it; the application "
        "checks and remembers it, and does not call its handler",
    )
    parser.add_argument(
        "--handler",
        action="store_true",
        help="also call the application's handler with the test upload, whose is_trial is True",
    )
    parser.add_argument(
        "--user",
        metavar="NAME",
        help=f"user of the test upload, written as in your Grant(user=...); {DEFAULT_USER}",
    )
    parser.add_argument("--data", metavar="JSON", help="data of the test upload, as the handler reads it; {}")
    parser.add_argument(
        "--acl",
        choices=ACLS,
        help="acl of your Grant, also for the test upload; of a public one the check `public` asks the bucket",
    )
    parser.add_argument(
        "--app",
        metavar="MODULE:NAME",
        help="check this application, loaded as by `serve --app`: its settings, ledger, authorize, handler and forms",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON array")
    add_settings(parser)
    parser.set_defaults(run=run)


def run(arguments: Namespace) -> int:
    """Run the checks and print their findings; return 1 if any of them is red, else 0."""
    names = list(dict.fromkeys(arguments.only or (name for name in CHECKS if name != "write")))
    if arguments.write and "write" not in names:
        names.append("write")
    writes = "write" in names
    for option, is_used in (("--user", arguments.user is not None), ("--handler", arguments.handler)):
        if is_used and not writes:
            raise MisuseError(f"{option} is for the test upload, which only --write makes: add --write.")
    if arguments.data is not None and not arguments.handler:
        raise MisuseError("--data is for the application's handler, which only --handler calls: add --handler.")
    if arguments.app is not None:
        refuse_settings(arguments, arguments.app)
    context = CheckContext(
        environ_of(arguments),
        app=None if arguments.app is None else load_direct_upload(arguments.app),
        writes=writes,
        grant=_grant(arguments.user or DEFAULT_USER, arguments.data, arguments.acl),
        calls_handler=arguments.handler,
        signature_url=arguments.signature_url,
    )
    named_findings: list[tuple[str, Finding]] = []
    unchecked: dict[tuple[str, str], list[str]] = {}
    for number, name in enumerate(names):
        earlier = {(finding.reason, finding.fix) for _, finding in named_findings}
        with waiting(Text("Checking {1}, {2} of {3}", name, number, len(names)), arguments.environ):
            findings, repeated = _findings(name, context, earlier)
        named_findings += ((name, finding) for finding in [*findings, *repeated])
        for finding in repeated:
            unchecked.setdefault((finding.colour, finding.message), []).append(name)
        if not arguments.json:
            for finding in findings:
                _print(name, finding, arguments)
    if arguments.json:
        print(json.dumps([_members(name, finding) for name, finding in named_findings], indent=1))
    else:
        for (colour, message), others in unchecked.items():
            _print(", ".join(others), Finding(colour, message), arguments)
    return 1 if any(finding.colour == "red" for _, finding in named_findings) else 0


def _grant(user: str, data: str | None, acl: str | None) -> Grant:
    """Return the grant of the test upload. Raises MisuseError."""
    try:
        return Grant(user=user, data={} if data is None else json.loads(data), acl=acl)
    except GrantError as cause:
        raise MisuseError(f"The test upload: {cause}") from cause
    except (ValueError, RecursionError) as cause:
        raise MisuseError("--data must be JSON, such as '{\"album\": 7}'.") from cause


def _findings(name: str, context: CheckContext, earlier: set[tuple[str, str]]) -> tuple[list[Finding], list[Finding]]:
    """Run a check; return its findings, and separately those that repeat what an earlier check has found."""
    findings: list[Finding] = []
    repeated: list[Finding] = []
    try:
        findings.extend(CHECKS[name](context))  # keeps what a check yields before it raises
    except NotCheckedError as cause:
        finding = cause.finding
        if (finding.reason, finding.fix) in earlier:
            says_so = finding.message.startswith("not checked")
            message = finding.message if says_so else Text(NOT_CHECKED, finding.message)
            repeated.append(replace(finding, message=message))
        else:
            findings.append(finding)
    except OSSWSGIError as cause:
        findings.append(error(str(cause), FIX_SETTINGS))
    return [_with_line(name, finding) for finding in findings], repeated


def _with_line(name: str, finding: Finding) -> Finding:
    """Return a finding whose fix has a line to copy. If no line can fix it, use the one that checks it again."""
    if not finding.fix or "`" in finding.fix or _ASSIGNMENT.search(finding.fix):
        return finding
    return replace(finding, fix=sentences(finding.fix, Text("Then try again: `oss-wsgi doctor --only {1}`.", name)))


def _members(name: str, finding: Finding) -> dict[str, str]:
    # Programs read these keys, so they must not change.
    return {"check": name, "colour": finding.colour, "said": finding.message, "fix": finding.fix}


def _print(name: str, finding: Finding, arguments: Namespace) -> None:
    colour = coloured(f"{finding.colour:<6}", finding.colour, arguments.environ)
    print(f"{colour} {name}: {plain(said(finding.message, arguments.environ))}", flush=True)
    if finding.fix:
        print(f"       {plain(said(finding.fix, arguments.environ))}", flush=True)
