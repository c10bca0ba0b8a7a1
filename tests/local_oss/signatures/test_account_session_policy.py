import json
import xml.etree.ElementTree as ElementTree

import pytest

from local_oss.errors import OSSError
from local_oss.signatures.account import Account, PolicyError, SessionPolicy


def statement(effect="Allow", action="oss:PutObject", resource="acs:oss:*:*:bucket/user/*"):
    return {"Effect": effect, "Action": action, "Resource": resource}


def policy(*statements):
    return json.dumps({"Version": "1", "Statement": list(statements)})


def allows(text, action="oss:PutObject", name="bucket/user/a"):
    return SessionPolicy.parse(text).allows(action, name)


@pytest.mark.parametrize(
    ("resource", "name", "is_allowed"),
    [
        ("acs:oss:*:*:bucket/user/*", "bucket/user/a/b", True),
        ("acs:oss:*:*:bucket/user/*", "bucket/user/", True),
        ("acs:oss:*:*:bucket/user/*", "bucket/users/a", False),
        ("acs:oss:cn-hangzhou:123:bucket/user/*", "bucket/user/a", True),
        ("acs:oss:*:*:bucket", "bucket", True),
        ("acs:oss:*:*:bucket", "bucket/a", False),
        ("acs:oss:*:*:bucket/*", "bucket", False),
        ("acs:oss:*:*:bucket/a", "bucket/a.b", False),
        ("acs:oss:*:*:bucket/a.b", "bucket/a.b", True),
        ("acs:oss:*:*:bucket/a.b", "bucket/aXb", False),
        ("acs:oss:*:*:bucket/?.txt", "bucket/a.txt", True),
        ("acs:oss:*:*:bucket/?.txt", "bucket/ab.txt", False),
        ("acs:oss:*:*:bucket/a:b", "bucket/a:b", True),
        ("acs:oss:*:*:bucket/*x*", "bucket/\nx\n", True),
        ("acs:oss:*:*:*", "bucket/a", True),
        ("*", "bucket/a", True),
        ("bucket/a", "bucket/a", False),
        ("acs:ecs:*:*:bucket/a", "bucket/a", False),
    ],
)
def test_a_resource_names_what_it_fits(resource, name, is_allowed):
    assert allows(policy(statement(resource=resource)), name=name) is is_allowed


@pytest.mark.parametrize(
    ("action", "is_allowed"),
    [("oss:PutObject", True), ("oss:Put*", True), ("oss:*", True), ("*", True), ("oss:Put", False)],
)
def test_an_action_names_what_it_fits(action, is_allowed):
    assert allows(policy(statement(action=action))) is is_allowed


def test_what_nothing_allows_or_anything_denies_is_denied():
    everything = statement(action=["oss:GetObject", "oss:*"], resource=["acs:oss:*:*:other", "*"])
    denied = statement("Deny", "oss:PutObject", "acs:oss:*:*:bucket/user/secret")
    for text in (policy(everything, denied), policy(denied, everything)):
        assert allows(text)
        assert not allows(text, name="bucket/user/secret")
        assert allows(text, "oss:GetObject", "bucket/user/secret")
    assert not allows(policy(denied))


def test_a_denial_has_osss_words_and_names_the_action():
    account = Account("id", "secret", policy=SessionPolicy.parse(policy(statement())))
    with pytest.raises(OSSError) as raised:
        account.check_right("oss:DeleteObject", "bucket", "user/a")
    body = raised.value.response("id", "host").body
    assert "<Message>Access denied by authorizer's policy.</Message>" in body.decode()
    detail = ElementTree.fromstring(body).find("AccessDeniedDetail")
    assert detail.findtext("AuthAction") == "oss:DeleteObject"


def test_a_pattern_of_many_stars_takes_no_time():
    assert not allows(policy(statement(resource="acs:oss:*:*:" + "*a" * 500)), name="bucket/" + "a" * 490)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("{", "JSON"),
        ("[]", "Version"),
        ('{"Statement": []}', "Version"),
        ('{"Version": "1", "Statement": []}', "Statement"),
        ('{"Version": "1", "Statement": [1]}', "statement is not an object"),
        (policy(statement("allow")), "Effect"),
        (policy(statement(action=[])), "Action"),
        (policy(statement(action=[1])), "Action"),
        (policy(statement(resource="")), "Resource"),
        (policy({**statement(), "Condition": {}}), "does not support its Condition"),
        (policy({"Effect": "Allow", "NotAction": "oss:*", "Resource": "*"}), "does not support its NotAction"),
        ('{"Version": "1", "Id": "a", "Statement": [1]}', "does not support its Id"),
    ],
)
def test_a_policy_that_is_not_understood_is_refused(text, fault):
    with pytest.raises(PolicyError, match=fault):
        SessionPolicy.parse(text)
