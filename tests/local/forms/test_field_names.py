import pytest

from oss_wsgi.local.errors import OSSError
from oss_wsgi.local.forms.form import field_name


@pytest.mark.parametrize("name", ["Signature", "signature", "SIGNATURE"])
def test_a_name_is_taken_in_any_case(name):
    assert field_name(name, exact=False) == "signature"


@pytest.mark.parametrize(
    ("name", "known_as"),
    [
        ("Signature", "signature"),
        ("OSSAccessKeyId", "ossaccesskeyid"),
        ("Content-Type", "content-type"),
        ("key", "key"),
        ("x-oss-meta-a", "x-oss-meta-a"),
        ("x:uid", "x:uid"),
        ("relativePath", "relativepath"),
    ],
)
def test_where_case_counts_the_documented_spelling_and_what_means_nothing_are_taken(name, known_as):
    assert field_name(name, exact=True) == known_as


@pytest.mark.parametrize("name", ["signature", "Key", "content-type", "X-OSS-Meta-a", "X:uid", "File", "Policy"])
def test_where_case_counts_another_spelling_is_refused(name):
    with pytest.raises(OSSError) as caught:
        field_name(name, exact=True)
    assert (caught.value.status, caught.value.code) == (400, "InvalidArgument")
    assert caught.value.message == "The bucket POST contains unrecognized field name."
    assert caught.value.members == {"ArgumentName": name, "ArgumentValue": name}


def test_a_field_without_a_name_is_refused():
    with pytest.raises(OSSError, match="unrecognized field name"):
        field_name("", exact=False)


@pytest.mark.parametrize("name", ["x-oss-meta-Foo", "x-oss-meta-foo"])
def test_what_follows_the_prefix_of_metadata_is_the_users(name):
    assert field_name(name, exact=True) == name.lower()


def test_the_prefix_of_metadata_is_spelled_as_documented():
    with pytest.raises(OSSError):
        field_name("X-Oss-Meta-foo", exact=True)
