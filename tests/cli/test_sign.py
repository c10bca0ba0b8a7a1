"""`oss-wsgi sign`: the local OSS accepts the form as it is printed, in each shape."""

from __future__ import annotations

import html
import json
import re
import shlex
import shutil
import subprocess
import urllib.request
from pathlib import Path

import pytest

from oss_wsgi.testing import multipart

from ..support.absent import skip_or_fail
from ..support.callbacks import without_signed_id
from ..support.deployment import Deployment
from .command import oss_wsgi

pytestmark = pytest.mark.slow


def post(url: str, fields: dict[str, str], name: str, data: bytes = b"hello") -> object:
    content_type, body = multipart(fields, name, data)
    with urllib.request.urlopen(urllib.request.Request(url, body, {"Content-Type": content_type})) as response:
        assert response.status == 200
        return json.load(response)


def test_json_is_what_the_endpoint_returns(deployment: Deployment) -> None:
    form = json.loads(oss_wsgi("sign", "a.txt", "--user", "eric", **deployment.environ).stdout)
    assert form["method"] == "POST"
    assert form["accessid"] == deployment.oss.access_key_id
    assert without_signed_id(post(form["url"], form["fields"], "a.txt")) == {"Status": "Ok", "user": "eric"}


def test_html_is_a_form_with_the_fields(deployment: Deployment) -> None:
    page = oss_wsgi("sign", 'a "quoted" & odd.txt', "--html", **deployment.environ).stdout
    fields = {
        html.unescape(name): html.unescape(value)
        for name, value in re.findall(r'<input type="hidden" name="([^"]*)" value="([^"]*)">', page)
    }
    (url,) = re.findall(r'<form action="([^"]+)" method="post" enctype="multipart/form-data">', page)
    assert page.index('type="file"') > page.rindex('type="hidden"'), "the file comes last"
    assert without_signed_id(post(html.unescape(url), fields, "a.txt")) == {"Status": "Ok", "user": None}


@pytest.mark.servers
@pytest.mark.parametrize("name", ["a.txt", 'it\'s; a "mess", @really.txt', "$(touch pwned).txt", "@a.txt"])
def test_curl_is_a_command_that_a_shell_runs(name: str, deployment: Deployment, tmp_path: Path) -> None:
    if shutil.which("curl") is None:
        skip_or_fail("curl")
    (tmp_path / name).write_bytes(b"hello")
    # The object's name is the file's: curl would take one that begins with @ for a file to read.
    environ = deployment.environ | {"OSS_UPLOAD_NAMES": "original", "OSS_UPLOAD_DIR": ""}
    line = oss_wsgi("sign", name, "--content-type", "text/plain", "--size", "5", "--curl", **environ).stdout
    run = subprocess.run(["sh", "-c", line.replace("curl ", "curl -sS ", 1)], capture_output=True, cwd=tmp_path)
    assert run.returncode == 0, run.stderr
    assert without_signed_id(json.loads(run.stdout)) == {"Status": "Ok", "user": None}
    assert b"HTTP status 200" in run.stderr
    assert not (tmp_path / "pwned").exists()
    assert shlex.split(line)[-1] == deployment.oss.host


def test_the_size_is_part_of_the_policy(deployment: Deployment) -> None:
    form = json.loads(oss_wsgi("sign", "a.txt", "--size", "3", **deployment.environ).stdout)
    with pytest.raises(urllib.error.HTTPError) as refusal:
        post(form["url"], form["fields"], "a.txt", b"four")
    assert b"EntityTooLarge" in refusal.value.read()
    refusal.value.close()


def test_no_secret_is_printed(deployment: Deployment) -> None:
    for shape in ("--json", "--curl", "--html"):
        run = oss_wsgi("sign", "a.txt", shape, **deployment.environ)
        for name in ("OSS_ACCESS_KEY_SECRET", "OSS_TICKET_SECRET"):
            assert deployment.environ[name] not in run.stdout + run.stderr


