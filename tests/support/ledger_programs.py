"""Programs that use a SQLite ledger in processes of their own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from .absent import linux_only

ROOT = Path(__file__).parents[2]
#: How the name of what a ledger locks ends: a file, of which Linux locks single bytes, and elsewhere a folder of files.
LOCKS = "-lock" if sys.platform == "linux" else "-locks"
BYTE_LOCKS = linux_only("a ledger that locks single bytes of a file")
POSIX = pytest.mark.skipif(sys.platform == "win32", reason="forks, signals and file modes are POSIX's")
_PROLOGUE = """
import os, sys
from oss_wsgi.ledger import sqlite_file
# Before `sqlite` takes it: a process, or a disk, of a busy machine may stand still for longer than 1.5 seconds.
sqlite_file.BUSY_SECONDS = 60.0
from oss_wsgi.ledger.base import StoredResponse, UploadIdentity
from oss_wsgi.ledger.sqlite import SQLiteLedger
def identity(number): return UploadIdentity(f"t{number}", "object", "etag", 1733228232)
def success(text): return StoredResponse("200 OK", "text/plain", text.encode())
path = sys.argv[1]
clock = lambda: 1733227932.0
"""


def start(code: str, *arguments: object) -> subprocess.Popen[str]:
    """Start a program that finds the path of the ledger, its first argument, in ``path``."""
    command = [sys.executable, "-W", "error", "-c", _PROLOGUE + code, *map(str, arguments)]
    return subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def output(process: subprocess.Popen[str]) -> str:
    """Wait for the end of a program, and return what it printed."""
    stdout, _ = process.communicate(timeout=120)
    assert process.returncode == 0
    return stdout
