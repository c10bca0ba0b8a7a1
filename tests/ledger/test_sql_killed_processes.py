"""Processes that are killed while they handle uploads: each upload has one effect and one answer."""

from __future__ import annotations

import pytest

from .killed_processes import parse, prove

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("kind", ["postgresql", "mariadb"])
def test_each_upload_has_one_row_and_one_answer_whoever_is_killed(kind: str) -> None:
    outcome = prove(kind, parse([kind, "--kills", "24"]))
    assert outcome["kills"] == 24
    assert outcome["rows"] == outcome["uploads"]
    assert outcome["uploads without a row"] == 0
    assert outcome["uploads with several rows"] == 0
    assert outcome["uploads with several answers"] == 0


@pytest.mark.parametrize("words", [["sqlite"], ["postgresql", "--own"], ["mariadb", "--own"]], ids=" ".join)
def test_a_ledger_of_its_own_has_one_answer_for_each_upload_whoever_is_killed(words: list[str]) -> None:
    outcome = prove(words[0], parse([*words, "--kills", "24"]))
    assert outcome["uploads without a row"] == 0
    assert outcome["uploads with several answers"] == 0


@pytest.mark.parametrize("kind", ["postgresql", "mariadb"])
def test_the_proof_finds_a_claim_without_a_lock(kind: str) -> None:
    outcome = prove(kind, parse([kind, "--kills", "10", "--without-lock"]))
    assert outcome["uploads with several rows"] > 0
