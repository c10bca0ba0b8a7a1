from dataclasses import replace

import pytest

from local_oss.errors import OSSError
from local_oss.signatures.account import Account
from local_oss.signatures.request_check import check_form_signature

# protocol.md 6.2, protocol.md 6.3: published pairs, and pairs recomputed outside of this project.
V1_PUBLISHED = {
    "java-sdk": (
        "B" * 30,
        "eyJleHBpcmF0aW9uIjoiMjAyMC0wMy0xOVQwMzo0NDowNi40NzZaIiwiY29uZGl0aW9ucyI6W3siYnVja2V0IjoiZ2VuLXBvc3QtcG9saWN5In0s"
        "WyJlcSIsIiRrZXkiLCJ1c2VyXC9lcmljXC9cXCR7ZmlsZW5hbWV9Il0sWyJzdGFydHMtd2l0aCIsIiRrZXkiLCJ1c2VyXC9lcmljIl0sWyJzdGFy"
        "dHMtd2l0aCIsIiR4LW9zcy1tZXRhLXRhZyIsImR1bW15X2V0YWciXSxbImNvbnRlbnQtbGVuZ3RoLXJhbmdlIiwxLDEwMjRdXX0=",
        "9fs2TRS2W2k5hV8mLsvqZBnlC2M=",
    ),
    "made": (
        "ExampleSecret0000000000000000A",
        "eyJleHBpcmF0aW9uIjoiMjAyNC0xMi0wM1QxMzowMDowMC4wMDBaIiwiY29uZGl0aW9ucyI6W3siYnVja2V0IjoiZXhhbXBsZWJ1Y2tldCJ9LFsi"
        "Y29udGVudC1sZW5ndGgtcmFuZ2UiLDEsMTA0ODU3NjBdLFsic3RhcnRzLXdpdGgiLCIka2V5IiwidXNlci9lcmljLyJdXX0=",
        "M9lQAArqasspYf+NcExn+TN9lUo=",
    ),
}

V4_POLICY = (
    "eyJleHBpcmF0aW9uIjoiMjAyNC0xMi0wM1QxMzowMDowMC4wMDBaIiwiY29uZGl0aW9ucyI6W3siYnVja2V0IjoiZXhhbXBsZWJ1Y2tldCJ9LHsieC1v"
    "c3Mtc2lnbmF0dXJlLXZlcnNpb24iOiJPU1M0LUhNQUMtU0hBMjU2In0seyJ4LW9zcy1jcmVkZW50aWFsIjoiTFRBSTV0RXhhbXBsZUtleUlkMDAwMDAx"
    "LzIwMjQxMjAzL2NuLWhhbmd6aG91L29zcy9hbGl5dW5fdjRfcmVxdWVzdCJ9LHsieC1vc3MtZGF0ZSI6IjIwMjQxMjAzVDEyMTIxMloifSxbImNvbnRl"
    "bnQtbGVuZ3RoLXJhbmdlIiwxLDEwNDg1NzYwXSxbImVxIiwiJHN1Y2Nlc3NfYWN0aW9uX3N0YXR1cyIsIjIwMSJdLFsic3RhcnRzLXdpdGgiLCIka2V5"
    "IiwidXNlci9lcmljLyJdLFsiaW4iLCIkY29udGVudC10eXBlIixbImltYWdlL2pwZWciLCJpbWFnZS9wbmciXV0sWyJub3QtaW4iLCIkY2FjaGUtY29u"
    "dHJvbCIsWyJuby1jYWNoZSJdXV19"
)
V4_STS_POLICY = (
    "eyJleHBpcmF0aW9uIjoiMjAyNi0wMS0wMVQwMDowOTo1OVoiLCJjb25kaXRpb25zIjpbeyJidWNrZXQiOiJleGFtcGxlYnVja2V0In0seyJ4LW9zcy1z"
    "aWduYXR1cmUtdmVyc2lvbiI6Ik9TUzQtSE1BQy1TSEEyNTYifSx7Ingtb3NzLWNyZWRlbnRpYWwiOiJTVFMuTkV4YW1wbGVUZW1wS2V5SWQwMDAwMDAx"
    "LzIwMjUxMjMxL2NuLXNoYW5naGFpL29zcy9hbGl5dW5fdjRfcmVxdWVzdCJ9LHsieC1vc3MtZGF0ZSI6IjIwMjUxMjMxVDIzNTk1OVoifSx7Ingtb3Nz"
    "LXNlY3VyaXR5LXRva2VuIjoiQ0FJU2V4YW1wbGUrVG9rZW4vV2l0aD1QYWRkaW5nPT0ifSxbInN0YXJ0cy13aXRoIiwiJGtleSIsIueUqOaIty80Mi8i"
    "XSxbImNvbnRlbnQtbGVuZ3RoLXJhbmdlIiwwLDEwNDg1NzYwMDBdXX0="
)
V4_ACCOUNT = Account("LTAI5tExampleKeyId000001", "ExampleSecret0000000000000000A")
V4_FORM = {
    "x-oss-signature-version": "OSS4-HMAC-SHA256",
    "x-oss-credential": "LTAI5tExampleKeyId000001/20241203/cn-hangzhou/oss/aliyun_v4_request",
    "x-oss-date": "20241203T121212Z",
    "x-oss-signature": "a70d16c9ac04e07c42595c8b2ddc28e69ee43cdc43f02a041e654387aa1ecc9b",
    "policy": V4_POLICY,
}
V4_STS_TOKEN = "CAISexample+Token/With=Padding=="
V4_STS_ACCOUNT = Account("STS.NExampleTempKeyId0000001", "ExampleTempSecret0000000000000B", V4_STS_TOKEN)
V4_STS_FORM = {
    "x-oss-signature-version": "OSS4-HMAC-SHA256",
    "x-oss-credential": "STS.NExampleTempKeyId0000001/20251231/cn-shanghai/oss/aliyun_v4_request",
    "x-oss-date": "20251231T235959Z",
    "x-oss-security-token": V4_STS_TOKEN,
    "x-oss-signature": "b0e732c63e0f27b9760bbad76b904d9f6bf36ac2695e96e3dd1fc33ff74decd8",
    "policy": V4_STS_POLICY,
}
SIGNED_AT = 1733227932
STS_SIGNED_AT = 1767225599


