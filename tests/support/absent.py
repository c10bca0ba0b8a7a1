"""Skips a test if its program or package is missing, or if this machine cannot run it."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sys
from typing import NoReturn

import pytest


def _on_linux_alone(what: str) -> str:
    return f"tested on Linux alone: {what}"


def linux_only(what: str) -> pytest.MarkDecorator:
    """Return a mark that skips a test of ``what`` elsewhere than on Linux, in CI too."""
    return pytest.mark.skipif(sys.platform != "linux", reason=_on_linux_alone(what))


#: docs/reference/versions.md names these two.
PROCESSES = linux_only("--processes")
INHERITED_SOCKETS = linux_only("inherited sockets")


def skip_off_linux(what: str) -> None:
    """Skip the running test of ``what`` elsewhere than on Linux, in CI too."""
    if sys.platform != "linux":
        pytest.skip(_on_linux_alone(what))


def skip_or_fail(what: str) -> NoReturn:
    """Skip on a developer's machine; fail in CI, which has everything that can be installed."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"{what} is missing, and CI must have it")
    pytest.skip(f"{what} is not installed")


def skip_without_namespaces() -> None:
    """Skip, in CI too, if this user may make no namespaces: then no container runs, whatever is installed."""
    skip_off_linux("namespaces")
    if shutil.which("unshare") is None:
        skip_or_fail("unshare")
    problem = _namespaces_problem()
    if problem:
        pytest.skip(f"this machine allows no namespaces: {problem}")


@functools.cache
def _namespaces_problem() -> str:
    process = subprocess.run(["unshare", "-rm", "true"], capture_output=True, text=True)
    return process.stderr.strip() or "no reason given" if process.returncode else ""
