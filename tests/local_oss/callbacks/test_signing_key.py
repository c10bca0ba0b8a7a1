import base64

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from local_oss.callbacks.parameters import parse_callback_url
from local_oss.callbacks.signing_key import CallbackKey

# The throwaway key of protocol.md 8.6.
N = int(
    "ae8e8d4e464b3cfafc8a0efdaaab558c8a0f6666b43d91b9df4a37237fde1443"
    "55e61f871c21546c8e548ddf99a71ecbfa6f39cb382d718e74ace1b78ad3da33",
    16,
)
D = int(
    "a304160b07b2b41c61443d83c0a3899d5a41cf8c12bf7d1c6cdf4e6724bf2d83"
    "ba199afd88e7975df11f170bbf777a00855fd9f4cc5b7a13c25c0d4e0e5a0761",
    16,
)
PEM = (
    "-----BEGIN PUBLIC KEY-----\n"
    "MFwwDQYJKoZIhvcNAQEBBQADSwAwSAJBAK6OjU5GSzz6/IoO/aqrVYyKD2ZmtD2R\n"
    "ud9KNyN/3hRDVeYfhxwhVGyOVI3fmacey/pvOcs4LXGOdKzht4rT2jMCAwEAAQ==\n"
    "-----END PUBLIC KEY-----\n"
)


@pytest.fixture
def published_key():
    p, q = rsa.rsa_recover_prime_factors(N, D, 65537)
    crt = rsa.rsa_crt_dmp1(D, p), rsa.rsa_crt_dmq1(D, q), rsa.rsa_crt_iqmp(p, q)
    return CallbackKey(rsa.RSAPrivateNumbers(p, q, D, *crt, rsa.RSAPublicNumbers(65537, N)).private_key())


@pytest.mark.parametrize(
    ("target", "body", "authorization"),
    [
        pytest.param(
            "/oss/callback",
            "bucket=examplebucket&object=user%2Feric%2Fa.txt&size=6",
            "rI6WXB+BX4xAhyeTXg6GxWiSaEyakzq1TJmO5lI4UwkufUcY0kqxpN+nEpO8ABkyhhN+1EbbfQAOqUgpb+7w6w==",
            id="CB-1",
        ),
        pytest.param(
            "/oss/call%20back/%E4%B8%AD+x?tenant=7&next=%2Fhome+page",
            '{"bucket":"examplebucket","object":"user/eric/中.txt","size":6,"imageInfo":{"height":null}}',
            "S7CHf1gkmaSoDk9RZtPeYV+JZtkXrWxfyD/jxzS030WAG9KbgjK5rrISSckPZQMoLmtxpi3VzGZbA5Y8tUKDGw==",
            id="CB-2",
        ),
    ],
)
def test_the_published_signatures_are_computed(published_key, target, body, authorization):
    url = parse_callback_url(f"http://app.example.com{target}")
    assert published_key.sign(url.string_to_sign(body.encode())) == authorization
    assert published_key.public_pem == PEM


@pytest.mark.parametrize("bits", [512, 1024, 2048])
def test_a_key_has_the_given_size_and_verifies(bits):
    key = CallbackKey.generate(bits)
    public = serialization.load_pem_public_key(key.public_pem.encode())
    assert public.key_size == bits
    public.verify(base64.b64decode(key.sign(b"text")), b"text", padding.PKCS1v15(), hashes.MD5())


def test_keys_are_different():
    assert CallbackKey.generate(512).public_pem != CallbackKey.generate(512).public_pem


@pytest.mark.parametrize("bits", [0, 256, 513])
def test_a_key_too_short_to_sign_is_refused(bits):
    with pytest.raises(ValueError, match="at least 512 bits"):
        CallbackKey.generate(bits)
