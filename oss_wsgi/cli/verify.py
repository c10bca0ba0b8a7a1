"""The `verify` command: says whether a captured callback is from OSS, or why not, without printing a secret."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import time
from argparse import Namespace
from collections.abc import Iterator, Mapping
from typing import Any

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from ..application import public_key_store
from ..callback.public_keys import PublicKeyStore, fingerprint
from ..callback.recording import Recording
from ..callback.rsa import signature_block
from ..callback.ticket import TicketBook
from ..callback.upload import Upload
from ..callback.url import target_of
from ..callback.verifier import CallbackVerifier, string_to_sign
from ..exceptions import CallbackError, MalformedCallbackError, VerificationError
from ..middleware.callback_guard import CallbackGuard
from ..wsgi.environ import request_target
from .options import add_settings, environ_of, secrets_line, settings_of
from .terminal import MisuseError, coloured, plain, read_input, waiting

_MAX_INPUT = 1024 * 1024

_NOT_A_CALLBACK = (
    "the input is not a captured callback: give JSON with target, headers and body (or body_base64), as "
    "CallbackRecorder writes it, or a raw HTTP request that begins with 'POST /PATH HTTP/1.1'."
)


def add(subparsers: Any) -> None:
    parser = subparsers.add_parser(
        "verify",
        help="say whether a captured callback is from OSS",
        description="Say whether a captured callback is from OSS, or why not. The input is JSON with target, headers "
        "and body, as CallbackRecorder writes it, or a raw HTTP request. If OSS_TICKET_SECRET is set, the ticket in "
        "the callback is checked too.",
        epilog="Example: oss-wsgi verify callback.json, or oss-wsgi verify < request.txt. "
        f"{secrets_line('OSS_TICKET_SECRET')}",
    )
    parser.add_argument("file", nargs="?", default="-", metavar="FILE", help="default: standard input")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    add_settings(parser, {"bucket", "callback_url", "trusted_keys"})
    parser.set_defaults(run=run)


def run(arguments: Namespace) -> int:
    """Print the report; return 0 for a verified callback and 1 for any other."""
    settings = settings_of(environ_of(arguments))
    recording = _read_recording(arguments.file)
    keys = public_key_store(settings)
    urls = settings.callback_urls
    # A ticket of a recording counts as it did when the callback came in.
    now = recording.received or time.time()
    tickets = TicketBook(settings.ticket_secret, clock=lambda: now) if settings.ticket_secret else None
    guard = CallbackGuard(  # it only verifies here, and passes nothing on
        lambda *_: [], CallbackVerifier(keys), tickets=tickets, bucket=settings.bucket, callback_urls=urls
    )
    environ = recording.environ()
    report: dict[str, Any] = {"verified": True}
    upload = None
    try:
        if recording.method != "POST":
            raise MalformedCallbackError("method_not_allowed", f"OSS sends POST, but this is {recording.method}")
        with waiting("Verifying", arguments.environ):  # it may fetch a newer key of OSS
            upload = guard.verify(environ)
    except CallbackError as error:
        report = {"verified": False, "reason": error.reason, "hint": error.hint}
    target = request_target(environ)
    key_url, key = _named_key(environ, keys)
    digest = None if key is None else signed_digest(key, environ.get("HTTP_AUTHORIZATION", ""))
    if report.get("reason") == "signature_wrong" and key is not None:
        report["hint"] += f"; {_explanation(digest, target, recording.body)}"
    report["computed"] = _computed(environ, target, recording.body, urls, digest)
    report["computed"]["key"] = {"url": key_url}
    if key is not None:
        report["computed"]["key"] |= {"bits": key.key_size, "sha256": fingerprint(key)}
    if upload is not None:
        report["upload"] = _upload_members(upload)
        report["ticket"] = None if tickets is None else {"user": upload.user, "accepted_until": upload.ticket_until}
    if arguments.json:
        print(json.dumps(report, indent=1))
    else:
        _print(report, arguments.environ)
    return 0 if report["verified"] else 1


def _read_recording(file: str) -> Recording:
    data = read_input(file, _MAX_INPUT + 1)
    if len(data) > _MAX_INPUT:
        raise MisuseError(f"the input is over {_MAX_INPUT} bytes, and no callback is so large.")
    try:
        return Recording.from_json(data) if data.lstrip()[:1] == b"{" else Recording.from_http(data)
    except ValueError as error:
        raise MisuseError(_NOT_A_CALLBACK) from error


def _named_key(environ: Mapping[str, Any], keys: PublicKeyStore) -> tuple[str, RSAPublicKey | None]:
    """Return the key URL that the callback names, and its key, or None if it is not trusted or not available."""
    try:
        url = base64.b64decode(environ.get("HTTP_X_OSS_PUB_KEY_URL", ""), validate=True).decode("ascii")
    except (ValueError, binascii.Error):
        return "", None
    try:
        return url, keys.get(url)
    except (ValueError, VerificationError):
        return url, None


def _explanation(digest: bytes | None, target: bytes, body: bytes) -> str:
    if digest is None:
        return "it is not a signature of this key, or it was changed on the way"
    signed = f"this key signed a text whose MD5 is {digest.hex()}"
    change = find_change(digest, target, body)
    return f"{signed}, which fits if {change}" if change else f"{signed}: the path, the query or the body was changed"


def _computed(
    environ: Mapping[str, Any], target: bytes, body: bytes, urls: list[str], digest: bytes | None
) -> dict[str, Any]:
    """Return what verification computes: over the target that fits the signature, or over the received one."""
    others = [other for other in map(target_of, urls) if other.encode() != target]
    candidates = [target, *(other.encode() for other in others)]
    fitting = next((each for each in candidates if md5(string_to_sign(each, body)) == digest), None)
    text = string_to_sign(target if fitting is None else fitting, body)
    computed: dict[str, Any] = {
        "target": target.decode("utf-8", "replace"),
        "other_targets": others,
        "fitting_target": None if fitting is None else fitting.decode("utf-8", "replace"),
        "string_to_sign": {"bytes": len(text), "md5": md5(text).hex()},
        "body": {"bytes": len(body), "sha256": hashlib.sha256(body).hexdigest()},
    }
    content_md5 = environ.get("HTTP_CONTENT_MD5")
    if content_md5:
        computed["body"]["content_md5_fits"] = content_md5 == base64.b64encode(md5(body)).decode()
    return computed


def _upload_members(upload: Upload) -> dict[str, Any]:
    names = ("bucket", "object", "size", "mime_type", "etag", "request_id")
    return {name: getattr(upload, name) for name in names if getattr(upload, name) is not None}


def _print(report: Mapping[str, Any], environ: Mapping[str, str]) -> None:
    if report["verified"]:
        print(coloured("verified", "green", environ))
    else:
        print(f"{coloured('not verified', 'red', environ)}: {plain(report['reason'])}")
        print(f"  {plain(report['hint'])}")
    computed = report["computed"]
    signed = computed["fitting_target"]
    print(f"  target  {plain(computed['target'])}{', which fits' if computed['target'] == signed else ''}")
    for target in computed["other_targets"]:
        print(f"  or      {plain(target)}, of OSS_CALLBACK_URL{', which fits' if target == signed else ''}")
    text, body = computed["string_to_sign"], computed["body"]
    print(f"  signed  {text['bytes']} bytes, MD5 {text['md5']}")
    fits = {True: ", Content-MD5 agrees", False: ", Content-MD5 differs", None: ""}
    print(f"  body    {body['bytes']} bytes, SHA-256 {body['sha256']}{fits[body.get('content_md5_fits')]}")
    print(f"  key     {_key_line(computed['key'])}")
    if "upload" in report:
        print(f"  upload  {', '.join(f'{name} {plain(str(value))}' for name, value in report['upload'].items())}")
        print(f"  ticket  {_ticket_line(report['ticket'])}")


def _key_line(key: Mapping[str, Any]) -> str:
    if not key["url"]:
        return "the callback names none"
    if "bits" not in key:
        return f"{plain(key['url'])}, which is not trusted or not available here"
    return f"{plain(key['url'])}, {key['bits']} bits, SHA-256 {key['sha256']}"


def _ticket_line(ticket: Mapping[str, Any] | None) -> str:
    if ticket is None:
        return "not checked: OSS_TICKET_SECRET is not set"
    until = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(ticket["accepted_until"]))
    return f"valid, for user {plain(str(ticket['user']))}, accepted until {until}"


def md5(data: bytes) -> bytes:
    """Return the digest that OSS signs (protocol.md 8.3)."""
    return hashlib.md5(data, usedforsecurity=False).digest()


def signed_digest(key: RSAPublicKey, authorization: str) -> bytes | None:
    """Return the MD5 digest that a signature holds, or None if this key made no such signature."""
    try:
        signature = base64.b64decode(authorization, validate=True)
    except (ValueError, binascii.Error):
        return None
    numbers = key.public_numbers()
    size = (key.key_size + 7) // 8
    number = int.from_bytes(signature, "big")
    if len(signature) != size or number >= numbers.n:
        return None
    block = pow(number, numbers.e, numbers.n).to_bytes(size, "big")
    head = signature_block(b"", size)[:-16]  # only the digest at its end depends on the message
    return block[-16:] if hmac.compare_digest(block[:-16], head) else None


def find_change(digest: bytes, target: bytes, body: bytes) -> str | None:
    """Return in words the change of target or body that explains a digest, or None if no usual change does."""
    for target_change, other_target in _targets(target):
        for body_change, other_body in _bodies(body):
            if md5(string_to_sign(other_target, other_body)) == digest:
                shown = other_target.decode("utf-8", "replace")
                changes = [target_change and f"{target_change}, {shown}", body_change]
                return " and ".join(filter(None, changes)) or "nothing was changed"
    return None


def _targets(target: bytes) -> Iterator[tuple[str, bytes]]:
    path, mark, query = target.partition(b"?")
    yield "", target
    yield "the path had no slash at its end", path.rstrip(b"/") + mark + query
    yield "the path had a slash at its end", path + b"/" + mark + query
    if mark:
        yield "there was no query", path
    parts = path.split(b"/")
    for count in range(2, len(parts)):
        prefix = b"/".join(parts[:count]).decode("utf-8", "replace")
        yield f"the path lacked {prefix}", b"/" + b"/".join(parts[count:]) + mark + query


def _bodies(body: bytes) -> Iterator[tuple[str, bytes]]:
    yield "", body
    yield "the body had no line end after it", body.rstrip(b"\r\n")
    yield "the body had %2F for each /", body.replace(b"/", b"%2F")
    yield "the body had %20 for each +", body.replace(b"+", b"%20")
    yield "the body had + for each %20", body.replace(b"%20", b"+")
    yield "the body's JSON had no blanks", body.replace(b": ", b":").replace(b", ", b",")
