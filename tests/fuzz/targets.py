"""The targets: each takes bytes that a stranger may send, and raises AssertionError where a promise is broken."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from local_oss.errors import OSSError
from local_oss.forms.form import Form
from local_oss.forms.policy import check_policy, parse_policy
from oss_wsgi import Grant, PostedFiles, PostPresigner, Settings, Upload
from oss_wsgi.bucket import StoredObject
from oss_wsgi.callback.parameters import FORM, JSON
from oss_wsgi.callback.signed_id import SignedIDBook
from oss_wsgi.callback.ticket import NewTicket, ReceiptBook, TicketBook, new_ticket
from oss_wsgi.exceptions import (
    MalformedCallbackError,
    MalformedRecoveryError,
    OSSWSGIError,
    SignedIDError,
    UnverifiedError,
)
from oss_wsgi.object_names import MAX_KEY_BYTES, original_folder, original_name, path_problem, unique_name
from oss_wsgi.recovery.events import read_events
from oss_wsgi.wsgi.environ import raw_target, request_target

from ..serving.test_parser import assert_same

_NOW = 1_800_000_000.0
_SECRETS = ["fuzz" * 8]
_BUCKET = "examplebucket"
_SETTINGS = Settings(
    bucket=_BUCKET,
    region="cn-hangzhou",
    access_key_id="LTAI5tExampleKeyId000001",
    access_key_secret="x" * 30,
    upload_names="original",
)


def _clock() -> float:
    return _NOW


def parser(data: bytes) -> None:
    """A request is read as waitress reads it, in pieces of any size."""
    size = (1, 3, 20, 1_000_000)[data[0] % 4] if data else 1
    assert_same(data[1:], size)


_presigner = PostPresigner(_SETTINGS, clock=_clock, token=lambda: "0" * 32)


def policies(data: bytes) -> None:
    """What is signed for a file's name and type holds for its own form; any other is refused with a sentence."""
    name, _, content_type = data.decode("utf-8", "surrogateescape").partition("\n")
    try:
        form = _presigner.presign(Grant(), filename=name, content_type=content_type or None)
    except OSSWSGIError:
        return
    fields = {field.lower(): text for field, text in form.fields.items()}
    check_policy(parse_policy(form.fields["policy"]), fields, bucket=_BUCKET, file_type="", now=_NOW, strict=True)
    assert fields["key"].startswith(form.dir)


def forms(data: bytes) -> None:
    """The local OSS reads a form and its policy, or refuses it with an error of OSS."""
    environ = {
        "CONTENT_TYPE": "multipart/form-data; boundary=b",
        "CONTENT_LENGTH": str(len(data)),
        "wsgi.input": io.BytesIO(data),
    }
    try:
        form = Form(environ)
        for _ in form.chunks():
            pass
        parse_policy(form.fields.get("policy", ""))
    except OSSError as error:
        if error.status >= 500:
            raise


_tickets = TicketBook(_SECRETS, clock=_clock)
_receipts = ReceiptBook(_SECRETS, clock=_clock, keep_seconds=7 * 24 * 3600)
_signed_ids = SignedIDBook(_SECRETS, _BUCKET, clock=_clock)


def _new_ticket() -> NewTicket:
    return new_ticket(
        bucket=_BUCKET, key="a/b.png", prefix="a/", sizes=(0, 9), content_types=[], expires_at=int(_NOW), user="eric"
    )


_upload = _signed_ids.signed(Upload(bucket=_BUCKET, object="a/b.png", etag="AB", size=4, user="eric"))
# Ticket and receipt are of two tickets: of one, they would be the same text if their labels were the same.
_SEALED: Mapping[str, Callable[[str], object]] = {
    _tickets.seal(_new_ticket()): _tickets.open,
    _receipts.seal(_new_ticket()): _receipts.open,
    _upload.signed_id: _signed_ids.open,
}


def sealed(data: bytes) -> None:
    """A ticket, a receipt or a signed ID opens only as it was made, and only as what it is."""
    text = data.decode("latin-1")
    for valid in _SEALED:
        changed = _changed(valid, data)
        for original, open_text in _SEALED.items():
            for candidate in (text, changed):
                if candidate == original:
                    continue
                try:
                    open_text(candidate)
                except UnverifiedError:
                    continue
                raise AssertionError(f"a changed text opens: {candidate!r}")


