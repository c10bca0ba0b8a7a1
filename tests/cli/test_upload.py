"""`oss-wsgi upload`: files go through the signature endpoint to OSS, and each failure is a sentence."""

from __future__ import annotations

import json
import os
import pty
import subprocess
from pathlib import Path
from typing import Any

import pytest

from oss_wsgi.signing.grant import Grant

from ..support.absent import linux_only
from ..support.callbacks import without_signed_id
from ..support.deployment import Deployment, deployed, saying
from ..support.running_server import clean_environ
from .command import COMMAND, oss_wsgi

pytestmark = pytest.mark.slow


@pytest.fixture
def cat(tmp_path: Path) -> str:
    file = tmp_path / "cat \u4e2d.png"
    file.write_bytes(b"x" * 100_000)
    return str(file)


def test_the_answer_to_the_callback_is_printed(deployment: Deployment, cat: str) -> None:
    ended = oss_wsgi("upload", cat, "--endpoint", deployment.signature)
    mark, answer = ended.stdout.splitlines()
    assert mark.startswith("ok ")
    assert without_signed_id(json.loads(answer)) == {"Status": "Ok", "user": None}
    assert ended.stderr == "", "no bar where nobody looks"


def test_json_lists_each_file(deployment: Deployment, cat: str, tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    output = oss_wsgi("upload", cat, str(tmp_path / "empty"), "--endpoint", deployment.signature, "--json").stdout
    first, second = json.loads(output)
    assert (first["file"], first["status"], first["answer"]["Status"]) == (cat, 200, "Ok")
    opened = deployment.oss.storage.bucket(deployment.oss.bucket).open(first["key"])
    assert opened is not None
    stored, content = opened
    with content:
        assert content.read() == b"x" * 100_000
    assert stored.content_type == "image/png"
    assert second["answer"]["Status"] == "Ok"


def test_a_callback_that_failed_is_a_finding(deployment: Deployment, cat: str) -> None:
    deployment.oss.fail_next("callback_status", status=404)
    output = oss_wsgi("upload", cat, "--endpoint", deployment.signature, status=1).stdout
    assert "failed" in output
    assert "stored, but the application was not told: 203 CallbackFailed" in output
    assert "oss-wsgi explain 0007-00000203" in output


def test_a_refusal_of_oss_does_not_stop_the_others(deployment: Deployment, cat: str) -> None:
    deployment.oss.fail_next("slow_down")
    output = oss_wsgi("upload", cat, cat, "--endpoint", deployment.signature, "--json", status=1).stdout
    first, second = json.loads(output)
    assert (first["status"], second["status"]) == (503, 200)
    assert first["error"]["code"]


def test_headers_come_from_a_file_or_standard_input(tmp_path: Path, cat: str) -> None:
    def authorize(request: object) -> Grant | None:
        return Grant(user="eric") if request.cookies.get("session") == "s3cret" else None  # type: ignore[attr-defined]

    with deployed(tmp_path, app={"authorize": authorize}) as deployment:
        refused = oss_wsgi("upload", cat, "--endpoint", deployment.signature, status=1).stdout
        assert "no signature: 403" in refused
        assert ".:" not in refused
        assert ": log in with --headers-from" in refused
        command = ["upload", cat, "--endpoint", deployment.signature, "--headers-from"]
        assert "ok" in oss_wsgi(*command, "-", stdin="Cookie: session=s3cret\n").stdout
        (tmp_path / "headers").write_text("Cookie: session=s3cret\n\n")
        assert "ok" in oss_wsgi(*command, str(tmp_path / "headers")).stdout
        output = oss_wsgi(*command, "-", stdin="s3cret", status=2).stderr
        assert "line 1 is not" in output
        assert "s3cret" not in output
        assert "--headers-from: /none cannot be read: No such file" in oss_wsgi(*command, "/none", status=2).stderr


def test_a_file_outside_the_grant_is_no_question_of_the_login(tmp_path: Path, cat: str) -> None:
    with deployed(tmp_path, settings={"OSS_UPLOAD_CONTENT_TYPES": "text/plain"}) as deployment:
        refused = oss_wsgi("upload", cat, "--endpoint", deployment.signature, status=1).stdout
        assert "no signature: 403 The type image/png is not allowed" in refused
        assert "add the type to OSS_UPLOAD_CONTENT_TYPES" in refused
        assert "log in" not in refused


def test_the_endpoint_may_have_a_query_of_its_own(tmp_path: Path, cat: str) -> None:
    def authorize(request: Any) -> Grant:
        return Grant(dir=f"albums/{request.GET['album']}/")

    with deployed(tmp_path, app={"authorize": authorize}) as deployment:
        assert "albums/7/" in oss_wsgi("upload", cat, "--endpoint", f"{deployment.signature}?album=7").stdout


def test_without_a_callback_the_output_says_so(tmp_path: Path, cat: str) -> None:
    with deployed(tmp_path, settings={"OSS_CALLBACK_URL": ""}) as deployment:
        for more in ([], ["--put"]):
            output = oss_wsgi("upload", cat, *more, "--endpoint", deployment.signature).stdout
            assert "no callback is configured" in output


def test_a_file_goes_by_put_too(deployment: Deployment, cat: str, tmp_path: Path) -> None:
    (tmp_path / "untyped").write_bytes(b"")
    output = oss_wsgi("upload", cat, str(tmp_path / "untyped"), "--put", "--endpoint", deployment.signature, "--json")
    first, second = json.loads(output.stdout)
    assert (first["status"], without_signed_id(first["answer"])) == (200, {"Status": "Ok", "user": None})
    bucket = deployment.oss.storage.bucket(deployment.oss.bucket)
    assert [bucket.get(each["key"]).size for each in (first, second)] == [100_000, 0]
    assert bucket.get(first["key"]).content_type == "image/png"
    deployment.oss.fail_next("callback_status", status=404)
    output = oss_wsgi("upload", cat, "--put", "--endpoint", deployment.signature, status=1)
    assert "stored, but the application was not told: 203 CallbackFailed" in output.stdout


@pytest.mark.parametrize(
    ("status", "body", "message"),
    [
        pytest.param("200 OK", b"<html>", "did not return a signed form", id="a page"),
        pytest.param(
            "200 OK", b'{"url": "http://127.0.0.1/", "fields": {"a": 1}}', "did not return a signed form", id="no texts"
        ),
        pytest.param("200 OK", b'{"url": "file:///etc/passwd", "fields": {}}', "not an http", id="another scheme"),
        pytest.param("302 Found", b"", "no signature: 302", id="a redirect is not followed"),
        pytest.param("429 Slow", b'{"error": {"message": "T\\u001b[31m"}}', "429 T\\x1b", id="control signs"),
    ],
)
def test_another_response_than_a_signed_form_is_a_finding(
    status: str, body: bytes, message: str, tmp_path: Path, cat: str
) -> None:
    with deployed(tmp_path, front=saying(status, body=body)) as deployment:
        assert message in oss_wsgi("upload", cat, "--endpoint", deployment.signature, status=1).stdout


def test_an_unreadable_file_does_not_stop_the_others(deployment: Deployment, cat: str) -> None:
    command = ["upload", "missing.png", cat, "--endpoint", deployment.signature]
    assert "failed missing.png: cannot be read: No such file" in oss_wsgi(*command, status=1).stdout
    missing, uploaded = json.loads(oss_wsgi(*command, "--json", status=1).stdout)
    assert "No such file" in missing["error"]["message"]
    assert uploaded["status"] == 200


@pytest.mark.parametrize(
    ("name", "message"),
    [
        pytest.param("fifo", "not a regular file", id="a FIFO, which nobody writes into"),
        pytest.param("/dev/zero", "not a regular file", id="a device"),
        pytest.param("/proc/self/status", "claims to be empty", id="a file of /proc", marks=linux_only("/proc")),
        pytest.param("/", "this is a folder: name the files in it", id="a folder"),
    ],
)
def test_only_regular_files_are_uploaded(name: str, message: str, deployment: Deployment, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    ended = oss_wsgi("upload", name, "--endpoint", deployment.signature, status=1, cwd=tmp_path)
    assert message in ended.stdout


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--timeout", "0"),
        *(("--endpoint", text) for text in ("http://[", "ftp://a/x", "http:///x", "http://a/x#b")),
    ],
)
def test_an_option_with_a_wrong_value_is_misuse(option: str, value: str, cat: str) -> None:
    assert f"argument {option}: must be" in oss_wsgi("upload", cat, option, value, status=2).stderr


