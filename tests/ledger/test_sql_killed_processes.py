"""Processes that are killed while they handle uploads: each upload has one effect and one answer."""

from __future__ import annotations

from typing import Any

import pytest

from .killed_processes import parse, prove
from .test_sql import emptied

pytestmark = pytest.mark.slow


def proof(request: pytest.FixtureRequest, *words: str) -> dict[str, Any]:
    """Run the proof with the words of its command line, on the server that all tests share."""
    if words[0] == "sqlite":
        return prove(parse(words))
    url = request.getfixturevalue(words[0]).url
    emptied(url)
    return prove(parse(words), url)


@pytest.mark.parametrize("kind", ["postgresql", "mariadb"])
def test_each_upload_has_one_row_and_one_answer_whoever_is_killed(request: pytest.FixtureRequest, kind: str) -> None:
    outcome = proof(request, kind, "--kills", "24")
    assert outcome["kills"] == 24
    assert outcome["rows"] == outcome["uploads"]
    assert outcome["uploads without a row"] == 0
    assert outcome["uploads with several rows"] == 0
    assert outcome["uploads with several answers"] == 0


@pytest.mark.parametrize("words", [["sqlite"], ["postgresql", "--own"], ["mariadb", "--own"]], ids=" ".join)
def test_a_ledger_of_its_own_has_one_answer_for_each_upload_whoever_is_killed(
    request: pytest.FixtureRequest, words: list[str]
) -> None:
    outcome = proof(request, *words, "--kills", "24")
    assert outcome["uploads without a row"] == 0
    assert outcome["uploads with several answers"] == 0


@pytest.mark.parametrize("kind", ["postgresql", "mariadb"])
def test_the_proof_finds_a_claim_without_a_lock(request: pytest.FixtureRequest, kind: str) -> None:
    outcome = proof(request, kind, "--kills", "10", "--without-lock")
    assert outcome["uploads with several rows"] > 0
