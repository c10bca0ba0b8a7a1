"""Block Public Access: what it refuses, and what switches it off."""

import pytest
from webtest import TestApp

from local_oss import LocalOSS

from ..form_client import NOW, form, policy, post, sign_v1, sign_v4
from ..signed_client import SignedClient, code
from ..signed_client import code_and_ec as refusal

OBJECT_ACL = "x-oss-object-acl"
#: Recorded in October 2026.
NO_PUBLIC_OBJECT = (403, "AccessDenied", "0016-00000901")
BLOCKED = (
    b"<PublicAccessBlockConfiguration><BlockPublicAccess>true</BlockPublicAccess></PublicAccessBlockConfiguration>"
)
OPEN = BLOCKED.replace(b"true", b"false")


@pytest.fixture
def oss(make_oss):
    return make_oss(acl="private")


@pytest.fixture
def ask(client):
    """Return a function that asks for the object `a` of the bucket."""
    return lambda method, query="", body=b"", **options: client(
        method, "examplebucket", query, body, key="a", **options
    )


def is_blocked(client, bucket="examplebucket"):
    block = client("GET", bucket, "publicAccessBlock").xml
    assert block.tag == "PublicAccessBlockConfiguration"
    described = client("GET", bucket, "bucketInfo").xml.findtext("Bucket/BlockPublicAccess")
    assert block.findtext("BlockPublicAccess") == described
    return described == "true"


@pytest.mark.parametrize("acl", ["public-read", "public-read-write"])
def test_a_public_acl_of_an_object_is_refused_wherever_it_stands(ask, oss, acl):
    public = {OBJECT_ACL: acl}
    ask("PUT", body=b"old")
    upload_id = ask("POST", "uploads").xml.findtext("UploadId")
    for method, query, headers in (
        ("PUT", "", public),
        ("PUT", "acl", public),
        ("PUT", "", {**public, "x-oss-copy-source": "/examplebucket/a"}),
        ("POST", "uploads", public),
        ("POST", f"uploadId={upload_id}", {**public, "x-oss-complete-all": "yes"}),
    ):
        response = ask(method, query, headers=headers, status=403)
        assert refusal(response) == NO_PUBLIC_OBJECT
        assert response.xml.findtext("Message") == "Put public object acl is not allowed"
    assert ask("GET").body == b"old"
    assert ask("GET", "acl").xml.findtext(".//Grant") == "default"


def test_a_public_acl_in_a_form_is_refused(app, oss):
    condition = {OBJECT_ACL: "public-read"}
    v1, v4 = sign_v1(oss, policy(condition)), sign_v4(oss, condition)
    for fields, headers in (({**v4, **condition}, {}), ({**v1, **condition}, {}), (sign_v4(oss), condition)):
        assert refusal(post(app, form({"key": "a", **fields}), headers=headers)) == NO_PUBLIC_OBJECT
    assert oss.storage.bucket("examplebucket").get("a") is None


@pytest.mark.parametrize("acl", ["default", "private"])
def test_another_acl_of_an_object_is_allowed(ask, acl):
    for query in ("", "acl"):
        assert ask("PUT", query, headers={OBJECT_ACL: acl}).status_int == 200


@pytest.mark.parametrize(("bucket", "query"), [("examplebucket", ""), ("examplebucket", "acl"), ("new-bucket", "")])
def test_a_public_acl_of_a_bucket_is_refused_and_none_is_made(client, oss, bucket, query):
    for acl in ("public-read", "public-read-write"):
        response = client("PUT", bucket, query, headers={"x-oss-acl": acl}, status=403)
        assert code(response) == (403, "AccessDenied")
        assert response.xml.findtext("Message") == "Put public bucket acl is not allowed"
    assert [(each.name, each.acl) for each in oss.storage.buckets()] == [("examplebucket", "private")]


def test_each_bucket_has_a_block_of_its_own(client, ask):
    client("PUT", "new-bucket")
    assert is_blocked(client) and is_blocked(client, "new-bucket")
    assert client("PUT", "examplebucket", "publicAccessBlock", OPEN).body == b""
    assert (is_blocked(client), is_blocked(client, "new-bucket")) == (False, True)
    ask("PUT", headers={OBJECT_ACL: "public-read"})
    client("PUT", "examplebucket", "acl", headers={"x-oss-acl": "public-read"})
    client("DELETE", "new-bucket", "publicAccessBlock", status=204)
    assert not is_blocked(client, "new-bucket")
    # The page of PutBucketPublicAccessBlock: without the element it is off.
    client("PUT", "examplebucket", "publicAccessBlock", BLOCKED)
    client("PUT", "examplebucket", "publicAccessBlock", b"<PublicAccessBlockConfiguration/>")
    assert not is_blocked(client)


def test_a_block_makes_public_acls_ineffective_and_keeps_them(client, ask, app):
    """The page of PutBucketPublicAccessBlock."""
    client("PUT", "examplebucket", "publicAccessBlock", OPEN)
    ask("PUT", body=b"hi oss", headers={OBJECT_ACL: "public-read"})
    client("PUT", "examplebucket", body=b"hi oss", key="b")
    client("PUT", "examplebucket", "acl", headers={"x-oss-acl": "public-read"})
    for body, status in ((BLOCKED, 403), (OPEN, 200)):
        client("PUT", "examplebucket", "publicAccessBlock", body)
        for key in "ab":
            app.get(f"/examplebucket/{key}", status=status)
        assert ask("GET", "acl").xml.findtext(".//Grant") == "public-read"


def test_a_block_that_cannot_be_read_changes_nothing(client):
    for body in (b"", b"<Other/>", BLOCKED.replace(b"true", b"yes")):
        response = client("PUT", "examplebucket", "publicAccessBlock", body, status=400)
        assert code(response) == (400, "MalformedXML")
    assert is_blocked(client)
    for method in ("GET", "PUT", "DELETE"):
        response = client(method, "no-bucket", "publicAccessBlock", OPEN, status=404)
        assert code(response) == (404, "NoSuchBucket")


@pytest.mark.parametrize("options", [{"allow_public": True}, {"acl": "public-read"}, {"acl": "public-read-write"}])
def test_the_options_switch_the_block_off_for_all_buckets(make_oss, options):
    oss = make_oss(**{"acl": "private", **options})
    oss.create_bucket("second-bucket")
    client = SignedClient(oss)
    client("PUT", "third-bucket", headers={"x-oss-acl": "public-read"})
    for bucket in ("examplebucket", "second-bucket", "third-bucket"):
        assert not is_blocked(client, bucket)
        client("PUT", bucket, key="a", headers={OBJECT_ACL: "public-read"})


def test_a_kept_bucket_keeps_its_block_unless_the_options_name_another(make_oss, tmp_path):
    for options, expected in (({}, True), ({"allow_public": True}, False), ({}, False)):
        oss = make_oss(acl="private", directory=tmp_path / "kept", **options)
        assert is_blocked(SignedClient(oss)) is expected
        oss.close()


def test_the_default_is_blocked(tmp_path):
    with LocalOSS(directory=tmp_path, key_bits=512, clock=lambda: NOW) as oss:
        assert is_blocked(SignedClient(oss))
        TestApp(oss).get("/examplebucket?publicAccessBlock", status=403)
