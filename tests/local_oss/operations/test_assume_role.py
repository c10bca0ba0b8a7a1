"""AssumeRole, asked by requests that are signed by hand."""

import base64
import hashlib
import hmac
import json
import re
from urllib.parse import quote, urlencode

import pytest
from webtest import TestApp

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
    """A temporary key in the shape that the tests' helpers take."""

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
    assert ask(oss, Timestamp=utc(NOW).replace("Z", ".123Z"))
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
        ({"Policy": "[" * 2048}, 400, "InvalidParameter.PolicyGrammar"),
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
