from xml.etree import ElementTree

import pytest
from webtest import TestApp

from ..form_client import callback_field, form, part, policy, post, sign_v1, sign_v4
from ..signed_client import code_and_ec as code
from ..stored import content

PREFIX = ["starts-with", "$key", "user/"]


def stored(oss):
    assert [path.name for path in (oss.directory / ".incoming").rglob("*") if path.is_file()] == [".owner"]
    bucket = oss.storage.bucket("examplebucket")
    assert len(list((oss.directory / "examplebucket").glob("*"))) == len(bucket.page()[0])
    return {entry.key: content(bucket, entry.key) for entry in bucket.page()[0]}


@pytest.fixture
def sign(request, oss):
    """Return a function that signs conditions, with V4 where a test does not ask for V1."""
    if getattr(request, "param", "v4") == "v1":
        return lambda *conditions: sign_v1(oss, policy(*conditions))
    return lambda *conditions: sign_v4(oss, *conditions)


both_versions = pytest.mark.parametrize("sign", ["v1", "v4"], indirect=True)


@both_versions
def test_a_signed_form_becomes_an_object(app, oss, sign):
    response = post(app, form({"key": "user/a.txt", **sign(PREFIX)}))
    assert (response.status_int, response.body) == (204, b"")
    assert response.headers["ETag"] == '"B22E0DC370A7F7067FACF5F75D7FA385"'
    assert response.headers["Content-MD5"] == "si4Nw3Cn9wZ/rPX3XX+jhQ=="
    assert response.headers["x-oss-hash-crc64ecma"] == "8707180448768400016"
    assert stored(oss) == {"user/a.txt": b"hi oss"}


def test_the_published_upload_js_form_is_accepted(app, oss):
    signed = sign_v1(oss, policy(["content-length-range", 0, 1048576000], PREFIX))
    fields = {
        "name": "a.txt",
        "key": "user/${filename}",
        "policy": signed["policy"],
        "OSSAccessKeyId": signed["OSSAccessKeyId"],
        "success_action_status": "200",
        "callback": "",
        "signature": signed["Signature"],
    }
    post(app, form(fields), status=200)
    assert stored(oss) == {"user/a.txt": b"hi oss"}


@pytest.mark.parametrize(
    ("filename", "key"),
    [
        ("a.txt", "user/a.txt-a.txt"),
        ("../../x", "user/../../x-../../x"),
        ("照片.png", "user/照片.png-照片.png"),
        (None, "user/-"),
    ],
    ids=ascii,
)
def test_the_policy_check_comes_before_the_file_name_in_the_key(app, oss, sign, filename, key):
    fields = {"key": "user/${filename}-${filename}", **sign(["eq", "$key", r"user/\${filename}-\${filename}"])}
    post(app, form(fields, filename=filename), status=204)
    assert stored(oss) == {key: b"hi oss"}


@pytest.mark.parametrize(
    ("key", "filename"),
    [
        pytest.param("${filename}", "", id="empty afterwards"),
        pytest.param("${filename}", "/a", id="slash afterwards"),
        pytest.param("中" * 342, "", id="too long in bytes"),
        pytest.param("${filename}", "a" * 1024, id="too long afterwards"),
    ],
)
def test_an_invalid_key_is_refused(app, oss, key, filename):
    response = post(app, form({"key": key, **sign_v1(oss, policy())}, filename=filename))
    assert code(response)[:2] == (400, "InvalidObjectName")
    assert stored(oss) == {}


def test_the_longest_key_is_accepted(app, oss):
    post(app, form({"key": "中" * 341, **sign_v1(oss, policy())}), status=204)
    assert stored(oss) == {"中" * 341: b"hi oss"}


# Statuses, protocol.md 2.5.


@pytest.mark.parametrize(("asked", "status"), [("200", 200), ("204", 204), ("", 204), ("302", 204), ("200 ", 204)])
def test_success_action_status_chooses_among_three(app, sign, asked, status):
    response = post(app, form({"key": "user/a", "success_action_status": asked, **sign(PREFIX)}))
    assert (response.status_int, response.body) == (status, b"")
    assert response.headers["Content-Length"] == "0"


