"""PlainKey: it has the numbers that the library reads, only from DER, and callbacks verify with it."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key
from hypothesis import given
from hypothesis import strategies as st

from oss_wsgi import CallbackVerifier
from oss_wsgi.callback import public_keys
from oss_wsgi.callback.public_keys import OSS_PUBLIC_KEY, OSS_PUBLIC_KEY_URLS
from oss_wsgi.callback.rsa import PlainKey, load_plain_key

CAPTURES = json.loads((Path(__file__).parents[1] / "vectors" / "callbacks.json").read_text("utf-8"))["captures"]
DER = base64.b64decode("".join(OSS_PUBLIC_KEY.splitlines()[1:-1]))


def pem(der: bytes) -> bytes:
    return b"-----BEGIN PUBLIC KEY-----\n" + base64.encodebytes(der) + b"-----END PUBLIC KEY-----\n"


@pytest.mark.slow
@pytest.mark.parametrize("bits", [1024, 2048, 3072])
@pytest.mark.parametrize("exponent", [3, 65537])
def test_the_numbers_are_those_of_the_library(bits: int, exponent: int) -> None:
    key = rsa.generate_private_key(exponent, bits).public_key()
    der = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    numbers = key.public_numbers()
    assert load_plain_key(pem(der)) == PlainKey(numbers.n, numbers.e, der)


def test_osss_key_is_read() -> None:
    key = load_plain_key(OSS_PUBLIC_KEY.encode())
    loaded: Any = load_pem_public_key(OSS_PUBLIC_KEY.encode())
    assert (key.n, key.e, key.key_size, key.der) == (loaded.public_numbers().n, 65537, 512, DER)


@pytest.mark.parametrize("position", range(len(DER)))
def test_a_changed_key_is_read_as_the_library_reads_it(position: int) -> None:
    for change in (1, 0x80, 0xFF):
        der = bytearray(DER)
        der[position] ^= change
        try:
            key = load_plain_key(pem(bytes(der)))
        except ValueError:
            continue
        if key.e % 2 == 0:
            continue  # load_public_key refuses it
        librarys: Any = load_pem_public_key(pem(bytes(der)))
        assert (key.n, key.e) == (librarys.public_numbers().n, librarys.public_numbers().e)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"no key",
        OSS_PUBLIC_KEY.replace("PUBLIC", "PRIVATE").encode(),
        OSS_PUBLIC_KEY.replace("PUBLIC KEY", "CERTIFICATE").encode(),
        OSS_PUBLIC_KEY.encode() * 2,
        pem(DER + b"\x00"),
        pem(DER[:-1]),
        pem(b"\x30\x00"),
        pem(
            ec.generate_private_key(ec.SECP256R1())
            .public_key()
            .public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        ),
    ],
)
def test_anything_but_an_rsa_key_is_refused(text: bytes) -> None:
    with pytest.raises(ValueError):
        load_plain_key(text)


@given(st.binary(max_size=120))
def test_any_bytes_raise_only_a_value_error(data: bytes) -> None:
    for text in (data, pem(data), pem(DER[:24] + data)):
        try:
            load_plain_key(text)
        except ValueError:
            continue


@pytest.mark.parametrize("capture", CAPTURES, ids=lambda capture: capture["name"])
def test_callbacks_verify_where_the_library_loads_no_short_key(
    capture: dict[str, str], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")

    def refusing(text: bytes) -> Any:
        raise ValueError("unsupported key size")

    monkeypatch.setattr(public_keys, "load_pem_public_key", refusing)
    verifier = CallbackVerifier()
    values = {
        "target": capture["target"].encode(),
        "body": capture["body"].encode(),
        "authorization": capture["authorization"],
        "pub_key_url": base64.b64encode(OSS_PUBLIC_KEY_URLS[0].encode()).decode(),
    }
    verifier.verify(**values)
    assert not verifier.is_valid(**{**values, "body": values["body"] + b"x"})
    assert "512 bits, the size that OSS itself has chosen" in caplog.text
