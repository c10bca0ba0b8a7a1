"""Form-urlencoded text: what the standard library's parser reads, and its errors."""

from __future__ import annotations

from urllib.parse import parse_qsl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oss_wsgi.http import urlencoded_pairs

ODD = st.lists(st.sampled_from([*"ab&=+%20F;é猫\x00 ", "%2F", "%25"])).map("".join)


@given(text=st.one_of(st.text(st.characters(exclude_categories=["Cs"])), ODD))
def test_it_reads_what_the_standard_library_reads(text: str) -> None:
    try:
        expected = parse_qsl(text, keep_blank_values=True, errors="strict")
    except ValueError:
        with pytest.raises(ValueError):
            urlencoded_pairs(text, 1000)
    else:
        assert urlencoded_pairs(text, 1000) == expected


def test_too_many_pairs_are_refused_unread() -> None:
    assert len(urlencoded_pairs("a=1&" * 9 + "a=1", 10)) == 10
    with pytest.raises(ValueError, match="more than 10"):
        urlencoded_pairs("a=1&" * 10 + "a=1", 10)


@pytest.mark.parametrize("text", ["a=%FF", "%C3=1", "a=%ED%A0%80"])
def test_what_is_not_utf_8_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        urlencoded_pairs(text, 10)
