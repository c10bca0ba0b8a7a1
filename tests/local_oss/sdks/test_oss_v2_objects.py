"""alibabacloud-oss-v2, the second SDK for Python, against the local OSS: objects and callbacks, by both signatures."""

import base64
import hashlib
import json

import alibabacloud_oss_v2 as oss
import pytest

from ...support.server_threads import serving_application

BUCKET = "examplebucket"
MEBIBYTE = 1024 * 1024


@pytest.fixture(params=["v4", "v1"])
def client(request, local, server):
    config = oss.config.load_default()
    config.credentials_provider = oss.credentials.StaticCredentialsProvider(
        local.access_key_id, local.access_key_secret
    )
    config.region = local.region
    config.endpoint = server.url
    config.signature_version = request.param
    config.connect_timeout = config.readwrite_timeout = 60
    # With one attempt the SDK does not even try to download a file.
    config.retry_max_attempts = 2
    return oss.Client(config)


@pytest.fixture
def put(client):
    def put(key, content=b"hi oss", **options):
        return client.put_object(oss.PutObjectRequest(bucket=BUCKET, key=key, body=content, **options))

    return put


def read(client, key, **options):
    with client.get_object(oss.GetObjectRequest(bucket=BUCKET, key=key, **options)).body as body:
        return body.read()


def service_error(caught):
    error = caught.value.unwrap()
    assert isinstance(error, oss.exceptions.ServiceError)
    return error.status_code, error.code


def test_an_object_is_returned_with_its_headers(client, put):
    put_response = put(
        "a/照片 +%.txt",
        content_type="text/plain",
        cache_control="no-cache",
        content_disposition="attachment",
        metadata={"name": "value"},
        storage_class="IA",
    )
    assert put_response.etag == f'"{hashlib.md5(b"hi oss").hexdigest().upper()}"'
    assert put_response.hash_crc64 == "8707180448768400016"
    response = client.get_object(oss.GetObjectRequest(bucket=BUCKET, key="a/照片 +%.txt"))
    with response.body as body:
        assert body.read() == b"hi oss"
    assert (response.content_type, response.cache_control, response.content_disposition) == (
        "text/plain",
        "no-cache",
        "attachment",
    )
    assert (dict(response.metadata), response.storage_class) == ({"name": "value"}, "IA")
    head = client.head_object(oss.HeadObjectRequest(bucket=BUCKET, key="a/照片 +%.txt"))
    assert (head.content_length, head.etag, dict(head.metadata)) == (6, put_response.etag, {"name": "value"})
    meta = client.get_object_meta(oss.GetObjectMetaRequest(bucket=BUCKET, key="a/照片 +%.txt"))
    assert (meta.content_length, meta.etag) == (6, put_response.etag)
    assert meta.last_modified is not None
    assert client.is_object_exist(BUCKET, "a/照片 +%.txt")
    assert not client.is_object_exist(BUCKET, "a")


def test_large_bodies_stream_both_ways(client, put, tmp_path):
    path = tmp_path / "large"
    path.write_bytes(bytes(range(256)) * 40_000)
    assert client.put_object_from_file(oss.PutObjectRequest(bucket=BUCKET, key="large"), str(path)).status_code == 200
    client.get_object_to_file(oss.GetObjectRequest(bucket=BUCKET, key="large"), str(tmp_path / "back"))
    assert (tmp_path / "back").read_bytes() == path.read_bytes()


def test_ranges_and_conditions(client, put):
    etag = put("a").etag
    assert read(client, "a", range_header="bytes=3-") == b"oss"
    assert read(client, "a", range_header="bytes=3-100", range_behavior="standard") == b"oss"
    assert read(client, "a", range_header="bytes=3-100") == b"hi oss"
    assert read(client, "a", if_match=etag) == b"hi oss"
    with pytest.raises(oss.exceptions.OperationError) as caught:
        read(client, "a", if_match='"x"')
    assert service_error(caught) == (412, "PreconditionFailed")
    with pytest.raises(oss.exceptions.OperationError) as caught:
        read(client, "a", if_none_match=etag)
    assert service_error(caught)[0] == 304
    with pytest.raises(oss.exceptions.OperationError) as caught:
        read(client, "a", range_header="bytes=100-", range_behavior="standard")
    assert service_error(caught) == (416, "InvalidRange")


