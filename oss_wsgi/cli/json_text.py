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
    """Tell whether bytes are JSON as OSS takes it: UTF-8 without a BOM, and no NaN."""
    try:
        json.loads(data.decode(), parse_constant=_refuse)
    except (ValueError, RecursionError):
        return False
    return True


def _refuse(name: str) -> None:
    raise ValueError(name)
