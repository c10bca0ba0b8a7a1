"""The CRC-64 of joined parts is that of the whole."""

from __future__ import annotations

import itertools

import pytest
from fastcrc import crc64 as fastcrc
from hypothesis import given
from hypothesis import strategies as st

from oss_wsgi.parts import crc64


def test_it_is_the_crc_of_the_published_check() -> None:
    assert crc64.joined([(fastcrc.xz(b"1234"), 4), (fastcrc.xz(b"56789"), 5)]) == 0x995DC9BBDF1939FA


@pytest.mark.slow
@given(st.lists(st.binary(max_size=300), max_size=8))
def test_joined_is_the_crc_of_all_parts(parts: list[bytes]) -> None:
    pairs = [(fastcrc.xz(part), len(part)) for part in parts]
    assert crc64.joined(pairs) == fastcrc.xz(b"".join(parts))


def test_nothing_has_the_crc_of_nothing() -> None:
    assert crc64.joined([]) == crc64.joined([(0, 0)]) == fastcrc.xz(b"") == 0


def test_the_order_counts() -> None:
    parts = [(fastcrc.xz(text), len(text)) for text in (b"a", b"bc", b"def")]
    assert len({crc64.joined(order) for order in itertools.permutations(parts)}) == 6


@pytest.mark.slow
def test_sizes_beyond_any_memory_are_joined() -> None:
    size = 5 * 1024**3
    zeros = 0
    step = (fastcrc.xz(bytes(1024**2)), 1024**2)
    zeros = crc64.joined([step] * (size // 1024**2))
    assert crc64.joined([(zeros, size), (fastcrc.xz(b"x"), 1)]) == crc64.joined(
        [step] * (size // 1024**2) + [(fastcrc.xz(b"x"), 1)]
    )
