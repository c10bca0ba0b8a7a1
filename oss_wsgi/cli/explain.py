"""The `explain` command: what an error code or a status means here, and what to do."""

from __future__ import annotations

import difflib
import json
import os
import stat
import sys
import textwrap
from argparse import Namespace
from collections.abc import Iterator, Sequence
from typing import Any

from ..explanations.languages import CHINESE, in_language, spoken_language
from ..explanations.rows import (
    APPLICATION,
    CODE_KINDS,
    EC_PAGE,
    FRONT,
    OSS,
    Row,
    by_code,
    find,
    heading_of,
    rows,
    rows_of_status,
)
from ..explanations.text import Text, joined, sentences
from .codes_in_text import MAX_TEXT, FoundCode, codes_of_sentences, find_codes, find_rows
from .signature_difference import compare
from .terminal import FailedError, MisuseError, note, plain, read_input

#: A longer text cannot be a misspelt code.
_MAX_CODE = 60
_FROM = {OSS: "{1} from OSS", APPLICATION: "{1} from this application", FRONT: "{1} from a server in front"}
_LISTS = "`oss-wsgi explain` alone says how to list the table."
_EXPLAINS = "`oss-wsgi explain CODE` explains a code, a status, or the whole answer that it stands in."


def add(subparsers: Any) -> None:
    parser = subparsers.add_parser(
        "explain",
        help="explain an error code, a status, or a pasted answer",
        description="Explain what a code means for this application: an error code of OSS (AccessDenied), an EC number "
        "(0007-00000203), a reason in this application's log (ticket_foreign) or an HTTP status (403). It also finds "
        "the code in a whole answer in XML or JSON, or in a line of the log, as an argument or on standard "
        "input. Lines "
        "without a code that people ask about, and the sentences of the upload page, are explained too. For "
        "SignatureDoesNotMatch it shows what OSS read in the request, beside what was signed.",
        epilog="Example: oss-wsgi explain 0007-00000203, or oss-wsgi explain < answer.xml",
    )
    parser.add_argument(
        "code",
        nargs="*",
        metavar="CODE",
        help="a code, or a text that contains one; - reads standard input; without text or input, the kinds of codes "
        "are listed",
    )
    parser.add_argument(
        "--signed",
        metavar="FILE",
        help="what was signed, to compare OSS's answer with: the JSON of the signature endpoint or a signed URL, as an "
        "argument or in a file",
    )
    kinds = ", ".join(CODE_KINDS)
    parser.add_argument(
        "--list", choices=CODE_KINDS, dest="kind", metavar="KIND", help=f"list the codes of a kind: {kinds}"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=run)


def run(arguments: Namespace) -> int:
    """Explain the codes in the arguments or in the input, or list them; return 0, or 1 if none of them is known."""
    language = spoken_language(arguments.environ)
    if arguments.kind is not None:
        if arguments.code or arguments.signed is not None:
            raise MisuseError("--list explains nothing: leave out the code, or --list.")
        return _list(rows(arguments.kind), arguments)
    text = " ".join(arguments.code)
    if text.strip() == "-" or (not text and _has_input()):
        text = read_input("-", MAX_TEXT).decode("utf-8", "replace")
    if not text.strip() and arguments.signed is None:
        return _list(rows(*CODE_KINDS), arguments) if arguments.json else _list_kinds(language)
    found = list(dict.fromkeys([*find_codes(text), *codes_of_sentences(text)]))
    comparison = compare(text, arguments.signed)
    if comparison is None and arguments.signed is not None:
        raise MisuseError("--signed compares with OSS's whole answer: give that too, with its StringToSign.")
    explained = [(each.code, _explanation(each)) for each in found]
    explanations = [_members(row) for row in find_rows(text)]
    explanations += [explanation for _, explanation in explained if explanation is not None]
    if not explanations:
        raise _unknown_error(text, found)
    for code, explanation in explained:
        if explanation is None:
            note(f"{arguments.program}: {in_language(_unknown(code), language)}")
    if arguments.json:
        first, *others = explanations
        first |= comparison.members() if comparison is not None else {}
        print(json.dumps({**first, "also": others} if others else first, indent=1))
    else:
        for number, explanation in enumerate(explanations):
            print("\n" if number else "", end="")
            for line in _lines(explanation):
                print(_filled(line, language))
        if comparison is not None:
            print()
            for line in comparison.lines():
                print(plain(in_language(line, language)) if line.startswith(" ") else _filled(line, language))
    return 0


