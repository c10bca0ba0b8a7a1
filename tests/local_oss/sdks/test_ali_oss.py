"""ali-oss, the SDK for Node, against the local OSS: both signatures, in each addressing style."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.absent import skip_or_fail

SCRIPT = Path(__file__).parent / "ali_oss.mjs"
KEY = "目录/a b+c.txt"
TEXT = "hello 中"
STYLES = {
    # For an IP address ali-oss puts the bucket into a Host header that it makes up, whatever the options are.
    "address": ("127.0.0.1", {}, False),
    "address, path": ("127.0.0.1", {"sldEnable": True}, False),
    "address, cname": ("127.0.0.1", {"cname": True}, False),
    "cname": ("localhost", {"cname": True}, True),
    "unbound cname": ("localhost", {"cname": True}, False),
    "path": ("localhost", {"sldEnable": True}, False),
}
BUCKETS = ["list", "make", "info", "acl", "location", "cors", "nocors", "drop"]
OBJECTS = [
    "put",
    "get",
    "head",
    "objects",
    "objectsV1",
    "objectAcl",
    "copy",
    "multipart",
    "putCallback",
    "remove",
    "removeMulti",
]
URLS = ["urlPut", "urlGet", "urlWrongMethod", "urlAltered"]


@pytest.fixture(scope="session")
def node():
    """Return the command, when ali-oss is installed: in node_modules above the script, or on NODE_PATH."""
    node = shutil.which("node")
    if node is None:
        skip_or_fail("node")
    command = [node, "-e", f"require('module').createRequire({json.dumps(str(SCRIPT))}).resolve('ali-oss')"]
    if subprocess.run(command, capture_output=True, timeout=60).returncode:
        skip_or_fail("ali-oss, a package of npm,")
    return node


@pytest.fixture
def run(node, serve):
    def run(steps, *, style="address", v4=True, secret=None, **options):
        host, addressing, bound = STYLES[style]
        server = serve(**({"cnames": {"localhost": "examplebucket"}} if bound else {}), **options)
        oss = server.oss
        client = {
            "endpoint": f"http://{host}:{server.port}",
            "region": "oss-cn-hangzhou",
            "bucket": oss.bucket,
            "accessKeyId": oss.access_key_id,
            "accessKeySecret": secret or oss.access_key_secret,
            "authorizationV4": v4,
            **addressing,
        }
        callback = "http://app.example.com/oss/callback"
        configuration = {"client": client, "bucket": oss.bucket, "key": KEY, "callback": callback, "steps": steps}
        # Node resolves localhost to IPv6 first, where no server listens.
        environ = {**os.environ, "NODE_OPTIONS": "--dns-result-order=ipv4first"}
        command = [node, str(SCRIPT), json.dumps(configuration)]
        process = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environ)
        assert process.returncode == 0, process.stderr
        return json.loads(process.stdout)

    return run


@pytest.mark.parametrize("v4", [True, False], ids=["V4", "V1"])
@pytest.mark.parametrize("style", ["address", "address, path", "path"])
def test_buckets_and_their_cors_rules(run, style, v4):
    results = run(BUCKETS, style=style, v4=v4)
    assert results.pop("nocors").startswith("NoSuchCORSConfigurationError: ")
    assert results == {
        "list": ["examplebucket"],
        "make": "made-by-node",
        "info": "IA",
        "acl": "private",
        "location": "oss-cn-hangzhou",
        "cors": [
            {
                "allowedOrigin": "https://shop.example",
                "allowedMethod": ["GET", "PUT"],
                "allowedHeader": "*",
                "maxAgeSeconds": "9",
            }
        ],
        "drop": 204,
    }


@pytest.mark.parametrize("v4", [True, False], ids=["V4", "V1"])
@pytest.mark.parametrize("style", STYLES)
def test_objects(run, recorder, style, v4):
    assert run(OBJECTS, style=style, v4=v4) == {
        "put": 200,
        "get": TEXT,
        "head": ["9", "text/plain", "node"],
        "objects": [KEY],
        "objectsV1": [KEY],
        "objectAcl": "public-read",
        "copy": TEXT,
        "multipart": True,
        "putCallback": {"Status": "Ok"},
        "remove": [204, "NoSuchKey"],
        "removeMulti": 3,
    }
    assert recorder.body_received == b"object=called&size=9"


@pytest.mark.parametrize(
    ("style", "v4"),
    [
        pytest.param("cname", True, id="cname, V4"),
        pytest.param("unbound cname", True, id="unbound cname, V4"),
        pytest.param("address", True, id="address, V4"),
        pytest.param("address, cname", True, id="address, cname, V4"),
        pytest.param("path", True, id="path, V4"),
        # signatureUrl refuses an IP address.
        pytest.param("cname", False, id="cname, V1"),
        pytest.param("unbound cname", False, id="unbound cname, V1"),
        pytest.param("path", False, id="path, V1"),
    ],
)
def test_signed_urls(run, style, v4):
    results = run(URLS, style=style, v4=v4)
    assert results == {"urlPut": [200, ""], "urlGet": [200, TEXT], "urlWrongMethod": 403, "urlAltered": 403}


def test_forms_by_both_signatures(run, recorder):
    assert run(["postV1", "postV4"], v4=True) == {"postV1": [204, ""], "postV4": [200, '{"Status":"Ok"}']}
    assert recorder.body_received == b"object=posted"


def test_the_example_stores_an_object_and_reads_it_back(node, serve):
    server = serve(bucket="my-bucket", access_key_id="ID", access_key_secret="SECRET")
    example = Path(__file__).parents[3] / "examples" / "local-oss" / "store.cjs"
    process = subprocess.run([node, str(example), server.url], capture_output=True, text=True, timeout=300)
    assert (process.returncode, process.stdout) == (0, "hello from Node\n"), process.stderr
