"""CallbackVerifier: production captures verify, and fail when any byte of path, query, body or signature changes."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oss_wsgi.callback.public_keys import OSS_PUBLIC_KEY_URLS, PublicKeyStore
from oss_wsgi.callback.verifier import CallbackVerifier, string_to_sign
from oss_wsgi.exceptions import FetchError, KeyUnavailableError, UnverifiedError, VerificationError

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "callbacks.json").read_text(encoding="utf-8"))
CAPTURES = VECTORS["captures"]
MADE_HERE = VECTORS["made_here"]
N, E, D = (int(VECTORS["throwaway_key"][name], 16) for name in "ned")
OUR_URL = "http://127.0.0.1:8081/callback_pub_key_v1.pem"
DIGEST_INFO = bytes.fromhex("3020300c06082a864886f70d020505000410")
BASE64 = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

each_capture = pytest.mark.parametrize("capture", CAPTURES, ids=lambda capture: capture["name"])


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def callback(vector: dict[str, Any], url: str = OSS_PUBLIC_KEY_URLS[0]) -> dict[str, Any]:
    """Return the arguments of ``verify`` for a vector."""
    return {
        "target": vector["target"].encode(),
        "body": vector["body"].encode(),
        "authorization": vector["authorization"],
        "pub_key_url": b64(url.encode()),
    }


def padded(digest: bytes, prefix: bytes = DIGEST_INFO) -> bytes:
    """Return the 64 bytes of protocol.md 8.3 for a digest, made independently of the package."""
    end = b"\x00" + prefix + digest
    return b"\x00\x01" + b"\xff" * (62 - len(end)) + end


def raw_sign(message: bytes) -> str:
    return b64(pow(int.from_bytes(message, "big"), D, N).to_bytes(64, "big"))


def sign(text: bytes) -> str:
    return raw_sign(padded(hashlib.md5(text).digest()))


def refused(arguments: dict[str, Any], verifier: CallbackVerifier) -> str:
    """Return the reason of the refusal; ``is_valid`` refuses too, and ``check_headers`` what no body can change."""
    assert verifier.is_valid(**arguments) is False
    with pytest.raises(UnverifiedError) as raised:
        verifier.verify(**arguments)
    assert ("is missing" in raised.value.hint) is raised.value.reason.endswith("missing")
    headers = arguments["authorization"], arguments["pub_key_url"]
    if raised.value.reason == "signature_wrong":
        verifier.check_headers(*headers)
    else:
        with pytest.raises(UnverifiedError) as raised_early:
            verifier.check_headers(*headers)
        assert (raised_early.value.reason, raised_early.value.hint) == (raised.value.reason, raised.value.hint)
    return raised.value.reason


def other_bytes(data: bytes) -> Iterator[bytes]:
    """Change each byte: lowest bit, highest bit, letter case, and each to ``%``, ``?``, LF and NUL."""
    for index, byte in enumerate(data):
        for value in {byte ^ 1, byte ^ 0x80, byte ^ 0x20, ord("%"), ord("?"), ord("\n"), 0} - {byte}:
            yield data[:index] + bytes([value]) + data[index + 1 :]


def cut_and_grown(data: bytes) -> Iterator[bytes]:
    """Remove each byte, and insert one at each place."""
    for index in range(len(data)):
        yield data[:index] + data[index + 1 :]
    for index in range(len(data) + 1):
        yield data[:index] + b"x" + data[index:]


@pytest.fixture(scope="module")
def oss() -> CallbackVerifier:
    return CallbackVerifier()


@pytest.fixture(scope="module")
def ours() -> CallbackVerifier:
    return CallbackVerifier(PublicKeyStore({OUR_URL: VECTORS["throwaway_key"]["pem"]}))


@each_capture
@pytest.mark.parametrize("url", OSS_PUBLIC_KEY_URLS, ids=["http", "https"])
def test_a_production_capture_verifies_by_default(capture: dict[str, Any], url: str, oss: CallbackVerifier) -> None:
    assert oss.verify(**callback(capture, url)) is None
    assert oss.is_valid(**callback(capture, url)) is True


@each_capture
@pytest.mark.parametrize("part", ["target", "body"])
def test_a_capture_fails_when_any_byte_of_it_changes(part: str, capture: dict[str, Any], oss: CallbackVerifier) -> None:
    arguments = callback(capture)
    changes = (*other_bytes(arguments[part]), *cut_and_grown(arguments[part]))
    assert [data for data in changes if oss.is_valid(**{**arguments, part: data})] == []


def test_another_base64_text_of_the_same_signature_is_refused(oss: CallbackVerifier) -> None:
    capture = CAPTURES[1]
    text = capture["authorization"]
    signature = base64.b64decode(text)
    last = BASE64.index(text[85])
    same_bytes = [text[:85] + BASE64[last ^ spare] + "==" for spare in range(1, 16)]
    assert all(base64.b64decode(other) == signature for other in same_bytes), "these decode alike"
    same_bytes += [
        text.rstrip("="),
        text[:-1],
        text + "=",
        text + "==",
        f" {text}",
        f"{text} ",
        f"{text}\n",
        f"{text[:40]}\n{text[40:]}",
        f"{text[:40]} {text[40:]}",
        f"{text[:40]}!{text[40:]}",
        text.replace("+", "-").replace("/", "_"),
        f"{text},{text}",
        f"{text}, {text}",
        text + text,
        f"Bearer {text}",
        f"OSS {text}",
        f'"{text}"',
    ]
    for other in same_bytes:
        assert other != text
        assert refused({**callback(capture), "authorization": other}, oss) == "authorization_malformed"


@pytest.mark.parametrize("length", [1, 63, 64, 65])
def test_the_hint_says_where_the_length_is_not_the_keys(length: int, oss: CallbackVerifier) -> None:
    with pytest.raises(UnverifiedError, match="signature_wrong") as raised:
        oss.verify(**{**callback(CAPTURES[0]), "authorization": b64(bytes(length))})
    assert ("another length" in raised.value.hint) is (length != 64)


def test_a_callback_without_a_signature_has_a_reason_of_its_own(oss: CallbackVerifier) -> None:
    assert refused({**callback(CAPTURES[0]), "authorization": ""}, oss) == "authorization_missing"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "pub_key_url_missing"),
        (OSS_PUBLIC_KEY_URLS[0], "pub_key_url_malformed"),
        ("aHR0cDovL2dvc3NwdWJsaWMuYWxpY2RuLmNvbS9jYWxsYmFja19wdWJfa2V5X3YxLnBlbR==", "pub_key_url_malformed"),
        ("aHR0cDovL2dvc3NwdWJsaWMuYWxpY2RuLmNvbS9jYWxsYmFja19wdWJfa2V5X3YxLnBlbQ", "pub_key_url_malformed"),
        ("aHR0cDovL2dvc3NwdWJsaWMuYWxpY2RuLmNvbS9jYWxsYmFja19wdWJfa2V5X3YxLnBlbQ==\n", "pub_key_url_malformed"),
        ("A" * 4096, "pub_key_url_untrusted"),
        ("A" * 4100, "pub_key_url_malformed"),
        ("A", "pub_key_url_malformed"),
        ("/+8=", "pub_key_url_untrusted"),
    ],
    ids=["none", "plain", "not-canonical", "no-padding", "line-end", "longest", "huge", "one", "not-ascii"],
)
def test_a_key_url_that_is_not_strict_base64_is_refused(text: str, reason: str, oss: CallbackVerifier) -> None:
    assert refused({**callback(CAPTURES[0]), "pub_key_url": text}, oss) == reason


def test_the_two_key_urls_are_those_of_production() -> None:
    assert [b64(url.encode()) for url in OSS_PUBLIC_KEY_URLS] == [
        "aHR0cDovL2dvc3NwdWJsaWMuYWxpY2RuLmNvbS9jYWxsYmFja19wdWJfa2V5X3YxLnBlbQ==",
        "aHR0cHM6Ly9nb3NzcHVibGljLmFsaWNkbi5jb20vY2FsbGJhY2tfcHViX2tleV92MS5wZW0=",
    ]
    assert CallbackVerifier().pinned_key_urls() == {b64(url.encode()) for url in OSS_PUBLIC_KEY_URLS}


@pytest.mark.parametrize("vector", MADE_HERE, ids=lambda vector: vector["name"])
def test_a_vector_verifies_only_with_its_own_key(
    vector: dict[str, Any], oss: CallbackVerifier, ours: CallbackVerifier
) -> None:
    ours.verify(**callback(vector, OUR_URL))
    assert refused(callback(vector, OUR_URL), oss) == "pub_key_url_untrusted"
    assert refused(callback(vector), ours) == "signature_wrong"


@pytest.mark.parametrize("vector", MADE_HERE, ids=lambda vector: vector["name"])
def test_the_string_to_sign_is_that_of_the_vector(vector: dict[str, Any]) -> None:
    text = string_to_sign(vector["target"].encode(), vector["body"].encode())
    assert hashlib.md5(text).hexdigest() == vector["string_to_sign_md5"]
    assert sign(text) == vector["authorization"]


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (b"/p", b"/p\nB\xffD\n"),
        (b"/p/", b"/p/\nB\xffD\n"),
        (b"/p?", b"/p\nB\xffD\n"),
        (b"/p?a=%2F+b", b"/p?a=%2F+b\nB\xffD\n"),
        (b"/p?a?b", b"/p?a?b\nB\xffD\n"),
        (b"/a+b%20c", b"/a+b c\nB\xffD\n"),
        (b"/%e4%b8%AD", "/中".encode() + b"\nB\xffD\n"),
        (b"/a%2Fb%3Fc", b"/a/b?c\nB\xffD\n"),
        (b"/a%zz%4", b"/a%zz%4\nB\xffD\n"),
        (b"/%2541", b"/%41\nB\xffD\n"),
    ],
)
def test_the_path_is_decoded_once_and_query_and_body_never(target: bytes, expected: bytes) -> None:
    assert string_to_sign(target, b"B\xffD\n") == expected


def test_an_unavailable_key_is_not_a_wrong_signature() -> None:
    def fetcher(url: str) -> bytes:
        raise FetchError("unreachable")

    verifier = CallbackVerifier(PublicKeyStore(fetcher=fetcher, clock=lambda: 0.0))
    arguments = callback(CAPTURES[0], "http://gosspublic.alicdn.com/callback_pub_key_v2.pem")
    with pytest.raises(KeyUnavailableError) as raised:
        verifier.verify(**arguments)
    assert not isinstance(raised.value, UnverifiedError)
    assert verifier.is_valid(**arguments) is False
    verifier.check_headers(arguments["authorization"], arguments["pub_key_url"])  # it needs no key
    urls = [arguments["pub_key_url"], b64(OSS_PUBLIC_KEY_URLS[0].encode()), "which is refused at once"]
    assert [verifier.has_key(url) for url in urls] == [False, True, True]


@pytest.mark.slow
@given(text=st.text(max_size=120), url=st.text(max_size=120))
@settings(max_examples=100, deadline=None)
def test_any_header_text_raises_a_verification_error(text: str, url: str) -> None:
    verifier = CallbackVerifier()
    for authorization, pub_key_url in ((text, b64(OSS_PUBLIC_KEY_URLS[0].encode())), (b64(b"s" * 64), url)):
        with pytest.raises(VerificationError):
            verifier.verify(target=b"/", body=b"", authorization=authorization, pub_key_url=pub_key_url)


def test_an_error_does_not_repeat_the_headers(oss: CallbackVerifier) -> None:
    for changes in ({"authorization": "not base64!"}, {"pub_key_url": b64(b"http://evil.example/secret-path")}):
        with pytest.raises(UnverifiedError) as raised:
            oss.verify(**{**callback(CAPTURES[0]), **changes})
        assert "evil" not in str(raised.value)
        assert "not base64!" not in str(raised.value)
