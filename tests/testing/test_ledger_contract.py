"""The contract of ledgers finds each broken claim, and no other."""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from . import broken_ledgers

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
BROKEN = [
    value
    for value in vars(broken_ledgers).values()
    if inspect.isclass(value) and issubclass(value, broken_ledgers.Broken) and value is not broken_ledgers.Broken
]
#: Runs pytest in a fork for each class, some at once: a new process would spend most of its time with imports.
RUN = """
import os, sys, pytest
import oss_wsgi.ledger.memory, oss_wsgi.testing.ledger_contract
options = ["-q", "-n0", "-p", "no:cacheprovider", "-W", "ignore::pytest.PytestAssertRewriteWarning"]
folder, file, *names = sys.argv[1:]
running = 0
while names or running:
    if names and running < 12:
        name = names.pop()
        if os.fork() == 0:
            status = pytest.main([*options, f"--junitxml={folder}/{name}.xml", f"{file}::{name}"])
            os._exit(0 if status == 1 else 1)
        running += 1
    else:
        _, status = os.wait()
        running -= 1
        assert status == 0
"""


@pytest.fixture(scope="module")
def failures(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[str]]:
    """Run the contract on all broken ledgers, and return the tests that failed, by class.

    Many of them wait for what never happens, so they wait side by side.
    """
    folder = tmp_path_factory.mktemp("reports")

    names = [broken.__name__ for broken in BROKEN]
    command = [sys.executable, "-c", RUN, str(folder), str(Path("tests", "testing", "broken_ledgers.py")), *names]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=1200, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    failing: dict[str, set[str]] = {name: set() for name in names}
    for name in names:
        for case in ElementTree.parse(folder / f"{name}.xml").iter("testcase"):
            assert case.find("error") is None, case.attrib
            if case.find("failure") is not None:
                failing[name].add(case.attrib["name"].partition("[")[0])
    return failing


@pytest.mark.parametrize("broken", BROKEN, ids=lambda broken: broken.__name__.removeprefix("Test"))
def test_a_broken_claim_fails_its_tests_and_no_others(
    broken: type[broken_ledgers.Broken], failures: dict[str, set[str]]
) -> None:
    assert failures[broken.__name__] == broken.failing


def test_each_test_of_the_contract_can_fail() -> None:
    tests = {name for name in vars(broken_ledgers.LedgerContract) if name.startswith("test_")}
    assert set().union(*(broken.failing for broken in BROKEN)) == tests
