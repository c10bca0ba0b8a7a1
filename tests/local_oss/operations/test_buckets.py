import pytest
from webtest import TestApp

from ..form_client import form, policy, post, sign_v1
from ..signed_client import code

PUBLIC = {"x-oss-acl": "public-read"}


def configuration(text):
    return f"<CreateBucketConfiguration>{text}</CreateBucketConfiguration>".encode()


def info(client, bucket):
    element = client("GET", bucket, "bucketInfo").xml.find("Bucket")
    return {name: element.findtext(name) for name in ("Name", "StorageClass", "DataRedundancyType")} | {
        "acl": element.findtext("AccessControlList/Grant")
    }


def test_a_created_bucket_is_described(client, oss):
    location = "<LocationConstraint>oss-cn-hangzhou</LocationConstraint>"
    body = configuration(f"{location}<StorageClass>IA</StorageClass><DataRedundancyType>ZRS</DataRedundancyType>")
    response = client("PUT", "newbucket", body=body, headers={"x-oss-acl": "public-read"})
    assert (response.status_int, response.body, response.headers["Location"]) == (200, b"", "/newbucket")
    response = client("GET", "newbucket", "bucketInfo")
    assert response.content_type == "application/xml"
    bucket = response.xml.find("Bucket")
    assert {element.tag: element.text for element in bucket if not len(element)} == {
        "Name": "newbucket",
        "CreationDate": "2024-12-03T12:12:12.000Z",
        "Location": "oss-cn-hangzhou",
        "ExtranetEndpoint": "127.0.0.1:8081",
        "IntranetEndpoint": "oss-cn-hangzhou-internal.aliyuncs.com",
        "StorageClass": "IA",
        "DataRedundancyType": "ZRS",
        "AccessMonitor": "Disabled",
        "TransferAcceleration": "Disabled",
        "CrossRegionReplication": "Disabled",
        "Comment": None,
        "BlockPublicAccess": "false",
        "ResourceGroupId": "rg-acfmlocal0000000",
        "ResourcePoolConfig": None,
    }
    assert bucket.findtext("Owner/ID") == "1000000000000001"
    assert bucket.findtext("AccessControlList/Grant") == "public-read"
    assert bucket.findtext("ServerSideEncryptionRule/SSEAlgorithm") == "None"


def test_the_location_is_the_region(client):
    document = client("GET", "examplebucket", "location").xml
    assert (document.tag, document.text) == ("LocationConstraint", "oss-cn-hangzhou")


def test_a_created_bucket_is_found_by_its_host(oss, client):
    client("PUT", "newbucket", headers=PUBLIC)
    response = TestApp(oss).get("/none", headers={"Host": "newbucket.oss-cn-hangzhou.aliyuncs.com"}, status=404)
    assert code(response)[1] == "NoSuchKey"


def test_a_repeated_put_changes_the_acl_only(client):
    client("PUT", "newbucket", body=configuration("<StorageClass>IA</StorageClass>"))
    client("PUT", "newbucket", headers={"x-oss-acl": "public-read-write"})
    client("PUT", "newbucket", body=configuration("<StorageClass>IA</StorageClass>"))
    expected = {"Name": "newbucket", "StorageClass": "IA", "DataRedundancyType": "LRS", "acl": "public-read-write"}
    assert info(client, "newbucket") == expected


