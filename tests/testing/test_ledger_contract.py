"""The contract of ledgers finds each broken claim."""

from __future__ import annotations

import inspect
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from oss_wsgi.testing import ledger_contract
from oss_wsgi.testing.ledger_contract import LedgerClock, LedgerContract

from .broken_ledgers import BROKEN, ArrivingCall, Broken

pytestmark = pytest.mark.slow

TESTS = {name for name in vars(LedgerContract) if name.startswith("test_")}


def run(contract: type[Broken], name: str) -> None:
    """Run a test of the contract, each row of its table with a ledger of its own, and raise what it raises."""
    test = getattr(contract(), name)
    rows: list[dict[str, Any]] = [{}]
    for mark in getattr(test, "pytestmark", []):
        column, values = mark.args
        rows = [{**row, column: value} for row in rows for value in values]
    for row in rows:
        clock = LedgerClock()
        patience = {"ledger": contract.patience, "impatient_ledger": 0.02}
        ledgers = {
            fixture: test.__self__.make_ledger(clock=clock, wait_timeout=seconds)
            for fixture, seconds in patience.items()
        }
        given = {"clock": clock, **ledgers, **row}
        test(**{parameter: given[parameter] for parameter in inspect.signature(test).parameters})


@pytest.fixture(scope="module")
def passed() -> dict[type[Broken], set[str]]:
    """Run all tests that must fail, side by side as many wait for what never happens; return those that pass."""
    runs = [(broken, name) for broken in BROKEN for name in broken.failing]
    with pytest.MonkeyPatch.context() as patch, ThreadPoolExecutor(len(runs)) as pool:
        patch.setattr(ledger_contract, "Call", ArrivingCall)
        patch.setattr(ledger_contract, "DEADLINE", 4.0)
        futures = [pool.submit(run, *each) for each in runs]
    passed: dict[type[Broken], set[str]] = {broken: set() for broken in BROKEN}
    for (broken, name), future in zip(runs, futures, strict=True):
        if future.exception() is None:
            passed[broken].add(name)
    return passed


@pytest.mark.parametrize("broken", BROKEN, ids=lambda broken: broken.__name__)
def test_a_broken_claim_fails_its_tests(broken: type[Broken], passed: dict[type[Broken], set[str]]) -> None:
    assert passed[broken] == set()


@pytest.mark.parametrize("name", sorted(TESTS - {"test_a_ledger_that_cannot_store_refuses_before_the_handler"}))
def test_a_sound_ledger_passes(name: str) -> None:
    run(Broken, name)


def test_each_test_of_the_contract_can_fail() -> None:
    assert set().union(*(broken.failing for broken in BROKEN)) == TESTS