def test_without_a_ticket_secret_a_note_says_what_will_happen(deployment: Deployment) -> None:
    environ = deployment.environ | {"OSS_TICKET_SECRET": ""}
    run = oss_wsgi("sign", "a.txt", **environ)
    assert "OSS_TICKET_SECRET is not set" in run.stderr
    form = json.loads(run.stdout)
    with pytest.raises(AssertionError):  # 203: stored, and the application refused the report
        post(form["url"], form["fields"], "a.txt")


@pytest.mark.parametrize(
    ("arguments", "environ", "message"),
    [
        pytest.param([], {"OSS_BUCKET": "", "OSS_HOST": ""}, "OSS_BUCKET and OSS_REGION must be set", id="no bucket"),
        pytest.param([], {"OSS_ACCESS_KEY_ID": "", "OSS_ACCESS_KEY_SECRET": ""}, "OSS_ACCESS_KEY_ID", id="no key"),
        pytest.param(["--content-type", "png"], {}, "The content_type must be like", id="not a type"),
        pytest.param(["--size", "-1"], {}, "-1 bytes is not allowed", id="less than nothing"),
        pytest.param(["--upload-max-size", "9", "--size", "10"], {}, "only 0 to 9", id="over the limit"),
    ],
)
def test_misuse_is_a_sentence(
    arguments: list[str], environ: dict[str, str], message: str, deployment: Deployment
) -> None:
    ended = oss_wsgi("sign", "a.txt", *arguments, status=2, **(deployment.environ | environ))
    assert message in ended.stderr
    assert ended.stdout == ""


def run_as_shell(line: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a line of `oss-wsgi sign --curl` by sh in a folder, and return the ended process."""
    if shutil.which("curl") is None:
        skip_or_fail("curl")
    return subprocess.run(["sh"], input=line, capture_output=True, text=True, cwd=folder, timeout=120)


@pytest.mark.servers
def test_curl_fails_when_the_file_is_too_large_and_shows_why(deployment: Deployment, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("hello")
    run = run_as_shell(oss_wsgi("sign", "a.txt", "--size", "3", "--curl", **deployment.environ).stdout, tmp_path)
    assert run.returncode == 22
    assert "<Code>EntityTooLarge</Code>" in run.stdout
    assert "HTTP status 400" in run.stderr


@pytest.mark.servers
def test_curl_fails_without_the_file_or_the_server(deployment: Deployment, tmp_path: Path) -> None:
    line = oss_wsgi("sign", "a.txt", "--curl", **deployment.environ).stdout
    assert run_as_shell(line, tmp_path).returncode == 26
    environ = deployment.environ | {"OSS_HOST": "http://127.0.0.1:1/examplebucket"}
    (tmp_path / "a.txt").write_text("hello")
    run = run_as_shell(oss_wsgi("sign", "a.txt", "--curl", **environ).stdout, tmp_path)
    assert run.returncode == 7


def test_without_a_bucket_the_error_names_the_local_oss() -> None:
    lines = oss_wsgi("sign", "a.txt", status=2).stderr.splitlines()
    assert any("OSS_BUCKET" in line for line in lines)
    assert lines[-1] == "oss-wsgi sign: To try it without a bucket: `oss-wsgi local` prints the variables."
    assert "oss-wsgi local" not in oss_wsgi("sign", "a.txt", status=2, OSS_BUCKET="examplebucket").stderr


def test_where_pages_report_the_form_has_a_ticket_and_the_way_to_use_it_is_said(deployment: Deployment) -> None:
    environ = deployment.environ | {"OSS_REPORT_BY": "page", "OSS_CALLBACK_URL": ""}
    signed = oss_wsgi("sign", "a.txt", "--user", "eric", **environ)
    form = json.loads(signed.stdout)
    assert (form["ticket"] != "", form["callback"], "x-oss-meta-oss-wsgi" in form["fields"]) == (True, "", True)
    assert "OSS does not report this upload" in signed.stderr
    assert oss_wsgi("sign", "a.txt", **deployment.environ).stderr == ""