@pytest.mark.parametrize("text", ["<StorageClass>IA</StorageClass>", "<DataRedundancyType>ZRS</DataRedundancyType>"])
def test_a_repeated_put_cannot_change_class_or_redundancy(client, text):
    response = client("PUT", "examplebucket", body=configuration(text), headers={"x-oss-acl": "private"}, status=409)
    assert code(response) == (409, "BucketAlreadyExists")
    assert response.xml.findtext("BucketName") == "examplebucket"
    assert info(client, "examplebucket") == {
        "Name": "examplebucket", "StorageClass": "Standard", "DataRedundancyType": "LRS", "acl": "public-read"
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
def test_an_invalid_put_creates_no_bucket(client, bucket, body, acl, expected):
    headers = {"x-oss-acl": acl} if acl else {}
    response = client("PUT", bucket, body=body, headers=headers, status=400)
    assert code(response) == (400, expected)
    assert response.xml.findtext("BucketName") == (bucket if expected == "InvalidBucketName" else None)
    assert code(client("GET", bucket, "bucketInfo", status=404)) == (404, "NoSuchBucket")


def test_only_an_empty_bucket_is_deleted(client, app, oss):
    post(app, form({"key": "a", **sign_v1(oss, policy())}), status=204)
    assert code(client("DELETE", "examplebucket", status=409)) == (409, "BucketNotEmpty")
    client("PUT", "newbucket")
    response = client("DELETE", "newbucket", status=204)
    assert response.body == b""
    assert code(client("DELETE", "newbucket", status=404)) == (404, "NoSuchBucket")


@pytest.mark.slow
def test_a_bucket_created_again_has_default_settings(client):
    client("PUT", "newbucket", headers={"x-oss-acl": "public-read"})
    client("DELETE", "newbucket", status=204)
    client("PUT", "newbucket")
    assert info(client, "newbucket")["acl"] == "private"


def test_an_acl_is_stored_and_returned(client):
    client("PUT", "newbucket")
    assert client("GET", "newbucket", "acl").xml.findtext("AccessControlList/Grant") == "private"
    client("PUT", "newbucket", "acl", headers=PUBLIC)
    document = client("GET", "newbucket", "acl").xml
    assert (document.tag, document.findtext("Owner/ID")) == ("AccessControlPolicy", "1000000000000001")
    assert document.findtext("AccessControlList/Grant") == "public-read"
    for headers in ({}, {"x-oss-acl": "open"}):
        response = client("PUT", "examplebucket", "acl", headers=headers, status=400)
        assert code(response) == (400, "InvalidArgument")


def test_head_finds_a_bucket_and_its_region(client):
    response = client("HEAD", "examplebucket")
    assert response.headers["x-oss-bucket-region"] == "oss-cn-hangzhou"
    assert client("HEAD", "nobucket", status=404).headers["x-oss-err"]


@pytest.mark.parametrize(
    ("method", "query"),
    [("PUT", ""), ("PUT", "acl"), ("DELETE", ""), ("GET", "acl"), ("GET", "bucketInfo"), ("HEAD", "")],
)
def test_operations_on_buckets_need_a_signature(app, oss, method, query):
    app.request(f"/examplebucket?{query}", method=method, status=403)


def test_objects_have_the_storage_class_of_their_bucket(client, oss, app):
    """PutObject's page: without x-oss-storage-class an object has the class of its bucket."""
    client("PUT", "newbucket", body=configuration("<StorageClass>IA</StorageClass>"))
    client("PUT", "newbucket", body=b"x", key="put")
    client("PUT", "newbucket", body=b"x", key="standard", headers={"x-oss-storage-class": "Standard"})
    client("PUT", "newbucket", key="copied", headers={"x-oss-copy-source": "/newbucket/standard"})
    upload_id = client("POST", "newbucket", "uploads", key="parts").xml.findtext("UploadId")
    client("PUT", "newbucket", f"partNumber=1&uploadId={upload_id}", b"x", key="parts")
    client("POST", "newbucket", f"uploadId={upload_id}", key="parts", headers={"x-oss-complete-all": "yes"})
    classes = {
        entry.findtext("Key"): entry.findtext("StorageClass")
        for entry in client("GET", "newbucket").xml.iter("Contents")
    }
    assert classes == {"copied": "IA", "parts": "IA", "put": "IA", "standard": "Standard"}
    for key, expected in classes.items():
        assert client("HEAD", "newbucket", key=key).headers["x-oss-storage-class"] == expected


def test_the_language_of_an_object_is_kept(client):
    client("PUT", "examplebucket", body=b"x", key="a", headers={"Content-Language": "zh-CN"})
    assert client("HEAD", "examplebucket", key="a").headers["Content-Language"] == "zh-CN"


def test_put_bucket_acl_makes_a_missing_bucket(client):
    """PutBucketAcl's page: a bucket that does not exist is created; the suites read Location."""
    for grant in ("private", "public-read"):
        response = client("PUT", "newbucket", "acl", headers={"x-oss-acl": grant})
        assert response.headers["Location"] == "/newbucket"
        assert client("GET", "newbucket", "acl").xml.findtext(".//Grant") == grant
    assert code(client("PUT", "No", "acl", headers={"x-oss-acl": "private"}, status=400)) == (400, "InvalidBucketName")


@pytest.mark.parametrize(
    ("query", "expected"),
    [("encryption", "NoSuchServerSideEncryptionRule"), ("policy", "NoSuchBucketPolicy")],
)
def test_a_bucket_says_what_it_does_not_have(client, query, expected):
    """The pages of GetBucketEncryption and GetBucketPolicy; the clean-ups of suites ask for them."""
    assert code(client("GET", "examplebucket", query, status=404)) == (404, expected)
    for method in ("PUT", "DELETE"):
        assert code(client(method, "examplebucket", query, b"<x/>", status=501)) == (501, "NotImplemented")


def test_a_bucket_has_no_versions_and_no_tags(client):
    assert client("GET", "examplebucket", "versioning").xml.find("Status") is None
    client("PUT", "examplebucket", body=b"x", key="a")
    for key in ("", "a"):
        assert client("GET", "examplebucket", "tagging", key=key).xml.findall("TagSet/Tag") == []
    assert code(client("GET", "examplebucket", "tagging", key="none", status=404)) == (404, "NoSuchKey")


def test_what_is_stored_is_counted(client):
    client("PUT", "examplebucket", body=b"12345", key="a")
    client("PUT", "examplebucket", body=b"123", key="b", headers={"x-oss-storage-class": "IA"})
    client("POST", "examplebucket", "uploads", key="c")
    stat = client("GET", "examplebucket", "stat").xml
    names = ("Storage", "ObjectCount", "MultipartUploadCount", "StandardStorage", "InfrequentAccessObjectCount")
    assert [stat.findtext(name) for name in names] == ["8", "2", "1", "5", "1"]
