"""oss2, the first SDK for Python, against the local OSS: buckets and signed URLs, in each addressing style."""

import oss2
import pytest
import requests

KEY = "目录/a b+c.txt"
# oss2 signs V4 with datetime.utcnow, which Python 3.12 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:datetime.datetime.utcnow:DeprecationWarning")

STYLES = {
    # For an IP address and for localhost oss2 uses the path, whatever the options are.
    "address": ("127.0.0.1", {}),
    "address, cname": ("127.0.0.1", {"is_cname": True}),
    "localhost": ("localhost", {}),
    "path": ("localhost", {"is_path_style": True}),
    "host": ("oss.example", {}),
}
# Hosts that are bound to no bucket mean the first one.
UNBOUND = {"cname": ("img.example", {"is_cname": True}), "deeper": ("oss.img.example", {"is_cname": True})}
AUTHS = {"V4": oss2.AuthV4, "V1": oss2.Auth}


@pytest.fixture(params=AUTHS)
def version(request):
    return request.param


@pytest.fixture
def sessions():
    """Sessions of oss2, closed at the end."""
    sessions = []
    yield sessions
    for session in sessions:
        session.session.close()


@pytest.fixture
def make(serve, version, sessions):
    def make(style="address", name=None, *, secret=None, token=None, **options):
        host, addressing = {**STYLES, **UNBOUND}[style]
        server = serve(**options)
        oss = server.oss
        auth = AUTHS[version](oss.access_key_id, secret or oss.access_key_secret)
        if token:
            version_name = {"V4": oss2.AUTH_VERSION_4, "V1": oss2.AUTH_VERSION_1}[version]
            auth = oss2.StsAuth(oss.access_key_id, oss.access_key_secret, token, auth_version=version_name)
        session = oss2.Session()
        sessions.append(session)
        addressing = {"region": oss.region, "session": session, **addressing}
        endpoint = f"http://{host}:{server.port}"
        bucket = oss2.Bucket(auth, endpoint, name or oss.bucket, **addressing)
        bucket.service = oss2.Service(auth, endpoint, session=session, region=oss.region)
        return bucket

    return make


def error(call, *arguments, **options):
    with pytest.raises(oss2.exceptions.ServerError) as raised:
        call(*arguments, **options)
    return raised.value.status, raised.value.code


@pytest.mark.parametrize("style", STYLES)
def test_buckets(make, style):
    bucket = make(style, "made-by-oss2")
    assert error(bucket.get_bucket_info) == (404, "NoSuchBucket")
    bucket.create_bucket(oss2.BUCKET_ACL_PUBLIC_READ, oss2.models.BucketCreateConfig(oss2.BUCKET_STORAGE_CLASS_IA))
    info = bucket.get_bucket_info()
    assert (info.name, info.storage_class, info.acl.grant) == ("made-by-oss2", "IA", "public-read")
    assert bucket.get_bucket_location().location == "oss-cn-hangzhou"
    bucket.put_bucket_acl(oss2.BUCKET_ACL_PRIVATE)
    assert bucket.get_bucket_acl().acl == "private"
    page = bucket.service.list_buckets(max_keys=1)
    assert ([entry.name for entry in page.buckets], page.is_truncated) == (["examplebucket"], True)
    page = bucket.service.list_buckets(marker=page.next_marker)
    assert [entry.name for entry in page.buckets] == ["made-by-oss2"]
    bucket.delete_bucket()
    assert error(bucket.delete_bucket) == (404, "NoSuchBucket")


def test_cors_rules(make):
    bucket = make(name="made-by-oss2")
    bucket.create_bucket()
    assert error(bucket.get_bucket_cors) == (404, "NoSuchCORSConfiguration")
    rule = oss2.models.CorsRule(["https://*.example.com", "http://localhost:*"], ["GET", "PUT"], ["*"], ["ETag"], 9)
    bucket.put_bucket_cors(oss2.models.BucketCors([rule]))
    (stored,) = bucket.get_bucket_cors().rules
    assert vars(stored) == vars(rule)
    rules = [oss2.models.CorsRule(["*"], ["GET"])] * 11
    assert error(bucket.put_bucket_cors, oss2.models.BucketCors(rules)) == (400, "CORSRuleBeyondLimit")
    bucket.delete_bucket_cors()
    assert error(bucket.get_bucket_cors) == (404, "NoSuchCORSConfiguration")


@pytest.mark.parametrize("style", [*STYLES, *UNBOUND])
def test_signed_urls(make, style):
    bucket = make(style)
    url = bucket.sign_url("PUT", KEY, 60, headers={"Content-Type": "text/plain"}, slash_safe=True)
    assert requests.put(url, "hello", headers={"Content-Type": "text/plain"}).status_code == 200
    assert requests.put(url, "hello", headers={"Content-Type": "text/html"}).status_code == 403
    parameters = {"response-content-type": "text/x-mine"}
    url = bucket.sign_url("GET", KEY, 60, params=parameters)
    assert requests.get(url).text == "hello"
    assert requests.get(url.replace("x-mine", "x-yours")).status_code == 403
    assert requests.delete(url).status_code == 403


@pytest.mark.parametrize("style", UNBOUND)
def test_an_unbound_host_means_the_first_bucket(make, style):
    bucket = make(style)
    bucket.put_object(KEY, b"hello")
    assert bucket.get_object(KEY).read() == b"hello"
    assert [entry.key for entry in bucket.list_objects_v2().object_list] == [KEY]
    assert bucket.batch_delete_objects([KEY, "b"]).deleted_keys == [KEY, "b"]
    assert bucket.get_bucket_info().name == "examplebucket"
    assert [entry.name for entry in bucket.service.list_buckets().buckets] == ["examplebucket"]
