"""Hides security tokens in texts that are shown.

A request with a temporary key of a real account carries the token. No request carries a key's secret, only a signature.
"""

from __future__ import annotations

import re

HIDDEN = "•••"

#: A browser sends the cookies of all ports of a host, so some belong to other servers.
_NAMES = ("security-token", "x-oss-security-token", "x-amz-security-token", "cookie", "proxy-authorization")
#: A token behind its name: in a query, a header, a condition of a policy, or a canonical request.
_TOKEN = re.compile(r"""(security(?:-|%2d)token(?:\s*[:=]\s*|"\s*[:,]\s*"))[^"&\s<>]+""", re.IGNORECASE)
#: The bytes of what was signed, in an answer.
_BYTES = re.compile(r"(<(?:StringToSign|CanonicalRequest)Bytes>)((?:[0-9A-F]{2} )+)")


def masked(text: str, name: str = "") -> str:
    """Return the value of a header, parameter or field, or any other text, without security tokens."""
    if name.lower() in _NAMES:
        return HIDDEN
    return _BYTES.sub(_masked_bytes, _TOKEN.sub(rf"\1{HIDDEN}", text))


def _masked_bytes(match: re.Match[str]) -> str:
    has_token = _TOKEN.search(bytes.fromhex(match[2]).decode(errors="replace"))
    return f"{match[1]}{HIDDEN}" if has_token else match[0]
