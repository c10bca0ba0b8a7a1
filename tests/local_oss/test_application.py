import logging
import re

import pytest
from webtest import TestApp

from local_oss import LocalOSS
from local_oss.environ import Address

from .form_client import NOW, form, policy, post, sign_v1, sign_v4
from .sdk_signer import sign, signed_headers
from .signed_client import SignedClient
from .signed_client import code_and_ec as code
from .stored import put


def test_every_response_has_the_headers_of_oss_once(app):
    response = app.get("/examplebucket/none", status=404)
    names = [name.lower() for name, _ in response.headerlist]
    assert sorted(names) == sorted(set(names))
    assert response.headers["Server"] == "AliyunOSS"
    assert response.headers["Date"] == "Tue, 03 Dec 2024 12:12:12 GMT"
    assert re.fullmatch("674EF59C[0-9A-F]{16}", response.headers["x-oss-request-id"])
    assert response.headers["x-oss-server-time"] == "0"
    assert response.headers["x-oss-ec"] == "0026-00000001"
    assert response.xml.findtext("RequestId") == response.headers["x-oss-request-id"]
    assert response.xml.findtext("HostId") == "localhost:80"


@pytest.mark.parametrize("region", ["oss-cn-hangzhou", "cn-hangzhou"])
def test_a_region_may_be_written_as_in_an_endpoint(make_oss, region):
    oss = make_oss(region=region)
    assert oss.region == "cn-hangzhou"
    post(TestApp(oss), form({"key": "a", **sign_v4(oss)}), status=204)
    response = SignedClient(oss)("GET", "examplebucket", "location")
    assert response.xml.text == "oss-cn-hangzhou"


def test_the_urls_follow_the_base_url(make_oss):
    oss = make_oss()
    oss.url = "http://127.0.0.1:9000"
    assert oss.host == "http://127.0.0.1:9000/examplebucket"
    assert oss.public_key_url == "http://127.0.0.1:9000/callback_pub_key.pem"


def test_the_public_key_is_served_outside_the_buckets(app, oss):
    response = app.get("/callback_pub_key.pem")
    assert response.text == oss.public_key_pem
    assert response.text.startswith("-----BEGIN PUBLIC KEY-----\n")
    assert app.head("/callback_pub_key.pem").body == b""
    app.get("/callback_pub_key.pem", headers={"Host": "examplebucket.localhost"}, status=404)


def test_a_form_to_an_unknown_bucket_is_404(app):
    response = app.post("/nobucket", status=404)
    assert code(response) == (404, "NoSuchBucket", "0015-00000101")
    assert response.xml.findtext("BucketName") == "nobucket"


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_a_signed_request_to_an_unknown_bucket_is_404(oss, method):
    response = SignedClient(oss)(method, "nobucket", key="a", status=404)
    assert code(response) == (404, "NoSuchBucket", "0015-00000101")
    assert response.xml.findtext("BucketName") == "nobucket"


def test_a_request_that_names_no_bucket_uses_the_first(app, oss):
    oss.create_bucket("second-bucket")
    named = {"Host": "img.example.com"}
    post(app, form({"key": "dir/a", **sign_v1(oss, policy())}), path="/", headers=named, status=204)
    assert app.get("/dir/a", headers=named).body == b"hi oss"
    assert code(app.get("/dir/b", headers=named, status=404))[1] == "NoSuchKey"
    assert code(app.get("/second-bucket/dir/a", headers=named, status=404))[1] == "NoSuchKey"


def test_a_form_of_another_type_is_refused_before_its_signature(app):
    for authorization in ("junk", "OSS a:b", "OSS4-HMAC-SHA256 Credential=a"):
        for path in ("/", "/examplebucket"):
            response = app.post(path, "a=b", headers={"Authorization": authorization}, status=400)
            assert code(response)[1] == "RequestIsNotMultiPartContent"


