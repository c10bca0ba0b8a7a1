from html import unescape

import pytest

from oss_wsgi.local.inspector.markup import field_value, named, text

from ...hidden_characters import HIDDEN, SHOWN


@pytest.mark.parametrize("character", HIDDEN, ids=lambda character: f"U+{ord(character):04X}")
def test_a_hidden_character_is_shown_as_what_it_is(character):
    assert unescape(named(f"a{character}gnp.exe")) == f"<bdi>a<U+{ord(character):04X}>gnp.exe</bdi>"


@pytest.mark.parametrize("name", SHOWN, ids=ascii)
def test_what_is_written_or_joins_stays_whole(name):
    assert text(name) == name


def test_a_field_of_a_form_has_its_value_as_it_is():
    assert field_value("holiday-\u202egnp.exe") == "holiday-\u202egnp.exe"
