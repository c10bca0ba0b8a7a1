"""`oss-wsgi uploads` against the local OSS by the official SDK."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from oss_wsgi import Settings
from oss_wsgi.cli import uploads
from oss_wsgi.cli.sdk_client import sdk_client
from oss_wsgi.local.storage.bucket import Bucket

from ..running_server import clean_environ
from .command import COMMAND, oss_wsgi
from .deployment import Deployment, deployed

DAY = 24 * 3600


@pytest.fixture
def deployment(tmp_path: Path) -> Iterator[Deployment]:
    with deployed(tmp_path, settings={"OSS_UPLOAD_DIR": "user/"}) as deployment:
        yield deployment


def begin(bucket: Bucket, key: str, *, days_ago: float = 0, parts: int = 0) -> str:
    upload = bucket.begin(key, "text/plain", {}, now=time.time() - days_ago * DAY)
    for number in range(1, parts + 1):
        with bucket.incoming() as incoming:
            incoming.write(b"x" * 1500)
            incoming.commit_part(upload, number, now=time.time())
    return upload.id


@pytest.fixture
def bucket(deployment: Deployment) -> Bucket:
    return deployment.oss.storage.bucket(deployment.oss.bucket)


def keys(bucket: Bucket) -> list[str]:
    return [upload.key for upload in bucket.uploads()[0]]


@pytest.mark.slow
def test_list_shows_key_id_age_and_size(deployment: Deployment, bucket: Bucket) -> None:
    newer = begin(bucket, "user/new", days_ago=0.5)
    older = begin(bucket, "user/大 old", days_ago=3, parts=2)
    begin(bucket, "other/a")
    rows = oss_wsgi("uploads", "list", **deployment.environ).stdout.splitlines()
    assert rows[0].split("  ")[0] == "BEGUN"
    assert rows[1].split()[1:] == ["3d", "2", "3.0", "KB", "user/大", "old", older]
    assert rows[2].split()[1:] == ["12h", "0", "0", "B", "user/new", newer]
    assert rows[3] == "2 unfinished uploads of 3.0 KB under user/."
    document = json.loads(oss_wsgi("uploads", "list", "--json", "--older-than", "2d", **deployment.environ).stdout)
    (member,) = document["uploads"]
    assert {name: member[name] for name in ("key", "upload_id", "parts", "size")} == {
        "key": "user/大 old",
        "upload_id": older,
        "parts": 2,
        "size": 3000,
    }
    assert (
        len(json.loads(oss_wsgi("uploads", "list", "--json", "--prefix", "", **deployment.environ).stdout)["uploads"])
        == 3
    )


@pytest.mark.slow
def test_an_empty_list_says_so(deployment: Deployment) -> None:
    assert oss_wsgi("uploads", "list", **deployment.environ).stdout == "No unfinished uploads under user/.\n"
    assert json.loads(oss_wsgi("uploads", "abort", "--json", **deployment.environ).stdout) == {
        "uploads": [],
        "aborted": 0,
    }


@pytest.mark.slow
def test_abort_removes_what_is_older(deployment: Deployment, bucket: Bucket) -> None:
    begin(bucket, "user/new", days_ago=1)
    begin(bucket, "user/old", days_ago=3, parts=1)
    begin(bucket, "other/old", days_ago=3)
    assert "give --yes" in oss_wsgi("uploads", "abort", status=2, **deployment.environ).stderr
    assert len(keys(bucket)) == 3
    ended = oss_wsgi("uploads", "abort", "--older-than", "2d", "--yes", **deployment.environ)
    assert ended.stderr == "Aborted 1 unfinished upload of 1.5 KB.\n"
    assert "user/old" in ended.stdout
    assert keys(bucket) == ["other/old", "user/new"]


@pytest.mark.slow
def test_abort_of_one_id_leaves_the_others(deployment: Deployment, bucket: Bucket) -> None:
    begin(bucket, "user/a")
    identifier = begin(bucket, "user/a")
    output = oss_wsgi("uploads", "abort", "--upload-id", identifier, "--yes", "--json", **deployment.environ).stdout
    assert json.loads(output)["aborted"] == 1
    assert len(keys(bucket)) == 1


@pytest.mark.slow
@pytest.mark.parametrize(("answer", "status", "left"), [("y\n", 0, 0), ("\n", 1, 1)])
def test_on_a_terminal_abort_asks(answer: str, status: int, left: int, deployment: Deployment, bucket: Bucket) -> None:
    begin(bucket, "user/a")
    ours, theirs = pty.openpty()
    pipes = {"stdin": theirs, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen([*COMMAND, "uploads", "abort"], env=clean_environ(**deployment.environ), **pipes) as process:
        os.close(theirs)
        os.write(ours, answer.encode())
        result, errors = process.communicate(timeout=60)
    os.close(ours)
    assert b"user/a" in result
    assert b"Abort 1 unfinished upload of 0 B? [y/N]" in errors
    assert (process.returncode, len(keys(bucket))) == (status, left)


@pytest.mark.slow
def test_a_refusal_names_the_rights(deployment: Deployment) -> None:
    environ = deployment.environ | {"OSS_ACCESS_KEY_SECRET": "another-secret-of-nobody"}
    error = json.loads(oss_wsgi("uploads", "list", "--json", status=1, **environ).stdout)["error"]
    assert error["code"] == "SignatureDoesNotMatch"
    ended = oss_wsgi("uploads", "list", "--older-than", "soon", status=2, **deployment.environ)
    assert "must be a duration such as 15m, 26h or 7d, not 'soon'" in ended.stderr


@pytest.mark.slow
def test_more_than_a_page_is_listed_and_aborted(
    deployment: Deployment, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploads, "_PAGE", 2)
    expected = {(key, begin(bucket, key, parts=3)) for key in ("user/a +", "user/a +", "user/b", "user/大", "user/z")}
    settings = Settings.from_environ(deployment.environ)
    with sdk_client(settings) as client:
        listed = list(uploads._with_parts(client, list(uploads.list_uploads(client, "user/"))))
        assert {(upload.key, upload.upload_id) for upload in listed} == expected
        assert {(upload.parts, upload.size) for upload in listed} == {(3, 4500)}
        for upload in listed:
            uploads.abort(client, upload)
            uploads.abort(client, upload)
        assert list(uploads._with_parts(client, listed)) == []
    assert keys(bucket) == []
