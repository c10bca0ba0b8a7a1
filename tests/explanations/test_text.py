"""Texts whose values stay apart: they are their English, and go through exceptions, joins and JSON."""

from __future__ import annotations

import json

import pytest

from oss_wsgi.exceptions import SettingsError
from oss_wsgi.explanations.text import Text, ended, joined, parts_of, sentences, text_of


def test_a_text_is_its_english() -> None:
    text = Text("{1} is {2}, as {1} was: {unknown} {3} %{VAR}", "a", 5)
    assert text == "a is 5, as a was: {unknown} {3} %{VAR}"
    assert json.dumps([text]) == '["a is 5, as a was: {unknown} {3} %{VAR}"]'


def test_a_value_with_a_place_in_it_stays() -> None:
    assert Text("{1} and {2}", "{2}", "b") == "{2} and b"
    assert Text("{names} of {1}", "x", names="a, b") == "a, b of x"


def test_an_error_returns_the_text_that_it_was_raised_with() -> None:
    text = Text("no {1}", "key")
    assert str(ValueError(text)) is text
    assert str(SettingsError(text)) is text
    assert SettingsError(text, "other").problems[0] is text


def test_a_clause_becomes_a_sentence_and_a_sentence_stays_one() -> None:
    clause = Text("{1} is missing", "a key")
    assert Text.sentence(clause) == "A key is missing."
    assert ended(clause) == "a key is missing."
    assert ended("It is there.") == "It is there."


def test_texts_are_joined_without_those_that_are_empty() -> None:
    assert sentences("One.", "", "Two.") == "One. Two."
    assert sentences("", "") == ""
    assert joined("{1}; {2}", ["a", "b", "c"]) == "a; b; c"


def test_each_value_can_be_changed() -> None:
    text = Text("{1} of {2}", "a", Text("<{1}>", "b")).mapped(str.upper)
    assert text == "A of <B>" and text.template == "{1} of {2}"


def test_a_text_goes_through_json_with_its_values() -> None:
    text = Text("{1} of {2}", Text("<{1}>", "b"), 5)
    found = text_of(json.loads(json.dumps(parts_of(text))))
    assert found == text and isinstance(found, Text) and isinstance(found.values["1"], Text)
    assert text_of(parts_of("plain")) == "plain"


@pytest.mark.parametrize("parts", [None, 5, [], ["a"], ["a", []], [1, {}], ["a", {"1": None}], ["a", {}, "b"]])
def test_other_parts_are_refused(parts: object) -> None:
    with pytest.raises(ValueError, match="not the parts of a text"):
        text_of(parts)


def test_texts_in_texts_have_a_bound() -> None:
    parts: object = "a"
    for _ in range(10):
        parts = ["<{1}>", {"1": parts}]
    assert text_of(parts) == "<" * 10 + "a" + ">" * 10
    with pytest.raises(ValueError, match="not the parts of a text"):
        text_of(["<{1}>", {"1": parts}])
