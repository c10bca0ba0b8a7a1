"""Says whether a captured callback is OSS's, or why not, and what was computed; never a secret."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import io
import json
import math
import re
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_to_bytes

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from ..application import public_key_store
from ..callback.public_keys import PublicKeyStore
from ..callback.ticket import TicketBook
from ..callback.upload import Upload
from ..callback.url import split_urls, target_of
from ..callback.verifier import CallbackVerifier, string_to_sign
from ..exceptions import CallbackError, MalformedCallbackError, VerificationError
from ..middleware.callback_guard import CallbackGuard
from ..settings import Settings
from ..wsgi.environ import request_target
from .http_client import parsed
from .options import EPILOG, add_settings, environ_of
from .terminal import MisuseError, coloured, plain, waiting

if TYPE_CHECKING:
    from argparse import Namespace


_REQUEST_LINE = re.compile(rb"([A-Z]+) (\S+) HTTP/[0-9.]+\r?\n")

_BLANK_LINE = re.compile(rb"\r?\n\r?\n")

_SHAPE = (
    "what was given is no captured callback: give JSON with target, headers and body (or body_base64), as "
    "CallbackRecorder keeps it, or a raw HTTP request that begins with 'POST /PATH HTTP/1.1'."
)


@dataclass(frozen=True)
class CapturedCallback:
    """One request: ``target`` is path and query as OSS signs them, headers have lower-case names.

    ``received`` is in Unix seconds, where that is known.
    """

    target: bytes
    headers: Mapping[str, str]
    body: bytes
    received: float | None = None
    method: str = "POST"

    @classmethod
    def read(cls, data: bytes) -> CapturedCallback:
        """Read either shape; MisuseError for what is neither."""
        found = _from_json(data) if data.lstrip()[:1] == b"{" else _from_http(data)
        # Through some proxies the target comes in absolute form.
        return replace(found, target=request_target(found.environ()))

    def environ(self) -> dict[str, Any]:
        """Give the environ of a server that changes nothing on the way."""
        path, _, query = self.target.partition(b"?")
        environ: dict[str, Any] = {
            "REQUEST_METHOD": self.method,
            "REQUEST_URI": self.target.decode("latin-1"),
            "SCRIPT_NAME": "",
            "PATH_INFO": unquote_to_bytes(path).decode("latin-1"),
            "QUERY_STRING": query.decode("latin-1"),
            "wsgi.input": io.BytesIO(self.body),
        }
        for name, value in self.headers.items():
            key = name.upper().replace("-", "_")
            environ[key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{key}"] = value
        return environ


def _from_json(data: bytes) -> CapturedCallback:
    try:
        members = parsed(data)
        text = members["body"] if "body" in members else members["body_base64"]
        body = text.encode() if "body" in members else base64.b64decode(text, validate=True)
        headers = _joined((str(name), str(value)) for name, value in members["headers"].items())
        received = float(members.get("received") or 0) or None
        target = members["target"].encode()
        if not math.isfinite(received or 0):
            raise ValueError("received is no moment")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise MisuseError(_SHAPE) from error
    # The length is the body's own: recordings do not keep the header.
    return CapturedCallback(target, {**headers, "content-length": str(len(body))}, body, received)


def _from_http(data: bytes) -> CapturedCallback:
    line = _REQUEST_LINE.match(data)
    blank = _BLANK_LINE.search(data)
    if line is None or blank is None:
        raise MisuseError(_SHAPE)
    headers = _joined(_lines(data[line.end() : blank.start()].decode("latin-1")))
    body, length = data[blank.end() :], headers.get("content-length", "")
    if length.isascii() and length.isdigit() and len(length) < 10:  # what an editor put after it is not the body's
        body = body[: int(length)]
    return CapturedCallback(line[2], headers, body, None, line[1].decode())


def _lines(text: str) -> Iterator[tuple[str, str]]:
    for line in text.splitlines():
        name, colon, value = line.partition(":")
        if not colon or not name.strip():
            raise MisuseError(_SHAPE)
        yield name, value


def _joined(pairs: Iterator[tuple[str, str]]) -> dict[str, str]:
    """Join what came twice by commas, as servers do."""
    found: dict[str, str] = {}
    for name, value in pairs:
        name, value = name.strip().lower(), value.strip()
        found[name] = f"{found[name]},{value}" if name in found else value
    return found


_END = bytes.fromhex("003020300c06082a864886f70d020505000410")


def md5(data: bytes) -> bytes:
    """Give the digest that OSS signs (P§8.3)."""
    return hashlib.md5(data, usedforsecurity=False).digest()


def fingerprint(key: Any) -> str:
    """Give the SHA-256 of a key's SubjectPublicKeyInfo, as the log does."""
    # A key that the library refuses to load is kept as numbers and DER.
    der = key.der if hasattr(key, "der") else key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(der).hexdigest()


