from dataclasses import replace
from urllib.parse import quote

import pytest

from oss_wsgi.local.environ import Address
from oss_wsgi.local.errors import OSSError
from oss_wsgi.local.signatures.signed_request import SignedRequest
from oss_wsgi.local.signatures.v4 import check_query_v4

from ..form_client import NOW, utc
from ..sdk_signer import ACCOUNT, ADDRESS, REGION, STYLES, sign
from .test_v4 import PUBLISHED


def check(environ, *, address=ADDRESS, account=ACCOUNT, region=REGION, now=NOW):
    check_query_v4(SignedRequest.read(environ, address), account, region, now)


def refusal(environ, **options):
    with pytest.raises(OSSError) as raised:
        check(environ, **options)
    return raised.value


# The SDK's own tests publish these.
@pytest.mark.parametrize(
    ("moment", "additional", "token", "signature"),
    [
        (1702781677, "", None, "a39966c61718be0d5b14e668088b3fa07601033f6518ac7b523100014269c0fe"),
        (1702785388, "", "token", "3817ac9d206cd6dfc90f1c09c00be45005602e55898f26f5ddb06d7892e1f8b5"),
        (1702783809, "abc;zabc", None, "6bd984bfe531afb6db1f7550983a741b103a8c58e5e14f83ea474c2322dfa2b7"),
    ],
    ids=["lasting key", "token", "additional headers"],
)
def test_the_published_signatures_are_good(moment, additional, token, signature):
    parameters = {
        "x-oss-signature-version": "OSS4-HMAC-SHA256",
        "x-oss-date": utc(moment, "%Y%m%dT%H%M%SZ"),
        "x-oss-expires": "599",
        "x-oss-credential": f"ak/{utc(moment, '%Y%m%d')}/cn-hangzhou/oss/aliyun_v4_request",
        **({"x-oss-additional-headers": additional} if additional else {}),
        **({"x-oss-security-token": token} if token else {}),
        "x-oss-signature": signature,
    }
    environ = {**PUBLISHED, "CONTENT_TYPE": "application/octet-stream"}
    del environ["HTTP_X_OSS_CONTENT_SHA256"]
    environ["QUERY_STRING"] += "".join(f"&{name}={quote(value, safe='')}" for name, value in parameters.items())
    check(
        environ,
        address=Address("bucket", "1234+-/123/1.txt"),
        account=replace(ACCOUNT, security_token=token),
        now=moment + 599,
    )


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE"])
@pytest.mark.parametrize("style", STYLES)
def test_the_sdks_signature_is_good_in_every_addressing_style(style, method):
    check(sign("v4", method, style=style, query="x=%2F&acl", expires=60, additional=["host"]))


def test_it_ends_with_its_time():
    environ = sign("v4", expires=60)
    check(environ, now=NOW + 60)
    error = refusal(environ, now=NOW + 61)
    assert (error.status, error.code, error.ec) == (403, "AccessDenied", "0002-00000069")
    assert error.members["Expires"] == "2024-12-03T12:13:12.000Z"


def test_it_does_not_begin_in_the_future_but_for_clocks_that_differ():
    environ = sign("v4", now=NOW + 900, expires=60)
    check(environ)
    error = refusal(environ, now=NOW - 1)
    assert (error.status, error.code, error.message) == (403, "AccessDenied", "Request is not valid yet.")


@pytest.mark.parametrize("expires", [1, 604800])
def test_it_lasts_from_a_second_to_a_week(expires):
    check(sign("v4", expires=expires), now=NOW + expires)


