"""PostPolicy and its conditions: every form, dollar escapes, times in UTC, compact JSON, and what is refused."""

from __future__ import annotations

import base64
import json
import time
from dataclasses import FrozenInstanceError
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oss_wsgi.exceptions import PolicyError
from oss_wsgi.signing.policy import (
    PostPolicy,
    content_length_range,
    encode_policy,
    eq,
    escape,
    exactly,
    format_time,
    none_of,
    one_of,
    starts_with,
)

VECTORS = Path(__file__).parent.parent / "vectors"
V1 = {vector["name"]: vector for vector in json.loads((VECTORS / "policy_v1.json").read_text(encoding="utf-8"))}
V4 = json.loads((VECTORS / "policy_v4.json").read_text(encoding="utf-8"))["policies"][0]
NOON = 1733230800  # 2024-12-03T13:00:00Z
BUCKET = exactly("bucket", "examplebucket")
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


def test_the_v1_vector_is_written_byte_for_byte() -> None:
    policy = PostPolicy(NOON, [BUCKET, content_length_range(1, 10485760), starts_with("key", "user/eric/")])
    assert policy.json() == V1["V1-made-here"]["document"]
    assert policy.encode() == V1["V1-made-here"]["policy"]


def test_the_v4_vector_is_written_byte_for_byte() -> None:
    policy = PostPolicy(
        NOON,
        [
            BUCKET,
            exactly("x-oss-signature-version", "OSS4-HMAC-SHA256"),
            exactly("x-oss-credential", "LTAI5tExampleKeyId000001/20241203/cn-hangzhou/oss/aliyun_v4_request"),
            exactly("x-oss-date", "20241203T121212Z"),
            content_length_range(1, 10485760),
            eq("success_action_status", "201"),
            starts_with("key", "user/eric/"),
            one_of("content-type", ["image/jpeg", "image/png"]),
            none_of("cache-control", ["no-cache"]),
        ],
    )
    assert policy.json() == V4["document"]
    assert policy.encode() == V4["policy"]


def test_the_published_java_policy_has_the_same_conditions() -> None:
    policy = PostPolicy(
        datetime(2020, 3, 19, 3, 44, 6, tzinfo=timezone.utc),
        [
            exactly("bucket", "gen-post-policy"),
            eq("key", "user/eric/${filename}"),
            starts_with("key", "user/eric"),
            starts_with("x-oss-meta-tag", "dummy_etag"),
            content_length_range(1, 1024),
        ],
    )
    assert json.loads(policy.json())["conditions"] == json.loads(V1["V1-A"]["document"])["conditions"]


def test_a_literal_dollar_becomes_backslash_dollar() -> None:
    assert escape("a$b$") == r"a\$b\$"
    text = PostPolicy(NOON, [eq("key", "user/eric/${filename}")]).json()
    assert '["eq","$key","user/eric/\\\\${filename}"]' in text


@pytest.mark.parametrize(
    "condition",
    [
        exactly("key", "a$b"),
        eq("key", "a$b"),
        starts_with("key", "a$b"),
        one_of("key", ["a$b", "c"]),
        none_of("key", ["a$b", "c"]),
    ],
    ids=["exactly", "eq", "starts-with", "in", "not-in"],
)
def test_conditions_escape_their_values_and_not_their_field(condition: Any) -> None:
    text = PostPolicy(NOON, [condition]).json()
    assert r"a\\$b" in text
    assert r"\\$key" not in text


def test_the_document_has_two_members_and_no_blanks() -> None:
    policy = PostPolicy(NOON, [BUCKET, content_length_range(0, 0)])
    assert policy.json() == (
        '{"expiration":"2024-12-03T13:00:00.000Z","conditions":[{"bucket":"examplebucket"},["content-length-range",0,0]]}'
    )


def test_chinese_is_written_as_utf_8() -> None:
    encoded = PostPolicy(NOON, [starts_with("key", "用户/42/")]).encode()
    assert "用户/42/".encode() in base64.b64decode(encoded, validate=True)


@pytest.mark.parametrize(
    "expiration",
    [
        NOON,
        datetime(2024, 12, 3, 13, tzinfo=timezone.utc),
        datetime(2024, 12, 3, 21, tzinfo=timezone(timedelta(hours=8))),
        datetime(2024, 12, 3, 13, 0, 0, 999_999, tzinfo=timezone.utc),
    ],
    ids=["seconds", "utc", "other-zone", "fraction-cut-off"],
)
def test_an_expiration_is_written_in_utc_and_never_later(expiration: Any) -> None:
    assert json.loads(PostPolicy(expiration, [BUCKET]).json())["expiration"] == "2024-12-03T13:00:00.000Z"


