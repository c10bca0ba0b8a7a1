"""The `explain` command: what an error code means here, and what to do."""

from __future__ import annotations

import difflib
import json
import textwrap
from typing import TYPE_CHECKING, Any

from .error_codes import BY_CODE, TABLE, Explanation, find
from .terminal import note, plain

if TYPE_CHECKING:
    from argparse import Namespace


def add(subparsers: Any) -> None:
    """Add the command to the parser."""
    parser = subparsers.add_parser(
        "explain",
        help="explain an error code, and say what to do",
        description="Explain what a code means for this application: an error code of OSS (AccessDenied), an EC number "
        "(0007-00000203) or a reason in this application's log (ticket_foreign).",
        epilog="Example: oss-wsgi explain 0007-00000203",
    )
    parser.add_argument("code", nargs="?", metavar="CODE", help="the code; without it all codes are listed")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=run)


def run(arguments: Namespace) -> int:
    """Explain one code, or list all; return 0, or 1 for an unknown code."""
    if arguments.code is None:
        if arguments.json:
            print(json.dumps([_members(row) for row in TABLE], indent=1))
        else:
            print("\n".join(f"{row.code}: {row.meaning}" for row in TABLE))
        return 0
    row = find(arguments.code)
    if row is None:
        return _report_unknown(arguments)
    if arguments.json:
        print(json.dumps(_members(row), indent=1))
    else:
        for text in (f"{row.code}: {row.meaning}", row.fix, f"Source: {'; '.join(row.sources)}"):
            print(textwrap.fill(text, 100, break_on_hyphens=False, break_long_words=False))
    return 0


def _report_unknown(arguments: Namespace) -> int:
    matches = difflib.get_close_matches(arguments.code.strip().lower(), BY_CODE, n=3)
    similar = [BY_CODE[code].code for code in matches]
    suggestion = f" Similar codes: {', '.join(similar)}." if similar else ""
    message = f"{plain(arguments.code)} is not in the table.{suggestion}"
    if arguments.json:
        print(json.dumps({"error": {"message": message, "near": similar}}, indent=1))
    note(f"{arguments.program}: {message}")
    return 1


def _members(row: Explanation) -> dict[str, Any]:
    return {"code": row.code, "meaning": row.meaning, "do": row.fix, "sources": row.sources}
