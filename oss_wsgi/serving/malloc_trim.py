"""Returns to the system the memory that many requests have freed, where the C library would keep it."""

from __future__ import annotations

import functools
import sys
from typing import Any


def give_back() -> None:
    """Return glibc's free pages to the system; by itself glibc keeps all that lie below its last block in use."""
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