def test_201_describes_the_object_in_xml(app, oss, sign):
    response = post(app, form({"key": "user/<中>&.txt", "success_action_status": "201", **sign(PREFIX)}), status=201)
    assert response.content_type == "application/xml"
    root = ElementTree.fromstring(response.body)
    assert root.tag == "PostResponse"
    assert {child.tag: child.text for child in root} == {
        "Bucket": "examplebucket",
        "ETag": '"B22E0DC370A7F7067FACF5F75D7FA385"',
        "Key": "user/<中>&.txt",
        "Location": f"{oss.host}/user/%3C%E4%B8%AD%3E%26.txt",
    }


def test_a_redirect_wins_over_the_status(app, sign):
    fields = {"success_action_status": "201", "success_action_redirect": "http://page.example/ok?中=1#x"}
    response = post(app, form({"key": "user/a", **fields, **sign(PREFIX)}), status=303)
    assert response.headers["Location"].encode("latin-1").decode() == "http://page.example/ok?中=1#x"


def test_a_failure_does_not_redirect(app, sign):
    fields = {"key": "other/a", "success_action_redirect": "http://page.example/"}
    assert code(post(app, form({**fields, **sign(PREFIX)})))[0] == 403


# Order, protocol.md 2.2, protocol.md 2.7.


def test_a_key_after_the_file_does_not_count(app, oss, sign):
    payload = form(sign(), after=[part("key", "user/a")])
    response = post(app, payload)
    assert code(response)[:2] == (400, "InvalidArgument")
    assert "must contain the specified 'key'" in response.xml.findtext("Message")
    assert (response.xml.findtext("ArgumentName"), response.xml.findtext("ArgumentValue")) == ("key", "")
    assert stored(oss) == {}


def test_a_signature_after_the_file_does_not_count(app, oss):
    fields = sign_v1(oss, policy())
    payload = form({"key": "a"}, after=[part(name, value) for name, value in fields.items()])
    assert code(post(app, payload)) == (403, "AccessDenied", "0003-00000001")


def test_the_signature_is_checked_before_the_policy_is_read(app, oss):
    signed = {**sign_v1(oss, "no policy at all"), "Signature": "wrong"}
    assert code(post(app, form({"key": "a", **signed})))[1] == "SignatureDoesNotMatch"
    assert code(post(app, form({"key": "a", **sign_v1(oss, "no policy at all")})))[1] == "InvalidPolicyDocument"


# The policy, protocol.md 3. The operators have their tables in test_policy_check.


@both_versions
def test_a_form_that_breaks_a_condition_is_refused(app, oss, sign):
    response = post(app, form({"key": "user/a", **sign(PREFIX, ["in", "$content-type", ["image/png"]])}))
    assert code(response) == (403, "AccessDenied", "0006-00000227")
    assert response.headers["x-oss-ec"] == "0006-00000227"
    assert stored(oss) == {}


# Sizes.


@pytest.mark.parametrize(
    ("size", "expected"),
    [(1, "0006-00000004"), (2, None), (1_000_000, None), (1_000_001, "0006-00000003")],
)
def test_the_size_must_be_within_the_range(app, oss, sign, size, expected):
    response = post(app, form({"key": "user/a", **sign(["content-length-range", 2, 1_000_000])}, bytes(size)))
    if expected is None:
        assert response.status_int == 204
        assert stored(oss) == {"user/a": bytes(size)}
    else:
        name = "EntityTooSmall" if size < 2 else "EntityTooLarge"
        assert code(response) == (400, name, expected)
        assert stored(oss) == {}


@pytest.mark.slow
def test_too_large_a_file_is_not_read_to_its_end(oss):
    class Counting:
        def __init__(self, payload):
            self.payload, self.position = payload, 0

        def read(self, size):
            chunk = self.payload[self.position : self.position + size]
            self.position += len(chunk)
            return chunk

    payload = form({"key": "a", **sign_v1(oss, policy(["content-length-range", 0, 10]))}, bytes(10_000_000))
    stream = Counting(payload)
    environ = {
        "REQUEST_METHOD": "POST",
        "PATH_INFO": "/examplebucket",
        "SERVER_NAME": "127.0.0.1",
        "CONTENT_TYPE": "multipart/form-data; boundary=----WebKitFormBoundary7MA4YWxkTrZu0gW",
        "CONTENT_LENGTH": str(len(payload)),
        "wsgi.input": stream,
    }
    answers = []
    oss(environ, lambda status, headers: answers.append(status))
    assert answers == ["400 Bad Request"]
    assert stream.position < 1_000_000


