import base64
import hashlib

import pytest

from ..signed_client import SignedClient, code


@pytest.fixture
def client(oss):
    return SignedClient(oss)


@pytest.fixture
def put(client):
    def put(key="a", body=b"hi oss", **options):
        return client("PUT", "examplebucket", key=key, body=body, **options)

    return put


def test_a_body_becomes_an_object(put, app):
    headers = {"x-oss-meta-name": "value", "Content-Disposition": "inline"}
    response = put("a/中", headers=headers)
    assert (response.status_int, response.body) == (200, b"")
    assert response.headers["ETag"] == '"B22E0DC370A7F7067FACF5F75D7FA385"'
    assert response.headers["x-oss-hash-crc64ecma"] == "8707180448768400016"
    answer = app.get("/examplebucket/a/%E4%B8%AD")
    assert answer.body == b"hi oss"
    assert (answer.headers["x-oss-meta-name"], answer.headers["Content-Disposition"]) == ("value", "inline")


def test_without_a_signature_nothing_is_written_copied_listed_or_deleted(app, oss, put):
    put("a")
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
    assert [entry.key for entry in oss.storage.bucket("examplebucket").page()[0]] == ["a"]


def test_a_subresource_that_is_not_offered_stores_no_object(put, client, oss):
    for name in ("tagging", "symlink", "append&position=0", "restore"):
        assert code(client("PUT", "examplebucket", name, key="a", status=501)) == (501, "NotImplemented")
    assert oss.storage.bucket("examplebucket").page() == ([], False)


@pytest.mark.parametrize(
    ("digest", "status"),
    [
        (base64.b64encode(hashlib.md5(b"hi oss").digest()).decode(), 200),
        (base64.b64encode(hashlib.md5(b"hi").digest()).decode(), 400),
        ("c2hvcnQ=", 400),
        ("not base64", 400),
    ],
)
def test_a_body_must_have_its_content_md5(put, oss, digest, status):
    response = put(headers={"content-md5": digest}, status=status)
    if status == 400:
        assert code(response) == (400, "InvalidDigest")
    assert bool(oss.storage.bucket("examplebucket").get("a")) == (status == 200)


@pytest.mark.parametrize("key", ["/a", "\\a", "a" * 1024], ids=["slash", "backslash", "long"])
def test_what_is_no_name_of_an_object_is_refused(put, key):
    assert code(put(key, status=400)) == (400, "InvalidObjectName")


def test_a_body_that_ends_early_is_no_object(oss, put, client, monkeypatch):
    def cut(environ, start_response):
        return oss({**environ, "CONTENT_LENGTH": "100"}, start_response)

    client._app.app = cut
    monkeypatch.setattr(client._app, "lint", False)
    assert code(put(body=b"short", status=400)) == (400, "IncompleteBody")
    assert oss.storage.bucket("examplebucket").get("a") is None


def test_a_callback_is_checked_before_anything_is_stored(put, oss):
    assert code(put(headers={"x-oss-callback": "%"}, status=400)) == (400, "InvalidArgument")
    assert oss.storage.bucket("examplebucket").get("a") is None
