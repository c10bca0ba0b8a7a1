"""The published requests of the SDK's own tests, each with the text that it signs."""

import oss2
import pytest
from alibabacloud_oss_v2.signer import SignerV1

from oss_wsgi.local.environ import Address
from oss_wsgi.local.signatures.signed_request import SignedRequest
from oss_wsgi.local.signatures.v1 import SUB_RESOURCES, sign, string_to_sign

DATE = "Wed, 28 Dec 2022 10:27:41 GMT"
ALICE = {
    "HTTP_CONTENT_MD5": "eB5eJF1ptWaXm4bijSPyxw==",
    "CONTENT_TYPE": "text/html",
    "HTTP_X_OSS_META_AUTHOR": "alice",
    "HTTP_X_OSS_META_MAGIC": "abracadabra",
    "HTTP_X_OSS_DATE": DATE,
}
LINES = f"eB5eJF1ptWaXm4bijSPyxw==\ntext/html\n{DATE}\nx-oss-date:{DATE}\nx-oss-meta-author:alice\n"
LINES += "x-oss-meta-magic:abracadabra\n"


@pytest.mark.parametrize(
    ("method", "key", "query", "headers", "text", "signature"),
    [
        ("PUT", "nelson", "", ALICE, f"PUT\n{LINES}/examplebucket/nelson", "kSHKmLxlyEAKtZPkJhG9bZb5k7M="),
        ("PUT", "nelson", "acl", ALICE, f"PUT\n{LINES}/examplebucket/nelson?acl", "/afkugFbmWDQ967j1vr6zygBLQk="),
        (
            "GET",
            "",
            "resourceGroup&non-resousce=null",
            {"HTTP_X_OSS_DATE": DATE},
            f"GET\n\n\n{DATE}\nx-oss-date:{DATE}\n/examplebucket/?resourceGroup",
            "vkQmfuUDyi1uDi3bKt67oemssIs=",
        ),
        (
            "GET",
            "",
            "resourceGroup&acl",
            {"HTTP_X_OSS_DATE": DATE},
            f"GET\n\n\n{DATE}\nx-oss-date:{DATE}\n/examplebucket/?acl&resourceGroup",
            "x3E5TgOvl/i7PN618s5mEvpJDYk=",
        ),
    ],
)
def test_the_published_signatures_are_made(method, key, query, headers, text, signature):
    environ = {"REQUEST_METHOD": method, "QUERY_STRING": query, **headers}
    request = SignedRequest.read(environ, Address("examplebucket", key))
    assert string_to_sign(request, DATE) == text
    assert sign("sk", text) == signature


def test_values_are_signed_decoded_and_only_those_of_sub_resources():
    query = "response-content-type=a%2Fb%20c&x=1&uploadId=%E4%B8%AD&cors="
    request = SignedRequest.read({"REQUEST_METHOD": "GET", "QUERY_STRING": query}, Address("b", "k"))
    assert string_to_sign(request, "1") == "GET\n\n\n1\n/b/k?cors&response-content-type=a/b c&uploadId=中"


def test_the_service_is_signed_as_a_slash():
    request = SignedRequest.read({"REQUEST_METHOD": "GET", "QUERY_STRING": "prefix=a"}, Address(None, ""))
    assert string_to_sign(request, "") == "GET\n\n\n\n/"


def test_all_sub_resources_that_the_sdks_sign_are_known():
    assert {*oss2.Auth._subresource_key_set, *SignerV1._subresource_key_set} - SUB_RESOURCES == set()
    assert not [name for name in SUB_RESOURCES if name.endswith("-") or not name]
