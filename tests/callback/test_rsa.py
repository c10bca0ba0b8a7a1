"""RSA with MD5 by the library and by arithmetic: both agree, and arithmetic is used only if the library refuses."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.exceptions import InternalError, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.padding import AsymmetricPadding, PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey, generate_private_key
from cryptography.hazmat.primitives.hashes import MD5
from hypothesis import given, settings
from hypothesis import strategies as st

from oss_wsgi.callback import rsa, verifier
from oss_wsgi.callback.public_keys import OSS_PUBLIC_KEY, load_public_key
from oss_wsgi.callback.verifier import string_to_sign, verify_rsa_md5

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "callbacks.json").read_text(encoding="utf-8"))
N, E, D = (int(VECTORS["throwaway_key"][name], 16) for name in "ned")
OURS = load_public_key(VECTORS["throwaway_key"]["pem"])
GOOD = [(load_public_key(OSS_PUBLIC_KEY), vector) for vector in VECTORS["captures"]]
GOOD += [(OURS, vector) for vector in VECTORS["made_here"]]
LONG = generate_private_key(public_exponent=65537, key_size=2048)

MESSAGE = b"/cb\nbody"
MD5_INFO = bytes.fromhex("3020300c06082a864886f70d020505000410")
MD5_INFO_WITHOUT_NULL = bytes.fromhex("301e300a06082a864886f70d02050410")
SHA1_INFO = bytes.fromhex("3021300906052b0e03021a05000414")
HASHED = hashlib.md5(MESSAGE).digest()
RIGHT = MD5_INFO + HASHED


def block(end: bytes, *, start: bytes = b"\x00\x01", fill: bytes = b"\xff", size: int = 64) -> bytes:
    return start + fill * (size - len(start) - 1 - len(end)) + b"\x00" + end


def signed(message: bytes) -> bytes:
    """Apply the throwaway private key to a block as it is."""
    assert len(message) == 64
    return pow(int.from_bytes(message, "big"), D, N).to_bytes(64, "big")


class Refusing:
    """A key with which the library refuses to verify."""

    def __init__(self, key: RSAPublicKey, error: Exception) -> None:
        self._error = error
        self.key_size = key.key_size
        self.public_numbers = key.public_numbers

    def recover_data_from_signature(self, *arguments: object) -> bytes:
        raise self._error


class NoPadding(AsymmetricPadding):
    """A padding that the library does not have, so that it refuses, as a FIPS build refuses RSA with MD5."""

    name = "refused"


@pytest.fixture(params=["library", "arithmetic"], scope="module", autouse=True)
def way(request: pytest.FixtureRequest) -> Iterator[str]:
    """Run everything with the library as it is, and without MD5."""
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "arithmetic":
            patch.setattr(verifier, "PADDING", NoPadding())
            with pytest.raises(UnsupportedAlgorithm):
                OURS.recover_data_from_signature(b"s" * 64, verifier.PADDING, None)
        else:
            patch.setattr(rsa, "pow", None, raising=False)  # so that the arithmetic would fail
        yield request.param


@pytest.mark.parametrize(("key", "vector"), GOOD, ids=[vector["name"] for _, vector in GOOD])
def test_a_vector_verifies_with_its_own_text_only(key: RSAPublicKey, vector: dict[str, str]) -> None:
    text = string_to_sign(vector["target"].encode(), vector["body"].encode())
    signature = base64.b64decode(vector["authorization"])
    assert verify_rsa_md5(key, signature, text) is True
    assert verify_rsa_md5(key, signature, text + b"\n") is False


def test_a_vector_fails_when_any_bit_of_its_signature_changes() -> None:
    key, vector = GOOD[0]
    text = string_to_sign(vector["target"].encode(), vector["body"].encode())
    signature = base64.b64decode(vector["authorization"])
    for bit in range(512):
        changed = (int.from_bytes(signature, "big") ^ 1 << bit).to_bytes(64, "big")
        assert verify_rsa_md5(key, changed, text) is False, bit


@given(message=st.binary(max_size=100))
@settings(max_examples=20, deadline=None)
def test_a_key_of_another_size_verifies_what_the_library_signed(message: bytes) -> None:
    signature = LONG.sign(message, PKCS1v15(), MD5())
    assert verify_rsa_md5(LONG.public_key(), signature, message) is True
    assert verify_rsa_md5(LONG.public_key(), signature, message + b"x") is False
    assert verify_rsa_md5(OURS, signature, message) is False


@pytest.mark.parametrize("bits", [1024, 1025])
def test_a_key_of_any_number_of_bits_verifies(bits: int) -> None:
    key = generate_private_key(public_exponent=65537, key_size=bits)
    signature = key.sign(MESSAGE, PKCS1v15(), MD5())
    assert len(signature) == -(-bits // 8)
    assert verify_rsa_md5(key.public_key(), signature, MESSAGE) is True


@pytest.mark.parametrize(
    "forged",
    [
        block(RIGHT, start=b"\x00\x02"),
        block(RIGHT, fill=b"\xfe"),
        b"\x00\x01" + b"\xff" * 8 + b"\x00" + RIGHT + b"\x5a" * 19,
        block(HASHED),
        block(MD5_INFO_WITHOUT_NULL + HASHED),
        block(MD5_INFO + HASHED[:15]),
        block(SHA1_INFO + hashlib.sha1(MESSAGE).digest()),
    ],
    ids=[
        "block-type-2",
        "fill-of-fe",
        "garbage-after-as-bleichenbacher-forged",
        "bare-digest",
        "no-null",
        "digest-of-15-bytes",
        "sha1",
    ],
)
def test_any_other_block_is_refused(forged: bytes) -> None:
    """The owner of the private key signs it, so only the comparison of the block can refuse it."""
    assert verify_rsa_md5(OURS, signed(block(RIGHT)), MESSAGE) is True, "the right one is accepted"
    assert int.from_bytes(forged, "big") < N
    assert verify_rsa_md5(OURS, signed(forged), MESSAGE) is False


def test_a_signature_is_as_long_as_the_modulus_and_below_it() -> None:
    message = next(text for text in (b"%d" % i for i in range(9999)) if _signature(text) + N < 1 << 512)
    number = _signature(message)
    signature = number.to_bytes(64, "big")
    assert verify_rsa_md5(OURS, signature, message) is True
    for other in (
        (number + N).to_bytes(64, "big"),
        b"\x00" + signature,
        b"\x00" * 64 + signature,
        signature + b"\x00",
        signature[1:],
        signature[:-1],
        signature * 2,
        signature[::-1],
        b"",
    ):
        assert verify_rsa_md5(OURS, other, message) is False
    short = next(text for text in (b"%d" % i for i in range(99999)) if _signature(text) < 1 << 504)
    assert verify_rsa_md5(OURS, _signature(short).to_bytes(64, "big"), short) is True
    assert verify_rsa_md5(OURS, _signature(short).to_bytes(63, "big"), short) is False


def _signature(message: bytes) -> int:
    return int.from_bytes(signed(block(MD5_INFO + hashlib.md5(message).digest())), "big")


@pytest.mark.parametrize("number", [0, 1, N - 1, N, 2**512 - 1])
def test_a_signature_that_anybody_can_make_is_refused(number: int) -> None:
    assert verify_rsa_md5(OURS, number.to_bytes(64, "big"), MESSAGE) is False


@pytest.mark.parametrize("error", [UnsupportedAlgorithm("MD5"), InternalError("", []), ValueError("size")], ids=repr)
def test_each_refusal_of_the_library_leads_to_the_arithmetic(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rsa, "pow", pow, raising=False)
    key: RSAPublicKey = Refusing(OURS, error)  # type: ignore[assignment]
    assert verify_rsa_md5(key, signed(block(RIGHT)), MESSAGE) is True
    assert verify_rsa_md5(key, signed(block(RIGHT)), MESSAGE + b"x") is False


def test_any_other_error_of_the_library_is_not_hidden() -> None:
    key: RSAPublicKey = Refusing(OURS, MemoryError())  # type: ignore[assignment]
    with pytest.raises(MemoryError):
        verify_rsa_md5(key, signed(block(RIGHT)), MESSAGE)


def test_md5_is_not_called_for_security(monkeypatch: pytest.MonkeyPatch) -> None:
    def md5(data: bytes, **options: bool) -> object:
        assert options == {"usedforsecurity": False}, "or a FIPS build of Python refuses it"
        return _md5(data)

    _md5 = hashlib.md5
    monkeypatch.setattr(hashlib, "md5", md5)
    assert verify_rsa_md5(OURS, signed(block(RIGHT)), MESSAGE) is True


NO_MD5 = """
openssl_conf = init
[init]
providers = providers
alg_section = algorithms
[providers]
default = always
[always]
activate = 1
[algorithms]
default_properties = fips=yes
"""
PROGRAM = """
import base64, json, sys
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from oss_wsgi import CallbackVerifier
from oss_wsgi.callback.public_keys import OSS_PUBLIC_KEY, OSS_PUBLIC_KEY_URLS, load_public_key
url = base64.b64encode(OSS_PUBLIC_KEY_URLS[0].encode()).decode()
answers = []
for vector in json.load(sys.stdin):
    target, body = vector["target"].encode(), vector["body"].encode()
    try:
        signature = base64.b64decode(vector["authorization"])
        load_public_key(OSS_PUBLIC_KEY).recover_data_from_signature(signature, PKCS1v15(), None)
        problem = None
    except Exception as error:
        problem = type(error).__name__
    arguments = {"target": target, "authorization": vector["authorization"], "pub_key_url": url}
    is_valid = CallbackVerifier().is_valid
    answers.append([problem, is_valid(body=body, **arguments), is_valid(body=body + b"x", **arguments)])
print(json.dumps(answers))
"""


@pytest.mark.slow
def test_the_captures_verify_where_openssl_refuses_md5(way: str, tmp_path: Path) -> None:
    """OpenSSL is configured to use only what is certified for FIPS, as on a FIPS host."""
    if way == "library":
        pytest.skip("one run is enough: it is another process")
    configuration = tmp_path / "openssl.cnf"
    configuration.write_text(NO_MD5)
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        input=json.dumps(VECTORS["captures"]),
        env={**os.environ, "OPENSSL_CONF": str(configuration)},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    answers = json.loads(done.stdout)
    if any(problem is None for problem, _, _ in answers):
        pytest.skip("the library of this build does not heed OPENSSL_CONF")
    assert [verdicts for _, *verdicts in answers] == [[True, False]] * len(VECTORS["captures"])
