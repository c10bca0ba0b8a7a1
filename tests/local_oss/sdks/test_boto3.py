"""boto3, a client of S3, against the local OSS: what OSS takes, and what it refuses (protocol.md 15.4)."""

import base64
import hashlib
import io
import urllib.request

import pytest

from local_oss import LocalOSS, LocalOSSServer

boto3 = pytest.importorskip("boto3")
from botocore.config import Config  # noqa: E402
from botocore.exceptions import ClientError  # noqa: E402

KEY = "films/a b+c~'中.txt"
#: With these options boto3 sends what OSS takes.
PLAIN = {"request_checksum_calculation": "when_required", "response_checksum_validation": "when_required"}


@pytest.fixture(params=["http", "https"])
def connect(tmp_path, request):
    """Yield a function that makes a client, of a server that speaks HTTP or HTTPS."""
    is_https = request.param == "https"
    clients = []
    with LocalOSS(directory=tmp_path / "objects", key_bits=512) as oss:
        server = LocalOSSServer(oss, tls=is_https)
        server.start()

        def connect(secret=oss.access_key_secret, region="cn-hangzhou", **options):
            client = boto3.client(
                "s3",
                endpoint_url=oss.url,
                region_name=region,
                aws_access_key_id=oss.access_key_id,
                aws_secret_access_key=secret,
                verify=str(server.certificate) if is_https else None,
                config=Config(s3={"addressing_style": "path"}, **options),
            )
            clients.append(client)
            return client

        connect.oss, connect.is_https = oss, is_https
        yield connect
        for client in clients:
            client.close()
        server.stop()


def refusal(function, **arguments):
    with pytest.raises(ClientError) as raised:
        function(**arguments)
    return raised.value.response


def test_chunks_over_https_get_the_error_of_oss_and_over_http_boto3_sends_none(connect):
    put, place = connect().put_object, {"Bucket": connect.oss.bucket, "Key": KEY, "Body": b"hello"}
    if not connect.is_https:
        assert put(**place)["ETag"] == '"5D41402ABC4B2A76B9719D911017C592"'
        return
    response = refusal(put, **place)
    error = response["Error"]
    assert response["ResponseMetadata"]["HTTPStatusCode"] == 400
    assert (error["Code"], error["EC"]) == ("InvalidArgument", "0017-00000804")
    assert (error["ArgumentName"], error["ArgumentValue"]) == ("Content-Encoding", "aws-chunked")
    assert refusal(connect().head_object, Bucket=connect.oss.bucket, Key=KEY)["Error"]["Code"] == "404"


def test_an_object_is_stored_read_listed_copied_and_deleted(connect):
    client, bucket = connect(**PLAIN), connect.oss.bucket
    client.put_object(Bucket=bucket, Key=KEY, Body=b"hello", Metadata={"color": "red"}, StorageClass="STANDARD_IA")
    read = client.get_object(Bucket=bucket, Key=KEY)
    assert (read["Body"].read(), read["Metadata"], read["StorageClass"]) == (b"hello", {"color": "red"}, "IA")
    client.copy_object(Bucket=bucket, Key="copy", CopySource={"Bucket": bucket, "Key": KEY})
    assert client.head_object(Bucket=bucket, Key="copy")["Metadata"] == {"color": "red"}
    assert [each["Key"] for each in client.list_objects_v2(Bucket=bucket)["Contents"]] == ["copy", KEY]
    assert client.list_objects_v2(Bucket=bucket, Delimiter="/")["CommonPrefixes"] == [{"Prefix": "films/"}]
    client.delete_object(Bucket=bucket, Key="copy")
    client.delete_object(Bucket=bucket, Key=KEY)
    assert client.list_objects_v2(Bucket=bucket)["KeyCount"] == 0
    assert refusal(client.get_object, Bucket=bucket, Key=KEY)["Error"]["Code"] == "NoSuchKey"


def with_content_md5(params, **_):
    body = params["body"]
    params["headers"]["Content-MD5"] = base64.b64encode(hashlib.md5(body).digest()).decode()


