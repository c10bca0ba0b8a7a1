"""The CRC-64 of joined parts, computed from the CRC-64 of each (CRC-64/XZ, as OSS computes it)."""

from __future__ import annotations

import functools
from collections.abc import Iterable

# The polynomial, and the polynomials 1 and x; the highest bit is that of x**0.
_POLYNOMIAL = 0xC96C5795D7870F42
_ONE = 1 << 63
_X = 1 << 62


def joined(parts: Iterable[tuple[int, int]]) -> int:
    """Return the CRC-64 of all parts joined, from (CRC-64, size in bytes) of each in order; 0 without parts."""
    crc = 0
    for part_crc, size in parts:
        # Each zero byte appended to a content multiplies its CRC by x**8 (zlib's crc32_combine).
        crc = _product(_zeros(size), crc) ^ part_crc
    return crc


@functools.lru_cache(maxsize=64)  # all parts of an upload have one size, except the last
def _zeros(size: int) -> int:
    """Return x**(8 * size), modulo the polynomial."""
    power, factor = _ONE, _X
    exponent = 8 * size
    while exponent:
        if exponent & 1:
            power = _product(factor, power)
        factor = _product(factor, factor)
        exponent >>= 1
    return power


def _product(left: int, right: int) -> int:
    """Return the product of two polynomials, modulo the polynomial."""
    product = 0
    while left:
        if left & _ONE:
            product ^= right
        left = left << 1 & (1 << 64) - 1
        right = right >> 1 ^ (_POLYNOMIAL if right & 1 else 0)
    return product
