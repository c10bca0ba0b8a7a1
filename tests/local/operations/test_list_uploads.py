import pytest

from oss_wsgi.testing.storage_contract import NOW

from ..signed_client import SignedClient


@pytest.fixture
def begun(oss):
    bucket = oss.storage.bucket("examplebucket")
    return [bucket.begin(key, "text/plain", {}, now=NOW) for key in ("a/1", "a/2", "b +", "b +")]


@pytest.fixture
def ask(oss):
    return lambda query, key="": SignedClient(oss)("GET", "examplebucket", query, key=key)


def texts(response, path):
    return [element.text for element in response.xml.iterfind(path)]


def test_uploads_are_listed_in_pages(ask, begun):
    found, marker = [], ""
    for _ in range(2):
        response = ask(f"uploads&max-uploads=2&encoding-type=url{marker}")
        found += zip(texts(response, "Upload/Key"), texts(response, "Upload/UploadId"), strict=True)
        following = [response.xml.findtext(f"Next{name}") for name in ("KeyMarker", "UploadIdMarker")]
        marker = "&key-marker={}&upload-id-marker={}".format(*following)
    assert response.xml.findtext("IsTruncated") == "false"
    assert found == sorted((upload.key.replace("/", "%2F").replace(" +", "%20%2B"), upload.id) for upload in begun)
    assert response.xml.findtext("Upload/Initiated") == "2024-12-03T12:12:12.000Z"


def test_uploads_are_folded_and_go_on_behind_what_was_folded(ask, begun):
    response = ask("uploads&delimiter=%2F")
    assert texts(response, "CommonPrefixes/Prefix") == ["a/"]
    assert texts(response, "Upload/Key") == ["b +", "b +"]
    response = ask("uploads&delimiter=%2F&max-uploads=1")
    assert response.xml.findtext("NextKeyMarker") == "a/"
    response = ask("uploads&delimiter=%2F&key-marker=a%2F")
    assert texts(response, "CommonPrefixes/Prefix") == []
    assert texts(response, "Upload/Key") == ["b +", "b +"]
    assert texts(ask("uploads&prefix=a%2F&delimiter=%2F"), "Upload/Key") == ["a/1", "a/2"]


def test_parts_are_listed_in_pages(oss, ask, begun):
    bucket = oss.storage.bucket("examplebucket")
    for number in (1, 2, 7):
        with bucket.incoming() as incoming:
            incoming.write(b"hi oss")
            incoming.commit_part(begun[0], number, now=NOW)
    response = ask(f"uploadId={begun[0].id}&max-parts=2", begun[0].key)
    assert texts(response, "Part/PartNumber") == ["1", "2"]
    assert response.xml.findtext("NextPartNumberMarker") == "2"
    response = ask(f"uploadId={begun[0].id}&part-number-marker=2", begun[0].key)
    assert texts(response, "Part/PartNumber") == ["7"]
    assert (texts(response, "Part/Size"), response.xml.findtext("IsTruncated")) == (["6"], "false")