def _changed(text: str, data: bytes) -> str:
    """Return a text in which some characters are replaced: pairs of a place and a character."""
    characters = list(text)
    for at in range(0, len(data) - 2, 3):
        place = int.from_bytes(data[at : at + 2], "big") % len(characters)
        characters[place] = chr(data[at + 2])
    return "".join(characters)


def callbacks(data: bytes) -> None:
    """A callback's body is read, or refused as malformed; the quick way reads a form as the other one does."""
    read = [_read_callback(data, kind) for kind in (FORM, f"{FORM}; charset=utf-8", JSON, "")]
    assert read[0] == read[1] or data.lstrip()[:1] == b"{"


def _read_callback(data: bytes, content_type: str) -> Upload | str:
    try:
        upload = Upload.parse(data, content_type, "/oss/callback")
    except MalformedCallbackError as error:
        return error.reason
    assert upload.size is None or upload.size >= 0
    assert upload.body == data
    return upload


class _Bucket:
    """A bucket with one object."""

    def head(self, key: str) -> StoredObject:
        return StoredObject(key, 4, "AB", _NOW)

    def read(self, key: str, etag: str, start: int) -> Iterator[bytes]:
        yield b"meow"[start:]


def _open_signed_id(text: str) -> Upload:
    if text != "ID":
        raise SignedIDError("signed_id_malformed", "the text is not a signed ID")
    return Upload(bucket=_BUCKET, object="a/b.png", etag="AB", size=4, mime_type="image/png", filename='a"\r\n猫.png')


_BOUNDARY = b"b"
_MARKER = b'--b\r\nContent-Disposition: form-data; name="oss_wsgi.files"\r\n'


def posted_forms(data: bytes) -> None:
    """An application reads as many bytes as announced: those of the client, or those with the files in them."""
    read: list[bytes] = []

    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        body = environ["wsgi.input"].read()
        assert len(body) == int(environ["CONTENT_LENGTH"])
        read.append(body)
        start_response("200 OK", [])
        return []

    environ: dict[str, Any] = {
        "REQUEST_METHOD": "POST",
        "PATH_INFO": "/",
        "CONTENT_TYPE": f"multipart/form-data; boundary={_BOUNDARY.decode()}",
        "CONTENT_LENGTH": str(len(data)),
        "wsgi.input": io.BytesIO(data),
    }
    statuses: list[str] = []
    middleware = PostedFiles(application, _open_signed_id, _Bucket(), user_of=lambda environ, uploads: None)
    response = middleware(environ, lambda status, headers, exc_info=None: statuses.append(status) or (lambda _: None))
    b"".join(response)
    if b"oss_wsgi.files" not in data:
        assert read == [data]
    assert len(statuses) == 1
    assert bool(read) == statuses[0].startswith("200")
    for body in read:
        assert not body.startswith(_MARKER) or body == data


def events(data: bytes) -> None:
    """A message is read, or refused as malformed; what an event names is text."""
    try:
        found = read_events(data)
    except MalformedRecoveryError:
        return
    for event in found:
        assert event.key
        assert (event.name + event.bucket + event.key).encode()


def paths(data: bytes) -> None:
    """A target is what a client sent; a name that is made of a file's name is one that OSS takes, and its own."""
    text = data.decode("latin-1")
    for key in ("RAW_URI", "REQUEST_URI", "PATH_INFO", "RAW_PATH_INFO"):
        environ = {"SCRIPT_NAME": "", "PATH_INFO": "/", key: text}
        target = request_target(environ)
        assert target.startswith(b"/")
        assert b"#" not in target
        raw_target(environ)
    name = data.decode("utf-8", "replace")
    made = original_name(name)
    assert made == original_name(made)
    for each in (made, original_folder(name) + made, unique_name(name, "20260101", "0" * 32)):
        assert path_problem(each) is None or len(each.encode()) > MAX_KEY_BYTES


#: The targets by their names.
TARGETS: dict[str, Callable[[bytes], None]] = {
    target.__name__: target for target in (parser, policies, forms, sealed, callbacks, posted_forms, events, paths)
}
