import base64
import hashlib

import pytest

from oss_wsgi.testing.storage_contract import put

from ..signed_client import SignedClient, code


@pytest.fixture
def client(oss):
    return SignedClient(oss)


@pytest.fixture
def bucket(oss):
    return oss.storage.bucket("examplebucket")


def keys(bucket):
    return [entry.key for entry in bucket.page()[0]]


def document(*names, quiet=""):
    objects = "".join(f"<Object><Key>{name}</Key></Object>" for name in names)
    return f"<Delete>{quiet}{objects}</Delete>".encode()


def test_an_object_is_deleted_and_so_is_what_was_never_there(client, bucket):
    put(bucket, "a")
    for _ in range(2):
        assert client("DELETE", "examplebucket", key="a").status_int == 204
    assert keys(bucket) == []


def test_many_are_deleted_and_named_in_the_answer(client, bucket):
    for key in ("a", "b +", "c"):
        put(bucket, key)
    response = client("POST", "examplebucket", "delete", document("a", "b +", "none"))
    assert [element.text for element in response.xml.iter("Key")] == ["a", "b +", "none"]
    assert keys(bucket) == ["c"]


def test_names_are_encoded_when_asked(client, bucket):
    response = client("POST", "examplebucket", "delete&encoding-type=url", document("b +/"))
    assert response.xml.findtext("EncodingType") == "url"
    assert response.xml.findtext("Deleted/Key") == "b%20%2B%2F"


def test_quiet_names_none(client, bucket):
    put(bucket, "a")
    response = client("POST", "examplebucket", "delete", document("a", quiet="<Quiet>true</Quiet>"))
    assert response.xml.find("Deleted") is None
    assert keys(bucket) == []


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<Delete>",
        b"<Other/>",
        document(),
        document(*["a"] * 1001),
        document("a", quiet="<Quiet>maybe</Quiet>"),
        b'<!DOCTYPE x [<!ENTITY e "a">]><Delete><Object><Key>&e;</Key></Object></Delete>',
    ],
)
def test_what_is_no_list_of_1_to_1000_deletes_nothing(client, bucket, body):
    put(bucket, "a")
    assert code(client("POST", "examplebucket", "delete", body, status=400)) == (400, "MalformedXML")
    assert keys(bucket) == ["a"]


def test_a_list_must_have_its_content_md5(client, bucket):
    put(bucket, "a")
    digest = base64.b64encode(hashlib.md5(b"other").digest()).decode()
    response = client("POST", "examplebucket", "delete", document("a"), headers={"content-md5": digest}, status=400)
    assert code(response) == (400, "InvalidDigest")
    assert keys(bucket) == ["a"]