def test_objects_are_deleted_one_by_one_and_together(client, put):
    keys = ["a/1", "a/中 文", "b&<>"]
    for key in keys:
        put(key)
    assert client.delete_object(oss.DeleteObjectRequest(bucket=BUCKET, key="a/1")).status_code == 204
    assert client.delete_object(oss.DeleteObjectRequest(bucket=BUCKET, key="a/1")).status_code == 204
    objects = [oss.DeleteObject(key=key) for key in keys]
    response = client.delete_multiple_objects(
        oss.DeleteMultipleObjectsRequest(bucket=BUCKET, objects=objects, encoding_type="url")
    )
    assert [deleted.key for deleted in response.deleted_objects] == keys
    quiet = client.delete_multiple_objects(oss.DeleteMultipleObjectsRequest(bucket=BUCKET, objects=objects, quiet=True))
    assert not quiet.deleted_objects
    assert not client.list_objects_v2(oss.ListObjectsV2Request(bucket=BUCKET)).contents


def test_a_copy_has_the_headers_of_its_source_or_new_ones(client, put):
    etag = put("源", content_type="text/plain", metadata={"a": "b"}).etag
    request = oss.CopyObjectRequest(bucket=BUCKET, key="copy", source_bucket=BUCKET, source_key="源")
    assert client.copy_object(request).etag == etag
    head = client.head_object(oss.HeadObjectRequest(bucket=BUCKET, key="copy"))
    assert (head.content_type, dict(head.metadata)) == ("text/plain", {"a": "b"})
    request.metadata_directive = "REPLACE"
    request.content_type = "image/png"
    request.metadata = {"c": "d"}
    client.copy_object(request)
    head = client.head_object(oss.HeadObjectRequest(bucket=BUCKET, key="copy"))
    assert (head.content_type, dict(head.metadata)) == ("image/png", {"c": "d"})
    assert read(client, "copy") == b"hi oss"
    request.if_none_match = etag
    with pytest.raises(oss.exceptions.OperationError) as caught:
        client.copy_object(request)
    assert service_error(caught)[0] == 304


@pytest.mark.parametrize("version", [1, 2])
def test_lists_have_pages_common_prefixes_and_encoded_names(client, put, version):
    for key in ["a/1", "a/2", "b", "c/\x01", "c/中 文", "d&<>"]:
        put(key)
    if version == 1:
        pages = client.list_objects_paginator(limit=2).iter_page(oss.ListObjectsRequest(bucket=BUCKET))
    else:
        pages = client.list_objects_v2_paginator(limit=2).iter_page(oss.ListObjectsV2Request(bucket=BUCKET))
    assert [[entry.key for entry in page.contents] for page in pages] == [
        ["a/1", "a/2"],
        ["b", "c/\x01"],
        ["c/中 文", "d&<>"],
    ]
    page = client.list_objects_v2(oss.ListObjectsV2Request(bucket=BUCKET, delimiter="/", fetch_owner=True))
    assert [entry.prefix for entry in page.common_prefixes] == ["a/", "c/"]
    assert [entry.key for entry in page.contents] == ["b", "d&<>"]
    assert (page.key_count, page.is_truncated, page.contents[0].size) == (4, False, 6)
    assert page.contents[0].owner.id
    page = client.list_objects_v2(oss.ListObjectsV2Request(bucket=BUCKET, prefix="c/中 文", start_after="a"))
    assert [entry.key for entry in page.contents] == ["c/中 文"]
    assert page.contents[0].etag == f'"{hashlib.md5(b"hi oss").hexdigest().upper()}"'


