import time

import alibabacloud_oss_v2 as sdk
import pytest
from webtest import TestApp

from oss_wsgi.local import LocalOSSServer

from ..form_client import form, policy, post, sign_v1


@pytest.fixture
def oss(make_oss):
    return make_oss(clock=time.time)


@pytest.fixture
def client(oss):
    """The official SDK, before a LocalOSS on a port."""
    server = LocalOSSServer(oss)
    server.start()
    config = sdk.config.load_default()
    config.credentials_provider = sdk.credentials.StaticCredentialsProvider(oss.access_key_id, oss.access_key_secret)
    config.region, config.endpoint, config.use_path_style = oss.region, server.url, True
    config.retry_max_attempts = 1
    yield sdk.Client(config)
    server.stop()


def upload(oss, key, fields, headers=None):
    signed = sign_v1(oss, policy(expiration=time.time() + 60))
    post(TestApp(oss), form({"key": key, **fields, **signed}), headers=headers, status=204)


@pytest.mark.parametrize(
    ("fields", "headers", "acl"),
    [
        ({}, {}, "default"),
        ({"x-oss-object-acl": "default"}, {}, "default"),
        ({"x-oss-object-acl": "public-read"}, {}, "public-read"),
        ({}, {"x-oss-object-acl": "private"}, "private"),
        ({"x-oss-object-acl": "public-read-write"}, {"x-oss-object-acl": "private"}, "public-read-write"),
    ],
)
def test_the_acl_of_the_form_is_kept_and_told_to_who_may_ask(oss, client, fields, headers, acl):
    upload(oss, "a/中", fields, headers)
    found = client.get_object_acl(sdk.GetObjectAclRequest("examplebucket", "a/中"))
    assert found.acl == acl
    assert found.owner.id == "1000000000000001"


@pytest.mark.parametrize("acl", ["default", "private", "public-read", "public-read-write"])
def test_it_can_be_changed_and_nothing_else_is(oss, client, acl):
    upload(oss, "a/中", {"x-oss-object-acl": "private", "Cache-Control": "no-cache"})
    before = TestApp(oss).get("/examplebucket/a/%E4%B8%AD")
    client.put_object_acl(sdk.PutObjectAclRequest("examplebucket", "a/中", acl))
    assert client.get_object_acl(sdk.GetObjectAclRequest("examplebucket", "a/中")).acl == acl
    after = TestApp(oss).get("/examplebucket/a/%E4%B8%AD")
    assert (after.body, after.etag, after.last_modified) == (before.body, before.etag, before.last_modified)
    assert after.headers["Cache-Control"] == "no-cache"


@pytest.mark.parametrize(
    ("key", "acl", "code"),
    [("a", "secret", "InvalidArgument"), ("a", "", "InvalidArgument"), ("b", "private", "NoSuchKey")],
)
def test_an_acl_that_there_is_not_and_one_of_no_object_is_refused(oss, client, key, acl, code):
    upload(oss, "a", {})
    with pytest.raises(sdk.exceptions.OperationError, match=code):
        client.put_object_acl(sdk.PutObjectAclRequest("examplebucket", key, acl))
    assert client.get_object_acl(sdk.GetObjectAclRequest("examplebucket", "a")).acl == "default"


def test_strangers_change_none(oss):
    upload(oss, "a", {})
    app = TestApp(oss)
    headers = {"x-oss-object-acl": "private", "Content-Type": "text/plain"}
    assert app.put("/examplebucket/a?acl", headers=headers, status=403).xml.findtext("Code") == "AccessDenied"


def test_of_an_object_that_there_is_not_there_is_no_acl(client):
    with pytest.raises(sdk.exceptions.OperationError, match="NoSuchKey"):
        client.get_object_acl(sdk.GetObjectAclRequest("examplebucket", "a"))


def test_strangers_hear_no_acl_and_readers_see_none(oss):
    upload(oss, "a", {"x-oss-object-acl": "private", "x-oss-storage-class": "IA"})
    app = TestApp(oss)
    assert app.get("/examplebucket/a?acl", status=403).xml.findtext("Code") == "AccessDenied"
    response = app.get("/examplebucket/a")
    assert "x-oss-object-acl" not in response.headers
    assert response.headers["x-oss-storage-class"] == "IA"
