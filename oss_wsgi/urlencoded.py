"""Reads ``application/x-www-form-urlencoded`` text, of a query or a body (URL standard, section 5.1)."""

from __future__ import annotations

from urllib.parse import unquote_to_bytes


def pairs(text: str, limit: int) -> list[tuple[str, str]]:
    """Give names and values in their order, decoded; a name without ``=`` has the value "".

    Raises ValueError for what is not UTF-8, and for more than ``limit`` pairs.
    """
    pieces = text.split("&")
    if len(pieces) > limit:
        raise ValueError(f"more than {limit} pairs")
    found = []
    for piece in pieces:
        if piece:
            name, _, value = piece.partition("=")
            found.append((decoded(name), decoded(value)))
    return found


def decoded(text: str) -> str:
    """Decode a name or a value; ValueError for what is not UTF-8."""
    if "+" in text:
        text = text.replace("+", " ")
    if "%" in text:
        text = text.replace("%2F", "/")  # mostly all that there is, and quick
        if "%" in text:
            return unquote_to_bytes(text).decode()
    return text
