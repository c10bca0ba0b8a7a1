"""The SDK for Go against the local OSS, by the example of docs/how-to/oss-for-tests.md."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.absent import skip_or_fail

PROGRAM = Path(__file__).parents[3] / "examples" / "local-oss" / "store.go"
#: Where Debian's golang-github-aliyun-aliyun-oss-go-sdk-dev puts it.
GOPATH = Path("/usr/share/gocode")


@pytest.fixture
def go():
    go = shutil.which("go")
    if go is None:
        skip_or_fail("go")
    if not (GOPATH / "src/github.com/aliyun/aliyun-oss-go-sdk").is_dir():
        skip_or_fail("the SDK for Go")
    return go


def test_the_example_stores_an_object_and_reads_it_back(go, serve, tmp_path):
    server = serve(bucket="my-bucket", access_key_id="ID", access_key_secret="SECRET")
    environ = {**os.environ, "GO111MODULE": "off", "GOPATH": str(GOPATH), "GOCACHE": str(tmp_path), "GOFLAGS": ""}
    process = subprocess.run(
        [go, "run", str(PROGRAM), server.url], env=environ, capture_output=True, text=True, timeout=300
    )
    assert (process.returncode, process.stdout) == (0, "hello from Go\n"), process.stderr


def test_the_example_is_formatted_as_go_asks(go):
    process = subprocess.run([Path(go).with_name("gofmt"), "-l", str(PROGRAM)], capture_output=True, text=True)
    assert (process.returncode, process.stdout) == (0, ""), process.stderr
