"""Says what an error code of OSS, an EC number or a reason in our log means here, and what to do."""

from __future__ import annotations

import difflib
import json
import re
import textwrap
from typing import TYPE_CHECKING, Any

from . import error_codes, explained_codes, explained_reasons
from .explanation import Explanation
from .http_client import OSSRefusal
from .terminal import note, plain

if TYPE_CHECKING:
    from argparse import Namespace


TABLE = (*explained_codes.TABLE, *error_codes.TABLE, *explained_reasons.TABLE)

BY_CODE = {row.code.lower(): row for row in TABLE}

# As logs, OSS's documents and our own commands write them.
_WRITTEN = re.compile(r"\(?(?:ec[\s:=]*(?=[0-9])|(?:reason|code)[\s:=]+)?([a-z0-9_.-]+?)[.,;]?\)?")


def find(code: str) -> Explanation | None:
    """Find a row by its code, in any case, alone or as in `(EC 0006-00000213)` and `reason=ticket_foreign`."""
    written = _WRITTEN.fullmatch(code.strip().lower())
    return BY_CODE.get(written[1]) if written else None


def further(refusal: OSSRefusal) -> str:
    """Say in a sentence where more is told of a refusal: here, if there is a row for it; "" where nothing is."""
    for code in (refusal.ec, refusal.code):
        if code and find(code) is not None:
            return f"For more run `oss-wsgi explain {code}`."
    if refusal.ec:
        return f"For more see https://api.aliyun.com/troubleshoot?q={refusal.ec}."
    return f"OSS's help explains {refusal.code}." if refusal.code else ""


def add(subparsers: Any) -> None:
    made = subparsers.add_parser(
        "explain",
        help="say what an error code means, and what to do",
        description="Say what a code means for this application: an error code of OSS (AccessDenied), an EC number "
        "(0007-00000203) or a reason in this application's log (ticket_foreign).",
        epilog="Example: oss-wsgi explain 0007-00000203",
    )
    made.add_argument("code", nargs="?", metavar="CODE", help="without it all codes are listed")
    made.add_argument("--json", action="store_true", help="print JSON")
    made.set_defaults(run=run)


def run(arguments: Namespace) -> int:
    if arguments.code is None:
        if arguments.json:
            print(json.dumps([_members(each) for each in TABLE], indent=1))
        else:
            print("\n".join(f"{each.code}: {each.meaning}" for each in TABLE))
        return 0
    row = find(arguments.code)
    if row is None:
        near = difflib.get_close_matches(arguments.code.strip().lower(), BY_CODE, n=3)
        names = [BY_CODE[code].code for code in near]
        neighbours = f"; near it are {', '.join(names)}" if names else ""
        said = f"{plain(arguments.code)} is not in the table{neighbours}."
        if arguments.json:
            print(json.dumps({"error": {"message": said, "near": names}}, indent=1))
        note(f"{arguments.program}: {said}")
        return 1
    if arguments.json:
        print(json.dumps(_members(row), indent=1))
    else:
        for text in (f"{row.code}: {row.meaning}", row.cure, f"Source: {'; '.join(row.sources)}"):
            print(textwrap.fill(text, 100, break_on_hyphens=False, break_long_words=False))
    return 0


def _members(row: Explanation) -> dict[str, Any]:
    return {"code": row.code, "meaning": row.meaning, "do": row.cure, "sources": row.sources}
