"""`local-oss` as a process: what it prints, what it serves, how it ends, what it refuses."""

import contextlib
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from local_oss.__main__ import serve
from local_oss.command_line import parser
from oss_wsgi.serving.until_stopped import CannotStartError

from ..support.foreign_files import AS_ROOT, NOBODY
from ..support.forks import run, start
from .form_client import BOUNDARY, callback_field, form, policy, sign_v1

pytestmark = pytest.mark.slow

PROGRAM = ["-m", "local_oss"]


class Account:
    def __init__(self, access_key_id, access_key_secret):
        self.access_key_id, self.access_key_secret = access_key_id, access_key_secret


@contextlib.contextmanager
def running(*arguments, end=signal.SIGTERM, logs="", environ=None):
    """Yield what the command prints until it is ready; then stop it and check that it printed nothing but `logs`."""
    command = [*PROGRAM, "--listen", "127.0.0.1:0", *arguments]
    with start(command, environ or os.environ, stderr=subprocess.STDOUT) as process:
        lines = []
        while not lines or "Ctrl-C" not in lines[-1]:
            lines.append(process.stdout.readline())
            assert lines[-1], "".join(lines)
        try:
            yield "".join(lines)
        finally:
            process.send_signal(end)
            rest, _ = process.communicate(timeout=60)
    assert process.returncode == 0, rest
    assert re.fullmatch(logs, rest), rest


def url_of(output):
    return re.match(r"Local OSS at (http://127\.0\.0\.1:[0-9]+), ", output)[1]


def printed_account(output):
    return Account(*re.search(r"AccessKey ID (\S+), secret ([^\s,.]+)", output).groups())


def upload(output, account, key="dir/a.txt", bucket="local-bucket", fields=(), **headers):
    document = {**policy(expiration=time.time() + 60), "conditions": [{"bucket": bucket}]}
    body = form({"key": key, **dict(fields), **sign_v1(account, document)})
    headers = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}", **headers}
    return urllib.request.urlopen(urllib.request.Request(f"{url_of(output)}/{bucket}", body, headers))


def refused(*arguments):
    ended = run([*PROGRAM, *arguments], os.environ)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "Traceback" not in ended.stderr
    return ended.stderr


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGINT])
def test_without_options_it_serves_and_ends_with_status_0(tmp_path, end):
    with running("--acl", "public-read", end=end, environ={"TMPDIR": str(tmp_path)}) as output:
        account = Account(*re.search(r"AccessKey ID (\S+), secret (\S+)\.\n", output).groups())
        with upload(output, account) as response:
            assert response.status == 204
        with urllib.request.urlopen(f"{url_of(output)}/local-bucket/dir/a.txt") as stored:
            assert stored.read() == b"hi oss"
        with urllib.request.urlopen(f"{url_of(output)}/") as response:
            assert b"dir/a.txt" in response.read()
        assert list(tmp_path.iterdir())
    assert list(tmp_path.iterdir()) == []
    for client in ("oss2", "oss-v2", "ali-oss", "ossutil", "curl"):
        assert f"\n  {client} " in output
    assert len(output.splitlines()) < 16


def test_options_are_used_and_a_given_secret_is_not_printed(tmp_path):
    options = ["--dir", str(tmp_path), "--bucket", "my-bucket", "--region", "eu-central-1"]
    options += ["--access-key-id", "my-id", "--access-key-secret", "my-secret"]
    options += ["--cors", "http://localhost:3000", "--cors", "http://localhost:5173"]
    with running(*options) as output:
        for origin in ("http://localhost:3000", "http://localhost:5173"):
            with upload(output, Account("my-id", "my-secret"), bucket="my-bucket", Origin=origin) as response:
                assert response.headers["Access-Control-Allow-Origin"] == origin
    assert "my-secret" not in output
    assert "eu-central-1" in output
    assert list((tmp_path / "my-bucket").glob("a-*.txt"))


