import pytest
from webtest import TestApp

from ..form_client import form, policy, post, sign_v1
from ..signed_client import SignedClient, code


@pytest.fixture
def client(oss):
    return SignedClient(oss)


def configuration(text):
    return f"<CreateBucketConfiguration>{text}</CreateBucketConfiguration>".encode()


def info(client, bucket):
    found = client("GET", bucket, "bucketInfo").xml.find("Bucket")
    return {name: found.findtext(name) for name in ("Name", "StorageClass", "DataRedundancyType")} | {
        "acl": found.findtext("AccessControlList/Grant")
    }


def test_a_bucket_is_made_and_told_of(client, oss):
    body = configuration("<StorageClass>IA</StorageClass><DataRedundancyType>ZRS</DataRedundancyType>")
    response = client("PUT", "newbucket", body=body, headers={"x-oss-acl": "public-read"})
    assert (response.status_int, response.body, response.headers["Location"]) == (200, b"", "/newbucket")
    found = client("GET", "newbucket", "bucketInfo")
    assert found.content_type == "application/xml"
    bucket = found.xml.find("Bucket")
    assert {element.tag: element.text for element in bucket if not len(element)} == {
        "Name": "newbucket",
        "CreationDate": "2024-12-03T12:12:12.000Z",
        "Location": "oss-cn-hangzhou",
        "ExtranetEndpoint": "127.0.0.1:8081",
        "IntranetEndpoint": "127.0.0.1:8081",
        "StorageClass": "IA",
        "DataRedundancyType": "ZRS",
        "AccessMonitor": "Disabled",
        "TransferAcceleration": "Disabled",
        "CrossRegionReplication": "Disabled",
        "Comment": None,
    }
    assert bucket.findtext("Owner/ID") == "1000000000000001"
    assert bucket.findtext("AccessControlList/Grant") == "public-read"


def test_a_bucket_is_made_by_its_host_too(oss, client):
    client("PUT", "newbucket")
    response = TestApp(oss).get("/none", headers={"Host": "newbucket.oss-cn-hangzhou.aliyuncs.com"}, status=404)
    assert code(response)[1] == "NoSuchKey"


def test_objects_of_two_buckets_do_not_meet(client, app, oss):
    client("PUT", "newbucket")
    document = policy()
    document["conditions"][0]["bucket"] = "newbucket"
    post(app, form({"key": "a", **sign_v1(oss, document)}, b"new"), path="/newbucket", status=204)
    assert app.get("/newbucket/a").body == b"new"
    app.get("/examplebucket/a", status=404)


def test_its_owner_may_put_a_bucket_again_and_change_its_acl(client):
    client("PUT", "newbucket", body=configuration("<StorageClass>IA</StorageClass>"))
    client("PUT", "newbucket", headers={"x-oss-acl": "public-read-write"})
    client("PUT", "newbucket", body=configuration("<StorageClass>IA</StorageClass>"))
    expected = {"Name": "newbucket", "StorageClass": "IA", "DataRedundancyType": "LRS", "acl": "public-read-write"}
    assert info(client, "newbucket") == expected


@pytest.mark.parametrize("text", ["<StorageClass>IA</StorageClass>", "<DataRedundancyType>ZRS</DataRedundancyType>"])
def test_a_bucket_keeps_its_storage_class(client, text):
    response = client(
        "PUT", "examplebucket", body=configuration(text), headers={"x-oss-acl": "public-read"}, status=409
    )
    assert code(response) == (409, "BucketAlreadyExists")
    assert response.xml.findtext("BucketName") == "examplebucket"
    assert info(client, "examplebucket") == {
        "Name": "examplebucket", "StorageClass": "Standard", "DataRedundancyType": "LRS", "acl": "private"
    }  # fmt: skip