def signed_digest(key: Any, authorization: str) -> bytes | None:
    """Give the MD5 that a signature holds; None where it is none of this key's."""
    try:
        signature = base64.b64decode(authorization, validate=True)
    except (ValueError, binascii.Error):
        return None
    numbers, size = key if hasattr(key, "n") else key.public_numbers(), (key.key_size + 7) // 8
    if len(signature) != size or int.from_bytes(signature, "big") >= numbers.n:
        return None
    block = pow(int.from_bytes(signature, "big"), numbers.e, numbers.n).to_bytes(size, "big")
    head = b"\x00\x01" + b"\xff" * (size - 2 - len(_END) - 16) + _END
    return block[-16:] if hmac.compare_digest(block[:-16], head) else None


def what_fits(digest: bytes, target: bytes, body: bytes) -> str | None:
    """Say which change of path, query or body on the way explains a digest; None if no usual one does."""
    for change, other_target in _targets(target):
        for body_change, other_body in _bodies(body):
            if md5(string_to_sign(other_target, other_body)) == digest:
                shown = other_target.decode("utf-8", "replace")
                changes = " and ".join(filter(None, [change and f"{change}, {shown}", body_change]))
                return changes or "nothing was changed"
    return None


def _targets(target: bytes) -> Iterator[tuple[str, bytes]]:
    path, mark, query = target.partition(b"?")
    yield "", target
    yield "the path had no slash at its end", path.rstrip(b"/") + mark + query
    yield "the path had a slash at its end", path + b"/" + mark + query
    if mark:
        yield "there was no query", path
    parts = path.split(b"/")
    for cut in range(2, len(parts)):
        yield f"the path lacked {b'/'.join(parts[:cut]).decode('utf-8', 'replace')}", (
            b"/" + b"/".join(parts[cut:]) + mark + query
        )


def _bodies(body: bytes) -> Iterator[tuple[str, bytes]]:
    yield "", body
    yield "the body had no line end after it", body.rstrip(b"\r\n")
    yield "the body had %2F for each /", body.replace(b"/", b"%2F")
    yield "the body had %20 for each +", body.replace(b"+", b"%20")
    yield "the body had + for each %20", body.replace(b"%20", b"+")
    yield "the body's JSON had no blanks", body.replace(b": ", b":").replace(b", ", b",")


_MAX_INPUT = 1024 * 1024


def add(subparsers: Any) -> None:
    made = subparsers.add_parser(
        "verify",
        help="say whether a captured callback is OSS's",
        description="Say whether a captured callback is OSS's, or why not. It is JSON of target, headers and body, as "
        "CallbackRecorder keeps it, or a raw HTTP request. The ticket in it is checked if OSS_TICKET_SECRET is set.",
        epilog=f"Example: oss-wsgi verify callback.json, or oss-wsgi verify < request.txt. {EPILOG}",
    )
    made.add_argument("file", nargs="?", default="-", metavar="FILE", help="default: standard input")
    made.add_argument("--json", action="store_true", help="print one JSON object")
    add_settings(made)
    made.set_defaults(run=run)


def run(arguments: Namespace) -> int:
    settings = Settings.from_environ(environ_of(arguments))
    callback = CapturedCallback.read(_input(arguments.file))
    keys = public_key_store(settings)
    urls = split_urls(settings.callback_url) if settings.callback_url else []
    # A recording's ticket was good or not when it came.
    now = callback.received or time.time()
    tickets = TicketBook(settings.ticket_secret, clock=lambda: now) if settings.ticket_secret else None
    guard = CallbackGuard(
        _nobody, CallbackVerifier(keys), tickets=tickets, bucket=settings.bucket, callback_urls=urls
    )
    found: dict[str, Any] = {"verified": True}
    upload = None
    try:
        if callback.method != "POST":
            hint = f"OSS posts its callbacks, and this is {callback.method}"
            raise MalformedCallbackError("method_not_allowed", hint)
        with waiting("Verifying"):  # a newer key of OSS is fetched
            upload = guard.verify(callback.environ())
    except CallbackError as error:
        found = {"verified": False, "reason": error.reason, "hint": error.hint}
    key_url, key = _key(callback, keys)
    if found.get("reason") == "signature_wrong" and key is not None:
        found["hint"] += f"; {_explained(callback, key)}"
    found["computed"] = _computed(callback, urls, key_url, key)
    if upload is not None:
        found["upload"] = _reported(upload)
        found["ticket"] = _ticket(upload, tickets)
    if arguments.json:
        print(json.dumps(found, indent=1))
    else:
        _print(found, arguments)
    return 0 if found["verified"] else 1