def test_the_query_of_the_endpoint_is_kept(deployment: Deployment, cat: str) -> None:
    ended = oss_wsgi("upload", cat, "--endpoint", f"{deployment.signature}?size=100000", status=1)
    assert "no signature: 400" in ended.stdout, "the size comes twice"
    oss_wsgi("upload", cat, "--endpoint", f"{deployment.signature}?")


@linux_only("file names that are not UTF-8")
def test_a_file_name_that_is_not_utf_8_is_uploaded(deployment: Deployment, tmp_path: Path) -> None:
    odd = tmp_path / os.fsdecode(b"\xff\x1b.txt")
    odd.write_bytes(b"x")
    output = oss_wsgi("upload", str(odd), "--endpoint", deployment.signature).stdout
    assert "\x1b" not in output
    assert output.startswith("ok ")


@pytest.mark.parametrize(("no_color", "coloured"), [("", True), ("1", False)])
def test_a_terminal_gets_a_bar_and_colours(no_color: str, coloured: bool, deployment: Deployment, cat: str) -> None:
    ours, theirs = pty.openpty()
    environ = clean_environ(NO_COLOR=no_color, TERM="xterm", **deployment.environ)
    command = [*COMMAND, "upload", cat, "--endpoint", deployment.signature]
    with subprocess.Popen(command, stdout=theirs, stderr=theirs, env=environ) as process:
        os.close(theirs)
        output = b""
        while True:
            try:
                piece = os.read(ours, 4096)
            except OSError:  # Linux says so when the other end is closed
                break
            if not piece:
                break
            output += piece
    os.close(ours)
    assert process.returncode == 0
    assert b"Requesting a signature for cat" in output
    assert b"100%" in output and b"waiting for the answer" in output
    assert (b"\x1b[32mok\x1b[0m" in output) == coloured
    assert (b"\x1b" in output) == coloured


