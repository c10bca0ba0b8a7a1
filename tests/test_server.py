"""server.py as a process: what it prints, how it ends, and why it does not start."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import pytest
import webtest

from .support.absent import PROCESSES
from .support.callbacks import without_signed_id
from .support.forks import run
from .support.ledger_programs import LOCKS
from .support.running_server import (
    FREE_PORTS,
    REAL_BUCKET,
    SERVER,
    clean_environ,
    fetch,
    running_server,
    send,
    signed,
    upload,
)
from .support.waiting import wait_until

pytestmark = pytest.mark.slow


def refused(*arguments: str, **environ: str) -> str:
    """Start server.py with something wrong, and return what it prints."""
    ended = run([str(SERVER), *FREE_PORTS, *arguments], clean_environ(**environ))
    assert ended.returncode == 2, ended.stderr
    assert "Traceback" not in ended.stderr
    return ended.stderr


def get(url: str) -> Any:
    with urllib.request.urlopen(url) as response:
        return response


def test_without_a_bucket_a_few_lines_say_what_runs(tmp_path: Path) -> None:
    with running_server("--local-dir", str(tmp_path)) as server:
        assert get(f"{server.url}/").status == 200
        output = server.log("Ctrl-C ends it.")
    assert f"Open {server.url}/" in output
    assert "local OSS at http://127.0.0.1:" in output
    assert str(tmp_path) in output
    assert "OSS_ACCESS_KEY_SECRET" in output
    assert len(output.splitlines()) < 8


def test_the_page_its_files_and_the_endpoints_are_served() -> None:
    with running_server() as server:
        with urllib.request.urlopen(f"{server.url}/") as page:
            assert b'type="module"' in page.read()
            assert "default-src 'none'" in page.headers["Content-Security-Policy"]
            assert page.headers["Server"] is None
        assert get(f"{server.url}/upload.js").headers["Content-Type"].startswith("text/javascript")
        assert get(f"{server.url}/oss/health").status == 200


def test_another_prefix_moves_the_endpoints() -> None:
    prefix = "/a b/上传"
    with running_server("--prefix", prefix) as server:
        with urllib.request.urlopen(f"{server.url}/") as page:
            assert f'data-server-url="{quote(prefix[1:])}/signature"'.encode() in page.read()
        assert without_signed_id(upload(server.url, quote(prefix))) == {"Status": "Ok"}


def test_the_log_can_be_json() -> None:
    with running_server("--access-log", "--log-format", "json", **REAL_BUCKET, OSS_ALLOW_ANONYMOUS="on") as server:
        with pytest.raises(urllib.error.HTTPError) as refusal:
            get(f"{server.url}/oss/signature?size=x&filename={REAL_BUCKET['OSS_ACCESS_KEY_SECRET']}")
        refusal.value.close()
        for path in ("/oss/health", f"/{REAL_BUCKET['OSS_ACCESS_KEY_SECRET']}"):
            with contextlib.suppress(urllib.error.HTTPError):
                get(f"{server.url}{path}")
        server.log('"path": "/***"')
    lines = [json.loads(line) for line in server.log().splitlines() if line.startswith("{")]
    refused, accessed = (line for line in lines if line.get("path") == "/oss/signature")
    assert REAL_BUCKET["OSS_ACCESS_KEY_SECRET"] not in server.log()
    assert any(line.get("path") == "/***" for line in lines)
    assert refused["reason"] == accessed["reason"] == "size_malformed"
    assert refused["request_id"] == accessed["request_id"]
    assert accessed["seconds"] > 0


def test_metrics_have_a_port_of_their_own_which_holds_few_connections() -> None:
    with running_server("--metrics-listen", "127.0.0.1:0") as server, contextlib.ExitStack() as stack:
        (line,) = (line for line in server.lines if line.startswith("Metrics at "))
        url = line.removeprefix("Metrics at ").rstrip(".\n")
        address = urlsplit(url)
        clients = [
            stack.enter_context(socket.create_connection((address.hostname, address.port), 60)) for _ in range(60)
        ]
        wait_until(lambda: sum(map(is_closed, clients)) >= 50)
        signed(server.url)
        wait_until(lambda: b"oss_wsgi_signatures_issued_total 1.0" in fetch(url))
        with pytest.raises(urllib.error.HTTPError, match="404") as refusal:
            get(f"{server.url}/oss/metrics")
        refusal.value.close()


def is_closed(client: socket.socket) -> bool:
    try:
        return client.recv(1, socket.MSG_DONTWAIT) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True


def test_a_taken_metrics_port_is_an_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        output = refused("--metrics-listen", f"127.0.0.1:{taken.getsockname()[1]}")
    assert "--metrics-listen" in output


def test_with_a_bucket_there_is_no_local_oss() -> None:
    with running_server("--local-dir", "unused", **REAL_BUCKET, OSS_ALLOW_ANONYMOUS="on") as server:
        answer = signed(server.url)
        output = server.log("OSS_CALLBACK_URL is not set")
    assert answer["host"] == "https://examplebucket.oss-cn-hangzhou.aliyuncs.com"
    assert answer["callback"] == ""
    assert "local OSS" not in output
    assert "OSS_CALLBACK_URL is not set" in output
    assert "ExampleSecret" not in output


def test_local_overrides_a_configured_bucket() -> None:
    with running_server("--local", **REAL_BUCKET) as server:
        answer = signed(server.url)
    assert answer["host"].startswith("http://127.0.0.1:")
    assert answer["host"].endswith("/examplebucket")
    assert answer["accessid"] == "LTAI5tExampleKeyId000001"


@pytest.mark.parametrize("count", ["1", pytest.param("2", marks=PROCESSES)])
def test_files_in_the_local_oss_are_private_and_the_page_gets_a_signed_link(count: str, tmp_path: Path) -> None:
    with running_server("--processes", count, "--local-dir", str(tmp_path / "files")) as server:
        form = signed(server.url)
        assert without_signed_id(send(form, b"meow")) == {"Status": "Ok"}
        key = form["fields"]["key"]
        assert fetch(f"{server.url}/link/{key}") == b"meow"
        with pytest.raises(urllib.error.HTTPError, match="403") as refusal:
            get(f"{form['host']}/{key}")
        refusal.value.close()


def test_settings_count_with_the_local_oss_too() -> None:
    with running_server(OSS_ALLOW_ANONYMOUS="off") as server:
        with pytest.raises(urllib.error.HTTPError) as refusal:
            get(f"{server.url}/oss/signature")
        assert refusal.value.code == 403
        refusal.value.close()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param(["--listen", "[::1]:0"], "--listen: OSS calls no IPv6 address", id="IPv6 cannot be called back"),
        pytest.param(["--prefix", "oss"], "A prefix must be like '/uploads'", id="a prefix without its slash"),
    ],
)
def test_an_error_names_its_option(arguments: list[str], message: str) -> None:
    (line,) = refused(*arguments).splitlines()
    assert message in line
    assert "while attempting" not in line


def test_a_missing_extra_is_named() -> None:
    code = (
        "import runpy, sys; sys.modules['fastcrc'] = None; sys.argv[0] = 'server.py'; "
        f"runpy.run_path({str(SERVER)!r}, run_name='__main__')"
    )
    command = [sys.executable, "-c", code, *FREE_PORTS]
    ended = subprocess.run(command, capture_output=True, text=True, env=clean_environ(), timeout=60)
    assert ended.returncode == 2
    assert "pip install 'oss-wsgi[local]'" in ended.stderr
    assert "Traceback" not in ended.stderr


def load_application(monkeypatch: pytest.MonkeyPatch, **environ: str) -> webtest.TestApp:
    """Import server.py as gunicorn does."""
    for name in os.environ.keys() - clean_environ().keys():
        monkeypatch.delenv(name)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delitem(sys.modules, "server", raising=False)
    monkeypatch.syspath_prepend(str(SERVER.parent))
    import server

    return webtest.TestApp(server.application)


def test_another_server_loads_the_application(monkeypatch: pytest.MonkeyPatch) -> None:
    app = load_application(monkeypatch, **REAL_BUCKET, OSS_ALLOW_ANONYMOUS="on")
    assert app.get("/").content_type == "text/html"
    assert app.get("/oss/signature?filename=a.txt").json["accessid"] == "LTAI5tExampleKeyId000001"


def test_secret_and_ledger_last_as_long_as_the_local_folder(tmp_path: Path) -> None:
    folder = tmp_path / "files"
    secrets = []
    for _ in range(2):
        with running_server("--local-dir", str(folder)) as server:
            assert get(f"{server.url}/oss/health").status == 200
        secrets.append((tmp_path / "files.ticket-secret").read_text())
        assert secrets[-1] not in server.log()
    assert secrets[0] == secrets[1]
    assert len(secrets[0]) == 64
    left = sorted(path.name for path in tmp_path.iterdir())
    assert left == ["files", "files.ledger.sqlite3", f"files.ledger.sqlite3{LOCKS}", "files.ticket-secret"]
    for name in left[1:]:
        assert (tmp_path / name).stat().st_mode & 0o077 == 0


def test_a_file_without_a_ticket_secret_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "files.ticket-secret").write_text("short")
    error = refused("--local-dir", str(tmp_path / "files"))
    assert "files.ticket-secret' holds no ticket secret: remove the file" in error


def test_a_file_of_ticket_secrets_that_cannot_be_used_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "secrets"
    path.write_text("swordfish\n")
    printed = refused(OSS_TICKET_SECRET_FILE=str(path))
    assert f"OSS_TICKET_SECRET_FILE: {str(path)!r} cannot be used: line 1 has fewer than 32 characters" in printed
    assert "swordfish" not in printed
