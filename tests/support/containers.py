"""Images and containers with podman, where the machine runs them."""

from __future__ import annotations

import contextlib
import os
import re
import resource
import shutil
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from .absent import skip_or_fail, skip_without_namespaces

ROOT = Path(__file__).parents[2]
BASE = "docker.io/library/python:3.13-slim"
#: Where limits may not be raised, podman's own defaults would be refused.
LIMITS = [
    word
    for name, number in (("nofile", resource.RLIMIT_NOFILE), ("nproc", resource.RLIMIT_NPROC))
    if (limit := resource.getrlimit(number)[1]) != resource.RLIM_INFINITY
    for word in ("--ulimit", f"{name}={limit}:{limit}")
]


def podman(*words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run podman with runc, which also works if crun cannot use the machine's control groups."""
    runtime = ["--runtime", "runc"] if shutil.which("runc") else []
    environ = {**os.environ, "PODMAN_IGNORE_CGROUPSV1_WARNING": "1"}
    process = subprocess.run(["podman", *runtime, *words], capture_output=True, text=True, env=environ, timeout=900)
    assert not check or process.returncode == 0, process.stdout + process.stderr
    return process


def build(name: str, dockerfile: Path) -> None:
    """Build an image, or skip the test. pip takes the packages from where this machine's pip takes them."""
    if shutil.which("podman") is None:
        skip_or_fail("podman")
    skip_without_namespaces()
    if podman("image", "exists", BASE, check=False).returncode != 0:
        pytest.skip(f"the image {BASE} is not here, and no mirror gave its packages: .ci/base-image makes it")
    trial = podman("run", "--rm", *LIMITS, BASE, "true", check=False)
    if trial.returncode != 0:
        pytest.skip(f"this machine runs no containers: {trial.stderr.strip()}")
    shared = [f"--volume={path}:{path}:ro" for path in ("/etc/pip.conf", "/etc/ssl/certs") if Path(path).exists()]
    how = ["--isolation", "chroot", "--network", "host", "--pull=never", "--format", "docker", *LIMITS, *shared]
    process = podman("build", *how, "-t", name, "-f", str(dockerfile), str(ROOT), check=False)
    if "No matching distribution" in process.stderr or "NewConnectionError" in process.stderr:
        skip_or_fail("a package index")
    assert process.returncode == 0, process.stdout + process.stderr


class Composed:
    """A project of podman-compose that runs, with one container."""

    def __init__(self, file: Path, name: str) -> None:
        self.file = file
        self.name = name

    def compose(self, *words: str) -> None:
        runtime = ["--podman-args", "--runtime runc"] if shutil.which("runc") else []
        limits = ["--podman-run-args", " ".join(LIMITS)] if LIMITS else []
        environ = {**os.environ, "PODMAN_IGNORE_CGROUPSV1_WARNING": "1"}
        command = ["podman-compose", *runtime, *limits, "-f", str(self.file), *words]
        process = subprocess.run(command, capture_output=True, text=True, env=environ, timeout=300)
        assert process.returncode == 0, process.stdout + process.stderr

    def log(self) -> str:
        process = podman("logs", self.name, check=False)
        return process.stdout + process.stderr

    def execute(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command in the container."""
        return podman("exec", self.name, *command, check=False)


@contextlib.contextmanager
def composed(folder: Path, text: str, service: str, image: str) -> Iterator[Composed]:
    """Run a compose file with another project's name and the test's image, and remove all that it made."""
    if shutil.which("podman-compose") is None:
        skip_or_fail("podman-compose")
    project = f"{image}-{uuid.uuid4().hex[:12]}"
    text = re.sub(r"^name: .*$", f"name: {project}", text, flags=re.MULTILINE)
    assert f"    image: {service}\n" in text
    text = text.replace(f"    image: {service}\n", f"    image: localhost/{image}\n")
    file = folder / "compose.yaml"
    file.write_text(text, encoding="utf-8")
    project_of = Composed(file, f"{project}_{service}_1")
    try:
        project_of.compose("up", "-d", "--no-build")
        yield project_of
    finally:
        project_of.compose("down", "-v")
