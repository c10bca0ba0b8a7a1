import pytest

from ..signed_client import code
from ..stored import put


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
    for name in ("tagging", "symlink", "append&position=0", "restore"):
        assert code(client("PUT", "examplebucket", name, key="a", status=501)) == (501, "NotImplemented")
    assert bucket.page() == ([], False)


@pytest.mark.parametrize(
    ("method", "bucket", "key", "kind"), [("POST", "examplebucket", "a", "Object"), ("PUT", "", "", "Service")]
)
def test_a_method_without_an_operation_is_not_allowed(client, method, bucket, key, kind):
    response = client(method, bucket, key=key, status=405)
    assert code(response) == (405, "MethodNotAllowed")
    assert (response.xml.findtext("Method"), response.xml.findtext("ResourceType")) == (method, kind)


def test_a_missing_bucket_is_reported_before_a_missing_operation(client):
    assert code(client("POST", "nobucket", key="a", status=404)) == (404, "NoSuchBucket")


def test_an_anonymous_read_without_an_operation_needs_a_signature(app, client):
    assert app.request("/?prefix=a", method="HEAD", status=403).headers["x-oss-ec"] == "0003-00000001"
    assert client("HEAD", query="prefix=a", status=405).body == b""
