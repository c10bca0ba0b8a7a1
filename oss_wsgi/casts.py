"""Turns the text of one setting into its value, or says in a ValueError what would be right."""

from __future__ import annotations

_TRUE = frozenset({"1", "true", "yes", "on"})
_FALSE = frozenset({"0", "false", "no", "off"})


def text(value: str) -> str:
    """Take the text as it is, without blanks around it."""
    return value.strip()


def lower(value: str) -> str:
    """Take a word whose case does not matter."""
    return value.strip().lower()


def switch(value: str) -> bool:
    """Read ``on`` or ``off`` (also 1/0, true/false, yes/no)."""
    word = value.strip().lower()
    if word in _TRUE:
        return True
    if word in _FALSE:
        return False
    raise ValueError("must be 'on' or 'off'")


def whole_number(value: str) -> int:
    """Read a whole number written in digits."""
    word = value.strip()
    if not (word.isascii() and word.isdigit() and len(word) < 20):
        raise ValueError("must be a whole number, written in digits")
    return int(word)


def items(value: str) -> tuple[str, ...]:
    """Read a comma-separated list; blanks around the items and empty items do not count."""
    return tuple(item.strip() for item in value.split(",") if item.strip())


def words(value: str) -> tuple[str, ...]:
    """Read a comma-separated list of words whose case does not matter."""
    return tuple(item.lower() for item in items(value))


def pairs(value: str) -> tuple[tuple[str, str], ...]:
    """Read comma-separated ``URL=FILE`` pairs, each split at its last ``=``."""
    found = []
    for item in items(value):
        url, equals, file = item.rpartition("=")
        if not (equals and url and file):
            raise ValueError("must be KEY_URL=PEM_FILE pairs, joined by commas")
        found.append((url.strip(), file.strip()))
    return tuple(found)
