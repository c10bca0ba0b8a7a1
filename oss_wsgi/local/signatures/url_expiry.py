"""Until when a signed URL may be used."""

from __future__ import annotations

import time

from ..errors import access_denied


def check_not_expired(expires: int, now: float) -> None:
    """:param expires: Unix seconds, the last moment included."""
    if now > expires:
        error = access_denied("Request has expired.", "0002-00000069")
        error.members = {"Expires": _iso(expires), "ServerTime": _iso(now)}
        raise error


def _iso(moment: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(moment))
