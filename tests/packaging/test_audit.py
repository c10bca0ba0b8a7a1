"""`.ci/audit` fails for a known vulnerability, but not if its service does not answer."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from ..support.ledger_programs import POSIX

pytestmark = [POSIX, pytest.mark.slow]

AUDIT = Path(__file__).parents[2] / ".ci" / "audit"
WRITE = 'while [ "$1" != "{option}" ]; do shift; done; echo "{text}" >"$2"'
LIST = WRITE.format(option="-o", text="CVE-2023-5752")
REPORT = WRITE.format(option="--output", text="attrs 1.0 PYSEC-1")
SENTENCE = "not audited: PyPI's list of vulnerabilities cannot be reached from here\n"


@pytest.mark.parametrize(
    ("curl", "pip_audit", "status", "output"),
    [
        pytest.param("exit 6", "exit 9", 0, SENTENCE, id="no network"),
        pytest.param(LIST.replace("CVE", "no"), "exit 9", 0, SENTENCE, id="a mirror without the list"),
        pytest.param(LIST, "exit 1", 0, SENTENCE, id="it stops answering"),
        pytest.param(LIST, f"{REPORT}; exit 1", 1, "attrs 1.0 PYSEC-1\n", id="a vulnerability"),
        pytest.param(LIST, REPORT.replace("attrs 1.0 PYSEC-1", "none"), 0, "none\n", id="none"),
    ],
)
def test_only_a_known_vulnerability_fails_it(
    tmp_path: Path, curl: str, pip_audit: str, status: int, output: str
) -> None:
    python = f'[ "$2" = pip ] && exit 0\n{pip_audit}'
    for name, script in (("curl", curl), ("python", python)):
        (tmp_path / name).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / name).chmod(0o755)
    path = f"{tmp_path}:{os.environ['PATH']}"
    run = subprocess.run(
        [AUDIT, tmp_path / "python"], env={**os.environ, "PATH": path}, capture_output=True, text=True, timeout=120
    )
    assert (run.returncode, run.stdout, run.stderr) == (status, output, "")