def _filled(line: str, language: str) -> str:
    """Return a line in a language, wrapped; the terminal itself breaks Chinese, which it may do anywhere."""
    line = in_language(line, language)
    return line if language == CHINESE else textwrap.fill(line, 100, break_on_hyphens=False, break_long_words=False)


def _has_input() -> bool:
    """Return whether standard input is a pipe or a file: a socket, as under ssh, may never end."""
    try:
        mode = os.fstat(sys.stdin.fileno()).st_mode
    except (AttributeError, OSError, ValueError):  # standard input is closed, or a stand-in
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISREG(mode)


def _list(listed: Sequence[Row], arguments: Namespace) -> int:
    if arguments.json:
        print(json.dumps([_members(row) for row in listed], indent=1))
    else:
        language = spoken_language(arguments.environ)
        print("\n".join(in_language(Text("{1}: {2}", row.code, row.meaning), language) for row in listed))
    return 0


def _list_kinds(language: str) -> int:
    for kind in CODE_KINDS:
        first, *others = rows(kind)
        heading = Text("{1}, {2}, such as {3}", heading_of(kind, language), len(others) + 1, first.code)
        print(in_language(Text("{1}: `oss-wsgi explain --list {2}`", heading, kind), language))
    print(in_language(_EXPLAINS, language))
    return 0


def _explanation(found: FoundCode) -> dict[str, Any] | None:
    """Return the members of JSON that explain a code; None if it is unknown."""
    row = find(found.code)
    if row is not None:
        return _members(row)
    senders = rows_of_status(found.code, found.sender)
    if not senders:
        return None
    return {
        "code": found.code,
        "meaning": " ".join(f"From {row.by[0]}: {row.meaning}" for row in senders),
        "fix": " ".join(f"From {row.by[0]}: {row.fix}" for row in senders),
        "sources": senders[0].sources,
        "senders": [{"by": row.by[0], "meaning": row.meaning, "fix": row.fix} for row in senders],
    }


def _lines(explanation: dict[str, Any]) -> Iterator[str]:
    for sender in explanation.get("senders", ()):
        yield Text("{1}: {2}", Text(_FROM[sender["by"]], explanation["code"]), sender["meaning"])
        yield sender["fix"]
    if "senders" not in explanation:
        yield Text("{1}: {2}", explanation["code"], explanation["meaning"])
        yield explanation["fix"]
    yield Text("{1}: {2}", "Source", joined("{1}; {2}", explanation["sources"]))


def _unknown(code: str) -> str:
    page = Text("See {1}.", EC_PAGE + code) if code[:4].isdigit() else ""
    return sentences(Text("{1} is not in the table.", plain(code)), page)


def _unknown_error(text: str, found: Sequence[FoundCode]) -> FailedError:
    text = text.strip()
    similar: Sequence[str] = ()
    if found:
        message = sentences(_unknown(found[0].code), _LISTS)
    elif len(text) > _MAX_CODE or "\n" in text:
        message = "there is no code in this text: paste the whole answer of OSS, or the line of the log."
    else:
        similar = [by_code()[code].code for code in difflib.get_close_matches(text.lower(), by_code(), n=3)]
        suggestion = Text("Similar codes: {1}.", ", ".join(similar)) if similar else ""
        message = sentences(Text("{1} is not in the table.", plain(text)), suggestion, _LISTS)
    return FailedError(message, near=similar)


def _members(row: Row) -> dict[str, Any]:
    return {"code": row.code, "meaning": row.meaning, "fix": row.fix, "sources": row.sources}
