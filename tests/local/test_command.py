"""`python -m oss_wsgi.local` as a process: what it prints, what it serves, how it ends, what it refuses."""

import base64
import contextlib
import json
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request

import pytest

from .form_client import BOUNDARY, form, policy, sign_v1

COMMAND = [sys.executable, "-m", "oss_wsgi.local"]


class Account:
    def __init__(self, access_key_id, access_key_secret):
        self.access_key_id, self.access_key_secret = access_key_id, access_key_secret


@contextlib.contextmanager
def running(*arguments, end=signal.SIGTERM, **options):
    """Gives the lines that it prints until it is ready, and ends it by a signal."""
    command = [*COMMAND, "--listen", "127.0.0.1:0", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options) as process:
        lines = []
        while not lines or "Ctrl-C" not in lines[-1]:
            lines.append(process.stdout.readline())
            assert lines[-1], "".join(lines)
        try:
            yield "".join(lines)
        finally:
            process.send_signal(end)
            said, _ = process.communicate(timeout=20)
    assert process.returncode == 0, said
    assert said == ""


def url_of(said):
    return re.match(r"Local OSS at (http://127\.0\.0\.1:[0-9]+), ", said)[1]


def upload(said, account, key="dir/a.txt", bucket="local-bucket", **headers):
    document = {**policy(expiration=time.time() + 60), "conditions": [{"bucket": bucket}]}
    body = form({"key": key, **sign_v1(account, document)})
    headers = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}", **headers}
    return urllib.request.urlopen(urllib.request.Request(f"{url_of(said)}/{bucket}", body, headers))


def refused(*arguments):
    run = subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, timeout=30)
    assert (run.returncode, run.stdout) == (2, "")
    assert "Traceback" not in run.stderr
    return run.stderr


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGINT])
def test_with_nothing_given_it_serves_says_how_and_ends_with_status_0(tmp_path, end):
    with running(end=end, env={"TMPDIR": str(tmp_path)}) as said:
        account = Account(*re.search(r"AccessKey ID (\S+), secret (\S+)\.\n", said).groups())
        with upload(said, account) as answer:
            assert answer.status == 204
        with urllib.request.urlopen(f"{url_of(said)}/local-bucket/dir/a.txt") as stored:
            assert stored.read() == b"hi oss"
        page = urllib.request.Request(f"{url_of(said)}/", headers={"Accept": "text/html"})
        with urllib.request.urlopen(page) as response:
            assert b'href="local-bucket/dir/a.txt"' in response.read()
        assert list(tmp_path.iterdir())
    assert list(tmp_path.iterdir()) == []
    for client in ("oss2", "oss-v2", "ali-oss", "ossutil", "curl"):
        assert f"\n  {client} " in said
    assert len(said.splitlines()) < 15


def test_what_is_given_counts_and_a_secret_that_was_given_is_not_printed(tmp_path):
    options = ["--dir", str(tmp_path), "--bucket", "my-bucket", "--region", "eu-central-1"]
    options += ["--access-key-id", "my-id", "--access-key-secret", "my-secret"]
    options += ["--cors", "http://localhost:3000", "--cors", "http://localhost:5173"]
    with running(*options) as said:
        for origin in ("http://localhost:3000", "http://localhost:5173"):
            with upload(said, Account("my-id", "my-secret"), bucket="my-bucket", Origin=origin) as answer:
                assert answer.headers["Access-Control-Allow-Origin"] == origin
    assert "my-secret" not in said
    assert "eu-central-1" in said
    assert list((tmp_path / "my-bucket").glob("a-*.txt"))


def test_several_buckets_take_forms_each_its_own(tmp_path):
    given = ["--dir", str(tmp_path), "--access-key-id", "my-id", "--access-key-secret", "my-secret"]
    with running(*given, "--bucket", "first-one", "--bucket", "second-one", "--bucket", "first-one") as said:
        assert "holding first-one, second-one. " in said
        for bucket in ("first-one", "second-one"):
            with upload(said, Account("my-id", "my-secret"), key=f"{bucket}.txt", bucket=bucket):
                pass
        with urllib.request.urlopen(
            urllib.request.Request(f"{url_of(said)}/", headers={"Accept": "text/html"})
        ) as response:
            page = response.read().decode()
        assert re.findall('href="(.*?)"', page) == ["first-one/first-one.txt", "second-one/second-one.txt"]


def test_a_page_of_any_origin_may_put_and_delete_where_cors_is_a_star():
    with running("--cors", "*") as said:
        headers = {"Origin": "http://anywhere.example", "Access-Control-Request-Method": "DELETE"}
        request = urllib.request.Request(f"{url_of(said)}/local-bucket/a", headers=headers, method="OPTIONS")
        with urllib.request.urlopen(request) as answer:
            assert answer.headers["Access-Control-Allow-Origin"] == "*"
            assert "PUT" in answer.headers["Access-Control-Allow-Methods"]


