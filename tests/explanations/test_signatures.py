"""Known mistakes of programs that sign, each found in the signature that it makes; and where two signatures differ.

tests/cli/test_signature_difference.py compares strings to sign, as OSS's answers show them.
"""

from __future__ import annotations

import base64
import hashlib
import hmac

import pytest

from oss_wsgi.explanations.signatures import Scope, find_mistake, first_difference

KEY = "LTAIid", "the-secret"
SECRET = KEY[1]
POLICY = base64.b64encode(b'{"conditions": []}').decode()
SCOPE = Scope("20241203", "cn-hangzhou")
V1 = "PUT\nmd5\ntext/plain\nTue, 03 Dec 2024 12:12:12 GMT\nx-oss-date:now\nx-oss-object-acl:private\n/b/a?acl"
V1_WITHOUT_TYPE = "PUT\n\n\nTue, 03 Dec 2024 12:12:12 GMT\n/b/a"
HEADERS = "content-type:text/plain\nhost:example\nx-oss-date:20241203T121212Z\nx-oss-meta-a:b\n"
CANONICAL = f"PUT\n/b/%E5%9B%BE\nacl\n{HEADERS}\nhost\nUNSIGNED-PAYLOAD"


def b64(digest: bytes) -> str:
    return base64.b64encode(digest).decode()


def v1(text: str, secret: str = SECRET) -> str:
    return b64(hmac.digest(secret.encode(), text.encode(), "sha1"))


def v4(text: str, secret: str = SECRET, *, scope: Scope = SCOPE, parts: str = "aliyun_v4 oss aliyun_v4_request") -> str:
    prefix, service, end = parts.split(" ")
    key = f"{prefix}{secret}".encode()
    for part in (*scope, service, end):
        key = hmac.digest(key, part.encode(), "sha256")
    return hmac.digest(key, text.encode(), "sha256").hex()


def hashed(canonical: str) -> str:
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    return f"OSS4-HMAC-SHA256\n20241203T121212Z\n20241203/cn-hangzhou/oss/aliyun_v4_request\n{digest}"


def mistake_in(provided: str, text: str, *, canonical: str = "", scope: Scope | None = None) -> str:
    computed, mistake = find_mistake(
        provided, text, canonical, scope, key=KEY, former=["an-old-secret", SECRET], region="cn-hangzhou"
    )
    is_v4 = scope is not None or canonical
    assert computed == (v4(text) if is_v4 else v1(text))
    return mistake


V1_DIGEST = hmac.digest(SECRET.encode(), POLICY.encode(), "sha1")
PLAIN = base64.b64decode(POLICY).decode()


@pytest.mark.parametrize(
    ("provided", "sentence"),
    [
        (v1(POLICY, "an-old-secret"), "another secret of this bucket"),
        (v1(POLICY, SECRET + "\n"), "a line break at its end"),
        (v1(POLICY, SECRET + "\r\n"), "a line break at its end"),
        (v1(POLICY, SECRET + " "), "a space at its end"),
        (v1(POLICY, KEY[0]), "The AccessKey ID was used in the place of the secret."),
        (v1(PLAIN), "signed before Base64"),
        (V1_DIGEST.hex(), "It is hexadecimal"),
        (V1_DIGEST.hex().upper(), "It is hexadecimal"),
        (b64(V1_DIGEST.hex().encode()), "The hexadecimal text was encoded in Base64"),
        (b64(hmac.digest(SECRET.encode(), POLICY.encode(), "sha256")), "SHA-256 was used"),
        (b64(hashlib.sha1((POLICY + SECRET).encode()).digest()), "A plain SHA-1 was used"),
        (f" {v1(PLAIN)} ", "signed before Base64"),
        ("0" * 28, ""),
    ],
)
def test_a_mistake_in_a_v1_form_is_named(provided: str, sentence: str) -> None:
    found = mistake_in(provided, POLICY)
    assert sentence in found and bool(found) == bool(sentence)


