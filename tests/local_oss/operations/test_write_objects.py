import base64
import hashlib
from dataclasses import replace

import pytest

from local_oss.environ import Address
from local_oss.signatures.account import Account

from .. import stored
from ..form_client import form, policy, post, sign_v1
from ..sdk_signer import signed_headers
from ..signed_client import code
from ..stored import content
from .test_assume_role import Key, ask, session_policy


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
    response = app.get("/examplebucket/a/%E4%B8%AD")
    assert response.body == b"hi oss"
    assert (response.headers["x-oss-meta-name"], response.headers["Content-Disposition"]) == ("value", "inline")


@pytest.mark.parametrize(
    ("digest", "status"),
    [
        (base64.b64encode(hashlib.md5(b"hi oss").digest()).decode(), 200),
        (base64.b64encode(hashlib.md5(b"hi").digest()).decode(), 400),
    ],
)
def test_a_body_must_have_its_content_md5(put, bucket, digest, status):
    response = put(headers={"content-md5": digest}, status=status)
    if status == 400:
        assert code(response) == (400, "InvalidDigest")
    assert bool(bucket.get("a")) == (status == 200)


@pytest.mark.parametrize("key", ["/a", "\\a", "a" * 1024], ids=["slash", "backslash", "long"])
def test_an_invalid_key_is_rejected(put, key):
    assert code(put(key, status=400)) == (400, "InvalidObjectName")


def test_a_body_cut_short_makes_no_object(oss, bucket, put, client, monkeypatch):
    def cut(environ, start_response):
        return oss({**environ, "CONTENT_LENGTH": "100"}, start_response)

    client._app.app = cut
    monkeypatch.setattr(client._app, "lint", False)
    assert code(put(body=b"short", status=400)) == (400, "IncompleteBody")
    assert bucket.get("a") is None


def test_a_callback_is_checked_before_anything_is_stored(put, bucket):
    assert code(put(headers={"x-oss-callback": "%"}, status=400)) == (400, "InvalidArgument")
    assert bucket.get("a") is None


@pytest.fixture
def copy(client, bucket):
    """Copy an object of the bucket; keywords are headers that begin with x-oss-."""
    stored.put(bucket, "源 +")

    def copy(source="/examplebucket/%E6%BA%90%20%2B", status=None, **headers):
        headers = {f"x-oss-{name.replace('_', '-')}": value for name, value in headers.items()}
        headers["x-oss-copy-source"] = source
        return client("PUT", "examplebucket", key="b", headers=headers, status=status)

    return copy


def test_a_copy_keeps_content_type_and_metadata(copy, bucket):
    response = copy(meta_ignored="x")
    assert response.xml.findtext("ETag") == response.headers["ETag"] == '"B22E0DC370A7F7067FACF5F75D7FA385"'
    stored = bucket.get("b")
    assert (stored.content_type, stored.headers) == ("text/plain", {"x-oss-meta-a": "b"})
    assert content(bucket, "b") == b"hi oss"


@pytest.mark.parametrize(
    ("source", "key"), [("a+b", "a b"), ("a%20b", "a b"), ("a b", "a b"), ("a%2Bb", "a+b"), ("a%2bb", "a+b")]
)
def test_a_plus_in_a_copy_source_is_a_blank(copy, bucket, source, key):
    """The Ruby SDK sends keys as they are, and cannot copy one with a plus (its issue 98); the Go SDK sends `a+b`."""
    for name in ("a b", "a+b"):
        stored.put(bucket, name, name.encode())
    copy(f"/examplebucket/{source}")
    assert content(bucket, "b") == key.encode()


def test_a_copy_by_a_temporary_key_needs_the_right_to_read_its_source(app, oss, bucket):
    stored.put(bucket, "source")
    copying = {"x-oss-copy-source": "/examplebucket/source"}
    for actions, status in ((["oss:PutObject"], 403), (["oss:PutObject", "oss:GetObject"], 200)):
        key = Key(ask(oss, Policy=session_policy(*actions, resource="*")))
        account = Account(key.access_key_id, key.access_key_secret, key.token)
        address = Address("examplebucket", "b")
        headers = signed_headers("v4", "PUT", address=address, headers=copying, account=account)
        app.put("/examplebucket/b", headers={**copying, **headers}, status=status)
        assert bool(bucket.get("b")) == (status == 200)


def test_a_copy_may_replace_the_metadata(copy, bucket):
    copy(metadata_directive="REPLACE", meta_c="d")
    stored = bucket.get("b")
    assert (stored.content_type, stored.headers) == ("application/xml", {"x-oss-meta-c": "d"})


def test_a_copy_chooses_its_own_class_and_acl(copy, bucket):
    copy(storage_class="IA", object_acl="private")
    chosen = {"x-oss-storage-class": "IA", "x-oss-object-acl": "private"}
    assert bucket.get("b").headers == {"x-oss-meta-a": "b", **chosen}


