"""Signature version 4: OSS4-HMAC-SHA256, of a PostObject policy or of a string to sign (protocol.md 5)."""

from __future__ import annotations

import functools
import hmac
from datetime import datetime, timezone

ALGORITHM = "OSS4-HMAC-SHA256"

_PRODUCT = "oss"
_REQUEST = "aliyun_v4_request"


@functools.lru_cache(maxsize=8)  # many forms are signed in one second
def format_date(timestamp: int) -> str:
    """Return a Unix time in seconds as ``x-oss-date``: ``YYYYMMDDThhmmssZ``; the day is its first eight characters."""
    return f"{datetime.fromtimestamp(timestamp, timezone.utc):%Y%m%dT%H%M%SZ}"


def scope(day: str, region: str) -> str:
    """Return the scope of a signing key; ``day`` is ``YYYYMMDD``, ``region`` the bare ID such as ``cn-hangzhou``."""
    return f"{day}/{region}/{_PRODUCT}/{_REQUEST}"


def credential(access_key_id: str, day: str, region: str) -> str:
    """Return ``x-oss-credential``."""
    return f"{access_key_id}/{scope(day, region)}"


def identity_fields(access_key_id: str, date: str, region: str) -> dict[str, str]:
    """Return the form fields that name the signer; OSS refuses a policy that lacks one of them."""
    return {
        "x-oss-signature-version": ALGORITHM,
        "x-oss-credential": credential(access_key_id, date[:8], region),
        "x-oss-date": date,
    }


@functools.lru_cache(maxsize=8)  # most signatures of one day use the same key
def signing_key(access_key_secret: str, day: str, region: str) -> bytes:
    """Return the key for a day, a region and this product.

    k1 = HMAC( "aliyun_v4" + AccessKeySecret, day ); k2 = HMAC( k1, region );
    k3 = HMAC( k2, "oss" ); k4 = HMAC( k3, "aliyun_v4_request" )
    """
    key = f"aliyun_v4{access_key_secret}".encode()
    for step in (day, region, _PRODUCT, _REQUEST):
        key = hmac.digest(key, step.encode(), "sha256")
    return key


def signature(key: bytes, text: str) -> str:
    """Return the signature of a text: the policy's Base64, exactly as in the form, or a string to sign.

    Signature = hex( HMAC-SHA256( k4, text ) )
    """
    return hmac.digest(key, text.encode(), "sha256").hex()
