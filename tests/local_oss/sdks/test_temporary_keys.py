"""AssumeRole by Alibaba Cloud's own libraries, and what oss2 may do with the keys."""

import json
import time

import oss2
import pytest
from alibabacloud_credentials.provider import StaticAKCredentialsProvider
from aliyunsdkcore.client import AcsClient
from aliyunsdkcore.request import CommonRequest

from oss_wsgi import Settings
from oss_wsgi.sdk.credentials import SDKCredentialsProvider

from ..form_client import utc
from ..operations.test_assume_role import ROLE, Key, ask, session_policy

# oss2 signs V4 with datetime.utcnow, which Python 3.12 deprecates, as the other libraries do.
pytestmark = pytest.mark.filterwarnings("ignore:datetime.datetime.utcnow:DeprecationWarning")


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


def test_a_policy_that_denies_wins_and_none_allows_all(session, oss2_bucket):
    oss2_bucket(session(None)).put_object("user/a", b"hi")
    bucket = oss2_bucket(session(session_policy("oss:*", resource="*")))
    assert [stored.key for stored in bucket.list_objects().object_list] == ["user/a"]
    bucket.batch_delete_objects(["user/a"])
    with pytest.raises(oss2.exceptions.AccessDenied):
        oss2_bucket(session(session_policy("oss:*", effect="Deny"))).put_object("user/a", b"hi")


def test_a_signed_url_has_the_rights_of_its_key(session, oss2_bucket):
    bucket = oss2_bucket(session(session_policy("oss:GetObject")))
    with pytest.raises(oss2.exceptions.NoSuchKey):
        bucket.get_object_with_url(bucket.sign_url("GET", "user/a", 60, slash_safe=True))
    with pytest.raises(oss2.exceptions.AccessDenied):
        bucket.get_object_with_url(bucket.sign_url("GET", "other", 60, slash_safe=True))


def test_our_provider_assumes_a_role_offline(local, server, oss2_bucket):
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


def test_the_older_library_of_alibaba_cloud_is_answered(local, server):
    client = AcsClient(local.access_key_id, local.access_key_secret, "cn-hangzhou", timeout=60)
    request = CommonRequest(domain=f"127.0.0.1:{server.port}", version="2015-04-01", action_name="AssumeRole")
    request.set_method("POST")
    request.set_protocol_type("http")
    request.add_query_param("RoleArn", ROLE)
    request.add_query_param("RoleSessionName", "a-test")
    answer = json.loads(client.do_action_with_exception(request))
    assert answer["Credentials"]["AccessKeyId"].startswith("STS.")