def test_forbid_overwrite_keeps_the_first_object(app, oss, sign):
    fields = {"key": "user/a", "x-oss-forbid-overwrite": "true", **sign(PREFIX)}
    post(app, form(fields, b"first"), status=204)
    assert code(post(app, form(fields, b"second")))[:2] == (409, "FileAlreadyExists")
    assert stored(oss) == {"user/a": b"first"}


# The callback, protocol.md 7, protocol.md 8.


def upload(app, sign, content=b"hi oss", *, content_type="text/plain", **members):
    fields = {"key": "user/a b.txt", "x:uid": "4/2", "callback": callback_field(**members), **sign(PREFIX)}
    return post(app, form(fields, content, content_type=content_type), headers={"Origin": "http://page.example"})


def test_the_reply_of_the_application_is_relayed(app, oss, sign, recorder):
    response = upload(app, sign, callbackBody="object=${object}&uid=${x:uid}&size=${size}")
    assert (response.status_int, response.body) == (200, b'{"Status":"Ok"}')
    assert response.content_type == "application/json"
    assert response.headers["ETag"] == '"B22E0DC370A7F7067FACF5F75D7FA385"'
    assert response.headers["Access-Control-Allow-Origin"] == "http://page.example"
    assert recorder.body_received == b"object=user%2Fa%20b.txt&uid=4%2F2&size=6"
    assert recorder.environ["HTTP_X_OSS_REQUEST_ID"] == response.headers["x-oss-request-id"]
    assert recorder.closed == 1


def test_a_callback_wins_over_status_and_redirect(app, sign, recorder):
    fields = {"success_action_status": "201", "success_action_redirect": "http://page.example/"}
    payload = form({"key": "user/a", "callback": callback_field(), **fields, **sign(PREFIX)})
    assert post(app, payload).status_int == 200


def test_a_failed_callback_is_203_and_the_object_stays(app, oss, sign, recorder):
    recorder.status = "500 Oops"
    response = upload(app, sign)
    assert code(response) == (203, "CallbackFailed", "0007-00000203")
    assert response.xml.findtext("Message") == "Error status : 500."
    assert response.xml.findtext("HostId") == "localhost:80"
    assert response.headers["ETag"] == '"B22E0DC370A7F7067FACF5F75D7FA385"'
    assert response.headers["Access-Control-Allow-Origin"] == "http://page.example"
    assert stored(oss) == {"user/a b.txt": b"hi oss"}


def test_an_invalid_callback_stores_nothing(app, oss, sign, recorder):
    response = post(app, form({"key": "user/a", "callback": "{}", **sign(PREFIX)}))
    assert code(response) == (400, "InvalidArgument", "0007-00000002")
    assert (stored(oss), recorder.requests) == ({}, [])


def test_a_callback_in_form_and_header_stores_nothing(app, oss, sign, recorder):
    both = {"x-oss-callback": callback_field()}
    response = post(app, form({"key": "user/a", "callback": callback_field(), **sign(PREFIX)}), headers=both)
    assert code(response) == (400, "InvalidArgument", "0007-00000027")
    assert (stored(oss), recorder.requests) == ({}, [])
    post(app, form({"key": "user/a", "callback": "", **sign(PREFIX)}), headers=both, status=204)


@pytest.mark.slow
def test_a_private_callback_address_can_be_refused(make_oss):
    oss = make_oss(allow_private_callback=False)
    response = upload(
        TestApp(oss), lambda *conditions: sign_v1(oss, policy(*conditions)), callbackUrl="http://127.0.0.1/"
    )
    assert code(response) == (400, "InvalidArgument", "0007-00000008")
    assert response.xml.findtext("Message") == "Private address is forbidden to callback."
    assert stored(oss) == {}