@pytest.mark.parametrize(
    ("bucket", "body", "acl", "expected"),
    [
        ("ab", b"", "", "InvalidBucketName"),
        ("New", b"", "", "InvalidBucketName"),
        ("newbucket", configuration("<StorageClass>Cheap</StorageClass>"), "", "InvalidArgument"),
        ("newbucket", configuration("<DataRedundancyType>XRS</DataRedundancyType>"), "", "InvalidArgument"),
        ("newbucket", configuration("<Other/>"), "", "MalformedXML"),
        ("newbucket", b"<Other/>", "", "MalformedXML"),
        ("newbucket", b"IA", "", "MalformedXML"),
        ("newbucket", b"x" * 16385, "", "EntityTooLarge"),
        ("newbucket", b"", "default", "InvalidArgument"),
    ],
)
def test_another_bucket_is_refused_and_not_made(client, bucket, body, acl, expected):
    headers = {"x-oss-acl": acl} if acl else {}
    assert code(client("PUT", bucket, body=body, headers=headers, status=400)) == (400, expected)
    assert code(client("GET", bucket, "bucketInfo", status=404)) == (404, "NoSuchBucket")


def test_a_bucket_is_deleted_when_it_is_empty(client, app, oss):
    post(app, form({"key": "a", **sign_v1(oss, policy())}), status=204)
    assert code(client("DELETE", "examplebucket", status=409)) == (409, "BucketNotEmpty")
    client("PUT", "newbucket")
    response = client("DELETE", "newbucket", status=204)
    assert response.body == b""
    assert code(client("DELETE", "newbucket", status=404)) == (404, "NoSuchBucket")


def test_a_bucket_that_is_made_again_remembers_nothing(client):
    client("PUT", "newbucket", headers={"x-oss-acl": "public-read"})
    client("DELETE", "newbucket", status=204)
    client("PUT", "newbucket")
    assert info(client, "newbucket")["acl"] == "private"


def test_an_acl_is_put_and_got(client):
    assert client("GET", "examplebucket", "acl").xml.findtext("AccessControlList/Grant") == "private"
    client("PUT", "examplebucket", "acl", headers={"x-oss-acl": "public-read"})
    found = client("GET", "examplebucket", "acl").xml
    assert (found.tag, found.findtext("Owner/ID")) == ("AccessControlPolicy", "1000000000000001")
    assert found.findtext("AccessControlList/Grant") == "public-read"
    for headers in ({}, {"x-oss-acl": "open"}):
        response = client("PUT", "examplebucket", "acl", headers=headers, status=400)
        assert code(response) == (400, "InvalidArgument")


def test_a_location_is_the_region(client):
    found = client("GET", "examplebucket", "location").xml
    assert (found.tag, found.text) == ("LocationConstraint", "oss-cn-hangzhou")


def test_a_head_tells_that_a_bucket_is_there(client):
    response = client("HEAD", "examplebucket")
    assert response.headers["x-oss-bucket-region"] == "oss-cn-hangzhou"
    assert client("HEAD", "nobucket", status=404).headers["x-oss-err"]


@pytest.mark.parametrize("query", ["acl", "bucketInfo", "location"])
def test_of_a_bucket_that_is_not_there_nothing_is_told(client, query):
    assert code(client("GET", "nobucket", query, status=404)) == (404, "NoSuchBucket")
    assert code(client("PUT", "nobucket", "acl", headers={"x-oss-acl": "private"}, status=404)) == (404, "NoSuchBucket")


@pytest.mark.parametrize(
    ("method", "query"),
    [("PUT", ""), ("PUT", "acl"), ("DELETE", ""), ("GET", "acl"), ("GET", "bucketInfo"), ("HEAD", "")],
)
def test_a_stranger_may_ask_nothing_of_a_bucket(app, oss, method, query):
    app.request(f"/examplebucket?{query}", method=method, status=403)


def test_what_a_bucket_is_set_to_outlives_the_process(make_oss, tmp_path):
    with make_oss(directory=tmp_path / "kept", access_key_id="ak", access_key_secret="sk") as oss:
        SignedClient(oss)("PUT", "newbucket", headers={"x-oss-acl": "public-read"})
    with make_oss(directory=tmp_path / "kept", access_key_id="ak", access_key_secret="sk") as oss:
        assert info(SignedClient(oss), "newbucket")["acl"] == "public-read"
