"""Media types, and texts that only look like one; urlencoded text, and its errors."""

from __future__ import annotations

from urllib.parse import parse_qsl

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from oss_wsgi.http import essence, is_encodable, json_object, runs_in_browsers, urlencoded_pairs


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("image/png", "image/png"),
        ("IMAGE/Png", "image/png"),
        ("application/vnd.ms-excel.sheet.macroEnabled.12", "application/vnd.ms-excel.sheet.macroenabled.12"),
        ("text/plain ; charset=utf-8", "text/plain"),
        ('text/plain; charset="utf-8"; format=flowed', "text/plain"),
        ("a" * 127 + "/" + "b" * 127, "a" * 127 + "/" + "b" * 127),
    ],
)
def test_the_essence_of_a_media_type_is_in_lower_case(text: str, expected: str) -> None:
    assert essence(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "image/",
        " image/png",
        "image/png\n",
        "image/png; charset",
        "image/png, text/html",
        "image/*",
        "image/p$ng",
        'text/plain; a="$b"',
        'text/plain; a="\\""',
        "text/plain; a=b\r\nX-Evil: 1",
        "image/png; a=\u00e9",
        "a" * 128 + "/b",
    ],
)
def test_text_that_only_resembles_a_media_type_has_no_essence(text: str) -> None:
    assert essence(text) is None


@given(text=st.text(max_size=60))
@settings(max_examples=100, deadline=None)
def test_no_essence_has_a_dollar_or_a_control_character(text: str) -> None:
    name = essence(text)
    assert name is None or (name.isascii() and name.isprintable() and "$" not in name)


@pytest.mark.parametrize(
    "text",
    [
        "text/html",
        "TEXT/HTML; charset=utf-8",
        "application/xhtml+xml",
        "image/svg+xml",
        "text/xml",
        "application/xml",
        "text/javascript",
        "application/x-javascript",
        "message/rfc822",
        "unknown/unknown",
        "no type at all",
        "",
    ],
)
def test_a_type_that_browsers_run(text: str) -> None:
    assert runs_in_browsers(text)


@pytest.mark.parametrize("text", ["image/png", "video/mp4", "text/plain", "application/pdf", "application/zip"])
def test_a_type_that_browsers_do_not_run(text: str) -> None:
    assert not runs_in_browsers(text)


def test_a_type_of_over_255_characters_has_no_essence() -> None:
    assert essence("text/plain; a=" + "b" * 127) == "text/plain"
    assert essence("text/plain" + "; a=b" * 50) is None


# Urlencoded text


ODD_TEXT = st.lists(st.sampled_from([*"ab&=+%20F;é猫\x00 ", "%2F", "%25"])).map("".join)


@pytest.mark.slow
@given(text=st.one_of(st.text(st.characters(exclude_categories=["Cs"])), ODD_TEXT))
@example(text="%252F=%252F&%2525")
def test_pairs_are_those_of_the_standard_library(text: str) -> None:
    try:
        expected = parse_qsl(text, keep_blank_values=True, errors="strict")
    except ValueError:
        with pytest.raises(ValueError):
            urlencoded_pairs(text, 1000)
    else:
        assert urlencoded_pairs(text, 1000) == expected


def test_too_many_pairs_are_refused() -> None:
    assert len(urlencoded_pairs("a=1&" * 9 + "a=1", 10)) == 10
    with pytest.raises(ValueError, match="more than 10"):
        urlencoded_pairs("a=1&" * 10 + "a=1", 10)


@pytest.mark.parametrize("text", ["a=%FF", "%C3=1", "a=%ED%A0%80"])
def test_text_that_is_not_utf_8_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        urlencoded_pairs(text, 10)


@pytest.mark.parametrize(
    ("body", "members"),
    [
        (b'{"a": "\xe7\x8c\xab", "b": [1]}', {"a": "猫", "b": [1]}),
        (b'{"a": "\\ud83d\\ude00"}', {"a": "\N{GRINNING FACE}"}),
        (b"{}", {}),
        (b'{"a": "\\ud800"}', None),
        (b'{"\\udfff": 1}', None),
        (b'{"a": {"b": ["\\ud800"]}}', None),
        (b"[]", None),
        (b'{"a"', None),
        (b"\xff", None),
        (b"[" * 100_000, None),
    ],
)
def test_the_members_of_a_json_object_are_texts_that_utf8_can_express(body: bytes, members: object) -> None:
    assert json_object(body) == members


@pytest.mark.parametrize(("text", "answer"), [("", True), ("猫", True), ("\ud800", False), ("a\udfff", False)])
def test_a_lone_surrogate_cannot_be_encoded(text: str, answer: bool) -> None:
    assert is_encodable(text) is answer
