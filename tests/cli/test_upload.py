"""`oss-wsgi upload`: the whole road from any machine, and what is said where it breaks."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from oss_wsgi.signing.grant import Grant

from ..running_server import clean_environ
from .command import COMMAND, oss_wsgi
from .deployment import Deployment, deployed


@contextlib.contextmanager
def nowhere() -> Iterator[str]:
    """Give a URL whose port is taken, and nobody listens."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{bound.getsockname()[1]}/oss/signature"


@pytest.fixture
def cat(tmp_path: Path) -> str:
    file = tmp_path / "cat \u4e2d.png"
    file.write_bytes(b"x" * 100_000)
    return str(file)


def test_the_callbacks_answer_is_printed(deployment: Deployment, cat: str) -> None:
    ended = oss_wsgi("upload", cat, "--endpoint", deployment.signature)
    mark, answer = ended.stdout.splitlines()
    assert mark.startswith("ok ")
    assert json.loads(answer) == {"Status": "Ok", "user": None}
    assert ended.stderr == "", "no bar where nobody looks"


def test_json_names_each_file_and_the_bytes_are_stored(deployment: Deployment, cat: str, tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    said = oss_wsgi("upload", cat, str(tmp_path / "empty"), "--endpoint", deployment.signature, "--json").stdout
    first, second = json.loads(said)
    assert (first["file"], first["status"], first["answer"]["Status"]) == (cat, 200, "Ok")
    found = deployment.oss.storage.bucket(deployment.oss.bucket).open(first["key"])
    assert found is not None
    with found[1] as stored:
        assert stored.read() == b"x" * 100_000
    assert found[0].content_type == "image/png"
    assert second["answer"]["Status"] == "Ok"


def test_a_callback_that_failed_is_a_finding(deployment: Deployment, cat: str) -> None:
    deployment.oss.fail_next("callback_status", status=404)
    said = oss_wsgi("upload", cat, "--endpoint", deployment.signature, status=1).stdout
    assert "failed" in said
    assert "stored, but the application was not told: 203 CallbackFailed" in said
    assert "oss-wsgi explain 0007-00000203" in said


def test_a_refusal_of_oss_is_a_finding_and_the_next_file_is_tried(deployment: Deployment, cat: str) -> None:
    deployment.oss.fail_next("slow_down")
    said = oss_wsgi("upload", cat, cat, "--endpoint", deployment.signature, "--json", status=1).stdout
    first, second = json.loads(said)
    assert (first["status"], second["status"]) == (503, 200)
    assert first["error"]["code"]


def test_headers_come_from_a_file_or_standard_input(tmp_path: Path, cat: str) -> None:
    def authorize(request: object) -> Grant | None:
        return Grant(user="eric") if request.cookies.get("session") == "s3cret" else None  # type: ignore[attr-defined]

    with deployed(tmp_path, app={"authorize": authorize}) as deployment:
        refused = oss_wsgi("upload", cat, "--endpoint", deployment.signature, status=1).stdout
        assert "no signature: 403" in refused
        assert ".:" not in refused
        assert ": log in by --headers-from" in refused
        given = ["upload", cat, "--endpoint", deployment.signature, "--headers-from"]
        assert "ok" in oss_wsgi(*given, "-", stdin="Cookie: session=s3cret\n").stdout
        (tmp_path / "headers").write_text("Cookie: session=s3cret\n\n")
        assert "ok" in oss_wsgi(*given, str(tmp_path / "headers")).stdout
        said = oss_wsgi(*given, "-", stdin="s3cret", status=2).stderr
        assert "line 1 is not" in said
        assert "s3cret" not in said


def test_without_a_callback_it_says_so(tmp_path: Path, cat: str) -> None:
    with deployed(tmp_path, settings={"OSS_CALLBACK_URL": ""}) as deployment:
        assert "no callback is configured" in oss_wsgi("upload", cat, "--endpoint", deployment.signature).stdout


def answering(status: str, body: bytes) -> object:
    def front(app: object) -> object:
        def application(environ: object, start_response: object) -> list[bytes]:
            start_response(status, [("Content-Length", str(len(body)))])  # type: ignore[operator]
            return [body]

        return application

    return front


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        pytest.param("200 OK", b"<html>", "is no signed form", id="a page"),
        pytest.param("200 OK", b'{"url": "http://127.0.0.1/", "fields": {"a": 1}}', "is no signed form", id="no texts"),
        pytest.param("200 OK", b'{"url": "file:///etc/passwd", "fields": {}}', "not an http", id="another scheme"),
        pytest.param("302 Found", b"", "no signature: 302", id="a redirect is not followed"),
        pytest.param("429 Slow", b'{"error": {"message": "T\\u001b[31m"}}', "429 T\\x1b", id="control signs"),
    ],
)
def test_an_endpoint_that_is_none_is_a_finding(status: str, body: bytes, said: str, tmp_path: Path, cat: str) -> None:
    with deployed(tmp_path, front=answering(status, body)) as deployment:  # type: ignore[arg-type]
        assert said in oss_wsgi("upload", cat, "--endpoint", deployment.signature, status=1).stdout


