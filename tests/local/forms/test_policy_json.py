import pytest

from oss_wsgi.local.errors import OSSError
from oss_wsgi.local.forms.policy import parse_policy_json


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        pytest.param("eyJleHBpcm", "unknown char e", id="Base64 twice"),
        pytest.param("{'a':1}", "unknown char '", id="single quotes"),
        pytest.param('{"a":tru}', "unknown char t", id="half a word"),
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
def test_a_text_that_is_no_json_is_refused_in_the_words_of_oss(text, complaint):
    with pytest.raises(OSSError) as caught:
        parse_policy_json(text.encode())
    error = caught.value
    assert (error.status, error.code, error.ec) == (400, "InvalidPolicyDocument", "0006-00000204")
    assert error.message == f"Invalid Policy: Invalid JSON: {complaint}"


def test_both_spellings_of_an_escaped_dollar_are_one():
    assert parse_policy_json(rb'["\$", "\\$", "\\\$"]') == ["\\$", "\\$", "\\\\$"]


def test_what_is_no_utf8_is_refused():
    with pytest.raises(OSSError, match="not a JSON text"):
        parse_policy_json(b'{"\xff"')
