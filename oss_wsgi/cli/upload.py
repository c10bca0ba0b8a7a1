"""The `upload` command: uploads files through a signature endpoint, and prints what the application answered."""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import mimetypes
import os
import stat
import sys
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO
from urllib.parse import urlencode, urlsplit

from ..application import DEFAULT_PREFIX, SIGNATURE_PATH
from ..settings_check import MAX_FORM_BYTES
from .form_body import FileChangedError, FormBody
from .http_client import Response, UnreachableError, parsed, read_refusal, request
from .parts_client import AppRefusedError, PartsClient
from .refusal_fix import fix_refusal, fix_status, see_also
from .terminal import MisuseError, Progress, coloured, human_size, note, plain, system_reason, waiting
from .upload_parts import PartsFailedError, PartsUpload, state_to_resume
from .upload_state import StateError, UploadState, state_path

if TYPE_CHECKING:
    from argparse import Namespace

ENDPOINT = f"http://127.0.0.1:8080{DEFAULT_PREFIX}{SIGNATURE_PATH}"

_MAX_TIMEOUT = 24 * 3600

_FIX_ENDPOINT = (
    "Check that the application runs, and give the URL of its signature endpoint with --endpoint, such as "
    f"https://app.example.com{DEFAULT_PREFIX}{SIGNATURE_PATH}."
)
_FIX_OSS = "Check OSS_HOST, OSS_ENDPOINT and OSS_REGION where the application runs, and the network here."
_FIX_ANONYMOUS = (
    ": log in with --headers-from, or see the application's log. Without an authorize callable it needs "
    "OSS_ALLOW_ANONYMOUS=on."
)


_GOES_ON = "The same command goes on where it was."
#: Codes of the server for an upload that cannot go on.
_GONE = frozenset({"upload_gone", "parts_size", "crc64_mismatch"})
#: Bytes of a part where the server does not say.
_PART_SIZE = 16 * 1024 * 1024


class UnreadableFileError(Exception):
    """Raised in a sentence when a file cannot be uploaded as it is."""


@dataclass(frozen=True)
class Outcome:
    """The result for one file; ``members`` are for JSON."""

    success: bool
    message: str
    members: Mapping[str, Any] = field(default_factory=dict)


def add(subparsers: Any) -> None:
    """Add the command to the command line."""
    parser = subparsers.add_parser(
        "upload",
        help="upload files through a signature endpoint",
        description="Upload files as a page does: signature, form, callback. Print what the application answered. With "
        "--resume a large file goes in parts, and after Ctrl-C or a crash the same command goes on.",
        epilog="Example: oss-wsgi upload cat.png --endpoint https://app.example.com/oss/signature. "
        "A command line is public on its machine, so give the cookie of a login in a file or on standard input.",
    )
    parser.add_argument("files", nargs="+", metavar="FILE")
    parser.add_argument(
        "--endpoint", type=_endpoint, default=ENDPOINT, metavar="URL", help="the signature endpoint; %(default)s"
    )
    parser.add_argument("--content-type", metavar="TYPE", help="default: by the end of the name")
    parser.add_argument(
        "--headers-from",
        metavar="FILE",
        help="lines such as 'Cookie: ...' for the signature endpoint; - is standard input",
    )
    parser.add_argument(
        "--resume",
        action="store_true",
        help="send large files in parts, and go on with uploads that were stopped; the server needs OSS_MULTIPART=on",
    )
    parser.add_argument(
        "--state-dir", metavar="DIR", help="where --resume remembers uploads; default: a hidden file beside each file"
    )
    parser.add_argument("--timeout", type=_seconds, default=60.0, metavar="SECONDS", help="for each wait; %(default)s")
    parser.add_argument("--json", action="store_true", help="print one JSON array")
    parser.set_defaults(run=run)


