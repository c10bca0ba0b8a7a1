"""Reads JSON of strangers."""

from __future__ import annotations

import json
from typing import Any


def parsed(data: bytes | str) -> Any:
    """Give the value; ValueError for what is no JSON, or is nested so deep that nobody means it."""
    try:
        return json.loads(data)
    except RecursionError as error:
        raise ValueError("nested too deep") from error


def is_json(data: bytes) -> bool:
    """Tell whether bytes are JSON."""
    try:
        parsed(data)
    except ValueError:
        return False
    return True
