"""Signature version 4: the published key chain and the vectors."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from oss_wsgi.signing import v4

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "policy_v4.json").read_text(encoding="utf-8"))
CHAIN = VECTORS["key_chain"]
POLICIES = VECTORS["policies"]


@pytest.mark.parametrize("vector", [CHAIN, *POLICIES], ids=lambda vector: vector["name"])
def test_the_signing_key_is_the_last_of_four_published_keys(vector: dict[str, Any]) -> None:
    day = vector.get("day") or vector["date"][:8]
    assert v4.signing_key(vector["secret"], day, vector["region"]).hex() == vector["k4"]


@pytest.mark.parametrize("vector", POLICIES, ids=lambda vector: vector["name"])
def test_a_policy_has_the_signature_of_its_vector(vector: dict[str, Any]) -> None:
    key = v4.signing_key(vector["secret"], vector["date"][:8], vector["region"])
    assert v4.signature(key, vector["policy"]) == vector["signature"]


@pytest.mark.parametrize("vector", POLICIES, ids=lambda vector: vector["name"])
def test_the_identity_fields_are_conditions_of_the_vector(vector: dict[str, Any]) -> None:
    fields = v4.identity_fields(vector["access_key_id"], vector["date"], vector["region"])
    assert list(fields) == ["x-oss-signature-version", "x-oss-credential", "x-oss-date"]
    conditions = json.loads(vector["document"])["conditions"]
    assert all({name: value} in conditions for name, value in fields.items())


@pytest.mark.parametrize(
    ("timestamp", "expected"),
    [
        (1767225599, "20251231T235959Z"),
        (951782400, "20000229T000000Z"),
    ],
    ids=["one-second-before-midnight", "leap-day"],
)
def test_the_date_is_utc_in_basic_format(timestamp: int, expected: str) -> None:
    assert v4.format_date(timestamp) == expected


def test_the_local_time_zone_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Shanghai")
    time.tzset()
    try:
        assert v4.format_date(1900000000) == "20300317T174640Z"  # a second of which no cache knows
    finally:
        monkeypatch.undo()
        time.tzset()
