"""Media types: what is one, and what only looks like one."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oss_wsgi.http import essence, runs_in_browsers

TOKEN = st.text("abcXYZ019!#&^_.+-", min_size=1, max_size=127)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("image/png", "image/png"),
        ("IMAGE/Png", "image/png"),
        ("image/svg+xml", "image/svg+xml"),
        ("application/vnd.ms-excel.sheet.macroEnabled.12", "application/vnd.ms-excel.sheet.macroenabled.12"),
        ("text/plain;charset=utf-8", "text/plain"),
        ("text/plain ; charset=utf-8", "text/plain"),
        ('text/plain; charset="utf-8"; format=flowed', "text/plain"),
        ("a" * 127 + "/" + "b" * 127, "a" * 127 + "/" + "b" * 127),
    ],
)
def test_a_media_type_gives_its_essence_in_lower_case(text: str, expected: str) -> None:
    assert essence(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "image",
        "image/",
        "/png",
        "image/png/x",
        "image /png",
        " image/png",
        "image/png ",
        "image/png\n",
        "image/png;",
        "image/png; charset",
        "image/png; charset=",
        "image/png, text/html",
        "image/*",
        "*/*",
        "image/p$ng",
        "image/${filename}",
        'text/plain; a="$b"',
        'text/plain; a="b',
        'text/plain; a="\\""',
        "text/plain; a=b\r\nX-Evil: 1",
        "图/png",
        "image/png; a=\u00e9",
        "a" * 128 + "/b",
        "a/" + "b" * 128,
    ],
)
def test_what_only_resembles_a_media_type_is_none(text: str) -> None:
    assert essence(text) is None


@given(kind=TOKEN, subtype=TOKEN)
@settings(max_examples=50, deadline=None)
def test_the_essence_of_an_essence_is_itself(kind: str, subtype: str) -> None:
    found = essence(f"{kind}/{subtype}")
    assert found == f"{kind}/{subtype}".lower()
    assert essence(found) == found


@given(text=st.text(max_size=60))
@settings(max_examples=100, deadline=None)
def test_no_text_raises_and_no_essence_holds_a_dollar_or_a_control_character(text: str) -> None:
    found = essence(text)
    assert found is None or (found.isascii() and found.isprintable() and "$" not in found)


@pytest.mark.parametrize(
    "text",
    [
        "text/html",
        "TEXT/HTML; charset=utf-8",
        "application/xhtml+xml",
        "image/svg+xml",
        "text/xml",
        "application/xml",
        "application/rss+xml",
        "text/javascript",
        "application/x-javascript",
        "message/rfc822",
        "unknown/unknown",
        "no type at all",
        "",
    ],
)
def test_what_a_browser_runs(text: str) -> None:
    assert runs_in_browsers(text)


@pytest.mark.parametrize("text", ["image/png", "video/mp4", "text/plain", "application/pdf", "application/zip"])
def test_what_a_browser_only_shows_or_keeps(text: str) -> None:
    assert not runs_in_browsers(text)


def test_a_type_of_over_255_characters_is_none() -> None:
    assert essence("text/plain; a=" + "b" * 127) == "text/plain"
    assert essence("text/plain" + "; a=b" * 50) is None