@pytest.mark.parametrize(
    ("provided", "sentence"),
    [
        (v4(POLICY, "an-old-secret"), "another secret of this bucket"),
        (v4(POLICY, scope=Scope("20241202", "cn-hangzhou")), "for the day 20241202, not 20241203 (UTC)"),
        (v4(POLICY, scope=Scope("20241126", "cn-hangzhou")), "for the day 20241126"),
        (v4(POLICY, scope=Scope("20241203", "us-west-1")), "for the region us-west-1, not cn-hangzhou"),
        (v4(POLICY, scope=Scope("20241203", "oss-cn-hangzhou")), "for the region oss-cn-hangzhou"),
        (b64(bytes.fromhex(v4(POLICY))), "It is Base64"),
        (v4(POLICY).upper(), "It has capital letters"),
        (v4(PLAIN), "signed before Base64"),
        (v4(POLICY, parts=" oss aliyun_v4_request"), "without aliyun_v4"),
        (v4(POLICY, parts="AWS4 s3 aws4_request"), "It is a signature for S3"),
        (v4(POLICY, parts="aliyun_v4 s3 aliyun_v4_request"), "for the service s3, not oss"),
        (hmac.digest(SECRET.encode(), POLICY.encode(), "sha256").hex(), "with the secret itself"),
        (v1(POLICY), "It is a V1 signature"),
        ("0" * 64, ""),
    ],
)
def test_a_mistake_in_a_v4_form_is_named(provided: str, sentence: str) -> None:
    found = mistake_in(provided, POLICY, scope=SCOPE)
    assert sentence in found and bool(found) == bool(sentence)


@pytest.mark.parametrize(
    ("text", "signed", "sentence"),
    [
        (V1, V1.replace("md5", ""), "The header content-md5 was sent, but not signed."),
        (V1, V1.replace("text/plain", ""), "The header content-type was sent, but not signed."),
        (V1, V1.replace("x-oss-object-acl:private\n", ""), "The header x-oss-object-acl was sent, but not signed."),
        (V1, V1.replace("x-oss-date:now\n", ""), ""),
        (
            V1_WITHOUT_TYPE,
            V1_WITHOUT_TYPE.replace("PUT\n\n\n", "PUT\n\napplication/octet-stream\n"),
            "content-type: application/octet-stream was signed, but not sent.",
        ),
        ("PUT\n/b/a", "PUT\n/b/", ""),
    ],
)
def test_a_mistake_in_a_v1_request_is_named(text: str, signed: str, sentence: str) -> None:
    assert mistake_in(v1(signed), text) == sentence


@pytest.mark.parametrize(
    ("canonical", "sentence"),
    [
        (CANONICAL.replace("x-oss-meta-a:b\n", ""), "The header x-oss-meta-a was sent, but not signed."),
        (CANONICAL.replace("content-type:text/plain\n", ""), "The header content-type was sent, but not signed."),
        (CANONICAL.replace("host:example\n", ""), "The header host was sent, but not signed."),
        (
            CANONICAL.replace("host:example\n", "").replace("\nhost\n", "\n\n"),
            "The header host was sent, but not signed.",
        ),
        (CANONICAL.replace("%E5%9B%BE", "图"), "The path was signed without percent-encoding."),
        (CANONICAL.replace("acl", "cors"), ""),
    ],
)
def test_a_mistake_in_a_v4_request_is_named(canonical: str, sentence: str) -> None:
    assert mistake_in(v4(hashed(canonical)), hashed(CANONICAL), canonical=CANONICAL) == sentence


def test_additional_headers_that_were_named_and_not_signed_are_told() -> None:
    canonical = CANONICAL.replace("\nhost\n", "\nhost;range\n").replace("host:example\n", "host:example\nrange:1\n")
    signed = CANONICAL.replace("host:example\n", "").replace("\nhost\n", "\n\n")
    found = mistake_in(v4(hashed(signed)), hashed(canonical), canonical=canonical)
    assert found == "The additional headers were named, but not signed."


def test_a_canonical_request_that_was_signed_itself_is_told() -> None:
    assert "The canonical request itself was signed" in mistake_in(
        v4(CANONICAL), hashed(CANONICAL), canonical=CANONICAL
    )


def test_a_day_that_is_none_has_no_other_days() -> None:
    assert find_mistake("x", POLICY, "", Scope("someday", "r"), key=KEY, former=(), region="r")[1] == ""


@pytest.mark.parametrize(
    ("one", "other", "index"), [("abc", "abd", 2), ("abc", "abcd", 3), ("", "a", 0), ("x", "a", 0)]
)
def test_the_first_difference_of_two_signatures_is_found(one: str, other: str, index: int) -> None:
    assert first_difference(one, other) == index
