"""A release is a tag: the workflow is sound, and its shell steps do what they say."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import venv
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import yaml

from ..support.absent import skip_or_fail

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


def test_each_file_of_the_release_is_attested_before_it_is_offered() -> None:
    steps = [step.get("uses", step.get("name", "")).partition("@")[0] for step in jobs()["release"]["steps"]]
    attested, released = steps.index("actions/attest-build-provenance"), len(steps) - 1
    assert steps[attested - 1] == "actions/download-artifact"
    assert attested < released
    assert jobs()["release"]["steps"][attested]["with"] == {"subject-path": "dist/*"}
    assert jobs()["pypi"]["steps"][-1]["with"] == {"attestations": True}


def test_pypi_gets_packages_and_nothing_else() -> None:
    (upload,) = [step["with"] for step in jobs()["packages"]["steps"] if step.get("with", {}).get("name") == "packages"]
    assert upload["path"].split() == ["dist/*.whl", "dist/*.tar.gz"]
    assert jobs()["pypi"]["steps"][0]["with"]["name"] == "packages"


def environment(folder: Path) -> Path:
    """Return the Python of an environment in which two packages are installed, and a third that they do not need."""
    prefix = folder / "environment"
    venv.create(prefix, with_pip=False)
    site = next((prefix / "lib").glob("python*/site-packages"))
    for name, further in (("oss-wsgi", "Requires-Dist: webob >= 1.8\n"), ("WebOb", "License: MIT\n"), ("other", "")):
        metadata = site / f"{name}-1.0.dist-info" / "METADATA"
        metadata.parent.mkdir()
        metadata.write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n{further}")
    return prefix / "bin" / "python"


def test_a_list_says_what_is_in_a_file_and_who_needs_what(tmp_path: Path) -> None:
    if importlib.util.find_spec("cyclonedx") is None:
        skip_or_fail("cyclonedx-python-lib")
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    built, listed = tmp_path / "a.whl", tmp_path / "a.whl.cdx.json"
    built.write_bytes(b"wheel")
    command = [sys.executable, "-W", "error", ROOT / ".ci" / "sbom", built, environment(tmp_path)]
    texts = []
    for _ in range(2):
        process = subprocess.run(command, capture_output=True, text=True)
        assert process.returncode == 0, process.stderr
        texts.append(listed.read_text(encoding="utf-8"))
    assert texts[0] == texts[1]
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(texts[0]) is None
    document = json.loads(texts[0])
    root = document["metadata"]["component"]
    assert (root["purl"], root["hashes"][0]["content"]) == ("pkg:pypi/oss-wsgi@1.0", sha256(b"wheel").hexdigest())
    (component,) = document["components"]
    assert component["licenses"] == [{"license": {"id": "MIT"}}]
    assert {each["ref"]: each.get("dependsOn", []) for each in document["dependencies"]} == {
        "pkg:pypi/oss-wsgi@1.0": ["pkg:pypi/webob@1.0"],
        "pkg:pypi/webob@1.0": [],
    }


def test_a_build_that_depends_on_the_time_is_found(tmp_path: Path) -> None:
    for command, status in (("date +%N >dist/a", 1), ("echo $SOURCE_DATE_EPOCH >dist/a", 0), ("umask >dist/a", 1)):
        line = [ROOT / ".ci" / "build-twice", tmp_path / "target", "bash", "-c", f"mkdir dist && {command}"]
        process = subprocess.run(line, capture_output=True, text=True)
        assert process.returncode == status, process.stderr
    assert (tmp_path / "target" / "a").read_text().strip().isdigit()


def test_only_a_tag_publishes_and_without_a_stored_token() -> None:
    publishing = {name for name, job in jobs().items() if job.get("permissions")}
    assert publishing == {"pypi", "release"}
    assert all(jobs()[name]["if"] == "github.ref_type == 'tag'" for name in publishing)
    assert jobs()["pypi"]["permissions"] == {"id-token": "write"}
    assert jobs()["release"]["permissions"] == {"contents": "write", "id-token": "write", "attestations": "write"}
    assert "secrets." not in WORKFLOW.read_text(encoding="utf-8")


def test_a_program_that_does_not_serve_fails_the_check(tmp_path: Path) -> None:
    process = subprocess.run([ROOT / ".ci" / "check-program", "false"], capture_output=True, text=True, timeout=120)
    assert process.returncode == 1
