"""`python -m oss_wsgi.local` as a process: what it prints, what it serves, how it ends, what it refuses."""

import contextlib
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request

import oss2
import pytest

from .form_client import BOUNDARY, callback_field, form, policy, sign_v1

COMMAND = [sys.executable, "-m", "oss_wsgi.local"]


class Account:
    def __init__(self, access_key_id, access_key_secret):
        self.access_key_id, self.access_key_secret = access_key_id, access_key_secret


@contextlib.contextmanager
def running(*arguments, end=signal.SIGTERM, logs="", **options):
    """Gives the lines that it prints until it is ready, and ends it by a signal; then nothing but `logs` was said."""
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
            said, _ = process.communicate(timeout=60)
    assert process.returncode == 0, said
    assert re.fullmatch(logs, said), said


def url_of(said):
    return re.match(r"Local OSS at (http://127\.0\.0\.1:[0-9]+), ", said)[1]


def made(said):
    """The key that was made at start."""
    return Account(*re.search(r"AccessKey ID (\S+), secret ([^\s,.]+)", said).groups())


def upload(said, account, key="dir/a.txt", bucket="local-bucket", fields=(), **headers):
    document = {**policy(expiration=time.time() + 60), "conditions": [{"bucket": bucket}]}
    body = form({"key": key, **dict(fields), **sign_v1(account, document)})
    headers = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}", **headers}
    return urllib.request.urlopen(urllib.request.Request(f"{url_of(said)}/{bucket}", body, headers))


def refused(*arguments):
    run = subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, timeout=60)
    assert (run.returncode, run.stdout) == (2, "")
    assert "Traceback" not in run.stderr
    return run.stderr


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGINT])
def test_without_options_it_serves_and_ends_with_status_0(tmp_path, end):
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


def test_options_are_used_and_a_given_secret_is_not_printed(tmp_path):
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


def test_each_bucket_takes_its_own_forms(tmp_path):
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


def test_cors_star_lets_any_page_put_and_delete():
    with running("--cors", "*") as said:
        headers = {"Origin": "http://anywhere.example", "Access-Control-Request-Method": "DELETE"}
        request = urllib.request.Request(f"{url_of(said)}/local-bucket/a", headers=headers, method="OPTIONS")
        with urllib.request.urlopen(request) as answer:
            assert answer.headers["Access-Control-Allow-Origin"] == "*"
            assert "PUT" in answer.headers["Access-Control-Allow-Methods"]


def test_without_cors_preflights_are_refused():
    with running() as said:
        headers = {"Origin": "http://anywhere.example", "Access-Control-Request-Method": "POST"}
        request = urllib.request.Request(f"{url_of(said)}/local-bucket", headers=headers, method="OPTIONS")
        with pytest.raises(urllib.error.HTTPError) as refusal:
            urllib.request.urlopen(request)
        with refusal.value:
            assert refusal.value.code == 403


@pytest.mark.parametrize(("options", "sent"), [([], b"o=a%20b"), (["--space-as-plus"], b"o=a+b")])
def test_callbacks_go_out_over_http(options, sent):
    received = []
    with socket.create_server(("127.0.0.1", 0)) as server, running(*options) as said:
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
        with upload(said, made(said), key="a b", fields={"callback": callback}) as response:
            assert response.read() == b"{}"
        thread.join()
    assert received == [(b"POST /done HTTP/1.1\r\n", sent)]


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
        pytest.param(["--cors", "https://*"], "--cors: must be '*' or an origin", id="any host"),
        pytest.param(["--cname", "img.test=nobucket"], "no such bucket, only local-bucket", id="a typo"),
        pytest.param(["--cors", "http://localhost:3000/"], "--cors: must be '*' or an origin", id="a slash"),
        pytest.param(["--region", "Hang zhou"], "--region: must be like cn-hangzhou", id="no region"),
        pytest.param(["--cname", "img.example.com"], "--cname: must be HOST=BUCKET", id="no bucket"),
        pytest.param(["--cname", "http://img.test=b"], "--cname: must be HOST=BUCKET", id="a URL"),
        pytest.param(["--callback-timeout", "0"], "--callback-timeout: must be a number of seconds", id="no time"),
        pytest.param(["--callback-timeout", "nan"], "--callback-timeout: must be a number of seconds", id="no seconds"),
        pytest.param(["--max-cors-rules", "0"], "--max-cors-rules: must be a whole number", id="no rule"),
        pytest.param(["--buckets", "a"], "unrecognized arguments", id="an unknown option"),
    ],
)
def test_a_wrong_option_is_reported_in_one_sentence(arguments, said):
    options = [] if "--listen" in arguments else ["--listen", "127.0.0.1:0"]
    assert said in refused(*options, *arguments)