def test_parts_become_one_object(client, put):
    upload = client.initiate_multipart_upload(
        oss.InitiateMultipartUploadRequest(bucket=BUCKET, key="大 file", content_type="text/plain")
    )
    pieces = [b"a" * MEBIBYTE, b"b" * MEBIBYTE, b"c"]
    parts = []
    for number, piece in enumerate(pieces, 1):
        response = client.upload_part(
            oss.UploadPartRequest(
                bucket=BUCKET, key="大 file", upload_id=upload.upload_id, part_number=number, body=piece
            )
        )
        parts.append(oss.UploadPart(part_number=number, etag=response.etag))
    uploads = client.list_multipart_uploads(oss.ListMultipartUploadsRequest(bucket=BUCKET)).uploads
    assert [(entry.key, entry.upload_id) for entry in uploads] == [("大 file", upload.upload_id)]
    listed = client.list_parts(
        oss.ListPartsRequest(bucket=BUCKET, key="大 file", upload_id=upload.upload_id, max_parts=2)
    )
    assert ([part.part_number for part in listed.parts], listed.is_truncated) == ([1, 2], True)
    response = client.complete_multipart_upload(
        oss.CompleteMultipartUploadRequest(
            bucket=BUCKET,
            key="大 file",
            upload_id=upload.upload_id,
            complete_multipart_upload=oss.CompleteMultipartUpload(parts=parts),
        )
    )
    assert (response.key, response.etag[-3:]) == ("大 file", '-3"')
    assert read(client, "大 file") == b"".join(pieces)
    head = client.head_object(oss.HeadObjectRequest(bucket=BUCKET, key="大 file"))
    assert (head.object_type, head.content_type, head.etag) == ("Multipart", "text/plain", response.etag)
    assert head.hash_crc64 == response.hash_crc64 == put("whole", b"".join(pieces)).hash_crc64


def test_the_uploader_copier_and_downloader_handle_large_files(client, tmp_path):
    path = tmp_path / "large"
    path.write_bytes(bytes(range(256)) * 10_000)
    part_size = 512 * 1024
    request = oss.PutObjectRequest(bucket=BUCKET, key="large")
    assert client.uploader(part_size=part_size).upload_file(request, str(path)).status_code == 200
    request = oss.CopyObjectRequest(bucket=BUCKET, key="copy", source_bucket=BUCKET, source_key="large")
    copier = client.copier(part_size=part_size, multipart_copy_threshold=part_size, disable_shallow_copy=True)
    assert copier.copy(request).status_code == 200
    request = oss.GetObjectRequest(bucket=BUCKET, key="copy")
    client.downloader(part_size=part_size).download_file(request, str(tmp_path / "back"))
    assert (tmp_path / "back").read_bytes() == path.read_bytes()


@pytest.fixture
def callback(recorder):
    """The headers that request a callback to the recorder, which serves on a port meanwhile."""
    with serving_application(recorder) as url:
        members = {
            "callbackUrl": f"{url}/oss",
            "callbackBody": "object=${object}&size=${size}&operation=${operation}&user=${x:user}",
        }
        variables = {"x:user": "eric"}
        yield {
            "callback": base64.b64encode(json.dumps(members).encode()).decode(),
            "callback_var": base64.b64encode(json.dumps(variables).encode()).decode(),
        }


def test_a_put_calls_the_application_back(client, put, recorder, callback):
    assert put("a/b", **callback).callback_result == '{"Status":"Ok"}'
    assert recorder.body_received == b"object=a%2Fb&size=6&operation=PutObject&user=eric"


def test_a_failed_callback_is_reported_and_the_object_stays(client, put, recorder, callback):
    recorder.status = "404 Not Found"
    # The SDK takes a 203 for a success.
    response = put("a", **callback)
    assert response.status_code == 203
    assert "<Code>CallbackFailed</Code>" in response.callback_result
    assert read(client, "a") == b"hi oss"


def test_a_completed_upload_calls_the_application_back(client, recorder, callback):
    request = oss.InitiateMultipartUploadRequest(bucket=BUCKET, key="a")
    upload_id = client.initiate_multipart_upload(request).upload_id
    request = oss.UploadPartRequest(bucket=BUCKET, key="a", upload_id=upload_id, part_number=1, body=b"hi oss")
    client.upload_part(request)
    request = oss.CompleteMultipartUploadRequest(
        bucket=BUCKET, key="a", upload_id=upload_id, complete_all="yes", **callback
    )
    assert client.complete_multipart_upload(request).callback_result == '{"Status":"Ok"}'
    assert recorder.body_received == b"object=a&size=6&operation=CompleteMultipartUpload&user=eric"
