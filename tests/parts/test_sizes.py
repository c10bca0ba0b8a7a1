"""The sizes of the parts into which a file is cut."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oss_wsgi.parts.sizes import allowed_parts, fitting_part_size, part_count
from oss_wsgi.settings_check import MAX_OBJECT_BYTES, MAX_PART_BYTES, MAX_PARTS, MIN_PART_BYTES


@pytest.mark.slow
@given(st.integers(0, MAX_OBJECT_BYTES), st.integers(MIN_PART_BYTES, MAX_PART_BYTES))
def test_a_file_of_any_size_fits_into_10_000_parts(size: int, part_size: int) -> None:
    chosen = fitting_part_size(size, part_size)
    assert part_size <= chosen <= MAX_PART_BYTES
    assert 1 <= part_count(size, chosen) <= MAX_PARTS


@given(st.integers(0, MAX_OBJECT_BYTES), st.integers(MIN_PART_BYTES, MAX_PART_BYTES))
def test_no_way_to_cut_a_file_needs_more_parts_than_are_allowed(size: int, part_size: int) -> None:
    assert min(MAX_PARTS, part_count(size, part_size)) <= allowed_parts(size) <= MAX_PARTS


def test_the_last_part_may_be_smaller_and_an_empty_file_has_one() -> None:
    assert [part_count(size, 10) for size in (0, 1, 10, 11, 20, 21)] == [1, 1, 1, 2, 2, 3]
