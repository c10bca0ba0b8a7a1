import pytest

from local_oss.errors import OSSError
from local_oss.object_headers import content_type, forbids_overwrite, object_headers, one_of, redirect


@pytest.mark.parametrize(
    ("fields", "file_type", "expected"),
    [
        pytest.param({"x-oss-content-type": "a/a", "content-type": "b/b"}, "c/c", "a/a", id="x-oss-content-type"),
        pytest.param({"content-type": "b/b"}, "c/c", "c/c", id="the file part"),
        pytest.param({"content-type": "b/b"}, "", "b/b", id="the field"),
        pytest.param({"x-oss-content-type": ""}, "", "application/octet-stream", id="none"),
    ],
)
def test_the_content_type_has_an_order_of_precedence(fields, file_type, expected):
    assert content_type(fields, file_type) == expected


def test_only_headers_of_the_object_are_kept():
    fields = {
        "key": "a",
        "cache-control": "no-cache",
        "content-disposition": "attachment; filename=中",
        "content-encoding": "gzip",
        "expires": "0",
        "x-oss-meta-a-1": "中",
        "x-oss-meta-b": "",
        "x-oss-object-acl": "private",
        "x-oss-storage-class": "IA",
        "x-oss-server-side-encryption": "AES256",
        "x-oss-unknown": "a=b",
    }
    assert object_headers(fields) == {
        "Cache-Control": "no-cache",
        "Content-Disposition": "attachment; filename=中",
        "Content-Encoding": "gzip",
        "Expires": "0",
        "x-oss-meta-a-1": "中",
        "x-oss-meta-b": "",
        "x-oss-object-acl": "private",
        "x-oss-server-side-encryption": "AES256",
        "x-oss-storage-class": "IA",
    }


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        pytest.param({"x-oss-object-acl": "public"}, "InvalidArgument", id="acl"),
        pytest.param({"x-oss-storage-class": "standard"}, "InvalidArgument", id="storage class"),
        pytest.param({"x-oss-server-side-encryption": "DES"}, "InvalidEncryptionAlgorithmError", id="encryption"),
        pytest.param({"x-oss-tagging": "a=b"}, "NotImplemented", id="tags"),
        pytest.param({"x-oss-traffic-limit": "819200"}, "NotImplemented", id="traffic limit"),
        pytest.param({"cache-control": "a\r\nX: y"}, "InvalidArgument", id="line break"),
        pytest.param({"x-oss-meta-a": "\x00"}, "InvalidArgument", id="control character"),
        pytest.param({"x-oss-meta-": "a"}, "InvalidArgument", id="no name"),
        pytest.param({"x-oss-meta-a:b": "a"}, "InvalidArgument", id="name with colon"),
        pytest.param({"x-oss-meta-a-": "a"}, "InvalidArgument", id="name that ends in a hyphen"),
        pytest.param({"x-oss-meta-中": "a"}, "InvalidArgument", id="name not ASCII"),
        pytest.param({"x-oss-meta-a": "x" * 8192}, "InvalidArgument", id="metadata too long"),
    ],
)
def test_an_invalid_value_is_refused(fields, code):
    with pytest.raises(OSSError) as caught:
        object_headers(fields)
    assert (caught.value.status, caught.value.code) == (501 if code == "NotImplemented" else 400, code)


def test_the_acl_field_wins_over_the_header():
    assert object_headers({"x-oss-object-acl": "private"}, "nonsense") == {"x-oss-object-acl": "private"}
    assert object_headers({}, "public-read") == {"x-oss-object-acl": "public-read"}
    assert object_headers({"x-oss-object-acl": "default"}, "private") == {}
    with pytest.raises(OSSError, match="no such object access control exists"):
        object_headers({}, "nonsense")


@pytest.mark.parametrize(("fields", "forbids"), [({}, False), ({"x-oss-forbid-overwrite": "true"}, True)])
def test_overwriting_is_allowed_unless_forbidden(fields, forbids):
    assert forbids_overwrite(fields) is forbids


@pytest.mark.parametrize("value", ["", "TRUE", "1"])
def test_forbid_overwrite_is_true_or_false(value):
    with pytest.raises(OSSError) as caught:
        forbids_overwrite({"x-oss-forbid-overwrite": value})
    assert (caught.value.status, caught.value.ec) == (400, "0006-00000117")


def test_a_redirect_cannot_add_a_header():
    assert redirect({"success_action_redirect": "http://a/?b"}) == "http://a/?b"
    with pytest.raises(OSSError, match="InvalidArgument"):
        redirect({"success_action_redirect": "http://a/\r\nSet-Cookie: a=b"})


def test_a_value_must_be_one_of_the_known_values():
    assert one_of(("a", "b"), "x-oss-acl", "b") == "b"
    with pytest.raises(OSSError) as raised:
        one_of(("a", "b"), "x-oss-acl", "A")
    assert raised.value.members == {"ArgumentName": "x-oss-acl", "ArgumentValue": "A"}
