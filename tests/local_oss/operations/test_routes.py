import re
from pathlib import Path

import alibabacloud_oss_v2
import pytest

from local_oss.environ import Address
from local_oss.operations.routes import KNOWN_PARAMETERS, operation_name
from local_oss.signatures.account import Account

from ..sdk_signer import signed_headers
from ..signed_client import code
from ..stored import content, put
from .test_assume_role import Key, ask, session_policy

METHODS = ("GET", "HEAD", "PUT", "POST", "DELETE")


def sdk_parameters():
    """Return the query names in the sources of the official SDKs for Python, and a made-up one."""
    import oss2

    names = set(oss2.Auth._subresource_key_set)
    for path in Path(alibabacloud_oss_v2.__file__).parent.rglob("*.py"):
        source = path.read_text("utf-8")
        names.update(re.findall(r"""["']position["']: ["']query["'], ["']rename["']: ["']([^"']+)["']""", source))
        for parameters in re.findall(r"parameters=\{(.*?)\}", source, re.DOTALL):
            names.update(re.findall(r"""["']([\w-]+)["']: """, parameters))
    assert {"legalHold", "retention", "overwriteConfig", "objectWorm", "dataPipeline", "regions"} <= names
    return sorted({*names, "made-up"})


def state(oss):
    return {
        bucket.name: (
            bucket.settings,
            bucket.uploads(),
            [(entry, content(bucket, entry.key)) for entry in bucket.page()[0]],
        )
        for bucket in oss.storage.buckets()
    }


def test_writing_copying_listing_and_deleting_need_a_signature(app, bucket):
    put(bucket, "a")
    for method, path, headers in [
        ("PUT", "/examplebucket/b", {}),
        ("PUT", "/examplebucket/b", {"x-oss-copy-source": "/examplebucket/a"}),
        ("PUT", "/examplebucket/b?partNumber=1&uploadId=x", {}),
        ("POST", "/examplebucket/b?uploads", {}),
        ("POST", "/examplebucket/b?uploadId=x", {}),
        ("DELETE", "/examplebucket/a", {}),
        ("DELETE", "/examplebucket/a?uploadId=x", {}),
        ("POST", "/examplebucket?delete", {}),
        ("GET", "/examplebucket", {}),
        ("GET", "/examplebucket?list-type=2", {}),
        ("GET", "/examplebucket?uploads", {}),
        ("GET", "/examplebucket/a?uploadId=x", {}),
    ]:
        response = app.request(path, method=method, headers={"Content-Type": "text/plain", **headers}, status=403)
        assert code(response) == (403, "AccessDenied"), (method, path)
    assert [entry.key for entry in bucket.page()[0]] == ["a"]


def test_a_put_of_a_missing_subresource_stores_no_object(client, bucket):
    for name in ("tagging", "symlink", "append&position=0", "restore", "legalHold", "retention", "versionId=1"):
        response = client("PUT", "examplebucket", name, key="a", status=501)
        assert code(response) == (501, "NotImplemented")
        assert re.split("[&=]", name)[0] in response.xml.findtext("Message")
    assert bucket.page() == ([], False)


@pytest.mark.parametrize(
    ("method", "bucket", "key", "kind"), [("POST", "examplebucket", "a", "Object"), ("PUT", "", "", "Service")]
)
def test_a_method_without_an_operation_is_not_allowed(client, method, bucket, key, kind):
    response = client(method, bucket, key=key, status=405)
    assert code(response) == (405, "MethodNotAllowed")
    assert (response.xml.findtext("Method"), response.xml.findtext("ResourceType")) == (method, kind)


def test_a_picture_that_is_to_be_saved_is_refused_by_name(client, bucket):
    put(bucket, "a")
    response = client("POST", "examplebucket", "x-oss-process", b"x-oss-process=image/info", key="a", status=501)
    assert "POST of ?x-oss-process." in response.xml.findtext("Message")


@pytest.mark.parametrize(
    ("query", "action"), [("tagging", "GetBucketTagging"), ("list-type=2", "ListObjects"), ("acl", "GetBucketAcl")]
)
def test_a_temporary_key_needs_the_action_of_rams_page(app, oss, query, action):
    """The page of RAM policies for OSS."""
    for allowed, status in ((action, 200), ("Other", 403)):
        key = Key(ask(oss, Policy=session_policy(f"oss:{allowed}", resource="*")))
        account = Account(key.access_key_id, key.access_key_secret, key.token)
        headers = signed_headers("v4", address=Address("examplebucket", ""), query=query, account=account)
        app.get(f"/examplebucket?{query}", headers=headers, status=status)