def test_a_list_of_objects_to_delete_needs_a_content_md5(connect):
    """boto3 has sent a CRC32 in its place since 1.36, which OSS does not take."""
    client, bucket = connect(**PLAIN), connect.oss.bucket
    client.put_object(Bucket=bucket, Key=KEY, Body=b"hello")
    listed = {"Bucket": bucket, "Delete": {"Objects": [{"Key": KEY}]}}
    error = refusal(client.delete_objects, **listed)["Error"]
    assert (error["Code"], error["ArgumentName"], error["EC"]) == ("MissingArgument", "Content-MD5", "0016-00000606")
    client.meta.events.register("before-call.s3.DeleteObjects", with_content_md5)
    client.delete_objects(**listed)
    assert client.list_objects_v2(Bucket=bucket)["KeyCount"] == 0


def test_an_empty_object_is_stored(connect):
    """boto3 waits for `100 Continue`, and sends no body after it."""
    connect(**PLAIN).put_object(Bucket=connect.oss.bucket, Key="empty", Body=b"")
    assert connect.oss.storage.bucket(connect.oss.bucket).get("empty").size == 0


def test_an_upload_in_parts_is_read_back(connect):
    client, content = connect(**PLAIN), bytes(range(256)) * 40_000
    client.upload_fileobj(io.BytesIO(content), connect.oss.bucket, "large")
    target = io.BytesIO()
    client.download_fileobj(connect.oss.bucket, "large", target)
    assert target.getvalue() == content
    assert client.list_objects_v2(Bucket=connect.oss.bucket)["Contents"][0]["ETag"].endswith('-2"')


def test_anybody_may_use_a_signed_url(connect):
    if connect.is_https:
        pytest.skip("urllib has no certificate of the server")
    client, place = connect(), {"Bucket": connect.oss.bucket, "Key": KEY}
    url = client.generate_presigned_url("put_object", Params=place)
    with urllib.request.urlopen(urllib.request.Request(url, b"hello", method="PUT")) as response:
        assert response.status == 200
    with urllib.request.urlopen(client.generate_presigned_url("get_object", Params=place)) as response:
        assert response.read() == b"hello"


def test_buckets_are_made_and_listed(connect):
    client = connect(**PLAIN)
    client.create_bucket(Bucket="another-bucket", ACL="private")
    names = [each["Name"] for each in client.list_buckets()["Buckets"]]
    assert names == ["another-bucket", connect.oss.bucket]
    client.delete_bucket(Bucket="another-bucket")
    assert refusal(client.head_bucket, Bucket="another-bucket")["Error"]["Code"] == "404"
    error = refusal(client.put_object, Bucket="another-bucket", Key="a", Body=b"")["Error"]
    assert error["Code"] == "NoSuchBucket"
    assert not connect.oss.storage.bucket(connect.oss.bucket).page()[0]


def test_a_wrong_secret_is_refused(connect):
    error = refusal(connect(secret="other").get_object, Bucket=connect.oss.bucket, Key=KEY)["Error"]
    assert (error["Code"], error["EC"]) == ("SignatureDoesNotMatch", "0002-00000429")
    assert error["AWSAccessKeyId"] == connect.oss.access_key_id


def test_signature_v2_is_refused_by_name(connect):
    client = connect(**PLAIN, signature_version="s3")
    error = refusal(client.put_object, Bucket=connect.oss.bucket, Key=KEY, Body=b"hello")["Error"]
    assert error["Code"] == "NotImplemented"
    assert "region_name='cn-hangzhou'" in error["Message"]


def test_what_this_oss_does_not_keep_is_refused(connect):
    client = connect(**PLAIN)
    error = refusal(client.put_object, Bucket=connect.oss.bucket, Key=KEY, Body=b"hello", Tagging="a=b")["Error"]
    assert error["Code"] == "NotImplemented"
    assert not connect.oss.storage.bucket(connect.oss.bucket).page()[0]
