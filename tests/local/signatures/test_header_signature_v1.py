from dataclasses import replace
from email.utils import formatdate

import pytest

from oss_wsgi.local.errors import OSSError
from oss_wsgi.local.signatures.signed_request import SignedRequest
from oss_wsgi.local.signatures.v1 import check_header_v1

from ..form_client import NOW
from ..sdk_signer import ACCOUNT, ADDRESS, STYLES, sign

HEADERS = {"content-type": "text/plain; charset=utf-8", "content-md5": "eB5eJF1ptWaXm4bijSPyxw==", "x-oss-meta-a": "中"}


def check(environ, *, address=ADDRESS, account=ACCOUNT, now=NOW):
    check_header_v1(SignedRequest.read(environ, address), account, now)


def refusal(environ, **options):
    with pytest.raises(OSSError) as raised:
        check(environ, **options)
    return raised.value


@pytest.mark.parametrize("query", ["", "acl&x=1", "uploadId=%2F&partNumber=1"])
@pytest.mark.parametrize("style", STYLES)
def test_the_sdks_signature_is_good_in_every_addressing_style(style, query):
    check(sign("v1", "PUT", style=style, query=query, headers=HEADERS))


def test_x_oss_date_stands_for_a_date():
    environ = sign("v1", headers={"x-oss-date": formatdate(NOW, usegmt=True)})
    check({**environ, "HTTP_DATE": "nothing that counts"})
    environ = sign("v1", headers={"x-oss-date": formatdate(NOW - 901, usegmt=True)})
    assert refusal(environ).code == "RequestTimeTooSkewed"


@pytest.mark.parametrize(
    "changes",
    [
        {"REQUEST_METHOD": "PUT"},
        {"QUERY_STRING": "acl"},
        {"CONTENT_TYPE": "text/html"},
        {"HTTP_CONTENT_MD5": ""},
        {"HTTP_X_OSS_META_A": "b"},
        {"HTTP_X_OSS_META_ADDED": "later"},
        {"HTTP_DATE": formatdate(NOW + 1, usegmt=True)},
        {"HTTP_AUTHORIZATION": "OSS ak:AAAAAAAAAAAAAAAAAAAAAAAAAAA="},
    ],
    ids=str,
)
def test_an_altered_request_is_refused_with_what_should_have_been_signed(changes):
    environ = sign("v1", query="uploads", headers=HEADERS)
    check(environ)
    error = refusal({**environ, **changes})
    assert (error.status, error.code, error.ec) == (403, "SignatureDoesNotMatch", "0002-00000040")
    assert error.members["StringToSign"].endswith(f"\n/bucket/{ADDRESS.key}?{changes.get('QUERY_STRING', 'uploads')}")
    assert bytes.fromhex(error.members["StringToSignBytes"]).decode() == error.members["StringToSign"]
    assert error.members["OSSAccessKeyId"] == "ak"
    assert environ["HTTP_AUTHORIZATION"].endswith(error.members["SignatureProvided"]) or "HTTP_AUTHORIZATION" in changes


def test_another_key_of_the_bucket_or_another_secret_is_refused():
    assert refusal(sign("v1"), address=replace(ADDRESS, key="b")).code == "SignatureDoesNotMatch"
    assert refusal(sign("v1"), account=replace(ACCOUNT, access_key_secret="s")).code == "SignatureDoesNotMatch"
    assert refusal(sign("v1"), account=replace(ACCOUNT, access_key_id="a")).code == "InvalidAccessKeyId"


@pytest.mark.parametrize("authorization", ["OSS", "OSS ak", "OSS ak:", "OSS :signature", "OSS a k:s", "OSS ak:s s"])
def test_a_header_that_is_not_well_formed_is_refused(authorization):
    error = refusal({**sign("v1"), "HTTP_AUTHORIZATION": authorization})
    assert (error.status, error.code, error.members["ArgumentName"]) == (400, "InvalidArgument", "Authorization")


@pytest.mark.parametrize("date", ["", "today", "20241203T121212Z", "Tue, 03 Dec 99999 12:12:12 GMT"])
def test_a_date_is_needed(date):
    error = refusal({**sign("v1"), "HTTP_DATE": date})
    assert (error.status, error.code) == (403, "AccessDenied")
    assert error.message == "OSS authentication requires a valid Date."


def test_clocks_may_differ_by_a_quarter_of_an_hour():
    for date in (NOW - 900, NOW + 900):
        check(sign("v1", now=date))
    for date in (NOW - 901, NOW + 901):
        error = refusal(sign("v1", now=date))
        assert (error.status, error.code, error.ec) == (403, "RequestTimeTooSkewed", "0002-00000504")
    assert error.members == {
        "MaxAllowedSkewMilliseconds": "900000",
        "RequestTime": "2024-12-03T12:27:13.000Z",
        "ServerTime": "2024-12-03T12:12:12.000Z",
    }


def test_a_temporary_key_needs_its_token_in_either_header():
    account = replace(ACCOUNT, security_token="token", expires=NOW)
    check(sign("v1", account=account), account=account)
    signed = sign("v1", headers={"x-oss-security-token": "token"})
    check(signed, account=account)
    assert refusal(sign("v1"), account=account).code == "InvalidAccessKeyId"
    assert refusal(signed, account=replace(account, security_token="t")).code == "InvalidSecurityToken"
    assert refusal(signed, account=account, now=NOW + 1).code == "SecurityTokenExpired"
    assert refusal(signed).code == "AccessKeyIdAndSecurityTokenNotMatch"
