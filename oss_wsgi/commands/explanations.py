"""All rows of `explain`, and the row that tells of a refusal."""

from __future__ import annotations

import re

from . import explained_codes, explained_numbers, explained_reasons
from .explanation import Explanation
from .oss_answer import OSSRefusal

TABLE = (*explained_codes.TABLE, *explained_numbers.TABLE, *explained_reasons.TABLE)
BY_CODE = {row.code.lower(): row for row in TABLE}
_EC = re.compile(r"(?:ec[\s:]*)?([0-9]{4}-[0-9]{8})")


def find(code: str) -> Explanation | None:
    """Find a row by its code, in any case, or by an EC number with or without `EC` before it."""
    text = code.strip().lower()
    number = _EC.fullmatch(text)
    return BY_CODE.get(number[1] if number else text)


def further(refusal: OSSRefusal) -> str:
    """Say in a sentence where more is told of a refusal: here, if there is a row for it; "" where nothing is."""
    for code in (refusal.ec, refusal.code):
        if code and find(code) is not None:
            return f"For more run `oss-wsgi explain {code}`."
    if refusal.ec:
        return f"For more see https://api.aliyun.com/troubleshoot?q={refusal.ec}."
    return f"OSS's help explains {refusal.code}." if refusal.code else ""