def test_a_missing_bucket_is_reported_before_a_missing_operation(client):
    assert code(client("POST", "nobucket", key="a", status=404)) == (404, "NoSuchBucket")


def test_an_anonymous_read_without_an_operation_needs_a_signature(app, client):
    assert app.request("/?prefix=a", method="HEAD", status=403).headers["x-oss-ec"] == "0003-00001201"
    assert client("HEAD", query="prefix=a", status=405).body == b""


@pytest.mark.sdks
def test_a_parameter_that_no_operation_knows_changes_nothing(client, oss, bucket):
    """Issue 29, 1.1: `PUT /key?legalHold` replaced the object, and `DELETE /?overwriteConfig` deleted the bucket."""
    put(bucket, "a", b"old")
    oss.create_bucket("empty-bucket")
    before = state(oss)
    unknown = [name for name in sdk_parameters() if name not in KNOWN_PARAMETERS]
    assert len(unknown) > 100
    for name in unknown:
        for method in METHODS:
            for bucket_name, key in (("examplebucket", "a"), ("empty-bucket", ""), ("", "")):
                response = client(method, bucket_name, f"{name}=1", b"<x/>", key=key, status=501)
                if method != "HEAD":
                    assert code(response) == (501, "NotImplemented")
                    assert f"?{name}." in response.xml.findtext("Message")
    assert state(oss) == before


def test_a_parameter_of_another_operation_changes_nothing(client, oss, bucket):
    put(bucket, "a", b"old")
    oss.create_bucket("empty-bucket")
    before = state(oss)
    of_signatures = ("x-oss-", "x-amz-", "x-id", "security-", "expires")
    for name in sorted(KNOWN_PARAMETERS - {"", "acl", "cors", "lifecycle", "publicAccessBlock"}):
        for method in ("PUT", "DELETE"):
            for bucket_name, key in (("examplebucket", "a"), ("empty-bucket", "")):
                if name.lower().startswith(of_signatures) or (key, method) == ("a", "PUT"):
                    continue
                response = client(method, bucket_name, f"{name}=1", b"<x/>", key=key, status="*")
                assert response.status_int >= 400, (method, name)
    assert state(oss) == before


@pytest.mark.parametrize("name", ["responseHeader", "cloudboxes", "regionList"])
def test_v1_signatures_do_not_matter_to_a_name_that_no_operation_knows(app, oss, name):
    """Each SDK has its own list of names that V1 signs."""
    address = Address("examplebucket", "")
    headers = signed_headers("v1", address=address, query=name, account=oss.account, sub_resource=[name])
    assert code(app.get(f"/examplebucket?{name}", headers=headers, status=501)) == (501, "NotImplemented")


def test_a_query_of_many_parameters_is_read(app):
    assert code(app.get(f"/examplebucket/a?{'&'.join(['a'] * 2000)}", status=501)) == (501, "NotImplemented")


@pytest.mark.parametrize(
    ("method", "names", "key", "name"),
    [
        ("GET", "", "a", "GetObject"),
        ("PUT", "partNumber uploadId", "a", "UploadPart"),
        ("POST", "uploads", "a", "InitiateMultipartUpload"),
        ("DELETE", "uploadId", "a", "AbortMultipartUpload"),
        ("POST", "", "", "PostObject"),
        ("PUT", "cors", "", "PutBucketCors"),
        ("GET", "list-type", "", "ListObjectsV2"),
        ("PATCH", "", "", "PATCH"),
    ],
)
def test_an_operation_has_the_name_of_osss_pages(method, names, key, name):
    assert operation_name(Address("examplebucket", key), method, names.split(), is_copy=False) == name


def test_a_copy_has_a_name_of_its_own():
    assert operation_name(Address("examplebucket", "a"), "PUT", (), is_copy=True) == "CopyObject"
    assert operation_name(Address("examplebucket", "a"), "PUT", ("partNumber",), is_copy=True) == "UploadPartCopy"
