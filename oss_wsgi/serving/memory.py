"""Gives the system back the memory that many requests have left free, where the C library would keep it."""

from __future__ import annotations

import functools
import sys
from typing import Any


def give_back() -> None:
    """Have glibc return its free pages. Its heap ends at the last block in use, and all below stays the process's."""
    trim = _malloc_trim()
    if trim is not None:
        trim(0)


@functools.cache
def _malloc_trim() -> Any:
    """Return the function of glibc; None where the C library is another one."""
    if not sys.platform.startswith("linux"):
        return None
    try:
        import ctypes

        return ctypes.CDLL(None).malloc_trim
    except (ImportError, OSError, AttributeError):
        return None
