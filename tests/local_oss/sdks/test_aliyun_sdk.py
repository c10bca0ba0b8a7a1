"""aliyun-sdk, the SDK for Ruby, against the local OSS. It signs V1, writes a blank as `+` and sends chunks."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.absent import skip_or_fail

SCRIPT = Path(__file__).parent / "aliyun_sdk.rb"
KEY = "目录/a b+c.txt"
TEXT = "hello 中"


@pytest.fixture(scope="session")
def ruby():
    """Return the command of Ruby, when its SDK is installed, as Debian's package ruby-aliyun-sdk."""
    ruby = shutil.which("ruby")
    if ruby is None:
        skip_or_fail("ruby")
    if subprocess.run([ruby, "-raliyun/oss", "-e", ""], capture_output=True, timeout=60).returncode:
        skip_or_fail("aliyun-sdk, the SDK for Ruby,")
    return ruby


@pytest.fixture
def run(ruby, serve):
    def run(steps, *, cname=False, secret=None):
        server = serve(acl="private")
        oss = server.oss
        client = {
            "endpoint": f"http://localhost:{server.port}" if cname else server.url,
            "cname": cname,  # which puts no bucket into the URL; for an IP address the SDK puts it into the path
            "access_key_id": oss.access_key_id,
            "access_key_secret": secret or oss.access_key_secret,
        }
        callback = "http://app.example.com/oss/callback"
        configuration = {"client": client, "bucket": oss.bucket, "key": KEY, "callback": callback, "steps": steps}
        command = [ruby, str(SCRIPT), json.dumps(configuration)]
        process = subprocess.run(command, capture_output=True, text=True, timeout=300)
        assert process.returncode == 0, process.stderr
        return json.loads(process.stdout)

    return run


@pytest.fixture(params=[False, True], ids=["path", "cname"])
def cname(request):
    return request.param


def test_buckets_and_their_rules(run):
    assert run(["list", "make", "acl", "cors", "lifecycle", "drop"]) == {
        "list": ["examplebucket"],
        "make": True,
        "acl": "public-read",
        "cors": [[["GET", "PUT"]], []],
        "lifecycle": [["r", "tmp/", 7]],
        "drop": False,
    }


def test_objects(run, cname):
    results = {
        "put": True,
        "putFile": True,
        "get": [TEXT, "hello"],
        "head": [9, "text/plain", {"who": "ruby"}],
        "missing": [404, "NoSuchKey"],
        "objects": [KEY],
        "folders": ["file", "目录/"],
        "objectAcl": "public-read",
        "copy": [TEXT, {"who": "ruby"}],
        "copyOfPlus": [404, "NoSuchKey"],
        "metas": {"new": "meta"},
        "append": [501, "NotImplemented"],
        "removeMulti": ["a copy", "control\x01", "中"],
        "remove": False,
    }
    assert run(list(results), cname=cname) == results


def test_uploads_in_parts(run, cname):
    results = {"multipart": True, "multipartDownload": True, "uploads": [[256000], ["begun"], []]}
    assert run(list(results), cname=cname) == results


def test_both_uploads_are_reported(run, recorder):
    assert run(["putCallback", "multipartCallback"]) == {"putCallback": True, "multipartCallback": True}
    assert [body for _, body in recorder.requests] == [b"object=called&size=9", b"object=called&size=256000"]
    assert recorder.environ["QUERY_STRING"] == "user=a+b"


def test_a_callback_that_fails_is_an_error(run, recorder):
    recorder.status = "500 Internal Server Error"
    assert run(["putCallback", "multipartCallback"]) == {
        "putCallback": [203, "CallbackFailed"],
        "multipartCallback": [203, "CallbackFailed"],
    }


def test_signed_urls(run, cname):
    assert run(["put", "signedUrl", "plainUrl"], cname=cname) == {
        "put": True,
        "signedUrl": ["200", TEXT],
        "plainUrl": "403",
    }


def test_a_temporary_key_may_do_what_its_policy_allows(run):
    assert run(["limited", "refused"]) == {"limited": TEXT, "refused": [403, "AccessDenied"]}