@pytest.mark.parametrize(
    ("condition", "value", "status"),
    [
        ("copy_source_if_match", '"x"', 412),
        ("copy_source_if_match", "B22E0DC370A7F7067FACF5F75D7FA385", 200),
        ("copy_source_if_none_match", '"x"', 200),
        ("copy_source_if_none_match", "B22E0DC370A7F7067FACF5F75D7FA385", 304),
        ("copy_source_if_modified_since", "Tue, 03 Dec 2024 12:12:12 GMT", 304),
        ("copy_source_if_unmodified_since", "Tue, 03 Dec 2024 12:12:11 GMT", 412),
    ],
)
def test_a_copy_has_conditions_on_its_source(copy, bucket, condition, value, status):
    copy(**{condition: value}, status=status)
    assert bool(bucket.get("b")) == (status == 200)


@pytest.mark.parametrize(
    ("source", "status", "expected"),
    [
        ("/examplebucket/none", 404, "NoSuchKey"),
        ("/nobucket/a", 404, "NoSuchBucket"),
        ("/examplebucket", 400, "InvalidArgument"),
        ("a", 400, "InvalidArgument"),
        ("", 400, "InvalidArgument"),
    ],
)
def test_an_invalid_source_is_rejected(copy, source, status, expected):
    assert code(copy(source, status=status)) == (status, expected)


def test_the_metadata_directive_is_copy_or_replace(copy):
    assert code(copy(metadata_directive="MERGE", status=400)) == (400, "InvalidArgument")


def test_a_copy_does_not_overwrite_when_forbidden(copy, bucket):
    stored.put(bucket, "b", b"first")
    assert code(copy(forbid_overwrite="true", status=409)) == (409, "FileAlreadyExists")
    assert content(bucket, "b") == b"first"


def keys(bucket):
    return [entry.key for entry in bucket.page()[0]]


def delete_document(*names, quiet=""):
    objects = "".join(f"<Object><Key>{name}</Key></Object>" for name in names)
    return f"<Delete>{quiet}{objects}</Delete>".encode()


def test_deleting_a_missing_object_succeeds_too(client, bucket):
    stored.put(bucket, "a")
    for _ in range(2):
        assert client("DELETE", "examplebucket", key="a").status_int == 204
    assert keys(bucket) == []


def test_deleted_objects_are_named_in_the_response(client, bucket):
    for key in ("a", "b +", "c"):
        stored.put(bucket, key)
    response = client("POST", "examplebucket", "delete", delete_document("a", "b +", "none"))
    assert [element.text for element in response.xml.iter("Key")] == ["a", "b +", "none"]
    assert keys(bucket) == ["c"]


def test_deleted_names_are_encoded_on_request(client, bucket):
    response = client("POST", "examplebucket", "delete&encoding-type=url", delete_document("b +/"))
    assert response.xml.findtext("EncodingType") == "url"
    assert response.xml.findtext("Deleted/Key") == "b%20%2B%2F"


def test_a_quiet_deletion_names_no_object(client, bucket):
    stored.put(bucket, "a")
    response = client("POST", "examplebucket", "delete", delete_document("a", quiet="<Quiet>true</Quiet>"))
    assert response.xml.find("Deleted") is None
    assert keys(bucket) == []


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<Delete>",
        b"<Other/>",
        delete_document(),
        delete_document(*["a"] * 1001),
        delete_document("a", quiet="<Quiet>maybe</Quiet>"),
        b'<!DOCTYPE x [<!ENTITY e "a">]><Delete><Object><Key>&e;</Key></Object></Delete>',
    ],
)
def test_a_malformed_list_deletes_nothing(client, bucket, body):
    stored.put(bucket, "a")
    assert code(client("POST", "examplebucket", "delete", body, status=400)) == (400, "MalformedXML")
    assert keys(bucket) == ["a"]


def test_a_list_with_a_key_that_no_object_has_deletes_nothing(client, bucket):
    stored.put(bucket, "a")
    body = delete_document("a", "/b")
    assert code(client("POST", "examplebucket", "delete", body, status=400)) == (400, "InvalidObjectName")
    assert keys(bucket) == ["a"]


def acl_of(client, key="a", **options):
    return client("GET", "examplebucket", "acl", key=key, **options)


def test_the_acl_of_a_form_is_stored_and_returned(app, oss, client):
    """The field wins over the header."""
    for key, fields in (("a", {}), ("b", {"x-oss-object-acl": "public-read-write"})):
        payload = form({"key": key, **fields, **sign_v1(oss, policy())})
        post(app, payload, headers={"x-oss-object-acl": "private"} if fields else {}, status=204)
    assert acl_of(client).xml.findtext("AccessControlList/Grant") == "default"
    document = acl_of(client, "b").xml
    assert document.findtext("AccessControlList/Grant") == "public-read-write"
    assert document.findtext("Owner/ID") == "1000000000000001"


@pytest.mark.parametrize("acl", ["default", "public-read"])
def test_changing_the_acl_changes_nothing_else(client, bucket, put, acl):
    put(headers={"x-oss-object-acl": "private", "Cache-Control": "no-cache"})
    before = bucket.get("a")
    client("PUT", "examplebucket", "acl", key="a", headers={"x-oss-object-acl": acl})
    assert acl_of(client).xml.findtext("AccessControlList/Grant") == acl
    assert replace(bucket.get("a"), headers=before.headers) == before
    assert bucket.get("a").headers["Cache-Control"] == "no-cache"
    assert content(bucket, "a") == b"hi oss"


