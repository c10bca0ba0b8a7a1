"""Parameters that are numbers within limits."""

from __future__ import annotations

from ..errors import invalid_argument
from ..request import Request


def whole_number(request: Request, name: str, default: int, minimum: int, maximum: int) -> int:
    value = request.query.get(name, "")
    if not value:
        return default
    if not (value.isascii() and value.isdigit()) or len(value) > 9 or not minimum <= int(value) <= maximum:
        message = f"The {name} must be a whole number from {minimum} to {maximum}."
        raise invalid_argument(message, name=name, value=value)
    return int(value)
