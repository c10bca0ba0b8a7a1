"""PublicKeyStore: which URLs it trusts, which keys it loads, and what it logs."""

from __future__ import annotations

import base64
import datetime
import hashlib
from collections.abc import Callable

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as st

from oss_wsgi.callback.public_keys import OSS_PUBLIC_KEY, OSS_PUBLIC_KEY_URLS, PublicKeyStore, load_public_key
from oss_wsgi.exceptions import FetchError, KeyUnavailableError, UnverifiedError, VerificationError
from oss_wsgi.testing import FrozenClock

from .signing_keys import N512, OTHER, OTHER_PEM, PEM, PEM_BYTES, V2, Fetcher, number_of

UNTRUSTED = [
    "",
    "http://gosspublic.alicdn.com/other.pem",
    "http://gosspublic.alicdn.com/callback_pub_key_v1.pem.evil",
    "http://gosspublic.alicdn.com/callback_pub_key_v1.pem\n",
    "http://evil.example/?http://gosspublic.alicdn.com/callback_pub_key_v1.pem",
    "http://gosspublic.alicdn.com.evil.example/callback_pub_key_v1.pem",
    "http://evilgosspublic.alicdn.com/callback_pub_key_v1.pem",
    "http://gosspublicXalicdn.com/callback_pub_key_v1.pem",
    "http://gosspublic.alicdnXcom/callback_pub_key_v1.pem",
    "http://gosspublic.alicdn.com/callback_pub_key_v1Xpem",
    "https://user@gosspublic.alicdn.com/callback_pub_key_v1.pem",
    "https://gosspublic.alicdn.com:443/callback_pub_key_v1.pem",
    "HTTP://gosspublic.alicdn.com/callback_pub_key_v1.pem",
    "https://gosspublic.alicdn.com/callback_pub_key_v２.pem",
    "https://gosspublic.alicdn.com/callback_pub_key_v123456789012345678901.pem",
]


@pytest.fixture
def clock() -> FrozenClock:
    return FrozenClock(1000.0)


@pytest.mark.parametrize("url", OSS_PUBLIC_KEY_URLS)
def test_the_shipped_key_is_never_fetched(url: str, clock: FrozenClock) -> None:
    fetcher = Fetcher(FetchError("must not be called"))
    store = PublicKeyStore(fetcher=fetcher, clock=clock)
    key = store.get(url)
    assert key.key_size == 512
    assert f"{key.public_numbers().n:x}".startswith("ab3f2411b3c1407669586de1cac1c77a083c12cd")
    assert f"{key.public_numbers().n:x}".endswith("1dd6f4b5f14361075c025f081fba1f6605d64f")
    assert key.public_numbers().e == 65537
    assert fetcher.urls == []


@pytest.mark.parametrize("url", UNTRUSTED, ids=ascii)
def test_a_url_that_resembles_osss_is_refused_without_a_fetch(url: str, clock: FrozenClock) -> None:
    fetcher = Fetcher()
    store = PublicKeyStore({"http://127.0.0.1:8081/own.pem": PEM}, fetcher=fetcher, clock=clock)
    with pytest.raises(UnverifiedError) as raised:
        store.get(url)
    assert raised.value.reason == "pub_key_url_untrusted"
    assert fetcher.urls == []


@pytest.mark.slow
@given(place=st.integers(0, len(V2)), cut=st.integers(0, 2), text=st.text("29٢.:/@?#%evA \n", max_size=3))
@settings(max_examples=100, deadline=None)
def test_no_other_url_than_that_of_a_version_leads_to_a_fetch(place: int, cut: int, text: str) -> None:
    url = V2[:place] + text + V2[place + cut :]
    version = url.removeprefix("https://").removeprefix("http://")
    version = version.removeprefix("gosspublic.alicdn.com/callback_pub_key_v").removesuffix(".pem")
    fetcher = Fetcher()
    store = PublicKeyStore(fetcher=fetcher, clock=FrozenClock())
    try:
        store.get(url)
    except VerificationError:
        assert fetcher.urls == []
    else:
        assert version.isascii() and version.isdigit()


def test_a_trusted_key_serves_exactly_its_url() -> None:
    store = PublicKeyStore({"http://127.0.0.1:8081/own.pem": OTHER_PEM.decode()})
    assert number_of(store, "http://127.0.0.1:8081/own.pem") == OTHER.public_key().public_numbers().n
    for url in ("http://127.0.0.1:8081/own.pem?", "https://127.0.0.1:8081/own.pem", "http://127.0.0.1:8081/OWN.pem"):
        with pytest.raises(UnverifiedError):
            store.get(url)


def test_the_trusted_mapping_is_copied() -> None:
    trusted = {"http://a/own.pem": PEM}
    store = PublicKeyStore(trusted)
    trusted["http://evil.example/own.pem"] = PEM
    with pytest.raises(UnverifiedError):
        store.get("http://evil.example/own.pem")


