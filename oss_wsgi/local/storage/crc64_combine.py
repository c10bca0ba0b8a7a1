"""The CRC-64 of two pieces of content as one, from theirs alone."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

# The polynomial of ECMA-182, its bits reversed.
POLYNOMIAL = 0xC96C5795D7870F42


def combine(first: int, second: int, second_size: int) -> int:
    """:param second_size: in bytes. As zlib does for CRC-32: that many zero bytes are appended to the first."""
    return _apply(_zeros(second_size), first) ^ second


# The parts of one upload have one size, but for the last.
@lru_cache(maxsize=16)
def _zeros(size: int) -> tuple[int, ...]:
    """What becomes of each bit of a CRC when `size` zero bytes follow."""
    whole = tuple(1 << bit for bit in range(64))
    step = (POLYNOMIAL, *(1 << bit for bit in range(63)))
    bits = size * 8
    while bits:
        if bits & 1:
            whole = tuple(_apply(step, row) for row in whole)
        step = tuple(_apply(step, row) for row in step)
        bits >>= 1
    return whole


def _apply(operator: Iterable[int], crc: int) -> int:
    result = 0
    for row in operator:
        if crc & 1:
            result ^= row
        crc >>= 1
    return result
