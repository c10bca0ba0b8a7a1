from dataclasses import replace

import pytest

from local_oss.environ import SERVICE, Address
from local_oss.errors import OSSError
from local_oss.signatures.request_check import check_request_signature, signed_address

from ..form_client import NOW
from ..sdk_signer import ACCOUNT, ADDRESS, REGION, sign

ALL = {"v1 header": ("v1", None), "v4 header": ("v4", None), "v1 URL": ("v1", 60), "v4 URL": ("v4", 60)}


def check(environ):
    return check_request_signature(environ, ADDRESS, ACCOUNT, REGION, NOW)


def refusal(environ):
    with pytest.raises(OSSError) as raised:
        check(environ)
    return raised.value


@pytest.mark.parametrize(
    "change", [{"REQUEST_METHOD": "PUT"}, {"CONTENT_TYPE": "text/html"}, {"HTTP_X_OSS_ACL": "private"}], ids=str
)
@pytest.mark.parametrize(("version", "expires"), ALL.values(), ids=ALL)
def test_each_scheme_signs_method_type_and_headers_of_oss(version, expires, change):
    assert refusal({**sign(version, expires=expires), **change}).code == "SignatureDoesNotMatch"


@pytest.mark.parametrize(("version", "expires"), ALL.values(), ids=ALL)
def test_each_scheme_signs_for_one_object_key_and_token(version, expires):
    account = replace(ACCOUNT, security_token="to/ken+=", expires=NOW + 10)
    environ = sign(version, account=account, expires=expires)
    assert check_request_signature(environ, ADDRESS, account, REGION, NOW + 10) == account
    for address, other, now, code in (
        (replace(ADDRESS, key="b"), account, NOW, "SignatureDoesNotMatch"),
        (ADDRESS, replace(account, access_key_secret="s"), NOW, "SignatureDoesNotMatch"),
        (ADDRESS, replace(account, access_key_id="a"), NOW, "InvalidAccessKeyId"),
        (ADDRESS, replace(account, security_token="t"), NOW, "InvalidSecurityToken"),
        (ADDRESS, ACCOUNT, NOW, "InvalidAccessKeyId"),
        (ADDRESS, account, NOW + 11, "SecurityTokenExpired"),
    ):
        with pytest.raises(OSSError) as raised:
            check_request_signature(environ, address, other, REGION, now)
        assert raised.value.code == code
    without_token = sign(version, expires=expires)
    with pytest.raises(OSSError, match="InvalidAccessKeyId"):
        check_request_signature(without_token, ADDRESS, account, REGION, NOW)


@pytest.mark.parametrize("query", ["Expires=1", "security-token=a", "x-oss-process=a", "signature=a"])
def test_a_request_without_a_signature_is_anonymous(query):
    for authorization in ({}, {"HTTP_AUTHORIZATION": ""}, {"HTTP_AUTHORIZATION": " "}):
        assert check({"REQUEST_METHOD": "GET", "QUERY_STRING": query, **authorization}) is None


@pytest.mark.parametrize("query", ["OSSAccessKeyId=ak", "Signature=s", "x-oss-signature=0", "x-oss-credential=ak"])
def test_an_incomplete_signature_is_refused(query):
    assert refusal({"REQUEST_METHOD": "GET", "QUERY_STRING": query}).code == "InvalidArgument"


@pytest.mark.parametrize("header", ["v1", "v4"])
@pytest.mark.parametrize("url", ["v1", "v4"])
def test_a_signature_in_header_and_url_is_refused(url, header):
    signed = sign(url, expires=60)
    other = sign(header, query=signed["QUERY_STRING"])
    error = refusal({**signed, **other})
    assert (error.status, error.message) == (400, "The request carries more than one signature.")


def test_two_versions_in_one_url_are_refused():
    environ = sign("v1", expires=60)
    environ["QUERY_STRING"] += "&x-oss-signature-version=OSS4-HMAC-SHA256"
    assert refusal(environ).message == "The request carries more than one signature."


@pytest.mark.parametrize("algorithm", ["OSS2", "oss", "OSSak:s"])
def test_another_algorithm_is_refused(algorithm):
    error = refusal({"REQUEST_METHOD": "GET", "HTTP_AUTHORIZATION": f"{algorithm} AccessKeyId:ak,Signature:s"})
    assert (error.status, error.code, error.members["ArgumentValue"]) == (400, "InvalidArgument", algorithm)


def test_header_and_url_of_a_form_are_ignored():
    form = {
        "REQUEST_METHOD": "POST",
        "QUERY_STRING": "Signature=s",
        "HTTP_AUTHORIZATION": "Basic eA==",
        "CONTENT_TYPE": "multipart/form-data; boundary=b",
    }
    assert check_request_signature(form, Address("bucket", ""), ACCOUNT, REGION, NOW) is None
    for change in ({"CONTENT_TYPE": "application/xml"}, {"REQUEST_METHOD": "PUT"}):
        with pytest.raises(OSSError):
            check_request_signature({**form, **change}, Address("bucket", ""), ACCOUNT, REGION, NOW)
    assert refusal(form).code == "InvalidArgument"


@pytest.mark.parametrize("query", ["", "uploads"])
def test_a_post_to_a_bucket_without_a_query_is_a_form(query):
    form = {"REQUEST_METHOD": "POST", "QUERY_STRING": query, "HTTP_AUTHORIZATION": "Basic eA==", "CONTENT_TYPE": "a/b"}
    if query:
        with pytest.raises(OSSError, match="begins with neither"):
            check_request_signature(form, Address("bucket", ""), ACCOUNT, REGION, NOW)
    else:
        assert check_request_signature(form, Address("bucket", ""), ACCOUNT, REGION, NOW) is None


CANDIDATES = [
    Address("bucket", f"bucket/{ADDRESS.key}"),
    ADDRESS,
    Address("default", f"bucket/{ADDRESS.key}"),
    SERVICE,
]


@pytest.mark.parametrize(("version", "expires"), ALL.values(), ids=ALL)
def test_the_signature_chooses_among_the_candidates(version, expires):
    for address in CANDIDATES:
        environ = sign(version, address=address, expires=expires)
        assert signed_address(environ, CANDIDATES, ACCOUNT, REGION, NOW) == (address, ACCOUNT)


@pytest.mark.parametrize(("version", "expires"), ALL.values(), ids=ALL)
def test_a_signature_that_fits_none_shows_the_first(version, expires):
    environ = sign(version, address=Address("bucket", "b"), expires=expires)
    with pytest.raises(OSSError) as raised:
        signed_address(environ, CANDIDATES, ACCOUNT, REGION, NOW)
    assert raised.value.code == "SignatureDoesNotMatch"
    assert "bucket/bucket/" in str(raised.value.members)


def test_a_wrong_signature_does_not_make_a_form():
    environ = {**sign("v4", "POST", address=Address("bucket", "b")), "CONTENT_TYPE": "multipart/form-data; boundary=b"}
    with pytest.raises(OSSError, match="SignatureDoesNotMatch"):
        signed_address(environ, [Address("bucket", "a"), Address("a", "")], ACCOUNT, REGION, NOW)


def test_an_unsigned_request_means_the_first_candidate():
    for first in CANDIDATES:
        assert signed_address({"REQUEST_METHOD": "GET"}, [first, *CANDIDATES], ACCOUNT, REGION, NOW) == (first, None)