def test_without_cors_no_page_reads_anything():
    with running() as said:
        headers = {"Origin": "http://anywhere.example", "Access-Control-Request-Method": "POST"}
        request = urllib.request.Request(f"{url_of(said)}/local-bucket", headers=headers, method="OPTIONS")
        with pytest.raises(urllib.error.HTTPError) as refusal:
            urllib.request.urlopen(request)
        with refusal.value:
            assert refusal.value.code == 403


def test_callbacks_go_out_over_http():
    received = []
    with socket.create_server(("127.0.0.1", 0)) as server, running() as said:
        url = f"http://127.0.0.1:{server.getsockname()[1]}/done"
        account = Account(*re.search(r"AccessKey ID (\S+), secret (\S+)\.\n", said).groups())

        def answer():
            connection, _ = server.accept()
            with connection:
                received.append(connection.recv(65536))
                head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n"
                connection.sendall(head + b"Connection: close\r\n\r\n{}")

        thread = threading.Thread(target=answer)
        thread.start()
        callback = base64.b64encode(json.dumps({"callbackUrl": url, "callbackBody": "o=${object}"}).encode()).decode()
        document = {**policy(expiration=time.time() + 60), "conditions": [{"bucket": "local-bucket"}]}
        body = form({"key": "a", "callback": callback, **sign_v1(account, document)})
        headers = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
        with urllib.request.urlopen(urllib.request.Request(f"{url_of(said)}/local-bucket", body, headers)) as response:
            assert response.read() == b"{}"
        thread.join()
    assert b"POST /done HTTP/1.1\r\n" in received[0]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        pytest.param(["--listen", "8081"], "--listen: must be HOST:PORT", id="no host"),
        pytest.param(["--listen", "127.0.0.1:99999"], "--listen: must be HOST:PORT", id="no such port"),
        pytest.param(["--listen", "::1:80"], "--listen: must be HOST:PORT", id="IPv6 without brackets"),
        pytest.param(["--listen", "nohost.invalid:80"], "Choose another with --listen", id="no such host"),
        pytest.param(["--bucket", "No_Bucket"], "--bucket: a bucket name has", id="no name of a bucket"),
        pytest.param(["--bucket", "one", "--bucket", "No"], "--bucket: a bucket name has", id="no name of a second"),
        pytest.param(["--dir", "/dev/null/x"], "--dir: '/dev/null/x' cannot be used: Not a directory", id="no folder"),
        pytest.param(["--access-key-id", "a"], "--access-key-id and --access-key-secret together", id="half a key"),
        pytest.param(["--cors", "localhost:3000"], "--cors: must be '*' or an origin", id="no scheme"),
        pytest.param(["--cors", "http://localhost:3000/"], "--cors: must be '*' or an origin", id="a slash"),
        pytest.param(["--region", "Hang zhou"], "--region: must be like cn-hangzhou", id="no region"),
        pytest.param(["--buckets", "a"], "unrecognized arguments", id="an unknown option"),
    ],
)
def test_what_is_wrong_is_said_in_a_sentence(arguments, said):
    options = [] if "--listen" in arguments else ["--listen", "127.0.0.1:0"]
    assert said in refused(*options, *arguments)


def test_a_folder_that_holds_something_else_is_said_too(tmp_path):
    with running("--dir", str(tmp_path)):
        (index,) = [path for path in tmp_path.rglob("*") if path.is_file() and path.read_bytes()[:6] == b"SQLite"]
    index.write_bytes(b"no database " * 1000)
    assert "--dir: " in refused("--listen", "127.0.0.1:0", "--dir", str(tmp_path))


def test_a_port_that_is_taken_is_one_clear_sentence():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        said = refused("--listen", f"127.0.0.1:{port}")
    reason = f"cannot listen on 127.0.0.1:{port}: Address already in use."
    assert said == f"python -m oss_wsgi.local: {reason} Choose another with --listen HOST:PORT.\n"


def test_a_missing_extra_is_named():
    code = "import runpy, sys; sys.modules['fastcrc'] = None; runpy.run_module('oss_wsgi.local', run_name='__main__')"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30)
    assert run.returncode == 2
    assert run.stderr == "python -m oss_wsgi.local: it needs fastcrc: pip install 'oss-wsgi[local]'.\n"


def test_beyond_this_machine_it_warns():
    with running("--listen", "0.0.0.0:0") as said:
        assert "anyone who reaches it may read its objects" in said
        assert url_of(said)


def test_forms_may_be_held_to_their_policy_and_may_ask_for_a_fault():
    with running("--strict", "--test-mode") as said:
        account = Account(*re.search(r"AccessKey ID (\S+), secret (\S+)\.\n", said).groups())
        with pytest.raises(urllib.error.HTTPError) as caught:
            upload(said, account)
        with contextlib.closing(caught.value) as answer:
            assert b"Extra input fields: key" in answer.read()
        with pytest.raises(urllib.error.HTTPError) as caught:
            upload(said, account, **{"x-oss-local-fault": "slow_down"})
        with contextlib.closing(caught.value) as answer:
            assert answer.code == 503
