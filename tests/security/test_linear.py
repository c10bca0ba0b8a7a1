"""Reading paths, headers, bodies and URLs takes time in proportion to their length, whatever they contain.

tests/test_log_format.py says the same of what the log masks.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from oss_wsgi import AccessLog, PostedFiles
from oss_wsgi.callback.public_keys import load_public_key
from oss_wsgi.callback.upload import Upload
from oss_wsgi.callback.url import callback_url_problems, target_of, without_password
from oss_wsgi.endpoints.gate import check_origin
from oss_wsgi.exceptions import OSSWSGIError
from oss_wsgi.http import essence, urldecoded, urlencoded_pairs
from oss_wsgi.object_names import original_name, unique_name
from oss_wsgi.wsgi.diagnosis import missed_path, missing_authorization, several_values, wrong_signature
from oss_wsgi.wsgi.environ import ReceivedCallback, find_authorization, read_body, usable
from oss_wsgi.wsgi.facts import RequestFacts

from ..support.linear import MARGIN, slowdown

FORM = "application/x-www-form-urlencoded"
JSON = "application/json"


def repeated(text: str, before: str = "", after: str = "") -> Any:
    """Return a function that repeats a text to about a given length."""
    return lambda length: before + text * (length // len(text)) + after


TEXTS = [
    repeated('"'),
    repeated(" "),
    repeated("%"),
    repeated("%2F"),
    repeated("%FF"),
    repeated("+"),
    repeated("/"),
    repeated("/.."),
    repeated("../", "/"),
    repeated("//a@"),
    repeated("//"),
    repeated("a", "http:", "://"),
    repeated("a", "", "@"),
    repeated("a;b=c,"),
    repeated("A", "", "!"),
    repeated("A"),
    repeated("_", "X_", "!"),
    repeated("$1"),
    repeated("(null)"),
    repeated("%{"),
    repeated("&"),
    repeated("a=b&"),
    repeated("."),
    repeated(".a"),
    repeated("é"),
    repeated("\u0301\u0316"),
    repeated("9"),
    repeated("-"),
    repeated("\\"),
    repeated("\r\n"),
    repeated("?#"),
]


def without_error(function: Callable[[Any], object]) -> Callable[[Any], None]:
    """Return a function that ignores the refusals of another."""

    def call(value: Any) -> None:
        with suppress(OSSWSGIError, ValueError):
            function(value)

    return call


def environ(**keys: Any) -> dict[str, Any]:
    body = {"wsgi.input": io.BytesIO(b"a"), "CONTENT_LENGTH": "1", "REQUEST_METHOD": "POST"}
    return {**body, "HTTP_X_OSS_PUB_KEY_URL": "a", "PATH_INFO": "/a", **keys}


def diagnosed(diagnose: Callable[[Any], object]) -> Callable[[str], object]:
    """Return a function that diagnoses an environ that has a text everywhere."""

    def call(text: str) -> None:
        keys = ("RAW_URI", "PATH_INFO", "SCRIPT_NAME", "REMOTE_USER", "HTTP_AUTHORIZATION", "SERVER_SOFTWARE")
        diagnose(environ(**dict.fromkeys(keys, text), **{f"HTTP_X_{text}": text}))
        diagnose(environ(PATH_INFO=text, REDIRECT_URL=text, SCRIPT_URL=text))

    return call


def log_a_request(path: str) -> None:
    app = AccessLog(lambda environ, start_response: [], clock=lambda: 0.0)
    app(environ(PATH_INFO=path), lambda *arguments: lambda data: None).close()  # type: ignore[attr-defined]


READERS: dict[str, Callable[[str], object]] = {
    "target": lambda text: ReceivedCallback.from_environ(environ(RAW_URI=text, QUERY_STRING=text)),
    "rebuilt target": lambda text: ReceivedCallback.from_environ(environ(PATH_INFO=text, SCRIPT_NAME=text)),
    "headers": lambda text: ReceivedCallback.from_environ(
        environ(HTTP_AUTHORIZATION=text, HTTP_X_OSS_PUB_KEY_URL=text, CONTENT_TYPE=text)
    ),
    "authorization": lambda text: (find_authorization({"HTTP_AUTHORIZATION": text}), usable(text)),
    "length": lambda text: read_body(environ(CONTENT_LENGTH=text, HTTP_TRANSFER_ENCODING=text), 10),
    "identifiers": lambda text: (
        RequestFacts({"HTTP_X_OSS_REQUEST_ID": text}).oss_request_id,
        RequestFacts({"HTTP_X_REQUEST_ID": text}).id,
    ),
    "origin": lambda text: check_origin({"HTTP_ORIGIN": text, "HTTP_HOST": text, "HTTP_SEC_FETCH_SITE": text}, ()),
    "form": lambda text: Upload.parse(text.encode(), FORM),
    "own form": lambda text: Upload.parse(f"bucket={text}&object={text}&etag={text}".encode(), FORM),
    "JSON": lambda text: Upload.parse(text.encode(), JSON),
    "JSON text": lambda text: Upload.parse(f'{{"object": "{text}", "size": {text}}}'.encode(), JSON),
    "pairs": lambda text: urlencoded_pairs(text, 100_000),
    "decoding": urldecoded,
    "media type": lambda text: essence(f"image/png{text}"),
    "file name": lambda text: (original_name(text), unique_name(text, "20300101", "0" * 32)),
    "callback URL": lambda text: (callback_url_problems(text), target_of(f"http://a/{text}")),
    "password": lambda text: without_password(f"http://a@{text}"),
    "public key": lambda text: load_public_key(text),
    "missing authorization": diagnosed(missing_authorization),
    "several values": diagnosed(several_values),
    "wrong signature": diagnosed(wrong_signature),
    "missed path": diagnosed(lambda environ: missed_path(environ, "/oss/callback")),
    "access log": log_a_request,
}


@pytest.mark.parametrize("reader", READERS.values(), ids=READERS)
def test_time_grows_with_the_length_of_hostile_texts(reader: Callable[[str], object]) -> None:
    read = without_error(reader)
    slowest = max(slowdown(read, hostile) for hostile in TEXTS)
    assert slowest < MARGIN


LINE = b"--x\r\n"
FIELD = b'Content-Disposition: form-data; name="%s"\r\n\r\n'
MARKED_FORM = LINE + FIELD % b"oss_wsgi.files" + b"\r\n" + LINE
FORMS = {
    "parts": (b"\r\n" + LINE + FIELD % b"a", FIELD % b"a"),
    "delimiters": (b"\r\n--x", b""),
    "lines that are no delimiters": (b"\r\n--x-\t \r", FIELD % b"a"),
    "line breaks": (b"\r\n", FIELD % b"a"),
    "headers": (b"a:b\r\n", b""),
    "folds": (b"\r\n\t", b"a: b"),
    "parameters": (b';a="', b"Content-Disposition: "),
    "blanks": (b" ", b"Content-Disposition: a;"),
}


@pytest.mark.parametrize(("piece", "begin"), FORMS.values(), ids=FORMS)
def test_time_grows_with_the_length_of_hostile_forms(piece: bytes, begin: bytes) -> None:
    class Nobody:
        def head(self, key: str) -> None:
            return None

        def read(self, key: str, etag: str, start: int) -> Any:
            return iter(())

    app = PostedFiles(lambda environ, start_response: [], Upload.parse, Nobody(), user_of=lambda *_: None)  # type: ignore[arg-type]

    def post(body: bytes) -> None:
        form = {"CONTENT_TYPE": "multipart/form-data; boundary=x", "CONTENT_LENGTH": str(len(body))}
        app(environ(**form, **{"wsgi.input": io.BytesIO(body)}), lambda *arguments: lambda data: None)

    def hostile(length: int) -> bytes:
        return MARKED_FORM + begin + piece * (length // len(piece)) + b"\r\n--x--\r\n"

    assert slowdown(post, hostile, 10_000) < MARGIN


BODIES = {
    "members": (repeated("a=1&"), FORM),
    "escapes": (repeated("%61", "a="), FORM),
    "an open text": (repeated('\\"', '{"a": "'), JSON),
    "brackets": (repeated("[", '{"a":'), JSON),
    "objects": (repeated('{"a":'), JSON),
    "digits": (repeated("9", '{"size":', "}"), JSON),
    "a fraction": (repeated("9", '{"size":1.', "}"), JSON),
    "an exponent": (repeated("9", '{"size":1e', "}"), JSON),
    "escaped characters": (repeated("\\ud83d\\ude00", '{"a":"', '"}'), JSON),
    "blanks": (repeated(" ", "", "{"), JSON),
    "a known form": (repeated("1", "bucket=a&object=b&etag=c&size="), FORM),
}


@pytest.mark.parametrize(("hostile", "content_type"), BODIES.values(), ids=BODIES)
def test_time_grows_with_the_length_of_hostile_bodies(hostile: Callable[[int], str], content_type: str) -> None:
    read = without_error(lambda text: Upload.parse(text.encode(), content_type))
    assert slowdown(read, hostile) < MARGIN


def test_a_key_of_blanks_is_refused_in_linear_time() -> None:
    hostile = repeated(" ", "-----BEGIN PUBLIC KEY-----", "!")
    assert slowdown(without_error(lambda text: load_public_key(text)), hostile) < MARGIN


def test_the_measure_finds_the_square() -> None:
    """The expression that once looked for a small letter from each position of a masked line."""
    look_ahead = re.compile(r"(?<![A-Za-z0-9])(?=[^a-z]*[a-z])[A-Za-z0-9]{80}")
    assert slowdown(look_ahead.search, repeated('"'), 300) > MARGIN