def test_an_invalid_acl_or_a_missing_object_is_rejected(client, put):
    put()
    for key, acl, expected in (
        ("a", "secret", "InvalidArgument"),
        ("a", "", "InvalidArgument"),
        ("b", "private", "NoSuchKey"),
    ):
        response = client("PUT", "examplebucket", "acl", key=key, headers={"x-oss-object-acl": acl}, status="*")
        assert code(response)[1] == expected
    assert acl_of(client).xml.findtext("AccessControlList/Grant") == "default"
    assert code(acl_of(client, "b", status=404)) == (404, "NoSuchKey")


def test_a_stranger_neither_sees_nor_changes_the_acl(app, put):
    put(headers={"x-oss-object-acl": "public-read", "x-oss-storage-class": "IA"})
    change = {"x-oss-object-acl": "private", "Content-Type": "text/plain"}
    assert code(app.put("/examplebucket/a?acl", headers=change, status=403)) == (403, "AccessDenied")
    assert code(app.get("/examplebucket/a?acl", status=403)) == (403, "AccessDenied")
    response = app.get("/examplebucket/a")
    assert "x-oss-object-acl" not in response.headers
    assert response.headers["x-oss-storage-class"] == "IA"


@pytest.mark.parametrize(("version", "status"), [("", 200), ("null", 200), ("CAEQ", 501)])
def test_another_version_of_an_object_is_not_this_one(client, bucket, version, status):
    stored.put(bucket, "a")
    copy = {"x-oss-copy-source": f"/examplebucket/a?versionId={version}"}
    assert client("PUT", "examplebucket", key="b", headers=copy, status="*").status_int == status
    body = f"<Delete><Object><Key>a</Key><VersionId>{version}</VersionId></Object></Delete>".encode()
    assert client("POST", "examplebucket", "delete", body, status="*").status_int == status
    assert [entry.key for entry in bucket.page()[0]] == (["b"] if status == 200 else ["a"])


@pytest.mark.parametrize("written", ["&#x01;", "&#12;", "\x0c"], ids=ascii)
def test_keys_with_control_characters_are_deleted(client, bucket, written):
    """The Ruby SDK sends references to them , other suites the characters themselves (issue 29, 1.5)."""
    key = f"a{chr(1) if '01' in written else chr(12)}b"
    stored.put(bucket, key)
    client("POST", "examplebucket", "delete&encoding-type=url", delete_document(f"a{written}b"))
    assert keys(bucket) == []


def test_a_copy_onto_itself_replaces_the_metadata(client, bucket):
    """CopyObject's page: with the same source and destination the directive is ignored."""
    stored.put(bucket, "a")
    headers = {"x-oss-copy-source": "/examplebucket/a", "x-oss-meta-c": "d", "content-type": "image/png"}
    client("PUT", "examplebucket", key="a", headers=headers)
    assert (bucket.get("a").content_type, bucket.get("a").headers) == ("image/png", {"x-oss-meta-c": "d"})
    assert content(bucket, "a") == b"hi oss"


def test_a_replacing_copy_without_a_type_keeps_the_type(app, oss, bucket):
    stored.put(bucket, "a")
    headers = {"x-oss-copy-source": "/examplebucket/a", "x-oss-metadata-directive": "REPLACE"}
    address = Address("examplebucket", "b")
    sent = signed_headers("v4", "PUT", address=address, headers=headers, account=oss.account)
    app.request("/examplebucket/b", method="PUT", headers=sent)
    assert (bucket.get("b").content_type, bucket.get("b").headers) == ("text/plain", {})


def test_the_encryption_of_an_object_is_told_as_it_was_asked_for(client):
    headers = {"x-oss-server-side-encryption": "KMS", "x-oss-server-side-encryption-key-id": "id"}
    for response in (
        client("PUT", "examplebucket", body=b"x", key="a", headers=headers),
        client("HEAD", "examplebucket", key="a"),
    ):
        assert {name: response.headers[name] for name in headers} == headers


@pytest.mark.parametrize(
    ("method", "query", "header"),
    [
        ("PUT", "", "x-oss-tagging"),
        ("PUT", "", "x-oss-traffic-limit"),
        ("PUT", "", "x-oss-persistent-headers"),
        ("PUT", "", "x-oss-object-worm-mode"),
        ("PUT", "", "x-oss-object-worm-retain-until-date"),
        ("PUT", "", "x-oss-object-worm-legal-hold"),
        ("GET", "", "x-oss-traffic-limit"),
        ("POST", "uploads", "x-oss-tagging"),
        ("PUT", "partNumber=1&uploadId=x", "x-oss-traffic-limit"),
    ],
)
def test_a_header_that_is_not_obeyed_is_refused_by_name(client, bucket, method, query, header):
    """PutObject's page, and the PutObjectRequest of alibabacloud-oss-v2."""
    response = client(method, "examplebucket", query, key="a", headers={header: "819200"}, status=501)
    assert header in response.xml.findtext("Message")
    assert bucket.page() == ([], False)
