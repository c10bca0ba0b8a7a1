"""The contract of ledgers finds each broken claim, and no other."""

from __future__ import annotations

import inspect
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
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
#: Processes at once.
RUNS = 12


@pytest.fixture(scope="module")
def failures(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[str]]:
    """Run the contract on all broken ledgers, and return the tests that failed, by class.

    Many of them wait for what never happens, so they wait side by side, in as many processes.
    """
    folder = tmp_path_factory.mktemp("reports")
    failing: dict[str, set[str]] = {broken.__name__: set() for broken in BROKEN}

    def run(number: int) -> None:
        report = folder / f"{number}.xml"
        options = ["-q", "-p", "no:cacheprovider", f"--junitxml={report}"]
        tests = [f"{Path('tests', 'testing', 'broken_ledgers.py')}::{each.__name__}" for each in BROKEN[number::RUNS]]
        command = [sys.executable, "-m", "pytest", *options, *tests]
        ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=1200, check=False)
        assert ended.returncode == 1, ended.stdout
        for case in ElementTree.parse(report).iter("testcase"):
            assert case.find("error") is None, case.attrib
            if case.find("failure") is not None:
                failing[case.attrib["classname"].rpartition(".")[2]].add(case.attrib["name"].partition("[")[0])

    with ThreadPoolExecutor(RUNS) as runs:
        list(runs.map(run, range(RUNS)))
    return failing


@pytest.mark.parametrize("broken", BROKEN, ids=lambda broken: broken.__name__.removeprefix("Test"))
def test_a_broken_claim_fails_its_tests_and_no_others(
    broken: type[broken_ledgers.Broken], failures: dict[str, set[str]]
) -> None:
    assert failures[broken.__name__] == broken.failing


def test_each_test_of_the_contract_can_fail() -> None:
    tests = {name for name in vars(broken_ledgers.LedgerContract) if name.startswith("test_")}
    assert set().union(*(broken.failing for broken in BROKEN)) == tests
