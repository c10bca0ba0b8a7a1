from html import unescape

import jinja2
import pytest

from local_oss.inspector.markup import Page, environment, members, size_text

from ...support.hidden_characters import HIDDEN, SHOWN


def written(value, *, template="{{ value }}"):
    return environment().from_string(template).render(value=value)


def test_a_hidden_character_is_shown_as_what_it_is():
    for character in HIDDEN:
        assert unescape(written(f"a{character}gnp.exe")) == f"a<U+{ord(character):04X}>gnp.exe"


@pytest.mark.parametrize("name", SHOWN, ids=ascii)
def test_what_is_written_or_joins_stays_whole(name):
    assert written(name) == name


def test_a_field_of_a_form_has_its_value_as_it_is():
    assert written("holiday-\u202egnp.exe", template="{{ value|field_value }}") == "holiday-\u202egnp.exe"


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1 kB"),
        (1249, "1.2 kB"),
        (1250, "1.3 kB"),
        (1960, "2 kB"),
        (99_960, "100 kB"),
        (999_950, "1,000 kB"),
        (149_600, "150 kB"),
        (1_572_864, "1.6 MB"),
        (3_000_000_000, "3 GB"),
        (5 * 10**15, "5,000 TB"),
    ],
)
def test_a_size_is_written_as_on_the_upload_page(size, text):
    assert size_text(size) == text


@pytest.mark.parametrize(
    ("body", "pairs"),
    [
        (b'{"a": 1, "b": {"c": "\xe5\x9b\xbe"}, "d": "x"}', [("a", "1"), ("b", '{"c": "图"}'), ("d", "x")]),
        (b"a=1&b=&a=2", [("a", "1"), ("b", ""), ("a", "2")]),
        (b"[1]", []),
        (b"plain text with a = in it", []),
        (b"", []),
        (b"\xff=1", []),
    ],
)
def test_members_of_a_body(body, pairs):
    assert members(body) == pairs


@pytest.mark.parametrize(
    "template",
    [
        "{{ value }}",
        '<input value="{{ value|field_value }}">',
        "{{ value ~ value }}",
        "{{ (value ~ '`x`')|with_code }}",
        "{% import 'parts.html' as parts with context %}{{ parts.named(value) }}{{ parts.code(value) }}"
        "{{ parts.block(value) }}{{ parts.pairs([(value, value)], value) }}{{ parts.pair(value, value) }}"
        "{{ parts.button(value, value, {value: value}, value) }}",
    ],
)
def test_every_text_is_escaped(template):
    page = Page("", "token")
    text = environment().from_string(template).render(value="<i>\"'&", page=page)
    assert "<i>" not in text
    assert "\"'" not in text


def test_a_name_that_a_page_does_not_pass_is_an_error():
    with pytest.raises(jinja2.UndefinedError):
        environment().from_string("{{ missing }}").render()
