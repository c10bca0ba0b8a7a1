"""The sizes of the parts into which a file is cut."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oss_wsgi.parts.ticket import allowed_parts, fitting_part_size, part_count
from oss_wsgi.settings_check import MAX_OBJECT_BYTES, MAX_PART_BYTES, MAX_PARTS, MIN_PART_BYTES

MEBIBYTE = 1024 * 1024


@pytest.mark.slow
@given(st.integers(0, MAX_OBJECT_BYTES), st.integers(MIN_PART_BYTES, MAX_PART_BYTES))
def test_a_file_of_any_size_fits_into_10_000_parts(size: int, part_size: int) -> None:
    chosen = fitting_part_size(size, part_size)
    assert part_size <= chosen <= MAX_PART_BYTES
    assert 1 <= part_count(size, chosen) <= MAX_PARTS


@given(st.integers(0, MAX_OBJECT_BYTES), st.integers(MIN_PART_BYTES, MAX_PART_BYTES))
def test_no_way_to_cut_a_file_needs_more_parts_than_are_allowed(size: int, part_size: int) -> None:
    assert min(MAX_PARTS, part_count(size, part_size)) <= allowed_parts(size) <= MAX_PARTS


@pytest.mark.parametrize(
    ("size", "part_size", "chosen"),
    [
        (0, MIN_PART_BYTES, MIN_PART_BYTES),
        (10_000 * MIN_PART_BYTES, MIN_PART_BYTES, MIN_PART_BYTES),
        (10_000 * MIN_PART_BYTES + 1, MIN_PART_BYTES, MEBIBYTE),
        (10_000 * MEBIBYTE, MIN_PART_BYTES, MEBIBYTE),
        (10_000 * MEBIBYTE + 1, MEBIBYTE, 2 * MEBIBYTE),
        (MAX_OBJECT_BYTES, MIN_PART_BYTES, MAX_PART_BYTES),
    ],
)
def test_a_part_size_grows_to_the_next_mebibyte_that_fits(size: int, part_size: int, chosen: int) -> None:
    assert fitting_part_size(size, part_size) == chosen


@pytest.mark.parametrize(
    ("size", "allowed"),
    [(0, 1), (MIN_PART_BYTES, 1), (MIN_PART_BYTES + 1, 2), (9_999 * MIN_PART_BYTES, 9_999), (MAX_OBJECT_BYTES, 10_000)],
)
def test_the_smallest_parts_say_how_many_there_may_be(size: int, allowed: int) -> None:
    assert allowed_parts(size) == allowed


def test_the_last_part_may_be_smaller_and_an_empty_file_has_one() -> None:
    assert [part_count(size, 10) for size in (0, 1, 10, 11, 20, 21)] == [1, 1, 1, 2, 2, 3]
