"""Uploads files through a signature endpoint, and prints what the callback answered: a smoke test from anywhere."""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import mimetypes
import os
import stat
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO
from urllib.parse import urlencode, urlsplit

from ..application import DEFAULT_PREFIX, SIGNATURE_PATH
from .error_codes import see_also
from .form_body import FileChangedError, FormBody
from .http_client import Answer, UnreachableError, parsed, read_refusal, request
from .terminal import MisuseError, Progress, coloured, plain, waiting

if TYPE_CHECKING:
    from argparse import Namespace


class UnreadableFileError(Exception):
    """Raised when a file cannot be uploaded as it is, in a sentence."""


@contextlib.contextmanager
def opened(path: str) -> Iterator[tuple[BinaryIO, int]]:
    """Give a regular file and its size; UnreadableFileError for everything else."""
    try:
        file = open(path, "rb", opener=_at_once)  # noqa: SIM115 - closed below
    except (OSError, ValueError) as error:
        said = getattr(error, "strerror", None) or error
        raise UnreadableFileError(f"cannot be read: {said}") from error
    with file:
        found = os.fstat(file.fileno())
        if not stat.S_ISREG(found.st_mode):
            raise UnreadableFileError("it is no regular file, so it has no size to sign: copy what it gives into one")
        if found.st_size == 0 and _gives(file):
            raise UnreadableFileError("it says that it is empty, and is not: copy what it gives into a file")
        yield file, found.st_size


