from dataclasses import replace

import pytest

from oss_wsgi.local.environ import Address
from oss_wsgi.local.errors import OSSError
from oss_wsgi.local.signatures.signed_request import SignedRequest
from oss_wsgi.local.signatures.v1 import check_query_v1

from ..form_client import NOW
from ..sdk_signer import ACCOUNT, ADDRESS, STYLES, sign

ODD = "param1=value1&%2Bparam1=value3&%7Cparam1=value4&%2Bparam2=&%7Cparam2=&param2="


def check(environ, *, address=ADDRESS, account=ACCOUNT, now=NOW):
    check_query_v1(SignedRequest.read(environ, address), account, now)


def refusal(environ, **options):
    with pytest.raises(OSSError) as raised:
        check(environ, **options)
    return raised.value


# The SDK's own tests publish these (P§0, PY2).
@pytest.mark.parametrize(
    ("key", "query", "headers", "token", "expires", "signature"),
    [
        ("key", "versionId=versionId", {}, None, 1699807420, "dcLTea%2BYh9ApirQ8o8dOPqtvJXQ%3D"),
        ("key+123", "versionId=versionId", {}, "token", 1699808204, "jzKYRrM5y6Br0dRFPaTGOsbrDhY%3D"),
        (
            "key",
            # The test adds a second question mark, which becomes part of the version's id.
            f"versionId=versionId?{ODD}&response-content-disposition=attachment%3B%20filename%3Dexample.txt",
            {"HTTP_X_OSS_HEAD1": "value", "HTTP_ABC": "value", "CONTENT_TYPE": "application/octet-stream"},
            "token",
            1699808204,
            "3GJoEOv5LX2ASp0HJk%2FhAk%2BqLJc%3D",
        ),
    ],
    ids=["lasting key", "token", "headers and parameters"],
)
def test_the_published_signatures_are_good(key, query, headers, token, expires, signature):
    text = f"{query}&OSSAccessKeyId=ak&Expires={expires}&Signature={signature}"
    environ = {"REQUEST_METHOD": "GET", "QUERY_STRING": f"{text}&security-token={token}" if token else text, **headers}
    account = replace(ACCOUNT, security_token=token)
    check(environ, address=Address("bucket", key), account=account, now=expires)
    assert refusal(environ, address=Address("bucket", "k"), account=account, now=expires).ec == "0002-00000040"


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE"])
@pytest.mark.parametrize("style", STYLES)
def test_the_sdks_signature_is_good_in_every_addressing_style(style, method):
    check(sign("v1", method, style=style, expires=60))


def test_it_ends_with_its_time():
    environ = sign("v1", expires=60)
    check(environ, now=NOW + 60)
    error = refusal(environ, now=NOW + 61)
    assert (error.status, error.code, error.ec) == (403, "AccessDenied", "0002-00000069")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("response-content-type=a", "response-content-type=b"),
        ("response-content-type=a&", ""),
        ("Expires=173322", "Expires=273322"),
        ("Signature=", "Signature=A"),
        ("OSSAccessKeyId", "acl&OSSAccessKeyId"),
    ],
)
def test_an_altered_url_is_refused(old, new):
    environ = sign("v1", query="response-content-type=a&x=1", expires=60)
    check(environ)
    assert old in environ["QUERY_STRING"]
    changed = {**environ, "QUERY_STRING": environ["QUERY_STRING"].replace(old, new)}
    error = refusal(changed)
    assert (error.status, error.code, error.ec) == (403, "SignatureDoesNotMatch", "0002-00000040")
    assert error.members["StringToSign"].startswith("GET\n\n\n")


def test_a_header_or_method_that_was_not_signed_is_refused():
    for change in ({"CONTENT_TYPE": "text/html"}, {"HTTP_X_OSS_ACL": "private"}, {"REQUEST_METHOD": "DELETE"}):
        assert refusal({**sign("v1", expires=60), **change}).code == "SignatureDoesNotMatch"


@pytest.mark.parametrize("name", ["OSSAccessKeyId", "Expires", "Signature"])
def test_each_parameter_is_needed(name):
    environ = sign("v1", expires=60)
    for new in (f"{name}=&", ""):
        pairs = [pair for pair in environ["QUERY_STRING"].split("&") if not pair.startswith(f"{name}=")]
        error = refusal({**environ, "QUERY_STRING": new + "&".join(pairs)})
        assert (error.status, error.code, error.members["ArgumentName"]) == (400, "InvalidArgument", name)


@pytest.mark.parametrize("expires", ["abc", "-1", "1e9", "1733227932.5", "9" * 13, "%D9%A1"])
def test_a_time_that_is_no_number_is_refused(expires):
    error = refusal({"REQUEST_METHOD": "GET", "QUERY_STRING": f"OSSAccessKeyId=ak&Signature=s&Expires={expires}"})
    assert (error.status, error.code, error.ec) == (403, "AccessDenied", "0002-00000070")


def test_a_temporary_key_needs_its_token():
    account = replace(ACCOUNT, security_token="to/ken+=", expires=NOW + 10)
    signed = sign("v1", account=account, expires=60)
    check(signed, account=account)
    assert refusal(sign("v1", expires=60), account=account).code == "InvalidAccessKeyId"
    assert refusal(signed, account=replace(account, security_token="t")).code == "InvalidSecurityToken"
    assert refusal(signed, account=account, now=NOW + 11).code == "SecurityTokenExpired"
    assert refusal(signed).code == "AccessKeyIdAndSecurityTokenNotMatch"