def _input(file: str) -> bytes:
    try:
        if file == "-":
            data = sys.stdin.buffer.read(_MAX_INPUT + 1)
        else:
            with Path(file).open("rb") as opened:
                data = opened.read(_MAX_INPUT + 1)
    except OSError as error:
        raise MisuseError(f"{plain(file)} cannot be read: {error.strerror}.") from error
    if len(data) > _MAX_INPUT:
        raise MisuseError(f"a captured callback has at most {_MAX_INPUT} bytes.")
    return data


def _key(callback: CapturedCallback, keys: PublicKeyStore) -> tuple[str, Any]:
    """Give the URL that the callback names, and its key if it is believed and can be had."""
    try:
        text = callback.headers.get("x-oss-pub-key-url", "")
        url = base64.b64decode(text, validate=True).decode("ascii")
        return url, keys.get(url)
    except (ValueError, binascii.Error):
        return "", None
    except VerificationError:
        return url, None


def _explained(callback: CapturedCallback, key: Any) -> str:
    digest = signed_digest(key, callback.headers.get("authorization", ""))
    if digest is None:
        return "it is no signature of this key at all, or was changed on its way"
    fits = what_fits(digest, callback.target, callback.body)
    said = f"this key signed a text whose MD5 is {digest.hex()}"
    return f"{said}, which fits if {fits}" if fits else f"{said}: the path, the query or the body was changed"


def _computed(callback: CapturedCallback, urls: list[str], key_url: str, key: Any) -> dict[str, Any]:
    others = [target_of(url) for url in urls if target_of(url).encode() != callback.target]
    fitting = _fitting(callback, [callback.target, *(target.encode() for target in others)], key)
    text = string_to_sign(callback.target if fitting is None else fitting, callback.body)
    found: dict[str, Any] = {
        "target": callback.target.decode("utf-8", "replace"),
        "other_targets": others,
        "fitting_target": None if fitting is None else fitting.decode("utf-8", "replace"),
        "string_to_sign": {"bytes": len(text), "md5": md5(text).hex()},
        "body": {"bytes": len(callback.body), "sha256": hashlib.sha256(callback.body).hexdigest()},
        "key": {"url": key_url},
    }
    if key is not None:
        found["key"] |= {"bits": key.key_size, "sha256": fingerprint(key)}
    given = callback.headers.get("content-md5")
    if given:
        found["body"]["content_md5_fits"] = given == base64.b64encode(md5(callback.body)).decode()
    return found


def _fitting(callback: CapturedCallback, targets: list[bytes], key: Any) -> bytes | None:
    """Give the target over which the signature was made, of those that the application tries."""
    digest = None if key is None else signed_digest(key, callback.headers.get("authorization", ""))
    return next((each for each in targets if md5(string_to_sign(each, callback.body)) == digest), None)


def _reported(upload: Upload) -> dict[str, Any]:
    names = ("bucket", "object", "size", "mime_type", "etag", "request_id")
    return {name: getattr(upload, name) for name in names if getattr(upload, name) is not None}


def _ticket(upload: Upload, tickets: TicketBook | None) -> dict[str, Any] | None:
    """Give what our own ticket says, without the ticket."""
    return None if tickets is None else {"user": upload.user, "accepted_until": upload.ticket_until}


def _print(found: dict[str, Any], arguments: Namespace) -> None:
    if found["verified"]:
        print(coloured("verified", "green", arguments.environ))
    else:
        print(f"{coloured('not verified', 'red', arguments.environ)}: {plain(found['reason'])}")
        print(f"  {plain(found['hint'])}")
    computed = found["computed"]
    signed = computed["fitting_target"]
    print(f"  target  {plain(computed['target'])}{', which fits' if computed['target'] == signed else ''}")
    for target in computed["other_targets"]:
        print(f"  or      {plain(target)}, of OSS_CALLBACK_URL{', which fits' if target == signed else ''}")
    text, body, key = computed["string_to_sign"], computed["body"], computed["key"]
    print(f"  signed  {text['bytes']} bytes, MD5 {text['md5']}")
    fits = {True: ", as Content-MD5 says", False: ", and Content-MD5 says another", None: ""}
    print(f"  body    {body['bytes']} bytes, SHA-256 {body['sha256']}{fits[body.get('content_md5_fits')]}")
    bits = f", {key['bits']} bits, SHA-256 {key['sha256']}" if "bits" in key else ", which is not believed or not here"
    print(f"  key     {plain(key['url']) or 'none is named'}{bits}")
    if "upload" in found:
        print(f"  upload  {', '.join(f'{name} {plain(str(value))}' for name, value in found['upload'].items())}")
        ticket = found["ticket"]
        if ticket is None:
            print("  ticket  not checked: OSS_TICKET_SECRET is not set")
        else:
            until = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(ticket["accepted_until"]))
            print(f"  ticket  ours, of user {plain(str(ticket['user']))}, taken until {until}")


def _nobody(environ: Any, start_response: Any) -> list[bytes]:
    raise AssertionError("nothing is passed on")
