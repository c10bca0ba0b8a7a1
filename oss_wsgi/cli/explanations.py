"""All rows of `explain`, and the row that tells of a refusal."""

from __future__ import annotations

import re

from . import error_codes, explained_codes, explained_reasons
from .explanation import Explanation
from .oss_answer import OSSRefusal

TABLE = (*explained_codes.TABLE, *error_codes.TABLE, *explained_reasons.TABLE)
BY_CODE = {row.code.lower(): row for row in TABLE}
# As logs, OSS's documents and our own commands write them.
_WRITTEN = re.compile(r"\(?(?:ec[\s:=]*(?=[0-9])|(?:reason|code)[\s:=]+)?([a-z0-9_.-]+?)[.,;]?\)?")


def find(code: str) -> Explanation | None:
    """Find a row by its code, in any case, alone or as in `(EC 0006-00000213)` and `reason=ticket_foreign`."""
    written = _WRITTEN.fullmatch(code.strip().lower())
    return BY_CODE.get(written[1]) if written else None


def further(refusal: OSSRefusal) -> str:
    """Say in a sentence where more is told of a refusal: here, if there is a row for it; "" where nothing is."""
    for code in (refusal.ec, refusal.code):
        if code and find(code) is not None:
            return f"For more run `oss-wsgi explain {code}`."
    if refusal.ec:
        return f"For more see https://api.aliyun.com/troubleshoot?q={refusal.ec}."
    return f"OSS's help explains {refusal.code}." if refusal.code else ""
