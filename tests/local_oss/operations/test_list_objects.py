import pytest

from ..signed_client import code
from ..stored import put


@pytest.fixture
def list_objects(client, bucket):
    for key in ("a/1", "a/2", "b", "c\x01", "d +"):
        put(bucket, key)

    def list_objects(query="", status=None):
        return client("GET", "examplebucket", query, status=status)

    return list_objects


def texts(response, path):
    return [element.text for element in response.xml.iterfind(path)]


def test_version_1_lists_the_owner_and_has_no_namespace(list_objects):
    response = list_objects("max-keys=2")
    assert response.xml.tag == "ListBucketResult"
    assert texts(response, "Contents/Key") == ["a/1", "a/2"]
    assert [response.xml.findtext(name) for name in ("Name", "MaxKeys", "IsTruncated", "NextMarker")] == [
        "examplebucket",
        "2",
        "true",
        "a/2",
    ]
    entry = {element.tag: element.text for element in response.xml.find("Contents") if element.tag != "Owner"}
    assert response.xml.findtext("Contents/Owner/ID") == "1000000000000001"
    assert entry == {
        "Key": "a/1",
        "LastModified": "2024-12-03T12:12:12.000Z",
        "ETag": '"B22E0DC370A7F7067FACF5F75D7FA385"',
        "Type": "Normal",
        "Size": "6",
        "StorageClass": "Standard",
    }
    assert texts(list_objects("marker=b&encoding-type=url"), "Contents/Key") == ["c%01", "d%20%2B"]


def test_version_2_continues_with_a_token(list_objects):
    response = list_objects("list-type=2&max-keys=3&delimiter=%2F&encoding-type=url")
    assert texts(response, "CommonPrefixes/Prefix") == ["a%2F"]
    assert response.xml.findtext("KeyCount") == "3"
    token = response.xml.findtext("NextContinuationToken")
    assert token.isalnum()
    response = list_objects(f"list-type=2&delimiter=%2F&continuation-token={token}&encoding-type=url")
    assert texts(response, "Contents/Key") == ["d%20%2B"]
    assert response.xml.findtext("IsTruncated") == "false"
    assert response.xml.find("Contents/Owner") is None
    response = list_objects("list-type=2&fetch-owner=true&prefix=b&encoding-type=url")
    assert response.xml.find("Contents/Owner/ID") is not None
    assert texts(list_objects("list-type=2&start-after=b&max-keys=1&encoding-type=url"), "Contents/Size") == ["6"]


@pytest.mark.parametrize(
    "query",
    [
        "max-keys=0",
        "max-keys=1001",
        "max-keys=x",
        "max-keys=-1",
        "encoding-type=xml",
        "list-type=1",
        "list-type=2&continuation-token=%25",
        f"prefix={'a' * 1024}",
    ],
)
def test_invalid_parameters_are_rejected(list_objects, query):
    assert code(list_objects(query, status=400)) == (400, "InvalidArgument")


def test_a_control_character_of_a_key_is_a_reference(client, bucket):
    """https://github.com/aliyun/aliyun-oss-java-sdk/issues/333: Java's reader refuses the `&#` in OSS's listing."""
    put(bucket, "a\x01b")
    for query in ("", "list-type=2"):
        response = client("GET", "examplebucket", query)
        assert b"<Key>a&#x1;b</Key>" in response.body
        encoded = client("GET", "examplebucket", f"{query}&encoding-type=url".strip("&"))
        assert encoded.xml.findtext("Contents/Key") == "a%01b"


def test_each_object_is_its_one_version(list_objects, client):
    response = list_objects("versions&max-keys=2&encoding-type=url")
    assert response.xml.tag == "ListVersionsResult"
    assert texts(response, "Version/Key") == ["a%2F1", "a%2F2"]
    assert texts(response, "Version/VersionId") == ["null"] * 2
    marker = response.xml.findtext("NextKeyMarker"), response.xml.findtext("NextVersionIdMarker")
    assert marker == ("a%2F2", "null")
    response = list_objects("versions&encoding-type=url&key-marker=a%2F2&version-id-marker=null&prefix=b")
    assert texts(response, "Version/Key") == ["b"]
    assert client("GET", "examplebucket", "versionId=null", key="b").body == b"hi oss"
    client("GET", "examplebucket", "versionId=CAEQ", key="b", status=501)
    client("DELETE", "examplebucket", "versionId=CAEQ", key="b", status=501)
    client("DELETE", "examplebucket", "versionId=null", key="b")
    client("GET", "examplebucket", key="b", status=404)
