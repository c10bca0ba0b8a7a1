"""`oss-wsgi upload --resume`: large files in parts, through a server to the local OSS, stopped and resumed."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import time
from collections.abc import Iterator
from email.message import Message
from pathlib import Path
from typing import Any

import pytest

from oss_wsgi.cli import parts_client, upload_parts, upload_state
from oss_wsgi.cli.http_client import Response
from oss_wsgi.cli.upload_state import load_state, state_path
from oss_wsgi.local import LocalOSS
from oss_wsgi.local.storage.interface import Bucket

from ..running_server import clean_environ
from .command import COMMAND, oss_wsgi
from .deployment import Deployment, deployed

pytestmark = pytest.mark.slow

PART = 100 * 1024
SETTINGS = {"OSS_MULTIPART": "on", "OSS_PART_SIZE": str(PART)}


class Handler:
    """Counts the uploads that the application hears of."""

    def __init__(self) -> None:
        self.uploads: list[Any] = []

    def __call__(self, upload: Any) -> dict[str, Any]:
        self.uploads.append(upload)
        return {"number": len(self.uploads), "size": upload.size}


@pytest.fixture
def handler() -> Handler:
    return Handler()


@pytest.fixture
def deployment(tmp_path: Path, handler: Handler) -> Iterator[Deployment]:
    with deployed(tmp_path, settings=SETTINGS, app={"on_upload": handler}) as deployment:
        yield deployment


@pytest.fixture
def large(tmp_path: Path) -> Path:
    path = tmp_path / "large film.bin"
    path.write_bytes(random.Random(1).randbytes(10 * PART + 7))
    return path


def bucket_of(oss: LocalOSS) -> Bucket:
    return oss.storage.bucket(oss.bucket)


def content(oss: LocalOSS, key: str) -> bytes:
    opened = bucket_of(oss).open(key)
    assert opened is not None
    with opened[1] as file:
        return file.read()


def uploaded(deployment: Deployment, path: Path, *options: str, status: int = 0) -> dict[str, Any]:
    """Run the command, and return its members for the file."""
    command = ["upload", str(path), "--resume", "--endpoint", deployment.signature, "--json", *options]
    (members,) = json.loads(oss_wsgi(*command, status=status).stdout)
    return dict(members)


def stop_after(deployment: Deployment, path: Path, parts: int, end: int) -> subprocess.CompletedProcess[bytes]:
    """Run the command, and send it a signal when OSS has so many parts; the others are far from there."""
    command = [*COMMAND, "upload", str(path), "--resume", "--endpoint", deployment.signature]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    deadline = time.monotonic() + 60
    deployment.oss.fail_next("slow_upload", seconds=0.0, times=parts)
    deployment.oss.fail_next("slow_upload", seconds=1.0, times=None)
    with subprocess.Popen(command, env=clean_environ(), **pipes) as process:
        while time.monotonic() < deadline:
            uploads, _ = bucket_of(deployment.oss).uploads()
            if uploads and len(bucket_of(deployment.oss).parts(uploads[0])[0]) >= parts:
                break
            time.sleep(0.02)
        process.send_signal(end)
        output, errors = process.communicate(timeout=60)
    deployment.oss.clear_faults()
    return subprocess.CompletedProcess(command, process.returncode, output, errors)


def test_a_large_file_goes_in_parts(deployment: Deployment, large: Path, handler: Handler) -> None:
    members = uploaded(deployment, large)
    assert (members["status"], members["parts"], members["resumed"]) == (200, 11, 0)
    assert members["answer"]["number"] == 1
    assert content(deployment.oss, members["key"]) == large.read_bytes()
    assert handler.uploads[0].operation == "CompleteMultipartUpload"
    assert not state_path(str(large), None).exists()
    output = oss_wsgi("upload", str(large), "--resume", "--endpoint", deployment.signature).stdout
    assert "in 11 parts\n" in output
    assert json.loads(output.splitlines()[1])["number"] == 2


def test_a_small_file_goes_as_a_form(deployment: Deployment, tmp_path: Path, handler: Handler) -> None:
    (tmp_path / "small").write_bytes(b"x" * (PART - 1))
    members = uploaded(deployment, tmp_path / "small")
    assert "parts" not in members
    assert handler.uploads[0].operation == "PostObject"


def test_a_file_of_exactly_parts_has_no_empty_part(deployment: Deployment, tmp_path: Path) -> None:
    (tmp_path / "exact").write_bytes(b"x" * PART * 2)
    assert uploaded(deployment, tmp_path / "exact")["parts"] == 2


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_stopped_upload_goes_on(end: int, deployment: Deployment, large: Path, handler: Handler) -> None:
    stopped = stop_after(deployment, large, 3, end)
    assert b"Traceback" not in stopped.stderr
    if end == signal.SIGKILL:
        assert stopped.returncode == -signal.SIGKILL
    else:
        assert stopped.returncode == 128 + end
        assert b"Stopped. The same command goes on where it was." in stopped.stderr
    state = load_state(state_path(str(large), None))
    assert state is not None
    members = uploaded(deployment, large)
    assert members["resumed"] >= 3
    assert members["key"] == state.key
    assert content(deployment.oss, members["key"]) == large.read_bytes()
    assert len(handler.uploads) == 1
    assert bucket_of(deployment.oss).uploads()[0] == []


def test_a_file_that_changes_meanwhile_is_not_completed(
    deployment: Deployment, large: Path, handler: Handler, capsys: pytest.CaptureFixture[str]
) -> None:
    real = upload_parts.PartsUpload._send

    def send(self: Any, state: Any, numbers: Any) -> Any:
        etags = real(self, state, numbers)
        os.utime(large, ns=(0, 0))
        return etags

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(upload_parts.PartsUpload, "_send", send)
        status, members = in_process(deployment, large, capsys)
    assert (status, handler.uploads) == (1, [])
    assert "the file has changed since its upload began" in members["error"]["message"]


def test_a_file_that_is_removed_meanwhile_is_a_sentence(
    deployment: Deployment, large: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def send(*_: Any) -> Any:
        large.unlink()
        return {}

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(upload_parts.PartsUpload, "_send", send)
        status, members = in_process(deployment, large, capsys)
    assert (status, members["file"]) == (1, str(large))
    assert members["error"]["message"] == "cannot be read any more: No such file or directory."


def test_a_name_as_long_as_a_file_system_takes_goes_in_parts(
    deployment: Deployment, large: Path, tmp_path: Path
) -> None:
    path = large.rename(tmp_path / ("猫" * 85))
    assert uploaded(deployment, path)["parts"] == 11
    assert uploaded(deployment, path, "--state-dir", str(tmp_path))["parts"] == 11


def test_a_server_with_other_secrets_is_told_apart_from_a_missing_login(deployment: Deployment, large: Path) -> None:
    stop_after(deployment, large, 1, signal.SIGKILL)
    state = state_path(str(large), None)
    members = json.loads(state.read_text())
    members["upload_id"] = members["upload_id"].swapcase()
    state.write_text(json.dumps(members))
    assert f"remove {state} to begin anew" in uploaded(deployment, large, status=1)["error"]["message"]


def test_a_changed_file_is_refused(
    deployment: Deployment, large: Path, handler: Handler, capsys: pytest.CaptureFixture[str]
) -> None:
    stop_after(deployment, large, 1, signal.SIGINT)
    before = large.stat()
    os.utime(large, ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(upload_parts.PartsUpload, "run", lambda *_, **__: pytest.fail("nothing may be sent"))
        status, members = in_process(deployment, large, capsys)
    assert status == 1
    assert "the file has changed since its upload began" in members["error"]["message"]
    assert "to begin anew" in members["error"]["message"]
    os.utime(large, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert uploaded(deployment, large)["resumed"] >= 1
    assert len(handler.uploads) == 1


def test_a_stored_part_that_is_not_of_the_file_is_sent_again(deployment: Deployment, large: Path) -> None:
    stop_after(deployment, large, 3, signal.SIGKILL)
    bucket = bucket_of(deployment.oss)
    (upload,), _ = bucket.uploads()
    number = bucket.parts(upload)[0][0].number
    with bucket.incoming() as incoming:
        incoming.write(b"y" * PART)
        incoming.commit_part(upload, number, now=time.time())
    assert content(deployment.oss, uploaded(deployment, large)["key"]) == large.read_bytes()


def test_a_lost_answer_to_complete_is_told_once(deployment: Deployment, large: Path, handler: Handler) -> None:
    path = state_path(str(large), None)
    stop_after(deployment, large, 1, signal.SIGKILL)
    saved = path.read_bytes()
    first = uploaded(deployment, large)
    path.write_bytes(saved)
    second = uploaded(deployment, large)
    assert (second["key"], second["answer"]) == (first["key"], first["answer"])
    assert (second["resumed"], len(handler.uploads)) == (11, 1)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts_client, "_FIRST_WAIT", 0.001)
    monkeypatch.setattr(parts_client, "_LONGEST_WAIT", 0.001)


def in_process(deployment: Deployment, path: Path, capsys: pytest.CaptureFixture[str], *options: str) -> Any:
    from oss_wsgi.cli.main import main

    command = ["upload", str(path), "--resume", "--endpoint", deployment.signature, "--json", *options]
    status = main(command)
    (members,) = json.loads(capsys.readouterr().out)
    return status, members


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    ("fault", "details"),
    [("slow_down", {}), ("dropped_connection", {}), ("dropped_connection", {"stored": True})],
    ids=["503", "cut", "cut after it was stored"],
)
def test_what_fails_for_a_while_is_tried_again(
    fault: str,
    details: dict[str, Any],
    deployment: Deployment,
    large: Path,
    handler: Handler,
    capsys: pytest.CaptureFixture[str],
) -> None:
    real = upload_parts.PartsUpload._send

    def send(self: Any, state: Any, numbers: Any) -> Any:
        deployment.oss.fail_next(fault, times=5, **details)
        return real(self, state, numbers)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(upload_parts.PartsUpload, "_send", send)
        status, members = in_process(deployment, large, capsys)
    assert (status, len(handler.uploads)) == (0, 1), members
    assert content(deployment.oss, members["key"]) == large.read_bytes()


@pytest.mark.usefixtures("quick")
def test_what_fails_for_long_keeps_the_state(
    deployment: Deployment, large: Path, handler: Handler, capsys: pytest.CaptureFixture[str]
) -> None:
    real = upload_parts.PartsUpload._send

    def send(self: Any, state: Any, numbers: Any) -> Any:
        deployment.oss.fail_next("slow_down", times=None)
        return real(self, state, numbers)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(upload_parts.PartsUpload, "_send", send)
        status, members = in_process(deployment, large, capsys)
    assert status == 1
    assert "was refused: 503 SlowDown" in members["error"]["message"] or members["error"]["code"] == "SlowDown"
    deployment.oss.clear_faults()
    assert in_process(deployment, large, capsys)[0] == 0
    assert len(handler.uploads) == 1


@pytest.mark.usefixtures("quick")
def test_a_part_that_arrives_damaged_is_sent_again(
    deployment: Deployment, large: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    damaged: list[str] = []
    real = parts_client.PartsClient.put

    def put(self: Any, url: str, headers: Any, body: Any) -> Any:
        if len(damaged) < 2:
            damaged.append(url)
            return real(self, url, headers, [bytes([chunk[0] ^ 1]) + chunk[1:] for chunk in body])
        return real(self, url, headers, body)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parts_client.PartsClient, "put", put)
        status, members = in_process(deployment, large, capsys)
    assert (status, len(damaged)) == (0, 2)
    assert content(deployment.oss, members["key"]) == large.read_bytes()


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    ("ec", "status"), [("<EC>0002-00000069</EC>", 0), ("<EC>0003-00000001</EC>", 1)], ids=["expired", "no right"]
)
def test_only_an_expired_url_is_signed_anew(
    ec: str, status: int, deployment: Deployment, large: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    refused: list[str] = []
    real = parts_client.PartsClient.put

    def put(self: Any, url: str, headers: Any, body: Any) -> Any:
        if not refused:
            refused.append(url)
            document = f"<Error><Code>AccessDenied</Code><Message>Request has expired.</Message>{ec}</Error>"
            return Response(403, Message(), document.encode(), 0.0)
        return real(self, url, headers, body)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parts_client.PartsClient, "put", put)
        ended, members = in_process(deployment, large, capsys)
    assert ended == status
    if status:
        assert "403 AccessDenied" in members["error"]["message"] or members["error"]["code"] == "AccessDenied"
        assert "oss:PutObject" in members["error"]["fix"]


def test_an_aborted_upload_begins_anew(deployment: Deployment, large: Path) -> None:
    stop_after(deployment, large, 1, signal.SIGKILL)
    bucket = bucket_of(deployment.oss)
    bucket.abort(bucket.uploads()[0][0])
    members = uploaded(deployment, large, status=1)
    assert members["error"]["code"] == "upload_gone"
    assert "Begin again" in members["error"]["message"]
    assert uploaded(deployment, large)["resumed"] == 0


def test_a_state_that_fails_to_be_written_leaves_no_upload(
    deployment: Deployment, large: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(upload_state.os, "replace", fail)
        status, members = in_process(deployment, large, capsys)
    assert (status, bucket_of(deployment.oss).uploads()[0]) == (1, [])
    assert "No space left on device. Name a folder for it with --state-dir." in members["error"]["message"]


def test_the_state_may_be_in_another_folder(deployment: Deployment, large: Path, tmp_path: Path) -> None:
    (tmp_path / "states").mkdir()
    uploaded(deployment, large, "--state-dir", str(tmp_path / "states"))
    command = ["upload", str(large), "--endpoint", deployment.signature]
    assert "--state-dir must be a folder" in oss_wsgi(*command, "--state-dir", "absent", status=2).stderr


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"OSS_MULTIPART": "off"}, "set OSS_MULTIPART=on"),
        ({"OSS_ALLOW_ANONYMOUS": "off"}, "log in with --headers-from"),
    ],
)
def test_a_server_without_parts_or_without_a_login_is_a_sentence(
    settings: dict[str, str], message: str, tmp_path: Path, large: Path
) -> None:
    with deployed(tmp_path, settings={**SETTINGS, **settings}) as deployment:
        assert message.lower() in uploaded(deployment, large, status=1)["error"]["message"].lower()


def test_the_endpoint_must_be_one_of_signatures(large: Path) -> None:
    ended = oss_wsgi("upload", str(large), "--resume", "--endpoint", "http://127.0.0.1:1/sign", status=2)
    assert "--endpoint must end in it" in ended.stderr
    ended = oss_wsgi("upload", str(large), "--resume", "--endpoint", "http://127.0.0.1:1/oss/signature", status=1)
    assert "cannot be reached" in ended.stdout


def test_another_server_does_not_go_on_with_it(deployment: Deployment, large: Path) -> None:
    stop_after(deployment, large, 1, signal.SIGKILL)
    command = ["upload", str(large), "--resume", "--endpoint", "http://127.0.0.1:1/oss/signature"]
    assert f"the upload began at {deployment.signature}" in oss_wsgi(*command, status=1).stdout
