import base64
import json

import pytest

from local_oss.forms.policy import Condition, SizeRange, parse_policy, parse_policy_json

EXPIRATION = "2024-12-03T13:00:00.000Z"


def encode(text):
    return base64.b64encode(text.encode()).decode()


def document(*conditions, **members):
    return encode(json.dumps({"expiration": EXPIRATION, "conditions": conditions or [{"bucket": "b"}], **members}))


def raw(condition):
    return encode(f'{{"expiration":"{EXPIRATION}","conditions":[{condition}]}}')


@pytest.mark.parametrize(
    ("condition", "parsed"),
    [
        pytest.param({"key": "a"}, Condition("eq", "key", "a"), id="object"),
        pytest.param(["eq", "$key", "a"], Condition("eq", "key", "a"), id="eq"),
        pytest.param(["eq", "key", "a"], Condition("eq", "key", "a"), id="without dollar"),
        pytest.param(["starts-with", "$key", ""], Condition("starts-with", "key", ""), id="starts-with"),
        pytest.param(["in", "$key", ["a", "b"]], Condition("in", "key", ["a", "b"]), id="in"),
        pytest.param(["not-in", "$key", ["a"]], Condition("not-in", "key", ["a"]), id="not-in"),
        pytest.param(["content-length-range", 0, 0], SizeRange(0, 0), id="range from zero"),
        pytest.param(["eq", "$key", "用户/😀"], Condition("eq", "key", "用户/😀"), id="Chinese"),
    ],
)
def test_every_form_of_condition_is_parsed(condition, parsed):
    policy = parse_policy(document(condition))
    assert [*policy.conditions, *policy.ranges] == [parsed]


@pytest.mark.parametrize(
    ("literal", "value"),
    [
        pytest.param(r"\${filename}", "${filename}", id="raw"),
        pytest.param(r"\\${filename}", "${filename}", id="escaped for JSON"),
        pytest.param(r"a\/b", "a/b", id="slash"),
        pytest.param(r"\"\\\b\f\n\r\t", '"\\\b\f\n\r\t', id="all of JSON"),
        pytest.param(r"\u7528", "用", id="code point"),
        pytest.param(r"\\\${x}", "\\${x}", id="a backslash, then a raw dollar escape"),
    ],
)
def test_escapes_are_read_in_both_spellings(literal, value):
    (condition,) = parse_policy(raw(f'["eq", "$key", "{literal}"]')).conditions
    assert condition.operand == value


@pytest.mark.parametrize(
    ("expiration", "seconds"),
    [
        ("2024-12-03T13:00:00.000Z", 1733230800),
        ("2024-12-03T13:00:00Z", 1733230800),
        ("2024-12-03T13:00:00.25Z", 1733230800.25),
    ],
)
def test_expiration_is_utc_with_or_without_a_fraction(expiration, seconds):
    assert parse_policy(document(expiration=expiration)).expiration == pytest.approx(seconds, abs=1e-6)


def test_a_condition_is_printed_as_oss_prints_it():
    assert str(Condition("starts-with", "key", "user/eric/")) == '["starts-with", "$key", "user/eric/"]'
    assert str(Condition("in", "content-type", ["a", "b"])) == '["in", "$content-type", ["a", "b"]]'


def test_both_spellings_of_an_escaped_dollar_are_equal():
    assert parse_policy_json(rb'["\$", "\\$", "\\\$"]') == ["\\$", "\\$", "\\\\$"]
