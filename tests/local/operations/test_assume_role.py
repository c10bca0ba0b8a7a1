"""AssumeRole, asked by requests that are signed by hand, and by Alibaba Cloud's own libraries."""

import base64
import hashlib
import hmac
import json
import re
import time
from urllib.parse import quote, urlencode

import oss2
import pytest
from aliyunsdkcore.client import AcsClient
from aliyunsdkcore.request import CommonRequest
from webtest import TestApp

from oss_wsgi import Settings
from oss_wsgi.sdk.credentials import SDKCredentialsProvider

from ..form_client import NOW, form, policy, post, sign_v1, utc
from ..stored import content

ROLE = "acs:ram::123:role/uploader"


def session_policy(*actions, resource="acs:oss:*:*:examplebucket/user/*", effect="Allow"):
    statement = {"Effect": effect, "Action": list(actions), "Resource": [resource]}
    return json.dumps({"Version": "1", "Statement": [statement]})


def parameters(oss, **changes):
    return {
        "Action": "AssumeRole",
        "Version": "2015-04-01",
        "Format": "JSON",
        "RoleArn": ROLE,
        "RoleSessionName": "a-test",
        "AccessKeyId": oss.access_key_id,
        "SignatureMethod": "HMAC-SHA1",
        "SignatureVersion": "1.0",
        "SignatureNonce": "nonce",
        "Timestamp": utc(NOW),
        **changes,
    }


def signed(oss, members, method="GET"):
    members = {name: value for name, value in members.items() if value is not None}
    query = "&".join(f"{quote(name, safe='')}={quote(members[name], safe='')}" for name in sorted(members))
    text = f"{method}&%2F&{quote(query, safe='')}"
    digest = hmac.new(f"{oss.access_key_secret}&".encode(), text.encode(), hashlib.sha1).digest()
    return {**members, "Signature": base64.b64encode(digest).decode()}


def ask(oss, *, status=200, **changes):
    return TestApp(oss).get(f"/?{urlencode(signed(oss, parameters(oss, **changes)))}", status=status)


class Key:
    """A temporary key as the helpers of the tests take one."""

    def __init__(self, response):
        credentials = response.json["Credentials"]
        self.access_key_id = credentials["AccessKeyId"]
        self.access_key_secret = credentials["AccessKeySecret"]
        self.token = credentials["SecurityToken"]


def test_a_key_is_made_for_an_hour(oss):
    response = ask(oss)
    assert response.json["AssumedRoleUser"]["Arn"] == f"{ROLE}/a-test"
    assert response.json["Credentials"]["Expiration"] == utc(NOW + 3600)
    assert response.json["RequestId"] == response.headers["x-oss-request-id"]
    assert ask(oss, DurationSeconds="900").json["Credentials"]["Expiration"] == utc(NOW + 900)


def test_a_post_and_xml_do_too(oss):
    members = signed(oss, parameters(oss, Format=None, Policy=session_policy("oss:PutObject")), "POST")
    response = TestApp(oss).post("/", members)
    assert response.xml.tag == "AssumeRoleResponse"
    assert response.xml.findtext("Credentials/AccessKeyId").startswith("STS.")


@pytest.mark.parametrize(
    ("changes", "status", "code"),
    [
        ({"Action": "GetCallerIdentity"}, 404, "InvalidAction.NotFound"),
        ({"Version": "2014-05-26"}, 400, "InvalidVersion"),
        ({"ExternalId": "abc"}, 400, "InvalidParameter.ExternalId"),
        ({"SignatureNonce": None}, 400, "MissingSignatureNonce"),
        ({"AccessKeyId": None}, 400, "MissingAccessKeyId"),
        ({"SignatureMethod": "HMAC-SHA256"}, 400, "InvalidParameter.SignatureMethod"),
        ({"Timestamp": "2024-12-03 12:12:12"}, 400, "InvalidTimeStamp.Format"),
        ({"Timestamp": utc(NOW - 901)}, 400, "InvalidTimeStamp.Expired"),
        ({"AccessKeyId": "another"}, 404, "InvalidAccessKeyId.NotFound"),
        ({"SecurityToken": "stray"}, 400, "InvalidSecurityToken.Mismatch"),
        ({"RoleArn": None}, 400, "InvalidParameter.RoleArn"),
        ({"RoleArn": "uploader"}, 400, "InvalidParameter.RoleArn"),
        ({"RoleSessionName": "a/b"}, 400, "InvalidParameter.RoleSessionName"),
        ({"DurationSeconds": "899"}, 400, "InvalidParameter.DurationSeconds"),
        ({"DurationSeconds": "43201"}, 400, "InvalidParameter.DurationSeconds"),
        ({"DurationSeconds": "-1"}, 400, "InvalidParameter.DurationSeconds"),
        ({"Policy": "{"}, 400, "InvalidParameter.PolicyGrammar"),
        ({"Policy": " " * 2049}, 400, "InvalidParameter.PolicySize"),
    ],
)
def test_a_wrong_request_is_refused_by_name(oss, changes, status, code):
    assert ask(oss, status=status, **changes).json["Code"] == code


