import pytest

from oss_wsgi.local.environ import Address
from oss_wsgi.local.errors import OSSError
from oss_wsgi.local.signatures.signed_request import SignedRequest
from oss_wsgi.local.signatures.v4 import Credential, canonical_request, signed_at

PUBLISHED = {
    "REQUEST_METHOD": "PUT",
    "QUERY_STRING": "param1=value1&%2Bparam1=value3&%7Cparam1=value4&%2Bparam2=&%7Cparam2=&param2=",
    "HTTP_X_OSS_HEAD1": "value",
    "HTTP_ABC": "value",
    "HTTP_ZABC": "value",
    "HTTP_XYZ": "value",
    "CONTENT_TYPE": "text/plain",
    "HTTP_X_OSS_CONTENT_SHA256": "UNSIGNED-PAYLOAD",
}


def canonical(environ, address, additional=""):
    return canonical_request(SignedRequest.read(environ, address), additional)


def test_the_canonical_request_is_the_one_that_the_documentation_describes():
    environ = {
        **PUBLISHED,
        "HTTP_X_OSS_DATE": "20231216T162057Z",
        "HTTP_X_OSS_META_NAME": " 中 ".encode().decode("latin-1"),
    }
    assert canonical(environ, Address("bucket", "1234+-/中.txt"), "ZAbc; abc;abc") == (
        "PUT\n"
        "/bucket/1234%2B-/%E4%B8%AD.txt\n"
        "%2Bparam1=value3&%2Bparam2&%7Cparam1=value4&%7Cparam2&param1=value1&param2\n"
        "abc:value\n"
        "content-type:text/plain\n"
        "x-oss-content-sha256:UNSIGNED-PAYLOAD\n"
        "x-oss-date:20231216T162057Z\n"
        "x-oss-head1:value\n"
        "x-oss-meta-name:中\n"
        "zabc:value\n"
        "\n"
        "abc;zabc\n"
        "UNSIGNED-PAYLOAD"
    )


def test_a_query_is_sorted_by_name_and_leaves_out_its_own_signature():
    environ = {"REQUEST_METHOD": "GET", "QUERY_STRING": "a-b=1&x-oss-signature=0&a=2"}
    assert canonical(environ, Address(None, "")).split("\n")[1:3] == ["/", "a=2&a-b=1"]


def test_bytes_that_are_no_text_are_signed_as_they_came():
    environ = {"REQUEST_METHOD": "GET", "QUERY_STRING": "a=%ff+%C3%A4"}
    assert canonical(environ, Address("b", "")).split("\n")[1:3] == ["/b/", "a=%FF%20%C3%A4"]


def test_a_credential_is_five_parts_for_our_region():
    credential = Credential.parse("ak/20241203/cn-hangzhou/oss/aliyun_v4_request", "cn-hangzhou", name="Credential")
    assert (credential.access_key_id, credential.scope) == ("ak", "20241203/cn-hangzhou/oss/aliyun_v4_request")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ak/20241203/cn-hangzhou/oss",
        "/20241203/cn-hangzhou/oss/aliyun_v4_request",
        "a/k/20241203/cn-hangzhou/oss/aliyun_v4_request",
        "ak/20241203/cn-hangzhou/oss-cloudbox/aliyun_v4_request",
        "ak/20241203/cn-hangzhou/oss/aws4_request",
        "ak/20241203/cn-shanghai/oss/aliyun_v4_request",
    ],
)
def test_another_credential_is_refused_by_the_name_it_came_under(text):
    with pytest.raises(OSSError) as raised:
        Credential.parse(text, "cn-hangzhou", name="x-oss-credential")
    assert (raised.value.status, raised.value.code) == (400, "InvalidArgument")
    assert raised.value.members == {"ArgumentName": "x-oss-credential", "ArgumentValue": text}


def test_the_date_is_of_the_credentials_day():
    assert signed_at("20241203T121212Z", Credential("ak", "20241203", "r")) == 1733227932


@pytest.mark.parametrize("date", ["", "20241204T000000Z", "20241303T121212Z", "20241203T121212", "2024-12-03T12:12Z"])
def test_another_date_is_refused(date):
    with pytest.raises(OSSError, match="AccessDenied"):
        signed_at(date, Credential("ak", date[:8].replace("20241204", "20241203"), "r"))
