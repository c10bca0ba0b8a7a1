"""Functions for the sizes and numbers of a file's parts."""

from __future__ import annotations

from ..settings_check import MAX_PART_BYTES, MAX_PARTS, MIN_PART_BYTES

_MEBIBYTE = 1024 * 1024


def part_count(size: int, part_size: int) -> int:
    """Return how many parts a file has; an empty file has one empty part."""
    return max(1, -(-size // part_size))


def allowed_parts(size: int) -> int:
    """Return the most parts that a file of ``size`` bytes may have, however a client cuts it."""
    return min(MAX_PARTS, part_count(size, MIN_PART_BYTES))


def fitting_part_size(size: int, part_size: int) -> int:
    """Return ``part_size``, or the next whole number of MiB if the file would have more than 10,000 parts."""
    least = -(-size // MAX_PARTS)
    if least <= part_size:
        return part_size
    return min(MAX_PART_BYTES, -(-least // _MEBIBYTE) * _MEBIBYTE)