@pytest.mark.parametrize("expires", ["0", "-1", "604801", "1.5", "abc", "9" * 10])
def test_another_time_is_refused(expires):
    environ = sign("v4", expires=60)
    environ["QUERY_STRING"] = environ["QUERY_STRING"].replace("x-oss-expires=60", f"x-oss-expires={expires}")
    error = refusal(environ)
    assert (error.status, error.code) == (400, "InvalidArgument")
    assert error.members == {"ArgumentName": "x-oss-expires", "ArgumentValue": expires}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("x=1", "x=2"),
        ("x=1&", ""),
        ("x-oss-expires=60", "x-oss-expires=61"),
        ("T121212Z", "T121213Z"),
        ("x-oss-signature=", "x-oss-signature=0"),
        ("x=1", "x=1&y"),
        ("host", "range"),
    ],
)
def test_an_altered_url_is_refused_with_what_should_have_been_signed(old, new):
    environ = sign("v4", query="x=1", expires=60, additional=["host"])
    check(environ)
    assert old in environ["QUERY_STRING"]
    error = refusal({**environ, "QUERY_STRING": environ["QUERY_STRING"].replace(old, new)})
    assert (error.status, error.code, error.ec) == (403, "SignatureDoesNotMatch", "0002-00000201")
    assert error.members["StringToSign"].startswith("OSS4-HMAC-SHA256\n20241203T12121")
    canonical = error.members["CanonicalRequest"]
    assert canonical.startswith("GET\n/bucket/a/%E4%B8%AD%20%2B~%27.bin\n")
    assert bytes.fromhex(error.members["CanonicalRequestBytes"]).decode() == canonical


@pytest.mark.parametrize(
    "change",
    [
        {"HTTP_HOST": "other.example"},
        {"CONTENT_TYPE": "text/html"},
        {"HTTP_X_OSS_ACL": "private"},
        {"REQUEST_METHOD": "DELETE"},
    ],
    ids=str,
)
def test_an_altered_request_is_refused(change):
    environ = sign("v4", expires=60, additional=["host"])
    assert refusal({**environ, **change}).code == "SignatureDoesNotMatch"


def test_another_object_secret_key_region_or_day_is_refused():
    environ = sign("v4", expires=60)
    assert refusal(environ, address=replace(ADDRESS, key="b")).code == "SignatureDoesNotMatch"
    assert refusal(environ, account=replace(ACCOUNT, access_key_secret="s")).code == "SignatureDoesNotMatch"
    assert refusal(environ, account=replace(ACCOUNT, access_key_id="a")).code == "InvalidAccessKeyId"
    assert refusal(environ, region="cn-shanghai").members["ArgumentName"] == "x-oss-credential"
    environ["QUERY_STRING"] = environ["QUERY_STRING"].replace("%2F20241203%2F", "%2F20241202%2F")
    assert refusal(environ).code == "AccessDenied"


@pytest.mark.parametrize(
    "name", ["x-oss-signature-version", "x-oss-signature", "x-oss-credential", "x-oss-date", "x-oss-expires"]
)
def test_each_parameter_is_needed(name):
    environ = sign("v4", expires=60)
    pairs = [pair for pair in environ["QUERY_STRING"].split("&") if not pair.startswith(f"{name}=")]
    error = refusal({**environ, "QUERY_STRING": "&".join(pairs)})
    assert (error.status, error.code, error.members["ArgumentName"]) == (400, "InvalidArgument", name)


@pytest.mark.parametrize("version", ["OSS2", "OSS4-HMAC-SHA512", "oss4-hmac-sha256"])
def test_another_algorithm_is_refused(version):
    environ = sign("v4", expires=60)
    environ["QUERY_STRING"] = environ["QUERY_STRING"].replace("OSS4-HMAC-SHA256", version)
    error = refusal(environ)
    assert (error.code, error.members["ArgumentValue"]) == ("InvalidArgument", version)


def test_a_temporary_key_needs_its_token():
    account = replace(ACCOUNT, security_token="to/ken+=", expires=NOW + 10)
    signed = sign("v4", account=account, expires=60)
    check(signed, account=account)
    assert refusal(sign("v4", expires=60), account=account).code == "InvalidAccessKeyId"
    assert refusal(signed, account=replace(account, security_token="t")).code == "InvalidSecurityToken"
    assert refusal(signed, account=account, now=NOW + 11).code == "SecurityTokenExpired"
    assert refusal(signed).code == "AccessKeyIdAndSecurityTokenNotMatch"
