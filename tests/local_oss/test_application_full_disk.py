"""A local OSS on a full disk: an OSS error, nothing half-written, and later uploads work."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ..support.absent import skip_without_namespaces

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
KINDS = ["put", "form", "form by http", "part", "index", "restart"]


def unshare(folder: Path, command: str) -> list[str]:
    mount = 'mount -t tmpfs -o size=4m tmpfs "$1"'
    return ["unshare", "-rm", "sh", "-c", f"{mount} && {command}", "sh", str(folder), sys.executable]


@pytest.fixture(scope="module")
def lines(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("small")
    skip_without_namespaces()
    if subprocess.run(unshare(folder, "true"), capture_output=True).returncode:
        pytest.skip("this machine lets no namespace mount a small file system")
    command = unshare(folder, 'exec "$2" -m tests.local_oss.full_disk "$1"')
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert run.returncode == 0, run.stderr
    return {line["kind"]: line for line in map(json.loads, run.stdout.splitlines())}


@pytest.mark.parametrize("kind", KINDS[:-1])
def test_a_full_disk_is_an_error_of_oss_and_leaves_nothing(lines: dict[str, Any], kind: str) -> None:
    line = lines[kind]
    refused = [507, "InsufficientStorage"]
    assert line["too_large"] == refused
    assert all(answer == refused for answer in line["answers"])
    assert [left for left in line["left"] if left] == []
    assert line["old"], "what was stored before is still there"
    assert line["later"][0] in (200, 204)


def test_after_a_full_disk_a_new_process_finds_all_objects_whole(lines: dict[str, Any]) -> None:
    assert lines["restart"] == {"kind": "restart", "whole": True, "objects": True}