def test_an_invalid_trusted_key_is_refused_with_its_url() -> None:
    with pytest.raises(ValueError, match=r"The trusted key for http://a/own\.pem: it is not a public key in PEM\."):
        PublicKeyStore({"http://a/own.pem": "nonsense"})


def test_a_fetcher_without_a_clock_is_refused() -> None:
    with pytest.raises(ValueError, match="needs a clock"):
        PublicKeyStore(fetcher=Fetcher())


def lines_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "oss_wsgi.callback.public_keys"]


def test_each_key_is_logged_once_with_its_size_and_fingerprint(
    clock: FrozenClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "oss_wsgi")
    fetcher = Fetcher()
    trusted = {"http://a/own.pem": OTHER_PEM.decode(), "http://a/copy.pem": OTHER_PEM.decode()}
    store = PublicKeyStore(trusted, fetcher=fetcher, clock=clock)
    assert lines_of(caplog) == [], "what is never used is not worth a line"
    for _ in range(3):
        for url in (*OSS_PUBLIC_KEY_URLS, *trusted, V2):
            store.get(url)
    clock.advance(24 * 3600)
    store.replacement(V2, store.get(V2))
    assert store.fetches["fetched"] == 2, "the same key, fetched again"
    der = OTHER.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    assert lines_of(caplog) == [
        f"callback key {OSS_PUBLIC_KEY_URLS[0]}: 512 bits, the size that OSS itself has chosen, "
        "SHA-256 a1f54d0fb9263a14276c9e890f99cdeae986265b3985e6b1aa4603631c5bc9cf",
        f"callback key http://a/own.pem: 2048 bits, SHA-256 {hashlib.sha256(der).hexdigest()}",
        f"callback key {V2}: 512 bits, SHA-256 d6d68871960ba22356bba893178cb62df04fa69cd6cb53c8d07531187a59b437",
    ]
    assert {record.levelname for record in caplog.records} == {"INFO"}


def test_a_key_that_is_refused_is_not_logged(clock: FrozenClock, caplog: pytest.LogCaptureFixture) -> None:
    store = PublicKeyStore(fetcher=Fetcher(pem_of(N512, 3)), clock=clock)
    caplog.set_level("INFO", "oss_wsgi")
    with pytest.raises(KeyUnavailableError):
        store.get(V2)
    assert lines_of(caplog) == []


def pem_of(n: int, e: int) -> bytes:
    """Return an RSA public key in PEM that the library would not make."""

    def der(tag: int, data: bytes) -> bytes:
        size = len(data).to_bytes(2, "big").lstrip(b"\0") or b"\0"
        return bytes([tag]) + (size if len(data) < 128 else bytes([0x80 | len(size)]) + size) + data

    def integer(value: int) -> bytes:
        return der(2, value.to_bytes(value.bit_length() // 8 + 1, "big"))

    numbers = der(0x30, integer(n) + integer(e))
    algorithm = der(0x30, bytes.fromhex("06092a864886f70d0101010500"))
    text = base64.encodebytes(der(0x30, algorithm + der(3, b"\0" + numbers)))
    return b"-----BEGIN PUBLIC KEY-----\n" + text + b"-----END PUBLIC KEY-----\n"


@pytest.mark.parametrize(
    ("n", "e", "message"),
    [
        (N512, 3, "its exponent is 3,"),
        (N512, 65538, None),
        (N512 >> 1 | 1, 65537, "511 bits"),
        (1 << 8192 | 1, 65537, None),
    ],
    ids=["e=3", "e-even", "511-bits", "8193-bits"],
)
def test_a_weak_or_huge_key_is_refused(n: int, e: int, message: str | None) -> None:
    with pytest.raises(ValueError, match=message or "."):
        load_public_key(pem_of(n, e))


def test_the_pem_made_here_is_valid() -> None:
    assert load_public_key(pem_of(N512, 65537)).public_numbers().n == N512
    assert load_public_key(pem_of(1 << 8191 | 1, 65537)).key_size == 8192
    assert load_public_key(OSS_PUBLIC_KEY).key_size == load_public_key(PEM_BYTES).key_size == 512


def private_pem() -> bytes:
    return OTHER.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def certificate_pem() -> bytes:
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "gosspublic.alicdn.com")])
    day = datetime.datetime(2020, 1, 1)
    certificate = x509.CertificateBuilder(name, name, OTHER.public_key(), 1, day, day).sign(OTHER, SHA256())
    return certificate.public_bytes(Encoding.PEM)


def elliptic_pem() -> bytes:
    return (
        ec.generate_private_key(ec.SECP256R1())
        .public_key()
        .public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    )


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (private_pem, "not a public key in PEM"),
        (certificate_pem, "not a public key in PEM"),
        (elliptic_pem, "not an RSA key"),
        (lambda: OSS_PUBLIC_KEY.replace("MFww", "MFwx"), "not a public key in PEM"),
        (lambda: "\ud800", "not a public key in PEM"),
    ],
    ids=["private", "certificate", "elliptic", "damaged", "surrogate"],
)
def test_anything_but_an_rsa_public_key_is_a_value_error(make: Callable[[], str | bytes], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load_public_key(make())
