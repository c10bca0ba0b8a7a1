"""The image of examples/local-oss, built and run by podman, alone, by its compose file and by testcontainers."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
import urllib.request
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from ..support.absent import skip_or_fail
from ..support.containers import LIMITS, Composed, build, composed, podman
from ..support.ports import free_port
from ..support.waiting import wait_until

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "examples" / "local-oss"
IMAGE = f"local-oss-test-{uuid.uuid4().hex[:12]}"


@pytest.fixture(scope="module")
def image() -> Iterator[str]:
    build(IMAGE, FOLDER / "Dockerfile")
    yield IMAGE
    podman("image", "rm", "--force", IMAGE)


@pytest.fixture(scope="module")
def container(image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Composed, str]]:
    """Run compose.yaml on a free port; yield the project and the URL of the local OSS."""
    port = free_port()
    text = (FOLDER / "compose.yaml").read_text(encoding="utf-8")
    assert '"127.0.0.1:8081:8081"' in text
    text = text.replace('"127.0.0.1:8081:8081"', f'"127.0.0.1:{port}:8081"')
    with composed(tmp_path_factory.mktemp("composed"), text, "local-oss", IMAGE) as project:
        wait_until(lambda: answers(f"http://127.0.0.1:{port}/callback_pub_key.pem"), project.log)
        yield project, f"http://127.0.0.1:{port}"


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=30) as response:
            return bool(response.status == 200)
    except OSError:
        return False


def test_a_sdk_stores_and_reads_an_object_in_the_container(container: tuple[Composed, str]) -> None:
    oss = pytest.importorskip("alibabacloud_oss_v2")
    config = oss.config.load_default()
    config.endpoint, config.region, config.use_path_style = container[1], "cn-hangzhou", True
    config.credentials_provider = oss.credentials.StaticCredentialsProvider("ID", "SECRET")
    client = oss.Client(config)
    client.put_object(oss.PutObjectRequest(bucket="my-bucket", key="a.txt", body=b"hello"))
    answer = client.get_object(oss.GetObjectRequest(bucket="my-bucket", key="a.txt"))
    assert answer.body.read() == b"hello"


def test_the_container_is_nobody_and_writes_only_where_it_may(container: tuple[Composed, str]) -> None:
    project, _ = container
    assert project.execute("id", "-u").stdout.strip() == "10001"
    for path, allowed in (("/tmp/x", True), ("/x", False), ("/opt/local-oss/x", False)):
        process = project.execute("python", "-c", f"open({path!r}, 'w')")
        assert (process.returncode == 0) is allowed, process.stderr
    status = project.execute("cat", "/proc/1/status").stdout
    assert re.search(r"^CapEff:\s+0+$", status, re.MULTILINE)
    assert re.search(r"^NoNewPrivs:\s+1$", status, re.MULTILINE)


def test_the_health_check_tells_alive_from_dead(container: tuple[Composed, str]) -> None:
    project, _ = container
    wait_until(lambda: podman("healthcheck", "run", project.name, check=False).returncode == 0, project.log)
    check = json.loads(podman("inspect", project.name).stdout)[0]["Config"]["Healthcheck"]["Test"]
    assert podman("run", "--rm", *LIMITS, "--entrypoint", check[1], IMAGE, *check[2:], check=False).returncode != 0


def test_a_stop_ends_the_container_with_status_0(image: str) -> None:
    name = f"{IMAGE}-stop"
    podman("run", "-d", "--name", name, *LIMITS, image)
    try:
        wait_until(lambda: "8081" in podman("logs", name).stdout, lambda: podman("logs", name).stderr)
        podman("stop", "-t", "30", name)
        assert podman("wait", name).stdout.strip() == "0"
    finally:
        podman("rm", "-f", "-v", name, check=False)


@pytest.fixture
def docker_host(image: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Serve Docker's API by podman, which testcontainers then uses."""
    if importlib.util.find_spec("testcontainers") is None:
        skip_or_fail("testcontainers")
    socket = tmp_path / "podman.sock"
    runtime = ["--runtime", "runc"] if shutil.which("runc") else []
    environ = {**os.environ, "PODMAN_IGNORE_CGROUPSV1_WARNING": "1"}
    command = ["podman", *runtime, "system", "service", "--time", "0", f"unix://{socket}"]
    monkeypatch.setenv("DOCKER_HOST", f"unix://{socket}")
    monkeypatch.setenv("TESTCONTAINERS_RYUK_DISABLED", "true")
    monkeypatch.syspath_prepend(str(FOLDER))
    with subprocess.Popen(command, env=environ, stderr=subprocess.PIPE) as service:
        try:
            wait_until(socket.exists)
            yield
        finally:
            service.terminate()


def test_the_class_for_testcontainers_starts_one_on_a_free_port(docker_host: None) -> None:
    from docker.types import Ulimit
    from local_oss_container import LocalOSSContainer

    limits = [word.partition("=") for word in LIMITS[1::2]]
    ulimits = [Ulimit(name=name, soft=int(n.split(":")[0]), hard=int(n.split(":")[1])) for name, _, n in limits]
    with LocalOSSContainer("--acl=public-read", image=f"localhost/{IMAGE}", ulimits=ulimits) as oss:
        assert answers(f"{oss.url}/callback_pub_key.pem")
        with pytest.raises(urllib.error.HTTPError, match="404") as missing:
            urllib.request.urlopen(f"{oss.url}/{oss.bucket}/nothing")
        missing.value.close()
