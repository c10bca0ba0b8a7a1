import pytest

from oss_wsgi.local.errors import OSSError
from oss_wsgi.local.operations.buckets import acl, check_bucket_name, one_of, redundancy, storage_class


@pytest.mark.parametrize("name", ["abc", "a-1", "123", "a" * 63])
def test_a_bucket_name_is_taken(name):
    check_bucket_name(name)


@pytest.mark.parametrize("name", ["", "ab", "a" * 64, "-abc", "abc-", "Abc", "a_b", "a.b", "abc\n", "桶桶桶"])
def test_another_name_is_refused(name):
    with pytest.raises(OSSError) as raised:
        check_bucket_name(name)
    assert (raised.value.status, raised.value.code) == (400, "InvalidBucketName")
    assert raised.value.members == {"BucketName": name}


def test_a_bucket_is_private_and_standard_until_it_is_set():
    assert (acl({}), storage_class({}), redundancy({})) == ("private", "Standard", "LRS")
    kept = {"acl": "public-read", "storage-class": "IA", "redundancy": "ZRS"}
    assert (acl(kept), storage_class(kept), redundancy(kept)) == ("public-read", "IA", "ZRS")


def test_a_value_is_one_of_those_that_are_known():
    assert one_of(("a", "b"), "x-oss-acl", "b") == "b"
    with pytest.raises(OSSError) as raised:
        one_of(("a", "b"), "x-oss-acl", "A")
    assert raised.value.members == {"ArgumentName": "x-oss-acl", "ArgumentValue": "A"}
