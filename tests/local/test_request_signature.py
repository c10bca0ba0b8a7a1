import pytest

from oss_wsgi.local.address import Address
from oss_wsgi.local.errors import OSSError
from oss_wsgi.local.request_signature import check_request_signature, signed_address

from .form_client import NOW
from .sdk_signer import ACCOUNT, ADDRESS, REGION, sign

ALL = {"v1 header": ("v1", None), "v4 header": ("v4", None), "v1 URL": ("v1", 60), "v4 URL": ("v4", 60)}


def check(environ):
    return check_request_signature(environ, ADDRESS, ACCOUNT, REGION, NOW)


def refusal(environ):
    with pytest.raises(OSSError) as raised:
        check(environ)
    return raised.value


@pytest.mark.parametrize(("version", "expires"), ALL.values(), ids=ALL)
def test_each_scheme_is_recognised_and_checked(version, expires):
    environ = sign(version, expires=expires)
    assert check(environ) is True
    assert refusal({**environ, "REQUEST_METHOD": "PUT"}).code == "SignatureDoesNotMatch"


@pytest.mark.parametrize("query", ["", "Expires=1", "security-token=a", "x-oss-process=a", "signature=a"])
@pytest.mark.parametrize("authorization", ["", " ", None])
def test_without_any_a_request_is_anonymous(authorization, query):
    environ = {"REQUEST_METHOD": "GET", "QUERY_STRING": query}
    assert check(environ if authorization is None else {**environ, "HTTP_AUTHORIZATION": authorization}) is False


@pytest.mark.parametrize("query", ["OSSAccessKeyId=ak", "Signature=s", "x-oss-signature=0", "x-oss-credential=ak"])
def test_a_signature_that_is_not_whole_makes_nobody_anonymous(query):
    assert refusal({"REQUEST_METHOD": "GET", "QUERY_STRING": query}).code == "InvalidArgument"


@pytest.mark.parametrize("header", ["v1", "v4"])
@pytest.mark.parametrize("url", ["v1", "v4"])
def test_a_signature_in_the_header_and_one_in_the_url_are_refused_though_each_is_good(url, header):
    signed = sign(url, expires=60)
    other = sign(header, query=signed["QUERY_STRING"])
    error = refusal({**signed, **other})
    assert (error.status, error.message) == (400, "The request carries more than one signature.")


def test_two_versions_in_one_url_are_refused():
    environ = sign("v1", expires=60)
    environ["QUERY_STRING"] += "&x-oss-signature-version=OSS4-HMAC-SHA256"
    assert refusal(environ).message == "The request carries more than one signature."


@pytest.mark.parametrize("algorithm", ["OSS2", "Bearer", "AWS4-HMAC-SHA256", "oss", "OSS4-HMAC-SHA512", "OSSak:s"])
def test_another_algorithm_is_refused(algorithm):
    error = refusal({"REQUEST_METHOD": "GET", "HTTP_AUTHORIZATION": f"{algorithm} AccessKeyId:ak,Signature:s"})
    assert (error.status, error.code, error.members["ArgumentValue"]) == (400, "InvalidArgument", algorithm)


def test_of_a_form_neither_header_nor_url_is_looked_at():
    form = {
        "REQUEST_METHOD": "POST",
        "QUERY_STRING": "Signature=s",
        "HTTP_AUTHORIZATION": "Basic eA==",
        "CONTENT_TYPE": "multipart/form-data; boundary=b",
    }
    assert check_request_signature(form, Address("bucket", ""), ACCOUNT, REGION, NOW) is False
    for change in ({"CONTENT_TYPE": "application/xml"}, {"REQUEST_METHOD": "PUT"}):
        with pytest.raises(OSSError):
            check_request_signature({**form, **change}, Address("bucket", ""), ACCOUNT, REGION, NOW)
    assert refusal(form).code == "InvalidArgument"


@pytest.mark.parametrize(("version", "expires"), ALL.values(), ids=ALL)
def test_of_a_bucket_in_host_and_path_the_signature_tells_what_is_meant(version, expires):
    twice = Address("bucket", f"bucket/{ADDRESS.key}")
    for address in (ADDRESS, twice):
        environ = sign(version, address=address, expires=expires)
        assert signed_address(environ, twice, ACCOUNT, REGION, NOW) == (address, True)
    with pytest.raises(OSSError) as raised:
        signed_address(sign(version, address=Address("bucket", "b"), expires=expires), twice, ACCOUNT, REGION, NOW)
    assert "bucket/bucket/" in str(raised.value.members)


def test_a_stranger_means_what_the_host_says():
    twice = Address("bucket", "bucket/a")
    assert signed_address({"REQUEST_METHOD": "GET"}, twice, ACCOUNT, REGION, NOW) == (twice, False)
