"""The container's first program: it puts secrets from files into variables, and then becomes oss-wsgi itself."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

ENTRYPOINT = Path(__file__).parents[2] / "examples" / "container" / "entrypoint.sh"
#: Stands in for oss-wsgi: shows its process ID, its arguments and its variables.
PROGRAM = '#!/bin/sh\necho "$$ $*"\nenv | grep -E "^(OSS_|SECRETS)" | sort\n'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    program = tmp_path / "bin" / "oss-wsgi"
    program.parent.mkdir()
    program.write_text(PROGRAM)
    program.chmod(0o755)
    (tmp_path / "secrets").mkdir()
    return tmp_path


def run(folder: Path, *arguments: str, **environ: str) -> tuple[subprocess.CompletedProcess[str], int]:
    """Run the script with an empty environment, and return it and its process ID."""
    variables = {"PATH": f"{folder}/bin:{os.environ['PATH']}", "SECRETS_DIR": str(folder / "secrets"), **environ}
    with subprocess.Popen(
        ["sh", str(ENTRYPOINT), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=variables,
    ) as process:
        output, errors = process.communicate(timeout=60)
    return subprocess.CompletedProcess(process.args, process.returncode, output, errors), process.pid


def test_each_file_becomes_a_variable_and_the_program_takes_the_process_over(folder: Path) -> None:
    (folder / "secrets" / "OSS_ACCESS_KEY_SECRET").write_text('it\'s a "secret" $HOME `x` \\\n')
    (folder / "secrets" / "OSS_ACCESS_KEY_ID").write_text("id")
    (folder / "secrets" / "other").write_text("not ours")
    process, pid = run(folder, "serve", "--listen", "0.0.0.0:8080", OSS_BUCKET="b", OSS_ACCESS_KEY_ID="")
    assert process.returncode == 0, process.stderr
    assert process.stdout.splitlines() == [
        f"{pid} serve --listen 0.0.0.0:8080",
        "OSS_ACCESS_KEY_ID=id",
        'OSS_ACCESS_KEY_SECRET=it\'s a "secret" $HOME `x` \\',
        "OSS_BUCKET=b",
    ]


def test_without_a_folder_of_secrets_nothing_changes(folder: Path) -> None:
    process, _ = run(folder, "doctor", SECRETS_DIR=str(folder / "nothing"), OSS_BUCKET="b")
    assert process.stdout.splitlines()[1:] == ["OSS_BUCKET=b"]


def test_a_secret_that_is_set_twice_is_refused_without_its_value(folder: Path) -> None:
    (folder / "secrets" / "OSS_TICKET_SECRET").write_text("the-first-secret")
    process, _ = run(folder, "serve", OSS_TICKET_SECRET="the-second-secret")
    assert (process.returncode, process.stdout) == (2, "")
    assert "OSS_TICKET_SECRET is set as a variable and as the file" in process.stderr
    assert "the-first" not in process.stderr
    assert "the-second" not in process.stderr


def test_a_file_name_that_is_no_variable_is_refused(folder: Path) -> None:
    (folder / "secrets" / "OSS_x;touch ran").write_text("x")
    process, _ = run(folder, "serve")
    assert process.returncode == 2
    assert "is no variable's name" in process.stderr
    assert not list(folder.rglob("ran"))


def test_a_file_that_cannot_be_read_is_named(folder: Path) -> None:
    (folder / "secrets" / "OSS_TICKET_SECRET").mkdir()
    process, _ = run(folder, "serve")
    assert (process.returncode, process.stdout) == (2, "")
    assert f"OSS_TICKET_SECRET cannot be read by user {os.getuid()}" in process.stderr
