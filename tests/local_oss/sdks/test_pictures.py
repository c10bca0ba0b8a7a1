"""Thumbnails by oss2: with a header, and by a signed URL."""

import io
import time

import oss2
import pytest
from PIL import Image

from local_oss.operations.routes import PROCESS

from ...support.server_threads import serving_oss
from .. import stored
from ..operations.test_image_process import picture

pytestmark = pytest.mark.filterwarnings("ignore:datetime.datetime.utcnow:DeprecationWarning")


@pytest.mark.parametrize("version", ["v1", "v4"])
def test_the_sdk_asks_for_a_thumbnail_and_signs_a_url_of_one(make_oss, version):
    oss = make_oss(acl="private", clock=time.time)
    stored.put(oss.storage.bucket("examplebucket"), "p", picture())
    with serving_oss(oss) as server:
        auth = oss2.make_auth(oss.access_key_id, oss.access_key_secret, version)
        bucket = oss2.Bucket(auth, server.url, "examplebucket", region="cn-hangzhou", is_path_style=True)
        processed = bucket.get_object("p", process="image/resize,w_100").read()
        assert Image.open(io.BytesIO(processed)).size == (100, 50)
        url = bucket.sign_url("GET", "p", 60, params={PROCESS: "image/resize,w_100"}, slash_safe=True)
        assert bucket.get_object_with_url(url).read() == processed
