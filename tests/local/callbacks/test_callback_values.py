import pytest

from oss_wsgi.local.callbacks.image_info import read_image_info
from oss_wsgi.local.callbacks.variables import NAMES, callback_values
from oss_wsgi.local.storage.indexed import memory_storage

from .test_image_info import png


@pytest.fixture
def values():
    storage = memory_storage()
    storage.create_bucket("examplebucket", now=0.0)
    bucket = storage.bucket("examplebucket")

    def make(content, **fields):
        with bucket.incoming() as incoming:
            incoming.write(content)
            with incoming.open() as file:
                image = read_image_info(file)
            stored = incoming.commit("user/a", "image/png", {}, now=0.0)
        return callback_values(
            stored, image, fields, bucket="examplebucket", client_ip="192.0.2.1", request_id="674EF4EC0000000000000001"
        )

    yield make
    storage.close()


def test_every_variable_has_its_value(values):
    assert values(b"hi oss", **{"x:uid": "42", "key": "user/a"}) == {
        "x:uid": "42",
        "bucket": "examplebucket",
        "object": "user/a",
        "etag": "B22E0DC370A7F7067FACF5F75D7FA385",
        "size": 6,
        "mimeType": "image/png",
        "crc64": 8707180448768400016,
        "contentMd5": "si4Nw3Cn9wZ/rPX3XX+jhQ==",
        "clientIp": "192.0.2.1",
        "reqId": "674EF4EC0000000000000001",
        "operation": "PostObject",
    }


def test_a_picture_adds_its_size_and_format(values):
    made = values(png(3, 2))
    assert (made["imageInfo.width"], made["imageInfo.height"], made["imageInfo.format"]) == (3, 2, "png")


def test_no_value_has_a_name_that_templates_may_not_use(values):
    assert set(values(png(3, 2))) <= set(NAMES)
