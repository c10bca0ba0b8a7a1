import pytest

from ..signed_client import code


@pytest.fixture
def client(client):
    for name in ("aaa", "bbb-1", "bbb-2", "zzz"):
        client("PUT", name)
    return client


def listed(response):
    return [bucket.findtext("Name") for bucket in response.xml.findall("Buckets/Bucket")]


def test_all_buckets_are_listed_with_their_owner(client):
    response = client("GET")
    assert listed(response) == ["aaa", "bbb-1", "bbb-2", "examplebucket", "zzz"]
    assert response.xml.findtext("IsTruncated") == "false"
    assert response.xml.find("NextMarker") is None
    assert response.xml.findtext("Owner/ID") == "1000000000000001"
    assert {element.tag: element.text for element in response.xml.find("Buckets/Bucket")} == {
        "Name": "aaa",
        "CreationDate": "2024-12-03T12:12:12.000Z",
        "Location": "oss-cn-hangzhou",
        "Region": "cn-hangzhou",
        "ExtranetEndpoint": "127.0.0.1:8081",
        "IntranetEndpoint": "oss-cn-hangzhou-internal.aliyuncs.com",
        "StorageClass": "Standard",
    }


@pytest.mark.parametrize(
    ("query", "names", "marker"),
    [
        ("prefix=bbb", ["bbb-1", "bbb-2"], None),
        ("prefix=none", [], None),
        ("marker=bbb-1", ["bbb-2", "examplebucket", "zzz"], None),
        ("max-keys=2", ["aaa", "bbb-1"], "bbb-1"),
        ("marker=bbb-1&max-keys=2", ["bbb-2", "examplebucket"], "examplebucket"),
        ("marker=examplebucket&max-keys=1", ["zzz"], None),
        ("max-keys=1&prefix=bbb", ["bbb-1"], "bbb-1"),
        ("max-keys=", ["aaa", "bbb-1", "bbb-2", "examplebucket", "zzz"], None),
    ],
)
def test_a_page_of_buckets_has_what_the_query_asks_for(client, query, names, marker):
    response = client("GET", query=query)
    assert listed(response) == names
    assert response.xml.findtext("NextMarker") == marker
    assert response.xml.findtext("IsTruncated") == ("true" if marker else "false")


@pytest.mark.parametrize("number", ["0", "1001", "-1", "a", "1.0", "10000"])
def test_an_invalid_max_keys_is_rejected(client, number):
    response = client("GET", query=f"max-keys={number}", status=400)
    assert code(response) == (400, "InvalidArgument")
    assert response.xml.findtext("ArgumentValue") == number


def test_listing_buckets_needs_a_signature(client, app):
    assert code(app.get("/?prefix=a", status=403)) == (403, "AccessDenied")


@pytest.mark.parametrize(
    "host", ["oss-cn-hangzhou.aliyuncs.com", ".oss-cn-hangzhou.aliyuncs.com", "oss.local:8081", "aaa.local"]
)
def test_a_signature_identifies_the_service_under_any_host(client, host):
    client._app.extra_environ["HTTP_HOST"] = host
    assert listed(client("GET")) == ["aaa", "bbb-1", "bbb-2", "examplebucket", "zzz"]