def test_nobody_there_is_a_finding(cat: str) -> None:
    with nowhere() as url:
        assert "cannot be reached: Connection refused" in oss_wsgi("upload", cat, "--endpoint", url, status=1).stdout


def test_a_file_that_cannot_be_read_is_a_finding_and_the_others_go_on(deployment: Deployment, cat: str) -> None:
    given = ["upload", "missing.png", cat, "--endpoint", deployment.signature]
    assert "failed missing.png: cannot be read: No such file" in oss_wsgi(*given, status=1).stdout
    missing, uploaded = json.loads(oss_wsgi(*given, "--json", status=1).stdout)
    assert "No such file" in missing["error"]["message"]
    assert uploaded["status"] == 200


@pytest.mark.parametrize(
    ("name", "said"),
    [
        pytest.param("fifo", "no regular file", id="a FIFO, which nobody writes into"),
        pytest.param("/dev/zero", "no regular file", id="a device"),
        pytest.param("/proc/self/status", "says that it is empty", id="a file of /proc"),
        pytest.param("/", "Is a directory", id="a folder"),
    ],
)
def test_what_is_no_regular_file_is_not_uploaded(name: str, said: str, deployment: Deployment, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    ended = oss_wsgi("upload", name, "--endpoint", deployment.signature, status=1, cwd=tmp_path)
    assert said in ended.stdout


@pytest.mark.parametrize(
    ("option", "value"),
    [
        *(("--timeout", text) for text in ("0", "-1", "nan", "inf", "1e9", "x")),
        *(("--endpoint", text) for text in ("http://[", "app.example.com/x", "ftp://a/x", "http:///x", "http://a/x#b")),
    ],
)
def test_an_option_that_makes_no_sense_is_misuse(option: str, value: str, cat: str) -> None:
    assert f"argument {option}: must be" in oss_wsgi("upload", cat, option, value, status=2).stderr


def test_a_query_of_the_endpoint_is_kept(deployment: Deployment, cat: str) -> None:
    ended = oss_wsgi("upload", cat, "--endpoint", f"{deployment.signature}?size=100000", status=1)
    assert "no signature: 400" in ended.stdout, "the size comes twice"
    oss_wsgi("upload", cat, "--endpoint", f"{deployment.signature}?")


def test_a_file_outside_the_grant_gets_the_endpoints_own_words(tmp_path: Path, cat: str) -> None:
    with deployed(tmp_path, settings={"OSS_UPLOAD_MAX_SIZE": "9"}) as deployment:
        said = oss_wsgi("upload", cat, "--endpoint", deployment.signature, status=1).stdout
    assert "100000 bytes" in said
    assert "--headers-from" not in said


def test_an_odd_file_name_is_uploaded(deployment: Deployment, tmp_path: Path) -> None:
    odd = tmp_path / os.fsdecode(b"\xff\x1b.txt")
    odd.write_bytes(b"x")
    said = oss_wsgi("upload", str(odd), "--endpoint", deployment.signature).stdout
    assert "\x1b" not in said
    assert said.startswith("ok ")


@pytest.mark.parametrize(("no_color", "coloured"), [("", True), ("1", False)])
def test_a_terminal_gets_a_bar_and_colours_unless_no_color(
    no_color: str, coloured: bool, deployment: Deployment, cat: str
) -> None:
    ours, theirs = pty.openpty()
    environ = clean_environ(NO_COLOR=no_color, TERM="xterm", **deployment.environ)
    command = [*COMMAND, "upload", cat, "--endpoint", deployment.signature]
    with subprocess.Popen(command, stdout=theirs, stderr=theirs, env=environ) as process:
        os.close(theirs)
        said = b""
        while True:
            try:
                piece = os.read(ours, 4096)
            except OSError:  # Linux says so when the other end is closed
                break
            if not piece:
                break
            said += piece
    os.close(ours)
    assert process.returncode == 0
    assert b"Asking for a signature for cat" in said
    assert b"[##############################] 100%, waiting for the answer" in said
    assert (b"\x1b[32mok\x1b[0m" in said) == coloured
    assert (b"\x1b" in said) == coloured
