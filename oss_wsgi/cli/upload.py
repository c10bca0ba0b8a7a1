"""The `upload` command: uploads files through a signature endpoint, and prints what the application answered."""

from __future__ import annotations

import contextlib
import json
import mimetypes
import os
import stat
import time
from argparse import Namespace
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO
from urllib.parse import parse_qs, urlencode, urljoin, urlsplit

from ..application import DEFAULT_PREFIX, RECOVER_PATH, SIGNATURE_PATH
from ..callback.parameters import TICKET_MEMBER
from ..explanations.text import Text, ended, sentences
from ..serving.option_types import positive_seconds
from ..settings_check import MAX_FORM_BYTES
from ..signing.form_body import FileBody, FileChangedError, FormBody
from .http_client import MAX_BYTES, Response, UnreachableError, is_json, json_members, request, signature_endpoint
from .refusals import fix_refusal, fix_status, read_refusal, see_also
from .terminal import FailedError, MisuseError, coloured, plain, progress, read_input, said, system_reason, waiting

ENDPOINT = f"http://127.0.0.1:8080{DEFAULT_PREFIX}{SIGNATURE_PATH}"

_FIX_ENDPOINT = Text(
    "Check that the application runs, and give the URL of its signature endpoint with --endpoint, such as {1}.",
    f"https://app.example.com{DEFAULT_PREFIX}{SIGNATURE_PATH}",
)
_FIX_OSS = "Check OSS_HOST, OSS_ENDPOINT and OSS_REGION where the application runs, and the network here."
_UNTOLD = "stored, but the application was not told"
_FIX_UNTOLD = "Do not send the file again: a sweep finds it, `oss-wsgi reconcile`."
#: Seconds between the reports of a stored file, as long as the application is busy.
_PAUSES = (1, 2, 4, 0)
_FIX_ANONYMOUS = (
    "log in with --headers-from, or see the application's log. Without an authorize callable it needs "
    "OSS_ALLOW_ANONYMOUS=on."
)