def _at_once(path: str, flags: int) -> int:
    """Open without waiting for who writes into a FIFO."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _gives(file: BinaryIO) -> bool:
    """Tell a file of /proc from an empty one."""
    try:
        return bool(file.read(1))
    except OSError:
        return True


_MAX_TIMEOUT = 24 * 3600

ENDPOINT = f"http://127.0.0.1:8080{DEFAULT_PREFIX}{SIGNATURE_PATH}"


@dataclass(frozen=True)
class Outcome:
    """What became of one file; ``members`` are for JSON."""

    good: bool
    said: str
    members: Mapping[str, Any] = field(default_factory=dict)


def add(subparsers: Any) -> None:
    made = subparsers.add_parser(
        "upload",
        help="upload files through a signature endpoint",
        description="Upload files as a page would: signature, form, callback. Print what the application answered.",
        epilog="Example: oss-wsgi upload cat.png --endpoint https://app.example.com/oss/signature. "
        "Give a login's cookie in a file or on standard input, for a command line is public on its machine.",
    )
    made.add_argument("files", nargs="+", metavar="FILE")
    made.add_argument(
        "--endpoint", type=_endpoint, default=ENDPOINT, metavar="URL", help="the signature endpoint; %(default)s"
    )
    made.add_argument("--content-type", metavar="TYPE", help="default: by the name's ending")
    made.add_argument(
        "--headers-from",
        metavar="FILE",
        help="lines such as 'Cookie: ...' for the signature endpoint; - is standard input",
    )
    made.add_argument(
        "--timeout", type=_seconds, default=60.0, metavar="SECONDS", help="for which a wait may last; %(default)s"
    )
    made.add_argument("--json", action="store_true", help="print one JSON array")
    made.set_defaults(run=run)


def run(arguments: Namespace) -> int:
    headers = _headers(arguments.headers_from) if arguments.headers_from else {}
    outcomes = []
    status = 0
    for name in arguments.files:
        try:
            with opened(name) as (file, size):
                outcome = _upload(name, file, size, headers, arguments)
        except (UnreadableFileError, FileChangedError, UnreachableError) as error:
            outcome = Outcome(False, f"{error}.", {"error": {"message": str(error)}})
        outcomes.append({"file": name, **outcome.members})
        if not arguments.json:
            mark = coloured("ok" if outcome.good else "failed", "green" if outcome.good else "red", arguments.environ)
            print(f"{mark} {plain(name)}: {outcome.said}", flush=True)
        if not outcome.good:
            status = 1
    if arguments.json:
        print(json.dumps(outcomes, indent=1))
    return status


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds <= _MAX_TIMEOUT:
        raise argparse.ArgumentTypeError(f"must be more than 0 and at most {_MAX_TIMEOUT} seconds, not {text!r}")
    return seconds


def _endpoint(text: str) -> str:
    try:
        parts = urlsplit(text)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    if not (good and text.isascii() and text.isprintable()) or " " in text or "#" in text:
        raise argparse.ArgumentTypeError(f"must be http(s)://HOST[:PORT]/PATH, without a '#', not {plain(text)!r}")
    return text


def _upload(path: str, file: BinaryIO, size: int, headers: Mapping[str, str], arguments: Namespace) -> Outcome:
    name = os.fsencode(os.path.basename(path)).decode("utf-8", "replace")
    content_type = arguments.content_type or mimetypes.guess_type(name)[0]
    query = {"filename": name, "size": str(size)} | ({"content_type": content_type} if content_type else {})
    joint = "&" if "?" in arguments.endpoint else "?"
    url = f"{arguments.endpoint}{joint}{urlencode(query)}"
    with waiting(f"Asking for a signature for {plain(name)}"):
        signed = request("GET", url, headers, timeout=arguments.timeout)
    form = _form(signed)
    if isinstance(form, Outcome):
        return form
    target, fields = form
    progress = Progress(name, size)
    body = FormBody(fields, name, file, size, content_type, progress)
    try:
        answer = request("POST", target, body.headers, body, timeout=arguments.timeout)
    finally:
        progress.end()
    return _outcome(answer, fields)


def _form(signed: Answer) -> tuple[str, dict[str, str]] | Outcome:
    """Give URL and fields of a signed form, or say that there is none."""
    try:
        members = parsed(signed.body)
    except ValueError:
        members = None
    members = members if isinstance(members, dict) else {}
    if signed.status != 200:
        error = members.get("error")
        error = error if isinstance(error, dict) else {}
        said = error.get("message", "")
        # What is outside the grant has a code and a message of its own.
        stranger = signed.status == 401 or (signed.status == 403 and error.get("code", "forbidden") == "forbidden")
        hint = ": log in by --headers-from, or see the application's log" if stranger else ""
        text = f"no signature: {signed.status} {plain(str(said))}".rstrip(" .")
        return Outcome(False, f"{text}{hint}", {"status": signed.status, "error": {"message": text}})
    url, fields = members.get("url"), members.get("fields")
    if not isinstance(url, str) or not isinstance(fields, dict) or not all(isinstance(v, str) for v in fields.values()):
        text = "the signature endpoint's answer is no signed form: it has no url and fields"
        return Outcome(False, text, {"status": signed.status, "error": {"message": text}})
    return url, fields


def _outcome(answer: Answer, fields: Mapping[str, str]) -> Outcome:
    key = fields.get("key", "")
    members: dict[str, Any] = {"status": answer.status, "key": key}
    if answer.status in (200, 201, 204):
        if "callback" not in fields:
            return Outcome(True, f"stored as {plain(key)}; no callback is configured", members)
        try:
            members["answer"] = parsed(answer.body)
        except ValueError:
            said = "stored, but what came back is no answer of a callback: is a proxy in front of OSS?"
            return Outcome(False, said, {**members, "error": {"message": said}})
        said = f"stored as {plain(key)} in {answer.seconds:.1f} s\n{json.dumps(members['answer'])}"
        return Outcome(True, said, members)
    refusal = read_refusal(answer.body)
    stored = "stored, but the application was not told" if answer.status == 203 else "refused"
    said = f"{stored}: {answer.status} {refusal}. {see_also(refusal)}".rstrip()
    return Outcome(False, said, {**members, "error": refusal.members()})


def _headers(source: str) -> dict[str, str]:
    """Read ``Name: value`` lines, which are on no command line."""
    try:
        text = sys.stdin.read() if source == "-" else Path(source).read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise MisuseError(f"--headers-from: {plain(source)} cannot be read.") from error
    found: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        name, colon, value = line.partition(":")
        if line.strip():
            if not colon or not name.strip():
                raise MisuseError(f"--headers-from: line {number} is not 'Name: value'.")
            found[name.strip()] = value.strip()
    return found
