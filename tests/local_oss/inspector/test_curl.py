import re
import shlex
import shutil
import subprocess
import time
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from webtest import TestApp

from local_oss.inspector.curl import curl_line
from local_oss.inspector.exchange import Exchange

from ...support.absent import skip_or_fail
from ...support.server_threads import serving_oss
from ..form_client import form, policy, post, sign_v1
from ..socket_client import put_headers
from .conftest import Browser

WINDOW = "http://localhost:8081"


def curl_of(browser, index=0):
    return browser.page(f"/requests/{browser.newest()[index]}/curl").text


def test_a_form_comes_with_its_fields_and_a_file_of_a_fixed_name(browser, upload):
    upload("dir/a.txt")
    words = shlex.split(curl_of(browser))
    assert words[:2] == ["curl", "-i"]
    assert "key=dir/a.txt" in words
    assert "file=@FILE;type=text/plain" in words
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


def test_a_strangers_file_type_and_host_do_not_get_into_the_line(app, browser):
    payload = form({"key": "a"}, filename="/etc/passwd", content_type="text/plain;headers=@/etc/hostname")
    post(app, payload, headers={"Host": "stranger.example", "Referer": "http://page.example/@/etc/hosts"}, status=403)
    text = curl_of(browser)
    words = shlex.split(text, comments=True)
    assert words[-3:] == ["-F", "file=@FILE", "http://localhost:80/examplebucket"]
    assert not re.search("stranger|passwd|hostname", text)
    assert text.startswith("# Left out: 1 of the values")


def line_of(method="GET", target="/", headers=(), fields=None, file_type="", bucket="", key=""):
    exchange = Exchange(
        method=method,
        target=target,
        base_url="http://stranger.example",
        headers=tuple(headers),
        bucket=bucket,
        key=key,
        fields=fields,
        file_name=file_type,
        file_type=file_type,
    )
    return curl_line(exchange, WINDOW)


@pytest.mark.parametrize(
    ("target", "address", "url"),
    [
        ("@stranger.example/", ("", ""), "/@stranger.example/"),
        ("*", ("", ""), "/*"),
        ("/b/k?x=\x1b[2J\xe9", ("b", "k"), "/b/k?x=%1B[2J%E9"),
        ("/c+d?x=1", ("b", "c d"), "/b/c+d?x=1"),
        ("//k", ("b", "/k"), "/b//k"),
        ("/b/../k{1,2}", ("b", "../k{1,2}"), "/b/../k{1,2}"),
    ],
)
def test_the_target_stays_behind_the_address_of_the_window_and_names_the_bucket(target, address, url):
    words = shlex.split(line_of(target=target, bucket=address[0], key=address[1]))
    assert words[-1] == WINDOW + url
    assert ("--globoff" in words) == bool(re.search(r"[][{}]", url))
    assert ("--path-as-is" in words) == (".." in url)


HOSTILE = st.text(
    st.one_of(
        st.sampled_from("'\"\\\n\r\t\0\x1b\x15\x7f;=@<>&|$`!#%{}[]()*?~,-/ \u202e\u2066\u200b\u2028\ufeff\x9b\u2019e"),
        st.characters(exclude_categories=["Cs"]),
    ),
    max_size=12,
)
NAMES = st.one_of(
    HOSTILE, st.sampled_from(["key", "-x", "a;type=b", "a=@f", "@f", "x:a", "file", "host", "content-type"])
)
TYPES = st.one_of(
    HOSTILE,
    st.builds("text/plain{}headers=@/etc/hostname".format, st.sampled_from([";", ",", "\n;", " ;"])),
    st.sampled_from(["image/png", "text/plain;filename=x", "a/b/c", "text/plain;encoder=base64", 'a"/b']),
)
EXCHANGES = st.fixed_dictionaries(
    {
        "method": st.one_of(HOSTILE, st.sampled_from(["GET", "HEAD", "PUT", "POST", "DELETE"])),
        "target": st.one_of(HOSTILE, HOSTILE.map("/{}".format)),
        "headers": st.lists(st.tuples(NAMES, HOSTILE), max_size=3),
        "fields": st.one_of(st.none(), st.dictionaries(NAMES, HOSTILE, max_size=4)),
        "file_type": TYPES,
        "bucket": HOSTILE,
        "key": HOSTILE,
    }
)
#: What curl may be asked for: an option, and what its value looks like.
ALLOWED = {
    "-X": "[A-Z]+",
    "-H": "[A-Za-z0-9][A-Za-z0-9:._-]*(: .*|;)",
    "--form-string": "[A-Za-z0-9][A-Za-z0-9:._-]*=.*",
    "-F": "file=@FILE(;type=[A-Za-z0-9.+_-]+/[A-Za-z0-9.+_-]+)?",
    "--data-binary": "@FILE",
}