def add(subparsers: Any) -> None:
    parser = subparsers.add_parser(
        "upload",
        help="upload files through a signature endpoint",
        description="Upload files as a page does: signature, form or PUT, and the callback or the page's own report. "
        "Print what the application answered.",
        epilog="Example: oss-wsgi upload cat.png --endpoint https://app.example.com/oss/signature. "
        "A command line is public on its machine, so give the cookie of a login in a file or on standard input.",
    )
    parser.add_argument("files", nargs="+", metavar="FILE")
    parser.add_argument(
        "--endpoint",
        type=signature_endpoint,
        default=ENDPOINT,
        metavar="URL",
        help="the signature endpoint; %(default)s",
    )
    parser.add_argument("--content-type", metavar="TYPE", help="default: guessed from the end of the name")
    parser.add_argument(
        "--headers-from",
        metavar="FILE",
        help="lines such as 'Cookie: ...' for the signature endpoint; - is standard input",
    )
    parser.add_argument("--put", action="store_true", help="send the file with a presigned PUT, not in a form")
    parser.add_argument(
        "--timeout",
        type=positive_seconds,
        default=60.0,
        metavar="SECONDS",
        help="for each wait for a response; %(default)s",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON array")
    parser.set_defaults(run=run)


def run(arguments: Namespace) -> int:
    """Upload the files one by one; return 0 if all succeeded, 1 if one failed."""
    headers = _read_headers(arguments.headers_from) if arguments.headers_from else {}
    results = []
    status = 0
    for name in arguments.files:
        result, colour = "ok", "green"
        try:
            with _open_regular(name) as (file, size):
                message, members = _upload(name, file, size, headers, arguments)
        except (FailedError, FileChangedError, UnreachableError) as error:
            result, colour, status = "failed", "red", 1
            message = ended(str(error))
            members = {**getattr(error, "members", {})}
            members.setdefault("error", {"message": message})
        results.append({"file": name, **members})
        if not arguments.json:
            message = said(message, arguments.environ)
            print(f"{coloured(result, colour, arguments.environ)} {plain(name)}: {message}", flush=True)
    if arguments.json:
        print(json.dumps(results, indent=1))
    return status


def _read_headers(source: str) -> dict[str, str]:
    """Read ``Name: value`` lines from a file or, for ``-``, from standard input."""
    try:
        text = read_input(source, MAX_BYTES, "--headers-from: ").decode()
    except UnicodeError as error:
        raise MisuseError(f"--headers-from: {plain(source)} is not UTF-8 text.") from error
    headers: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        name, colon, value = line.partition(":")
        if line.strip():
            if not colon or not name.strip():
                raise MisuseError(Text("--headers-from: line {1} is not 'Name: value'.", number))
            headers[name.strip()] = value.strip()
    return headers


@contextlib.contextmanager
def _open_regular(path: str) -> Iterator[tuple[BinaryIO, int]]:
    """Yield a regular file and its size in bytes. Raises FailedError for anything else."""
    try:
        mode = os.stat(path).st_mode
        if stat.S_ISDIR(mode):
            raise FailedError("this is a folder: name the files in it")
        if not stat.S_ISREG(mode):
            raise FailedError("this is not a regular file, so it has no size to sign: copy its content to one")
        file = open(path, "rb")  # noqa: SIM115 - closed below
    except (OSError, ValueError) as error:
        raise FailedError(Text("cannot be read: {1}", system_reason(error))) from error
    with file:
        size = os.fstat(file.fileno()).st_size
        if not size and _has_content(file):
            raise FailedError("the file claims to be empty, but is not: copy its content to another file")
        yield file, size


def _has_content(file: BinaryIO) -> bool:
    """Return whether there is something to read: files in /proc have the size 0."""
    try:
        return bool(file.read(1))
    except OSError:
        return True


@dataclass(frozen=True)
class _Signed:
    """What the signature endpoint returned: a form, or the URL and the headers of a PUT.

    ``ticket`` is what the upload is reported with under OSS_REPORT_BY=page, or else None.
    """

    method: str
    url: str
    fields: Mapping[str, str]
    headers: Mapping[str, str]
    key: str
    ticket: str | None


def _upload(
    path: str, file: BinaryIO, size: int, headers: Mapping[str, str], arguments: Namespace
) -> tuple[str, dict[str, Any]]:
    """Upload a file; return a sentence, and the members of JSON. Raises FailedError and UnreachableError."""
    name = os.fsencode(os.path.basename(path)).decode("utf-8", "replace")
    content_type = arguments.content_type or mimetypes.guess_type(name)[0]
    if size > MAX_FORM_BYTES:
        raise FailedError(
            "the file is over the 5 GB that a form or a PUT may have: upload it in parts in the page of `oss-wsgi "
            "serve`, or with OSS's own ossutil."
        )
    if arguments.put and not content_type:
        content_type = "application/octet-stream"  # a signed PUT names its type
    query = {"filename": name, "size": str(size)}
    query |= {"content_type": content_type} if content_type else {}
    query |= {"method": "put"} if arguments.put else {}
    separator = "&" if "?" in arguments.endpoint else "?"
    url = f"{arguments.endpoint}{separator}{urlencode(query)}"
    with waiting(Text("Requesting a signature for {1}", plain(name)), arguments.environ):
        try:
            answer = request("GET", url, headers, timeout=arguments.timeout)
        except UnreachableError as error:
            raise UnreachableError(sentences(ended(str(error)), _FIX_ENDPOINT)) from error
    signed = _read_signed(answer)
    with progress(name, size, arguments.environ) as show:

        def count(done: int) -> None:
            show(done, "waiting for the answer" if done >= size else "")

        if signed.method == "PUT":
            body = FileBody(file, size, count)
        else:
            body = FormBody(signed.fields, name, file, size, content_type, count)
        try:
            response = request(
                signed.method, signed.url, {**signed.headers, **body.headers}, body, timeout=arguments.timeout
            )
        except UnreachableError as error:
            raise UnreachableError(sentences(ended(str(error)), _FIX_OSS)) from error
    _check_stored(response, signed)
    if signed.ticket is not None:
        return _report(response, signed, signed.ticket, headers, arguments)
    return _read_answer(response, signed)


def _read_signed(answer: Response) -> _Signed:
    """Return the signed form or PUT. Raises FailedError if the answer has none."""
    members = json_members(answer)
    if answer.status != 200:
        error = members.get("error")
        error = error if isinstance(error, dict) else {}
        # A request outside the grant is refused too, but with a code and a message of its own.
        anonymous = answer.status == 401 or (answer.status == 403 and error.get("code", "forbidden") == "forbidden")
        reason = f"{answer.status} {plain(str(error.get('message', '')))}".rstrip(" .")
        message: str = Text("{1}: {2}", "no signature", reason)
        if anonymous:
            message = Text("{1}: {2}", message, _FIX_ANONYMOUS)
        else:
            message = sentences(ended(message), fix_status(answer.status, str(error.get("code", ""))))
        raise FailedError(message, status=answer.status)
    method, url = members.get("method", "POST"), members.get("url")
    fields: Any = members.get("fields")
    headers: Any = members.get("headers", {})
    key = fields.get("key", "") if method == "POST" and isinstance(fields, dict) else members.get("key")
    ticket = members.get(TICKET_MEMBER)
    if not (isinstance(url, str) and isinstance(key, str) and method in ("POST", "PUT")) or not all(
        isinstance(texts, dict) and all(isinstance(text, str) for text in texts.values()) for texts in (fields, headers)
    ):
        message = Text(
            "the signature endpoint did not return a signed form: url or fields are missing. {1}", _FIX_ENDPOINT
        )
        raise FailedError(message, status=answer.status)
    return _Signed(method, url, fields, headers, key, ticket if isinstance(ticket, str) else None)


def _members_of(response: Response, signed: _Signed) -> dict[str, Any]:
    return {"status": response.status, "key": signed.key}


def _check_stored(response: Response, signed: _Signed) -> None:
    """Raise FailedError unless OSS has stored the file, and reported it if it had to."""
    if response.status not in (200, 201, 204):
        refusal = read_refusal(response.body)
        stored = _UNTOLD if response.status == 203 else "refused"
        fix = fix_refusal(refusal, response.status, "oss:PutObject", "acs:oss:*:*:BUCKET/DIR/*")
        message = sentences(ended(Text("{1}: {2} {3}", stored, response.status, refusal)), see_also(refusal), fix)
        raise FailedError(message, **_members_of(response, signed), error={**refusal.members(), "fix": fix})


def _report(
    stored: Response, signed: _Signed, ticket: str, headers: Mapping[str, str], arguments: Namespace
) -> tuple[str, dict[str, Any]]:
    """Report a stored file as a page does; return a sentence, and the members of JSON. Raises FailedError."""
    url = urljoin(arguments.endpoint, RECOVER_PATH[1:])
    body = json.dumps({TICKET_MEMBER: ticket, "object": signed.key}).encode()
    sent = {**headers, "Content-Type": "application/json"}
    members = _members_of(stored, signed)
    for pause in _PAUSES:
        try:
            answer = request("POST", url, sent, body, timeout=arguments.timeout)
        except UnreachableError as error:
            raise FailedError(sentences(ended(Text("{1}: {2}", _UNTOLD, error)), _FIX_UNTOLD), **members) from error
        if answer.status != 429 and answer.status < 500:
            break
        time.sleep(pause)
    if answer.status != 200 or not is_json(answer.body):
        failure = json_members(answer).get("error")
        code = str(failure.get("code", "")) if isinstance(failure, dict) else ""
        reason = f"{answer.status} {plain(code)}".rstrip()
        fix = sentences(fix_status(answer.status, code), _FIX_UNTOLD)
        message = sentences(ended(Text("{1}: {2}", _UNTOLD, reason)), fix)
        raise FailedError(message, **members, error={"code": code, "fix": fix})
    return _say_answer(answer, stored.seconds + answer.seconds, signed, members)


def _read_answer(response: Response, signed: _Signed) -> tuple[str, dict[str, Any]]:
    """Return a sentence, and the members of JSON, about what OSS has relayed. Raises FailedError."""
    members = _members_of(response, signed)
    if "callback" not in signed.fields and "callback" not in parse_qs(urlsplit(signed.url).query):
        return Text("stored as {1}; no callback is configured", plain(signed.key)), members
    if not is_json(response.body):
        raise FailedError(
            "stored, but the response does not come from a callback. Look for a proxy in front of OSS, and check "
            "OSS_HOST where the application runs: `oss-wsgi doctor --only bucket`.",
            **members,
        )
    return _say_answer(response, response.seconds, signed, members)


def _say_answer(
    response: Response, seconds: float, signed: _Signed, members: dict[str, Any]
) -> tuple[str, dict[str, Any]]:
    """Return a sentence, and the members of JSON, with the application's answer."""
    answer = json.loads(response.body)
    message = Text("stored as {1} in {2} s\n{3}", plain(signed.key), f"{seconds:.1f}", json.dumps(answer))
    return message, {**members, "answer": answer}