@pytest.mark.parametrize(
    ("method", "path", "kind"),
    [
        ("PATCH", "/examplebucket/a", "Object"),
        ("PATCH", "/examplebucket", "Bucket"),
        ("POST", "/examplebucket/a", "Object"),
        ("PATCH", "/", "Bucket"),
    ],
)
def test_other_methods_are_not_allowed(app, method, path, kind):
    response = app.request(path, method=method, status=405)
    assert code(response)[1] == "MethodNotAllowed"
    assert (response.xml.findtext("Method"), response.xml.findtext("ResourceType")) == (method, kind)


def test_access_keys_are_made_when_none_are_given(make_oss, tmp_path):
    first, second = make_oss(), make_oss(directory=tmp_path / "others")
    assert first.access_key_id != second.access_key_id
    assert first.access_key_secret != second.access_key_secret
    assert len(first.access_key_secret) >= 30


def test_no_secret_shows_in_a_repr(make_oss):
    oss = make_oss(security_token="the-token")
    for text in map(repr, (oss, oss.options, oss.account, oss.storage, oss.sender, oss.inspector)):
        assert oss.access_key_secret not in text
        assert "the-token" not in text


def test_without_a_directory_objects_live_until_close(make_oss):
    oss = make_oss(directory=None)
    post(TestApp(oss), form({"key": "a", **sign_v1(oss, policy())}), status=204)
    assert list((oss.directory / "examplebucket").glob("a-*"))
    oss.close()
    assert not oss.directory.exists()
    oss.close()


def test_a_given_directory_stays_after_close(make_oss, tmp_path):
    directory = tmp_path / "objects-to-keep"
    with make_oss(directory=str(directory)) as oss:
        post(TestApp(oss), form({"key": "a", **sign_v1(oss, policy())}), status=204)
    with make_oss(directory=directory) as oss:
        assert TestApp(oss).get("/examplebucket/a").body == b"hi oss"


def test_an_invalid_bucket_name_is_refused():
    with pytest.raises(ValueError, match="bucket name has 3 to 63"):
        LocalOSS("../x")


def test_an_unexpected_exception_is_a_logged_500(app, oss, caplog):
    oss.storage.blobs.process_folder = oss.directory / "removed"
    with caplog.at_level(logging.ERROR, "local_oss"):
        response = post(app, form({"key": "a", **sign_v1(oss, policy())}))
    assert code(response)[:2] == (500, "InternalError")
    assert response.headers["x-oss-request-id"] in caplog.text
    assert oss.access_key_secret not in caplog.text


def test_the_given_clock_is_used(make_oss):
    ticks = iter([NOW, NOW, NOW + 0.25])
    response = TestApp(make_oss(clock=lambda: next(ticks))).get("/?prefix=", status=403)
    assert response.headers["x-oss-server-time"] == "250"


def test_a_missing_bucket_is_told_before_an_unknown_access_key(app):
    """The Go SDK's own tests expect NoSuchBucket of such a request."""
    unknown = {"Authorization": "OSS nobody:c2lnbmF0dXJl", "Date": "Tue, 03 Dec 2024 12:12:12 GMT"}
    host = {"Host": "nobucket.oss-cn-hangzhou.aliyuncs.com"}
    assert code(app.get("/a", headers={**unknown, **host}, status=404))[1] == "NoSuchBucket"
    assert code(app.get("/examplebucket/a", headers=unknown, status=403))[1] == "InvalidAccessKeyId"
    assert code(app.put("/", headers={**unknown, **host}, status=403))[1] == "InvalidAccessKeyId"


def test_the_preflight_of_a_missing_bucket_is_404(app):
    headers = {"Origin": "http://page.example", "Access-Control-Request-Method": "POST"}
    assert code(app.options("/nobucket", headers=headers, status=404))[1] == "NoSuchBucket"
    assert app.options("/examplebucket", headers=headers).status_int == 200