def run(arguments: Namespace) -> int:
    """Upload the files one by one; return 0 if all succeeded, 1 if one failed."""
    if arguments.resume and not urlsplit(arguments.endpoint).path.endswith(SIGNATURE_PATH):
        raise MisuseError(
            f"--resume finds the parts beside {SIGNATURE_PATH}, so --endpoint must end in it, such as "
            f"https://app.example.com{DEFAULT_PREFIX}{SIGNATURE_PATH}."
        )
    if arguments.state_dir is not None and not (arguments.resume and os.path.isdir(arguments.state_dir)):
        raise MisuseError("--state-dir must be a folder that exists, and goes with --resume.")
    headers = _read_headers(arguments.headers_from) if arguments.headers_from else {}
    members = []
    status = 0
    for name in arguments.files:
        try:
            with open_regular(name) as (file, size):
                outcome = (_resume if arguments.resume else _upload)(name, file, size, headers, arguments)
        except (UnreadableFileError, FileChangedError, StateError, UnreachableError) as error:
            message = f"{str(error).rstrip('.')}."
            outcome = Outcome(False, message, {"error": {"message": message}})
        members.append({"file": name, **outcome.members})
        if not arguments.json:
            result, colour = ("ok", "green") if outcome.success else ("failed", "red")
            print(f"{coloured(result, colour, arguments.environ)} {plain(name)}: {outcome.message}", flush=True)
        if not outcome.success:
            status = 1
    if arguments.json:
        print(json.dumps(members, indent=1))
    return status


def _endpoint(text: str) -> str:
    try:
        parts = urlsplit(text)
        valid = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        valid = False
    if not (valid and text.isascii() and text.isprintable()) or " " in text or "#" in text:
        raise argparse.ArgumentTypeError(f"must be http(s)://HOST[:PORT]/PATH, without a '#', not {plain(text)!r}")
    return text


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds <= _MAX_TIMEOUT:
        raise argparse.ArgumentTypeError(f"must be more than 0 and at most {_MAX_TIMEOUT} seconds, not {text!r}")
    return seconds


def _read_headers(source: str) -> dict[str, str]:
    """Read ``Name: value`` lines from a file or, for ``-``, from standard input."""
    try:
        text = sys.stdin.read() if source == "-" else Path(source).read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        reason = "it is not a text in UTF-8" if isinstance(error, UnicodeError) else system_reason(error)
        raise MisuseError(f"--headers-from: {plain(source)} cannot be read: {reason}.") from error
    headers: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        name, colon, value = line.partition(":")
        if line.strip():
            if not colon or not name.strip():
                raise MisuseError(f"--headers-from: line {number} is not 'Name: value'.")
            headers[name.strip()] = value.strip()
    return headers


@contextlib.contextmanager
def open_regular(path: str) -> Iterator[tuple[BinaryIO, int]]:
    """Yield a regular file and its size in bytes. Raises UnreadableFileError for anything else."""
    try:
        file = open(path, "rb", opener=_open_nonblocking)  # noqa: SIM115 - closed below
    except (OSError, ValueError) as error:
        raise UnreadableFileError(f"cannot be read: {system_reason(error)}") from error
    with file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise UnreadableFileError("this is not a regular file, so it has no size to sign: copy its content to one")
        if status.st_size == 0 and _has_content(file):
            raise UnreadableFileError("the file claims to be empty, but is not: copy its content to another file")
        yield file, status.st_size