def test_a_damaged_index_is_reported(tmp_path):
    with running("--dir", str(tmp_path)):
        (index,) = [path for path in tmp_path.rglob("*") if path.is_file() and path.read_bytes()[:6] == b"SQLite"]
    index.write_bytes(b"no database " * 1000)
    assert "--dir: " in refused("--listen", "127.0.0.1:0", "--dir", str(tmp_path))


def test_a_taken_port_is_reported_in_one_sentence():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        said = refused("--listen", f"127.0.0.1:{port}")
    reason = f"cannot listen on 127.0.0.1:{port}: Address already in use."
    assert said == f"python -m oss_wsgi.local: {reason} Choose another with --listen HOST:PORT.\n"


def test_a_missing_extra_is_named():
    code = "import runpy, sys; sys.modules['fastcrc'] = None; runpy.run_module('oss_wsgi.local', run_name='__main__')"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert run.returncode == 2
    assert run.stderr == "python -m oss_wsgi.local: fastcrc is not installed: pip install 'oss-wsgi[local]'.\n"


def test_listening_beyond_this_machine_prints_a_warning():
    with running("--listen", "0.0.0.0:0") as said:
        assert "anyone who can connect can read its objects" in said
        assert url_of(said)


def test_the_first_bucket_is_the_default_and_cnames_are_bound():
    key = ["--access-key-id", "my-id", "--access-key-secret", "my-secret"]
    with running("--bucket", "first-one", "--bucket", "second-one", "--cname", "img.test=second-one", *key) as said:
        assert "Bound host names: img.test to second-one.\n" in said
        for bucket in ("first-one", "second-one"):
            with upload(said, Account("my-id", "my-secret"), key=f"{bucket}.txt", bucket=bucket):
                pass
        with urllib.request.urlopen(f"{url_of(said)}/first-one.txt") as answer:
            assert answer.read() == b"hi oss"

        def bound(key):
            return urllib.request.Request(f"{url_of(said)}/{key}", headers={"Host": "img.test"})

        with urllib.request.urlopen(bound("second-one.txt")) as answer:
            assert answer.read() == b"hi oss"
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(bound("first-one.txt"))
        with caught.value as answer:
            assert answer.code == 404


def test_a_region_may_be_written_as_in_an_endpoint():
    with running("--region", "oss-cn-beijing") as said:
        assert "region cn-beijing, " in said
        assert 'region: "oss-cn-beijing"' in said


def test_a_temporary_key_is_refused_without_its_token():
    with running("--security-token", "the-token") as said:
        account = made(said)
        assert ", security token as given.\n" in said
        assert "the-token" not in said
        assert "oss2.StsAuth(ID, SECRET, TOKEN, " in said
        with pytest.raises(urllib.error.HTTPError) as caught:
            upload(said, account)
        with caught.value as answer:
            assert b"InvalidAccessKeyId" in answer.read()
        with upload(said, account, fields={"x-oss-security-token": "the-token"}) as answer:
            assert answer.status == 204


def test_exact_field_names_are_an_option():
    with running("--exact-field-names") as said:
        with upload(said, made(said)) as answer:
            assert answer.status == 204
        with pytest.raises(urllib.error.HTTPError) as caught:
            upload(said, made(said), fields={"SUCCESS_ACTION_STATUS": "200"})
        with caught.value as answer:
            assert b"unrecognized field name" in answer.read()


def test_refusing_private_callbacks_is_an_option():
    with running("--refuse-private-callback") as said:
        with pytest.raises(urllib.error.HTTPError) as caught:
            upload(said, made(said), fields={"callback": callback_field(callbackUrl="http://127.0.0.1/")})
        with caught.value as answer:
            assert b"0007-00000008" in answer.read()


def test_the_callback_timeout_is_an_option():
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        running("--callback-timeout", "0.25", logs=".* callback to .* failed: .*\n") as said,
    ):
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        with upload(said, made(said), fields={"callback": callback_field(callbackUrl=url)}) as answer:
            assert answer.status == 203
            assert b"timeout:250ms" in answer.read()


def test_the_number_of_cors_rules_is_an_option():
    with running("--max-cors-rules", "2") as said:
        session = oss2.Session()
        auth = oss2.Auth(made(said).access_key_id, made(said).access_key_secret)
        bucket = oss2.Bucket(auth, url_of(said), "local-bucket", session=session)
        rule = oss2.models.CorsRule(["*"], ["GET"])
        bucket.put_bucket_cors(oss2.models.BucketCors([rule] * 2))
        with pytest.raises(oss2.exceptions.ServerError, match="CORSRuleBeyondLimit"):
            bucket.put_bucket_cors(oss2.models.BucketCors([rule] * 3))
        session.session.close()


def test_strict_and_test_mode_are_options():
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