@pytest.mark.parametrize(
    ("expiration", "written"), [(0, "1970-01-01T00:00:00.000Z"), (253402300799, "9999-12-31T23:59:59.000Z")]
)
def test_the_first_and_the_last_second_are_written(expiration: int, written: str) -> None:
    assert json.loads(PostPolicy(expiration, [BUCKET]).json())["expiration"] == written


def test_the_local_time_zone_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Shanghai")
    time.tzset()
    try:
        assert format_time(NOON) == "2024-12-03T13:00:00.000Z"
    finally:
        monkeypatch.undo()
        time.tzset()


@given(timestamp=st.integers(min_value=0, max_value=253402300799))
@settings(max_examples=50, deadline=None)
def test_the_time_can_be_read_back(timestamp: int) -> None:
    time_read = datetime.strptime(format_time(timestamp), "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=timezone.utc)
    assert time_read.timestamp() == timestamp


@pytest.mark.slow
@given(value=st.text(st.characters(exclude_categories=["Cs"]), max_size=40))
@settings(max_examples=100, deadline=None)
def test_any_text_can_be_read_back_from_the_policy(value: str) -> None:
    document = json.loads(base64.b64decode(PostPolicy(NOON, [eq("key", value)]).encode(), validate=True))
    assert document["conditions"][0][2].replace("\\$", "$") == value


@pytest.mark.parametrize(
    "condition",
    [
        {},
        {"a": "b", "c": "d"},
        {"a": 1},
        {"a": ["b"]},
        {1: "b"},
        [],
        ["eq", "$key"],
        ["eq", "$key", "a", "b"],
        ["eq", "$key", ["a"]],
        ["eq", "$key", 1],
        ["eq", 1, "a"],
        ["EQ", "$key", "a"],
        ["like", "$key", "a"],
        [["eq"], "$key", "a"],
        [None, "$key", "a"],
        ["in", "$key", "a"],
        ["in", "$key", []],
        ["in", "$key", ["a", 1]],
        ["not-in", "$key", "a"],
        ["content-length-range", 1],
        ["content-length-range", 2, 1],
        ["content-length-range", -1, 1],
        ["content-length-range", "0", "1"],
        ["content-length-range", 0, 1.5],
        ["content-length-range", False, True],
        ["content-length-range", 0.5, 1],
        ["like", "$key", ["a"]],
        "eq",
        "",
        '["eq","$key"]',
        '{"a":"b","c":"d"}',
        '["eq","$key","a"],["eq","$key","b"]',
        "[" * 100_000,
        None,
    ],
    ids=lambda condition: repr(condition)[:50],
)
def test_an_invalid_condition_is_refused(condition: Any) -> None:
    with pytest.raises(PolicyError, match=r"Invalid condition .*: write"):
        PostPolicy(NOON, [BUCKET, condition])


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
        none_of(field, values): ["not-in", f"${field}", escaped],
        content_length_range(low, low + 1): ["content-length-range", low, low + 1],
    }
    assert [json.loads(text) for text in plain] == list(plain.values())
    texts = list(plain)
    assert PostPolicy(NOON, texts).encode() == PostPolicy(NOON, list(plain.values())).encode()
    assert PostPolicy(NOON, texts).encode() == encode_policy(NOON, texts), "as the presigner writes it"


def test_the_conditions_of_a_policy_stay_as_they_were_given() -> None:
    conditions: list[Any] = [BUCKET, {"key": "a"}, ["eq", "$key", "a"]]
    policy = PostPolicy(NOON, conditions)
    assert policy.conditions == conditions
    with pytest.raises(FrozenInstanceError):
        policy.expiration = 0  # type: ignore[misc]


def test_a_policy_without_conditions_is_refused() -> None:
    with pytest.raises(PolicyError, match="at least one condition"):
        PostPolicy(NOON, [])


@pytest.mark.parametrize(
    "expiration",
    [datetime(2024, 12, 3), 253402300800, 10**20, -1, float("nan"), float("inf"), "2024-12-03T13:00:00Z", None, True],
    ids=repr,
)
def test_an_invalid_expiration_is_refused(expiration: Any) -> None:
    with pytest.raises(PolicyError, match="expiration"):
        PostPolicy(expiration, [BUCKET])


def test_a_lone_surrogate_is_refused() -> None:
    with pytest.raises(PolicyError, match="surrogate"):
        PostPolicy(NOON, [eq("key", "\ud800")]).encode()