@pytest.fixture(scope="module")
def words_of(tmp_path_factory):
    """Return a function that runs a line in a shell, and returns the words with which that called curl, once."""
    folder = tmp_path_factory.mktemp("shell")
    curl = folder / "curl"
    curl.write_text("#!/bin/sh\nprintf '%s\\0' \"$@\" >>words\n")
    curl.chmod(0o700)

    def words_of(line):
        (folder / "words").write_bytes(b"")
        environ = {"PATH": str(folder), "HOME": str(folder)}
        run = subprocess.run(["/bin/sh"], input=line.encode(), cwd=folder, env=environ, capture_output=True, timeout=60)
        assert (run.returncode, run.stdout, run.stderr) == (0, b"", b"")
        assert sorted(path.name for path in folder.iterdir()) == ["curl", "words"]
        return (folder / "words").read_bytes().decode().split("\0")[:-1]

    return words_of


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(exchange=EXCHANGES)
def test_a_strangers_request_does_nothing_in_a_shell_nor_in_curl(words_of, exchange):
    line = line_of(**exchange)
    assert all(part.isprintable() for part in line.split("\n"))
    assert all(part.startswith("# ") for part in line.split("\n")[:-1])
    option, *words, url = words_of(line)
    assert option in ("-i", "-I")
    assert url.startswith(f"{WINDOW}/")
    while words:
        option = words.pop(0)
        if option not in ("--globoff", "--path-as-is"):
            assert re.fullmatch(ALLOWED[option], words.pop(0)), option


@pytest.mark.slow
@settings(max_examples=100, deadline=None)
@given(values=st.lists(HOSTILE.filter(str.isprintable), min_size=1, max_size=3))
def test_what_is_text_arrives_as_it_was(words_of, values):
    fields = {f"x:{number}": value for number, value in enumerate(values)}
    words = words_of(line_of("POST", fields=fields, bucket="b"))
    assert words[1:-3] == [word for name, value in fields.items() for word in ("--form-string", f"{name}={value}")]


def run_in_a_shell(line, folder):
    if shutil.which("curl") is None:
        skip_or_fail("curl")
    (folder / "FILE").write_bytes(b"again")
    return subprocess.run(line, shell=True, cwd=folder, capture_output=True, text=True, timeout=60)


@pytest.mark.slow
@pytest.mark.servers
def test_the_line_of_an_upload_works_in_a_shell(local, tmp_path):
    with serving_oss(local) as server:
        app = TestApp(local, extra_environ={"HTTP_HOST": f"127.0.0.1:{server.port}"})
        fields = {
            "key": "a b'c\\d!猫.txt",
            "x:mine": "@FILE;type=a",
            **sign_v1(local, policy(expiration=time.time() + 600)),
        }
        post(app, form(fields), headers={"Host": "examplebucket.oss-cn-hangzhou.aliyuncs.com"}, path="/", status=204)
        run = run_in_a_shell(curl_of(Browser(app)), tmp_path)
        assert run.stdout.startswith("HTTP/1.1 204"), run.stdout + run.stderr
        stored = local.storage.bucket("examplebucket").get("a b'c\\d!猫.txt")
        assert (stored.size, stored.content_type) == (5, "text/plain")


@pytest.mark.slow
@pytest.mark.servers
def test_the_line_of_a_put_works_in_a_shell(local, tmp_path):
    with serving_oss(local) as server:
        app = TestApp(local, extra_environ={"HTTP_HOST": f"127.0.0.1:{server.port}"})
        key = "a[1-3]/é+{x}.txt"
        target = f"/examplebucket/{quote(key)}"
        app.put(target, b"once", headers=put_headers(local, key, "text/plain"), extra_environ={"REQUEST_URI": target})
        run = run_in_a_shell(curl_of(Browser(app)), tmp_path)
        assert run.stdout.startswith("HTTP/1.1 200"), run.stdout + run.stderr
        assert local.storage.bucket("examplebucket").get(key).size == 5