def test_a_wrong_signature_shows_what_is_signed(oss):
    members = {**signed(oss, parameters(oss)), "RoleSessionName": "another"}
    response = TestApp(oss).get(f"/?{urlencode(members)}", status=400)
    assert response.json["Code"] == "SignatureDoesNotMatch"
    assert "GET&%2F&AccessKeyId%3D" in response.json["Message"]


def test_a_temporary_key_makes_no_other(oss):
    key = Key(ask(oss))
    for token in (None, key.token):
        changes = {"AccessKeyId": key.access_key_id, "SecurityToken": token}
        members = signed(key, parameters(oss, **changes))
        response = TestApp(oss).get(f"/?{urlencode(members)}", status=404)
        assert response.json["Code"] == "InvalidAccessKeyId.NotFound"


def test_a_form_is_signed_with_the_key_and_its_policy_obeyed(oss, app):
    key = Key(ask(oss, Policy=session_policy("oss:PutObject")))
    fields = {**sign_v1(key, policy()), "x-oss-security-token": key.token}
    assert post(app, form({"key": "user/a", **fields})).status_int == 204
    assert content(oss.storage.bucket("examplebucket"), "user/a") == b"hi oss"
    for name in ("other/a", "${filename}"):
        refused = post(app, form({"key": name, **fields}))
        assert (refused.status_int, refused.xml.findtext("EC")) == (403, "0003-00000301")
    assert oss.storage.bucket("examplebucket").get("other/a") is None


def test_a_secret_stands_on_no_page_of_the_inspector(oss, app):
    key = Key(ask(oss))
    post(app, form({"key": "a", **sign_v1(key, policy()), "x-oss-security-token": key.token}))
    post(app, form({"key": "a", **sign_v1(oss, policy()), "OSSAccessKeyId": key.access_key_id}))
    pages = [app.get("/").text]
    pages += [app.get(link).text for link in set(re.findall(r'href="(/_inspect/requests/\w+)"', pages[0]))]
    assert len(pages) == 4
    assert any("AssumeRole" in page for page in pages)
    for page in pages:
        assert key.access_key_secret not in page
        assert key.token not in page


# From here on with real clients.


@pytest.fixture
def oss2_bucket(server):
    def bucket(key, name="examplebucket"):
        auth = oss2.StsAuth(key.access_key_id, key.access_key_secret, key.token, auth_version="v4")
        return oss2.Bucket(auth, server.url, name, region="cn-hangzhou", is_path_style=True)

    return bucket


@pytest.fixture
def session(local, server):
    """Return a function that makes a key under a policy."""
    return lambda text, **more: Key(ask(local, Policy=text, Timestamp=utc(time.time()), **more))


@pytest.mark.slow
def test_a_key_may_do_what_its_policy_allows(session, oss2_bucket):
    bucket = oss2_bucket(session(session_policy("oss:PutObject", "oss:GetObject")))
    bucket.put_object("user/a", b"hi")
    assert bucket.get_object("user/a").read() == b"hi"
    assert bucket.head_object("user/a").content_length == 2
    bucket.copy_object("examplebucket", "user/a", "user/b")
    upload = bucket.init_multipart_upload("user/parts").upload_id
    etag = bucket.upload_part("user/parts", upload, 1, b"part").etag
    bucket.complete_multipart_upload("user/parts", upload, [oss2.models.PartInfo(1, etag)])
    refused = [
        lambda: bucket.put_object("other", b""),
        lambda: bucket.get_object("other"),
        lambda: bucket.delete_object("user/a"),
        lambda: bucket.batch_delete_objects(["user/a"]),
        lambda: bucket.list_objects(),
        lambda: bucket.copy_object("examplebucket", "user/a", "other"),
        lambda: bucket.copy_object("examplebucket", "other", "user/c"),
        lambda: bucket.list_parts("user/parts", upload),
        lambda: bucket.put_object_acl("user/a", "public-read"),
        lambda: bucket.put_bucket_acl("public-read"),
    ]
    for request in refused:
        with pytest.raises(oss2.exceptions.AccessDenied) as caught:
            request()
        assert caught.value.details["EC"] == "0003-00000301"


