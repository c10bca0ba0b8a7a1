"""boto3, a client of S3, gets OSS's refusals from the local OSS (protocol.md 15.4)."""

import pytest

from local_oss import LocalOSS, LocalOSSServer

boto3 = pytest.importorskip("boto3")
from botocore.config import Config  # noqa: E402
from botocore.exceptions import ClientError  # noqa: E402


@pytest.fixture
def put(tmp_path):
    """Yield a function that puts an object over HTTPS and returns the error."""
    with LocalOSS(directory=tmp_path / "objects", key_bits=512) as oss:
        server = LocalOSSServer(oss, tls=True)
        server.start()

        def put(**options):
            client = boto3.client(
                "s3",
                endpoint_url=oss.url,
                region_name="cn-hangzhou",
                aws_access_key_id=oss.access_key_id,
                aws_secret_access_key=oss.access_key_secret,
                verify=str(server.certificate),
                config=Config(s3={"addressing_style": "path"}, **options),
            )
            try:
                with pytest.raises(ClientError) as raised:
                    client.put_object(Bucket=oss.bucket, Key="a.txt", Body=b"hello")
            finally:
                client.close()
            return raised.value.response

        yield put
        server.stop()


def test_chunks_over_https_get_the_error_of_oss(put):
    response = put()
    error = response["Error"]
    assert response["ResponseMetadata"]["HTTPStatusCode"] == 400
    assert (error["Code"], error["EC"]) == ("InvalidArgument", "0017-00000804")
    assert (error["ArgumentName"], error["ArgumentValue"]) == ("Content-Encoding", "aws-chunked")


@pytest.mark.parametrize("options", [{"request_checksum_calculation": "when_required"}, {"signature_version": "s3"}])
def test_without_chunks_the_signature_of_s3_is_refused_by_name(put, options):
    error = put(**options)["Error"]
    assert error["Code"] == "NotImplemented"
    assert "signatures of S3" in error["Message"]