def test_cors_star_lets_any_page_put_and_delete():
    with running("--cors", "*") as output:
        headers = {"Origin": "http://anywhere.example", "Access-Control-Request-Method": "DELETE"}
        request = urllib.request.Request(f"{url_of(output)}/local-bucket/a", headers=headers, method="OPTIONS")
        with urllib.request.urlopen(request) as response:
            assert response.headers["Access-Control-Allow-Origin"] == "*"
            assert "PUT" in response.headers["Access-Control-Allow-Methods"]


def test_callbacks_go_out_over_http():
    received, options = [], ["--space-as-plus", "--callback-timeout", "60"]
    with socket.create_server(("127.0.0.1", 0)) as server, running(*options) as output:
        url = f"http://127.0.0.1:{server.getsockname()[1]}/done"

        def answer():
            connection, _ = server.accept()
            with connection, connection.makefile("rb") as stream:
                head = [*iter(stream.readline, b"\r\n")]
                length = next(int(line.split()[1]) for line in head if line.lower().startswith(b"content-length:"))
                received.append((head[0], stream.read(length)))
                head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n"
                connection.sendall(head + b"Connection: close\r\n\r\n{}")

        thread = threading.Thread(target=answer)
        thread.start()
        callback = callback_field(callbackUrl=url, callbackBody="o=${object}")
        with upload(output, printed_account(output), key="a b", fields={"callback": callback}) as response:
            assert response.read() == b"{}"
        thread.join()
    assert received == [(b"POST /done HTTP/1.1\r\n", b"o=a+b")]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param(["--listen", "127.0.0.1:99999"], "--listen: must be HOST:PORT", id="no such port"),
        pytest.param(["--listen", "nohost.invalid:80"], "Choose another with --listen", id="no such host"),
        pytest.param(["--bucket", "No_Bucket"], "--bucket: a bucket name has", id="no name of a bucket"),
        pytest.param(["--dir", __file__], f"--dir: {__file__!r} cannot be used: it is not a folder.", id="a file"),
        pytest.param(["--dir", "/dev/null/x"], "--dir: '/dev/null/x' cannot be used: Not a directory", id="no folder"),
        pytest.param(["--access-key-id", "a"], "--access-key-id and --access-key-secret together", id="half a key"),
        pytest.param(["--cname", "img.test=nobucket"], "no such bucket, only local-bucket", id="a typo"),
        pytest.param(["--callback-timeout", "0"], "--callback-timeout: must be a number of seconds", id="no time"),
        pytest.param(["--max-cors-rules", "0"], "--max-cors-rules: must be a whole number", id="no rule"),
        pytest.param(["--buckets", "a"], "unrecognized arguments", id="an unknown option"),
    ],
)
def test_a_wrong_option_is_told(arguments, message, capsys):
    listen = [] if "--listen" in arguments else ["--listen", "127.0.0.1:0"]
    with pytest.raises((SystemExit, CannotStartError)) as raised, contextlib.ExitStack() as stack:
        serve(parser().parse_args([*listen, *arguments]), stack)
    assert message in f"{raised.value}{capsys.readouterr().err}"


@pytest.mark.parametrize("arguments", [["--region", "Hang zhou"], ["--listen", "127.0.0.1:0", "--bucket", "No_Bucket"]])
def test_a_wrong_option_is_reported_in_one_sentence(arguments):
    """One that the parser refuses, and one that is wrong for what is started."""
    assert f"{arguments[-2]}: " in refused(*arguments)


def test_a_damaged_index_is_reported(tmp_path):
    with running("--dir", str(tmp_path)):
        (index,) = [path for path in tmp_path.rglob("*") if path.is_file() and path.read_bytes()[:6] == b"SQLite"]
    index.write_bytes(b"no database " * 1000)
    assert "--dir: " in refused("--listen", "127.0.0.1:0", "--dir", str(tmp_path))


