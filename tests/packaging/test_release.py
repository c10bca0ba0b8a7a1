"""A release is a tag: the workflow is sound, and its shell steps do what they say."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
WORKFLOW = ROOT / ".github" / "workflows" / "release.yml"


def jobs() -> dict[str, Any]:
    """Return the jobs of the workflow."""
    found: dict[str, Any] = yaml.safe_load(WORKFLOW.read_text(encoding="utf-8"))["jobs"]
    return found


def script(job: str, name: str) -> str:
    """Return the shell lines of a step."""
    (step,) = [step for step in jobs()[job]["steps"] if step.get("name") == name]
    return str(step["run"])


def bash(text: str, folder: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run the lines of a step as GitHub does."""
    command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", text]
    return subprocess.run(command, cwd=folder, env={**os.environ, **environ}, capture_output=True, text=True)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """The files of a checkout of version 1.2.3 that the scripts of a release read."""
    shutil.copytree(ROOT / ".ci", tmp_path / ".ci")
    (tmp_path / "oss_wsgi").mkdir()
    (tmp_path / "oss_wsgi" / "__init__.py").write_text('"""A package."""\n\n__version__ = "1.2.3"\n')
    (tmp_path / "CHANGES.md").write_text("# Changes\n\n## 1.2.3 (2026-12-01)\n\n- New.\n\n## 1.2.2\n\n- Old.\n")
    return tmp_path


def version(checkout: Path, tag: str) -> subprocess.CompletedProcess[str]:
    output = checkout / "output"
    step = "The tag is the version of the package, and CHANGES.md has it"
    process = bash(script("version", step), checkout, TAG=tag, GITHUB_OUTPUT=str(output))
    process.stdout = output.read_text()
    return process


@pytest.mark.parametrize("tag", ["v1.2.3", ""])
def test_the_tag_of_the_version_is_a_release(checkout: Path, tag: str) -> None:
    assert version(checkout, tag).stdout == "version=1.2.3\n"


@pytest.mark.parametrize("tag", ["v1.2.4", "1.2.3", "v1.2.30"])
def test_another_tag_is_refused_with_the_version(checkout: Path, tag: str) -> None:
    process = version(checkout, tag)
    assert (process.returncode, process.stdout) == (1, "")
    assert f"The tag is {tag}, and oss_wsgi.__version__ is 1.2.3: tag v1.2.3" in process.stderr


@pytest.mark.parametrize(
    ("changes", "message"),
    [("## 1.2.2 (2026-11-01)\n", "no heading '## 1.2.3'"), ("## 1.2.3 (not released)\n", "no date behind '## 1.2.3'")],
)
def test_a_version_that_changes_md_does_not_announce_is_refused(checkout: Path, changes: str, message: str) -> None:
    (checkout / "CHANGES.md").write_text(changes)
    process = version(checkout, "v1.2.3")
    assert process.returncode == 1
    assert message in process.stderr
    assert version(checkout, "").returncode == 0, "a trial build needs no announcement"


def test_this_checkout_has_a_version() -> None:
    process = subprocess.run([ROOT / ".ci" / "release-version"], capture_output=True, text=True)
    assert re.fullmatch(r"version=\d+\.\d+\.\d+\S*\n", process.stdout), process.stderr


def test_the_files_get_names_that_say_where_they_run(tmp_path: Path) -> None:
    (tmp_path / "dist").mkdir()
    for name in ("oss-wsgi", "oss-wsgi.pyz"):
        (tmp_path / "dist" / name).write_text(name)
    process = bash(script("single-files", "Names that say where they run"), tmp_path, VERSION="1.2.3")
    assert process.returncode == 0, process.stderr
    machine = os.uname().machine
    names = {f"oss-wsgi-1.2.3-linux-{machine}", f"oss-wsgi-1.2.3-linux-{machine}.pyz"}
    assert {path.name for path in (tmp_path / "dist").iterdir()} == names


def test_the_release_has_all_files_their_checksums_and_what_changed(checkout: Path) -> None:
    (checkout / "dist").mkdir()
    (checkout / "dist" / "a.whl").write_text("a")
    program = checkout / "bin" / "gh"
    program.parent.mkdir()
    program.write_text('#!/bin/sh\necho "$@"\ncat notes.md\n')
    program.chmod(0o755)
    path = f"{program.parent}:{os.environ['PATH']}"
    step = script("release", "The release, with all files and their checksums")
    process = bash(step, checkout, VERSION="1.2.3", GH_TOKEN="token", PATH=path)
    assert process.stdout.splitlines() == [
        "release create v1.2.3 --verify-tag --title oss-wsgi 1.2.3 --notes-file notes.md dist/SHA256SUMS dist/a.whl",
        "- New.",
    ]
    check = subprocess.run(["sha256sum", "-c", "SHA256SUMS"], cwd=checkout / "dist", capture_output=True, text=True)
    assert check.stdout == "a.whl: OK\n"


def test_the_workflow_builds_the_single_files_as_the_page_says() -> None:
    page = (ROOT / "docs" / "how-to" / "single-file.md").read_text(encoding="utf-8")
    built = script("single-files", "Build the .pyz and the binary, as docs/how-to/single-file.md says").splitlines()
    for tool in ("python examples/single-file", "pyinstaller"):
        (line,) = re.findall(rf"^{tool}\b.*$", page, re.MULTILINE)
        assert line in built


def test_only_a_tag_publishes_and_without_a_stored_token() -> None:
    publishing = {name for name, job in jobs().items() if job.get("permissions")}
    assert publishing == {"pypi", "release"}
    assert all(jobs()[name]["if"] == "github.ref_type == 'tag'" for name in publishing)
    assert jobs()["pypi"]["permissions"] == {"id-token": "write"}
    assert "secrets." not in WORKFLOW.read_text(encoding="utf-8")


def test_a_program_that_does_not_serve_fails_the_check(tmp_path: Path) -> None:
    process = subprocess.run([ROOT / ".ci" / "check-program", "false"], capture_output=True, text=True, timeout=120)
    assert process.returncode == 1