def test_an_acl_of_the_options_is_of_every_bucket_and_kept(make_oss, tmp_path):
    oss = make_oss(acl="public-read", directory=tmp_path / "kept")
    oss.create_bucket("second-bucket")
    assert [bucket.acl for bucket in oss.storage.buckets()] == ["public-read"] * 2
    oss.close()
    assert [bucket.acl for bucket in make_oss(acl="private", directory=tmp_path / "kept").storage.buckets()] == [
        "public-read"
    ] * 2
    with pytest.raises(ValueError, match="an ACL is one of private, public-read, public-read-write, not 'default'"):
        make_oss(acl="default", directory=tmp_path / "other")


def test_where_v1_is_refused_v4_works_in_header_url_and_form(make_oss):
    oss = make_oss(acl="private", refuse_v1=True)
    app, address = TestApp(oss), Address("examplebucket", "a")
    put(oss.storage.bucket("examplebucket"), "a")
    header = signed_headers("v1", address=address, account=oss.account)
    url = sign("v1", address=address, account=oss.account, expires=60)["QUERY_STRING"]
    for response in (
        app.get("/examplebucket/a", headers=header, status=403),
        app.get(f"/examplebucket/a?{url}", status=403),
        post(app, form({"key": "a", **sign_v1(oss, policy())})),
    ):
        assert code(response) == (403, "AccessDenied", "0002-00000080")
        assert response.xml.findtext("Message") == "V1 signature is forbidden"
    assert SignedClient(oss)("GET", "examplebucket", key="a").body == b"hi oss"
    assert app.get(oss.signed_url("a").removeprefix(oss.url)).body == b"hi oss"
    post(app, form({"key": "a", **sign_v4(oss)}), status=204)


def test_without_a_signature_nothing_says_that_v1_is_forbidden(make_oss):
    app = TestApp(make_oss(acl="private", refuse_v1=True))
    responses = app.get("/examplebucket/a", status=403), post(app, form({"key": "a"}))
    assert [code(response)[2] for response in responses] == ["0003-00000001"] * 2


@pytest.mark.parametrize("expires", [0, 0.5, 7 * 86400 + 1])
def test_a_signed_url_is_valid_for_a_second_to_seven_days(oss, expires):
    with pytest.raises(ValueError, match="is valid for 1 to 604800 seconds"):
        oss.signed_url("a", expires=expires)


def test_an_endpoint_as_the_host_refuses_a_bucket_in_the_path(app, oss):
    """Recorded in June 2022."""
    endpoint = {"Host": "oss-cn-hangzhou.aliyuncs.com"}
    put(oss.storage.bucket("examplebucket"), "a")
    message = "The bucket you are attempting to access must be addressed using OSS third level domain."
    for response in (
        app.get("/examplebucket/a", headers=endpoint, status=403),
        app.put("/new-bucket", headers=endpoint, status=403),
        post(app, form({"key": "a", **sign_v4(oss)}), headers=endpoint),
    ):
        assert code(response)[:2] == (403, "SecondLevelDomainForbidden")
        assert response.xml.findtext("Message") == message
    header = signed_headers("v4", address=Address(None, ""), account=oss.account)
    assert app.get("/", headers={**header, **endpoint}).xml.findtext(".//Bucket/Name") == "examplebucket"


def test_a_bucket_is_private_unless_asked(tmp_path):
    with LocalOSS(directory=tmp_path, key_bits=512) as oss:
        assert oss.storage.bucket(oss.bucket).acl == "private"


@pytest.mark.parametrize("token", [None, "a token+of/sts"])
def test_a_signed_url_reads_a_private_object_for_a_while(make_oss, token):
    now = [NOW]
    oss = make_oss(acl="private", clock=lambda: now[0], security_token=token)
    put(oss.storage.bucket("examplebucket"), "dir/图 +.png")
    path = oss.signed_url("dir/图 +.png", expires=60).removeprefix(oss.url)
    assert TestApp(oss).get(path).body == b"hi oss"
    TestApp(oss).get(path.replace("dir", "dir2"), status=403)
    now[0] += 61
    assert code(TestApp(oss).get(path, status=403)) == (403, "AccessDenied", "0002-00000069")
