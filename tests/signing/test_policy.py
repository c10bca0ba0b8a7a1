"""Policies: every form of a condition, dollar escapes, times in UTC, and compact JSON."""

from __future__ import annotations

import base64
import json
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oss_wsgi.signing.policy import (
    content_length_range,
    encode_policy,
    eq,
    escape,
    exactly,
    format_time,
    one_of,
    starts_with,
)

VECTORS = Path(__file__).parent.parent / "vectors"
V1 = {vector["name"]: vector for vector in json.loads((VECTORS / "policy_v1.json").read_text(encoding="utf-8"))}
V4 = json.loads((VECTORS / "policy_v4.json").read_text(encoding="utf-8"))["policies"][0]
NOON = 1733230800  # 2024-12-03T13:00:00Z
BUCKET = exactly("bucket", "examplebucket")
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


def document(conditions: list[str], expiration: int = NOON) -> str:
    """Return the JSON of a policy."""
    return base64.b64decode(encode_policy(expiration, conditions), validate=True).decode()


def test_the_v1_vector_is_written_byte_for_byte() -> None:
    conditions = [BUCKET, content_length_range(1, 10485760), starts_with("key", "user/eric/")]
    assert document(conditions) == V1["V1-made-here"]["document"]
    assert encode_policy(NOON, conditions) == V1["V1-made-here"]["policy"]


def test_the_v4_vector_is_written_byte_for_byte() -> None:
    conditions = [
        BUCKET,
        exactly("x-oss-signature-version", "OSS4-HMAC-SHA256"),
        exactly("x-oss-credential", "LTAI5tExampleKeyId000001/20241203/cn-hangzhou/oss/aliyun_v4_request"),
        exactly("x-oss-date", "20241203T121212Z"),
        content_length_range(1, 10485760),
        eq("success_action_status", "201"),
        starts_with("key", "user/eric/"),
        one_of("content-type", ["image/jpeg", "image/png"]),
        '["not-in","$cache-control",["no-cache"]]',  # the presigner writes none of this kind
    ]
    assert document(conditions) == V4["document"]
    assert encode_policy(NOON, conditions) == V4["policy"]


def test_a_literal_dollar_becomes_backslash_dollar() -> None:
    assert escape("a$b$") == r"a\$b\$"
    assert '["eq","$key","user/eric/\\\\${filename}"]' in document([eq("key", "user/eric/${filename}")])


@pytest.mark.parametrize(
    ("expiration", "written"), [(0, "1970-01-01T00:00:00.000Z"), (253402300799, "9999-12-31T23:59:59.000Z")]
)
def test_the_first_and_the_last_second_are_written(expiration: int, written: str) -> None:
    assert json.loads(document([BUCKET], expiration))["expiration"] == written


def test_the_local_time_zone_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Shanghai")
    time.tzset()
    try:
        assert format_time(NOON + 1) == "2024-12-03T13:00:01.000Z"  # a second of which no cache knows
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.slow
@given(field=TEXT, value=TEXT, values=st.lists(TEXT, min_size=1, max_size=3), low=st.integers(0, 99))
@settings(deadline=None)
def test_a_condition_is_the_json_of_its_plain_form(field: str, value: str, values: list[str], low: int) -> None:
    escaped = [item.replace("$", "\\$") for item in values]
    plain: dict[str, Any] = {
        exactly(field, value): {field: value.replace("$", "\\$")},
        eq(field, value): ["eq", f"${field}", value.replace("$", "\\$")],
        starts_with(field, value): ["starts-with", f"${field}", value.replace("$", "\\$")],
        one_of(field, values): ["in", f"${field}", escaped],
        content_length_range(low, low + 1): ["content-length-range", low, low + 1],
    }
    written = json.dumps(list(plain.values()), ensure_ascii=False, separators=(",", ":"))
    assert document(list(plain)) == f'{{"expiration":"2024-12-03T13:00:00.000Z","conditions":{written}}}'