def check(form, account=V4_ACCOUNT, *, region="cn-hangzhou", now=SIGNED_AT):
    check_form_signature(form, account, region, now)


def refusal(form, account=V4_ACCOUNT, **options):
    with pytest.raises(OSSError) as caught:
        check(form, account, **options)
    error = caught.value
    return error.status, error.code, error.ec


@pytest.mark.parametrize(("secret", "policy", "signature"), V1_PUBLISHED.values(), ids=V1_PUBLISHED)
def test_a_published_v1_signature_is_accepted_and_covers_the_whole_policy(secret, policy, signature):
    check({"ossaccesskeyid": "id", "policy": policy, "signature": signature}, Account("id", secret))
    form = {"ossaccesskeyid": "id", "policy": "f" + policy[1:], "signature": signature}
    assert refusal(form, Account("id", secret)) == (403, "SignatureDoesNotMatch", "0002-00000705")


def test_the_v4_vector_is_accepted():
    check(V4_FORM)


def test_the_v4_vector_with_a_token_is_accepted():
    check(V4_STS_FORM, V4_STS_ACCOUNT, region="cn-shanghai", now=STS_SIGNED_AT)


V1_FORM = dict(zip(("policy", "signature"), V1_PUBLISHED["made"][1:], strict=True), ossaccesskeyid="id")
V1_ACCOUNT = Account("id", V1_PUBLISHED["made"][0])


def test_an_empty_token_counts_as_none():
    check({**V1_FORM, "x-oss-security-token": ""}, V1_ACCOUNT)


@pytest.mark.parametrize(
    ("form", "account", "name"),
    [
        *((V1_FORM, V1_ACCOUNT, name) for name in ("OSSAccessKeyId", "Signature")),
        *((V4_FORM, V4_ACCOUNT, name) for name in ("policy", "x-oss-signature", "x-oss-credential", "x-oss-date")),
    ],
)
def test_an_empty_field_is_named(form, account, name):
    with pytest.raises(OSSError) as caught:
        check({**form, name.lower(): ""}, account)
    assert caught.value.members == {"ArgumentName": name, "ArgumentValue": ""}


def test_missing_v4_fields_are_reported_before_wrong_ones():
    with pytest.raises(OSSError, match="x-oss-date is empty"):
        check({**V4_FORM, "x-oss-date": "", "x-oss-credential": "no/credential"})


def test_an_expired_token_is_reported_before_a_wrong_signature():
    form = {**V1_FORM, "x-oss-security-token": "t", "signature": "wrong"}
    account = replace(V1_ACCOUNT, security_token="t", expires=SIGNED_AT - 1)
    assert refusal(form, account)[1] == "SecurityTokenExpired"


@pytest.mark.parametrize("now", [SIGNED_AT - 15 * 60, SIGNED_AT + 7 * 24 * 3600], ids=["15 minutes early", "7 days"])
def test_a_v4_date_in_its_window_is_accepted(now):
    check(V4_FORM, now=now)


@pytest.mark.parametrize("now", [SIGNED_AT - 15 * 60 - 1, SIGNED_AT + 7 * 24 * 3600 + 1], ids=["too early", "too late"])
def test_a_v4_date_outside_its_window_is_refused(now):
    assert refusal(V4_FORM, now=now) == (403, "RequestTimeTooSkewed", "0002-00000709")


def test_the_error_shows_what_was_signed_and_no_secret():
    with pytest.raises(OSSError) as caught:
        check({**V4_STS_FORM, "x-oss-signature": "0" * 64}, V4_STS_ACCOUNT, region="cn-shanghai", now=STS_SIGNED_AT)
    document = b"".join([caught.value.response("id", "host").body]).decode()
    assert f"<StringToSign>{V4_STS_POLICY}</StringToSign>" in document
    assert "<StringToSignBytes>65 79 4A" in document
    assert f"<SignatureProvided>{'0' * 64}</SignatureProvided>" in document
    assert V4_STS_ACCOUNT.access_key_secret not in document
    assert V4_STS_TOKEN not in document
