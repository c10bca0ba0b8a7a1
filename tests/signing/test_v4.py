"""Signature version 4: the published key chain, the vectors, and HMAC-SHA256 computed here again."""

from __future__ import annotations

import calendar
import hashlib
import hmac
import json
import time
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oss_wsgi.signing import v4

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "policy_v4.json").read_text(encoding="utf-8"))
CHAIN = VECTORS["key_chain"]
POLICIES = VECTORS["policies"]
LAST_SECOND_OF_9999 = 253402300799


def step(key: bytes, message: str) -> bytes:
    return hmac.new(key, message.encode(), hashlib.sha256).digest()


def chain(secret: str, day: str, region: str) -> list[bytes]:
    keys = [b"aliyun_v4" + secret.encode()]
    for message in (day, region, "oss", "aliyun_v4_request"):
        keys.append(step(keys[-1], message))
    return keys[1:]


@pytest.mark.parametrize("vector", [CHAIN, *POLICIES], ids=lambda vector: vector["name"])
def test_the_signing_key_is_the_last_of_four_published_keys(vector: dict[str, Any]) -> None:
    day = vector.get("day") or vector["date"][:8]
    keys = chain(vector["secret"], day, vector["region"])
    assert [key.hex() for key in keys] == [vector[f"k{number}"] for number in (1, 2, 3, 4)]
    assert v4.signing_key(vector["secret"], day, vector["region"]).hex() == vector["k4"]


@pytest.mark.parametrize("vector", POLICIES, ids=lambda vector: vector["name"])
def test_a_policy_has_the_signature_of_its_vector(vector: dict[str, Any]) -> None:
    key = v4.signing_key(vector["secret"], vector["date"][:8], vector["region"])
    assert v4.signature(key, vector["policy"]) == vector["signature"]


@pytest.mark.parametrize(
    "change", [{"secret": "sK"}, {"day": "20231217"}, {"region": "cn-shanghai"}], ids=["secret", "day", "region"]
)
def test_every_part_of_the_scope_changes_the_key(change: dict[str, str]) -> None:
    parts = {"secret": CHAIN["secret"], "day": CHAIN["day"], "region": CHAIN["region"], **change}
    assert v4.signing_key(parts["secret"], parts["day"], parts["region"]).hex() != CHAIN["k4"]


@given(key=st.binary(min_size=32, max_size=32), policy=st.text("aZ09+/=", max_size=99))
@settings(max_examples=30, deadline=None)
def test_the_signature_is_lower_case_hex_of_hmac_sha256(key: bytes, policy: str) -> None:
    assert v4.signature(key, policy) == step(key, policy).hex()


@pytest.mark.parametrize("vector", POLICIES, ids=lambda vector: vector["name"])
def test_the_identity_fields_are_conditions_of_the_vector(vector: dict[str, Any]) -> None:
    fields = v4.identity_fields(vector["access_key_id"], vector["date"], vector["region"])
    assert list(fields) == ["x-oss-signature-version", "x-oss-credential", "x-oss-date"]
    conditions = json.loads(vector["document"])["conditions"]
    assert all({name: value} in conditions for name, value in fields.items())


@pytest.mark.parametrize(
    ("timestamp", "expected"),
    [
        (1733227932, "20241203T121212Z"),
        (1767225599, "20251231T235959Z"),
        (1767225600, "20260101T000000Z"),
        (951782400, "20000229T000000Z"),
    ],
    ids=["V4-1", "one-second-before-midnight", "midnight", "leap-day"],
)
def test_the_date_is_utc_in_basic_format(timestamp: int, expected: str) -> None:
    assert v4.format_date(timestamp) == expected


def test_the_local_time_zone_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Shanghai")
    time.tzset()
    try:
        assert v4.format_date(1767225599) == "20251231T235959Z"
    finally:
        monkeypatch.undo()
        time.tzset()


@given(timestamp=st.integers(min_value=calendar.timegm(date(1970, 1, 1).timetuple()), max_value=LAST_SECOND_OF_9999))
@settings(max_examples=50, deadline=None)
def test_the_date_can_be_read_back(timestamp: int) -> None:
    assert calendar.timegm(time.strptime(v4.format_date(timestamp), "%Y%m%dT%H%M%SZ")) == timestamp
