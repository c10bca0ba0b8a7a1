import shlex
import shutil
import subprocess
import time

import pytest
from webtest import TestApp

from ...support.absent import skip_or_fail
from ...support.server_threads import serving_oss
from ..form_client import form, policy, post, sign_v1
from .conftest import Browser


def curl_of(browser, index=0):
    return browser.page(f"/requests/{browser.newest()[index]}/curl").text


def test_a_form_comes_with_its_fields_and_the_file_by_name(browser, upload):
    upload("dir/a.txt")
    words = shlex.split(curl_of(browser))
    assert words[:2] == ["curl", "-i"]
    assert "key=dir/a.txt" in words
    assert 'file=@"a.txt";type=text/plain' in words
    assert words[-1] == "http://localhost:80/examplebucket"


def test_quotes_in_a_value_end_no_word(browser, upload):
    upload("it's; rm -rf $HOME `x`.txt")
    assert "key=it's; rm -rf $HOME `x`.txt" in shlex.split(curl_of(browser))


def test_a_get_is_a_plain_line(app, browser, upload):
    upload("a")
    app.get("/examplebucket/a?x=1", status=501)
    assert curl_of(browser) == "curl -i 'http://localhost:80/examplebucket/a?x=1'\n"


def test_a_token_is_left_out_and_that_is_said(make_oss):
    oss = make_oss(security_token="the-token-of-sts")
    app = TestApp(oss)
    fields = {"key": "a", "x-oss-security-token": "the-token-of-sts"}
    post(app, form({**fields, **sign_v1(oss, policy())}), status=204)
    text = curl_of(Browser(app))
    assert "the-token-of-sts" not in text
    assert text.startswith("# ••• stands for a secret")


@pytest.mark.slow
@pytest.mark.servers
def test_the_line_of_an_upload_works_in_a_shell(local, tmp_path):
    if shutil.which("curl") is None:
        skip_or_fail("curl")
    with serving_oss(local) as server:
        document = policy(expiration=time.time() + 600)
        app = TestApp(local)
        post(app, form({"key": "a b'c.txt", **sign_v1(local, document)}), headers={"Host": f"127.0.0.1:{server.port}"})
        line = curl_of(Browser(app))
        (tmp_path / "a.txt").write_bytes(b"again")
        run = subprocess.run(line, shell=True, cwd=tmp_path, capture_output=True, text=True, timeout=60)
        assert run.stdout.startswith("HTTP/1.1 204"), run.stdout + run.stderr
        assert local.storage.bucket("examplebucket").get("a b'c.txt").size == 5
