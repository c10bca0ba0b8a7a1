"""Casts: the text of one variable, and the sentence when it is wrong."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oss_wsgi.settings import items, lower, pairs, switch, text, whole_number, words


@pytest.mark.parametrize("word", ["on", "ON", " on ", "1", "true", "True", "yes", "YES"])
def test_these_words_switch_on(word: str) -> None:
    assert switch(word) is True


@pytest.mark.parametrize("word", ["off", "OFF", " off\n", "0", "false", "no", "No"])
def test_these_words_switch_off(word: str) -> None:
    assert switch(word) is False


@pytest.mark.parametrize("word", ["", " ", "2", "onn", "y", "t", "enabled", "оn"])
def test_no_other_word_is_a_switch(word: str) -> None:
    with pytest.raises(ValueError, match="must be 'on' or 'off'"):
        switch(word)


@given(number=st.integers(min_value=0, max_value=10**19 - 1))
@settings(max_examples=50, deadline=None)
def test_a_whole_number_is_read_back(number: int) -> None:
    assert whole_number(f" {number} ") == number


@pytest.mark.parametrize(
    "word",
    ["", "-1", "+1", "1.0", "1e3", "1_000", "0x10", "1 000", "１２", "٣", "²", "1" * 20, "9" * 100_000],
    ids=lambda word: ascii(word[:21]),
)
def test_nothing_else_is_a_whole_number(word: str) -> None:
    with pytest.raises(ValueError, match="must be a whole number, written in digits"):
        whole_number(word)


def test_text_and_words_lose_the_blanks_around_them() -> None:
    assert text(" A b\n") == "A b"
    assert lower(" V4 ") == "v4"
    assert items(" A , b c ,, d,") == ("A", "b c", "d")
    assert words("Image/PNG, TEXT/plain") == ("image/png", "text/plain")
    assert items("") == items(" , ") == ()


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("https://a.example/k.pem=/etc/k.pem", (("https://a.example/k.pem", "/etc/k.pem"),)),
        ("https://a.example/k?v=1&w=2=k.pem", (("https://a.example/k?v=1&w=2", "k.pem"),)),
        (" http://a/k = one.pem , http://b/k=two.pem,", (("http://a/k", "one.pem"), ("http://b/k", "two.pem"))),
        ("", ()),
    ],
    ids=["one", "split-at-the-last-equals-sign", "two-with-blanks", "none"],
)
def test_pairs_are_split_at_the_last_equals_sign(value: str, expected: tuple[tuple[str, str], ...]) -> None:
    assert pairs(value) == expected


@pytest.mark.parametrize("value", ["http://a/k", "=k.pem", "http://a/k=", "http://a/k=x.pem,oops", "=", "http://a/k= "])
def test_a_pair_without_its_url_or_file_is_refused(value: str) -> None:
    with pytest.raises(ValueError, match="must be KEY_URL=PEM_FILE pairs"):
        pairs(value)
