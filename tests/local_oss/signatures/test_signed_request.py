import pytest

from local_oss.environ import Address
from local_oss.errors import OSSError
from local_oss.signatures.signed_request import SignedRequest, check_not_expired

from ..form_client import NOW


def read(**environ):
    return SignedRequest.read({"REQUEST_METHOD": "GET", **environ}, Address("b", "k"))


def test_headers_are_lower_case_and_utf8():
    request = read(HTTP_X_OSS_META_A=" 中 ".encode().decode("latin-1"), CONTENT_TYPE="a/b", CONTENT_LENGTH="")
    assert request.headers == {"x-oss-meta-a": "中", "content-type": "a/b"}


@pytest.mark.parametrize(
    ("query", "pairs"),
    [
        ("", ()),
        ("&&", ()),
        ("a&b=&c=1=2", ((b"a", b""), (b"b", b""), (b"c", b"1=2"))),
        ("%E4%B8%AD=%2B+%20", (("中".encode(), b"+  "),)),
    ],
)
def test_a_query_is_decoded_and_a_plus_is_a_space(query, pairs):
    assert read(QUERY_STRING=query).query == pairs


def test_the_first_parameter_of_a_name_counts():
    request = read(QUERY_STRING="a=1&a=2&b&c=%FF")
    assert [request.parameter(name) for name in "abcd"] == ["1", "", "\ufffd", None]


@pytest.mark.parametrize(
    ("address", "resource"), [(("b", "a/k"), "/b/a/k"), (("b", ""), "/b/"), ((None, ""), "/")], ids=str
)
def test_the_resource_names_the_bucket(address, resource):
    assert SignedRequest.read({"REQUEST_METHOD": "GET"}, Address(*address)).resource == resource


def test_a_url_is_valid_in_its_last_second():
    check_not_expired(int(NOW), NOW)


def test_an_expired_url_shows_both_times():
    with pytest.raises(OSSError) as raised:
        check_not_expired(int(NOW), NOW + 1)
    error = raised.value
    assert (error.status, error.code, error.message, error.ec) == (
        403, "AccessDenied", "Request has expired.", "0002-00000069"
    )  # fmt: skip
    assert error.members == {"Expires": "2024-12-03T12:12:12.000Z", "ServerTime": "2024-12-03T12:12:13.000Z"}