@pytest.mark.slow
def test_a_policy_that_denies_wins_and_none_allows_all(session, oss2_bucket):
    oss2_bucket(session(None)).put_object("user/a", b"hi")
    bucket = oss2_bucket(session(session_policy("oss:*", resource="*")))
    assert [stored.key for stored in bucket.list_objects().object_list] == ["user/a"]
    bucket.batch_delete_objects(["user/a"])
    with pytest.raises(oss2.exceptions.AccessDenied):
        oss2_bucket(session(session_policy("oss:*", effect="Deny"))).put_object("user/a", b"hi")


@pytest.mark.slow
def test_a_signed_url_has_the_rights_of_its_key(session, oss2_bucket):
    bucket = oss2_bucket(session(session_policy("oss:GetObject")))
    with pytest.raises(oss2.exceptions.NoSuchKey):
        bucket.get_object_with_url(bucket.sign_url("GET", "user/a", 60, slash_safe=True))
    with pytest.raises(oss2.exceptions.AccessDenied):
        bucket.get_object_with_url(bucket.sign_url("GET", "other", 60, slash_safe=True))


def test_a_key_expires_and_works_after_a_restart(make_oss):
    moments = [NOW]
    first = make_oss(clock=lambda: moments[0])
    key = Key(ask(first, DurationSeconds="900"))
    first.close()
    second = make_oss(clock=lambda: moments[0])
    payload = form({"key": "a", **sign_v1(key, policy()), "x-oss-security-token": key.token})
    assert post(TestApp(second), payload).status_int == 204
    moments[0] += 901
    refused = post(TestApp(second), payload)
    assert (refused.status_int, refused.xml.findtext("Code")) == (403, "SecurityTokenExpired")
    second.close()
    third = make_oss(clock=lambda: NOW, reset_keys=True)
    assert post(TestApp(third), payload).xml.findtext("Code") == "InvalidSecurityToken"


@pytest.mark.slow
def test_our_provider_assumes_a_role_offline(local, server, monkeypatch, oss2_bucket):
    from alibabacloud_credentials.provider import StaticAKCredentialsProvider

    source = StaticAKCredentialsProvider(access_key_id=local.access_key_id, access_key_secret=local.access_key_secret)
    settings = Settings(bucket="examplebucket", region="cn-hangzhou", upload_dir="user/")
    provider = SDKCredentialsProvider(settings, clock=time.time, source=source, role_arn=ROLE, sts_endpoint=server.url)
    credentials = provider.get_credentials()
    assert 3500 < credentials.expiration.timestamp() - time.time() <= 3600

    class Ours:
        access_key_id, access_key_secret = credentials.access_key_id, credentials.access_key_secret
        token = credentials.security_token

    bucket = oss2_bucket(Ours)
    bucket.put_object("user/a", b"hi")
    with pytest.raises(oss2.exceptions.AccessDenied):
        bucket.get_object("user/a")
    with pytest.raises(oss2.exceptions.AccessDenied):
        bucket.put_object("other/a", b"hi")


@pytest.mark.slow
def test_the_older_library_of_alibaba_cloud_is_answered(local, server):
    client = AcsClient(local.access_key_id, local.access_key_secret, "cn-hangzhou")
    request = CommonRequest(domain=f"127.0.0.1:{server.port}", version="2015-04-01", action_name="AssumeRole")
    request.set_method("POST")
    request.set_protocol_type("http")
    request.add_query_param("RoleArn", ROLE)
    request.add_query_param("RoleSessionName", "a-test")
    answer = json.loads(client.do_action_with_exception(request))
    assert answer["Credentials"]["AccessKeyId"].startswith("STS.")
