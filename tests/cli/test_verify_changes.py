"""Which change on the way explains a signature: slashes, prefixes, queries, line ends and encodings."""

from __future__ import annotations

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import MD5

from oss_wsgi.callback.verifier import string_to_sign
from oss_wsgi.cli.verify import find_change, md5, signed_digest

KEY = rsa.generate_private_key(public_exponent=65537, key_size=1024)
SIGNATURE = KEY.sign(b"text", padding.PKCS1v15(), MD5())


def test_a_signature_of_the_key_holds_the_digest() -> None:
    assert signed_digest(KEY.public_key(), base64.b64encode(SIGNATURE).decode()) == md5(b"text")


@pytest.mark.parametrize(
    "signature",
    [
        pytest.param(SIGNATURE[:-1], id="too short"),
        pytest.param(b"\xff" * 128, id="over the modulus"),
        pytest.param(SIGNATURE[::-1], id="another number"),
    ],
)
def test_another_signature_holds_no_digest(signature: bytes) -> None:
    assert signed_digest(KEY.public_key(), base64.b64encode(signature).decode()) is None


@pytest.mark.parametrize("authorization", ["", "no base64!"])
def test_a_malformed_authorization_holds_no_digest(authorization: str) -> None:
    assert signed_digest(KEY.public_key(), authorization) is None


@pytest.mark.parametrize(
    ("target", "body", "change"),
    [
        (b"/a/cb?x=1", b"a=%2Fb c", "nothing was changed"),
        (b"/a/cb/?x=1", b"a=%2Fb c", "the path had no slash at its end, /a/cb?x=1"),
        (b"/p/q/a/cb?x=1", b"a=%2Fb c", "the path lacked /p/q, /a/cb?x=1"),
        (b"/a/cb?x=1", b"a=/b c", "the body had %2F for each /"),
        (b"/a/cb?x=1", b"a=%2Fb c\r\n", "the body had no line end after it"),
        (b"/p/a/cb?x=1", b"a=/b c", "the path lacked /p, /a/cb?x=1 and the body had %2F for each /"),
        (b"/a/cb?x=2", b"a=%2Fb c", None),
    ],
)
def test_the_change_is_found(target: bytes, body: bytes, change: str | None) -> None:
    digest = md5(string_to_sign(b"/a/cb?x=1", b"a=%2Fb c"))
    assert find_change(digest, target, body) == change


@pytest.mark.parametrize(
    ("signed", "arrived", "change"),
    [
        ((b"/cb/", b""), (b"/cb", b""), "the path had a slash at its end, /cb/"),
        ((b"/cb", b""), (b"/cb?utm=1", b""), "there was no query, /cb"),
        ((b"/cb", b"a%20b"), (b"/cb", b"a+b"), "the body had %20 for each +"),
        ((b"/cb", b"a+b"), (b"/cb", b"a%20b"), "the body had + for each %20"),
        ((b"/cb", b'{"a":1,"b":2}'), (b"/cb", b'{"a": 1, "b": 2}'), "the body's JSON had no blanks"),
    ],
)
def test_other_usual_changes_are_found(signed: tuple[bytes, bytes], arrived: tuple[bytes, bytes], change: str) -> None:
    assert find_change(md5(string_to_sign(*signed)), *arrived) == change