def _open_nonblocking(path: str, flags: int) -> int:
    """Open a file; of a FIFO, do not wait for its writer."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _has_content(file: BinaryIO) -> bool:
    """Return whether there is something to read: files in /proc have the size 0."""
    try:
        return bool(file.read(1))
    except OSError:
        return True


def _name_and_type(path: str, arguments: Namespace) -> tuple[str, str | None]:
    name = os.fsencode(os.path.basename(path)).decode("utf-8", "replace")
    return name, arguments.content_type or mimetypes.guess_type(name)[0]


def _resume(path: str, file: BinaryIO, size: int, headers: Mapping[str, str], arguments: Namespace) -> Outcome:
    """Upload a file in parts, or go on with its upload; one that is smaller than a part goes as a form."""
    name, _ = _name_and_type(path, arguments)
    state_file = state_path(path, arguments.state_dir)
    stop = threading.Event()
    progress = Progress(name, size, arguments.environ)
    client = PartsClient(arguments.endpoint, headers, arguments.timeout, stop, progress.retrying)
    state = state_to_resume(state_file, arguments.endpoint, os.fstat(file.fileno()))
    resumed = state is not None
    try:
        if state is None:
            with waiting(f"Beginning the upload of {plain(name)}", arguments.environ):
                state = _begin(client, path, file, size, arguments)
            if state is None:
                return _upload(path, file, size, headers, arguments)
            try:
                state.save(state_file)
            except StateError:
                with contextlib.suppress(AppRefusedError, UnreachableError):
                    client.abort(state.upload_id, state.key)
                raise
        try:
            uploaded = PartsUpload(path, state_file, client, stop, progress).run(state, resumed=resumed)
        except OSError as error:  # the threads open the file by its name
            raise UnreadableFileError(f"cannot be read any more: {system_reason(error)}") from error
        finally:
            progress.end()
    except KeyboardInterrupt:
        if state is not None:
            note(f"Stopped. {_GOES_ON}")
        raise
    except AppRefusedError as error:
        if error.code in _GONE:
            state_file.unlink(missing_ok=True)
        # A server that has other ticket secrets now refuses the ID as one that somebody made up.
        is_unknown = resumed and error.status == 403 and error.code == "forbidden"
        other = f" If that does not help, remove {plain(str(state_file))} to begin anew." if is_unknown else ""
        return _refused_by_application(error, other)
    except PartsFailedError as error:
        message = f"{str(error).rstrip('.')}. {_GOES_ON}"
        return Outcome(False, message, {"error": {"message": message}, **error.members})
    except UnreachableError as error:
        raise UnreachableError(f"{str(error).rstrip('.')}. {_GOES_ON if state else _FIX_ENDPOINT}") from error
    state_file.unlink(missing_ok=True)
    members = {"status": 200, "key": uploaded.key, "answer": uploaded.answer, "parts": uploaded.parts}
    before = f", {uploaded.resumed} of them before" if resumed else ""
    message = f"stored as {plain(uploaded.key)} in {uploaded.parts} parts{before}\n{json.dumps(uploaded.answer)}"
    return Outcome(True, message, {**members, "resumed": uploaded.resumed})


def _begin(client: PartsClient, path: str, file: BinaryIO, size: int, arguments: Namespace) -> UploadState | None:
    """Begin an upload in parts; return None where a form is the better way. Raises AppRefusedError."""
    limits = client.limits()
    if "multipart" not in (limits.get("methods") or ()):
        raise AppRefusedError(200, "multipart_off", "the server takes no parts")
    part_size, threshold = limits.get("part_size"), limits.get("multipart_from")
    part_size = part_size if isinstance(part_size, int) and part_size > 0 else _PART_SIZE
    if size < (threshold if isinstance(threshold, int) else part_size):
        return None
    name, content_type = _name_and_type(path, arguments)
    begun = client.begin(name, content_type, size, part_size)
    names = {"uploadId": str, "key": str, "part_size": int, "expire": int}
    if not all(isinstance(begun.get(name), kind) for name, kind in names.items()) or begun["part_size"] < 1:
        raise AppRefusedError(200, "", "the answer does not begin an upload: a member is missing")
    return UploadState(
        endpoint=arguments.endpoint,
        upload_id=begun["uploadId"],
        key=begun["key"],
        size=size,
        mtime=os.fstat(file.fileno()).st_mtime_ns,
        part_size=begun["part_size"],
        expire=begun["expire"],
    )


def _refused_by_application(error: AppRefusedError, other: str) -> Outcome:
    """Return the outcome of a refusal of the server, with what to do about it, or ``other`` if that does not help."""
    if error.status in (401, 403) and error.code in ("", "forbidden"):
        fix = _FIX_ANONYMOUS
    else:
        fix = f". {fix_status(error.status, error.code) or _FIX_ENDPOINT}"
    message = f"no upload in parts: {str(error).rstrip(' .')}{fix}{other}"
    return Outcome(False, message, {"status": error.status, "error": {"code": error.code, "message": message}})


def _upload(path: str, file: BinaryIO, size: int, headers: Mapping[str, str], arguments: Namespace) -> Outcome:
    name, content_type = _name_and_type(path, arguments)
    if size > MAX_FORM_BYTES:
        message = f"{human_size(size)} are more than a form takes, 5 GB: add --resume, which sends parts."
        return Outcome(False, message, {"error": {"message": message}})
    query = {"filename": name, "size": str(size)} | ({"content_type": content_type} if content_type else {})
    separator = "&" if "?" in arguments.endpoint else "?"
    url = f"{arguments.endpoint}{separator}{urlencode(query)}"
    with waiting(f"Requesting a signature for {plain(name)}", arguments.environ):
        try:
            signed = request("GET", url, headers, timeout=arguments.timeout)
        except UnreachableError as error:
            raise UnreachableError(f"{error}. {_FIX_ENDPOINT}") from error
    form = _read_form(signed)
    if isinstance(form, Outcome):
        return form
    target, fields = form
    progress = Progress(name, size, arguments.environ)
    body = FormBody(fields, name, file, size, content_type, progress)
    try:
        response = request("POST", target, body.headers, body, timeout=arguments.timeout)
    except UnreachableError as error:
        raise UnreachableError(f"{error}. {_FIX_OSS}") from error
    finally:
        progress.end()
    return _outcome(response, fields)


def _read_form(signed: Response) -> tuple[str, dict[str, str]] | Outcome:
    """Return URL and fields of a signed form, or the outcome that says why it could not be had."""
    try:
        members = parsed(signed.body)
    except ValueError:
        members = None
    members = members if isinstance(members, dict) else {}
    if signed.status != 200:
        error = members.get("error")
        error = error if isinstance(error, dict) else {}
        # A request outside the grant is refused too, but with a code and a message of its own.
        anonymous = signed.status == 401 or (signed.status == 403 and error.get("code", "forbidden") == "forbidden")
        fix = _FIX_ANONYMOUS if anonymous else f". {fix_status(signed.status, str(error.get('code', '')))}"
        message = f"no signature: {signed.status} {plain(str(error.get('message', '')))}".rstrip(" .")
        message = f"{message}{fix}".rstrip()
        return Outcome(False, message, {"status": signed.status, "error": {"message": message}})
    url, fields = members.get("url"), members.get("fields")
    if not isinstance(url, str) or not isinstance(fields, dict) or not all(isinstance(v, str) for v in fields.values()):
        message = f"the signature endpoint did not return a signed form: url or fields are missing. {_FIX_ENDPOINT}"
        return Outcome(False, message, {"status": signed.status, "error": {"message": message}})
    return url, fields


def _outcome(response: Response, fields: Mapping[str, str]) -> Outcome:
    key = fields.get("key", "")
    members: dict[str, Any] = {"status": response.status, "key": key}
    if response.status in (200, 201, 204):
        if "callback" not in fields:
            return Outcome(True, f"stored as {plain(key)}; no callback is configured", members)
        try:
            members["answer"] = parsed(response.body)
        except ValueError:
            message = (
                "stored, but the response is not that of a callback. Look for a proxy in front of OSS, and check "
                "OSS_HOST where the application runs: `oss-wsgi doctor --only bucket`."
            )
            return Outcome(False, message, {**members, "error": {"message": message}})
        message = f"stored as {plain(key)} in {response.seconds:.1f} s\n{json.dumps(members['answer'])}"
        return Outcome(True, message, members)
    refusal = read_refusal(response.body)
    stored = "stored, but the application was not told" if response.status == 203 else "refused"
    fix = fix_refusal(refusal, response.status, "oss:PutObject", "acs:oss:*:*:BUCKET/DIR/*")
    message = f"{stored}: {response.status} {str(refusal).rstrip('.')}. {see_also(refusal)} {fix}"
    return Outcome(False, message, {**members, "error": {**refusal.members(), "fix": fix}})
