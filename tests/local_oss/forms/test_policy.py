import base64
import json

import pytest

from local_oss.errors import OSSError
from local_oss.forms.policy import Condition, SizeRange, parse_policy, parse_policy_json

EXPIRATION = "2024-12-03T13:00:00.000Z"


def encode(text):
    return base64.b64encode(text.encode()).decode()


def document(*conditions, **members):
    return encode(json.dumps({"expiration": EXPIRATION, "conditions": conditions or [{"bucket": "b"}], **members}))


def raw(condition):
    return encode(f'{{"expiration":"{EXPIRATION}","conditions":[{condition}]}}')


def refusal(text):
    with pytest.raises(OSSError) as caught:
        parse_policy(text)
    assert (caught.value.status, caught.value.code) == (400, "InvalidPolicyDocument")
    return caught.value.ec


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


@pytest.mark.parametrize(
    "expiration",
    [
        "2024-12-03 13:00:00Z",
        "2024-12-03T13:00:00",
        "2024-12-03T13:00:00+00:00",
        "2024-12-03T13:00:00.1234567890Z",
        "2023-02-29T00:00:00Z",
        "٢٠٢٤-12-03T13:00:00Z",
        "2024-12-03T13:00:00Z\n",
    ],
)
def test_an_expiration_in_another_format_is_refused(expiration):
    assert refusal(document(expiration=expiration)) == "0006-00000212"


@pytest.mark.parametrize(
    ("text", "ec"),
    [
        pytest.param("%%%", "0006-00000202", id="not base64"),
        pytest.param("é", "0006-00000202", id="not even ASCII"),
        pytest.param(encode(" "), "0006-00000205", id="blank"),
        pytest.param(encode("expired"), "0006-00000204", id="not JSON"),
        pytest.param(base64.b64encode(b'{"\xff"').decode(), "0006-00000204", id="not UTF-8"),
        pytest.param(encode("[1]"), "0006-00000204", id="no object"),
        pytest.param(document(version="2"), "0006-00000206", id="further member"),
        pytest.param(encode(f'{{"expiration":"{EXPIRATION}"}}'), "0006-00000207", id="no conditions"),
        pytest.param(encode('{"conditions":[]}'), "0006-00000208", id="no expiration"),
        pytest.param(encode("{}"), "0006-00000209", id="neither"),
        pytest.param(document(expiration=1), "0006-00000210", id="expiration no string"),
        pytest.param(document(expiration=""), "0006-00000211", id="expiration empty"),
        pytest.param(document(conditions={}), "0006-00000214", id="conditions no array"),
        pytest.param(document(conditions=[]), "0006-00000215", id="conditions empty"),
        pytest.param(document([]), "0006-00000216", id="no operator"),
        pytest.param(document(["EQ", "$key", "a"]), "0006-00000217", id="operator in upper case"),
        pytest.param(document([["eq"], "$key", "a"]), "0006-00000217", id="operator no string"),
        pytest.param(document(["eq", "$key"]), "0006-00000218", id="one item short"),
        pytest.param(document(["eq", "$key", "a", "b"]), "0006-00000218", id="one item more"),
        pytest.param(document(["content-length-range", 1]), "0006-00000218", id="half a range"),
        pytest.param(document({"a": "1", "b": "2"}), "0006-00000218", id="two properties"),
        pytest.param(document({}), "0006-00000218", id="no property"),
        pytest.param(document({"key": 1}), "0006-00000224", id="property no string"),
        pytest.param(document(["content-length-range", 2, 1]), "0006-00000219", id="range reversed"),
        pytest.param(document(["content-length-range", -1, 1]), "0006-00000221", id="range negative"),
        pytest.param(document(["content-length-range", 0, 1.5]), "0006-00000221", id="range with fraction"),
        pytest.param(document(["content-length-range", False, True]), "0006-00000221", id="range of booleans"),
        pytest.param(document("bucket"), "0006-00000222", id="condition a string"),
        pytest.param(document(["not-in", "$key", "a"]), "0006-00000224", id="not-in with a string"),
        pytest.param(document(["in", "$key", [1]]), "0006-00000224", id="in with numbers"),
        pytest.param(document(["eq", "$key", ["a"]]), "0006-00000224", id="eq with an array"),
        pytest.param(document(["eq", 1, "a"]), "0006-00000224", id="field no string"),
    ],
)
def test_a_malformed_policy_is_refused_with_its_ec(text, ec):
    assert refusal(text) == ec


def test_a_condition_is_printed_as_oss_prints_it():
    assert str(Condition("starts-with", "key", "user/eric/")) == '["starts-with", "$key", "user/eric/"]'
    assert str(Condition("in", "content-type", ["a", "b"])) == '["in", "$content-type", ["a", "b"]]'


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        pytest.param("eyJleHBpcm", "unknown char e", id="Base64 twice"),
        pytest.param('{"a":1} x', "unknown char x", id="more behind it"),
        pytest.param('["a" "b"]', ", or ] expected", id="array without comma"),
        pytest.param('{"a":["[{\\"", {}] "b"}', ", or } expected", id="object without comma, brackets in a string"),
        pytest.param('{"conditions":[{"a":"b"} {"c":"d"}]}', ", or ] expected", id="array in an object"),
        pytest.param('{"conditions":[{"a":"b" "c":"d"}]}', ", or } expected", id="object in an array"),
        pytest.param('{"a":[1', ", or ] expected", id="array cut"),
        pytest.param('{"a" 1}', ": expected", id="no colon"),
        pytest.param('{"a":', "unexpected end", id="value cut"),
        pytest.param('{"a":1,"a":2}', "not a JSON text", id="member twice"),
        pytest.param('{"a":NaN}', "not a JSON text", id="NaN"),
        pytest.param("[" * 20000, "not a JSON text", id="too deep"),
    ],
)
def test_invalid_json_is_described_as_oss_does(text, complaint):
    with pytest.raises(OSSError) as caught:
        parse_policy_json(text.encode())
    error = caught.value
    assert (error.status, error.code, error.ec) == (400, "InvalidPolicyDocument", "0006-00000204")
    assert error.message == f"Invalid Policy: Invalid JSON: {complaint}"


def test_both_spellings_of_an_escaped_dollar_are_equal():
    assert parse_policy_json(rb'["\$", "\\$", "\\\$"]') == ["\\$", "\\$", "\\\\$"]