# Where pages report.

PAGE = {"OSS_REPORT_BY": "page", "OSS_CALLBACK_URL": ""}


@pytest.mark.parametrize("more", [[], ["--put"]])
def test_where_pages_report_the_command_does(more: list[str], cat: str, tmp_path: Path) -> None:
    with deployed(
        tmp_path, settings=PAGE, app={"on_upload": lambda upload: {"recovered": upload.recovered}}
    ) as deployment:
        (uploaded,) = json.loads(
            oss_wsgi("upload", cat, *more, "--endpoint", f"{deployment.signature}?x=1", "--json").stdout
        )
        assert (uploaded["status"], without_signed_id(uploaded["answer"])) == (
            200,
            {"Status": "Ok", "recovered": False},
        )
        assert "stored as " in oss_wsgi("upload", cat, *more, "--endpoint", deployment.signature).stdout


def test_a_report_that_is_refused_or_does_not_arrive_is_a_finding(cat: str, tmp_path: Path) -> None:
    def front(app: Any) -> Any:
        elsewhere = saying("404 Not Found")(app)
        return lambda environ, start: (elsewhere if "recover" in environ["PATH_INFO"] else app)(environ, start)

    with deployed(tmp_path, settings=PAGE, front=front) as deployment:
        output = oss_wsgi("upload", cat, "--endpoint", deployment.signature, status=1).stdout
        assert "stored, but the application was not told: 404" in output
        assert "Do not send the file again" in output


def test_a_busy_application_is_told_a_little_later(cat: str, tmp_path: Path) -> None:
    refusals = [True]

    def front(app: Any) -> Any:
        busy = saying("503 Service Unavailable", ("Retry-After", "1"))(app)
        is_busy = lambda path: "recover" in path and bool(refusals) and refusals.pop()  # noqa: E731
        return lambda environ, start: (busy if is_busy(environ["PATH_INFO"]) else app)(environ, start)

    with deployed(tmp_path, settings=PAGE, front=front) as deployment:
        assert "stored as " in oss_wsgi("upload", cat, "--endpoint", deployment.signature).stdout