def test_a_taken_port_is_reported_in_one_sentence():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        error = refused("--listen", f"127.0.0.1:{port}")
    reason = f"cannot listen on 127.0.0.1:{port}: Address already in use."
    assert error == f"local-oss: {reason} Choose another with --listen HOST:PORT.\n"


def test_a_missing_extra_is_named():
    code = "import runpy, sys; sys.modules['fastcrc'] = None; runpy.run_module('local_oss', run_name='__main__')"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert ended.returncode == 2
    assert ended.stderr == "local-oss: fastcrc is not installed: pip install 'oss-wsgi[local]'.\n"


def test_it_greets_in_the_language_of_the_environment():
    with running(environ={**os.environ, "LC_ALL": "zh_CN.UTF-8"}) as output:
        assert re.match(r"本地 OSS：http://127", output), output


def test_all_buckets_are_made_and_bound_host_names_are_told():
    with running("--bucket", "first-one", "--bucket", "second-one", "--cname", "img.test=second-one") as output:
        assert "Bound host names: img.test to second-one.\n" in output
        account = printed_account(output)
        for bucket in ("first-one", "second-one"):
            with upload(output, account, key=f"{bucket}.txt", bucket=bucket):
                pass


def test_a_reset_without_a_folder_is_refused():
    assert "give --dir DIR too" in refused("--reset")


def test_damaged_keys_are_reported_in_one_sentence(tmp_path):
    (tmp_path / ".keys.json").write_text("{}")
    assert "--dir: " in (message := refused("--dir", str(tmp_path)))
    assert "holds no keys" in message


@AS_ROOT
@pytest.mark.parametrize("name", [".keys.json", ".index.sqlite3", ".tls.pem"])
def test_what_another_user_put_into_the_folder_is_named_with_the_owner_in_one_sentence(tmp_path, name):
    with running("--tls", "--dir", str(tmp_path)):
        pass
    os.chown(tmp_path / name, NOBODY, NOBODY)
    message = refused("--tls", "--dir", str(tmp_path), "--listen", "127.0.0.1:0")
    assert ("--tls: '" if name == ".tls.pem" else f"--dir: '{tmp_path}' cannot be used: '") in message
    assert f"{name}' belongs to user 65534" in message
    assert "let root run `chown 0 " in message


def test_the_log_is_one_line_an_upload():
    with running(
        "--log", "--acl", "public-read", logs=r"ok   [\d:]+ 204 PostObject local-bucket/dir/a\.txt 6 B: Stored\n"
    ) as output:
        with upload(output, printed_account(output)):
            pass
        with urllib.request.urlopen(f"{url_of(output)}/local-bucket/dir/a.txt"):
            pass


def test_tls_prints_the_certificate_that_clients_trust_after_a_restart_too(tmp_path):
    certificates = []
    for _ in range(2):
        with running("--tls", "--dir", str(tmp_path)) as output:
            url = re.match(r"Local OSS at (https://127\.0\.0\.1:[0-9]+), ", output)[1]
            path = re.search(r"trust its certificate, (\S+), by SSL_CERT_FILE", output)[1]
            assert f"curl --cacert {path} -so oss-key.pem {url}/callback_pub_key.pem\n" in output
            certificates.append(Path(path).read_text())
            context = ssl.create_default_context(cadata=certificates[0])
            with urllib.request.urlopen(f"{url}/callback_pub_key.pem", context=context) as response:
                assert response.read().startswith(b"-----BEGIN PUBLIC KEY")


def test_a_damaged_certificate_is_named(tmp_path):
    (tmp_path / ".tls.pem").write_text("?")
    errors = refused("--tls", "--dir", str(tmp_path), "--listen", "127.0.0.1:0")
    assert errors.endswith("/.tls.pem' holds no certificate with its key: remove it, and a new one is made.\n")
    assert ": --tls: '" in errors
