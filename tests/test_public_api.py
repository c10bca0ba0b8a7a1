"""The public names and their signatures change only with the file that lists them."""

from __future__ import annotations

import subprocess
import sys

import pytest

from .public_api import FILE


@pytest.mark.slow
def test_the_public_names_and_signatures_are_those_of_the_list() -> None:
    # In a process of its own, because the tests give a few parameters other defaults.
    command = [sys.executable, "-W", "ignore", "-m", "tests.public_api"]
    process = subprocess.run(command, cwd=FILE.parents[1], capture_output=True, text=True, check=True)
    advice = "decide whether users may notice (docs/reference/versions.md), then write the list: tests/public_api.py"
    assert process.stdout.splitlines() == FILE.read_text(encoding="utf-8").splitlines(), advice
