"""alibabacloud-oss-v2, the second SDK for Python, against the local OSS: buckets and signed URLs, in each style."""

import datetime
import time

import alibabacloud_oss_v2 as sdk
import pytest
import requests

KEY = "目录/a b+c.txt"
STYLES = {
    # For an IP address the SDK uses the path, whatever the options are.
    "address": ("127.0.0.1", {}, {}),
    "path": ("localhost", {"use_path_style": True}, {}),
    "host": ("oss.example", {}, {}),
    "cname": ("localhost", {"use_cname": True}, {"localhost": "examplebucket"}),
    "unbound cname": ("localhost", {"use_cname": True}, {}),
    "unbound cname, dotted": ("img.example", {"use_cname": True}, {}),
}


@pytest.fixture
def transports():
    transports = []
    yield transports
    for transport in transports:
        transport.close()


@pytest.fixture(params=["v4", "v1"])
def make(request, serve, transports):
    def make(style="address", *, secret=None, token=None, **options):
        host, addressing, cnames = STYLES[style]
        server = serve(cnames=cnames, **options)
        oss = server.oss
        provider = sdk.credentials.StaticCredentialsProvider(oss.access_key_id, secret or oss.access_key_secret, token)
        transports.append(sdk.transport.RequestsHttpClient(connect_timeout=60, readwrite_timeout=60))
        config = sdk.Config(
            region=oss.region,
            endpoint=f"http://{host}:{server.port}",
            credentials_provider=provider,
            signature_version=request.param,
            http_client=transports[-1],
            retry_max_attempts=1,
            **addressing,
        )
        return sdk.Client(config)

    return make


def service_error(call, request):
    with pytest.raises(sdk.exceptions.OperationError) as raised:
        call(request)
    error = raised.value.unwrap()
    return error.status_code, error.code


def minutes(number):
    return {"expires": datetime.timedelta(minutes=number)}


@pytest.mark.parametrize("style", ["address", "path", "host"])
def test_buckets(make, style):
    client = make(style)
    configuration = sdk.CreateBucketConfiguration(storage_class="IA")
    client.put_bucket(sdk.PutBucketRequest("made-by-v2", "public-read", create_bucket_configuration=configuration))
    info = client.get_bucket_info(sdk.GetBucketInfoRequest("made-by-v2")).bucket_info
    assert (info.name, info.storage_class, info.acl) == ("made-by-v2", "IA", "public-read")
    assert info.creation_date.timestamp() == pytest.approx(time.time(), abs=3600)
    assert client.get_bucket_location(sdk.GetBucketLocationRequest("made-by-v2")).location == "oss-cn-hangzhou"
    client.put_bucket_acl(sdk.PutBucketAclRequest("made-by-v2", "private"))
    assert client.get_bucket_acl(sdk.GetBucketAclRequest("made-by-v2")).acl == "private"
    page = client.list_buckets(sdk.ListBucketsRequest(prefix="made"))
    assert [bucket.name for bucket in page.buckets] == ["made-by-v2"]
    assert client.is_bucket_exist("made-by-v2")
    client.delete_bucket(sdk.DeleteBucketRequest("made-by-v2"))
    assert service_error(client.delete_bucket, sdk.DeleteBucketRequest("made-by-v2")) == (404, "NoSuchBucket")
    assert not client.is_bucket_exist("made-by-v2")


def test_cors_rules(make):
    client = make()
    rule = sdk.CORSRule(
        allowed_origins=["https://*.example.com"],
        allowed_methods=["GET", "PUT"],
        allowed_headers=["*"],
        expose_headers=["ETag"],
        max_age_seconds=9,
    )
    configuration = sdk.CORSConfiguration(cors_rules=[rule], response_vary=True)
    client.put_bucket_cors(sdk.PutBucketCorsRequest("examplebucket", cors_configuration=configuration))
    stored = client.get_bucket_cors(sdk.GetBucketCorsRequest("examplebucket")).cors_configuration
    assert stored.response_vary is True
    assert vars(stored.cors_rules[0]) == vars(rule)
    client.delete_bucket_cors(sdk.DeleteBucketCorsRequest("examplebucket"))
    request = sdk.GetBucketCorsRequest("examplebucket")
    assert service_error(client.get_bucket_cors, request) == (404, "NoSuchCORSConfiguration")


@pytest.mark.parametrize("style", STYLES)
def test_signed_urls(make, style):
    client = make(style)
    request = sdk.PutObjectRequest("examplebucket", KEY, content_type="text/plain", metadata={"who": "v2"})
    signed = client.presign(request, **minutes(1))
    assert requests.request(signed.method, signed.url, headers=signed.signed_headers, data="hello").status_code == 200
    assert requests.request(signed.method, signed.url, data="hello").status_code == 403
    request = sdk.GetObjectRequest("examplebucket", KEY, response_content_type="text/x-mine")
    signed = client.presign(request, **minutes(1))
    response = requests.get(signed.url)
    assert (response.text, response.headers["Content-Type"]) == ("hello", "text/x-mine")
    assert requests.get(signed.url.replace("x-mine", "x-yours")).status_code == 403
    assert requests.delete(signed.url).status_code == 403
