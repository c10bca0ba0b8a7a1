"""Returns to the system the memory that many requests have freed, where the C library would keep it."""

from __future__ import annotations

import contextlib


def give_back() -> None:
    """Return glibc's free pages to the system; by itself glibc keeps all that lie below its last block in use."""
    with contextlib.suppress(ImportError, OSError, AttributeError, TypeError):  # another C library, or Windows
        import ctypes

        ctypes.CDLL(None).malloc_trim(0)
